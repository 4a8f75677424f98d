"""What keeps two writers out of one folder: locks and processes that end with their holder.

The locks are the kernel's, so that a process that was killed leaves none behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gnnip.errors import ConfigError
from gnnip.files import make_folder, naming

#: of a run of the workflow in the current folder; a dry-run holds it for a moment
WORKFLOW = Path(".snakemake/run.lock")
#: in this variable a Snakemake tells its jobs its process id, and where that counts
_SNAKEMAKE = "GNNIP_SNAKEMAKE"
#: some shared file systems have no locks; there everybody gets them
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def hold(
    path: str | os.PathLike[str],
    busy: Callable[[str], str],
    patience_s: float = 0.5,
    say: Callable[[str], object] | None = None,
) -> Iterator[int]:
    """Hold a lock and yield its file descriptor; a process that inherits that holds it too.

    Args:
        path: a file, made for the purpose; it stays.
        busy: makes the sentence of the error from the name of the other process.
        patience_s: how long to wait, perhaps for ever.
        say: is told at once, with that sentence, that it waits.

    Raises:
        ConfigError: another process has it still.
        DataError: the file cannot be made.
    """
    begun, told = time.monotonic(), False
    make_folder(Path(path).parent)
    with naming(path):
        stream = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (closed below)
    with stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                stream.seek(0)
                sentence = busy(f"process {stream.read().strip() or 'unknown'}")
                if time.monotonic() - begun >= patience_s:
                    raise ConfigError(sentence) from None
                if say and not told:
                    say(sentence)
                told = True
                time.sleep(0.05)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                break
        with contextlib.suppress(OSError):  # a disk that is full: the lock holds without a name
            stream.truncate(0)
            os.write(stream.fileno(), f"{os.getpid()} on {platform.node()}\n".encode())
        yield stream.fileno()


def hold_workflow(patience_s: float = 3.0) -> contextlib.AbstractContextManager[int]:
    """Hold the lock of the workflow in the current folder; see `hold`."""
    return hold(
        WORKFLOW,
        lambda holder: (
            f"A run of the workflow is at work in this folder ({holder}); wait for it or end it."
        ),
        patience_s,
    )


def install(persistence: Any, refuse: Callable[[str], Exception]) -> None:
    """Make Snakemake use the lock of the workflow in place of its own.

    Its own is a folder of files, which a killed run leaves behind.

    Args:
        persistence: Snakemake's class whose method `lock` is replaced.
        refuse: makes the exception of a sentence.
    """

    @contextlib.contextmanager
    def lock(self: Any) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(hold_workflow())
            except ConfigError as error:
                raise refuse(str(error)) from None
            self.unlock()  # what an older version has left
            yield

    persistence.lock = lock


def announce_snakemake() -> None:
    """Tell the jobs of this Snakemake with whom they end."""
    os.environ[_SNAKEMAKE] = f"{os.getpid()} {_processes()}"


def end_with_snakemake() -> None:
    """End this process as soon as the Snakemake that started it has ended; see `end_with`.

    Nothing happens on another machine, or in a container with processes of its own.
    """
    pid, _, where = os.environ.get(_SNAKEMAKE, "").partition(" ")
    if pid and where == _processes():
        end_with(int(pid))


def _processes() -> str:
    """Name the machine, and the container, whose process numbers are ours."""
    with contextlib.suppress(OSError):
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def end_with(pid: int) -> None:
    """Kill this process and its descendants as soon as another one of this machine has ended.

    Nothing happens where the system cannot watch a process (Linux can).
    """
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        kill_family()
        return
    except (AttributeError, OSError):
        return

    def watch() -> None:
        select.select([watched], [], [])
        kill_family()

    threading.Thread(target=watch, name=f"ends with {pid}", daemon=True).start()


def kill_family() -> None:
    """Kill the descendants of this process, and then the process itself."""
    with contextlib.suppress(ImportError):  # then those that are ours watch this one
        import psutil

        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    os.kill(os.getpid(), signal.SIGKILL)

"""Jobs that share their start-up: a process that has loaded what jobs load, and a child for each.

Most jobs of the smaller tiers take less time than the imports of their script. So the first job of
a local run starts a server (:func:`main`), which imports and then forks a child for every job; the
child runs the script as `python script.py` would. Children end with the server and the server with
the process that started it, whatever ends that, so that a restart meets no second writer.

A job of several threads has a process of its own, since libraries size their thread pools when
they are loaded; so has one on a GPU, and every job where this cannot work or with
`GNNIP_PLAIN_JOBS=1`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import json
import os
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from gnnip.locks import kill_family

#: what nearly every script imports, and what those add that compute with torch; a module that is
#: missing here costs time alone. None of them may start a thread.
COMMON = (
    *("snakemake.logging", "snakemake.iocontainers", "pandas", "h5py", "psutil"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("gnnip.artefacts.inputs", "gnnip.artefacts.make", "gnnip.artefacts.style"),
    *("gnnip.config.resolve", "gnnip.datasets.store", "gnnip.verdicts.show"),
)
TORCH = ("torch", "gnnip.training.trainer", "gnnip.measurements.run")
#: what Snakemake sets for a job
_THREADS = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
)
_SCRATCH = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Ending(NamedTuple):
    """How a job ended."""

    status: int  # of its process, minus the number of the signal that killed it
    cpu_s: float = 0.0
    max_rss_mb: float = 0.0


class ForkServer:
    """The other end of a server: starts it with the first job; safe to use from many threads."""

    def __init__(self, modules: Sequence[str]) -> None:
        """Take the names of the modules that it shall import."""
        self._modules = modules
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None

    def run(
        self,
        script: str,
        environment: Mapping[str, str],
        watch: Callable[[int], contextlib.AbstractContextManager[Any]],
    ) -> Ending:
        """Run a Python script in a child of the server, inside the context that `watch` makes of
        its process id.

        Raises OSError when the script could not be begun.
        """
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        job = {"script": script, "folder": os.getcwd(), "environment": dict(environment)}
        with answers:
            with theirs, self._lock:
                channel = self._channel = self._channel or self._start(environment)
                socket.send_fds(channel, [json.dumps(job).encode()], [theirs.fileno()])
            begun = answers.recv(64)
            if not begun:
                raise ConnectionError("the server of jobs has ended")
            with watch(int(begun)):
                answers.send(b"go")
                with contextlib.suppress(ConnectionError):
                    if end := answers.recv(1024):
                        return Ending(*json.loads(end))
        return Ending(-signal.SIGKILL)  # with its server

    def _start(self, environment: Mapping[str, str]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-m", __name__, str(number), *self._modules]
            server = subprocess.Popen(command, pass_fds=[number], env=environment)

        def end() -> None:
            ours.close()
            server.wait()

        atexit.register(end)
        return ours


def install(script: Any, benchmarked: Any) -> None:
    """Make the Python scripts of this Snakemake share their start-up.

    Args:
        script: Snakemake's class `PythonScript`, whose method `execute_script` is replaced.
        benchmarked: Snakemake's context manager that samples a process for a benchmark record.
    """
    plain = getattr(script, "execute_script", None)
    if plain is None or os.environ.get("GNNIP_PLAIN_JOBS") == "1":
        return
    try:  # Linux, whose container allows it
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return
    servers = {"common": ForkServer(COMMON), "torch": ForkServer(COMMON + TORCH)}

    def execute_script(job: Any, fname: str, edit: bool = False) -> None:
        resources = dict(job.resources.items())
        elsewhere = ("container_img", "conda_env", "env_modules", "shadow_dir")
        alone = job.threads != 1 or resources.get("gpu")
        if alone or any(getattr(job, name, True) for name in elsewhere):
            return plain(job, fname, edit)
        environment = os.environ | dict.fromkeys(_THREADS, "1")
        if scratch := resources.get("tmpdir"):
            environment |= dict.fromkeys(_SCRATCH, str(scratch))
        record = job.bench_record

        def watch(pid: int) -> contextlib.AbstractContextManager[Any]:
            return benchmarked(pid, record) if record else contextlib.nullcontext()

        # a rule that says what it wants of a GPU computes with torch
        server = servers["torch" if "gpu" in resources else "common"]
        try:
            end = server.run(fname, environment, watch)
        except OSError:
            return plain(job, fname, edit)
        if end.status:
            raise subprocess.CalledProcessError(end.status, [sys.executable, fname])
        if record:
            # exact, where Snakemake's samples miss what is shorter than half a second
            record.cpu_time, record.cpu_usage = end.cpu_s, 100 * end.cpu_s
            record.max_rss = max(record.max_rss or 0, end.max_rss_mb)
        return None

    script.execute_script = execute_script


def quote_python(script: Any) -> None:
    """Make the class `PythonScript` of Snakemake quote the path of Python, which may hold a space,
    as it quotes that of the script."""
    plain = script._execute_cmd

    def execute(job: Any, command: str, **values: Any) -> Any:
        if command.startswith("{py_exec} "):
            values["py_exec"] = shlex.quote(values["py_exec"])
        return plain(job, command, **values)

    script._execute_cmd = execute


_status = 0  # of this process, once it is a job
_on_interrupt: Any = signal.SIG_DFL  # what a job does then


def _leave() -> None:
    """End without tearing the interpreter down, which takes a fifth of a second with torch."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(_status)


def main(channel: socket.socket, modules: Sequence[str]) -> None:
    """Import the modules, fork a child for each request, and run its script there."""
    global _on_interrupt
    # the jobs get it too, and say how they end; a shell's background ignores it from the start
    _on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    atexit.register(_leave)  # before all others, so that it comes last
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder, put there by -m
    for name in modules:
        with contextlib.suppress(ImportError):
            import_module(name)
        if len(os.listdir("/proc/self/task")) > 1:
            sys.exit(f"{name} starts a thread when it is imported; jobs get their own processes.")
    gc.freeze()  # so that a collection in a child does not copy what is shared
    _run(_serve(channel))


def _serve(channel: socket.socket) -> dict[str, Any]:
    """Return a request in the child that it is for; the server itself never returns."""
    events = selectors.DefaultSelector()
    events.register(channel, selectors.EVENT_READ)
    while True:
        for key, _ in events.select():
            if key.data:
                _report(events, key)
                continue
            request, numbers, *_ = socket.recv_fds(channel, 2**20, 1)
            if not request:
                kill_family()  # whoever asked for the jobs is gone
            answers, parent = socket.socket(fileno=numbers[0]), os.getpid()
            pid = os.fork()
            if pid == 0:
                _begin(events, answers, parent)
                return json.loads(request)
            events.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answers))


def _report(events: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Tell how a child has ended."""
    pid, answers = key.data
    _, status, usage = os.wait4(pid, 0)
    end = Ending(
        os.waitstatus_to_exitcode(status),
        round(usage.ru_utime + usage.ru_stime, 2),
        round(usage.ru_maxrss / 1024, 2),
    )
    with answers, contextlib.suppress(ConnectionError):
        answers.send(json.dumps(end).encode())
    events.unregister(key.fd)
    os.close(key.fd)


def _begin(events: selectors.BaseSelector, answers: socket.socket, parent: int) -> None:
    """Make this child a process like any other, and wait for the word to go."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    for key in events.get_map().values():
        if key.data:
            os.close(key.fd)
            key.data[1].close()
        else:
            key.fileobj.close()  # type: ignore[union-attr]
    events.close()
    signal.signal(signal.SIGINT, _on_interrupt)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with answers:
        answers.send(str(os.getpid()).encode())
        if not answers.recv(8) or os.getppid() != parent:
            os._exit(1)


def _run(job: Mapping[str, Any]) -> None:
    """Run the script of a job as Python's main program."""
    global _status
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.argv = [job["script"]]
    sys.path.insert(0, os.path.dirname(job["script"]))
    if generator := sys.modules.get("numpy.random"):
        generator.seed()  # or all jobs would draw the same numbers
    try:
        runpy.run_path(job["script"], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        _status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        _status = 1


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])

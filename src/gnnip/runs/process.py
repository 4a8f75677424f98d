"""One command as a process group of its own: low priority, CPU time, and no orphans."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from gnnip.machine import cpu_seconds

#: the pipe closes with the program that started this, even when that is killed: then all of the
#: group is killed, so that a second start never meets what the first one left
_SCRIPT = """
{ trap "" TERM; read -r _; kill -KILL 0; } <&"$2" &
eval "exec $2<&-"
bash -euo pipefail -c "$1"
"""
_GRACE = 20.0  #: seconds between the request to end and the kill


def execute(
    command: str,
    folder: Path,
    variables: Mapping[str, str],
    log: Path,
    lock: int,
    note: Callable[[float], object],
    interval: float,
) -> int:
    """Run a command by bash, behind everything else on the machine, and return its status.

    Args:
        folder: the current one of the command.
        variables: its environment.
        log: what it prints is added to this file.
        lock: file descriptor that its processes inherit.
        note: called with the CPU seconds so far (user and system, of the whole tree), every
            `interval` seconds and at the end, whatever ends it.
    """
    before, used, (reading, writing) = _of_children(), 0.0, os.pipe()
    idle = ["ionice", "-c", "3"] if shutil.which("ionice") else []
    with open(log, "ab") as stream:
        process = subprocess.Popen(
            [*idle, "bash", "-c", _SCRIPT, "bash", command, str(reading)],
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            pass_fds=(lock, reading),
            start_new_session=True,
            preexec_fn=_lower_priority,
        )
    os.close(reading)
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=interval)
            used = max(used, cpu_seconds(process.pid))
            note(used)
    finally:
        _end(process, writing)
        note(max(used, _of_children() - before))


def _end(process: subprocess.Popen[bytes], writing: int) -> None:
    """Ask what is left of the group to end, then kill it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    os.close(writing)


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _lower_priority() -> None:
    os.nice(19)
    with contextlib.suppress(AttributeError, OSError):  # not every system has it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    # Linux shares the cores among sessions first: without this, a session of its own would get as
    # much as all that the user does in another one
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("19", encoding="utf-8")

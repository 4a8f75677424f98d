"""This machine: its processor, what a process has computed, and who else is at work beside a clock.

Nothing of the library is imported here: tables that read a remark do not depend on its code.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: variables that size the thread pools of libraries
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
UNDER_LOAD = "measured under load"
_TICKS = os.sysconf("SC_CLK_TCK")  # per second, of the times in /proc


def cpu_model() -> str:
    """Return the name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds (user and system) of a process and of its descendants so far, with
    those that have ended; 0 where the system has no /proc."""
    children: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        number = int(path.parent.name)
        children[int(fields[1])].append(number)
        ticks[number] = sum(map(int, fields[11:15]))
    total, pending = 0, [pid]
    while pending:
        number = pending.pop()
        total += ticks.get(number, 0)
        pending += children[number]
    return total / _TICKS


@functools.cache
def memory_bytes() -> int:
    """Return the memory of this machine, or what its container may use of it."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no limit is the word max
            found.append(int(Path(path).read_text(encoding="ascii")))
    return min(found)


def cpu_count() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def runs_folder(root: Path) -> Path:
    """Return where the long runs of a project are: beside it, unless GNNIP_RUNS says where."""
    beside = root.resolve().with_name(f"{root.resolve().name}-runs")
    return Path(os.environ.get("GNNIP_RUNS") or beside).resolve()


def long_run_is_on(root: Path) -> bool:
    """Return whether a long run of a project holds its lock."""
    try:
        with open(runs_folder(root) / "lock", "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


@dataclass
class Machine:
    """The machine that a clock runs on, and what else it does meanwhile."""

    load: str = ""

    @property
    def name(self) -> str:
        """Return the processor and, where there was any, the load of the measurement."""
        return ", ".join(filter(None, [cpu_model(), self.load]))


@contextlib.contextmanager
def watched() -> Iterator[Machine]:
    """Look, while a clock runs in the block, whether other programs compute too.

    Yields the machine, whose load is known after the block. Times are measured under load beside a
    long run of the project in the current folder, or when all programs together took more than 1.5
    times the CPU seconds of this process and its children.
    """
    machine, before, beside = Machine(), _times(), long_run_is_on(Path.cwd())
    yield machine
    wall, everybody, own = (b - a for a, b in zip(before, _times(), strict=True))
    others = (everybody - own) / wall
    if beside or long_run_is_on(Path.cwd()):
        machine.load = f"{UNDER_LOAD} (beside a long run)"
    elif others > max(0.5 * own / wall, 0.1):
        machine.load = f"{UNDER_LOAD} (others took {others:.1f} of {os.cpu_count()} cores)"


def load_of(machines: Iterable[str]) -> str:
    """Return the remark in the names of machines; empty where all were quiet."""
    loaded = (text for text in map(str, machines) if UNDER_LOAD in text)
    return "".join(next(loaded, "").partition(UNDER_LOAD)[1:])


def busy_seconds() -> float:
    """Return the CPU seconds of all programs since the machine started."""
    with open("/proc/stat", encoding="ascii") as stream:
        # user, nice, system, idle, waiting, two kinds of interrupts, stolen by other guests
        fields = [int(text) for text in stream.readline().split()[1:9]]
    return (sum(fields) - sum(fields[3:5])) / _TICKS


def _times() -> tuple[float, float, float]:
    """Return the time, and the CPU seconds of all programs and of this process (s)."""
    try:
        everybody = busy_seconds()
    except (OSError, ValueError):
        everybody = 0.0
    return time.monotonic(), everybody, cpu_seconds(os.getpid())

"""How the OpenMP threads of torch wait for each other: spinning, or asleep while others are busy.

libgomp, the runtime of torch, lets a thread that waits spin for some milliseconds. On a quiet
machine that is fastest. Where other programs want the cores, it burns the time in which the thread
that is waited for could run, and a step takes many times as long as with one thread. When a process
has more OpenMP threads than processors, libgomp spins 100 rounds instead of 300,000 and then sleeps
(its manual, under GOMP_SPINCOUNT). So idle threads, kept while others are busy, are the switch; it
works wherever torch was imported.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time

from gnnip.machine import busy_seconds

INTERVAL = 0.2  #: seconds between two looks at what others use
PATIENCE = 5  #: quiet looks before threads spin again
SLACK = 0.25  #: cores that may lack before threads sleep
CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  #: of the user, how threads wait
_process = 0  # that has a watch: a fork has none


def share_cores(threads: int) -> None:
    """Watch from now on that `threads`, those of torch, sleep while others want their cores.

    Does nothing for a single thread, for another runtime than libgomp, and where the environment
    holds one of the user's CHOICES.
    """
    global _process
    if threads == 1 or _process == os.getpid():
        return
    _process = os.getpid()
    if sys.platform != "linux" or os.environ.keys() & CHOICES:
        return
    runtime = ctypes.CDLL(None)
    if hasattr(runtime, "GOMP_parallel") and hasattr(runtime, "omp_pause_resource_all"):
        arguments = (runtime, threads)
        threading.Thread(target=_watch, args=arguments, name="gnnip-watch", daemon=True).start()


def _watch(runtime: ctypes.CDLL, threads: int) -> None:
    free = (os.cpu_count() or 1) - threads + SLACK  # cores that others may use
    crowded, quiet = False, 0
    used, looked = used_by_others(), time.monotonic()
    while True:
        time.sleep(INTERVAL)
        now, then = used_by_others(), time.monotonic()
        quiet = quiet + 1 if now - used <= free * (then - looked) else 0
        used, looked = now, then
        if not crowded and quiet == 0:
            # a parallel region of free(NULL), which does nothing: its threads stay, asleep
            runtime.GOMP_parallel(runtime.free, None, len(os.sched_getaffinity(0)) + 1, 0)
            crowded = True
        elif crowded and quiet == PATIENCE:
            runtime.omp_pause_resource_all(1)  # softly: ends the idle threads of this one
            crowded = False


def used_by_others() -> float:
    """Return the CPU seconds that all processes but this one have used."""
    return busy_seconds() - time.process_time()

"""Threads of OpenMP that sleep while they wait for each other.

Left alone, torch's runtime (libgomp) lets a thread that waits spin, for some milliseconds each
time. Where other programs want the same cores, it so burns the time in which the thread that it
waits for could have run, and a step takes many times as long as with one thread.
"""

from __future__ import annotations

import os
import sys


def sleep_while_waiting() -> None:
    """Let the OpenMP threads of this process, and of those that it starts, sleep while they wait.

    ``OMP_WAIT_POLICY`` and ``GOMP_SPINCOUNT`` of the user stand. The runtime reads them as it is
    loaded; where torch is there already, idle threads have nearly the same effect.
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return
    os.environ["OMP_WAIT_POLICY"] = "passive"
    torch = sys.modules.get("torch")
    if torch is not None and sys.platform == "linux" and torch.get_num_threads() > 1:
        _crowd()


def _crowd() -> None:
    """Keep a sleeping OpenMP thread for each processor, and one more.

    With more threads than processors libgomp spins 100 rounds, not 300,000 (its manual, under
    GOMP_SPINCOUNT).
    """
    import ctypes
    import threading

    process = ctypes.CDLL(None)
    if not hasattr(process, "GOMP_parallel"):  # a torch with another runtime
        return
    ready = threading.Event()

    def keep() -> None:
        # a parallel region of free(NULL), which does nothing; its team lives as long as this thread
        process.GOMP_parallel(process.free, None, len(os.sched_getaffinity(0)) + 1, 0)
        ready.set()
        threading.Event().wait()

    threading.Thread(target=keep, name="gnnip-crowd", daemon=True).start()
    ready.wait()

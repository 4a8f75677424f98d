"""Threads that wait for each other spin on a quiet machine, and sleep while others are busy."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time

import pytest

from gnnip import machine, threads
from gnnip.machine import THREADS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs libgomp and /proc")

#: prints the number of threads that a watch adds, and forces, as others are idle and busy by turns
SWITCHING = """
import json, os, time
import torch
from ase.build import bulk
from gnnip import machine, threads
from gnnip.machine import THREADS
from gnnip.models import build
from gnnip.models.calculator import PotentialCalculator

busy, used = 0, 0.0
def used_by_others():
    global used
    used += 100.0 * busy
    return used
threads.used_by_others, threads.INTERVAL, threads.PATIENCE = used_by_others, 0.01, 2

torch.manual_seed(0)
atoms = bulk("Si", cubic=True) * (2, 2, 2)
atoms.rattle(0.1, seed=0)
options = dict(species=(14,), cutoff=4.0, layers=1, lmax=1, channels=16, denominator=20.0)
atoms.calc = PotentialCalculator(build("nequip", scale=1.0, **options))
atoms.get_forces()  # starts the watch
count = lambda: len(os.listdir("/proc/self/task"))
before, said = count(), []
for busy in (0, 1, 0):
    end = time.monotonic() + 60
    more = busy * len(os.sched_getaffinity(0))
    while count() - before != more and time.monotonic() < end:
        time.sleep(0.01)
    atoms.calc.reset()
    said.append([count() - before, atoms.get_forces().tobytes().hex()])
print(json.dumps(said))
"""


def test_idle_threads_outnumber_the_processors_while_others_are_busy():
    # tests of labelling leave settings of other libraries behind, which torch heeds, too
    others = (*threads.CHOICES, *THREADS)
    environment = {k: v for k, v in os.environ.items() if k not in others}
    ran = subprocess.run(
        [sys.executable, "-c", SWITCHING],
        env=environment | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    counts, forces = zip(*json.loads(ran.stdout), strict=True)
    # the watch itself is one of the team, so that its threads are one more than the processors
    assert counts == (0, len(os.sched_getaffinity(0)), 0)
    assert forces[0] == forces[1] == forces[2]


@pytest.fixture
def watched(monkeypatch) -> list[int]:
    """The numbers of threads that watches are started for; none of them runs."""
    pytest.importorskip("torch")  # loads the runtime
    found: list[int] = []
    monkeypatch.setattr(threads, "_watch", lambda runtime, number: found.append(number))
    monkeypatch.setattr(threads, "_process", 0)
    for name in threads.CHOICES:
        monkeypatch.delenv(name, raising=False)
    return found


def share(number: int) -> None:
    """Ask for a watch, and wait until it was started."""
    threads.share_cores(number)
    for thread in threads.threading.enumerate():
        if thread.name == "gnnip-watch":
            thread.join(10)


def test_a_process_has_one_watch_and_a_fork_its_own(watched, monkeypatch):
    share(2)
    share(2)
    assert watched == [2]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    share(3)
    assert watched == [2, 3]


@pytest.mark.parametrize("name", threads.CHOICES)
def test_the_users_choice_stands(name, watched, monkeypatch):
    monkeypatch.setenv(name, "active")
    share(2)
    assert watched == []


def test_one_thread_needs_no_watch(watched):
    share(1)
    assert watched == []
    share(2)
    assert watched == [2]


def test_what_others_use_is_all_but_idle_and_own(monkeypatch):
    ticks = "cpu  100 20 30 9999 500 5 5 40 7 7\ncpu0 1 1 1 1\n"
    monkeypatch.setattr(machine, "open", lambda *_, **__: io.StringIO(ticks), raising=False)
    monkeypatch.setattr(time, "process_time", lambda: 0.5)
    assert threads.used_by_others() * os.sysconf("SC_CLK_TCK") == pytest.approx(
        200 - 0.5 * os.sysconf("SC_CLK_TCK")
    )

"""How OpenMP threads wait: told to the runtime once, so each time in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="another runtime than libgomp")

COUNT = """
import os, {first}
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
import gnnip
import torch
print(count() - before, torch.get_num_threads())
"""
FORCES = """
from ase.build import bulk
from gnnip.models import build
from gnnip.models.calculator import PotentialCalculator
torch.manual_seed(0)
atoms = bulk("Si", cubic=True) * (2, 2, 2)
atoms.rattle(0.1, seed=0)
options = dict(species=(14,), cutoff=4.0, layers=2, lmax=1, channels=16, denominator=20.0)
atoms.calc = PotentialCalculator(build("nequip", scale=1.0, **options))
print(atoms.get_forces().tobytes().hex())
"""
OWN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def run(*arguments: str, **additions: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in OWN}
    environment |= {"OMP_NUM_THREADS": "2", "OMP_DISPLAY_ENV": "verbose"} | additions
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module")
def chosen() -> subprocess.CompletedProcess[str]:
    """A program of somebody who says how threads wait."""
    code = COUNT.format(first="torch") + FORCES
    return run("-c", code, OMP_WAIT_POLICY="active", GOMP_SPINCOUNT="7")


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "from gnnip import load_calculator"),
        ("-m", "gnnip.training.run", "--spec", "none.json"),
    ],
)
def test_threads_sleep_whatever_starts_them(arguments):
    shown = run(*arguments).stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in shown
    assert "OMP_NUM_THREADS = '2'" in shown


def test_the_users_choice_stands(chosen):
    assert chosen.stdout.startswith("0 2\n")
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in chosen.stderr
    assert "GOMP_SPINCOUNT = '7'" in chosen.stderr


def test_where_torch_is_first_sleeping_threads_outnumber_the_processors(chosen):
    counts, forces = run("-c", COUNT.format(first="torch") + FORCES).stdout.splitlines()
    assert counts == f"{len(os.sched_getaffinity(0)) + 1} 2"
    assert forces == chosen.stdout.splitlines()[1]


def test_sleeping_changes_no_result(chosen):
    ran = run("-c", "import gnnip, torch\n" + FORCES)
    assert ran.stdout == chosen.stdout.splitlines()[1] + "\n"


def test_one_thread_needs_no_others():
    assert run("-c", COUNT.format(first="torch"), OMP_NUM_THREADS="1").stdout == "0 1\n"

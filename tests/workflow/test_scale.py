"""Many jobs: how much processor time the workflow adds to each, and how many Snakemakes it starts.

The runs are those of benchmarks/scale.py, smaller.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def measure(root, tmp_path):
    """A function that runs the card of the benchmark in a way and returns what that took."""

    def run(way: str, trainings: int, *options: str) -> dict:
        output = tmp_path / "figures.json"
        command = [sys.executable, root / "benchmarks/scale.py", "--ways", way]
        command += ["--trainings", str(trainings), "--output", output, *options]
        subprocess.run(command, check=True, timeout=900)
        found: dict = json.loads(output.read_text(encoding="utf-8"))["ways"][way]
        return found

    return run


def test_a_small_job_of_a_local_run_costs_less_than_a_start_of_python(measure):
    few, many = measure("shared", 10), measure("shared", 60)
    added = (many["cpu_s"] - few["cpu_s"]) / (many["trainings"] - few["trainings"])
    # 0.24 s on two busy cores; a start of Python that imports torch takes ten times that
    assert added < 0.6, f"{added:.2f} s of processor time"


def test_a_group_of_jobs_has_one_snakemake_and_starts_python_once(measure):
    if find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("the package snakemake-executor-plugin-slurm is not installed")
    few, many = (measure("grouped", n, "--group", str(n // 2)) for n in (10, 40))
    assert few["snakemakes"] == many["snakemakes"] == 1 + 2
    added = (many["cpu_s"] - few["cpu_s"]) / (many["trainings"] - few["trainings"])
    assert added < 0.6, f"{added:.2f} s of processor time"

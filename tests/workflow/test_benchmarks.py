"""Every benchmark starts and prints its figures, at its smallest size; no time is tested."""

from __future__ import annotations

import subprocess
import sys

import pytest

SMALLEST = {
    "ace.py": "--frames 4 --repeats 1",
    "compiled_step.py": "--models pair --repeats 1",
    "engines.py": "--steps 1 --programs ASE",
    "ground_state.py": "--repeats 1 --orders 12 --output {folder}/figures.json",
    "jat_step.py": "--repeats 1 --layers 1 --batch 1 --forms fused",
    "md_batch.py": "--model pair --replicas 2 --burst 1 --rounds 1",
    "md_scaling.py": "--largest 100",
    "nequip_step.py": "--repeats 1 --layers 1 --lmax 1 --channels 4 --forms fused",
    "path_integrals.py": "--temperatures 200 --rings 1 --output {folder}/figures.json "
    "--change frames=1 stride_fs=2 equilibration_fs=2 checkpoint_fs=2",
    "scale.py": "--trainings 10 --ways dry-run shared grouped",
    "nequip_threads.py": "--busy 0 --channels 8 --repeats 1",
}


def test_every_benchmark_has_a_smallest_size(root):
    assert {path.name for path in (root / "benchmarks").glob("*.py")} == set(SMALLEST)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_it_starts(root, tmp_path, name):
    options = SMALLEST[name].format(folder=tmp_path).split()
    done = subprocess.run(
        [sys.executable, root / "benchmarks" / name, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) >= 2

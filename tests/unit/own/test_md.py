"""`gnnip md`: dynamics that warn, and stop, where the seeds no longer agree."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
import torch
from made_up_frames import copper

from gnnip.__main__ import main
from gnnip.models import build, save


@pytest.fixture
def seeds(tmp_path):
    """Two seeds that differ a little, and a structure."""
    for seed in range(2):
        torch.manual_seed(3)
        model = build("pair", species=[29], cutoff=4.0)
        with torch.no_grad():
            model.coefficients.normal_(std=0.02)
            model.coefficients *= 1.0 + 0.1 * seed
        save(model, tmp_path / f"run/trainings/pair/all/seed-{seed}/model")
    ase.io.write(tmp_path / "start.xyz", copper(1, 1), format="extxyz")
    return tmp_path / "run"


def moved(seeds, *more: str) -> int:
    place = seeds.parent
    given = ["md", str(place / "start.xyz"), "--model", str(seeds), "--device", "cpu"]
    return main([*given, "--ps", "0.03", "--every", "10", "-o", str(place / "out.xyz"), *more])


def test_it_ends_where_the_spread_leaves_the_limit(seeds, capsys):
    assert moved(seeds, "--limit", "100") == 0
    said = capsys.readouterr().out
    assert "0.03 ps, 4 frames" in said
    assert "differ" not in said
    frames = ase.io.read(seeds.parent / "out.xyz", index=":")
    np.testing.assert_allclose([f.info["time_ps"] for f in frames], [0.0, 0.01, 0.02, 0.03])
    largest = [f.arrays["forces_spread"].max() for f in frames]
    limit = 0.5 * min(largest)
    assert moved(seeds, "--limit", str(limit), "--stop") == 1
    (last,) = ase.io.read(seeds.parent / "out.xyz", index=":")
    assert last.info["warning"]
    assert "at 0 ps the seeds differ" in capsys.readouterr().out


def test_the_energy_is_conserved(seeds, capsys):
    assert moved(seeds, "--limit", "100", "--time-step", "0.5") == 0
    drift = float(capsys.readouterr().out.split("drift ")[1].split()[0])
    assert abs(drift) < 5.0


def test_without_a_calibration_a_limit_is_asked_for(seeds, capsys):
    assert moved(seeds) == 2
    assert "train it with --seeds 3" in capsys.readouterr().err
    alone = str(seeds / "trainings/pair/all/seed-0")
    given = ["md", str(seeds.parent / "start.xyz"), "--model", alone, "--stop", "-o", "x.xyz"]
    assert main(given) == 2
    assert "has no spread" in capsys.readouterr().err

"""Spread of seeds beside their errors, and its warnings before failures."""

from __future__ import annotations

import dataclasses

import ase.io
import numpy as np
import pandas as pd
import pytest
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gnnip.__main__ import main
from gnnip.datasets.store import load_arrays
from gnnip.errors import DataError
from gnnip.measurements import warnings
from gnnip.measurements.ensembles import _rows, calibrate, held_out
from gnnip.measurements.kinds import Calibration, Warnings
from gnnip.measurements.sources import Sources, Training
from gnnip.models import load
from gnnip.own.run import Run
from gnnip.training.outputs import read_predictions


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Three seeds of a pair potential of copper, trained briefly on one division of the frames."""
    folder = tmp_path_factory.mktemp("ensemble")
    frames = []
    for seed in range(24):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.08, seed=seed)
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    ase.io.write(folder / "frames.xyz", frames, format="extxyz")
    given = ["--model", "pair_network", "--set", "hidden=[8]", "--cutoff", "4", "--epochs", "8"]
    more = ["--seeds", "3", "--device", "cpu", "-o", str(folder / "run")]
    assert main(["train", str(folder / "frames.xyz"), *given, *more]) == 0
    return Run.read(folder / "run")


def sources(run: Run) -> Sources:
    places = run.trainings(["pair_network"])
    trainings = [
        Training(folder=run.folder / f"trainings/{g}/{c.name}/seed-{s}", group=g, cell=c.name,
                 seed=s, dataset="frames", keys={})
        for g, c, s, _ in places
    ]  # fmt: skip
    return Sources({"frames": run.dataset("frames")}, trainings)


def test_seeds_of_a_run_share_the_division_of_the_frames(run):
    card = yaml.safe_load((run.folder / "train.yaml").read_text(encoding="utf-8"))
    assert card["trainings"]["pair_network"]["split"] == {"scheme": "random", "seed": 0}
    seeds = sources(run).trainings
    known = [tuple(read_predictions(seed.folder)["frame"]) for seed in seeds]
    assert len(set(known)) == 1
    assert set(held_out(seeds)) == set(known[0])
    weights = {(seed.folder / "model.safetensors").read_bytes() for seed in seeds}
    assert len(weights) == 3


def test_spread_and_error_are_those_of_the_seeds(run):
    own = sources(run)
    table = calibrate(own, Calibration())
    frames = held_out(own.trainings)
    arrays = load_arrays(run.dataset("frames")).subset(frames)
    forces = []
    for seed in own.trainings:
        from gnnip.graphs import GraphStore
        from gnnip.models import predict

        model = load(seed.folder)
        store = GraphStore.from_frames(arrays, model.cutoff, dtype=model.dtype)
        forces.append(predict(model, store, forces=True)["forces"])
    spread = np.linalg.norm(np.std(forces, axis=0, ddof=1), axis=1)
    error = np.linalg.norm(np.mean(forces, axis=0) - arrays.forces["total"], axis=1)
    points = table[(table["record"] == "point") & (table["name"] == "forces")]
    np.testing.assert_allclose(np.sort(points["spread"]), np.sort(spread), rtol=1e-5)
    numbers = table[table["record"] == "number"].set_index("name")["value"]
    ratio = np.sqrt(np.mean(error**2) / np.mean(spread**2))
    assert numbers["forces_ratio"] == pytest.approx(ratio, rel=1e-5)
    assert numbers["forces_limit"] == pytest.approx(spread.max(), rel=1e-5)


def test_a_calibrated_ensemble_has_a_ratio_of_one_and_covers_95_percent():
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.5, 2.0, size=20_000)
    rows = pd.DataFrame(_rows("energy", spread, np.abs(spread * rng.normal(size=20_000)), 10))
    numbers = rows[rows["record"] == "number"].set_index("name")["value"]
    assert numbers["energy_ratio"] == pytest.approx(1.0, abs=0.02)
    assert numbers["energy_covered"] == pytest.approx(0.954, abs=0.005)
    assert 0.2 < numbers["energy_rank"] < 0.6
    shuffled = pd.DataFrame(_rows("energy", spread, rng.permutation(spread), 10))
    rank = shuffled[shuffled["name"] == "energy_rank"]["value"].iloc[0]
    assert abs(rank) < 0.03


def test_one_seed_is_no_ensemble(run):
    own = sources(run)
    with pytest.raises(DataError, match="two seeds or more"):
        calibrate(dataclasses.replace(own, trainings=own.trainings[:1]), Calibration())


def test_the_page_of_a_run_with_seeds_tells_calibration(run):
    metrics = pd.read_csv(run.folder / "artefacts/calibration.metrics.csv")
    assert "pair_network_forces_ratio" in set(metrics["quantity"])
    assert (run.folder / "artefacts/calibration.png").stat().st_size > 5000
    assert "Calibration" in (run.folder / "index.html").read_text(encoding="utf-8")


def trajectory(positions: list, failed: bool):
    from gnnip.md.stability import Failure, Frame
    from gnnip.md.trajectory import Trajectory

    times = 10.0 * np.arange(len(positions))
    cell, numbers = np.eye(3) * 3.6, np.full(4, 29)
    failure = None
    if failed:
        bad = Frame(99, positions[-1], positions[-1], 0.0, 0.0)
        values = {field.name: None for field in dataclasses.fields(Failure)}
        values |= {"replica": 0, "time_fs": times[-1] + 10.0, "first_bad": bad, "reason": "x"}
        failure = Failure(**values)
    return Trajectory(
        0, 0, 300.0, numbers, np.ones(4), cell, np.ones(3, bool), times,
        np.array(positions), np.zeros((len(positions), 4, 3)), {"time_fs": times}, failure,
    )  # fmt: skip


def test_a_replica_is_flagged_where_it_leaves_what_was_held_out(run, monkeypatch):
    own = sources(run)
    calm = bulk("Cu", cubic=True).positions
    far = calm.copy()
    far[1] = far[0] + 0.45 * (far[1] - far[0])  # two atoms much closer than in any frame
    name = own.trainings[0].name
    moved = dataclasses.replace(own, trajectories={name: "a file"})
    monkeypatch.setattr(
        warnings, "read_trajectory", lambda _: [trajectory([calm, calm, far], failed=True)]
    )
    rows = warnings.replay(moved, Warnings(dynamics="md"))
    told = rows[rows["record"] == "warning"].set_index("name")["value"]
    assert told["flagged_fs"] == 20.0
    assert told["warning_fs"] == told["failed_fs"] - 20.0 == 10.0
    spread = rows[rows["record"] == "spread"]["value"].to_numpy()
    assert spread[0] == spread[1] < told["limit_ev_per_a"] < spread[2]
    monkeypatch.setattr(
        warnings, "read_trajectory", lambda _: [trajectory([calm, calm], failed=False)]
    )
    rows = warnings.replay(moved, Warnings(dynamics="md"))
    assert rows[rows["name"] == "flagged_fs"]["value"].isna().all()
    assert "failed_fs" not in set(rows["name"])

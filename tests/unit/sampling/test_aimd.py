"""Molecular dynamics with engines: seeded, resumed to the same frames, at the right temperature."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gnnip.errors import CheckpointError, ConfigError, ConvergenceError, DataError
from gnnip.reference import engines
from gnnip.reference.engines import EngineError
from gnnip.sampling import aimd, frames

SOURCE = Path(aimd.__file__).resolve().parents[2]


def start(plan, rng):
    atoms = bulk("Cu", cubic=True) * (2, 2, 1)
    atoms.rattle(0.01, rng=rng)
    return atoms


PLAN = aimd.Plan(
    "copper",
    16,
    engine="ase:emt",
    temperatures=(300.0, 600.0),
    frames=4,
    stride_fs=6.0,
    equilibration_fs=20.0,
    settling_fs=10.0,
    timestep_fs=2.0,
    interval_steps=5,
)


#: copper atoms that a melt would bring nearer than 2.3 Angstrom are kept apart
WALLED = replace(
    PLAN,
    temperatures=(300.0,),
    melt_kelvin=4000.0,
    melt_fs=60.0,
    quench_fs=40.0,
    wall_pair="Cu-Cu",
    wall_distance=2.3,
)


def silent(line):
    pass


def run(plan, folder, progress=silent):
    return frames.read_trajectory(aimd.run(plan, folder, start, progress))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(PLAN, tmp_path_factory.mktemp("whole"))


def positions(trajectory):
    return np.array([frame.positions for frame in trajectory.frames])


def test_the_schedule_follows_the_plan():
    plan = replace(PLAN, melt_kelvin=2000.0, melt_fs=30.0, quench_fs=40.0)
    intervals = aimd.schedule(plan)
    steps = {}
    for interval in intervals:
        steps[interval.stage] = steps.get(interval.stage, 0) + interval.steps
        assert interval.steps <= plan.interval_steps
    assert steps == {"melt": 15, "quench": 20, "equilibration": 10, "settling": 5, "sampling": 24}
    quench = [i.temperature for i in intervals if i.stage == "quench"]
    # evenly down from 2000 to 300 K, each interval at its middle
    np.testing.assert_allclose(quench, 2000.0 - 1700.0 * (np.arange(4) + 0.5) / 4)
    assert sum(i.steps // i.record_every for i in intervals if i.record_every) == 8


def test_frames_carry_their_story(whole):
    assert [f.columns["temperature_k"] for f in whole.frames] == [300.0] * 4 + [600.0] * 4
    assert [f.columns["time_fs"] for f in whole.frames][:4] == [26.0, 32.0, 38.0, 44.0]
    assert {f.columns["trajectory"] for f in whole.frames} == {"copper-n016-r0"}
    first = whole.frames[0]
    np.testing.assert_array_equal(first.cell, start(PLAN, np.random.default_rng(0)).cell)
    assert first.atoms().pbc.all()
    # as they will be stored
    np.testing.assert_array_equal(first.positions, first.positions.astype(np.float32))
    assert whole.units["kinetic_temperature_k"] == "K"
    assert whole.evaluations == 39


def test_seeds_replicas_and_starts(whole, tmp_path):
    np.testing.assert_array_equal(positions(run(PLAN, tmp_path / "again")), positions(whole))
    for name, plan in (
        ("seed", replace(PLAN, seed=2)),
        ("replica", replace(PLAN, replica=1)),
    ):
        assert np.abs(positions(run(plan, tmp_path / name)) - positions(whole)).max() > 0.01


@pytest.mark.parametrize("after", [1, 3, 6])
def test_resumed_is_uninterrupted(whole, tmp_path, after):
    class StopError(Exception):
        pass

    lines = []

    def stop(line):
        lines.append(line)
        if len(lines) == after:
            raise StopError

    with pytest.raises(StopError):
        run(PLAN, tmp_path, stop)
    assert (tmp_path / "checkpoint.npz").exists()
    lines.clear()
    after = -1
    resumed = run(PLAN, tmp_path, stop)
    assert lines[0].startswith("copper-n016-r0 continues at interval")
    np.testing.assert_array_equal(positions(resumed), positions(whole))
    assert [f.columns for f in resumed.frames] == [f.columns for f in whole.frames]
    assert not (tmp_path / "checkpoint.npz").exists()
    # finished: nothing is done again
    assert run(PLAN, tmp_path, stop).seconds == resumed.seconds


JOB = """
import sys
sys.path.insert(0, sys.argv[2])
import test_aimd as t
import time
plan = getattr(t, sys.argv[3])
def slowly(line):
    time.sleep(0.2)
t.run(plan, sys.argv[1], slowly)
"""


@pytest.mark.parametrize("name", ["PLAN", "WALLED"])
def test_a_killed_trajectory_goes_on(tmp_path, name):
    plan = globals()[name]
    whole = run(plan, tmp_path / "whole")
    tmp_path = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", JOB, str(tmp_path), here, name]
    job = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 300
    while not (tmp_path / "checkpoint.npz").exists():
        assert time.monotonic() < deadline
        assert job.poll() is None
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not (tmp_path / "frames.npz").exists()
    np.testing.assert_array_equal(positions(run(plan, tmp_path)), positions(whole))


def test_a_wall_repels_within_its_distance():
    plan = replace(WALLED, wall_pair="O-H", wall_distance=1.5, wall_stiffness=8.0)
    atoms = Atoms("OHH", [[0, 0, 0], [1, 0, 0], [0, 5.5, 0]], cell=[6] * 3, pbc=True)
    # 8 x (1.5 - 1) along x, and 8 x (1.5 - 0.5) from the hydrogen behind the boundary
    forces = [[-4, 8, 0], [4, 0, 0], [0, -8, 0]]
    np.testing.assert_allclose(aimd.wall_forces(atoms, plan), forces, atol=1e-12)
    apart = replace(plan, wall_pair="O-O", wall_distance=2.5)
    assert not aimd.wall_forces(atoms, apart).any()


def test_a_wall_stands_while_the_melt_is_cooled_and_no_longer(tmp_path, monkeypatch):
    def shortest(plan):
        found, real = {}, aimd._check_distances

        def look(atoms, interval):
            distances = atoms.get_all_distances(mic=True)
            np.fill_diagonal(distances, np.inf)
            nearest = found.setdefault(interval.stage, [])
            nearest.append(distances.min())
            real(atoms, interval)

        monkeypatch.setattr(aimd, "_check_distances", look)
        run(plan, tmp_path / str(plan.wall_stiffness))
        monkeypatch.setattr(aimd, "_check_distances", real)
        return {stage: min(nearest) for stage, nearest in found.items()}

    soft, hard = (shortest(replace(WALLED, wall_stiffness=k)) for k in (1e-9, 50.0))
    for stage in ("melt", "quench"):
        assert soft[stage] < hard[stage]
    # a start without its melt feels nothing of it
    cold = replace(WALLED, melt_fs=0.0, quench_fs=0.0, melt_kelvin=300.0, wall_distance=3.0)
    none = replace(cold, wall_pair="", wall_distance=0.0)
    np.testing.assert_array_equal(
        positions(run(cold, tmp_path / "cold")), positions(run(none, tmp_path / "none"))
    )


@pytest.mark.parametrize(
    "change",
    [{"wall_pair": "CuCu"}, {"wall_pair": "Cu-X1"}, {"wall_distance": 0.0}, {"melt_kelvin": 0.0}],
)
def test_walls_that_cannot_be_are_refused(change):
    still = {"melt_fs": 0.0, "quench_fs": 0.0}
    with pytest.raises(ConfigError, match="a wall takes two elements such as O-O, a distance"):
        replace(WALLED, **still, **change)


def test_checkpoints_of_another_plan_and_damaged_ones_are_refused(tmp_path):
    aimd.run(PLAN, tmp_path, start, silent)
    with pytest.raises(CheckpointError, match=r"was made with another frames, seed; delete it"):
        run(replace(PLAN, seed=9, frames=5), tmp_path)
    stamp = (tmp_path / "frames.npz").stat().st_mtime_ns
    run(PLAN, tmp_path)
    assert (tmp_path / "frames.npz").stat().st_mtime_ns == stamp
    (tmp_path / "unfinished").mkdir()
    for file in (tmp_path / "frames.npz", tmp_path / "unfinished" / "checkpoint.npz"):
        file.write_bytes(b"PK")
        with pytest.raises(
            CheckpointError,
            match=rf"{file.name} is damaged or not a trajectory file of gnnip; delete it",
        ):
            run(PLAN, file.parent)
    with pytest.raises(DataError, match="is damaged or not a trajectory file of gnnip"):
        frames.read_trajectory(tmp_path / "frames.npz")
    with pytest.raises(DataError, match="is missing; run its trajectory first"):
        frames.read_trajectory(tmp_path / "gone.npz")


@pytest.mark.parametrize("temperature", [200.0, 500.0])
def test_the_temperature_is_that_of_the_plan(tmp_path, temperature):
    plan = replace(
        PLAN,
        engine="ase:lj sigma=2.2 epsilon=0.4 rc=5.0 smooth=true",
        temperatures=(temperature,),
        frames=120,
        stride_fs=10.0,
        equilibration_fs=400.0,
        timestep_fs=5.0,
        friction_per_fs=0.02,
        interval_steps=300,
        boost=2.0,
    )
    trajectory = run(plan, tmp_path)
    kinetic = [f.columns["kinetic_temperature_k"] for f in trajectory.frames]
    # 48 freedoms, memory of 1/friction = 50 fs, 1200 fs: about 2 % of statistical error
    assert np.mean(kinetic) == pytest.approx(temperature, rel=0.1)


def test_what_goes_wrong_starts_again_with_the_next_seed(tmp_path, monkeypatch):
    calls = {"n": 0}
    real = aimd.evaluate

    def fail_once(calculator, atoms):
        calls["n"] += 1
        if calls["n"] == 20:
            raise ConvergenceError("SCF not converged in 250 cycles")
        return real(calculator, atoms)

    monkeypatch.setattr(aimd, "evaluate", fail_once)
    lines = []
    trajectory = run(PLAN, tmp_path / "once", lines.append)
    (event,) = trajectory.events
    assert "attempt 0, interval 3 (sampling): SCF not converged in 250 cycles" in event
    assert any("starting again with the next seed" in line for line in lines)
    assert len(trajectory.frames) == 8

    def always(calculator, atoms):
        raise ConvergenceError("no")

    monkeypatch.setattr(aimd, "evaluate", always)
    with pytest.raises(
        DataError, match=r"copper-n016-r0: 3 attempts in a row were lost \(last: no"
    ):
        run(PLAN, tmp_path / "always")


def test_atoms_that_fly_apart_or_collide_end_the_attempt(tmp_path):
    hot = replace(PLAN, boost=100.0, max_attempts=1)
    with pytest.raises(DataError, match="the atoms fly apart"):
        run(hot, tmp_path / "hot")

    def touching(plan, rng):
        atoms = start(plan, rng)
        atoms.positions[0] = atoms.positions[1] + 0.1
        return atoms

    with pytest.raises(DataError, match=r"two atoms are 0\.17 Å apart"):
        aimd.run(replace(PLAN, max_attempts=1), tmp_path / "near", touching, silent)


def test_heavy_hydrogen_has_other_momenta_only(tmp_path):
    from ase.build import molecule

    plan = replace(PLAN, hydrogen_mass=4.0)
    masses = aimd._masses(plan, molecule("CH4")) / aimd._masses(PLAN, molecule("CH4"))
    np.testing.assert_allclose(masses, [1.0] + [4.0 / 1.008] * 4)


def test_a_missing_engine_is_named_at_once(tmp_path, monkeypatch):
    def nothing(name):
        raise engines.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(engines.metadata, "version", nothing)
    with pytest.raises(EngineError, match="run 'pip install tblite'"):
        run(replace(PLAN, engine="xtb"), tmp_path)
    assert not list(tmp_path.iterdir())

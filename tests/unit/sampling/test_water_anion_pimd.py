"""Ring polymers of the anion: frames, resumption, and what the shipped ones must show."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from stopped_runs import run_in_pieces

from gnnip.datasets import assembly, registry, store, verification
from gnnip.errors import DataError
from gnnip.sampling import clusters, langevin, path_integrals, water_anion, water_anion_pimd
from gnnip.sampling.atomic_units import FEMTOSECOND
from gnnip.sampling.frames import Frame, read_trajectory
from gnnip.sampling.water_anion_pimd import Plan, paper_plan, run_trajectory, smoke_plan

SIZES = (20, 32, 47, 76, 100, 139, 190, 237)


def silent(line):
    pass


@pytest.fixture(scope="module")
def classical(root):
    """Shipped frames of 47 molecules as starts; the last ones are interior states, cheap to
    label."""
    frames = store.read_frames(root / "data/water_anion_ladder.h5")
    chosen = np.flatnonzero(frames.column("n_molecules") == 47)
    kelvin = frames.column("temperature_k")
    return [
        Frame(z, x, None, {"temperature_k": float(kelvin[i])})
        for i in chosen
        for x, z, _, _ in [frames.structure(int(i))]
    ]


@pytest.fixture(scope="module")
def finished(classical, tmp_path_factory):
    return run_trajectory(
        smoke_plan(47, 3), tmp_path_factory.mktemp("ring"), silent, starts=classical
    )


@pytest.fixture(scope="module")
def archive(finished, tmp_path_factory):
    out = tmp_path_factory.mktemp("archive") / "water_anion_pimd.h5"
    return assembly.assemble("water_anion_pimd", [finished], out)


def test_each_instant_gives_a_bead_and_the_centroid(finished, classical):
    found = read_trajectory(finished)
    assert found.name == "n047-t200-p3"
    column = {key: [f.columns[key] for f in found.frames] for key in found.frames[0].columns}
    assert column["geometry"] == ["bead", "centroid"] * 2
    # 16 fs of equilibration, 8 fs for each instant
    assert column["time_fs"] == [24, 24, 32, 32]
    assert set(column["temperature_k"]) == {200.0}
    bead, centroid = (found.frames[i].positions for i in (2, 3))
    start = [f.positions for f in classical if f.columns["temperature_k"] == 200.0][-1]
    # near where the ring was put: oxygens have hardly moved in 32 fs
    assert 0.01 < np.abs(centroid - start)[::3].max() < 0.8
    assert 0.01 < np.abs(bead - centroid).max() < 1.0
    # the bead's bonds are stretched and bent by the zero-point motion
    V = dict(zip(column["geometry"][2:], column["energy_atomic"][2:], strict=True))
    assert V["bead"] > V["centroid"] + 0.02


def test_the_series_follows_both_estimators(finished):
    found = read_trajectory(finished)
    # two intervals of four impulses
    assert found.series.shape == (8, len(water_anion_pimd.SERIES))
    row = dict(zip(water_anion_pimd.SERIES, found.series[-1], strict=True))
    last = found.frames[-1].columns
    for name in ("virial", "primitive"):
        kinetic = row[f"energy_{name}"] - row["energy_atomic"] - row["energy_electronic"]
        assert last[f"kinetic_{name}"] == pytest.approx(kinetic, rel=1e-9)
    assert row["radius"] == pytest.approx(clusters.radius(found.frames[-1].positions), rel=1e-6)


def test_run_stopped_at_every_interval_equals_an_uninterrupted_one(finished, classical, tmp_path):
    plan = smoke_plan(47, 3)
    run = partial(run_trajectory, plan, tmp_path, silent, starts=classical)
    result, stops = run_in_pieces(water_anion_pimd, "run_interval", run, 10)
    assert stops == len(water_anion_pimd.schedule(plan)) - 1
    one, two = read_trajectory(result), read_trajectory(finished)
    np.testing.assert_array_equal(one.series, two.series)
    for first, second in zip(one.frames, two.frames, strict=True):
        np.testing.assert_array_equal(first.positions, second.positions)
        assert first.columns == second.columns


def test_a_start_of_another_size_or_temperature_is_refused(classical, tmp_path):
    for plan in (smoke_plan(32), Plan(47, temperature=75.0)):
        with pytest.raises(DataError, match=r"starts from a classical frame of .* none among"):
            run_trajectory(plan, tmp_path, silent, starts=classical)


def test_a_lost_ring_starts_from_the_frame_before(classical):
    starts = [f.positions for f in classical[:3]]
    for attempt, expected in enumerate([2, 1, 0, 2]):
        state = water_anion_pimd.begin(smoke_plan(47, 3), starts, attempt)
        np.testing.assert_array_equal(state.positions[5], starts[expected])


def test_electron_on_all_beads_is_the_limit_of_the_contracted_ring(classical):
    start = [f.positions for f in classical if f.columns["temperature_k"] == 200.0][-1]
    rng = np.random.default_rng(0)
    moved = langevin.maxwell_momenta(clusters.masses(47), 200.0, 4, rng)
    ring = start + 10 * FEMTOSECOND * moved / clusters.masses(47)[:, None]
    plan = Plan(47, beads=4, electron_beads=4, precision="double", residual=1e-5)
    forces = water_anion_pimd._RingForces(plan)
    slow = forces.slow(ring)
    electron = water_anion.Electron(plan)
    between = water_anion_pimd.spcf.of_beads("intermolecular", ring)[1]
    np.testing.assert_allclose(slow - between, electron.forces(ring), atol=1e-9)
    fewer = water_anion_pimd._RingForces(replace(plan, electron_beads=3))
    total = np.abs(slow.mean(axis=0) - fewer.slow(ring).mean(axis=0)).max()
    assert total < 0.2 * np.abs(electron.forces(ring)).max()


def test_archive_has_both_geometries_and_verified_labels(archive):
    frames = store.read_frames(archive)
    assert list(frames.column("geometry")) == ["bead", "centroid"] * 2
    assert {"kinetic_virial", "kinetic_primitive", "state", "gap"} <= set(frames.metadata)
    assert frames.units["kinetic_virial"] == "Hartree"
    told = json.loads(frames.attributes["trajectories"])["n047-t200-p3"]
    assert "8 beads, 3 of the electron, energy" in told
    assert "drift" in told
    assert len(verification.verify_labels(archive, 1, seed=0)) == 2


def test_shipped_plans_cover_sizes_and_temperatures():
    plans = [paper_plan(n, r) for n in SIZES for r in range(4)]
    assert {(p.size, p.temperature) for p in plans} == {
        (n, t) for n in SIZES for t in (50.0, 100.0, 150.0, 200.0)
    }
    assert sum(2 * p.frames for p in plans) >= 640
    assert all(p.beads * p.temperature >= 3200.0 for p in plans)


def height_check(frames, classical, size, temperature):
    """Return V per molecule of beads and centroids above the classical mean, and the harmonic
    estimate of the beads'."""

    def chosen(of, **columns):
        wanted = {"n_molecules": size, "temperature_k": temperature, **columns}
        return np.all([of.column(k) == v for k, v in wanted.items()], axis=0)

    def mean(of, **columns):
        return of.energies["atomic"][chosen(of, **columns)].mean() / size

    reference = mean(classical)
    first = classical.structure(int(np.flatnonzero(chosen(classical))[0]))[0]
    minimum = clusters.quench(first, water_anion.spcf.energy_and_forces, 3000)
    heights = [mean(frames, geometry=g) - reference for g in ("bead", "centroid")]
    return (*heights, path_integrals.harmonic_height(minimum, temperature, None))


@pytest.mark.parametrize("temperature", [50.0, 200.0])
def test_shipped_beads_lie_as_high_as_the_harmonic_estimate(temperature):
    if "water_anion_pimd" not in registry.load_registry():
        pytest.skip("data/water_anion_pimd.h5 is not shipped yet (runs.yaml)")
    frames, classical = (
        store.read_frames(registry.check_archive(name))
        for name in ("water_anion_pimd", "water_anion")
    )
    bead, centroid, estimate = height_check(frames, classical, 20, temperature)
    assert bead == pytest.approx(estimate, rel=0.2)
    assert abs(centroid) < 0.2 * estimate

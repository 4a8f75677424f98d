import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from stopped_runs import run_in_pieces

from gnnip.errors import DataError
from gnnip.reference import spcf
from gnnip.reference.electron import ElectronSolver
from gnnip.sampling import clusters, langevin, water_anion, water_anion_ladder
from gnnip.sampling.atomic_units import FEMTOSECOND
from gnnip.sampling.frames import read_trajectory
from gnnip.sampling.intervals import OutOfTimeError
from gnnip.sampling.water_anion import run_trajectory
from gnnip.sampling.water_anion_ladder import smoke_plan

SIZES = (20, 32, 47, 76, 100, 139, 190, 237)
SCIENCE = (
    "positions",
    "temperature_k",
    "time_fs",
    "state",
    "energy_atomic",
    "energy_electronic",
    "electron_gyration_radius",
    "electron_offset",
    "series",
)


def silent(line):
    pass


def frames_of(path):
    """Return the columns of the frames, their positions (frames, 3N, 3), events and plan."""
    trajectory = read_trajectory(path)
    first = trajectory.frames[0]
    columns = {key: np.array([f.columns[key] for f in trajectory.frames]) for key in first.columns}
    positions = np.array([frame.positions for frame in trajectory.frames])
    story = {key: getattr(trajectory, key) for key in ("events", "plan", "series")}
    return {"positions": positions, **columns, **story}


@pytest.fixture(scope="module")
def surface(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surface")
    return frames_of(run_trajectory(smoke_plan(20), folder, silent))


@pytest.fixture(scope="module")
def interior(tmp_path_factory):
    # the cavity needs its 600 fs
    plan = replace(smoke_plan(47), start="interior", seeding_fs=600.0, temperatures=(200.0,))
    folder = tmp_path_factory.mktemp("interior")
    return frames_of(run_trajectory(plan, folder, silent))


def test_frames_are_those_of_the_plan(surface):
    assert surface["positions"].shape == (4, 60, 3)
    np.testing.assert_array_equal(surface["temperature_k"], [200, 200, 100, 100])
    # 400 fs capture, 24 fs equilibration, 2 x 8 fs, 12 fs cooling, 2 x 8 fs
    np.testing.assert_allclose(surface["time_fs"], [432, 440, 460, 468])
    for positions in surface["positions"]:
        spcf.check_water(positions, np.tile([8, 1, 1], 20))
        # stored in single precision
        np.testing.assert_allclose(clusters.centre_of_mass(positions), 0, atol=1e-6)
        assert clusters.fragments(positions) == [20]
    assert (surface["energy_electronic"] < 0).all()
    assert set(surface["trajectory"]) == {"n020-r0"}
    assert surface["plan"]["size"] == 20


def test_surface_start_gives_a_surface_state(surface):
    assert set(surface["state"]) == {"surface"}


def test_interior_start_gives_an_interior_state(interior):
    assert set(interior["state"]) == {"interior"}
    # the compact interior state: about 2.4 Angstrom, -0.06 Hartree at N = 47
    assert interior["electron_gyration_radius"].max() < 6.0
    assert interior["energy_electronic"].max() < -0.03


def test_state_compares_the_electron_with_the_clusters_sphere(interior):
    positions = interior["positions"][0]
    radius = clusters.radius(positions)
    assert water_anion.electron_state(positions, np.zeros(3), 0.5 * radius)[0] == "interior"
    outside = np.array([0.7 * radius, 0, 0])
    state, offset = water_anion.electron_state(positions, outside, 0.5 * radius)
    assert (state, offset) == ("surface", pytest.approx(0.7 * radius))


@pytest.mark.parametrize("sampler", [water_anion, water_anion_ladder])
def test_run_stopped_at_every_interval_equals_an_uninterrupted_one(sampler, tmp_path):
    # a deadline in the past stops before each interval; each call then does exactly one
    plan = sampler.smoke_plan(20)
    whole = frames_of(run_trajectory(plan, tmp_path / "whole", silent))
    intervals = water_anion.schedule(plan)
    run = partial(run_trajectory, plan, tmp_path / "stopped", silent)
    result, stops = run_in_pieces(water_anion, "_run_interval", run, 3 * len(intervals))
    assert stops >= len(intervals) - 1
    again = frames_of(result)
    for key in SCIENCE:
        np.testing.assert_array_equal(again[key], whole[key])


def test_deadline_stops_and_says_how_to_continue(tmp_path):
    with pytest.raises(OutOfTimeError, match="run the same command again"):
        run_trajectory(smoke_plan(20), tmp_path, silent, deadline=time.time() - 1)


def test_lost_cluster_starts_again_with_the_next_seed(tmp_path, monkeypatch):
    plan = replace(smoke_plan(20), frames=1, temperatures=(200.0,))
    real, calls = clusters.fragments, []

    def evaporate_once(positions):
        calls.append(1)
        return [19, 1] if len(calls) == 8 else real(positions)

    monkeypatch.setattr(clusters, "fragments", evaporate_once)
    lines = []
    content = frames_of(run_trajectory(plan, tmp_path, lines.append))
    (event,) = content["events"]
    assert "evaporation into pieces of 19, 1 molecules" in event
    assert any("starting again with the next seed" in line for line in lines)


def test_cluster_that_always_falls_apart_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "fragments", lambda positions: [10, 10])
    plan = replace(smoke_plan(20), max_attempts=2)
    with pytest.raises(DataError, match="2 attempts in a row were lost"):
        run_trajectory(plan, tmp_path, silent)


def test_dynamics_of_the_anion_conserve_energy(interior):
    # constant energy: V + E_0 + kinetic of a warm-started run; 2 fs impulses over 60 fs
    x = interior["positions"][-1]
    masses = clusters.masses(47)
    rng = np.random.default_rng(0)
    p = langevin.maxwell_momenta(masses, 150.0, 1, rng)
    solver = ElectronSolver(3e-4, 2.0, 12.0, 5e-4)
    state = None

    def slow(positions):
        nonlocal state
        state = solver.solve(positions[0], guess=state, fixed_grid=state is not None)
        return state.forces[None]

    def fast(positions):
        return spcf.energy_and_forces(positions[0])[1][None]

    dynamics = langevin.Langevin(masses, 0.5 * FEMTOSECOND, 0.0, 150.0)
    x = x[None]
    f, g, energies = fast(x), slow(x), []
    for _ in range(30):
        x, p, f, g = dynamics.advance(x, p, f, fast, rng, n_inner=4, slow_forces=g, slow=slow)
        kinetic = 0.5 * float((p**2 / masses[:, None]).sum())
        energies.append(spcf.energy_and_forces(x[0])[0] + state.energy + kinetic)
    assert np.std(energies) < 1e-3
    assert np.ptp(energies) < 4e-3


def test_label_of_a_geometry(interior):
    positions = interior["positions"][0]
    label = water_anion.label(positions, accuracy=1e-5)
    finer = ElectronSolver(1e-6).solve(positions)
    assert label["energy_electronic"] == pytest.approx(finer.energy, abs=1e-5)
    np.testing.assert_allclose(label["forces_electronic"], finer.forces, atol=5e-5)
    assert label["energy_atomic"] == spcf.energy_and_forces(positions)[0]
    # the dynamics' coarse grid is good to a few 1e-4
    assert label["energy_electronic"] == pytest.approx(interior["energy_electronic"][0], abs=2e-3)
    assert label["state"] == "interior"
    assert label["gap"] > 0.02


def test_cavity_pushes_atoms_out_and_nothing_else():
    positions = clusters.random_cluster(47, np.random.default_rng(0))
    forces = water_anion.cavity_forces(positions)
    away = positions - clusters.centre_of_mass(positions)
    distance = np.linalg.norm(away, axis=1)
    reach = np.tile([6.5, 4.2, 4.2], 47)
    assert (forces[distance > reach] == 0).all()
    inside = distance < reach
    np.testing.assert_allclose(
        np.linalg.norm(forces[inside], axis=1), 0.02 * (reach - distance)[inside]
    )
    assert ((forces * away).sum(axis=1) >= 0).all()


def test_starts_of_the_ladder():
    starts = {n: [water_anion_ladder.paper_plan(n, r).start for r in range(4)] for n in SIZES}
    inside = [starts[n].count("interior") for n in SIZES]
    assert inside == sorted(inside)
    assert inside[:2] == [0, 0]
    for n in SIZES[2:]:  # both present from N = 47
        assert 0 < starts[n].count("interior") < 4


def test_one_trajectory_for_each_size_and_temperature():
    plans = [water_anion.paper_plan(n, r) for n in SIZES for r in range(4)]
    kinds = {(plan.size, *plan.temperatures) for plan in plans}
    assert kinds == {(n, t) for n in SIZES for t in (50.0, 100.0, 150.0, 200.0)}
    assert sum(plan.frames for plan in plans) == 1280
    assert len({plan.name for plan in plans}) == 32
    starts = {n: "".join(p.start[0] for p in plans if p.size == n) for n in SIZES}
    assert {starts[n] for n in (20, 32)} == {"ssss"}
    assert {starts[n] for n in (47, 76, 100)} == {"sisi"}
    assert {starts[n] for n in (139, 190, 237)} == {"iiii"}
    # other drops than those of the ladder, by another seed
    assert {p.seed for p in plans}.isdisjoint({water_anion_ladder.paper_plan().seed})


def test_cold_clusters_are_cooled_with_their_electron():
    for plan in map(water_anion.paper_plan, SIZES, [0] * len(SIZES)):
        charged = [i for i in water_anion.schedule(plan) if i.stage != "neutral"]
        rungs = list(dict.fromkeys(i.temperature for i in charged))
        assert rungs == [200.0, 150.0, 100.0, 50.0]
        at_rest = [i for i in charged if i.stage == "equilibration"]
        assert {i.temperature for i in at_rest} == {50.0}
        assert sum(i.impulses * i.electron_fs for i in at_rest) == plan.equilibration_fs
        assert {i.temperature for i in charged if i.stage == "sampling"} == {50.0}
    warm = water_anion.schedule(water_anion.paper_plan(20, 2))
    assert {i.temperature for i in warm if i.stage != "neutral"} == {150.0}


def test_the_series_follows_what_frames_say(surface):
    # two frames of four impulses at each of two temperatures
    assert surface["series"].shape == (16, 3)
    atomic, electronic, radius = surface["series"][3::4].T
    np.testing.assert_allclose(atomic, surface["energy_atomic"], rtol=1e-12)
    np.testing.assert_allclose(electronic, surface["energy_electronic"], rtol=1e-12)
    radii = [clusters.radius(x) for x in surface["positions"]]
    np.testing.assert_allclose(radius, radii, rtol=1e-6)


def test_sampler_needs_neither_ase_nor_torch():
    program = (
        "import sys; import gnnip.sampling.water_anion_ladder;"
        "print([m for m in ('ase', 'torch', 'pydantic', 'pandas') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]"

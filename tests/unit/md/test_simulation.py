"""The engine: one replica is the same alone, in company, beside a failure and after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from dynamics_systems import (
    Bomb,
    Harmonic,
    LennardJones,
    StillingerWeber,
    argon,
    fcc,
    remembering,
    simulate,
)

from gnnip import md
from gnnip.errors import CheckpointError, ConfigError, DataError, StructureError
from gnnip.graphs import neighbour_list
from gnnip.md.checkpoint import read_checkpoint
from gnnip.md.neighbours import SkinList

MAKERS = {
    "verlet": lambda: md.VelocityVerlet(2.0),
    "langevin": lambda: md.Langevin(2.0, 0.02),
    "csvr": lambda: md.CSVR(2.0, 50.0),
}


def same_bits(a: md.State, b: md.State) -> None:
    for name in ("positions", "velocities", "forces", "energy", "heat"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name


def same_records(a: md.Trajectory, b: md.Trajectory) -> None:
    for name in ("time_fs", "positions", "velocities"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name, values in b.series.items():
        np.testing.assert_array_equal(a.series[name], values)


@pytest.mark.parametrize("name", MAKERS)
def test_a_replica_is_the_same_alone_and_in_company(name):
    state = argon(5, temperature=[20, 40, 60, 80, 100])
    together = simulate(state, 40, integrator=MAKERS[name]()).final
    in_twos = simulate(state, 40, integrator=MAKERS[name](), replicas_per_call=2).final
    for row in (0, 3):
        alone = simulate(state.select([row]), 40, integrator=MAKERS[name]()).final
        same_bits(alone[row], together[row])
        same_bits(alone[row], in_twos[row])


def test_replicas_of_different_systems_share_a_batch():
    positions, cell = fcc(2)
    cluster = positions[:13] * 0.75
    systems = md.make_state(
        [positions, cluster, positions + 0.1],
        [np.full(32, 18), np.full(13, 10), np.full(32, 18)],
        cells=[cell, None, cell],
        temperature=30.0,
        seeds=[1, 2, 3],
    )
    run = simulate(systems, 20)
    for row in range(3):
        alone = simulate(systems.select([row]), 20)
        same_bits(alone.final[row], run.final[row])
    joined = md.State.concatenate([systems.select([1]), systems.select([0, 2])])
    assert joined.layout.identifiers == (0, 1, 2)
    assert joined.layout.counts == (13, 32, 32)


def bombs() -> md.State:
    """Six replicas of argon; in number 2 eight atoms are of the element that collapses."""
    state = argon(6, temperature=40.0)
    numbers = state.atomic_numbers.clone()
    numbers[2 * 32 : 2 * 32 + 8] = 36
    return state.replace(atomic_numbers=numbers)


@pytest.mark.parametrize("name", MAKERS)
def test_a_collapse_does_not_disturb_the_others(name):
    state = bombs()
    n_steps = 160
    options = {"record_every": 5, "frame_every": 5, "frame_precision": "float64"}
    with_it = simulate(state, n_steps, Bomb(), MAKERS[name](), **options)
    assert list(with_it.failures) == [2]
    failure = with_it.failures[2]
    assert 10 < failure.step < n_steps - 20
    others = [0, 1, 3, 4, 5]
    without = simulate(state.select(others), n_steps, Bomb(), MAKERS[name](), **options)
    assert not without.failures
    beside = {t.replica: t for t in with_it.trajectories}
    for replica in others:
        same_bits(with_it.final[replica], without.final[replica])
    for trajectory in without.trajectories:
        assert len(trajectory.time_fs) == n_steps // 5 + 1
        same_records(beside[trajectory.replica], trajectory)
    assert beside[2].failure is failure
    assert 1 < len(beside[2].time_fs) <= failure.last_good.step // 5 + 1
    # frozen in the last good frame, with its story
    assert failure.last_good.step == failure.step - 1
    np.testing.assert_array_equal(with_it.final[2].positions.numpy(), failure.last_good.positions)
    assert failure.first_bad.step == failure.step
    assert beside[2].series["time_fs"][-1] <= failure.last_good.step * 2.0
    assert failure.reason in ("temperature", "min-distance")
    assert failure.pair_numbers == (36, 36)
    first, second = failure.first_bad.positions[list(failure.pair)]
    delta = first - second
    delta -= np.round(delta / 10.6) * 10.6
    assert abs(np.linalg.norm(delta) - failure.pair_distance) < 1e-10
    assert "replica 2 failed at" in str(failure)
    assert failure.time_fs == failure.step * 2.0
    assert with_it.time_fs == n_steps * 2.0


def test_atoms_that_meet_fail_by_distance():
    state = bombs()
    criteria = md.Criteria(temperature_factor=None)
    run = simulate(state, 300, Bomb(), criteria=criteria)
    failure = run.failures[2]
    assert failure.reason == "min-distance"
    limit = 0.6 * 2 * 1.16
    last = (failure.last_good.positions, np.full(32, 36), failure.cell, failure.pbc)
    before = md.closest_pair(last)
    assert failure.pair_distance < limit < before[1]
    assert failure.pair_ratio == pytest.approx(failure.pair_distance / 2.32)


class Poison(LennardJones):
    """Not a number for one replica after some calls."""

    calls = 0

    def forward(self, batch):
        output = super().forward(batch)
        self.calls += 1
        if self.calls > 10 and batch.n_graphs > 1:
            energy = output["energy"].clone()
            energy[1] = torch.nan
            output["energy"] = energy
        return output


def test_reasons_are_told_apart():
    def reasons(run):
        return {replica: (f.reason, f.step) for replica, f in run.failures.items()}

    poisoned = simulate(argon(3), 12, Poison())
    assert {f.reason for f in poisoned.failures.values()} == {"non-finite"}
    assert poisoned.failures[1].step == 10

    hot = argon(2)
    factors = torch.where((hot.replica == 1)[:, None], 2.5, 1.0)
    run = simulate(hot.replace(velocities=factors * hot.velocities), 3)
    assert reasons(run) == {1: ("temperature", 0)}
    assert run.failures[1].last_good is None
    assert run.final[0].energy.isfinite()

    fast = argon(1)
    fast = fast.replace(velocities=fast.velocities * 600.0)
    run = simulate(fast, 3, criteria=md.Criteria(temperature_factor=None))
    assert reasons(run) == {0: ("displacement", 1)}

    energy = float(simulate(argon(1), 0).final[0].energy[0])
    for reference, late, expected in (
        ((energy, 1.0), 0.0, {}),
        ((energy - 1.0, 0.1), 0.0, {0: ("energy", 0)}),
        ([(energy - 1.0, 0.1)], 7.0, {0: ("energy", 4)}),
    ):
        criteria = md.Criteria(energy_reference=reference, equilibration_fs=late)
        assert reasons(simulate(argon(1), 8, criteria=criteria)) == expected


@pytest.mark.parametrize(
    ("reasons", "ratio", "kind"),
    [
        (("min-distance", "temperature"), 0.5, "collapse"),
        # the heat of a collapse is noticed first
        (("temperature",), 0.7, "collapse"),
        (("temperature", "energy"), 0.9, "explosion"),
        (("displacement",), np.nan, "explosion"),
        (("rdf",), 0.9, "melting"),
        (("non-finite", "min-distance"), 0.5, "non-finite"),
        (("evaluation",), 0.9, "refused"),
    ],
)
def test_kinds_of_failure(reasons, ratio, kind):
    frame = md.Frame(1, np.zeros((2, 3)), np.zeros((2, 3)), 0.0, 1.0)
    about = {"reason": reasons[0], "reasons": reasons, "detail": "", "pair": (0, 1)}
    about |= {"pair_numbers": (18, 18), "pair_distance": 1.0, "pair_ratio": ratio}
    about |= {"last_good": frame, "first_bad": frame, "atomic_numbers": np.full(2, 18)}
    failure = md.Failure(0, 1, 40.0, 1, 2.0, **about, cell=None, pbc=None)
    assert failure.kind == kind
    assert kind in md.KINDS


def test_rdf_criterion_over_windows():
    cell, numbers = fcc(2)[1], np.full(32, 18)
    own = simulate(argon(1), 60, integrator=md.VelocityVerlet(4.0), frame_every=5)
    frames = own.trajectories[0].positions
    solid = md.radial_distribution(frames, numbers, cell, r_max=5.0, bins=50)
    gas = md.radial_distribution(
        np.random.default_rng(0).random((20, 32, 3)) * 10.6, numbers, cell, r_max=5.0, bins=50
    )
    for reference, fails in ((solid, False), (gas, True)):
        rdf = md.RdfCriterion(reference, threshold=1.5, window_fs=80.0, sample_fs=20.0)
        criteria = md.Criteria(rdf=rdf)
        run = simulate(argon(1), 50, integrator=md.VelocityVerlet(4.0), criteria=criteria)
        found = [(f.reason, f.time_fs) for f in run.failures.values()]
        assert found == ([("rdf", 80.0)] if fails else [])
    with pytest.raises(ConfigError, match="sample_fs"):
        md.RdfCriterion(solid, threshold=1.0, window_fs=1.0, sample_fs=2.0)


class Picky(LennardJones):
    """Refuses batches with an atom far from where it began."""

    def forward(self, batch):
        if (batch.positions[:, 0] > 11.0).any():
            raise DataError("an atom left the box")
        return super().forward(batch)


def test_a_refused_structure_fails_alone():
    state = argon(3, temperature=40.0)
    velocities = state.velocities.clone()
    velocities[32:64, 0] += 0.05  # replica 1 drifts out
    state = state.replace(velocities=velocities)
    criteria = md.Criteria(temperature_factor=None)
    run = simulate(state, 40, Picky(), criteria=criteria)
    assert list(run.failures) == [1]
    assert run.failures[1].reason == "evaluation"
    assert "left the box" in run.failures[1].detail
    rest = simulate(state.select([0, 2]), 40, criteria=criteria)
    same_bits(run.final[0], rest.final[0])
    same_bits(run.final[2], rest.final[2])
    far = state.replace(positions=state.positions + 12.0)
    with pytest.raises(DataError, match="replica 0 cannot start: an atom left"):
        simulate(far, 1, Picky())


def test_autopsy_knows_the_training_environments():
    cell = fcc(2)[1]
    warm = simulate(argon(1), 60, integrator=md.VelocityVerlet(4.0), frame_every=5)
    numbers, flags = np.full(32, 18), np.ones(3, dtype=bool)
    frames = [(p.astype(float), numbers, cell, flags) for p in warm.trajectories[0].positions]
    library = md.EnvironmentLibrary(cutoff=5.0).fit(frames[::2])
    known = library.distances(frames[1])
    assert np.median(known) < 1.0
    moved = frames[1][0].copy()
    moved[5] += [1.5, 0.0, 0.0]
    strange = library.distances((moved, numbers, cell, flags))
    assert strange.argmax() == 5
    assert strange[5] > 3.0
    assert np.isinf(library.distances((moved, np.full(32, 10), cell, flags))).all()
    run = simulate(bombs(), 160, Bomb())
    failure = run.failures[2]
    last = (failure.last_good.positions, failure.atomic_numbers, cell, flags)
    distance, atom = library.fit(frames).strangest(last, failure.pair)
    assert distance > 3.0
    assert atom in failure.pair
    with pytest.raises(DataError, match="two frames"):
        md.EnvironmentLibrary().fit(frames[:1])


# neighbour lists


def list_energy(state: md.State, skin: float, n_steps: int) -> tuple[md.Result, np.ndarray]:
    options = {"skin": skin, "record_every": 1, "frame_every": None}
    run = simulate(state, n_steps, integrator=md.VelocityVerlet(4.0), **options)
    return run, np.stack([t.series["potential_energy_ev"] for t in run.trajectories])


def test_skin_list_equals_a_list_made_at_every_step():
    state = argon(2, temperature=[60.0, 150.0])
    every, energies = list_energy(state, 0.0, 80)
    seldom, same = list_energy(state, 0.8, 80)
    np.testing.assert_array_equal(energies, same)
    assert every.rebuilds == 2 * 81
    assert 2 < seldom.rebuilds < 40


def test_only_the_replicas_that_moved_are_rebuilt():
    state = argon(2, temperature=[0.0, 150.0])
    run, _ = list_energy(state, 0.8, 60)
    hot, _ = list_energy(state.select([1]), 0.8, 60)
    assert hot.rebuilds > 1
    assert run.rebuilds == hot.rebuilds + 1


@pytest.mark.parametrize("shear", [0.0, 0.4])
def test_pairs_of_a_cell_smaller_than_the_cutoff(shear):
    """One to a few atoms, cutoff of several cells: as many pairs as the list made directly."""
    rng = np.random.default_rng(2)
    cell = np.diag([2.6, 3.0, 3.4]) + shear * np.eye(3, k=1)
    fractional = rng.random((3, 3))
    state = md.make_state(
        [fractional @ cell + 7 * cell[0], np.zeros((1, 3))],
        [[18, 10, 18], [18]],
        cells=[cell, cell],
        temperature=300.0,
        seeds=[0, 1],
    )
    pairs = SkinList(6.5, 0.5)
    for _ in range(3):
        pairs.update(state, pairs.displacement(state).tolist())
        edges, _ = pairs.edges(state, 0, range(2))
        offset, found = 0, []
        for positions, n in ((state.positions[:3], 3), (state.positions[3:], 1)):
            index, shift = neighbour_list(positions.numpy(), 6.5, cell, True)
            vectors = positions[index[0]] - positions[index[1]] + torch.as_tensor(shift)
            found.append((index + offset, vectors.square().sum(1)))
            offset += n
        expected = np.concatenate([f[0] for f in found], axis=1)
        np.testing.assert_array_equal(edges.edge_index.numpy(), expected)
        torch.testing.assert_close(edges.squared, torch.cat([f[1] for f in found]))
        # the sums that models make through the adjacency
        x = torch.rand(4, dtype=torch.float64)
        expected_sum = torch.zeros(4, dtype=torch.float64).index_add(
            0, edges.edge_index[1], x[edges.edge_index[0]]
        )
        adjacency = edges.adjacency
        torch.testing.assert_close(adjacency.sum_messages(adjacency.from_source(x)), expected_sum)
        source = edges.edge_index[0][adjacency.by_source]
        assert (source.diff() >= 0).all()
        torch.testing.assert_close(
            torch.bincount(source, minlength=4).cumsum(0), adjacency.source_offsets[1:]
        )
        state = state.replace(
            positions=state.positions + 0.1 * torch.rand(4, 3, dtype=torch.float64)
        )


def test_skin_and_cutoff_are_checked():
    with pytest.raises(ConfigError, match="cutoff"):
        SkinList(0.0, 1.0)
    with pytest.raises(ConfigError, match="skin"):
        SkinList(5.0, -1.0)
    with pytest.raises(ConfigError, match="replicas_per_call"):
        SkinList(5.0, 1.0, replicas_per_call=0)


def test_closest_pair_by_radii_and_images():
    positions = np.array([[0.1, 0, 0], [3.0, 0, 0], [9.8, 0, 0]])
    radii = np.array([0.5, 1.5, 0.5])
    numbers, cell, flags = np.full(3, 18), np.eye(3) * 10.0, np.ones(3, dtype=bool)
    assert md.closest_pair((positions, numbers, None, None), radii)[0] == (0, 1)
    for moved in (positions, positions + 30.0):
        found = md.closest_pair((moved, numbers, cell, flags), radii)
        assert found == ((0, 2), pytest.approx(0.3))
    alone = (positions[:1], numbers[:1])
    assert md.closest_pair((*alone, None, None)) is None
    assert md.closest_pair((*alone, cell, flags)) == ((0, 0), pytest.approx(10.0))
    assert md.closest_pair((positions * np.nan, numbers, None, None), radii) is None


# restart


def test_restart_continues_bit_for_bit(tmp_path):
    for name, make in MAKERS.items():
        state = bombs()
        through = simulate(state, 150, Bomb(), make(), record_every=3, frame_every=7)
        folder = tmp_path / name
        options = {"record_every": 3, "frame_every": 7, "folder": folder, "checkpoint_every": 20}
        simulate(state, 33, Bomb(), make(), **options)
        paused = md.Simulation(Bomb(), state, make(), **options).run(150, time_limit_s=0.0)
        assert not paused.finished
        assert paused.step == 34
        # what was written after the last checkpoint must not count
        again = simulate(state, 150, Bomb(), make(), **options)
        assert again.finished
        assert again.step == 150
        assert again.failures[2].step == through.failures[2].step
        assert again.failures[2].reason == through.failures[2].reason
        np.testing.assert_array_equal(
            again.failures[2].last_good.positions, through.failures[2].last_good.positions
        )
        for replica in range(6):
            same_bits(again.final[replica], through.final[replica])
        for a, b in zip(again.trajectories, through.trajectories, strict=True):
            same_records(a, b)
        assert not list((folder / "segments").glob("*"))
        # further than first asked for
        longer = simulate(state, 155, Bomb(), make(), **options)
        assert len(longer.trajectories[0].time_fs) == 155 // 7 + 1


KILLED = """
import sys
sys.path.insert(0, {tests!r})
import dynamics_systems as systems
from gnnip import md
systems.simulate(
    systems.argon(2), 1_000_000, systems.{potential}, md.Langevin(2.0, 0.02), record_every=5,
    frame_every=10, folder={folder!r}, checkpoint_every=10,
)
"""


@pytest.mark.parametrize("potential", ["LennardJones()", "remembering"])
def test_sigkill_in_the_middle(tmp_path, potential):
    folder = tmp_path / "run"
    code = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parent), folder=str(folder), potential=potential
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        deadline = time.monotonic() + 300
        while not (folder / "segments" / "000002.h5").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    reached = read_checkpoint(folder / "checkpoint.npz")[0]["step"]
    assert reached >= 20
    target = reached + 15
    moves = {"LennardJones()": LennardJones(), "remembering": remembering}[potential]
    options = {"record_every": 5, "frame_every": 10, "checkpoint_every": 10}
    resumed = md.Simulation(moves, argon(2), md.Langevin(2.0, 0.02), folder=folder, **options)
    assert resumed.step == reached
    resumed = resumed.run(target)
    options["folder"] = tmp_path / "through"
    through = simulate(argon(2), target, moves, md.Langevin(2.0, 0.02), **options)
    for replica in range(2):
        same_bits(resumed.final[replica], through.final[replica])
        same_records(resumed.trajectories[replica], through.trajectories[replica])


class Weighted(LennardJones):
    """A potential with a weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight, dtype=torch.float64))


def test_dynamics_go_on_by_the_same_potential_and_limits_alone(tmp_path):
    from ase.calculators.lj import LennardJones as Calculator

    def begin(potential, folder, **limits):
        criteria = md.Criteria(**limits) if limits else None
        options = {"criteria": criteria, "folder": tmp_path / folder}
        return md.Simulation(potential, argon(1), md.VelocityVerlet(2.0), **options)

    begin(Weighted(1.0), "weights").run(2)
    assert begin(Weighted(1.0), "weights").step == 2
    for potential, limits in (
        (Weighted(2.0), {}),
        (LennardJones(), {}),
        (Weighted(1.0), {"temperature_factor": 4.0}),
        (Weighted(1.0), {"displacement": None}),
    ):
        with pytest.raises(CheckpointError, match="another start, potential or settings"):
            begin(potential, "weights", **limits)
    begin(Calculator(sigma=3.4, epsilon=0.01), "calculator").run(2)
    assert begin(Calculator(sigma=3.4, epsilon=0.01), "calculator").step == 2
    with pytest.raises(CheckpointError, match="another start, potential or settings"):
        begin(Calculator(sigma=3.4, epsilon=0.02), "calculator")


#: a run of two replicas, and one change each that makes it another run
BEGUN = {
    "start": lambda: argon(2),
    "potential": lambda: Weighted(1.0),
    "integrator": lambda: md.Langevin(2.0, 0.02),
    "record_every": lambda: 1,
}
OTHERS = {
    "seeds": {"start": lambda: argon(2, first_seed=1)},
    "temperature": {"start": lambda: argon(2, temperature=41.0)},
    "one temperature": {"start": lambda: argon(2, temperature=[40.0, 41.0])},
    "replicas": {"start": lambda: argon(3)},
    "order of replicas": {"start": lambda: argon(2).select([1, 0])},
    "a position": {"start": lambda: moved(argon(2), 1e-9)},
    "a mass": {"start": lambda: argon(2, masses=[np.full(32, 39.9), np.full(32, 39.948)])},
    "momentum": {"start": lambda: argon(2, fixed_momentum=False)},
    "weights": {"potential": lambda: Weighted(1.0 + 1e-12)},
    "architecture": {"potential": lambda: LennardJones()},
    "cutoff": {"potential": lambda: with_cutoff(Weighted(1.0), 6.4)},
    "time step": {"integrator": lambda: md.Langevin(2.1, 0.02)},
    "friction": {"integrator": lambda: md.Langevin(2.0, 0.021)},
    "thermostat": {"integrator": lambda: md.CSVR(2.0, 50.0)},
    "no thermostat": {"integrator": lambda: md.VelocityVerlet(2.0)},
    "interval": {"record_every": lambda: 2},
    "frames": {"frame_every": lambda: 3},
    "limit": {"criteria": lambda: md.Criteria(temperature_factor=4.0)},
    "no limit": {"criteria": lambda: md.Criteria(displacement=None)},
}


def moved(state: md.State, by: float) -> md.State:
    positions = state.positions.clone()
    positions[-1, 2] += by
    return state.replace(positions=positions)


def with_cutoff(potential, cutoff: float):
    potential.cutoff = cutoff
    return potential


def begun(folder, **change) -> md.Simulation:
    made = {key: make() for key, make in {**BEGUN, **change}.items()}
    one = (made.pop("potential"), made.pop("start"), made.pop("integrator"))
    return md.Simulation(*one, folder=folder, **made)


@pytest.fixture(scope="module")
def one_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    begun(folder).run(3)
    return folder


def test_the_same_run_goes_on(one_run, tmp_path):
    shutil.copytree(one_run, tmp_path / "copy")
    resumed, through = begun(tmp_path / "copy").run(6), begun(tmp_path / "whole").run(6)
    assert begun(tmp_path / "copy").step == 6
    for replica in range(2):
        same_bits(resumed.final[replica], through.final[replica])


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_does_not_go_on_in_its_folder(one_run, what):
    kept = {p.name: p.read_bytes() for p in one_run.rglob("*") if p.is_file()}
    with pytest.raises(CheckpointError, match="another start, potential or settings"):
        begun(one_run, **OTHERS[what]).run(6)
    assert {p.name: p.read_bytes() for p in one_run.rglob("*") if p.is_file()} == kept


def test_checkpoints_that_do_not_belong_are_refused(tmp_path):
    state = argon(1)
    simulate(state, 2, folder=tmp_path)
    checkpoint = tmp_path / "checkpoint.npz"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        simulate(state, 2, folder=tmp_path)
    np.savez(checkpoint, json=np.frombuffer(b'{"format": "other"}', dtype=np.uint8))
    with pytest.raises(CheckpointError, match="expected 'gnnip dynamics checkpoint'"):
        simulate(state, 2, folder=tmp_path)


# trajectories and potentials


def test_trajectory_files(tmp_path):
    from ase.io import read

    state = bombs().select([1, 2])
    run = simulate(state, 150, Bomb(), frame_every=10, frame_precision="float64", folder=tmp_path)
    stored = md.read_trajectory(run.path)
    assert [t.replica for t in stored] == [1, 2]
    first = stored[0]
    assert first.frame_interval_fs == 20.0
    np.testing.assert_array_equal(first.positions[-1], run.final[1].positions.numpy())
    assert stored[1].failure.pair == run.failures[2].pair
    last, own = stored[1].failure.last_good, run.failures[2].last_good
    assert last.potential_energy == own.potential_energy
    md.write_extxyz(first, tmp_path / "one.xyz", every=3)
    atoms = read(tmp_path / "one.xyz", ":")
    assert len(atoms) == 6
    np.testing.assert_allclose(atoms[1].positions, first.positions[3], atol=1e-7)
    assert atoms[1].info["time_fs"] == 60.0
    again = md.from_atoms(atoms[1:2], temperature=40.0, seeds=[0], velocities="atoms")
    np.testing.assert_allclose(again.velocities.numpy(), first.velocities[3], atol=1e-8)
    assert again.pbc.all()
    md.write_failure(run.failures[2], tmp_path / "failure.xyz")
    frames = read(tmp_path / "failure.xyz", ":")
    assert [a.info["frame"] for a in frames] == ["last_good", "first_bad"]
    ends = [a.info["frame"] for a in md.last_frames(stored[1], before=2)]
    assert ends == ["stored", "stored", "last_good", "first_bad"]
    (end,) = md.last_frames(first)
    np.testing.assert_array_equal(end.positions, first.positions[-1])
    with pytest.raises(DataError, match="does not exist"):
        md.read_trajectory(tmp_path / "none.h5")
    (tmp_path / "bad.h5").write_bytes(b"not hdf5")
    with pytest.raises(DataError, match="not the HDF5 file it should be"):
        md.read_trajectory(tmp_path / "bad.h5")
    unframed = simulate(argon(1), 1, frame_every=None)
    with pytest.raises(DataError, match="no frames"):
        md.write_extxyz(unframed.trajectories[0], tmp_path / "e.xyz")
    assert md.last_frames(unframed.trajectories[0]) == []


def test_ase_calculators_run_in_the_same_engine():
    from ase import Atoms, units
    from ase.calculators.lj import LennardJones as AseLennardJones
    from ase.md.verlet import VelocityVerlet as AseVerlet

    positions, cell = fcc(1)
    options = {"epsilon": 0.0104, "sigma": 3.4, "rc": 6.0, "ro": 4.0, "smooth": True}
    atoms = Atoms("Ar4", positions, cell=cell, pbc=True, calculator=AseLennardJones(**options))
    atoms.set_velocities(np.random.default_rng(0).normal(size=(4, 3)) * 1e-2)
    state = md.from_atoms(
        [atoms] * 2, temperature=50.0, seeds=[0, 1], velocities="atoms", fixed_momentum=False
    )
    made = []

    def make(replica):
        made.append(replica)
        return AseLennardJones(**options)

    criteria = md.Criteria(temperature_factor=None)
    run = simulate(state, 30, make, md.VelocityVerlet(3.0), criteria=criteria)
    AseVerlet(atoms, 3.0 * units.fs).run(30)
    assert made == [0, 1]
    for replica in range(2):
        np.testing.assert_allclose(run.final[replica].positions, atoms.positions, atol=1e-9)
        np.testing.assert_allclose(
            run.final[replica].velocities * 1.0, atoms.get_velocities() * units.fs, atol=1e-9
        )
    one = simulate(state, 30, AseLennardJones(**options), md.VelocityVerlet(3.0), criteria=criteria)
    same_bits(one.final[1], run.final[1])
    with pytest.raises(ConfigError, match="1 calculators, none for replica 1"):
        simulate(state, 1, [AseLennardJones(**options)], md.VelocityVerlet(3.0))


def test_stillinger_weber_silicon_conserves_energy():
    basis = np.array([[0, 0, 0], [0.25, 0.25, 0.25]])
    a = 5.431
    face = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = (face[:, None] + basis).reshape(-1, 3) * a
    cells = [np.eye(3) * a] * 2
    state = md.make_state(
        [positions] * 2, [np.full(8, 14)] * 2, cells=cells, temperature=600.0, seeds=[0, 1]
    )
    run = simulate(state, 60, StillingerWeber(), md.VelocityVerlet(1.0), record_every=1)
    series = run.trajectories[0].series
    assert series["potential_energy_ev"][0] / 8 == pytest.approx(-4.3363, abs=2e-3)
    assert np.ptp(series["conserved_energy_ev"]) < 0.02 * np.ptp(series["kinetic_energy_ev"])


def test_single_precision_models_are_driven_in_double():
    class Single(LennardJones):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.ones((), dtype=torch.float32))

        def forward(self, batch):
            assert batch.positions.dtype == torch.float32
            return super().forward(batch)

    run = simulate(argon(1), 30, Single(), record_every=1)
    double = simulate(argon(1), 30, record_every=1)
    assert run.final[0].positions.dtype == torch.float64
    torch.testing.assert_close(run.final[0].positions, double.final[0].positions, atol=1e-4, rtol=0)


def test_progress_lines():
    lines = []
    md.Simulation(Bomb(), bombs(), md.VelocityVerlet(2.0)).run(
        150, progress=lines.append, progress_every_s=0.0
    )
    assert any("replica 2 failed" in line for line in lines)
    assert "step 150/150, 0.300 ps, 5 of 6 replicas alive" in lines[-1]


# what a user can get wrong


GOOD = {"temperature": 300.0, "seeds": [0]}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"positions": [[[0, 0, np.nan]]]}, StructureError, "position of atom 0 is not finite"),
        ({"positions": [np.zeros((0, 3))], "atomic_numbers": [[]]}, StructureError, "no atoms"),
        ({"positions": [], "atomic_numbers": [], "seeds": []}, StructureError, "No replicas"),
        ({"atomic_numbers": [[18, 18]]}, StructureError, "as many atomic numbers"),
        ({"atomic_numbers": [[200]]}, StructureError, "from 1 to 118"),
        ({"cells": [np.ones((3, 3))]}, StructureError, "no volume"),
        ({"cells": [np.eye(2)]}, StructureError, "three vectors"),
        ({"pbc": [True]}, StructureError, "no volume"),
        ({"masses": [[0.0]]}, StructureError, "masses of replica 0"),
        ({"masses": [[-1.0]]}, StructureError, "greater than zero"),
        ({"masses": [[np.nan]]}, StructureError, "greater than zero"),
        ({"masses": [[1.0, 2.0]]}, StructureError, "1 numbers"),
        ({"velocities": [[[np.inf, 0, 0]]]}, StructureError, "velocities"),
        ({"temperature": -1.0}, ConfigError, "temperature"),
        ({"temperature": [1.0, 2.0]}, ConfigError, "temperature has 2 entries"),
        ({"seeds": [1, 2]}, ConfigError, "seeds has 2 entries"),
    ],
)
def test_bad_structures_are_named(change, error, words):
    arguments = {"positions": [[[0.0, 0.0, 0.0]]], "atomic_numbers": [[18]], **GOOD, **change}
    with pytest.raises(error, match=words):
        md.make_state(**arguments)


def test_bad_runs_are_named():
    state = argon(1)
    for options, words in (
        ({"record_every": 0}, "record_every"),
        ({"frame_every": 0}, "frame_every"),
        ({"checkpoint_every": -1}, "checkpoint_every"),
        ({"frame_precision": "float16"}, "frame_precision"),
        ({"skin": -0.1}, "skin"),
    ):
        with pytest.raises(ConfigError, match=words):
            simulate(state, 1, **options)
    with pytest.raises(ConfigError, match="n_steps"):
        simulate(state, -1)
    with pytest.raises(ConfigError, match="cannot drive dynamics"):
        simulate(state, 1, 3.0)
    with pytest.raises(ConfigError, match="has no cutoff"):
        simulate(state, 1, torch.nn.Linear(1, 1))
    with pytest.raises(ConfigError, match="distance_factor"):
        md.Criteria(distance_factor=0.0)
    with pytest.raises(ConfigError, match="none for replica 1"):
        simulate(argon(2), 1, criteria=md.Criteria(energy_reference=[(0.0, 9.9)]))
    twice = state.replace(positions=torch.zeros_like(state.positions))
    with pytest.raises(StructureError, match="replica 0 cannot start"):
        simulate(twice, 1)


def test_radii_are_those_of_ase():
    from ase.data import covalent_radii

    from gnnip.models.elements import COVALENT_RADII

    np.testing.assert_array_equal(COVALENT_RADII, covalent_radii)


def test_one_oscillator_has_its_period():
    spring, mass = 2.0, 3.0
    state = md.make_state(
        [[[0.1, 0.0, 0.0]]], [[18]], masses=[[mass]], velocities=[np.zeros((1, 3))],
        temperature=0.0, seeds=[0], fixed_momentum=False,
    )  # fmt: skip
    period = 2 * np.pi * np.sqrt(mass * 103.64269572045424 / spring)
    run = simulate(state, 400, Harmonic(spring), md.VelocityVerlet(period / 400), frame_every=1)
    x = run.trajectories[0].positions[:, 0, 0]
    np.testing.assert_allclose(x, 0.1 * np.cos(2 * np.pi * np.arange(401) / 400), atol=2e-5)


def test_a_network_of_the_contract_moves_as_its_ase_calculator_does():
    from ase import Atoms, units
    from ase.md.verlet import VelocityVerlet as AseVerlet

    from gnnip import models
    from gnnip.models.calculator import PotentialCalculator

    torch.manual_seed(0)
    model = models.build("spektral", features="invariant", elements=(10, 18), channels=8)
    model = model.double().eval()
    model.species = (18,)
    model.scale.fill_(0.02)
    positions = fcc(1)[0] * 0.6
    atoms = Atoms("Ar4", positions, calculator=PotentialCalculator(model))
    state = md.from_atoms([atoms] * 3, temperature=40.0, seeds=range(3))
    atoms.set_velocities(state.velocities[4:8].numpy() / units.fs)
    run = simulate(state, 15, model, replicas_per_call=1)
    AseVerlet(atoms, 2.0 * units.fs).run(15)
    np.testing.assert_allclose(run.final[1].positions, atoms.positions, atol=1e-10)
    assert float((run.final[1].forces).abs().max()) > 1e-4
    # one replica per call: the same bits whatever else is in the batch
    alone = simulate(state.select([1]), 15, model)
    same_bits(alone.final[1], run.final[1])
    strange = state.replace(atomic_numbers=torch.full_like(state.atomic_numbers, 10))
    with pytest.raises(DataError, match="cannot start: The potential was trained on"):
        simulate(strange, 1, model)

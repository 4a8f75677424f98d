import numpy as np
import pandas as pd
import pytest
import torch
from ase import Atoms
from made_up_trainings import compare, select

from gnnip import load_calculator, models
from gnnip.datasets.store import load_arrays, write_frames
from gnnip.errors import ConfigError
from gnnip.md import Simulation, read_trajectory
from gnnip.measurements.dynamics import Motion, run_dynamics
from gnnip.measurements.dynamics.options import Comparison
from gnnip.measurements.dynamics.speed import time_steps
from gnnip.reference import make_calculator

REFERENCE = "water_anion accuracy_hartree=1e-3"
MOTION = {
    "select": {"n_molecules": 20, "temperature_k": 100.0},
    "temperature": 100.0,
    "starts": 2,
    "repeats": 2,
    "duration": 12.0,
    "record_every": 1.0,
    "frame_every": 1.0,
    "relaxation": 20.0,
}
COMPARISON = {
    "discard": 2.0,
    "relabel": 2,
    "observables": {"gyration_radius": "gyration_radius_a"},
    "timed_steps": 0,
}


@pytest.fixture(scope="module")
def dataset(root, tmp_path_factory):
    """The smallest clusters of the archive."""
    arrays = load_arrays(root / "data" / "water_anion_ladder.h5")
    few = arrays.subset(np.flatnonzero(arrays.column("n_molecules") == 20)[::4])
    path = tmp_path_factory.mktemp("data") / "small.h5"
    write_frames(path, few, attributes={})
    return path


def springs(folder, strength=1.0):
    """A pair potential with random weights, saved; a weak one lets the atoms fly slowly apart."""
    torch.manual_seed(1)
    model = models.build("pair", species=[8, 1], cutoff=3.0)
    torch.nn.init.normal_(model.coefficients, std=strength)
    model.species = (1, 8)
    folder.mkdir(parents=True, exist_ok=True)
    models.save(model, folder / "model")
    return folder / "model.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return springs(tmp_path_factory.mktemp("model"), strength=0.001)


def test_every_start_is_run_with_seeds_of_its_own(dataset):
    motion = Motion.read(MOTION)
    arrays = load_arrays(dataset)
    frames = motion.frames(arrays)
    assert len(frames) == 2
    assert set(arrays.column("temperature_k")[frames]) == {100.0}
    state = motion.state(arrays, "forces/all/seed-0")
    assert state.n_replicas == 4
    positions = state.positions.numpy().reshape(4, -1, 3)
    np.testing.assert_array_equal(positions[0], positions[1])
    assert not np.array_equal(positions[0], positions[2])
    assert len(set(state.layout.seeds)) == 4
    other = motion.state(arrays, "reference")
    np.testing.assert_array_equal(other.positions, state.positions)
    assert not set(other.layout.seeds) & set(state.layout.seeds)


def test_a_run_leaves_its_trajectories_and_nothing_else(dataset, model, tmp_path):
    options = {"name": "pair", "motion": MOTION, "model": model}
    (tmp_path / "run-of-other-weights").mkdir()
    run_dynamics(dataset, tmp_path / "trajectory.h5", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["trajectory.h5"]
    replicas = read_trajectory(tmp_path / "trajectory.h5")
    assert [t.replica for t in replicas] == [0, 1, 2, 3]
    assert all(len(t.time_fs) == 13 for t in replicas)
    again = run_dynamics(dataset, tmp_path / "again.h5", **options)
    for one, two in zip(replicas, again, strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)


@pytest.fixture
def killed(dataset, model, tmp_path, monkeypatch):
    """A run of the code "old" that was killed at step 15: its output and options."""
    output, advance = tmp_path / "killed" / "trajectory.h5", Simulation._advance

    def until_step_15(simulation):
        if simulation.step == 15:
            raise KeyboardInterrupt
        advance(simulation)

    options = {"name": "pair", "motion": MOTION, "model": model}
    with monkeypatch.context() as patch:
        patch.setattr(Simulation, "_advance", until_step_15)
        with pytest.raises(KeyboardInterrupt):
            run_dynamics(dataset, output, **options, code="old")
    assert not output.exists()
    return output, options


def test_a_killed_run_continues(dataset, tmp_path, killed):
    (output, options), said = killed, []
    whole = run_dynamics(dataset, tmp_path / "whole" / "trajectory.h5", **options)
    continued = run_dynamics(dataset, output, **options, code="old", progress=said.append)
    assert said[0] == "continues at step 15 of 24"
    for one, two in zip(whole, continued, strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)


def test_another_code_starts_anew(dataset, killed):
    (output, options), said = killed, []
    run_dynamics(dataset, output, **options, code="new", progress=said.append)
    assert not [line for line in said if "continues" in line]


def test_dynamics_need_a_model_or_a_reference(dataset, model, tmp_path):
    for both in ({}, {"model": model, "reference": REFERENCE}):
        with pytest.raises(ConfigError, match="either a trained model or the name of a reference"):
            run_dynamics(dataset, tmp_path / "t.h5", name="x", motion=MOTION, **both)
    with pytest.raises(ConfigError, match="no reference 'water', did you mean 'water_anion'"):
        run_dynamics(dataset, tmp_path / "t.h5", name="x", motion=MOTION, reference="water")


@pytest.mark.parametrize("thermostat", ["csvr", "langevin", "none"])
def test_thermostats(dataset, model, tmp_path, thermostat):
    motion = {**MOTION, "thermostat": thermostat, "starts": 1, "repeats": 1, "duration": 4.0}
    (only,) = run_dynamics(dataset, tmp_path / "t.h5", name="x", motion=motion, model=model)
    assert len(only.time_fs) == 5
    assert only.failure is None


# --- comparison -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(dataset, model, tmp_path_factory):
    """Short runs of the reference, of a soft potential and of one that explodes."""
    folder = tmp_path_factory.mktemp("runs")
    models = {"soft": model, "wild": springs(folder / "wild-model", strength=30.0)}
    files = {"reference": folder / "reference" / "trajectory.h5"}
    run_dynamics(dataset, files["reference"], name="reference", motion=MOTION, reference=REFERENCE)
    for name, weights in models.items():
        files[name] = folder / name / "trajectory.h5"
        run_dynamics(dataset, files[name], name=name, motion=MOTION, model=weights)
    return files, models


@pytest.fixture(scope="module")
def table(dataset, runs):
    files, models = runs
    return compare(
        dataset, files, motion=MOTION, models=models, reference=REFERENCE, comparison=COMPARISON
    )


def test_the_reference_keeps_its_energy_and_its_electron(table):
    drift = select(table, "reference", "run", "drift_mev_per_atom_ps")["value"]
    assert len(drift) == 4
    assert drift.abs().max() < 5.0
    assert select(table, "reference", "run", "failed")["value"].sum() == 0
    radius = select(table, "reference", "relabel", "gyration_radius_a")["value"]
    assert len(radius) == 4 * 2
    assert radius.between(3.0, 7.0).all()


def test_a_failure_is_counted_with_its_reason(table):
    failed = select(table, "wild", "run", "failed")
    assert (failed["value"] == 1).all()
    assert failed["text"].str.len().min() > 5
    alive = select(table, "wild", "survival", "survival")["value"]
    assert alive.iloc[-1] == 0.0
    assert select(table, "soft", "survival", "survival")["value"].iloc[-1] == 1.0
    # nothing is averaged over a time that nobody lived to see
    assert select(table, "wild", "vdos", "total").empty


def test_structure_is_compared_with_the_reference_and_its_own_noise(table, runs):
    for record, names in (("rdf", ("O-O", "O-H", "H-H")), ("profile", ("O", "H"))):
        for name in names:
            errors = table[(table["record"] == f"{record}_error") & (table["name"] == name)]
            value = errors.set_index("potential")["value"]
            assert 0 < value["noise_floor"] < 100
            assert 0 < value["soft"] <= 100
            assert "reference" not in value.index
    g = select(table, "reference", "rdf", "O-H")
    assert (g["value"] * g["x"].diff().median()).sum() == pytest.approx(1.0, rel=1e-3)
    profile = select(table, "reference", "profile", "O")
    atoms = (profile["value"] * profile["x"].diff().median()).sum()
    assert atoms == pytest.approx(20.0, rel=1e-3)
    dos = select(table, "reference", "vdos", "total")
    assert (dos["value"] * dos["x"].diff().median()).sum() == pytest.approx(1.0, rel=1e-3)


def test_a_potential_that_is_the_reference_has_no_error(dataset, runs):
    files, _ = runs
    same = {"reference": files["reference"], "twin": files["reference"]}
    table = compare(dataset, same, motion=MOTION, comparison=COMPARISON)
    errors = table[table["record"].str.endswith("_error") & (table["potential"] == "twin")]
    assert len(errors) == 6
    assert (errors["value"] == 0).all()


def test_errors_on_the_path_are_those_of_the_forces_there(table, runs):
    files, models = runs
    t = read_trajectory(files["soft"])[0]
    atoms = Atoms(t.atomic_numbers, t.positions[-1])
    ours = load_calculator(models["soft"], device="cpu").get_forces(atoms.copy())
    theirs = make_calculator(REFERENCE).get_forces(atoms.copy())
    rows = select(table, "soft", "relabel", "force_rmse_ev_per_a")
    last = rows[(rows["replica"] == 0) & (rows["x"] == t.time_fs[-1])]["value"].item()
    assert last == pytest.approx(np.sqrt(np.mean((ours - theirs) ** 2)), rel=1e-3)


def test_observables_on_the_path_have_a_noise_floor(table):
    rows = table[(table["record"] == "relabel") & (table["name"] == "gyration_radius_a")]
    late = rows[rows["x"] >= COMPARISON["discard"]]
    mean = late.groupby("potential")["value"].mean()
    shift = select(table, "soft", "relabel_error", "gyration_radius_a")["value"].item()
    assert shift == pytest.approx(abs(mean["soft"] - mean["reference"]))
    own = late[late["potential"] == "reference"]
    by_repeat = own.groupby(own["replica"] % MOTION["repeats"])["value"].mean()
    floor = select(table, "noise_floor", "relabel_error", "gyration_radius_a")["value"].item()
    assert floor == pytest.approx(abs(by_repeat[0] - by_repeat[1]))


def test_without_a_reference_the_data_set_stands_in(dataset, runs):
    files, models = runs
    own = {"soft": files["soft"]}
    table = compare(
        dataset, own, motion=MOTION, models={"soft": models["soft"]}, comparison=COMPARISON
    )
    assert len(select(table, "reference", "rdf", "O-O")) > 0
    assert len(select(table, "noise_floor", "rdf_error", "O-O")) == 1
    assert len(select(table, "soft", "rdf_error", "O-O")) == 1
    assert select(table, "soft", "vdos_error", "total").empty
    assert not (table["record"] == "relabel").any()


def test_steps_are_timed_alone_and_in_a_batch(dataset, runs):
    _, models = runs
    threads = torch.get_num_threads()
    try:
        wanted = Comparison.read({"timed_steps": 2, "timing_repeats": 1})
        motion = Motion.read(MOTION)
        rows = time_steps(dataset, {"soft": models["soft"]}, REFERENCE, motion, motion, wanted)
    finally:
        torch.set_num_threads(threads)
    seconds = pd.DataFrame(rows).set_index(["potential", "name"])["value"]
    assert set(seconds.index) == {
        ("soft", "alone_seconds_per_step"),
        ("soft", "batched_seconds_per_step"),
        ("reference", "alone_seconds_per_step"),
    }
    assert (seconds > 0).all()

"""Dynamics as a step, on a crystal of two elements that costs nothing: failures, limits, angles, a
reference that moves otherwise or comes from an archive, and the order of energy errors."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import read
from made_up_trainings import compare, frames_of, moved_by, select

from gnnip import datasets, md
from gnnip import models as potentials
from gnnip.__main__ import main
from gnnip.datasets import registry
from gnnip.datasets.store import load_arrays, write_frames
from gnnip.errors import ConfigError, DataError
from gnnip.measurements.autopsy import autopsy, cause
from gnnip.measurements.conservation import measure_conservation
from gnnip.measurements.dynamics import (
    COLUMNS,
    Motion,
    failure_file,
    motion_of_reference,
    register_trajectory,
    run_dynamics,
    take_archived,
)
from gnnip.measurements.dynamics.autopsy import snapshots as structures_to_look_at
from gnnip.measurements.dynamics.motion import repeated
from gnnip.measurements.dynamics.spectra import mean_spectrum
from gnnip.measurements.kinds import Autopsy, Conservation
from gnnip.reference import make_calculator

REFERENCE = "ase:lj sigma=3.4 epsilon=0.0104 rc=6.0 smooth=true"
MOTION = {
    "temperature": 40.0,
    "select": {"temperature_k": 40.0},
    "starts": 2,
    "repeats": 2,
    "duration": 120.0,
    "time_step": 2.0,
    "record_every": 4.0,
    "frame_every": 4.0,
    # falling into each other heats them
    "criteria": {"temperature_factor": None},
}
OWN = {"time_step": 4.0, "duration": 192.0, "starts": 1, "repeats": 2, "frame_every": 8.0}
COMPARISON = {
    "discard": 8.0,
    "r_max": 6.0,
    "bins": 60,
    "adf_cutoff": 4.6,
    "adf_triplets": ["Ar-Kr-Ar", "Kr-Ar-Ar"],
    "adf_bins": 45,
    "timed_steps": 0,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Shaken crystals, eight of them to start from."""
    rng = np.random.default_rng(5)
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 2, 2)
    crystal.numbers[::4] = 36
    crystal.calc, sites = make_calculator(REFERENCE), crystal.get_positions()
    frames, energies, forces = [], [], []
    for _ in range(10):
        crystal.positions = sites + 0.08 * rng.normal(size=sites.shape)
        frames.append(crystal.copy())
        energies.append(crystal.get_potential_energy())
        forces.append(crystal.get_forces())
    temperatures = {"temperature_k": [40.0] * 8 + [300.0] * 2}
    arrays = frames_of(frames, {"total": np.concatenate(forces)}, temperatures, total=energies)
    path = tmp_path_factory.mktemp("toy") / "toy.h5"
    write_frames(path, arrays, attributes={})
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A pair potential that hardly pulls, and one in which atoms only attract each other."""
    folder, files = tmp_path_factory.mktemp("models"), {}
    for name, strength in (("soft", 1e-4), ("sticky", -20.0)):
        model = potentials.build("pair", species=[18, 36], cutoff=5.0)
        torch.nn.init.constant_(model.coefficients, 0.0)
        with torch.no_grad():
            model.coefficients[..., 0] = strength
        files[name] = folder / f"{name}.safetensors"
        potentials.save(model, folder / name)
    return files


@pytest.fixture(scope="module")
def runs(dataset, models, tmp_path_factory):
    """Trajectories of both and of a reference that moves for longer, in longer steps, from fewer
    starts; failures beside them."""
    folder = tmp_path_factory.mktemp("runs")
    files = {name: folder / name / "trajectory.h5" for name in (*models, "reference")}
    for name, model in models.items():
        failures = files[name].parent / "failures"
        options = {"name": name, "motion": MOTION, "model": model, "failures": failures}
        run_dynamics(dataset, files[name], **options)
    own = motion_of_reference(MOTION, OWN)
    options = {"name": "reference", "motion": own, "reference": REFERENCE}
    run_dynamics(dataset, files["reference"], **options)
    return files


@pytest.fixture(scope="module")
def table(dataset, models, runs):
    return compare(
        dataset, runs, motion=MOTION, models=models, reference=REFERENCE, comparison=COMPARISON
    )


def errors(table, record, name):
    """The errors in percent by potential."""
    chosen = (table["record"] == f"{record}_error") & (table["name"] == name)
    return table[chosen].set_index("potential")["value"]


# --- failures ---------------------------------------------------------------------------------


def test_every_failure_has_its_autopsy(table, runs):
    failed = [t.failure for t in md.read_trajectory(runs["sticky"])]
    assert len(failed) == 4
    assert all(failed)
    rows = table[table["record"] == "autopsy"]
    assert set(rows["potential"]) == {"sticky"}
    for replica, failure in enumerate(failed):
        own = rows[rows["replica"] == replica].set_index("name")
        assert own.loc["kind", "text"] == failure.kind == "collapse"
        assert own.loc["kind", "value"] == own.loc["kind", "x"] == failure.time_fs
        assert own.loc["pair_distance_a", "value"] == failure.pair_distance
        assert own.loc["pair_ratio", "value"] == failure.pair_ratio
        low, high = sorted(failure.pair_numbers)
        words = {(18, 18): "Ar-Ar", (18, 36): "Kr-Ar", (36, 36): "Kr-Kr"}[low, high]
        assert own.loc["pair_ratio", "text"] == words
        shortest = select(table, "dataset", "closest", words)["value"].item()
        share = own.loc["pair_share", "value"]
        assert share == pytest.approx(failure.pair_distance / shortest)
        assert share < 0.8
        assert own.loc["environment_distance", "value"] > 1.0
        assert own.loc["environment_distance", "text"] in ("Ar", "Kr")
        in_frame = select(table, "sticky", "closest", words)
        assert in_frame.set_index("replica")["value"][replica] <= failure.pair_distance + 1e-6


def test_the_last_frames_lie_beside_the_trajectory(table, runs):
    folder = runs["sticky"].parent.parent
    assert sorted(p.name for p in (runs["sticky"].parent / "failures").iterdir()) == [
        failure_file(replica) for replica in range(4)
    ]
    assert list((runs["soft"].parent / "failures").iterdir()) == []
    for t in md.read_trajectory(runs["sticky"]):
        named = select(table, "sticky", "autopsy", "frames").set_index("replica")["text"]
        good, bad = read(folder / named[t.replica], ":")
        assert (good.info["frame"], bad.info["frame"]) == ("last_good", "first_bad")
        assert bad.info["step"] == good.info["step"] + 1 == t.failure.step
        np.testing.assert_allclose(good.positions, t.failure.last_good.positions, atol=1e-7)


def test_without_failures_there_is_no_autopsy(dataset, runs):
    healthy = {name: runs[name] for name in ("soft", "reference")}
    found = compare(dataset, healthy, motion=MOTION, comparison=COMPARISON)
    assert not found["record"].isin(["autopsy", "closest"]).any()
    assert "dataset" not in set(found["potential"])


# --- structures to look at ----------------------------------------------------------------------


def structure_of(table, potential):
    """Replica, elements and places (Angstrom) of the frame of a potential."""
    rows = table[(table["record"] == "frame") & (table["potential"] == potential)]
    rows = rows.sort_values("x")
    assert rows["x"].tolist() == list(range(len(rows)))
    places = np.array([text.split() for text in rows["text"]], dtype=float)
    return set(rows["replica"]), rows["name"].tolist(), places


@pytest.fixture(scope="module")
def snapshots(dataset, runs):
    wanted = {**COMPARISON, "snapshots": True}
    return compare(dataset, runs, motion=MOTION, comparison=wanted)


def test_one_lasting_structure_is_kept(snapshots, runs):
    first = md.read_trajectory(runs["soft"])[0]
    replicas, elements, places = structure_of(snapshots, "soft")
    atoms = Atoms(first.atomic_numbers, first.positions[-1], cell=first.cell, pbc=True)
    atoms.wrap()
    assert replicas == {first.replica}
    assert elements == atoms.get_chemical_symbols()
    np.testing.assert_allclose(places, atoms.positions, atol=6e-5)


def test_one_failed_structure_is_kept_with_its_pair_in_the_middle(snapshots, runs):
    first = md.read_trajectory(runs["sticky"])[0]
    replicas, elements, places = structure_of(snapshots, "sticky")
    assert replicas == {first.replica}
    assert len(elements) == len(first.atomic_numbers)
    i, j = first.failure.pair
    middle = 0.5 * first.cell.sum(0)
    np.testing.assert_allclose(places[i], middle, atol=6e-5)
    # also without the images of the atoms
    assert np.linalg.norm(places[i] - places[j]) == pytest.approx(
        first.failure.pair_distance, abs=1e-3
    )
    fractions = places @ np.linalg.inv(first.cell)
    assert (fractions > -1e-4).all()
    assert (fractions < 1 + 1e-4).all()


def test_a_pair_across_the_boundary_is_shown_together(runs):
    first = md.read_trajectory(runs["sticky"])[0]
    i, j = first.failure.pair
    bad = first.failure.first_bad
    apart = bad.positions - 0.5 * (bad.positions[i] + bad.positions[j])
    moved = replace(first.failure, first_bad=replace(bad, positions=apart))
    rows = pd.DataFrame(
        structures_to_look_at("x", [replace(first, failure=moved)]), columns=list(COLUMNS)
    )
    _, _, places = structure_of(rows, "x")
    distance = np.linalg.norm(places[i] - places[j])
    assert distance == pytest.approx(first.failure.pair_distance, abs=1e-3)


def test_what_is_no_structure_is_not_kept(runs, table):
    assert not table["record"].eq("frame").any()  # unless it is asked for
    first = md.read_trajectory(runs["sticky"])[0]
    bad = first.failure.first_bad
    lost = replace(bad, positions=np.full_like(bad.positions, np.nan))
    broken = replace(first, failure=replace(first.failure, first_bad=lost))
    assert structures_to_look_at("x", [broken]) == []


# --- limits --------------------------------------------------------------------------------------


def test_limits_of_the_card_are_those_of_the_run(dataset, models, tmp_path):
    def reasons(criteria, **motion):
        changed = {**MOTION, "duration": 40.0, **motion, "criteria": criteria}
        found = run_dynamics(
            dataset, tmp_path / "t.h5", name="soft", motion=changed, model=models["soft"]
        )
        return {(t.failure.reason, t.failure.kind) if t.failure else None for t in found}

    assert reasons({}) == {None}
    assert reasons({"temperature_factor": 1e-3}) == {("temperature", "explosion")}
    assert reasons({"distance_factor": 2.5}) == {("min-distance", "collapse")}
    assert reasons({"distance_factor": 2.5, "equilibration": 9.0}) == {("min-distance", "collapse")}
    # the energies of the weak springs are far from those of the crystal
    assert reasons({"energy_sigma": 6.0}) == {("energy", "explosion")}
    assert reasons({"energy_sigma": 6.0, "equilibration": 100.0}) == {None}
    window = {"rdf_window": 8.0, "rdf_sample": 4.0}
    assert reasons({"rdf_threshold": 0.05, **window}) == {("rdf", "melting")}
    assert reasons({"rdf_threshold": 50.0, **window}) == {None}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"starts": 99}, DataError, "99 are needed to start from"),
        ({"criteria": {"distance_factor": 0.0}}, ConfigError, "must be greater than zero"),
        (
            {"criteria": {"rdf_threshold": 1.0, "rdf_window": 1.0}},
            ConfigError,
            "needs threshold > 0",
        ),
    ],
)
def test_what_the_data_set_cannot_start_is_one_sentence(
    dataset, models, tmp_path, change, error, words
):
    options = {"name": "x", "motion": {**MOTION, **change}, "model": models["soft"]}
    with pytest.raises(error, match=words):
        run_dynamics(dataset, tmp_path / "t.h5", **options)


def test_energies_without_a_spread_cannot_judge(dataset):
    arrays = load_arrays(dataset).subset([0])
    motion = Motion.read({**MOTION, "starts": 1, "criteria": {"energy_sigma": 6.0}})
    with pytest.raises(DataError, match="no spread: select more frames"):
        motion.limits(arrays)


# --- larger cells -----------------------------------------------------------------------------


def test_a_supercell_is_the_same_structure(dataset):
    arrays = load_arrays(dataset)
    structure = arrays.structure(0)
    one, many = (
        Atoms(numbers, positions, cell=cell, pbc=pbc, calculator=make_calculator(REFERENCE))
        for positions, numbers, cell, pbc in (structure, repeated(structure, (2, 1, 3)))
    )
    assert len(many) == 6 * len(one)
    assert many.get_potential_energy() == pytest.approx(6 * one.get_potential_energy())
    np.testing.assert_allclose(many.get_forces(), np.tile(one.get_forces(), (6, 1)), atol=1e-12)
    assert repeated(structure, (1, 1, 1)) is structure
    open_ones = (*structure[:2], None, None)
    slab = (*structure[:3], np.array([True, True, False]))
    for wrong in (open_ones, slab):
        with pytest.raises(ConfigError, match=r"supercell = \[1, 1, 2\] repeats; leave"):
            repeated(wrong, (1, 1, 2))
    assert len(repeated(slab, (2, 2, 1))[0]) == 4 * len(one)


def test_replicas_of_a_supercell_are_judged_and_compared(dataset, models, tmp_path):
    arrays = load_arrays(dataset)
    criteria = {"energy_sigma": 6.0, "temperature_factor": None}
    motion = {**MOTION, "duration": 24.0, "starts": 1, "criteria": criteria}
    large = {**motion, "supercell": [2, 1, 1]}
    (mean, spread), (mean_large, spread_large) = (
        Motion.read(m).limits(arrays).energy_reference[0] for m in (motion, large)
    )
    assert mean_large == pytest.approx(2 * mean)
    assert spread_large == pytest.approx(2**0.5 * spread)
    state = Motion.read(large).state(arrays, "soft")
    halves = state.velocities.numpy()[: 2 * 32].reshape(2, 32, 3)
    assert not np.allclose(*halves)
    out = {"soft": tmp_path / "trajectory.h5"}
    large["criteria"] = {"temperature_factor": None}
    run_dynamics(dataset, out["soft"], name="soft", motion=large, model=models["soft"])
    found = compare(
        dataset, out, motion=large, models=models, comparison={**COMPARISON, "adf_triplets": []}
    )
    assert select(found, "soft", "run", "n_atoms")["value"].tolist() == [64.0, 64.0]
    # the frames of the data set stand in for the reference although they are smaller
    assert np.isfinite(found.loc[found["record"] == "rdf_error", "value"]).all()
    assert len(found[found["record"] == "rdf_error"])


# --- angles -----------------------------------------------------------------------------------


def test_angles_have_errors_and_a_noise_floor(table):
    for name in COMPARISON["adf_triplets"]:
        p = select(table, "reference", "adf", name)
        assert (p["value"] * p["x"].diff().median()).sum() == pytest.approx(1.0, rel=1e-3)
        # neighbours on the lattice: nothing below 45 degrees
        assert p.loc[p["x"] < 45.0, "value"].sum() == 0
        value = errors(table, "adf", name)
        assert set(value.index) == {"soft", "sticky", "noise_floor"}
        assert 0 < value["noise_floor"] < 50
        assert 0 < value["soft"] <= 100
    assert set(table.loc[table["record"] == "adf", "name"]) == set(COMPARISON["adf_triplets"])


def test_angles_by_pairs_of_elements(dataset, runs):
    wanted = {**COMPARISON, "adf_cutoff": {"Kr-Ar": 4.6}, "adf_triplets": []}
    own = {"reference": runs["reference"], "twin": runs["reference"]}
    found = compare(dataset, own, motion=MOTION, comparison=wanted)
    assert set(found.loc[found["record"] == "adf", "name"]) == {"Ar-Kr-Ar", "Kr-Ar-Kr"}
    for name in ("Ar-Kr-Ar", "Kr-Ar-Kr"):
        assert errors(found, "adf", name)["twin"] == 0


# --- a reference that moves otherwise -----------------------------------------------------------


def test_the_reference_may_move_otherwise(table, runs):
    assert len(select(table, "reference", "run", "failed")) == 2
    assert len(select(table, "soft", "run", "failed")) == 4
    assert (select(table, "reference", "run", "simulated_fs")["value"] == 192.0).all()
    assert (select(table, "soft", "run", "simulated_fs")["value"] == 120.0).all()
    assert select(table, "reference", "series", "temperature_k")["x"].max() == 192.0
    assert select(table, "reference", "survival", "survival")["x"].max() == 192.0
    # 29 frames of 4 fs after the discarded time, and a piece of as many femtoseconds of 8 each
    spacing = {
        name: select(table, name, "vdos", "total")["x"].diff().median()
        for name in ("soft", "reference")
    }
    assert spacing["soft"] == pytest.approx(1000.0 / (29 * 4.0), rel=1e-4)
    assert spacing["reference"] == pytest.approx(1000.0 / (14 * 8.0), rel=1e-4)
    for record, name in (("vdos", "total"), ("rdf", "Ar-Ar"), ("adf", "Kr-Ar-Ar")):
        value = errors(table, record, name)
        assert 0 < value["soft"] <= 100
        assert 0 < value["noise_floor"] < 100
    facts = md.read_facts(runs["reference"])
    assert facts["potential"] == REFERENCE
    assert facts["motion"]["time_step"] == 4.0
    assert facts["engine_version"].startswith("ase ")


def test_longer_runs_are_cut_into_pieces_of_one_length():
    time = np.arange(64) * 2.0
    wave = np.cos(2 * np.pi * 0.01 * time)[:, None, None] * np.ones((1, 3, 3))
    t = md.Trajectory(
        *(0, 1, 40.0, np.full(3, 18), np.full(3, 40.0), None, None, time),
        *(np.zeros_like(wave), wave, {}, None),
    )
    whole = mean_spectrum([(t, wave)], 128.0)
    pieces = mean_spectrum([(t, wave)], 64.0)
    one = md.vibrational_density_of_states(wave[:32], t.masses, t.atomic_numbers, 2.0)
    other = md.vibrational_density_of_states(wave[32:], t.masses, t.atomic_numbers, 2.0)
    assert len(whole.frequency) == 33
    np.testing.assert_allclose(pieces.total, 0.5 * (one.total + other.total))
    assert pieces.frequency[np.argmax(pieces.total)] == pytest.approx(10.0, abs=8.0)


def test_vibrations_of_starts_that_were_run_once_have_a_noise_floor_too(dataset, models, tmp_path):
    own = {**motion_of_reference(MOTION, OWN), "starts": 2, "repeats": 1, "frame_every": 4.0}
    files = {name: tmp_path / name / "trajectory.h5" for name in ("reference", "soft")}
    run_dynamics(dataset, files["reference"], name="reference", motion=own, reference=REFERENCE)
    run_dynamics(dataset, files["soft"], name="soft", motion=MOTION, model=models["soft"])
    found = compare(dataset, files, motion=MOTION, models=models, comparison=COMPARISON)
    for record in ("rdf_error", "adf_error", "vdos_error"):
        floor = found[(found["record"] == record) & (found["potential"] == "noise_floor")]
        assert len(floor) > 0, record
        assert (floor["value"] > 0).all()


# --- archives of the reference -----------------------------------------------------------------


@pytest.fixture
def shelf(root, runs, tmp_path, monkeypatch):
    """A registry that holds the reference's trajectories, packed."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "registry.yaml").write_text("# a comment that stays\n")
    shutil.copy(root / "data" / "published.yaml", folder)
    md.pack_trajectory(runs["reference"], folder / "toy_md.h5")
    register_trajectory(
        "toy_md",
        folder / "toy_md.h5",
        title="Toy on the move",
        reference="xtb",
        licence="CC0-1.0",
        made={"rule": "run_reference"},
        path=folder / "registry.yaml",
    )
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_packed_trajectory_is_the_same_but_smaller(runs, shelf):
    packed, whole = shelf / "toy_md.h5", runs["reference"]
    assert packed.stat().st_size < whole.stat().st_size
    for one, two in zip(md.read_trajectory(packed), md.read_trajectory(whole), strict=True):
        np.testing.assert_allclose(one.positions, two.positions, atol=1.01e-4)
        np.testing.assert_allclose(one.velocities, two.velocities, atol=1.01e-6)
        np.testing.assert_array_equal(one.series["time_fs"], two.series["time_fs"])
        np.testing.assert_array_equal(one.cell, two.cell)
        assert one.seed == two.seed
    assert md.read_facts(packed) == md.read_facts(whole)


def test_the_command_line_makes_a_run_an_archive(runs, shelf, capsys, monkeypatch):
    place = "results/paper/toy/dynamics/all/reference/trajectory.h5"
    (shelf.parent / place).parent.mkdir(parents=True)
    shutil.copy(runs["reference"], shelf.parent / place)
    before = registry.find_entry("toy_md")
    assert main(["register", "toy_md", place, "--replace"]) == 0
    assert "data/toy_md.h5: 50 frames" in capsys.readouterr().out
    after = registry.find_entry("toy_md")
    # the same file under the title that it had
    for key in ("title", "sha256", "reference", "n_replicas"):
        assert after[key] == before[key]
    made = "--config tier=paper papers=toy 'sources={toy_md: generate}' -- " + place
    assert made in after["made"]["command"]
    assert main(["register", "new_md", str(runs["reference"])]) == 0
    assert registry.find_entry("new_md")["title"] == f"Dynamics by {REFERENCE}"


def test_failures_survive_packing(runs, tmp_path):
    md.pack_trajectory(runs["sticky"], tmp_path / "packed.h5")
    pairs = zip(
        md.read_trajectory(tmp_path / "packed.h5"), md.read_trajectory(runs["sticky"]), strict=True
    )
    for one, two in pairs:
        assert one.failure.pair == two.failure.pair
        np.testing.assert_array_equal(
            one.failure.last_good.positions, two.failure.last_good.positions
        )


def test_the_registry_says_that_it_is_a_trajectory(shelf):
    from gnnip.__main__ import dataset_tables

    row = datasets.describe().set_index("name").loc["toy_md"]
    assert row["kind"] == "trajectory"
    assert row["engine"].startswith("ase ")
    assert row["frames"] == 2 * 25
    assert "trajectory" in dataset_tables(200)
    assert "toy_md" not in datasets.names()
    with pytest.raises(
        DataError, match="is a trajectory, not a set of labelled frames; name it as"
    ):
        datasets.load("toy_md")
    entry = registry.find_entry("toy_md")
    assert entry["made"]["motion"]["duration"] == 192.0
    assert entry["made"]["rule"] == "run_reference"
    assert (entry["n_replicas"], entry["n_atoms"]) == (2, 50 * 32)
    assert (shelf / "registry.yaml").read_text().startswith("# a comment that stays\n")


def test_what_is_no_trajectory_is_not_registered(shelf, dataset, runs):
    facts = {"title": "x", "reference": "xtb", "licence": "MIT", "made": {}}
    path = shelf / "registry.yaml"
    with pytest.raises(DataError, match="must lie in"):
        register_trajectory("x", runs["reference"], **facts, path=path)
    shutil.copy(dataset, shelf / "frames.h5")
    with pytest.raises(DataError, match="expected 'gnnip trajectory'"):
        register_trajectory("x", shelf / "frames.h5", **facts, path=path)
    registry.register("frames", shelf / "frames.h5", **facts, path=path)
    with pytest.raises(DataError, match="is a set of labelled frames, not a trajectory; read it"):
        registry.check_archive("frames", kind="trajectory")
    entries = yaml.safe_load(path.read_text())
    entries["frames"]["kind"] = "trajectories"
    path.write_text(yaml.safe_dump(entries))
    with pytest.raises(DataError, match="kind 'trajectories', did you mean 'trajectory'"):
        datasets.names()


def test_an_archive_stands_for_the_run(shelf, dataset, models, runs, table, tmp_path):
    output = tmp_path / "reference" / "trajectory.h5"
    take_archived("toy_md", output, motion=MOTION, own=OWN, reference=REFERENCE)
    files = {"reference": output, "soft": runs["soft"]}
    # what the archive says of its motion is enough
    found = compare(dataset, files, motion=MOTION, models=models, comparison=COMPARISON)
    for record in ("rdf_error", "adf_error", "vdos_error"):
        for potential in ("soft", "noise_floor"):
            rows = found[(found["record"] == record) & (found["potential"] == potential)]
            own = table[(table["record"] == record) & (table["potential"] == potential)]
            both = pd.merge(rows, own, on="name")
            assert len(both) == len(own) > 0
            np.testing.assert_allclose(both["value_x"], both["value_y"], atol=0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"motion": {**MOTION, "temperature": 50.0}}, "has temperature 40.0, the card states 50.0"),
        ({"own": {**OWN, "time_step": 2.0}}, "has time_step 4.0, the card states 2.0"),
        ({"reference": "xtb method=GFN2-xTB"}, "has reference 'ase:lj .* the card states 'xtb"),
    ],
)
def test_an_archive_of_something_else_is_refused(shelf, tmp_path, change, words):
    options = {"motion": MOTION, "own": OWN, "reference": REFERENCE} | change
    with pytest.raises(DataError, match=words):
        take_archived("toy_md", tmp_path / "t.h5", **options)
    assert not (tmp_path / "t.h5").exists()


def test_a_changed_archive_is_refused(shelf, tmp_path):
    with open(shelf / "toy_md.h5", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(DataError, match="does not have the registered checksum"):
        take_archived("toy_md", tmp_path / "t.h5", motion=MOTION, own=OWN, reference=REFERENCE)


# --- autopsies by the reference ------------------------------------------------------------------


def test_the_reference_tells_a_hole(dataset, models, runs):
    """What only attracts falls where the reference's energy rises; what hardly pulls does not."""
    names = ("soft", "sticky")
    sources = moved_by(dataset, {n: models[n] for n in names}, {n: runs[n] for n in names})
    options = {"dynamics": "hot", "reference": REFERENCE, "replicas": 2, "frames": 6}
    table = autopsy(sources, Autopsy(**options))
    causes = table[table["name"] == "cause"]
    assert set(causes.loc[causes["potential"] == "sticky", "text"]) == {"hole"}
    assert set(causes.loc[causes["potential"] == "soft", "text"]) == {"none"}
    assert len(causes) == 4
    path = table[table["record"] == "path"]
    path = path[path["potential"] == "sticky"].pivot(
        index=["replica", "x"], columns="name", values="value"
    )
    assert path.iloc[0]["potential_mev_per_atom"] == path.iloc[0]["reference_mev_per_atom"] == 0.0
    assert path["potential_mev_per_atom"].min() < -100.0
    assert (path["force_rmse_ev_per_a"] > 1.0).any()


@pytest.mark.parametrize(
    ("by_potential", "by_reference", "word"),
    [
        (-300.0, -250.0, "relaxation"),
        (-300.0, 20.0, "hole"),
        (-300.0, -100.0, "hole"),
        # a fall that the potential does not see
        (-30.0, -300.0, "hole"),
        (5.0, -15.0, "none"),
        (-300.0, np.nan, "unknown"),
    ],
)
def test_cause(by_potential, by_reference, word):
    assert cause(by_potential, by_reference, 20.0) == word


def test_a_frame_that_the_reference_refuses(dataset, models, runs, monkeypatch):
    def refuse(self, atoms):
        raise DataError("no convergence")

    monkeypatch.setattr(type(make_calculator(REFERENCE)), "calculate", refuse)
    sources = moved_by(dataset, {"soft": models["soft"]}, {"soft": runs["soft"]})
    table = autopsy(sources, Autopsy(dynamics="hot", reference=REFERENCE, replicas=1, frames=3))
    assert set(table.loc[table["name"] == "cause", "text"]) == {"unknown"}
    reference = table[table["name"] == "reference_mev_per_atom"]
    assert reference["value"].isna().all()
    assert set(reference["text"]) == {"no convergence"}


# --- conservation ------------------------------------------------------------------------------


def test_the_energy_error_falls_with_the_square_of_the_step(dataset, models):
    order = {"time_steps": [2.0, 4.0, 8.0], "duration": 240.0, "equilibration": 20.0}
    options = Conservation(motion={**MOTION, "repeats": 1}, order=order, reference=REFERENCE)
    found = measure_conservation(moved_by(dataset, {"sticky": models["sticky"]}), options)
    assert list(found.columns) == ["potential", "record", "name", "replica", "x", "value", "text"]
    fluctuation = select(found, "reference", "conservation", "fluctuation_mev_per_atom")
    assert sorted(fluctuation["x"].unique()) == [2.0, 4.0, 8.0]
    assert len(fluctuation) == 2 * 3
    by_step = fluctuation.groupby("x")["value"].mean()
    assert by_step[8.0] / by_step[4.0] == pytest.approx(4.0, rel=0.15)
    own = select(found, "reference", "order", "exponent")["value"]
    mean, low, high = (
        select(found, "reference", "order", f"exponent_{key}")["value"].item()
        for key in ("mean", "low", "high")
    )
    assert mean == pytest.approx(own.mean()) == pytest.approx(2.0, abs=0.1)
    assert low < mean < high
    # one that collapses while it is equilibrated has no order, and says why
    failed = select(found, "sticky", "conservation", "fluctuation_mev_per_atom")
    assert failed["value"].isna().all()
    assert failed["text"].str.contains("failed").all()
    assert np.isnan(select(found, "sticky", "order", "exponent_mean")["value"].item())

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from gnnip.datasets import assembly, store, verification
from gnnip.errors import DataError
from gnnip.reference import spcf
from gnnip.sampling import water_anion, water_anion_ladder
from gnnip.sampling.clusters import centre_of_mass
from gnnip.sampling.correlation import correlation_time
from gnnip.sampling.frames import read_trajectory


def silent(line):
    pass


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory):
    # interior states are compact: their boxes are small and their labels cheap
    folder = tmp_path_factory.mktemp("trajectories")
    plans = [
        replace(
            water_anion_ladder.smoke_plan(32, replica),
            start="interior",
            seeding_fs=400.0,
            temperatures=(200.0,),
            stride_fs=4.0,
        )
        for replica in (0, 1)
    ]
    return [water_anion.run_trajectory(p, folder / p.name, silent) for p in plans]


@pytest.fixture(scope="module")
def archive(trajectories, tmp_path_factory):
    out = tmp_path_factory.mktemp("archive") / "water_anion.h5"
    lines = []
    assembly.assemble_water_anion(
        "water_anion_ladder",
        trajectories[::-1],
        out,
        workers=1,
        provenance={"rule": "assemble"},
        progress=lines.append,
    )
    assert any("labelled, 2 of 2 trajectories" in line for line in lines)
    return out


def test_archive_holds_frames_labels_and_provenance(archive, trajectories):
    frames = store.read_frames(archive)
    assert frames.n_frames == 4
    assert list(frames.column("trajectory")) == ["n032-t200-r0"] * 2 + ["n032-t200-r1"] * 2
    assert set(frames.metadata) == {
        "n_molecules",
        "temperature_k",
        "trajectory",
        "replica",
        "time_fs",
        "state",
        "electron_gyration_radius",
        "electron_offset",
        "gap",
    }
    first = read_trajectory(trajectories[0]).frames[0]
    np.testing.assert_array_equal(frames.positions[:96], first.positions)
    # labels belong to the positions as stored
    positions = frames.positions[:96].astype(np.float64)
    energy, forces = spcf.energy_and_forces(positions)
    assert frames.energies["atomic"][0] == energy
    assert np.abs(frames.forces["atomic"][:96] - forces).max() <= 0.51e-6
    np.testing.assert_allclose(centre_of_mass(positions), 0, atol=1e-5)
    assert frames.attributes["rule"] == "assemble"
    assert frames.attributes["label_accuracy_hartree"] == 1e-5
    assert not archive.with_name("water_anion.h5.labels").exists()


def test_archive_says_what_became_of_each_trajectory(archive, trajectories):
    facts = store.read_frames(archive).attributes
    told = json.loads(facts["trajectories"])
    assert list(told) == ["n032-t200-r0", "n032-t200-r1"]
    inside = (store.read_frames(archive).column("state")[:2] == "interior").sum()
    assert f"started interior, {inside} of 2 frames interior, 0 attempts" in told["n032-t200-r0"]
    assert "frames every 4 fs" in told["n032-t200-r0"]
    times = json.loads(facts["correlation_times_fs"])["n032-t200-r0"]
    assert set(times) == set(water_anion.SERIES)
    values = read_trajectory(trajectories[0]).series[:, 2]
    assert times["radius"] == pytest.approx(correlation_time(values, 2.0), rel=0.01)


def test_labels_are_verified_on_a_finer_grid(archive):
    table = verification.verify_labels(archive, 3, seed=1)
    assert len(table) == 6
    assert set(table["term"]) == {"atomic", "electronic"}
    assert table["energy_error_hartree"].abs().max() < 1e-5
    electronic = table[table["term"] == "electronic"]
    # recomputed with other settings: not the same number again
    assert (electronic["energy_error_hartree"] != 0).all()


@pytest.mark.parametrize(
    ("dataset", "index", "shift"),
    [("energies/electronic", 1, 3e-5), ("forces/electronic", (100, 0), 400)],
)
def test_wrong_labels_are_found(archive, tmp_path, dataset, index, shift):
    spoiled = tmp_path / "spoiled.h5"
    spoiled.write_bytes(archive.read_bytes())
    with h5py.File(spoiled, "r+") as file:
        file[dataset][index] += shift
    with pytest.raises(DataError, match=r"1 of 8 labels differ .* 'electronic' term of frame 1"):
        verification.verify_labels(spoiled, 4, seed=0)


def test_unknown_labeller_is_an_error(archive, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(archive.read_bytes())
    with h5py.File(other, "r+") as file:
        file.attrs["labeller"] = "water_anoin"
    with pytest.raises(DataError, match="did you mean 'water_anion'"):
        verification.verify_labels(other, 1, seed=0)


def test_interrupted_assembly_continues_from_its_cache(trajectories, tmp_path, archive):
    cache = tmp_path / "cache"
    content = read_trajectory(trajectories[0])
    positions = assembly._positions(content)
    path = cache / f"{assembly._key(positions, 1e-5)}.npz"
    assembly._label_trajectory(positions, 1e-5, path)
    lines = []
    out = assembly.assemble_water_anion(
        "water_anion",
        trajectories,
        tmp_path / "b.h5",
        workers=1,
        cache=cache,
        progress=lines.append,
    )
    assert lines[0] == "1 of 2 trajectories are labelled already"
    one, two = store.read_frames(out), store.read_frames(archive)
    # the last bits of a matrix product depend on where its memory lies
    np.testing.assert_allclose(
        one.energies["electronic"], two.energies["electronic"], rtol=0, atol=1e-12
    )
    # another accuracy or other positions are other labels
    assert assembly._key(positions, 1e-4) not in path.name
    assert assembly._key(positions + 1, 1e-5) not in path.name


def test_bad_trajectories_are_named(trajectories, tmp_path):
    with pytest.raises(DataError, match=r"gone\.npz is missing"):
        assembly.assemble_water_anion("water_anion", [tmp_path / "gone.npz"], tmp_path / "x.h5")
    with pytest.raises(DataError, match="no trajectories of water_anion to assemble"):
        assembly.assemble_water_anion("water_anion", [], tmp_path / "x.h5")
    damaged = tmp_path / "frames.npz"
    damaged.write_bytes(b"PK half")
    with pytest.raises(
        DataError, match=r"frames\.npz is damaged or not a trajectory file of gnnip"
    ):
        assembly.assemble_water_anion("water_anion", [damaged], tmp_path / "x.h5")
    with np.load(trajectories[0], allow_pickle=False) as whole:
        arrays = dict(whole)
    arrays["positions"][:3] += 50.0
    np.savez(damaged, **arrays)
    with pytest.raises(DataError, match="evaporated molecule"):
        assembly.assemble_water_anion("water_anion", [damaged], tmp_path / "x.h5")

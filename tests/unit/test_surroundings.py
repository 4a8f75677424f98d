"""Places that files are read from and written to, by every entry that does."""

from __future__ import annotations

import os
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from disks import read_only
from gnnip import md, models
from gnnip.__main__ import main
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.store import load_arrays, write_frames
from gnnip.errors import GnnipError
from gnnip.models.calculator import PotentialCalculator
from gnnip.training import Settings, train

WATER = Atoms("OH2", [[0.0, 0.1, 0.2], [0.9, 0.0, 0.3], [-0.2, 0.9, 0.0]])


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A potential, structures with labels, and an archive."""
    folder = tmp_path_factory.mktemp("home")
    pair = models.build("pair", species=(1, 8), cutoff=3.0)
    pair.species = (1, 8)
    models.save(pair, folder / "model")
    labelled = []
    for k in range(4):
        atoms = WATER.copy()
        atoms.rattle(0.05, seed=k)
        atoms.info["energy"] = -1.0 - k
        labelled.append(atoms)
    ase.io.write(folder / "a.xyz", labelled, format="extxyz")
    write_frames(folder / "a.h5", frames_of(labelled), attributes={})
    return folder


def frames_of(labelled: list[Atoms]) -> FrameArrays:
    return FrameArrays(
        positions=np.concatenate([a.positions for a in labelled]),
        numbers=np.tile([8, 1, 1], len(labelled)),
        offsets=3 * np.arange(len(labelled) + 1),
        energies={"total": np.array([a.info["energy"] for a in labelled])},
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )


def command(*words: object) -> None:
    """Run a command of gnnip; what it complains of becomes an error."""
    status = main([str(word) for word in words])
    if status:
        raise GnnipError(f"status {status}")


def by_predict(home: Path, target: Path) -> None:
    command("predict", home / "a.xyz", "--model", home / "model", "-o", target)
    found, given = (
        ase.io.read(p, ":", do_not_split_by_at_sign=True) for p in (target, home / "a.xyz")
    )
    assert len(found) == len(given) == 4
    given[3].calc = PotentialCalculator(models.load(home / "model"))
    assert found[3].get_potential_energy() == pytest.approx(given[3].get_potential_energy())


def by_import(home: Path, target: Path) -> None:
    command("import", home / "a.xyz", "--format", "extxyz", "--set", "forces=false", "-o", target)
    assert load_arrays(target).energies["total"].tolist() == [-1.0, -2.0, -3.0, -4.0]


def by_archive(home: Path, target: Path) -> None:
    write_frames(target, load_arrays(home / "a.h5"), attributes={})
    assert load_arrays(target).energies["total"].tolist() == [-1.0, -2.0, -3.0, -4.0]


def by_potential(home: Path, target: Path) -> None:
    saved = models.load(home / "model")
    models.save(saved, target)
    again = models.load(target).state_dict()
    assert all((again[k] == v).all() for k, v in saved.state_dict().items())


def by_training(home: Path, target: Path) -> None:
    split = {"train": np.arange(2), "validation": np.array([2]), "test": np.array([3])}
    options = {"species": (1, 8), "cutoff": 3.0}
    frames = load_arrays(home / "a.h5")
    train("pair", options, frames, "total", split, Settings(epochs=1), target)
    assert (target / "model.json").is_file()


def by_dynamics(home: Path, target: Path) -> None:
    state = md.from_atoms([WATER], temperature=10.0, seeds=[0])
    potential = models.load(home / "model")
    md.Simulation(potential, state, md.VelocityVerlet(0.1), folder=target).run(2)
    assert len(md.read_trajectory(target / "trajectory.h5")) == 1


FILES = (by_predict, by_import, by_archive, by_potential)
FOLDERS = (by_training, by_dynamics)

#: names that shells, ASE, URLs and formats read something else into
NAMES = (
    *("a b", "it's", 'say "x"', "50%", "%03d", "x@2", "x@:", "#1", "a;b", "$HOME", "*", "[a]"),
    *("{a}", "~", "a\\b", "ü", "a=b", "-x", "..x", "x."),
)


@pytest.mark.parametrize("entry", [*FILES, *FOLDERS], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_name(home, tmp_path, monkeypatch, entry, name):
    suffix = {by_predict: ".xyz", by_import: ".h5", by_archive: ".h5"}.get(entry, "")
    (tmp_path / name).mkdir()
    target = tmp_path / name / f"{name}{suffix}"
    entry(home, target)
    assert (
        not [path for path in target.parent.iterdir() if path.name.startswith("..")] or "." in name
    )


@pytest.mark.parametrize("entry", [*FILES, *FOLDERS], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "place", ["a folder", "below a file", "too long", "nowhere", "a null character", "a loop"]
)
def test_a_place_that_cannot_be_written_is_one_sentence(home, tmp_path, capsys, entry, place):
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    for name in ("model.json", "model.safetensors"):
        (tmp_path / "folder" / name).mkdir()
    target = {
        "a folder": tmp_path / "folder" / ("model" if entry is by_potential else ""),
        "below a file": tmp_path / "file" / "x",
        "too long": tmp_path / ("x" * 300),
        "nowhere": Path("/proc/none/x"),
        "a null character": tmp_path / "a\0b",
        "a loop": tmp_path / "loop" / "x",
    }[place]
    if place == "a folder" and entry in FOLDERS:
        pytest.skip("a folder is what they need")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(GnnipError) as caught:
        entry(home, target)
    said = (
        capsys.readouterr().err.strip() if entry in (by_predict, by_import) else str(caught.value)
    )
    assert "\n" not in said
    assert said.endswith(".")
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("entry", [*FILES, *FOLDERS], ids=lambda f: f.__name__)
def test_a_folder_that_is_read_only_is_one_sentence(home, tmp_path, capsys, entry):
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "kept").write_text("kept", encoding="utf-8")
    try:
        with read_only(folder), pytest.raises(GnnipError) as caught:
            entry(home, folder / "run/new")
    except PermissionError as error:
        pytest.skip(f"nothing can be made read-only here ({error})")
    said = capsys.readouterr().err if entry in (by_predict, by_import) else str(caught.value)
    assert said.strip().count("\n") == 0
    assert f"Could not write {folder}" in said
    assert os.listdir(folder) == ["kept"]

"""Published frames and the user's own, from file to data set, through the workflow."""

from __future__ import annotations

import json

import pytest
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from project import Project

NAME = "water_anion"
TARGET = f"results/smoke/datasets/{NAME}.h5"


@pytest.fixture
def files(project: Project):
    """A project with three runs of extended XYZ under frames/, energies in an unusual unit."""
    folder = project.folder / "frames"
    folder.mkdir()
    for run in range(3):
        frames = []
        for step in range(4):
            atoms = Atoms("O2", [[0, 0, 0], [1.0 + 0.1 * step + run, 0, 0]])
            atoms.calc = SinglePointCalculator(atoms, energy=-1000.0 * (1 + step))
            frames.append(atoms)
        write(folder / f"run{run}.xyz", frames, format="extxyz")
    return folder


def test_a_folder_is_a_source(project, files):
    source = "{path: frames, format: extxyz, pattern: '*.xyz', forces: false, units: {energy: meV}}"
    choice = ["--config", "tier=smoke", "papers=gijon2023", "artefacts=table1"]
    choice.append(f"sources={{{NAME}: {source}}}")
    # there is nothing to recompute imported labels with
    todo = project.todo(*choice)
    assert todo["import_dataset"] == todo["provide_dataset"] == 1
    assert "verify_labels" not in todo
    project.snakemake(TARGET, "--cores", "1", *choice)
    from gnnip.datasets import load

    frames = load(project.folder / TARGET)
    assert len(frames) == 12
    assert frames[1].get_potential_energy() == pytest.approx(-2.0)
    assert {f.info["trajectory"] for f in frames} == {"run0.xyz", "run1.xyz", "run2.xyz"}
    text = (project.folder / f"results/smoke/imported/{NAME}.import.txt").read_text()
    assert text.startswith("12 frames read from 3 files, 12 kept")
    # another setting is another import
    choice[-1] = choice[-1].replace("meV", "eV")
    assert project.todo(TARGET, *choice) == {"import_dataset": 1, "provide_dataset": 1}


def test_a_download_is_a_source(project, files):
    data = project.folder / "data"
    shipped = data / "registry.yaml"
    text = shipped.read_text(encoding="utf-8")
    data.unlink()  # a link to the repository's
    data.mkdir()
    (data / "registry.yaml").write_text(text, encoding="utf-8")
    entry = {
        "title": "Made up",
        "doi": None,
        "record": "https://example.org",
        "licence": "CC0-1.0",
        "level": "none",
        "n_frames": 4,
        "files": [{"name": "set/run1.xyz", "url": "http://127.0.0.1:9/a", "checksum": "unknown"}],
        "frames": {"format": "extxyz", "forces": False},
    }
    (data / "published.yaml").write_text(yaml.safe_dump({NAME: entry}), encoding="utf-8")
    (files / "set").symlink_to(files)
    project.environment = {"GNNIP_MIRROR": str(files)}
    choice = [TARGET, "--cores", "1", "--config", "tier=smoke", f"sources={{{NAME}: download}}"]
    # a dry-run needs no network
    assert project.todo(*choice) == {
        "download_dataset": 1,
        "import_dataset": 1,
        "provide_dataset": 1,
    }
    refused = project.run("snakemake", *choice)
    assert refused.returncode != 0
    assert "knows no checksum of set/run1.xyz" in refused.stdout + refused.stderr
    digits = (refused.stdout + refused.stderr).split("--confirm ")[1][:16]
    confirmed = project.run("gnnip", "download", NAME, "--confirm", digits)
    assert confirmed.returncode == 0, confirmed.stderr
    project.snakemake(*choice)
    from gnnip.datasets.store import load_arrays

    frames = load_arrays(project.folder / TARGET)
    assert frames.n_frames == 4
    assert frames.attributes["published"] == NAME
    listed = json.loads((project.folder / f"results/smoke/imported/{NAME}.files.json").read_text())
    assert [path.rsplit("/data/", 1)[1] for path in listed] == ["downloads/set/run1.xyz"]


def test_the_table_of_data_sets(project):
    text = project.snakemake("datasets", "--cores", "1")
    for expected in ("water_anion", "exact", "1280", "CC0-1.0", "comp6_s66x8", "10.1063/1.5023802"):
        assert expected in text

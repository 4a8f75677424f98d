"""Recorded potentials by name, in a fresh clone."""

from __future__ import annotations

import re
import shlex

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from gnnip import load_calculator
from gnnip.__main__ import main
from gnnip.errors import CheckpointError
from gnnip.models.calculator import load_calculator as load_path
from gnnip.own.shipped import find, records, shipped
from gnnip.verdicts.recorded import RecordedRun


@pytest.fixture(autouse=True)
def here(root, monkeypatch):
    monkeypatch.chdir(root)


def test_what_git_holds_is_listed_loads_and_is_what_was_recorded(root, capsys):
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    for path in root.glob("results/recorded/*/*/weights/*/*/*/model.json"):
        card, _, group, cell, seed, _ = path.relative_to(root / "results/recorded").parts[1:]
        name = f"{card}/{group}/{cell}" + ("" if seed == "seed-0" else f"/{seed}")
        assert name in printed
        calculator = load_calculator(f"{card}/{group}/{cell}/{seed}", device="cpu")
        assert calculator.model.species
    for name in ("nequip", "pair", "zbl"):
        assert re.search(rf"^{name} +\S", printed, re.MULTILINE)


def test_a_part_of_a_cell_is_enough_where_it_is_plain():
    one = find("gijon2023/table1/gat")
    assert one.name == "gijon2023/table1/layer-gat_target-electronic/seed-0"
    atoms = molecule("H2O")
    atoms.calc = load_calculator("gijon2023/table1/gat", device="cpu")
    energy = atoms.get_potential_energy()
    atoms.calc = load_path(one.folder, device="cpu")
    assert atoms.get_potential_energy() == energy


def test_names_that_stand_for_several_or_for_none():
    with pytest.raises(CheckpointError, match=r"several potentials; choose one of .*split-random"):
        find("rajak2021/gese2_decomposed")
    with pytest.raises(CheckpointError, match="No potential 'gijon2023/forcs'"):
        find("gijon2023/forcs")
    with pytest.raises(CheckpointError, match="There is no saved potential at gijon/forces"):
        load_calculator("gijon/forces")


def test_the_command_of_the_docs_runs(root, tmp_path, monkeypatch):
    text = (root / "docs/use_a_potential.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python -m gnnip (predict .*)$", text, re.MULTILINE)
    rng = np.random.default_rng(0)
    cluster = molecule("H2O")
    for _ in range(5):
        other = molecule("H2O")
        other.translate(rng.normal(scale=4.0, size=3))
        cluster += other
    ase.io.write(tmp_path / "clusters.xyz", cluster)
    monkeypatch.chdir(tmp_path)  # the records beside the package are found from anywhere
    assert main(shlex.split(line)) == 0
    assert np.isfinite(ase.io.read("predicted.xyz").get_potential_energy())


def test_a_model_card_says_data_reference_errors_stability_and_licence(capsys):
    assert main(["models", "rajak2021/gese2_decomposed/random"]) == 0
    text = capsys.readouterr().out
    run = RecordedRun.of("quick", "rajak2021", records().parent)
    lives = [
        float(atoms.info["time_fs"])
        for atoms in run.last_frames("dynamics_gese2")
        if atoms.info["potential"] == "gese2_decomposed/split-random/seed-0"
    ]
    for words in (
        "knows Ge, Se",
        "split: random",
        "Reference**: xtb",
        "data CC0-1.0",
        "gese2_decomposed_test_force_rmse",
        f"{len(lives)} replicas lived {max(lives) / 1000:.3g} ps",
    ):
        assert words in text


def test_an_unsound_training_is_called_so():
    bad = [one for one in shipped() if one.training and not one.training["sound"]]
    assert bad
    for one in bad:
        assert "not sound: " in one.model_card()

"""What a potential is worth on other frames, and runs side by side."""

from __future__ import annotations

import ase.io
import numpy as np
import pandas as pd
import pytest
import torch
from ase.constraints import FixAtoms
from made_up_frames import copper

from gnnip import load_calculator
from gnnip.__main__ import main
from gnnip.models import build, save
from gnnip.own.evaluate import evaluate_files, worst_rows


@pytest.fixture
def model(tmp_path):
    """A pair potential that is no good, as two seeds."""
    for seed in range(2):
        torch.manual_seed(seed)
        pair = build("pair", species=[29, 79], cutoff=4.5)
        with torch.no_grad():
            pair.coefficients.normal_(std=0.1)
        save(pair, tmp_path / f"model/seed-{seed}/model")
    return tmp_path / "model"


@pytest.fixture
def frames(tmp_path):
    path = tmp_path / "frames.xyz"
    ase.io.write(path, copper(2, 4, alloy=True), format="extxyz")
    return path


def test_errors_are_those_of_the_calculator(model, frames):
    table = evaluate_files(str(model / "seed-0"), str(frames), {}, "cpu")
    errors = table[table["record"] == "error"].set_index("name")
    calculator, found = load_calculator(model / "seed-0", "cpu"), {"energy": [], "Au": []}
    sizes = []
    for atoms in ase.io.read(frames, index=":"):
        own = atoms.copy()
        own.calc = calculator
        energy = own.get_potential_energy() - atoms.get_potential_energy()
        found["energy"].append(1000.0 * energy / len(atoms))
        difference = own.get_forces() - atoms.get_forces()
        found["Au"].append(difference[atoms.numbers == 79])
        sizes.append(np.sqrt((difference**2).mean()))
    assert errors.loc["energy", "mae"] == pytest.approx(np.abs(found["energy"]).mean(), rel=1e-4)
    largest = np.abs(np.concatenate(found["Au"])).max()
    assert errors.loc["forces_Au", "largest"] == pytest.approx(largest, rel=1e-4)
    place, size, _ = worst_rows(table, 1)[0]
    assert place == f"frames.xyz, frame {np.argmax(sizes)}"
    assert float(size.split()[0]) == pytest.approx(max(sizes), rel=5e-3)


def test_all_seeds_are_evaluated_and_written(model, frames, tmp_path, capsys):
    out = tmp_path / "evaluated"
    assert main(["evaluate", str(model), str(frames), "-o", str(out), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "forces on Au" in said
    assert f"Written to {out / 'evaluation.csv'}" in said
    table = pd.read_csv(out / "evaluation.csv")
    assert set(table["seed"]) == {0, 1}
    assert (out / "parity.png").stat().st_size > 5000


def test_an_element_that_was_not_learned(tmp_path, frames, capsys):
    copper_only = build("pair", species=[29], cutoff=4.5)
    save(copper_only, tmp_path / "only/model")
    assert main(["evaluate", str(tmp_path / "only"), str(frames), "--device", "cpu"]) == 2
    assert "not for [79]" in capsys.readouterr().err


def test_runs_side_by_side(frames, tmp_path, capsys):
    runs = [str(tmp_path / name) for name in ("one", "two")]
    given = ["--model", "pair", "--epochs", "2", "--device", "cpu"]
    assert main(["train", str(frames), *given, "-o", runs[0]]) == 0
    assert main(["train", str(frames), *given, "--seeds", "2", "-o", runs[1]]) == 0
    capsys.readouterr()
    figure = tmp_path / "curves.png"
    assert main(["compare", *runs, "-o", str(figure)]) == 0
    said = capsys.readouterr().out
    header, *rows = said.splitlines()
    assert [word for word in header.split() if "/" in word] == runs
    assert any(row.startswith("forces on Cu") for row in rows)
    assert "different frames" in said
    assert figure.stat().st_size > 5000
    assert main(["compare", *runs, "-o", "curves.jpg"]) == 2
    assert main(["compare", runs[0], str(tmp_path)]) == 2
    assert "has no train.yaml" in capsys.readouterr().err


def test_predictions_keep_labels_and_arrays(model, tmp_path, capsys):
    found = copper(1, 2, alloy=True)
    for number, atoms in enumerate(found):
        atoms.info["note"] = f"frame {number}"
        atoms.set_array("kind", np.arange(len(atoms)))
        atoms.set_constraint(FixAtoms([0]))
    ase.io.write(tmp_path / "in.xyz", found, format="extxyz")
    out = tmp_path / "out.xyz"
    asked = ["predict", str(tmp_path / "in.xyz"), "--model", str(model), "--device", "cpu"]
    assert main([*asked, "--ensemble", "-o", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    calculator = load_calculator(model, "cpu")
    for given, atoms in zip(found, ase.io.read(out, index=":"), strict=True):
        own = given.copy()
        own.set_constraint()
        own.calc = calculator
        # in float32, two frames at once against one
        np.testing.assert_allclose(atoms.get_forces(), own.get_forces(), rtol=1e-5, atol=1e-6)
        wanted = given.get_potential_energy()
        assert atoms.info["reference_energy"] == pytest.approx(wanted)
        forces = given.get_forces(apply_constraint=False)
        np.testing.assert_allclose(atoms.arrays["reference_forces"], forces, atol=1e-6)
        assert np.size(atoms.info["reference_stress"]) in (6, 9)
        assert atoms.info["note"] == given.info["note"]
        np.testing.assert_array_equal(atoms.arrays["kind"], given.arrays["kind"])
        spread = calculator.results["forces_spread"]
        np.testing.assert_allclose(atoms.arrays["forces_spread"], spread, atol=1e-6)
    assert main([*asked, "-o", str(out)]) == 0
    assert "energy_spread" not in ase.io.read(out).info


def test_a_relaxation_says_what_is_not_relaxed(model, tmp_path, capsys):
    ase.io.write(tmp_path / "in.xyz", copper(1, 2), format="extxyz")
    out = tmp_path / "out.xyz"
    asked = ["relax", str(tmp_path / "in.xyz"), "--model", str(model), "--device", "cpu"]
    assert main([*asked, "--fmax", "0.05", "--steps", "300", "-o", str(out)]) == 0
    for atoms in ase.io.read(out, index=":"):
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() <= 0.0501
    assert main([*asked, "--cell", "--fmax", "1e-9", "--steps", "1", "-o", str(out)]) == 1
    assert "2 of them not relaxed" in capsys.readouterr().out

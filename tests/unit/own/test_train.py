"""`gnnip train`: from frames and the name of a model to a folder and a page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import ase.io
import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from made_up_frames import SPRINGS, copper

from gnnip import load_calculator, models
from gnnip.__main__ import main
from gnnip.config import papers
from gnnip.config.resolve import resolve
from gnnip.config.schema import Config

#: of a run of several seeds with a dynamics
ARTEFACTS = {"errors", "learning_curve", "parity", "calibration", "survival", "warning"}
PAIR = ("--model", "pair", "--cutoff", "4.5", "--epochs", "3", "--device", "cpu")


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "copper.xyz"
    ase.io.write(path, copper(alloy=True), format="extxyz")
    return path


@pytest.fixture(scope="module")
def run(frames) -> Path:
    """The folder of a training of two seeds with a dynamics."""
    folder = frames.parent / "run"
    more = ("--seeds", "2", "--md", "0.02", "-o", str(folder))
    assert main(["train", str(frames), *PAIR, *more]) == 0
    return folder


def trainings(run: Path) -> Path:
    return run / "trainings/pair/all"


def test_the_folder_has_weights_errors_curves_and_dynamics(run):
    for seed in (0, 1):
        calculator = load_calculator(trainings(run) / f"seed-{seed}", device="cpu")
        assert calculator.model.species == (29, 79)
    errors = pd.read_csv(run / "artefacts/errors.csv")
    assert set(errors["source"]) == {"ours", "composition", "null_model"}
    history = pd.read_csv(trainings(run) / "seed-0/history.csv")
    assert list(history["epoch"]) == [1, 2, 3]
    for name in ARTEFACTS:
        assert (run / f"artefacts/{name}.png").stat().st_size > 5000
    md = pd.read_csv(run / "measurements/md.csv")
    assert (md[md["name"] == "failed"]["value"] == 0).all()


def test_errors_are_by_element_and_beside_trivial_ones(run, frames):
    table = pd.read_csv(run / "measurements/test.csv")
    errors = table[(table["record"] == "error") & (table["seed"] == 0)].set_index("name")
    assert set(errors.index) == {"energy", "forces", "forces_Cu", "forces_Au", "stress"}
    predictions = pd.read_csv(trainings(run) / "seed-0/predictions.csv")
    test = predictions[predictions["subset"] == "test"]
    atoms = [ase.io.read(frames, index=int(k)) for k in test["frame"]]
    gold = np.concatenate([a.get_forces()[a.numbers == 79] for a in atoms])
    assert errors.loc["forces_Au", "trivial"] == pytest.approx(np.sqrt((gold**2).mean()), rel=1e-5)
    stress = np.array([a.get_stress(voigt=False) for a in atoms])
    spread = np.sqrt(np.square(stress - stress.mean(axis=0)).mean())
    assert errors.loc["stress", "trivial"] == pytest.approx(spread, rel=1e-5)
    energy = test["energy_predicted_ev"] - test["energy_reference_ev"]
    rmse = 1000.0 * np.sqrt(np.mean((energy / test["n_atoms"]) ** 2))
    assert errors.loc["energy", "rmse"] == pytest.approx(rmse, rel=1e-4)


def test_trajectories_that_frames_name_are_held_out(run):
    predictions = pd.read_csv(trainings(run) / "seed-0/predictions.csv")
    asked = predictions.groupby("subset")["trajectory"].unique()
    assert set(asked["test"]).isdisjoint(asked["validation"])
    # five trajectories of six frames: one tests, one validates
    assert predictions["subset"].value_counts().to_dict() == {"test": 6, "validation": 6}


def test_the_page_shows_it(run):
    page = (run / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp") == len(ARTEFACTS)
    for words in ("split: trajectory", "forces on Au", "4 of 4", "<svg"):
        assert words in page
    assert not re.findall("(?:src|href)=[\"']http", page)


def test_the_same_again_trains_nothing_and_says_what_came_out(run, frames, capsys):
    weights = trainings(run) / "seed-1/model.safetensors"
    before = weights.stat().st_mtime_ns
    more = ("--seeds", "2", "--md", "0.02", "-o", str(run))
    assert main(["train", str(frames), *PAIR, *more]) == 0
    out = capsys.readouterr().out
    assert "epoch 3/3" not in out
    assert "forces on Cu" in out
    assert "4 of 4 replicas survived" in out
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("frames.h5", "is not what was made of the frames; they are read again."),
        ("dynamics/md/pair/all/seed-0/trajectory.h5", "is not what the dynamics had made; they"),
    ],
)
def test_what_was_edited_by_hand_is_noticed_and_made_again(run, capsys, name, said):
    path, weights = run / name, trainings(run) / "seed-1/model.safetensors"
    before, trained = path.read_bytes(), weights.stat().st_mtime_ns
    with h5py.File(path, "r+") as file:
        place = file if name == "frames.h5" else file["0000/frames"]
        positions = place["positions" if name == "frames.h5" else "positions_angstrom"]
        positions[...] = positions[...] + 0.01
    assert main(["train", str(run), "--device", "cpu"]) == 0
    assert f"{path} {said}" in capsys.readouterr().out
    assert path.read_bytes() == before
    assert weights.stat().st_mtime_ns == trained
    assert main(["train", str(run), "--device", "cpu"]) == 0
    assert said not in capsys.readouterr().out


def test_another_run_in_the_folder_is_refused(run, frames, capsys):
    assert main(["train", str(frames), *PAIR, "--seeds", "3", "-o", str(run)]) == 2
    assert "holds another run" in capsys.readouterr().err
    other = frames.with_name("other.xyz")
    ase.io.write(other, copper(4, 3), format="extxyz")
    assert main(["train", str(other), *PAIR, "-o", str(run)]) == 2
    assert load_calculator(trainings(run) / "seed-0", "cpu").model.species == (29, 79)


def test_the_description_repeats_the_run(run, tmp_path):
    again = tmp_path / "again"
    assert main(["train", str(run / "train.yaml"), "-o", str(again), "--device", "cpu"]) == 0
    for seed in (0, 1):
        one, other = (trainings(r) / f"seed-{seed}/model.safetensors" for r in (run, again))
        assert one.read_bytes() == other.read_bytes()


def test_a_killed_run_continues(run, tmp_path, monkeypatch):
    from gnnip.own import run as own

    folder = tmp_path / "killed"
    folder.mkdir()
    shutil.copy(run / "train.yaml", folder)
    monkeypatch.setattr(own, "_measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        main(["train", str(folder), "--device", "cpu"])
    monkeypatch.undo()
    weights = trainings(folder) / "seed-1/model.safetensors"
    before = weights.stat().st_mtime_ns
    assert main(["train", str(folder), "--device", "cpu"]) == 0
    assert weights.stat().st_mtime_ns == before
    assert (folder / "index.html").exists()


def test_the_description_is_a_card_of_the_workflow(run, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    card = yaml.safe_load((run / "train.yaml").read_text(encoding="utf-8"))
    (folder / "card.yaml").write_text(yaml.safe_dump(card | {"id": "mine"}), encoding="utf-8")
    found = resolve("mine", "quick", Config(cards=str(folder)))
    assert set(found.artefacts) == ARTEFACTS
    assert papers.load_card(folder).trainings["pair"].split.scheme == "trajectory"


#: what a potential needs besides a cutoff
NEEDS = {
    "sum": ["terms=[{model: zbl}, {model: pair, hyperparameters: {cutoff: 4.0}}]"],
    "spektral": ["channels=4", "dense_units=4"],
    "random_features": ["channels=4", "force_weight=0", "stress_weight=0", "per_atom=false"],
    "nequip": ["channels=2", "layers=1", "lmax=1"],
    "coulomb": ["cutoff=4.0"],
    "ace": ["stress_weight=0"],
    "ace_network": ["stress_weight=0"],
}


@pytest.mark.parametrize("name", models.names())
def test_every_potential_of_the_library_trains(name, tmp_path):
    path = tmp_path / "frames.xyz"
    ase.io.write(path, copper(4, 3, (1, 1, 1)), format="extxyz")
    more = [part for text in NEEDS.get(name, []) for part in ("--set", text)]
    folder = tmp_path / "run"
    given = ["--model", name, "--epochs", "1", "--device", "cpu", "-o", str(folder)]
    assert main(["train", str(path), *given, *more]) == 0
    (summary,) = folder.glob("trainings/*/all/seed-0/summary.json")
    assert json.loads(summary.read_text(encoding="utf-8"))["model"] == name


def test_a_model_from_a_file_where_one_is(tmp_path, monkeypatch):
    (tmp_path / "own_springs.py").write_text(SPRINGS, encoding="utf-8")
    ase.io.write(tmp_path / "frames.xyz", copper(4, 3, (1, 1, 1)), format="extxyz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = ["train", "frames.xyz", "--model", "own_springs:Springs", "--set", "width=4"]
    assert main([*asked, "--epochs", "2", "--md", "0.01", "--device", "cpu"]) == 0
    card = yaml.safe_load(Path("frames_springs/train.yaml").read_text(encoding="utf-8"))
    assert card["trainings"]["springs"]["hyperparameters"] == {"width": 4}
    assert Path("frames_springs/index.html").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--model", "nequipp"], "did you mean 'nequip'"),
        (["--model", "pair", "--set", "chanels=8"], "neither a setting of trainings nor an option"),
        (["--model", "pair", "--set", "epochs"], "write key=value"),
        (["--model", "pair", "--read", "energy=REF"], "no energy 'REF'"),
        (["--model", "pair", "--read", "colour=3"], "unknown key 'colour'"),
        ([], "needs --model"),
    ],
)
def test_mistakes_are_one_sentence(frames, tmp_path, capsys, more, said):
    assert main(["train", str(frames), *more, "-o", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_energies_alone_and_no_trajectories(tmp_path, capsys):
    from ase.calculators.singlepoint import SinglePointCalculator

    found = copper(1, 12, (1, 1, 1))
    for atoms in found:
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy())
        del atoms.info["trajectory"]
    path = tmp_path / "frames.xyz"
    ase.io.write(path, found, format="extxyz")
    more = ("--read", "forces=false", "-o", str(tmp_path / "run"))
    assert main(["train", str(path), *PAIR, *more]) == 0
    assert "split: random" in capsys.readouterr().out
    card = yaml.safe_load((tmp_path / "run/train.yaml").read_text(encoding="utf-8"))
    settings = card["trainings"]["pair"]["settings"]
    assert (settings["force_weight"], settings["stress_weight"]) == (0.0, 0.0)

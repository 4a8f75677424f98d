"""Papers of somebody else, from outside the repository, as the docs tell; cards without Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from project import Project


def code_block(page: Path, language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return block


def copper(frames: int) -> list:
    """Periodic frames of copper at some hundred Kelvin, labelled by ASE's EMT."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator

    found = []
    for seed in range(frames):
        atoms = bulk("Cu", cubic=True) * (2, 2, 2)
        atoms.rattle(0.12, seed=seed)
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def paper(root, tmp_path_factory) -> Path:
    """The folder of the paper that the docs describe, with the model that they describe."""
    import ase.io

    folder = tmp_path_factory.mktemp("elsewhere") / "mine"
    folder.mkdir()
    card = code_block(root / "docs/add_a_paper.md", "yaml")
    model = code_block(root / "docs/add_a_model.md", "python")
    assert len(card.splitlines()) <= 42
    assert len(model.splitlines()) <= 42
    (folder / "card.yaml").write_text(card, encoding="utf-8")
    (folder / "springs.py").write_text(model, encoding="utf-8")
    ase.io.write(folder / "frames.extxyz", copper(40))
    return folder


@pytest.fixture(scope="module")
def run(paper, tmp_path_factory) -> tuple[Project, tuple[str, ...]]:
    project = Project(tmp_path_factory.mktemp("strangers"))
    choice = ("--config", f"cards={paper}", "papers=mine", "tier=quick")
    project.snakemake("--cores", "2", *choice)
    return project, choice


def test_it_trains_and_its_claim_fails_on_the_trivial_row(run):
    folder = run[0].folder / "results/quick/mine"
    verdicts = pd.read_csv(folder / "verdicts.csv").set_index("quantity")
    row = verdicts.loc["springs_test_force_rmse"]
    assert row["ours_mean"] < 0.5 * row["baseline"]
    assert row["reference"] == "published"
    assert verdicts.loc["explains_forces", "verdict"] == "reproduced"
    (claim,) = pd.read_csv(folder / "claims.csv").to_dict("records")
    assert (claim["holds"], claim["trivial"]) == (True, "fails")
    assert claim["margin"] > 0
    audit = pd.read_csv(folder / "measurements/audit.csv")
    assert set(audit["predictor"]) == {"network", "zero"}
    assert (folder / "artefacts/table1.png").stat().st_size > 5000


def test_a_finished_run_is_finished_and_an_edit_of_the_model_retrains(run, paper):
    project, choice = run
    assert project.todo(*choice) == {}
    model = paper / "springs.py"
    kept = model.read_text(encoding="utf-8")
    try:
        model.write_text(kept.replace("** 3", "** 2"), encoding="utf-8")
        assert project.todo(*choice)["train_model"] == 1
    finally:
        model.write_text(kept, encoding="utf-8")


def test_other_frames_in_the_folder_are_imported_anew(run, paper):
    import ase.io

    project, choice = run
    place = paper / "frames.extxyz"
    kept, stamps = place.read_bytes(), place.stat()
    try:
        ase.io.write(place, copper(39))
        # older than all results: content decides
        os.utime(place, ns=(0, 0))
        assert project.todo(*choice)["import_dataset"] == 1
    finally:
        place.write_bytes(kept)
        os.utime(place, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    assert project.todo(*choice) == {}


def test_the_contract_holds_for_the_model_of_the_docs(paper):
    """A stranger's test is a class that names the model and nothing else."""
    test = paper / "test_springs.py"
    test.write_text(
        "from gnnip.testing import PotentialContract\n\n\n"
        "class TestSprings(PotentialContract):\n"
        "    architecture = 'mine.springs:Springs'\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        cwd=paper,
        env=os.environ | {"PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{paper.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


SHARED_KINDS = """
id: shared
title: Nothing but shared kinds
authors: [A. Author]
citation: Preprint (2026)
doi: none
datasets:
  sic: {source: archive, sizes: [64], replicas: 4, verify_frames: 1}
  gese2: {source: archive, sizes: [48], replicas: 4, verify_frames: 1}
training_defaults:
  model: pair
  target: total
  settings: {loss: mse, per_atom: true, force_weight: 1.0, learning_rate: 0.05, epochs: 2}
  split: {scheme: random, max_frames: 40, test_fraction: 0.2}
trainings:
  carbide: {dataset: sic, hyperparameters: {species: [6, 14], cutoff: 4.0, n_radial: 4}}
  selenide: {dataset: gese2, hyperparameters: {species: [32, 34], cutoff: 4.0, n_radial: 4}}
measurements:
  local_carbide: {kind: local_forces, trainings: [carbide], options: {max_frames: 2}}
  local_selenide: {kind: local_forces, trainings: [selenide], options: {max_frames: 2}}
artefacts:
  errors: {kind: errors, label: Errors, title: Both, trainings: [carbide, selenide]}
  local: {kind: local_forces, label: Forces, title: SiC, measurements: [local_carbide]}
  data: {kind: reference_data, label: Data, title: Both, datasets: [sic, gese2]}
claims:
  finite:
    text: Errors are finite
    where: nowhere
    artefacts: [errors]
    test: {kind: within, quantity: ".*_test_force_rmse", at_least: 0.0, at_most: 100.0}
  no_better_than_no_force:
    text: Two epochs of pairs are worse than perfect
    where: nowhere
    artefacts: [errors]
    test: {kind: within, quantity: carbide_test_force_rmse, at_most: 0.0}
  carbide_is_stiffer:
    text: The errors of SiC are larger
    where: nowhere
    artefacts: [errors]
    test: {kind: ordering, quantities: [selenide_test_force_rmse, carbide_test_force_rmse]}
"""


def test_a_card_of_shared_kinds_needs_no_python(tmp_path):
    folder = tmp_path / "cards/shared"
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(SHARED_KINDS, encoding="utf-8")
    project = Project(tmp_path / "project")
    choice = ("--config", f"cards={folder.parent}", "papers=shared", "tier=smoke")
    project.snakemake("--cores", "2", *choice)
    results = project.folder / "results/smoke/shared"
    for name in ("errors", "local", "data"):
        assert (results / f"artefacts/{name}.png").stat().st_size > 5000
    claims = pd.read_csv(results / "claims.csv").set_index("claim")
    assert bool(claims.loc["finite", "holds"])
    assert not bool(claims.loc["no_better_than_no_force", "holds"])
    errors = pd.read_csv(results / "artefacts/errors.metrics.csv").set_index("quantity")["value"]
    stiffer = errors["selenide_test_force_rmse"] < errors["carbide_test_force_rmse"]
    assert bool(claims.loc["carbide_is_stiffer", "holds"]) is bool(stiffer)
    # another threshold only judges again
    stricter = SHARED_KINDS.replace("at_most: 100.0", "at_most: 0.000001")
    (folder / "card.yaml").write_text(stricter, encoding="utf-8")
    assert project.todo(*choice) == {}
    project.snakemake("--cores", "2", *choice)
    assert not bool(pd.read_csv(results / "claims.csv").set_index("claim").loc["finite", "holds"])


def test_a_folder_named_like_a_package_is_refused(paper, tmp_path):
    project = Project(tmp_path / "project")
    shutil.copytree(paper, tmp_path / "cards/yaml")
    done = project.run("snakemake", "-n", "--config", f"cards={tmp_path / 'cards'}", "papers=yaml")
    assert done.returncode != 0
    assert "has the name of a Python package; rename the folder." in done.stdout + done.stderr

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gnnip.__main__ import END, START, main
from gnnip.config import papers
from gnnip.config.resolve import resolve


@pytest.fixture
def checkout(tmp_path, root, monkeypatch) -> Path:
    """A folder with the files that the command line reads, as working directory."""
    for part in ("papers", "workflow/schemas", "data", "docs"):
        shutil.copytree(root / part, tmp_path / part)
    for name in ("config.yaml", "CITATION.cff"):
        shutil.copy(root / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(capsys, *arguments: str) -> str:
    """Run a command that must fail as a user's mistake; return its one line."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("gnnip: ")
    assert error.count("\n") == 1
    return error


def test_help_lists_the_commands_and_starts_without_heavy_imports():
    code = (
        "import sys; from gnnip.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'pydantic', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("predict", "verdicts", "datasets", "download", "import", "spec", "readme"):
        assert command in done.stdout


def test_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["verdict"])
    assert stopped.value.code == 2
    assert "verdicts" in capsys.readouterr().err


@pytest.fixture
def water(tmp_path) -> Path:
    """Two water molecules and one, as extended XYZ."""
    from ase import Atoms
    from ase.io import write

    one = np.array([[0.0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
    two = np.concatenate([one, one + np.array([0.0, 0.0, 2.9])])
    path = tmp_path / "water.xyz"
    write(path, [Atoms("OHHOHH", two), Atoms("OHH", one)], format="extxyz")
    return path


@pytest.fixture
def model(tmp_path) -> Path:
    """An untrained network, saved."""
    import torch

    from gnnip import models

    torch.manual_seed(0)
    network = models.build("spektral", channels=4, dense_units=4)
    models.save(network, tmp_path / "model")
    return tmp_path / "model.safetensors"


def test_predict_writes_energies_and_forces(water, model, tmp_path, capsys):
    import ase.io

    from gnnip import load_calculator

    out = tmp_path / "out.xyz"
    assert main(["predict", str(water), "--model", str(model), "-o", str(out)]) == 0
    assert "2 structures" in capsys.readouterr().out
    frames = ase.io.read(out, index=":")
    calculator = load_calculator(model, device="cpu")
    for found, atoms in zip(frames, ase.io.read(water, index=":"), strict=True):
        atoms.calc = calculator
        assert found.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
        np.testing.assert_allclose(found.get_forces(), atoms.get_forces(), atol=1e-6)
    assert main(["predict", str(water), "--model", str(model)]) == 0
    assert capsys.readouterr().out.count("Properties=species:S:1:pos:R:3:forces:R:3") == 2


def test_predict_mistakes(water, model, tmp_path, capsys):
    assert "none.xyz does not exist" in fails(capsys, "predict", "none.xyz", "--model", str(model))
    assert "nomodel" in fails(capsys, "predict", str(water), "--model", "nomodel.safetensors")
    broken = tmp_path / "broken.xyz"
    broken.write_text("three\natoms\n", encoding="utf-8")
    assert "cannot be read" in fails(capsys, "predict", str(broken), "--model", str(model))


@pytest.mark.parametrize(
    ("setting", "status"),
    [
        ("pattern=*.xyz", 0),  # an alias, to YAML
        ("energy=[a", 2),
        ("energy=!!python/object/apply:os.system [id]", 2),
        ("pattern=**x", 2),
        ("block_frames=1000000000000000000000000", 2),
        ("energy=2024-01-01", 2),
    ],
)
def test_import_takes_a_value_that_is_no_yaml_as_text(water, tmp_path, capsys, setting, status):
    (tmp_path / "f").mkdir()
    text = water.read_text(encoding="utf-8").replace("Properties", "energy=-1.0 Properties")
    (tmp_path / "f" / "a.xyz").write_text(text, encoding="utf-8")
    command = ["import", str(tmp_path / "f"), "--format", "extxyz", "--set", "forces=false"]
    assert main([*command, "--set", setting]) == status
    assert len(capsys.readouterr().err.splitlines()) == (status > 0)


def test_datasets(checkout, capsys):
    assert main(["datasets", "--width", "120"]) == 0
    out = capsys.readouterr().out
    for column in ("reference", "engine", "frames", "atoms", "megabytes", "licence", "doi"):
        assert column in out
    shipped, published = out.split("Published by others")
    assert "water_anion" in shipped
    assert "10.24435/materialscloud:f3-yh" in published
    # a title is cut, a name is not
    assert "…" in published
    assert "au_mgo_relaxed" in published


def test_import_reports_and_writes_frames(tmp_path, capsys, monkeypatch):
    from gnnip import datasets

    monkeypatch.chdir(tmp_path)
    lines = ["2", "REF=-3 T=300", "O 0 0 0", "O 1.2 0 0"]
    Path("a.xyz").write_text("\n".join(lines * 2) + "\n", encoding="utf-8")
    asked = [
        "import",
        "a.xyz",
        "--format",
        "extxyz",
        "--set",
        "energy=REF",
        "--set",
        "forces=false",
    ]
    assert main([*asked, "--set", "units.energy=Hartree"]) == 0
    out = capsys.readouterr().out
    assert "2 frames read from 1 file, 2 kept" in out
    assert "1 have the geometry of an earlier frame (1)" in out
    assert list(tmp_path.iterdir()) == [tmp_path / "a.xyz"]
    assert main([*asked, "--set", "columns.temperature_k=T", "-o", "a.h5"]) == 0
    frames = datasets.load("a.h5")
    assert [f.get_potential_energy() for f in frames] == [-3.0, -3.0]
    assert frames[0].info["temperature_k"] == 300
    capsys.readouterr()
    assert "'REG', did you mean 'REF'" in fails(capsys, *asked[:4], "--set", "energy=REG")
    assert "write key=value" in fails(capsys, *asked, "--set", "energy")
    assert "unknown key 'unit', did you mean 'units'" in fails(capsys, *asked, "--set", "unit.a=b")
    assert "'energy' is no group" in fails(capsys, *asked, "--set", "energy.unit=eV")


def test_download_mistakes(checkout, capsys):
    assert "called 'hfo', did you mean 'hfo2'" in fails(capsys, "download", "hfo")


def test_verdicts_of_a_run_that_has_not_begun(checkout, capsys):
    assert main(["verdicts", "--tier", "quick", "--json", "rows.json"]) == 0
    rows = json.loads(Path("rows.json").read_text(encoding="utf-8"))
    assert {row["verdict"] for row in rows} == {"not run"}
    printed = capsys.readouterr().out
    total = 0
    for card in map(papers.load_card, papers.folders().values()):
        count = len(card.claims) + sum(len(block.values) for block in card.published)
        # a card that states its data only has nothing to be judged
        assert count == 0 or f"{count} rows: {count} not run" in printed
        total += count
    assert len(rows) == total


def test_verdicts_mistakes(checkout, capsys):
    assert "did you mean" not in fails(capsys, "verdicts", "gijon")
    assert "No run of gijon2023 is recorded" in fails(
        capsys, "verdicts", "--tier", "smoke", "--recorded"
    )
    Path("config.yaml").write_text("teir: quick\n", encoding="utf-8")
    assert "did you mean 'tier'?" in fails(capsys, "verdicts")


def test_spec_lists_every_training_of_a_tier(checkout, capsys):
    assert main(["spec", "--tier", "smoke", "--output", "plans/spec.json"]) == 0
    from gnnip.training.run import read_spec

    trainings = read_spec("plans/spec.json")
    both = [resolve(name, "smoke") for name in papers.folders()]
    assert len(trainings) == sum(
        len(card.cells(g)) * len(card.seeds(g)) for card in both for g in card.trainings
    )
    first = trainings[0]
    results = checkout / "results/smoke"
    assert Path(first["data"]).resolve() == results / "datasets/water_anion_ladder.h5"
    folder = results / "gijon2023/trainings/table1/layer-gat_target-atomic/seed-0"
    assert Path(first["folder"]).resolve() == folder
    assert first["settings"]["seed"] == 0


def test_schema_check_finds_drift(checkout, capsys):
    assert main(["schema", "--check"]) == 0
    Path("workflow/schemas/card.schema.json").write_text("{}", encoding="utf-8")
    assert "out of date" in fails(capsys, "schema", "--check")
    assert main(["schema"]) == 0
    assert main(["schema", "--check"]) == 0


def record(folder: Path, verdict: str) -> None:
    row = {
        **dict.fromkeys(("ours_mean", "ours_std", "baseline")),
        **{"card": "gijon2023", "artefact": "table1", "quantity": "gat_atomic_mae", "unit": "Ha"},
        **{"published": 0.02, "tolerance": "factor 1.5", "n_seeds": 3, "reference": "exact"},
        **{"variant": "as_described", "verdict": verdict, "reason": "none"},
    }
    folder.mkdir(parents=True)
    (folder / "verdicts.json").write_text(json.dumps([row]), encoding="utf-8")
    provenance = {"trainings": {"devices": ["a GPU"]}, "cpu": "a processor"}
    (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")


def test_readme_shows_the_largest_recorded_run(checkout, capsys):
    readme, page = Path("README.md"), Path("docs/verdicts.md")
    readme.write_text(f"# gnnip\n{START}\nold\n{END}\nend\n", encoding="utf-8")
    assert main(["readme", "--update"]) == 0
    assert "No run has been recorded yet." in readme.read_text(encoding="utf-8")
    record(checkout / "results/recorded/quick/gijon2023", "deviates")
    assert "out of date" in fails(capsys, "readme", "--check")
    record(checkout / "results/recorded/paper/gijon2023", "reproduced")
    assert main(["readme", "--update"]) == 0
    assert main(["readme", "--check"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "| reproduced |" in text
    assert "deviates" not in text
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# gnnip\n")
    assert text.endswith("\nend\n")
    assert "Tier `paper`: 1 of 1 numbers and claims decided." in text
    # of a larger run of some artefacts the rows that were run, then the whole one below it
    paper = checkout / "results/recorded/paper/gijon2023"
    (paper / "provenance.json").rename(paper / "table1.provenance.json")
    assert main(["readme", "--update"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "recorded in part at tier `paper` (a GPU)" in text
    assert text.index("| reproduced |") < text.index("recorded at tier `quick`")
    assert text.index("recorded at tier `quick`") < text.index("| deviates |")
    readme.write_text("# no markers\n", encoding="utf-8")
    assert "lacks the markers" in fails(capsys, "readme", "--update")


def test_the_projects_readme_is_in_sync(root, monkeypatch):
    monkeypatch.chdir(root)
    assert main(["readme", "--check"]) == 0


def test_a_generated_set_becomes_an_archive(tmp_path, capsys, monkeypatch):
    from dataclasses import replace

    from gnnip.datasets import engine_sets, registry
    from gnnip.sampling import aimd, sic

    monkeypatch.chdir(tmp_path)
    lj = "ase:lj sigma=1.68 epsilon=0.01 rc=1.9"
    plan = replace(sic.smoke_plan(8), engine=lj, label_engine="", temperatures=(30.0,), boost=1.0)
    made = aimd.run(plan, tmp_path / "t", sic.start, str)
    engine_sets.assemble("sic", [made], tmp_path / "made.h5", progress=str)
    Path("data").mkdir()
    Path("data/registry.yaml").write_text("# what is there\n{}\n", encoding="utf-8")
    assert main(["register", "sic", "made.h5"]) == 0
    assert "data/sic.h5: 3 frames" in capsys.readouterr().out
    assert registry.check_archive("sic") == tmp_path / "data/sic.h5"
    entry = registry.find_entry("sic")
    assert entry["licence"] == "CC0-1.0"
    assert entry["made"]["engine"].startswith("ase:lj")
    assert "core-hours of sampling" in entry["made"]["cost"]
    assert "sources={sic: generate}" in entry["made"]["command"]
    text = Path("data/registry.yaml").read_text(encoding="utf-8")
    assert text.startswith("# what is there\n")
    import h5py

    with h5py.File("made.h5", "r+") as archive:
        del archive.attrs["reference"]
    again = ("register", "sic", "made.h5", "--replace")
    assert "does not state its reference; only" in fails(capsys, *again)


@pytest.mark.parametrize("output", ["folder", "full"])
def test_an_output_that_cannot_be_written(checkout, output):
    where = {"folder": checkout, "full": Path("/dev/full")}[output]
    command = [sys.executable, "-m", "gnnip", "spec", "kang2024", "--tier", "smoke"]
    done = subprocess.run([*command, "-o", where], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("gnnip: Could not write")
    assert done.stderr.count("\n") == 1


def test_a_plain_locale_and_a_full_terminal(root):
    plain = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "gnnip", "datasets", "--width", "120"]
    how = {"cwd": root, "env": os.environ | plain, "stderr": subprocess.PIPE, "text": True}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, **how)
    assert (done.returncode, done.stderr) == (0, "")
    assert "?" in done.stdout
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(command, stdout=full, check=False, **how)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the output: No space left on device" in done.stderr

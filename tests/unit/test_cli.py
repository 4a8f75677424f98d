from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from gnnip.__main__ import _COMMANDS, END, START, _parser, main
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


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_help_is_sentences_with_an_example_that_parses(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    text = capsys.readouterr().out
    described = (_COMMANDS[name][0].__doc__ or "").strip()
    first, *_, last = [" ".join(part.split()) for part in described.split("\n\n")]
    assert first.endswith(".")
    assert re.fullmatch(rf"Example: gnnip {name}\b.*", last)
    assert last in " ".join(text.split())
    for names, options in _COMMANDS[name][1]:
        assert options.get("help"), f"{name} {names[0]} explains itself"
    # an example with options that there are
    _parser().parse_args(shlex.split(last.removeprefix("Example: gnnip ")))


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


def old_labels(atoms, name):
    """Give a crystal labels of another method, as files have them."""
    from ase.calculators.singlepoint import SinglePointCalculator

    n = len(atoms)
    if name == "calculator":
        found = {"energy": 1.0, "forces": np.ones((n, 3)), "stress": np.ones(6)}
        more = {"magmoms": np.ones(n), "charges": np.ones(n), "dipole": np.ones(3)}
        atoms.calc = SinglePointCalculator(atoms, **found, **more)
    elif name == "six":
        atoms.info["stress"] = np.ones(6)
    elif name == "nine":
        atoms.info |= {"stress": np.ones((3, 3)), "virial": np.ones((3, 3))}
    elif name == "arrays":
        atoms.arrays |= {"energies": np.ones(n), "force": np.ones((n, 3))}
        atoms.info["free_energy"] = 3.0
    elif name == "held":
        from ase.constraints import FixAtoms, FixCartesian, Hookean

        atoms.set_constraint([FixAtoms([0]), FixCartesian(1), Hookean(a1=2, a2=3, rt=1.0, k=9.0)])
    elif name == "moving":
        atoms.set_velocities(np.ones((n, 3)))
    elif name == "magnetic":
        atoms.set_initial_magnetic_moments(np.ones(n))
        atoms.set_initial_charges(np.ones(n))
        atoms.set_celldisp([1.0, 2.0, 3.0])
    else:
        atoms.set_tags(range(n))


@pytest.mark.parametrize("suffix", ["xyz", "traj", "db"])
@pytest.mark.parametrize(
    "labels", ["calculator", "six", "nine", "arrays", "held", "moving", "magnetic", "tagged"]
)
def test_labels_in_the_input_are_not_those_of_the_potential(tmp_path, labels, suffix):
    """Whatever the file says, what is written are the model's energy, forces and stress."""
    import ase.io
    from ase.build import bulk

    from gnnip import models
    from gnnip.models.calculator import PotentialCalculator

    pair = models.build("pair", species=(14,), cutoff=4.0)
    pair.species = (14,)
    models.save(pair.double(), tmp_path / "model")
    plain = bulk("Si", cubic=True)
    plain.rattle(0.1, seed=1)
    given = plain.copy()
    old_labels(given, labels)
    if suffix == "db" and labels in ("six", "nine", "arrays"):
        pytest.skip("ASE's database has no place for them")
    ase.io.write(tmp_path / f"a.{suffix}", given)
    command = ["predict", str(tmp_path / f"a.{suffix}"), "--model", str(tmp_path / "model")]
    assert main([*command, "-o", str(tmp_path / "out.xyz")]) == 0
    found = ase.io.read(tmp_path / "out.xyz")
    plain.calc = PotentialCalculator(pair)
    assert found.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(found.get_forces(), plain.get_forces(), atol=1e-6)
    np.testing.assert_allclose(found.get_stress(), plain.get_stress(), atol=1e-6)
    assert set(found.calc.results) <= {"energy", "forces", "stress"}


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


#: frames of a file that an import leaves out where the settings say so, and the reason
LEFT_OUT = {
    "faulty": ("2\nenergy=-1\nO 0 0 0\nO 0 0 0\n", "at one point"),
    "faulty, empty": ("0\nenergy=-1\n", "no atoms"),
    "faulty, no element": ("1\nenergy=-1\nX 0 0 0\n", "atomic number 0"),
    "faulty, flat": ('1\nLattice="5 0 0 5 0 0 0 0 5" energy=-1\nO 0 0 0\n', "no volume"),
    "non_finite": ("1\nenergy=nan\nO 0 0 0\n", "energy"),
    "non_finite, place": ("1\nenergy=-1\nO 0 inf 0\n", "positions"),
    "duplicates": ("1\nenergy=-1\nO 1 2 3\n", "equals frame 0"),
    "missing_stress": ("1\nenergy=-1\nO 9 0 0\n", "the file gives none"),
    "cut_off": ("3\nenergy=-1\nO 0 0 0\n", "1 of 3 atoms"),
}
GOOD = "1\n{}energy=-1\nO 1 2 3\n"


@pytest.mark.parametrize("how", ["import", "download"])
@pytest.mark.parametrize("finding", LEFT_OUT)
def test_what_is_left_out_is_listed_beside_the_archive(tmp_path, capsys, monkeypatch, finding, how):
    from gnnip.datasets import published
    from gnnip.datasets.store import load_arrays

    monkeypatch.chdir(tmp_path)
    text, reason = LEFT_OUT[finding]
    name = finding.partition(",")[0]
    cell = 'Lattice="5 0 0 0 5 0 0 0 5" stress="1 0 0 0 1 0 0 0 1" '
    stress = {"stress": "stress"} if name == "missing_stress" else {}
    Path("a.xyz").write_text(GOOD.format(cell if stress else "") + text, encoding="utf-8")
    settings = {"forces": False, "check_work": False, **stress}
    if how == "import":
        command = ["import", "a.xyz", "--format", "extxyz"]
        command += [f"--set={key}={value}" for key, value in settings.items()]
        said = fails(capsys, *command) if name != "duplicates" else ""
        assert name in said or name == "duplicates"
        command += [f"--set={name}=leave_out", "-o", "a.h5"]
    else:
        entry = published.PublishedSet.model_validate(
            {
                "title": "a",
                "doi": None,
                "record": "b",
                "licence": "CC0-1.0",
                "level": "c",
                "n_frames": 2,
                "files": [{"name": "a.xyz", "url": "http://127.0.0.1:9/a", "checksum": "unknown"}],
                "frames": {"format": "extxyz", **settings, name: "leave_out"},
            }
        )
        monkeypatch.setattr(published, "find_published", lambda *_: entry)
        monkeypatch.setattr(published, "fetch_published", lambda *_, **__: [Path("a.xyz")])
        command = ["download", "a", "-o", "a.h5"]
    assert main(command) == 0
    assert load_arrays("a.h5").positions.tolist() == [[1.0, 2.0, 3.0]]
    report = json.loads(Path("a.h5.import.json").read_text(encoding="utf-8"))
    assert (report["n_read"], report["n_kept"], report["left_out"]) == (2, 1, [1])
    assert reason in report["reasons"]["1"]
    assert reason in capsys.readouterr().out


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


def test_a_card_that_is_named_twice_counts_once(checkout, capsys):
    told = []
    for cards in (["gijon2023"], ["gijon2023", "papers/gijon2023", "gijon2023"]):
        assert main(["spec", *cards, "--tier", "smoke"]) == 0
        trainings = json.loads(Path("spec.json").read_text(encoding="utf-8"))["trainings"]
        assert main(["verdicts", *cards, "--tier", "smoke"]) == 0
        told.append((trainings, capsys.readouterr().out))
    assert told[0] == told[1]


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
    assert Path(first["data"]).resolve() == results / "datasets/water_anion.h5"
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


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("gnnip.artefacts.reference_checks", ["nothing.h5"], "No bonds are known of 'nothing'"),
        ("gnnip.artefacts.reference_checks", ["sic.h5"], "sic.h5 does not exist"),
        ("gnnip.datasets.settings_errors", ["nothing.h5", "a=1"], "nothing.h5 does not exist"),
        ("gnnip.datasets.settings_errors", ["text.h5", "a=1"], "text.h5 is damaged"),
        ("gnnip.datasets.fit_charge_equilibration", ["nothing"], "no RuNNer files"),
        ("gnnip.models.jat.published", ["nothing.npz", "-o", "x"], "nothing.npz is not an archive"),
        ("gnnip.models.jat.published", ["text.h5", "-o", "x"], "text.h5 is not an archive"),
        ("gnnip.training.run", ["--spec", "nothing.json"], "nothing.json does not exist"),
        ("gnnip.__main__", ["kept"], "No recorded run keeps anything outside git"),
        ("gnnip.__main__", ["kept", "nobody"], "No recorded run of nobody keeps anything"),
        ("gnnip.__main__", ["judge"], "There is no recorded run to judge"),
        ("gnnip.__main__", ["page"], "There is no result to show"),
        ("gnnip.__main__", ["runs"], "runs.yaml does not exist"),
        ("gnnip.__main__", ["register", "mine", "text.h5"], "text.h5 is damaged"),
        ("gnnip.__main__", ["long-run", "--cores", "0"], "--cores is 0, and this machine has"),
        ("gnnip.__main__", ["long-run", "--cores", "-3"], "--cores is -3, and this machine has"),
        ("gnnip.__main__", ["long-run", "--cores", "99999"], "--cores is 99999, and this machine"),
    ],
)
def test_every_program_answers_a_mistake_in_one_sentence(
    tmp_path, monkeypatch, capsys, module, arguments, said
):
    """Status 2, and what was asked for is named; nothing to do is no success."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.h5").write_text("no archive", encoding="utf-8")
    assert import_module(module).main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line

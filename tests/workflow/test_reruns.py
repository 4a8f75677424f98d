"""Content decides what runs again: the mechanics, on a workflow of two jobs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project import ROOT, jobs, kill_group

SNAKEFILE = """
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.persistence import PersistenceBase

from gnnip import locks, receipts
from gnnip.code import code_hash

locks.install(PersistenceBase, WorkflowError)

GONE = receipts.settle(say=logger.warning) if workflow.is_main_process else set()


def code_of(script):
    return code_hash([f"{workflow.basedir}/scripts/{script}.py"])


rule all:
    input:
        "results/table.csv",
        [name for name in ("results/model.txt", "results/model.json") if name in GONE],


rule train:
    input:
        ancient("data/frames.txt"),
    output:
        "results/model.txt",
        "results/model.json",
    log:
        "logs/train.log",
    params:
        content=receipts.content_hash("data/frames.txt"),
        code=code_of("train"),
        pause=config.get("pause", 0),
    script:
        "scripts/train.py"


rule tabulate:
    input:
        "results/model.txt",
    output:
        "results/table.csv",
    log:
        "logs/tabulate.log",
    params:
        code=code_of("tabulate"),
    script:
        "scripts/tabulate.py"
"""
TRAIN = """
import time
from pathlib import Path

from gnnip.jobs import job

with job(snakemake):
    frames = Path(snakemake.input[0]).read_text()
    Path(snakemake.output[0]).write_text(frames.upper())
    time.sleep(snakemake.params.pause)
    Path(snakemake.output[1]).write_text("{}")
"""
TABULATE = """
from pathlib import Path

from gnnip.jobs import job

with job(snakemake):
    Path(snakemake.output[0]).write_text(Path(snakemake.input[0]).read_text() + ",1")
"""
FINISHED: dict[str, int] = {}
TABULATED = {"tabulate": 1}
TRAINED = {"train": 1, "tabulate": 1}


class Toy:
    """A small project of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str, age: float = 0) -> None:
        """Write a file whose time stamp is `age` seconds ago."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.utime(path, (time.time() - age, time.time() - age))

    def command(self, *arguments: str) -> dict:
        module = [sys.executable, "-m", "snakemake", "--rerun-incomplete"]
        # not the time stamps of scripts, which are hashed
        module += ["--rerun-triggers", "mtime", "params", "input", "--cores", "1"]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        return {"args": [*module, *arguments], "cwd": self.folder, "env": environment}

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            **self.command(*arguments), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def todo(self, *arguments: str) -> dict[str, int]:
        return jobs(self.run("-n", *arguments))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished run."""
    toy = Toy(tmp_path_factory.mktemp("toy"))
    toy.write("Snakefile", SNAKEFILE)
    toy.write("scripts/train.py", TRAIN)
    toy.write("scripts/tabulate.py", TABULATE)
    toy.write("data/frames.txt", "frames")
    toy.run()
    return toy.folder


@pytest.fixture
def toy(finished, tmp_path) -> Toy:
    """A copy of the finished run, as `cp -r` makes it, with the newest time stamps first."""
    shutil.copytree(finished, tmp_path / "copy", symlinks=True, copy_function=shutil.copyfile)
    copy = Toy(tmp_path / "copy")
    for age, name in enumerate(("data/frames.txt", "scripts/train.py", "results/model.txt")):
        os.utime(copy.folder / name, (time.time() - age, time.time() - age))
    old = time.time() - 100
    os.utime(copy.folder / "results/table.csv", (old, old))
    return copy


def test_a_copy_has_nothing_to_do_and_still_knows_what_it_was_made_with(toy):
    assert toy.todo() == FINISHED
    shutil.rmtree(toy.folder / ".snakemake")
    assert toy.todo() == FINISHED
    assert toy.todo("--config", "pause=0.1") == TRAINED
    toy.write("scripts/tabulate.py", TABULATE.replace(",1", ",2"), age=1000)
    assert toy.todo() == TABULATED


def test_a_changed_source_with_an_older_time_stamp_runs_again(toy):
    toy.write("data/frames.txt", "FRAMES", age=1e6)
    assert toy.todo() == TRAINED


@pytest.mark.parametrize(
    ("name", "text", "redone"),
    [
        ("results/model.json", None, TRAINED),
        ("results/model.json", "", TRAINED),
        ("results/model.txt", "framed", TRAINED),
        ("results/table.csv", "FRAMES,2", TABULATED),
    ],
)
def test_what_was_deleted_or_damaged_is_made_again(toy, name, text, redone):
    if text is None:
        (toy.folder / name).unlink()
        sentence = f"Missing output files: {name}"
    else:
        toy.write(name, text, age=1e6)
        sentence = f"{name} is not what its job had made"
    said = toy.run("-n")
    assert sentence in said
    assert jobs(said) == redone
    toy.run()
    assert (toy.folder / "results/table.csv").read_text(encoding="utf-8") == "FRAMES,1"
    assert (toy.folder / "results/model.json").read_text(encoding="utf-8") == "{}"


def test_a_run_killed_between_a_job_and_its_readers_goes_on(toy):
    toy.write("data/frames.txt", "atoms")
    toy.run("results/model.txt")
    assert toy.todo() == TABULATED


def test_a_run_killed_within_a_job_does_it_again(toy):
    toy.write("data/frames.txt", "atoms")
    begun = subprocess.Popen(
        **toy.command("--config", "pause=60"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    model = toy.folder / "results/model.txt"
    end = time.monotonic() + 60
    while not (model.exists() and model.read_text(encoding="utf-8") == "ATOMS"):
        assert time.monotonic() < end
        time.sleep(0.05)
    # a second run looks on and touches nothing
    toy.run("-n")
    assert model.exists()
    # another one that would write is refused
    refused = subprocess.run(**toy.command(), capture_output=True, text=True, check=False)
    sentence = f"A run of the workflow is at work in this folder (process {begun.pid} on "
    assert refused.returncode == 1
    assert sentence in refused.stdout + refused.stderr
    kill_group(begun)
    toy.run()
    assert (toy.folder / "results/table.csv").read_text(encoding="utf-8") == "ATOMS,1"
    assert toy.todo() == FINISHED

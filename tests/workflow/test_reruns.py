"""Content decides what runs again: the mechanics, on a workflow of two jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project import ROOT, jobs, kill_group

from disks import fill, read_only, small_disk

SNAKEFILE = """
import logging

from snakemake.dag import DAG
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.persistence import PersistenceBase

from gnnip import locks, receipts
from gnnip.code import code_hash
from gnnip.errors import GnnipError

locks.install(PersistenceBase, WorkflowError)
receipts.install(DAG)
logging.raiseExceptions = False

GONE = set()
if workflow.is_main_process:
    try:
        GONE = receipts.settle(say=logger.warning)
    except GnnipError as error:
        raise WorkflowError(str(error)) from None


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
#: fills the disk before its last output
FILLING = TRAIN.replace(
    """    Path(snakemake.output[1]).write_text("{}")""",
    """    import os
    from gnnip.files import write_text
    rest = os.statvfs(".")
    Path("ballast").write_bytes(bytes(rest.f_bavail * rest.f_frsize))
    write_text(snakemake.output[1], "{}")""",
)
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

    def refuse(self, *arguments: str) -> str:
        """Run what must fail, and return what it says."""
        done = subprocess.run(
            **self.command(*arguments), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 1, done.stdout + done.stderr
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
    sentence = f"A run of the workflow is at work in this folder (process {begun.pid} on "
    assert sentence in toy.refuse()
    kill_group(begun)
    toy.run()
    assert (toy.folder / "results/table.csv").read_text(encoding="utf-8") == "ATOMS,1"
    assert toy.todo() == FINISHED


def test_inputs_from_the_future_are_taken_as_they_are(toy):
    toy.write("data/frames.txt", "atoms", age=-1e8)
    toy.run()
    assert (toy.folder / "results/table.csv").read_text(encoding="utf-8") == "ATOMS,1"
    assert toy.todo() == FINISHED
    # and when they are not from there any more
    toy.write("data/frames.txt", "atoms")
    assert toy.todo() == FINISHED


def test_a_run_killed_after_the_clock_was_set_back_makes_what_is_stale_again(toy):
    for path in (toy.folder / "results/.receipts").rglob("*.json"):
        receipt = json.loads(path.read_text(encoding="utf-8"))
        for name, entry in receipt.items():
            if name != "made_of":
                entry["modified_ns"] += int(1e17)
        path.write_text(json.dumps(receipt), encoding="utf-8")
    assert toy.todo() == FINISHED
    assert (toy.folder / "results/table.csv").stat().st_mtime > time.time() + 9e7
    toy.write("data/frames.txt", "atoms")
    toy.run("results/model.txt")
    # older than the table, by its time stamp
    assert toy.todo() == TABULATED
    toy.run()
    assert (toy.folder / "results/table.csv").read_text(encoding="utf-8") == "ATOMS,1"
    assert toy.todo() == FINISHED


def test_a_disk_that_is_full_or_becomes_so_loses_nothing(finished, tmp_path):
    (tmp_path / "disk").mkdir()
    try:
        with small_disk(tmp_path / "disk"):
            toy = Toy(tmp_path / "disk/copy")
            shutil.copytree(finished, toy.folder, symlinks=True)
            toy.write("data/frames.txt", "atoms")
            ballast = fill(toy.folder)
            said = toy.refuse()
            assert "Could not write results: No space left on device; free disk space" in said
            assert "Traceback" not in said
            assert (toy.folder / "results/table.csv").read_text(encoding="utf-8") == "FRAMES,1"
            ballast.unlink()
            toy.write("scripts/train.py", FILLING)
            said = toy.refuse()
            assert "Could not write results/model.json: No space left on device; free" in said
            assert "Traceback" not in said
            ballast.unlink()
            toy.write("scripts/train.py", TRAIN)
            toy.run()
            assert (toy.folder / "results/table.csv").read_text(encoding="utf-8") == "ATOMS,1"
            assert toy.todo() == FINISHED
    except PermissionError as error:
        pytest.skip(f"only root can mount a small disk ({error})")


@pytest.mark.parametrize("name", ["results", ".snakemake"])
def test_a_folder_that_cannot_be_written_is_one_sentence(toy, name):
    toy.write("data/frames.txt", "atoms")
    try:
        with read_only(toy.folder / name):
            said = toy.refuse()
    except PermissionError as error:
        pytest.skip(f"nothing can be made read-only here ({error})")
    (line,) = [line for line in said.splitlines() if line.startswith("Could not write")]
    assert line.startswith(f"Could not write {name}: ")
    assert "Traceback" not in said
    toy.run()
    assert (toy.folder / "results/table.csv").read_text(encoding="utf-8") == "ATOMS,1"

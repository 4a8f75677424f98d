"""The workflow on a real scheduler, whose jobs fail, are cancelled and run out of time."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
import slurm
from project import Project
from test_strangers_paper import SHARED_KINDS

pytestmark = pytest.mark.slow

#: takes the place of the first lines of a script: what befalls the first attempt of a job
FATE = """
import os, subprocess, time
from pathlib import Path

attempts = Path("attempts", *Path(snakemake.output[0]).parts[2:])
attempts.mkdir(parents=True, exist_ok=True)
first = not any(attempts.iterdir())
number = os.environ["SLURM_JOB_ID"]
(attempts / number).write_text(str(snakemake.resources.mem_mb))
fate = {fate}
if first and fate == "fails":
    raise MemoryError("such as this")
if first and fate == "is cancelled":
    subprocess.run(["scancel", number])
    time.sleep(60)
if first and fate == "is out of time":
    from gnnip.training.loop import Loop

    original = Loop.train_epoch

    def slow(self, epoch):
        if self.run.epoch:
            self.checkpoint()
            time.sleep(300)
        return original(self, epoch)

    Loop.train_epoch = slow
"""
FATES = {
    "train_model": '"fails" if "carbide" in str(attempts) else "is out of time"',
    "verify_labels": '"is cancelled"',
}


@pytest.fixture
def ended_jobs(tmp_path_factory):
    """The file of ended jobs of a Slurm of this test."""
    if find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("the package snakemake-executor-plugin-slurm is not installed")
    if reason := slurm.hindrance():
        pytest.skip(reason)
    with slurm.running(tmp_path_factory.mktemp("slurm")) as jobs:
        yield jobs


def test_a_card_is_finished_whatever_befalls_its_jobs(ended_jobs, tmp_path):
    card = tmp_path / "cards/shared/card.yaml"
    card.parent.mkdir(parents=True)
    card.write_text(SHARED_KINDS, encoding="utf-8")
    project = Project(tmp_path / "project")
    scripts = project.folder / "workflow/scripts"
    for name, fate in FATES.items():
        text = (scripts / f"{name}.py").read_text(encoding="utf-8")
        (scripts / f"{name}.py").write_text(FATE.format(fate=fate) + text, encoding="utf-8")
    said = project.snakemake(
        *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),
        *("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"),
        *("--latency-wait", "5", "--set-resources", "train_model:runtime=attempt"),
        *("--config", f"cards={card.parents[1]}", "papers=shared", "tier=smoke", "device=cpu"),
        timeout=900,
    )
    assert (project.folder / "results/smoke/verdicts.csv").exists(), said
    tried = {
        str(path.relative_to(project.folder / "attempts")): sorted(
            (int(job.name), int(job.read_text())) for job in path.iterdir()
        )
        for path in (project.folder / "attempts").rglob("*")
        if path.is_dir() and any(child.is_file() for child in path.iterdir())
    }
    # each in a Slurm job of its own, with more memory
    assert len(tried) == 4
    for attempts in tried.values():
        (one, little), (other, more) = attempts
        assert one != other
        assert more == 2 * little
    # how Slurm saw the first attempts end
    listed = ended_jobs.read_text(encoding="utf-8")
    ends = dict(
        (field["JobId"], field["JobState"])
        for field in (
            dict(part.split("=", 1) for part in line.split() if "=" in part)
            for line in listed.splitlines()
        )
    )
    firsts = {name: ends[str(attempts[0][0])] for name, attempts in tried.items()}
    assert sorted(firsts.values()) == ["CANCELLED", "CANCELLED", "FAILED", "TIMEOUT"], firsts
    assert {ends[str(attempts[1][0])] for attempts in tried.values()} == {"COMPLETED"}
    resumed = {
        path.parts[-4]: json.loads(path.read_text(encoding="utf-8"))["resumed"]
        for path in (project.folder / "results/smoke/shared/trainings").rglob("summary.json")
    }
    assert sorted(resumed.values()) == [0, 1], resumed
    # tables and figures are no jobs of Slurm
    assert len(ends) == 2 * len(tried) + len(
        list(project.folder.glob("results/smoke/shared/measurements/*.csv"))
    )

"""What the workflow itself costs with very many jobs: 1,000 trainings of a null model, which has
nothing to learn, from a card that is made up for the purpose.

    python benchmarks/scale.py [--trainings 1000] [--ways dry-run shared ...] [--output FILE]

The ways: a dry-run; `shared`, what a local run does, whose jobs are forked from one that has loaded
what they load; `alone`, a Python for every job; `slurm`, a job of Slurm for every training;
`grouped`, fifty trainings in each of them. Slurm is a stand-in that starts at once on this machine
what is submitted to it, so that no time in a queue is in the figures, only what gnnip and Snakemake
add.

Measured is a run that does the trainings and nothing else, with its start, divided by their number;
a training takes some hundredths of a second itself. CPU seconds are those of all processes. Ways
that are not measured stay in the output as they were.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from gnnip.files import read_json, write_json
from gnnip.machine import watched

ROOT = Path(__file__).resolve().parents[1]
CORES = 2
CELLS = 10  # of the matrix; the rest are seeds
CARD = """
id: many
title: Trainings of a null model
authors: [A. Author]
citation: made up
doi: none
datasets:
  sic: {source: archive, sizes: [64], replicas: 4, verify_frames: 1}
trainings:
  null_models:
    dataset: sic
    model: composition
    target: total
    matrix: {cutoff: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]}
    settings: {loss: mse, epochs: 1}
    split: {scheme: random, max_frames: 10, test_fraction: 0.2}
artefacts:
  errors: {kind: errors, label: Errors, title: All, trainings: [null_models]}
"""
#: takes the place of all programs of Slurm
STAND_IN = """#!{python}
import os, shlex, subprocess, sys
from pathlib import Path

jobs, name, words = Path({jobs!r}), Path(sys.argv[0]).name, sys.argv[1:]
if name == "sbatch":
    job = jobs / str(len(list(jobs.iterdir())) + 1)
    job.write_text("RUNNING")
    (wrapped,) = (word.removeprefix("--wrap=") for word in words if word.startswith("--wrap="))
    ended = "&& echo COMPLETED > {{0}} || echo FAILED > {{0}}".format(shlex.quote(str(job)))
    environment = os.environ | {{"SLURM_JOB_ID": job.name}}
    command = ["sh", "-c", "(" + wrapped + ") " + ended]
    with open(job.parent.with_name("slurm.log"), "ab") as log:
        subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    print(job.name)
elif name == "squeue":
    print(*(path.name + "|" + path.read_text().strip() for path in jobs.iterdir()), sep="\\n")
elif name == "sacct":
    print("none")  # no account
elif name == "scontrol":
    print("MinJobAge = 300 sec")  # so that squeue is asked
elif name == "srun":
    while words[0].startswith("-"):
        del words[0]
    os.execvp(words[0], words)
"""
PROGRAMS = ("sbatch", "squeue", "srun", "sacct", "scontrol", "scancel", "sinfo", "sacctmgr")
_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER


def options(way: str, group: int) -> tuple[list[str], dict[str, str]]:
    """Return what a way of running adds to the command line and to the environment."""
    if way == "dry-run":
        return ["--dry-run", "--quiet"], {}
    if way in ("shared", "alone"):
        return ["--cores", str(CORES)], {"GNNIP_PLAIN_JOBS": str(int(way == "alone"))}
    at_once = [
        *("--workflow-profile", "profiles/slurm", "--jobs", str(CORES), "--latency-wait", "0"),
        *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
        *("--seconds-between-status-checks", "1"),
    ]
    grouped = ["--cores", "1", "--groups", "train_model=many"]
    grouped += ["--group-components", f"many={group}"]
    return at_once + grouped if way == "grouped" else at_once, {}


def run(project: Any, way: str, seeds: int, group: int) -> dict[str, Any]:
    """Do the trainings of the card, with so many seeds, and return what that took.

    Main is the Snakemake that is started here; with Slurm there are others, `snakemakes` in all.
    """
    choice = ("--config", "cards=cards", "papers=many", "tier=quick", "device=cpu")
    choice = (*choice, f"seeds={seeds}")
    if way != "dry-run":
        project.snakemake("--cores", str(CORES), *choice, "--until", "provide_dataset")
        choice = (*choice, "--until", "train_model")
    more, environment = options(way, group)
    log = project.folder / f"{way}.log"
    spent, began = _children_s(), time.monotonic()
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            project.command("snakemake", *more, *choice),
            cwd=project.folder,
            env=project.variables | environment,
            stdout=stream,
            stderr=stream,
        )
    main, peak, own = psutil.Process(process.pid), 0, 0.0
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            peak = max(peak, main.memory_info().rss)
            own = sum(main.cpu_times()[:2])
        time.sleep(0.2)
    wall = time.monotonic() - began
    with contextlib.suppress(ChildProcessError):  # what a stand-in has started is ours to wait for
        while True:
            os.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        raise SystemExit(said[-3000:])
    slurm = project.folder.with_name("slurm.log")
    others = slurm.read_text(encoding="utf-8").count("\nSNAKEMAKE\n") if slurm.exists() else 0
    jobs = CELLS * seeds
    made = len(list(project.folder.glob("results/quick/many/trainings/*/*/*/summary.json")))
    if way != "dry-run" and made != jobs:
        raise SystemExit(f"{way} has done {made} of {jobs} trainings:\n{said[-3000:]}")
    return {
        "trainings": jobs,
        "snakemakes": 1 + others,
        "wall_s": wall,
        "cpu_s": _children_s() - spent,
        "main_cpu_s": own,
        "main_peak_mb": peak / 1e6,
        "wall_s_per_training": wall / jobs,
        "cpu_s_per_training": (_children_s() - spent) / jobs,
    }


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def make_project(folder: Path) -> Any:
    """Return a copy of the project with the card, and with a Slurm in its path."""
    sys.path.append(str(ROOT / "tests/workflow"))
    from project import Project

    project = Project(folder / "project")
    (project.folder / "cards/many").mkdir(parents=True)
    (project.folder / "cards/many/card.yaml").write_text(CARD, encoding="utf-8")
    programs, jobs = folder / "programs", folder / "jobs"
    for place in (programs, jobs):
        place.mkdir()
    for name in PROGRAMS:
        text = STAND_IN.format(python=sys.executable, jobs=str(jobs))
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    project.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    return project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, default=1000, help=f"in steps of {CELLS}")
    parser.add_argument(
        "--few", type=int, default=50, help="trainings of the slow ways, alone and slurm"
    )
    parser.add_argument("--group", type=int, default=50, help="trainings in a job of Slurm")
    ways = ["dry-run", "shared", "alone", "slurm", "grouped"]
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1)
    result: dict[str, Any] = {
        "snakemake": metadata.version("snakemake"),
        "cores": CORES,
        "group": arguments.group,
        "ways": {},
    }
    for way in arguments.ways:
        few = way in ("alone", "slurm")
        trainings = min(arguments.trainings, arguments.few) if few else arguments.trainings
        with tempfile.TemporaryDirectory(prefix="gnnip-scale-") as folder:
            project = make_project(Path(folder))
            with watched() as machine:
                found = run(project, way, max(1, trainings // CELLS), arguments.group)
        result["ways"][way] = found | {"hardware": machine.name}
        print(
            f"{way:8s} {found['trainings']:5d} trainings: {found['wall_s']:7.1f} s, of each "
            f"{found['wall_s_per_training']:.3f} s and {found['cpu_s_per_training']:.3f} CPU s; "
            f"Snakemake {found['main_cpu_s']:.1f} CPU s, {found['main_peak_mb']:.0f} MB; "
            f"{machine.name}",
            flush=True,
        )
    if arguments.output:
        if os.path.exists(arguments.output):
            result["ways"] = read_json(arguments.output, dict)["ways"] | result["ways"]
        write_json(arguments.output, result)


if __name__ == "__main__":
    main()

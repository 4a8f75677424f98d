"""Kill a run of the workflow twenty times, go on each time, and compare with one left alone.

By hand, some ten minutes on two cores: ``python tests/faults/kill_the_workflow.py [SEED]``. Each
round waits until a job of the rule in turn has begun, and a random while longer, and sends SIGKILL
or SIGTERM to Snakemake alone or to it and all that it started. Where a rule has nothing to do any
more, the results of one of its jobs are removed first; a round whose kill comes too late is tried
again. Exit status 1 when a result differs, or too few kills met what they were meant for.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
from project import Project

CARD = """
id: killed
title: Short jobs of every kind
authors: [A. Author]
citation: Preprint (2026)
doi: none
datasets:
  sic: {source: archive, sizes: [64], replicas: 4, verify_frames: 1}
training_defaults:
  model: pair
  target: total
  dataset: sic
  seeds: 2
  hyperparameters: {species: [6, 14], cutoff: 4.0, n_radial: 4}
  settings:
    {loss: mse, per_atom: true, force_weight: 1.0, learning_rate: 0.05, epochs: 60}
  split: {scheme: random, max_frames: 40, test_fraction: 0.2}
trainings:
  carbide: {}
measurements:
  local: {kind: local_forces, trainings: [carbide], options: {max_frames: 2}}
  moved:
    kind: dynamics
    trainings: [carbide]
    options: {motion: {temperature: 300, starts: 1, repeats: 2, duration: 400, time_step: 0.5}}
artefacts:
  errors: {kind: errors, label: Errors, title: All, trainings: [carbide]}
  forces: {kind: local_forces, label: Forces, title: SiC, measurements: [local]}
  motion: {kind: dynamics, label: Motion, title: SiC, measurements: [moved]}
"""
#: the log that says that a job of a rule has begun, and what is removed so that it begins again
RULES = {
    "train_model": ("train_model/**/*.log", "trainings/*/*/seed-0"),
    "run_dynamics": ("run_dynamics/**/*.log", "dynamics/*/*/*/*"),
    "measure": ("measure/*.log", "measurements/*.csv"),
    "tabulate_artefact": ("tabulate_artefact/*.log", "artefacts/*.metrics.csv"),
    "plot_artefact": ("plot_artefact/*.log", "artefacts/*.png"),
    "judge_card": ("judge_card.log", "verdicts.csv"),
}
#: twenty rounds; in a write, that is, as soon as the first output is there, in every fourth
ROUNDS = [*("train_model",) * 6, *("run_dynamics",) * 5, *("measure", "tabulate_artefact") * 2]
ROUNDS += [*("plot_artefact", "judge_card") * 2, "train_model"]
#: runs of a round until its kill comes in time
TRIES = 5
#: of the time that something took, or of where a run was stopped
NOT_COMPARED = (
    "seconds",
    "wall_s",
    "seconds_per_epoch",
    "peak_memory_mb",
    "resumed",
    "steps_per_s",
)


def main(seed: int) -> int:
    """Run the rounds and compare; return the exit status."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="gnnip-killed-") as place:
        card = Path(place) / "cards/killed/card.yaml"
        card.parent.mkdir(parents=True)
        card.write_text(CARD, encoding="utf-8")
        choice = ("--config", f"cards={card.parents[1]}", "papers=killed", "tier=smoke")
        call = ("--cores", "2", *choice)
        whole, killed = Project(Path(place) / "whole"), Project(Path(place) / "killed")
        for project in (whole, killed):
            often(project)
        whole.snakemake(*call)
        kills: Counter[str] = Counter()
        for number, rule in enumerate(draw.sample(ROUNDS, len(ROUNDS))):
            in_a_write = number % 4 == 0
            for _ in range(TRIES):
                met, how = kill_once(killed, call, rule, draw, in_a_write)
                print(f"round {number + 1}: {how}", flush=True)
                if met:
                    kills.update([rule, *["a write"] * in_a_write])
                    break
        killed.snakemake(*call)
        left = killed.todo(*choice)
        folders = whole.folder / "results/smoke", killed.folder / "results/smoke"
        wrong, more = differences(*folders), litter(*folders)
        for line in wrong:
            print(f"differs: {line}")
        for line in more:
            print(f"left behind: {line}")
        print(f"kills: {dict(kills)}")
        print(f"{len(wrong)} results differ, jobs left to do: {left}")
        enough = all(kills[name] >= 3 for name in ("train_model", "run_dynamics", "a write"))
        return int(bool(wrong or left or not enough))


def often(project: Project) -> None:
    """Let trainings write a checkpoint at every step, since they take seconds."""
    path = project.folder / "src/gnnip/training/settings.py"
    text, count = re.subn(
        r"(checkpoint_interval_s: .* = )[0-9.]+", r"\g<1>0.0", path.read_text(encoding="utf-8")
    )
    assert count == 1
    path.write_text(text, encoding="utf-8")


def kill_once(
    project: Project, call: tuple[str, ...], rule: str, draw: random.Random, in_a_write: bool
) -> tuple[bool, str]:
    """Start the workflow and kill it within a job of a rule; tell whether it was still at work,
    and how."""
    logs, results = RULES[rule]
    here, said = project.folder / "results/smoke/killed", project.folder / "logs/smoke/killed"
    there = sorted(here.glob(results))
    if there and rule not in project.todo(*call):
        gone = draw.choice(there)
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    begun = {path: path.stat().st_mtime_ns for path in said.glob(logs)}
    outputs = {path: path.stat().st_mtime_ns for path in here.glob(results)}
    process = project.start(*call)
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if any(begun.get(p) != stamp(p) for p in said.glob(logs)) and not (
            in_a_write and all(outputs.get(p) == stamp(p) for p in here.glob(results))
        ):
            break
        time.sleep(0.01)
    long = rule in ("train_model", "run_dynamics")
    time.sleep(draw.uniform(0.0, 0.05 if in_a_write else 1.5 if long else 0.3))
    sent, group = draw.choice((signal.SIGKILL, signal.SIGTERM)), draw.random() < 0.5
    met = process.poll() is None
    if met:
        os.killpg(process.pid, sent) if group else process.send_signal(sent)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        how = f"{sent.name} to {'all' if group else 'Snakemake alone'}"
    else:
        how = f"it had ended with status {process.returncode}"
    return met, f"{rule}, {'in a write, ' if in_a_write else ''}{how}"


def stamp(path: Path) -> int:
    """Return the time stamp of a file; 0 for one that is gone."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def differences(whole: Path, killed: Path) -> list[str]:
    """Return the results that are not the same in both folders."""
    kinds = (".csv", ".json", ".h5", ".safetensors", ".png", ".svg")
    names = [
        path.relative_to(whole)
        for path in sorted(whole.rglob("*"))
        if path.suffix in kinds and "benchmarks" not in path.parts
        # what a run took is its own
        if path.name not in ("provenance.json", "recorded.json", "costs.csv")
    ]
    assert len(names) > 15
    return [
        str(name)
        for name in names
        if not (killed / name).exists() or content(whole / name) != content(killed / name)
    ]


def litter(whole: Path, killed: Path) -> list[str]:
    """Return the files that only the killed run has."""
    names = (path.relative_to(killed) for path in sorted(killed.rglob("*")))
    return [str(name) for name in names if not (whole / name).exists()]


def content(path: Path) -> object:
    """Return what a result says, without what differs between two runs."""
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as stream:
            return [
                {k: v for k, v in row.items() if k not in NOT_COMPARED}
                for row in csv.DictReader(stream)
                if row.get("record") != "speed"
            ]
    if path.suffix == ".json":
        value = json.loads(path.read_text(encoding="utf-8"))
        keys = value.keys() - set(NOT_COMPARED) if isinstance(value, dict) else ()
        return {k: value[k] for k in keys} if keys else value
    if path.suffix == ".h5":
        found: dict[str, bytes] = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: (
                    found.update({name: item[...].tobytes()})
                    if isinstance(item, h5py.Dataset) and item.dtype.kind in "iufb"
                    else None
                )
            )
        return found
    return path.read_bytes()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))

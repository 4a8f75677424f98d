"""Jobs of the workflow that run at the same time on a machine with several GPUs, made up."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import yaml

TRAININGS = "results/smoke/gijon2023/trainings"
SINGLE = [
    f"table1/layer-{layer}_target-{term}"
    for layer in ("gat", "gcs")
    for term in ("atomic", "electronic")
]
DOUBLE = "corrected/layer-gat_target-electronic"
#: takes the place of a training: writes its GPU down, and waits for the one that runs beside it
SCRIPT = """
import os, time
from pathlib import Path

from gnnip.jobs import job

with job(snakemake):
    gpus = os.environ["CUDA_VISIBLE_DEVICES"]
    for path in snakemake.output:
        Path(path).write_text(gpus)
    begun = Path("begun")
    begun.mkdir(exist_ok=True)
    if "," not in gpus:
        (begun / snakemake.wildcards.cell).touch()
    end = time.monotonic() + 60
    while len(list(begun.iterdir())) % 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.3)
"""


def test_each_has_gpus_of_its_own(project):
    programs = project.folder / "bin"
    programs.mkdir()
    (programs / "nvidia-smi").write_text("#!/bin/sh\necho GPU-a; echo GPU-b; echo GPU-c\n")
    (programs / "nvidia-smi").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    project.environment = {"PATH": path, "TMPDIR": str(project.folder)}
    script = project.folder / "workflow/scripts/train_model.py"
    script.write_text(SCRIPT, encoding="utf-8")
    place = project.folder / "papers/gijon2023/card.yaml"
    card = yaml.safe_load(place.read_text(encoding="utf-8"))
    card["trainings"]["corrected"].setdefault("settings", {})["processes"] = 2
    place.write_text(yaml.safe_dump(card), encoding="utf-8")
    data = project.folder / "results/smoke/datasets/water_anion_ladder.h5"
    data.parent.mkdir(parents=True)
    data.touch()
    files = [f"{TRAININGS}/{name}/seed-0/summary.json" for name in (*SINGLE, DOUBLE)]
    project.snakemake(
        *("--workflow-profile", "profiles/gpu", "--cores", "4", "--resources", "gpu=2"),
        *("--config", "tier=smoke", "papers=gijon2023", "--", *files),
    )
    used = [Path(project.folder, file).read_text(encoding="utf-8") for file in files]
    # two jobs at a time, or one that has two processes
    assert Counter(used) == {"GPU-a": 2, "GPU-b": 2, "GPU-a,GPU-b": 1}
    assert used[-1] == "GPU-a,GPU-b"

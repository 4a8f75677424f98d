"""What trainings and dynamics leave behind, made up without training or moving anything."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gnnip import models
from gnnip.md import Failure, Frame
from gnnip.md.trajectory import Recorder, join_segments, trajectory_of

#: of a replica that failed; the other one lives for twice as many
FRAMES = 12


def training(place: Path, group: str, value: float, epochs: int = 3) -> list[Path]:
    """Write weights that all have one value, and a history; return their paths."""
    folder = place / "trainings" / group / "all/seed-0"
    folder.mkdir(parents=True, exist_ok=True)
    model = models.build("pair", species=[11, 17], cutoff=5.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    files = [*models.save(model, folder / "model"), folder / "history.csv"]
    loss = value + np.arange(epochs) / 7
    history = pd.DataFrame({"epoch": range(1, epochs + 1), "train_loss": loss})
    history.to_csv(files[-1], index=False)
    return files


def dynamics(place: Path, measurement: str, potential: str, shift: float = 0.0) -> Path:
    """Write the trajectory of two replicas, the second of which fails; return its path."""
    target = place / "dynamics" / measurement / potential / "trajectory.h5"
    target.parent.mkdir(parents=True, exist_ok=True)
    recorder = Recorder()
    for replica, count in enumerate((2 * FRAMES, FRAMES)):
        for step in range(count):
            recorder.add_frame(replica, 4.0 * step, positions(step, shift), np.full((2, 3), 0.01))
            recorder.add_row(replica, (4.0 * step, 300.0, 0.0, 0.0, 0.0))
    segment = target.with_name("segment.h5")
    recorder.write_segment(segment)
    constants = {
        "seed": 0,
        "target_temperature": 300.0,
        "atomic_numbers": np.array([6, 14]),
        "masses": np.array([12.0, 28.0]),
        "cell": np.eye(3) * 9.0,
        "pbc": np.ones(3, dtype=bool),
    }
    replicas = [
        trajectory_of({**constants, "replica": n, "failure": failed}, {})
        for n, failed in enumerate((None, failure(shift)))
    ]
    join_segments(target, [segment], replicas, 1, {})
    segment.unlink()
    return target


def positions(step: int, shift: float = 0.0) -> np.ndarray:
    return np.array([[shift + 0.1 * step, 0.0, 0.0], [4.0, 0.0, 0.0]])


def failure(shift: float) -> Failure:
    good, bad = (
        Frame(step, positions(at, shift), np.full((2, 3), speed), -1.0, 300.0)
        for step, at, speed in ((47, FRAMES, 0.01), (48, FRAMES + 20, math.nan))
    )
    return Failure(
        replica=1,
        seed=0,
        target_temperature=300.0,
        step=48,
        time_fs=48.0,
        reason="min-distance",
        reasons=("min-distance",),
        detail='a pair, "too close"',
        pair=(0, 1),
        pair_numbers=(6, 14),
        pair_distance=0.8,
        pair_ratio=0.4,
        last_good=good,
        first_bad=bad,
        atomic_numbers=np.array([6, 14]),
        cell=np.eye(3) * 9.0,
        pbc=np.ones(3, dtype=bool),
    )

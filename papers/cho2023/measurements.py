"""How long an epoch of the networks takes, and a fit in closed form, all in turn."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.errors import ConfigError
from gnnip.machine import watched

if TYPE_CHECKING:
    from cho2023.kinds import TrainingSpeed
    from gnnip.measurements.sources import Sources


def measure_training_speed(sources: Sources, options: TrainingSpeed) -> pd.DataFrame:
    """Return the seconds of training each of the models again, from scratch.

    Columns: group, cell, seed, device, batch_size (graphs a step), n_frames (trained on), seconds
    (of an epoch with its validation on every tenth frame, or of a fit in closed form; median over
    the turns), fitted, repeats, hardware (with the load, if there was any).

    ConfigError for a device that is not there.
    """
    import torch

    from gnnip.models import load
    from gnnip.training import Settings, train

    for device in options.devices:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError("training_speed: this machine has no GPU; leave cuda out of devices.")
    stores: dict[Any, Any] = {}
    jobs = []
    for training in sources.trainings:
        model = load(training.model, device="cpu")
        arrays = sources.arrays(training.dataset)
        count = min(options.frames, arrays.n_frames - 1)
        frames = np.arange(arrays.n_frames)
        split = {"train": frames[:count], "validation": frames[count : count + count // 10 + 1]}
        for device, size in product(options.devices, options.batch_sizes):
            if size > count:
                continue
            settings = Settings(
                loss="mse", batch_size=size, epochs=options.epochs, device=device, threads=1
            )
            about = {**training.about, "device": device, "batch_size": size, "n_frames": count}
            what = (model.architecture, asdict(model.hyperparameters), arrays)
            jobs.append((about, (*what, str(model.training_record["term"]), split, settings)))
            if hasattr(model, "coefficients"):
                break  # a fit in closed form has no steps
    found: list[list[dict[str, Any]]] = [[] for _ in jobs]
    with tempfile.TemporaryDirectory() as place, watched() as machine:
        for turn in range(options.repeats):
            for number, (_, job) in enumerate(jobs):
                folder = Path(place) / f"{turn}-{number}"
                found[number].append(train(*job, folder, stores=stores))
    rows = []
    for (about, _), summaries in zip(jobs, found, strict=True):
        fitted = bool(summaries[0].get("fitted"))
        each = [s["wall_s" if fitted else "seconds_per_epoch"] for s in summaries]
        rows.append(about | {"seconds": float(np.median(each)), "fitted": fitted})
    return pd.DataFrame(rows).assign(repeats=options.repeats, hardware=machine.name)

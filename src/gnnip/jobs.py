"""One training from its plan: load the frames, split them, train; torch and NumPy are enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gnnip import training
from gnnip.datasets.arrays import load_arrays
from gnnip.datasets.splits import make_split


def run_training(
    plan: Mapping[str, Any],
    dataset: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    seed: int,
    device: str = "auto",
    progress: Callable[[str], object] = print,
) -> None:
    """Train one network and write its model, history, predictions and summary into `folder`.

    Args:
        plan: the fields of :class:`gnnip.cards.TrainingPlan`: model, term, hyperparameters,
            settings, split.
        dataset: the archive of frames (HDF5).
        folder: where results and the checkpoint go; a checkpoint there is continued.
        seed: of the split, the initial weights and the order of batches.
        device: auto, cpu or cuda.
        progress: gets a line of text now and then.
    """
    arrays = load_arrays(dataset)
    options = dict(plan["split"])
    split = make_split(arrays, options.pop("scheme"), seed, **options)
    settings = training.Settings(**plan["settings"], seed=seed, device=device)
    training.train(
        plan["model"],
        plan["hyperparameters"],
        arrays,
        plan["term"],
        split,
        settings,
        Path(folder),
        progress,
    )

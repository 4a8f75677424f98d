"""One trainer for every potential: best epoch by validation, exact continuation after a kill.

A training is a pure function of its arguments on a CPU: the order of batches and the dropout of an
epoch are seeded by (seed, epoch), so a checkpoint is the weights, the optimiser, the history and,
within an epoch, the number of steps done and the state of the random numbers; a run that was killed
and continued ends with the same weights as one that was not.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnip.datasets.arrays import FrameArrays
from gnnip.files import make_folder
from gnnip.locks import hold
from gnnip.models import Potential, build
from gnnip.models.contract import choose_device
from gnnip.training.loop import Loop
from gnnip.training.outputs import are_whole, read_summary
from gnnip.training.problem import Problem, Stores, set_up
from gnnip.training.progress import Progress
from gnnip.training.randomness import seed_everything
from gnnip.training.ranks import Ranks, check_parallel, local_device, open_ranks
from gnnip.training.results import HALF, write_results
from gnnip.training.settings import Settings


def train(
    model_name: str,
    hyperparameters: Mapping[str, Any],
    arrays: FrameArrays,
    term: str,
    split: Mapping[str, NDArray[np.int64]],
    settings: Settings,
    folder: str | os.PathLike[str],
    progress: Callable[[str], object] | None = None,
    *,
    stores: Stores | None = None,
) -> dict[str, Any]:
    """Train one potential on one energy term and write its results into `folder`.

    Parameters
    ----------
    model_name, hyperparameters : as for `gnnip.models.build`.
    arrays : frames in eV and Angstrom.
    term : name of the energy term, or "total" for the sum of all.
    split : frame indices of "train", "validation" and "test" (which may be empty).
    progress : gets a line now and then; None shows a bar on a terminal, else prints the lines.
    stores : graphs to share between trainings of one process on the same frames.

    Returns
    -------
    The content of `summary.json`. The folder holds `model.safetensors` and `model.json` (best
    epoch), `history.csv`, `predictions.csv` (validation and test frames) and, last,
    `summary.json`. A folder that holds the results of the same training is left as it is. While it
    runs, `checkpoint.pt` holds the state; a call after a kill continues from it, and a checkpoint
    of another training is passed over. With `check_flat` the folder `half` holds the results of the
    same with half the epochs. Checkpoints and the time limit fall between any two steps,
    so an epoch may be longer than both; results of less than one epoch are those of the weights as
    they are, with best_epoch 0 and an empty history.

    Raises
    ------
    ConfigError : unknown model, hyper-parameter or subset.
    DataError : labels that are not finite, unknown term, frames in two subsets, coinciding atoms.
    ConvergenceError : the loss was not finite before any epoch was completed.
    CheckpointError : a damaged checkpoint.
    """
    training: dict[str, Any] = {
        "model_name": model_name,
        "hyperparameters": hyperparameters,
        "arrays": arrays,
        "term": term,
        "split": split,
        "folder": folder,
    }
    if settings.check_flat and settings.seed == 0 and settings.epochs > 1:
        shorter = replace(settings, epochs=settings.epochs // 2, check_flat=False)
        parts = (model_name, hyperparameters, arrays, term, split, shorter, Path(folder) / HALF)
        train(*parts, progress, stores=stores)
    with open_ranks(settings, training, train_rank) as ranks, _alone(ranks, folder, progress):
        return train_rank(ranks, settings, **training, progress=progress, stores=stores)


def train_rank(
    ranks: Ranks,
    settings: Settings,
    model_name: str,
    hyperparameters: Mapping[str, Any],
    arrays: FrameArrays,
    term: str,
    split: Mapping[str, NDArray[np.int64]],
    folder: str | os.PathLike[str],
    progress: Callable[[str], object] | None = None,
    stores: Stores | None = None,
) -> dict[str, Any]:
    """Take part in a training as one of its processes; the first one writes. See `train`."""
    folder = make_folder(folder)
    problem = Problem.read(arrays, term, split, settings)
    model = seeded(model_name, hyperparameters, settings)
    identity = problem.identity(model, settings)
    if ranks.agree(ranks.first and _finished(folder, identity, settings)):
        return read_summary(folder)
    check_parallel(model, model.architecture, ranks.size)
    device, dtype = prepare_torch(model, settings, ranks)
    task = set_up(problem, model, device, dtype, {} if stores is None else stores)
    checkpoint = folder / "checkpoint.pt"
    loop = Loop(problem, task, settings, checkpoint, identity, ranks)
    bar = Progress(settings.epochs, loop.run.epoch, progress if ranks.first else _silent)
    try:
        bar.say(
            f"{model_name} on {term}: {model.n_parameters} parameters, {len(loop.rows['train'])} "
            f"training frames, {task.store.mean_neighbours:.1f} neighbours per atom, {device}"
            + (f", {ranks.size} processes" if ranks.size > 1 else "")
            + (f", continued at {loop.run.place}" if loop.run.resumed else "")
        )
        stopped = loop.train(bar)
    finally:
        bar.close()
    if ranks.first:
        write_results(folder, problem, task, loop, stopped)
        if stopped != "time limit":
            checkpoint.unlink(missing_ok=True)
    ranks.wait()  # until the files are written
    return read_summary(folder)


def _alone(
    ranks: Ranks, folder: str | os.PathLike[str], progress: Callable[[str], object] | None
) -> contextlib.AbstractContextManager[Any]:
    """Wait until no other training writes into the folder, such as one whose job was given up."""
    if not ranks.first:
        return contextlib.nullcontext()
    return hold(
        Path(folder) / ".lock",
        lambda holder: f"{folder} is written by another training ({holder}); waiting for its end",
        math.inf,
        progress or print,
    )


def seeded(model_name: str, hyperparameters: Mapping[str, Any], settings: Settings) -> Potential:
    """Return the potential that the seed of the settings gives, not trained."""
    seed_everything(settings.seed, -1)
    return build(model_name, **hyperparameters)


def prepare_torch(
    model: Potential, settings: Settings, ranks: Ranks
) -> tuple[torch.device, torch.dtype]:
    """Set the threads and the precision of torch, move the model, and return device and type."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision("highest")
    device, dtype = choose_device(local_device(settings, ranks)), getattr(torch, settings.dtype)
    model.to(device=device, dtype=dtype)
    return device, dtype


def _silent(line: str) -> None:
    pass


def _finished(folder: Path, identity: str, settings: Settings) -> bool:
    """Tell whether the folder holds the complete results of this training."""
    if not are_whole(folder):
        return False
    summary = read_summary(folder)
    if summary.get("identity") != identity:
        return False
    limit = settings.time_limit_s
    cut = summary["stopped"] == "time limit" and (limit is None or summary["wall_s"] < limit)
    return not cut

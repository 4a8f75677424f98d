"""Does a trained network know that energy depends neither on place nor on orientation?

Every test frame is rotated, shifted and mirrored, and the network is asked again. An exact symmetry
changes no prediction by more than rounding.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.inputs import training_of
from gnnip.errors import DataError
from gnnip.measurements import metrics
from gnnip.measurements.trained import trained_potentials
from gnnip.units import HARTREE

Move = Callable[[np.ndarray, np.ndarray], np.ndarray]


def random_rotations(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return rotation matrices (count, 3, 3), uniform over all orientations.

    From normalised Gaussian quaternions: those are uniform on the unit sphere in four dimensions.
    """
    q = rng.normal(size=(count, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def moves(n_frames: int, shift: float, seed: int) -> dict[str, Move]:
    """Return the transformations by name; each takes positions (n, 3) Å and frame numbers (n,).

    none; rotation, another one for each frame; shift, `shift` Å in a direction of its own for each
    frame; mirror, x to -x.
    """
    rng = np.random.default_rng(seed)
    rotations = random_rotations(n_frames, rng)
    directions = random_rotations(n_frames, rng)[:, :, 0]
    return {
        "none": lambda x, frame: x,
        "rotation": lambda x, frame: np.einsum("nij,nj->ni", rotations[frame], x),
        "shift": lambda x, frame: x + shift * directions[frame],
        "mirror": lambda x, frame: x * np.array([-1.0, 1.0, 1.0]),
    }


def symmetry_audit(
    dataset: str | os.PathLike[str],
    models: Sequence[str | os.PathLike[str]],
    predictions: Sequence[str | os.PathLike[str]],
    *,
    shift: float = 10.0,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "cpu",
) -> pd.DataFrame:
    """Return the error of each network on its moved test frames.

    Parameters
    ----------
    dataset : the archive of frames.
    models, predictions : model.safetensors and predictions.csv of the same trainings, in folders
        .../{group}/{cell}/seed-{seed}/ whose cell names the layer and the target.
    shift : Å.  seed : of the rotations and directions.

    Returns
    -------
    One row per training and transformation: group, layer, target, seed, transformation, mae_ha (to
    the reference), change_ha (mean |E(moved) - E|), n_frames.

    Raises
    ------
    DataError : folders that name no layer or target, predictions without test frames.
    """
    import torch

    from gnnip.datasets.store import load_arrays

    trainings = [describe_training(path) for path in models]
    arrays = load_arrays(dataset)
    rows = []
    for about, one in zip(
        trainings, trained_potentials(arrays, models, predictions, device), strict=True
    ):
        model, test = one.model, one.test
        true = test.energy(about["target"])
        own: np.ndarray | None = None
        for name, move in moves(test.n_frames, shift, seed).items():
            energy = []
            with torch.no_grad():
                for batch in one.store.batches(torch.arange(test.n_frames), batch_size):
                    assert batch.frame is not None
                    where = batch.frame[batch.batch].cpu().numpy()
                    moved = move(batch.positions.cpu().numpy().astype(np.float64), where)
                    # distances do not change, so the graph and its stored lengths stay valid
                    x = torch.as_tensor(moved, dtype=model.dtype, device=model.device)
                    output = model(replace(batch, positions=x))
                    energy.append(output["energy"].double().cpu().numpy())
            predicted = np.concatenate(energy)
            own = predicted if own is None else own
            rows.append(
                {
                    **about,
                    "transformation": name,
                    "mae_ha": metrics.mae(true, predicted) / HARTREE,
                    "change_ha": float(np.abs(predicted - own).mean()) / HARTREE,
                    "n_frames": test.n_frames,
                }
            )
    return pd.DataFrame(rows)


def describe_training(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return group, layer, target and seed from .../{group}/{cell}/seed-{seed}/{file}.

    Raises DataError when the folders do not say so.
    """
    training = training_of(path)
    found = {
        k: re.search(rf"(?:^|_){k}-([a-z0-9]+)", training["cell"]) for k in ("layer", "target")
    }
    if found["layer"] is None or found["target"] is None:
        raise DataError(
            f"{path} does not lie in .../<group>/<layer-..._target-...>/seed-<n>/, so that it is "
            "unknown what was trained."
        )
    return {
        "group": training["group"],
        "layer": found["layer"].group(1),
        "target": found["target"].group(1),
        "seed": training["seed"],
    }

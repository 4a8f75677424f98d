"""Trained potentials one after the other, each with the test frames of its own training."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnip.artefacts.inputs import read_csv
from gnnip.errors import DataError
from gnnip.measurements.selection import spread_evenly

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.graphs import GraphStore
    from gnnip.models.contract import Potential


@dataclass(frozen=True)
class Trained:
    """A potential, the numbers of its test frames in the data set, these frames, their graphs."""

    model: Potential
    frames: np.ndarray
    test: FrameArrays
    store: GraphStore


def trained_potentials(
    arrays: FrameArrays,
    models: Sequence[str | os.PathLike[str]],
    predictions: Sequence[str | os.PathLike[str]],
    device: str,
    max_frames: int | None = None,
) -> Iterator[Trained]:
    """Yield each potential with its test frames, evenly thinned out to `max_frames`.

    models, predictions : model.safetensors and predictions.csv of the same trainings.

    Raises DataError for predictions without test frames.
    """
    from gnnip.graphs import GraphStore
    from gnnip.models import load

    stores: dict[tuple[Any, ...], GraphStore] = {}
    for model_file, prediction_file in zip(models, predictions, strict=True):
        table = read_csv(Path(prediction_file))
        frames = np.sort(table.loc[table["subset"] == "test", "frame"].to_numpy(dtype=int))
        if not len(frames):
            raise DataError(f"{prediction_file} holds no test frames; train again with a test set.")
        if max_frames is not None:
            frames = spread_evenly(frames, max_frames)
        model = load(model_file, device=device)
        test = arrays.subset(frames)
        key = (model.cutoff, model.dtype, frames.tobytes())
        if key not in stores:
            stores.clear()  # one test set at a time: large ones fill the memory
            stores[key] = GraphStore.from_flat(
                test.positions,
                test.numbers,
                test.offsets,
                model.cutoff,
                cells=test.cells,
                pbc=test.pbc,
                device=str(model.device),
                dtype=model.dtype,
            )
        yield Trained(model, frames, test, stores[key])

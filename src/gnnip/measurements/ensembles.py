"""The seeds of a training as an ensemble: how far they are apart, and how far from the reference.

The spread is the sample standard deviation over the seeds. Of forces it is the length of the vector
of those of an atom's three components, as is the error of their mean; energies are divided by the
number of atoms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.errors import DataError
from gnnip.measurements.evaluation import labels_of
from gnnip.measurements.selection import spread_evenly, terms_of
from gnnip.training.outputs import read_predictions

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.measurements.kinds import Calibration
    from gnnip.measurements.sources import Sources, Training
    from gnnip.models.contract import Potential

COLUMNS = ("record", "name", "unit", "n", "spread", "error", "value")
UNITS = {"energy": "meV/atom", "forces": "eV/A"}
_BINS = 10
#: frames below which nothing is said of an ensemble
_FEWEST = 4


@dataclass(frozen=True)
class Spread:
    """What an ensemble says of some frames.

    energy, energy_spread (g,) : eV; forces (n, 3), forces_spread (n,) : eV/Angstrom.
    """

    energy: np.ndarray
    energy_spread: np.ndarray
    forces: np.ndarray
    forces_spread: np.ndarray

    def largest(self, offsets: np.ndarray) -> np.ndarray:
        """Return the largest spread of a force in each frame (g,), eV/Angstrom."""
        return np.maximum.reduceat(self.forces_spread, offsets[:-1])


def ensembles(trainings: Sequence[Training]) -> dict[tuple[str, str], list[Training]]:
    """Return the seeds of each group and cell that has several."""
    found: dict[tuple[str, str], list[Training]] = {}
    for training in trainings:
        found.setdefault((training.group, training.cell), []).append(training)
    return {place: seeds for place, seeds in found.items() if len(seeds) > 1}


def held_out(seeds: Sequence[Training]) -> np.ndarray:
    """Return the frames that no seed learned from; DataError for too few of them."""
    known = [set(read_predictions(seed.folder)["frame"]) for seed in seeds]
    frames = np.array(sorted(set.intersection(*known)), dtype=int)
    if len(frames) < _FEWEST:
        raise DataError(
            f"Only {len(frames)} frames were held out from all {len(seeds)} seeds of "
            f"{seeds[0].group}; divide the frames alike for all seeds (split: {{seed: 0}})."
        )
    return frames


def load_seeds(seeds: Sequence[Training], device: str = "cpu") -> list[Potential]:
    """Return the potentials of the seeds of a training."""
    from gnnip.models import load

    return [load(seed.folder, device=device) for seed in seeds]


def spread_of(models: Sequence[Potential], frames: FrameArrays, batch_size: int = 16) -> Spread:
    """Return what potentials say of frames; StructureError for one that gives no graph."""
    from gnnip.graphs import GraphStore
    from gnnip.models import predict

    energies, forces = [], []
    stores: dict[Any, GraphStore] = {}
    for model in models:
        key = (model.cutoff, model.dtype)
        if key not in stores:
            stores[key] = GraphStore.from_frames(
                frames, model.cutoff, device=str(model.device), dtype=model.dtype
            )
        found = predict(model, stores[key], batch_size=batch_size, forces=True)
        energies.append(found["energy"])
        forces.append(found["forces"])
    every = np.array(forces)
    return Spread(
        np.mean(energies, axis=0),
        np.std(energies, axis=0, ddof=1),
        every.mean(axis=0),
        np.linalg.norm(every.std(axis=0, ddof=1), axis=-1),
    )


def calibrate(sources: Sources, options: Calibration) -> pd.DataFrame:
    """Return spread beside error on the frames that no seed learned from, of each training with
    several seeds.

    Columns group, cell and, by record: `point`, spread and error of a frame's energy or of an
    atom's force; `bin`, their root mean squares over a tenth of the points in the order of the
    spread; `number`, a value: ratio (rms error over rms spread), rank (Spearman's correlation of
    spread and error), covered (share of errors within twice the spread, which is multiplied by the
    ratio before), largest_spread, and, of forces, limit: the largest spread on an atom in any of
    the frames, beyond which an ensemble has not been validated.

    DataError without a training of several seeds, or with too few frames.
    """
    groups = ensembles(sources.trainings)
    if not groups:
        raise DataError("Calibration needs trainings with two seeds or more; raise their seeds.")
    parts = []
    for (group, cell), seeds in groups.items():
        arrays = sources.arrays(seeds[0].dataset)
        frames = arrays.subset(spread_evenly(held_out(seeds), options.max_frames))
        found = spread_of(load_seeds(seeds, sources.device), frames, options.batch_size)
        terms = terms_of(frames, _term(seeds[0]))
        pairs = _pairs(frames, terms, found)
        rows = [row for name, pair in pairs.items() for row in _rows(name, *pair, options.points)]
        limit = float(found.largest(frames.offsets).max())
        rows.append({"record": "number", "name": "forces_limit", "unit": "eV/A", "value": limit})
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        parts.append(table.assign(group=group, cell=cell, n_seeds=len(seeds)))
    return pd.concat(parts, ignore_index=True)


def _term(training: Training) -> str:
    from gnnip.training.outputs import read_summary

    return str(read_summary(training.folder)["term"])


def _pairs(
    frames: FrameArrays, terms: tuple[str, ...], found: Spread
) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Return spread and size of the error by quantity."""
    labels, scale = labels_of(frames, terms), 1000.0 / frames.n_atoms
    errors = scale * np.abs(found.energy - labels["energy"])
    pairs = {"energy": (scale * found.energy_spread, errors)}
    if "forces" in labels:
        errors = np.linalg.norm(found.forces - labels["forces"], axis=1)
        pairs["forces"] = (found.forces_spread, errors)
    return pairs


def _rows(name: str, spread: np.ndarray, error: np.ndarray, points: int) -> list[dict[str, Any]]:
    from scipy.stats import spearmanr

    about = {"name": name, "unit": UNITS[name]}
    order = np.argsort(spread, kind="stable")
    rows = [
        {**about, "record": "point", "spread": float(spread[k]), "error": float(error[k])}
        for k in spread_evenly(order, points)
    ]
    for part in np.array_split(order, min(_BINS, len(order))):
        pair = {"spread": _rms(spread[part]), "error": _rms(error[part]), "n": len(part)}
        rows.append({**about, "record": "bin", **pair})
    ratio = _rms(error) / _rms(spread) if spread.any() else np.nan
    numbers = {
        "ratio": ratio,
        "rank": float(spearmanr(spread, error).statistic) if np.ptp(spread) > 0 else np.nan,
        "covered": float(np.mean(error <= 2.0 * ratio * spread)),
        "largest_spread": float(spread.max()),
    }
    for key, value in numbers.items():
        rows.append({**about, "record": "number", "name": f"{name}_{key}", "value": value})
    return rows


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))

"""What a training has to learn: checked frames with labels, and the graphs of a potential."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.splits import SUBSETS, check_split, frame_numbers
from gnnip.errors import DataError
from gnnip.graphs import GraphStore
from gnnip.models import Potential, predict
from gnnip.models.contract import TargetStatistics
from gnnip.training.settings import Settings

_PREDICTION_BATCH = 16

#: graphs by what they were built from, to share between trainings of one process
Stores = dict[tuple[Any, ...], GraphStore]


@dataclass(frozen=True)
class Labels:
    """Energies (g,) eV and, where they are trained on, forces (n, 3) eV/Angstrom and stresses
    (g, 3, 3) eV/Angstrom^3."""

    energy: NDArray[np.float64]
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Problem:
    """The frames of a training and their labels.

    term : the energy term that is learned.
    frames (g,) : their numbers in the data set, subset after subset.
    subset : these frames.
    rows : which of them are train, validation and test.
    labels : of these frames.
    digests : hashes of the frames with their labels, and of the split.
    """

    term: str
    frames: NDArray[np.int64]
    subset: FrameArrays
    rows: dict[str, NDArray[np.int64]]
    labels: Labels
    digests: dict[str, Any]

    @classmethod
    def read(
        cls,
        arrays: FrameArrays,
        term: str,
        split: Mapping[str, NDArray[np.int64]],
        settings: Settings,
    ) -> Problem:
        """Check the split and the labels; see `gnnip.training.train` for arguments and errors."""
        parts = _check_split(split, arrays.n_frames)
        frames = np.concatenate(list(parts.values()))
        labels = _labels(arrays, term, frames, settings)
        bounds = np.cumsum([0, *(len(part) for part in parts.values())])
        content = [arrays.positions, arrays.numbers, arrays.offsets, labels.energy, frames]
        optional = (labels.forces, labels.stress, arrays.cells, arrays.pbc)
        content += [values for values in optional if values is not None]
        return cls(
            term,
            frames,
            arrays.subset(frames),
            {name: np.arange(bounds[k], bounds[k + 1]) for k, name in enumerate(SUBSETS)},
            labels,
            {
                "frames": _hash(*content),
                "split": {name: _hash(part) for name, part in parts.items()},
            },
        )

    def identity(self, model: Potential, settings: Settings) -> str:
        """Return a digest of all that decides the result of training `model` on it."""
        choices = {
            "model": model.architecture,
            "hyperparameters": asdict(model.hyperparameters),
            "settings": settings.binding(),
            "term": self.term,
            **self.digests,
        }
        return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()

    def graphs(
        self, cutoff: float, device: torch.device, dtype: torch.dtype, stores: Stores
    ) -> GraphStore:
        """Return the graphs of all frames within `cutoff`, Angstrom, and keep them in `stores`."""
        subset = self.subset
        key = (_hash(subset.positions, subset.numbers, self.frames), cutoff, str(device), dtype)
        if key not in stores:
            stores[key] = GraphStore.from_frames(
                subset, cutoff, frames=self.frames, device=device, dtype=dtype
            )
        return stores[key]

    def statistics(self, labels: Labels, mean_neighbours: float) -> TargetStatistics:
        """Return what a potential may know of the training subset before it is trained."""
        rows, subset = self.rows["train"], self.subset
        atoms = _atoms_of(subset.offsets, rows)
        return TargetStatistics.measure(
            labels.energy[rows],
            subset.numbers[atoms],
            np.concatenate([[0], np.cumsum(subset.n_atoms[rows])]),
            mean_neighbours,
            None if labels.forces is None else labels.forces[atoms],
        )


@dataclass(frozen=True)
class Task:
    """A potential that is ready to be trained.

    model, store : the potential and its graphs.
    trained, target : the part of it that is not known before (see `Potential.parts`), and its
        graphs with labels, less what the known part predicts.
    """

    model: Potential
    store: GraphStore
    trained: Potential
    target: GraphStore


def set_up(
    problem: Problem, model: Potential, device: torch.device, dtype: torch.dtype, stores: Stores
) -> Task:
    """Build the graphs for a potential, and calibrate it on the training subset.

    Raises DataError for an element that the potential or the training subset does not have, and
    StructureError, naming the frame, for positions or cells that give no graph.
    """
    subset = problem.subset
    model.check_species(subset.numbers)
    store = problem.graphs(model.cutoff, device, dtype, stores)
    known, trained = model.parts()
    # what is known is evaluated once, not in every step
    labels = problem.labels if known is None else _labels_left(problem, known, store)
    target = problem.graphs(trained.cutoff, device, dtype, stores)
    target = target.with_labels(labels.energy, labels.forces, labels.stress)
    model.calibrate(problem.statistics(labels, target.mean_neighbours))
    if labels.forces is None and labels.stress is None:
        target = trained.condense(target)
    seen = subset.numbers[_atoms_of(subset.offsets, problem.rows["train"])]
    model.species = tuple(int(z) for z in np.unique(seen))
    unseen = sorted({int(z) for z in np.unique(subset.numbers)} - set(model.species))
    if unseen:
        raise DataError(
            f"Validation or test frames hold the atomic numbers {unseen}, which no training frame "
            "has; split the frames in another way."
        )
    return Task(model, store, trained, target)


def _labels_left(problem: Problem, known: Potential, store: GraphStore) -> Labels:
    """Return the labels less what the known part of a potential predicts."""
    labels = problem.labels
    if known.cutoff != store.cutoff:
        store = problem.graphs(known.cutoff, store.device, store.dtype, {})
    found = predict(
        known,
        store,
        batch_size=_PREDICTION_BATCH,
        forces=labels.forces is not None,
        stress=labels.stress is not None,
    )
    return Labels(
        labels.energy - found["energy"],
        None if labels.forces is None else labels.forces - found["forces"],
        None if labels.stress is None else labels.stress - found["stress"],
    )


def _check_split(
    split: Mapping[str, NDArray[np.int64]], n_frames: int
) -> dict[str, NDArray[np.int64]]:
    check_split(split)
    parts = {n: frame_numbers(split.get(n, ()), n) for n in SUBSETS}
    for name in ("train", "validation"):
        if len(parts[name]) == 0:
            raise DataError(f"The split has no {name} frames, at least one is needed.")
    everything = np.concatenate(list(parts.values()))
    if everything.min() < 0 or everything.max() >= n_frames:
        raise DataError(f"The split names frames outside 0..{n_frames - 1}; make it again.")
    values, counts = np.unique(everything, return_counts=True)
    if counts.max() > 1:
        raise DataError(
            f"The split holds frame {values[counts.argmax()]} more than once, so errors would be "
            "measured on training data; make it again."
        )
    return parts


def _labels(
    arrays: FrameArrays, term: str, frames: NDArray[np.int64], settings: Settings
) -> Labels:
    terms = arrays.terms if term == "total" and term not in arrays.terms else (term,)
    energies = np.sum([arrays.energy(t) for t in terms], axis=0)[frames].astype(np.float64)
    bad = ~np.isfinite(energies)
    if bad.any():
        raise DataError(
            f"The energy '{term}' of frame {frames[bad.argmax()]} (and of {bad.sum() - 1} others) "
            "is not finite; remove the frames or label them again."
        )
    forces = stress = None
    if settings.force_weight > 0:
        total = np.sum([arrays.force(t) for t in terms], axis=0)
        forces = total[_atoms_of(arrays.offsets, frames)].astype(np.float64)
    if settings.stress_weight > 0:
        stress = np.sum([arrays.stress(t) for t in terms], axis=0)[frames].astype(np.float64)
        if arrays.cells is None or arrays.pbc is None or not arrays.pbc[frames].all():
            raise DataError(
                "Stress needs frames that are periodic in all directions, and some are not; set "
                "stress_weight to 0 or choose other frames."
            )
    for name, values in (("Forces", forces), ("Stresses", stress)):
        if values is not None and not np.isfinite(values).all():
            raise DataError(
                f"{name} of the term '{term}' are not finite; remove those frames or label them "
                "again."
            )
    return Labels(energies, forces, stress)


def _atoms_of(offsets: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.diff(offsets)[frames]
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.repeat(offsets[frames] - begins, counts) + np.arange(counts.sum())


def _hash(*values: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for value in values:
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()

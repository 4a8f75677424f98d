"""Null models: energies by predictors that know nothing of the geometry. numpy only.

A network whose error is no lower has learned nothing of it. As strong as the division of the frames
allows: where frames of one trajectory are on both sides, as in a random division, the mean of a
frame's own trajectory is known.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gnnip.datasets.arrays import FrameArrays
from gnnip.models.composition import composition_energies, fit_composition

Array = NDArray[np.float64]

#: null model -> columns of the metadata that frames share, besides their composition
MEANS: dict[str, tuple[str, ...]] = {
    "composition_mean": (),
    "ensemble_mean": ("temperature_k",),
    "state_mean": ("temperature_k", "state"),
    "trajectory_mean": ("trajectory",),
    "trajectory_ensemble_mean": ("trajectory", "temperature_k"),
}
#: what each is called in sentences
WORDS = {
    "constant": "the constant",
    "composition": "the fit on the composition",
    "composition_mean": "the mean of the composition",
    "ensemble_mean": "the mean of the ensemble",
    "state_mean": "the mean of ensemble and state",
    "trajectory_mean": "the mean of the own trajectory",
    "trajectory_ensemble_mean": "the mean of trajectory and temperature",
}


def null_energies(
    frames: FrameArrays, energies: Array, learned: NDArray[np.int64], asked: NDArray[np.int64]
) -> dict[str, Array]:
    """Return the energies that null models give to the frames `asked`, by name.

    They know the `energies` (g,) of the frames `learned`. A mean is given only where every frame
    that is asked for has one alike among those, so that none falls back to another.
    """
    found = {"constant": np.full(len(asked), energies[learned].mean())}
    known, wanted = frames.subset(learned), frames.subset(asked)
    if set(np.unique(wanted.numbers)) <= set(np.unique(known.numbers)):
        fit = fit_composition(energies[learned], known.numbers, known.offsets)
        found["composition"] = composition_energies(fit, wanted.numbers, wanted.offsets)
    composition = _composition(frames)
    for name, columns in MEANS.items():
        if all(column in frames.metadata for column in columns):
            kinds = [composition, *(np.asarray(frames.metadata[c]) for c in columns)]
            means = _means(_alike(kinds), energies, learned, asked)
            if means is not None:
                found[name] = means
    return found


def best_null_model(
    frames: FrameArrays, energies: Array, learned: NDArray[np.int64], asked: NDArray[np.int64]
) -> tuple[str, Array]:
    """Return the null model with the lowest mean absolute error on `asked`, and what it says."""
    found = null_energies(frames, energies, learned, asked)
    best = lowest_error(found, energies[asked])
    return best, found[best]


def lowest_error(found: Mapping[str, Array], truth: Array) -> str:
    """Return which of several predictions has the lowest mean absolute error."""
    return min(found, key=lambda name: float(np.abs(found[name] - truth).mean()))


def _composition(frames: FrameArrays) -> NDArray[np.int64]:
    """Return a number for each frame (g,), equal where the composition is."""
    species, place = np.unique(frames.numbers, return_inverse=True)
    counts = np.zeros((frames.n_frames, len(species)), dtype=np.int64)
    np.add.at(counts, (np.repeat(np.arange(frames.n_frames), frames.n_atoms), place), 1)
    return np.unique(counts, axis=0, return_inverse=True)[1].reshape(-1)


def _alike(columns: list[NDArray[np.generic]]) -> NDArray[np.int64]:
    """Return a number for each frame, equal where all columns are."""
    places = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in columns]
    return np.unique(np.stack(places), axis=1, return_inverse=True)[1].reshape(-1)


def _means(
    kind: NDArray[np.int64],
    energies: Array,
    learned: NDArray[np.int64],
    asked: NDArray[np.int64],
) -> Array | None:
    """Return the mean of the learned energies of each asked frame's kind; None without one."""
    count = np.bincount(kind[learned], minlength=kind.max() + 1)
    if (count[kind[asked]] == 0).any():
        return None
    total = np.bincount(kind[learned], weights=energies[learned], minlength=kind.max() + 1)
    return np.asarray(total[kind[asked]] / count[kind[asked]])

"""Null models for every accuracy table, fitted on the training subset alone. numpy only.

A baseline learns from energies, numbers of molecules and temperatures, arrays (frames,) with
energies in any one unit, and predicts from the latter two.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gnnip.errors import ConfigError, DataError, nearest

Array = NDArray[np.float64]
Prediction = Callable[[Array, Array], Array]


def _constant(energies: Array, n_molecules: Array, temperature: Array) -> Prediction:
    """The mean energy of the training subset."""
    mean = float(energies.mean())
    return lambda n_molecules, temperature: np.full(len(n_molecules), mean)


def _n_linear(energies: Array, n_molecules: Array, temperature: Array) -> Prediction:
    """E = a + b N, least squares; the mean alone when all frames have one size."""
    size = np.asarray(n_molecules, dtype=np.float64)
    columns = np.stack([np.ones_like(size), size], axis=1)
    a, b = np.linalg.lstsq(columns, energies, rcond=None)[0]
    return lambda n_molecules, temperature: a + b * np.asarray(n_molecules, np.float64)


def _ensemble_mean(energies: Array, n_molecules: Array, temperature: Array) -> Prediction:
    """The mean of the training frames with the same N and temperature.

    An ensemble without training frames gets the N-linear fit, so that a split by size has an
    answer.
    """
    fallback = _n_linear(energies, n_molecules, temperature)
    groups: dict[tuple[float, float], list[float]] = {}
    for n, t, e in zip(n_molecules, temperature, energies, strict=True):
        groups.setdefault((float(n), float(t)), []).append(float(e))
    means = {key: float(np.mean(group)) for key, group in groups.items()}

    def predict(n_molecules: Array, temperature: Array) -> Array:
        predicted = fallback(n_molecules, temperature)
        for k, key in enumerate(zip(n_molecules, temperature, strict=True)):
            predicted[k] = means.get((float(key[0]), float(key[1])), predicted[k])
        return predicted

    return predict


BASELINES: dict[str, Callable[[Array, Array, Array], Prediction]] = {
    "constant": _constant,
    "n_linear": _n_linear,
    "ensemble_mean": _ensemble_mean,
}


class Baseline:
    """What `fit` makes of one of `BASELINES`: `predict` gives energies in the unit of the fit."""

    predict: Prediction

    def __init__(self, learn: Callable[[Array, Array, Array], Prediction]) -> None:
        """Take its rule."""
        self._learn = learn

    def fit(self, energies: Array, n_molecules: Array, temperature: Array) -> Baseline:
        """Learn from the training subset and return self; DataError without finite energies."""
        values = np.asarray(energies, dtype=np.float64)
        if len(values) == 0 or not np.isfinite(values).all():
            raise DataError(
                "A baseline needs at least one training energy, and every one must be finite."
            )
        self.predict = self._learn(values, n_molecules, temperature)
        return self


def baseline(name: str) -> Baseline:
    """Return an unfitted baseline by name; ConfigError for an unknown one."""
    if name not in BASELINES:
        raise ConfigError(f"There is no baseline '{name}'{nearest(name, BASELINES)}")
    return Baseline(BASELINES[name])

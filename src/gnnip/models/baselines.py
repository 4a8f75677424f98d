"""Null models for every accuracy table, fitted on the training subset alone. numpy only.

Each has ``fit(energies, n_molecules, temperature)`` and ``predict(n_molecules, temperature)`` with
arrays (frames,), energies in any one unit.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gnnip.errors import ConfigError, DataError, nearest

Array = NDArray[np.float64]


class Baseline(Protocol):
    """What all of them offer."""

    def fit(self, energies: Array, n_molecules: Array, temperature: Array) -> Baseline:
        """Learn from the training subset and return self."""
        ...

    def predict(self, n_molecules: Array, temperature: Array) -> Array:
        """Return energies (frames,) in the unit of the fit."""
        ...


class Constant:
    """The mean energy of the training subset."""

    def fit(self, energies: Array, n_molecules: Array, temperature: Array) -> Constant:
        """Learn the mean."""
        self.mean = float(_checked(energies).mean())
        return self

    def predict(self, n_molecules: Array, temperature: Array) -> Array:
        """Return the mean for every frame."""
        return np.full(len(n_molecules), self.mean)


class NLinear:
    """E = a + b N, least squares."""

    def fit(self, energies: Array, n_molecules: Array, temperature: Array) -> NLinear:
        """Learn intercept and slope; the mean alone when all frames have one size."""
        size = np.asarray(n_molecules, dtype=np.float64)
        columns = np.stack([np.ones_like(size), size], axis=1)
        self.coefficients = np.linalg.lstsq(columns, _checked(energies), rcond=None)[0]
        return self

    def predict(self, n_molecules: Array, temperature: Array) -> Array:
        """Return a + b N."""
        return self.coefficients[0] + self.coefficients[1] * np.asarray(n_molecules, np.float64)


class EnsembleMean:
    """The mean of the training frames with the same N and temperature.

    An ensemble without training frames gets the N-linear fit, so that a split by size has an
    answer.
    """

    def fit(self, energies: Array, n_molecules: Array, temperature: Array) -> EnsembleMean:
        """Learn one mean per (N, T)."""
        values = _checked(energies)
        self.fallback = NLinear().fit(values, n_molecules, temperature)
        groups: dict[tuple[float, float], list[float]] = {}
        for n, t, e in zip(n_molecules, temperature, values, strict=True):
            groups.setdefault((float(n), float(t)), []).append(float(e))
        self.means = {key: float(np.mean(group)) for key, group in groups.items()}
        return self

    def predict(self, n_molecules: Array, temperature: Array) -> Array:
        """Return the mean of each frame's ensemble."""
        predicted = self.fallback.predict(n_molecules, temperature)
        for k, key in enumerate(zip(n_molecules, temperature, strict=True)):
            predicted[k] = self.means.get((float(key[0]), float(key[1])), predicted[k])
        return predicted


BASELINES: dict[str, type[Baseline]] = {
    "constant": Constant,
    "n_linear": NLinear,
    "ensemble_mean": EnsembleMean,
}


def baseline(name: str) -> Baseline:
    """Return an unfitted baseline by name; ConfigError for an unknown one."""
    if name not in BASELINES:
        raise ConfigError(f"There is no baseline '{name}'{nearest(name, BASELINES)}")
    return BASELINES[name]()


def _checked(energies: Array) -> Array:
    values = np.asarray(energies, dtype=np.float64)
    if len(values) == 0 or not np.isfinite(values).all():
        raise DataError(
            "A baseline needs at least one training energy, and every one must be finite."
        )
    return values

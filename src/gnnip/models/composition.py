"""Energies of the elements from a linear fit on the composition. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def fit_composition(
    energies: Array, numbers: NDArray[np.int64], offsets: NDArray[np.int64]
) -> dict[int, float]:
    """Return the energy of each element, from a linear fit of energies on the composition.

    energies (g,), atomic numbers (n,), offsets (g+1,): atoms of structure k are
    offsets[k]:offsets[k+1]. The least-norm fit where the compositions do not tell elements apart.
    """
    species = np.unique(numbers)
    frame = np.repeat(np.arange(len(energies)), np.diff(offsets))
    counts = np.zeros((len(energies), len(species)))
    np.add.at(counts, (frame, np.searchsorted(species, numbers)), 1.0)
    fitted = np.linalg.lstsq(counts, energies, rcond=None)[0]
    return {int(z): float(e) for z, e in zip(species, fitted, strict=True)}


def composition_energies(
    fitted: dict[int, float], numbers: NDArray[np.int64], offsets: NDArray[np.int64]
) -> Array:
    """Return the sum of the elements' energies of each structure (g,)."""
    known = np.array(sorted(fitted))
    values = np.array([fitted[z] for z in known])[np.searchsorted(known, numbers)]
    return np.add.reduceat(values, np.asarray(offsets)[:-1])

"""Exact Coulomb energies and forces of charges in open boundaries.

    E = k sum_{i<j} q_i q_j / r_ij,    F_i = k q_i sum_j q_j (r_i - r_j) / r_ij^3

over all pairs, without cutoff or images, in eV, Angstrom and elementary charges, float64.
`direct_sum` is the same sum written pair by pair in extended precision: what labels are verified
with.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnnip.errors import StructureError
from gnnip.units import COULOMB_CONSTANT

Floats = NDArray[np.float64]

CLOSEST = 1e-3  #: two charges nearer than this are one point (Angstrom)
_BLOCK = 512


def check_charges(positions: ArrayLike, charges: ArrayLike) -> tuple[Floats, Floats]:
    """Return positions (n, 3) and charges (n,) as float64 arrays.

    Raises StructureError for no particles, shapes that do not fit together and values that are not
    finite.
    """
    points = np.asarray(positions, dtype=np.float64)
    values = np.asarray(charges, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or values.shape != (len(points),):
        raise StructureError(
            f"Positions of shape {points.shape} and charges of shape {values.shape} do not belong "
            "together; give (n, 3) and (n,)."
        )
    if len(points) == 0:
        raise StructureError("The structure has no particles; give at least one charge.")
    for name, array in (("position", points), ("charge", values)):
        bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if bad.any():
            raise StructureError(
                f"The {name} of particle {int(np.argmax(bad))} is not finite; correct the "
                "structure."
            )
    return points, values


def energy_and_forces(positions: ArrayLike, charges: ArrayLike) -> tuple[float, Floats]:
    """Return the energy (eV) and the forces (n, 3) (eV/Angstrom) of point charges.

    `positions` (n, 3) in Angstrom, `charges` (n,) in elementary charges. Raises StructureError as
    `check_charges`, and for two charges at one point.
    """
    energies, forces = _sums(*check_charges(positions, charges))
    return float(energies.sum()), forces


def _sums(points: Floats, charges: Floats) -> tuple[Floats, Floats]:
    """Return particle energies (n,) and forces (n, 3), by blocks of rows to bound the memory."""
    n = len(points)
    energies, forces = np.empty(n), np.empty((n, 3))
    for begin in range(0, n, _BLOCK):
        rows = np.arange(begin, min(begin + _BLOCK, n))
        vectors = points[rows, None] - points[None]
        squares = np.einsum("ijk,ijk->ij", vectors, vectors)
        squares[np.arange(len(rows)), rows] = np.inf
        nearest = int(np.argmin(squares))
        i, j = divmod(nearest, n)
        if squares[i, j] < CLOSEST**2:
            raise StructureError(
                f"Particles {begin + i} and {j} are {math.sqrt(squares[i, j]):.1e} Å apart, where "
                "their energy is not defined; move one of them."
            )
        inverse = 1.0 / np.sqrt(squares)
        pairs = COULOMB_CONSTANT * charges[rows, None] * charges[None] * inverse
        energies[rows] = 0.5 * pairs.sum(axis=1)
        forces[rows] = np.einsum("ij,ijk->ik", pairs * np.square(inverse), vectors)
    return energies, forces


def direct_sum(positions: ArrayLike, charges: ArrayLike) -> tuple[float, Floats]:
    """Return energy (eV) and forces (n, 3) (eV/Angstrom) by a loop over pairs, extended precision.

    Slow and independent of `energy_and_forces`. Errors are those of `check_charges`.
    """
    points, values = check_charges(positions, charges)
    x, q = points.astype(np.longdouble), values.astype(np.longdouble)
    energy = np.longdouble(0.0)
    forces = np.zeros_like(x)
    for i in range(len(x) - 1):
        along = x[i] - x[i + 1 :]
        r = np.sqrt((along * along).sum(axis=1))
        pair = COULOMB_CONSTANT * q[i] * q[i + 1 :] / r
        force = (pair / (r * r))[:, None] * along
        energy += pair.sum()
        forces[i] += force.sum(axis=0)
        forces[i + 1 :] -= force
    return float(energy), forces.astype(np.float64)

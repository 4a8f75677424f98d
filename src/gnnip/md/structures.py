"""Single structures as arrays: distances between their atoms, images included."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np

from gnnip.errors import StructureError
from gnnip.graphs import neighbour_list
from gnnip.models.elements import COVALENT_RADII

Pair = tuple[int, int]
#: positions (n, 3) in Angstrom, atomic numbers (n,), cell (3, 3) or None, pbc or None
Structure = tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]


def neighbour_vectors(
    structure: Structure, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all ordered pairs of atoms closer than `cutoff` (Angstrom).

    A cell without `pbc` is periodic along all three vectors. Returns the edge index (2, E), rows
    neighbour and centre, sorted by the centre; the vectors (E, 3) from centre to neighbour, and
    their lengths (E,), Angstrom. Raises StructureError as `gnnip.graphs.neighbour_list` does.
    """
    positions, _, cell, pbc = structure
    flags = None if cell is None else (True if pbc is None else pbc)
    index, shift = neighbour_list(positions, cutoff, cell, flags)
    vectors = positions[index[0]] - positions[index[1]] + (0.0 if shift is None else shift)
    return index, vectors, np.linalg.norm(vectors, axis=1)


def shortest_lattice_vector(cell: np.ndarray) -> float:
    """Length of the shortest combination of up to 3 of each vector of `cell` (3, 3), Angstrom."""
    steps = np.array([step for step in product(range(-3, 4), repeat=3) if any(step)])
    return float(np.linalg.norm(steps @ np.asarray(cell, dtype=np.float64), axis=1).min())


def shortest_distances(structures: Iterable[Structure], r_max: float = 4.0) -> dict[Pair, float]:
    """Return the shortest distance (Angstrom) of each pair of elements that comes closer than
    `r_max` anywhere in the structures.

    Structures with positions that are not finite or with coinciding atoms are left out.
    """
    shortest: dict[Pair, float] = {}
    for structure in structures:
        if not np.isfinite(structure[0]).all():
            continue
        try:
            index, _, r = neighbour_vectors(structure, r_max)
        except StructureError:  # coinciding atoms
            continue
        kinds = np.sort(np.asarray(structure[1])[index], axis=0)
        for pair in np.unique(kinds, axis=1).T:
            key = (int(pair[0]), int(pair[1]))
            closest = float(r[(kinds == pair[:, None]).all(axis=0)].min())
            shortest[key] = min(closest, shortest.get(key, np.inf))
    return shortest


def closest_pair(
    structure: Structure, radii: np.ndarray | None = None
) -> tuple[Pair, float] | None:
    """Return the pair of atoms (i, j) closest in units of the sum of their `radii` (n,), covalent
    ones when absent, and its distance in Angstrom.

    Images count, also those of one atom. None for a single open atom, positions that are not
    finite, or a large structure without a pair within two sums of radii.
    """
    positions, numbers, cell, pbc = structure
    radii = COVALENT_RADII[numbers] if radii is None else radii
    if not np.isfinite(positions).all() or (len(positions) < 2 and cell is None):
        return None
    if len(positions) > 2000:
        return _closest_listed(structure, radii)
    shifts, points = np.zeros((1, 3)), positions
    if cell is not None and pbc is not None and np.any(pbc):
        # wrapped along the periodic vectors, one image each way holds the closest pair of any cell
        # that is not extreme
        fractional = positions @ np.linalg.inv(_with_open_axes(cell))
        points = positions - np.where(pbc, np.floor(fractional), 0.0) @ cell
        reach = [(-1, 0, 1) if p else (0,) for p in pbc]
        shifts = np.array(list(product(*reach))) @ cell
    best: tuple[float, Pair, float] | None = None
    for i in range(len(points)):
        distances = np.linalg.norm(points[None, :, :] + shifts[:, None, :] - points[i], axis=2)
        distances[(shifts == 0.0).all(axis=1), i] = np.inf
        ratio = distances / (radii[i] + radii)
        image, j = np.unravel_index(int(ratio.argmin()), ratio.shape)
        if best is None or ratio[image, j] < best[0]:
            pair = (min(i, int(j)), max(i, int(j)))
            best = (float(ratio[image, j]), pair, float(distances[image, j]))
    return None if best is None else best[1:]


def _closest_listed(structure: Structure, radii: np.ndarray) -> tuple[Pair, float] | None:
    try:
        index, _, distances = neighbour_vectors(structure, 2.0 * float(radii.max()))
    except StructureError:  # coinciding atoms, named in the reason of the failure
        return None
    if not len(distances):
        return None
    best = int((distances / (radii[index[0]] + radii[index[1]])).argmin())
    i, j = sorted((int(index[0, best]), int(index[1, best])))
    return (i, j), float(distances[best])


def _with_open_axes(cell: np.ndarray) -> np.ndarray:
    """Return the cell with an orthogonal vector where it has none."""
    vectors = np.array(cell)
    for axis in np.flatnonzero(np.linalg.norm(vectors, axis=1) < 1e-12):
        others = np.delete(vectors, axis, axis=0)
        vectors[axis] = np.linalg.svd(others)[2][-1]
    return vectors

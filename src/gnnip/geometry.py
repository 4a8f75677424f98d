"""What a structure must be before anything is computed of it: each check stands here, once, for
imports, archives, graphs, calculators, dynamics and trainings alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnnip.errors import StructureError

LARGEST_NUMBER = 118  #: of an element
COINCIDENT = 1e-2  #: Angstrom; two atoms closer than this are one atom written twice
#: Angstrom; beyond, double precision no longer gives distances to 1e-7 Angstrom
FARTHEST = 1e8
#: Angstrom; beyond, single precision no longer gives distances to 1e-5 Angstrom
FAR = 100.0
#: volume of a cell over that of a box with its edges, below which it has none
_FLAT = 1e-6


def faults(
    positions: ArrayLike,
    numbers: ArrayLike | None,
    offsets: ArrayLike,
    cells: ArrayLike | None = None,
    pbc: ArrayLike | None = None,
    *,
    coinciding: bool = False,
) -> dict[int, str]:
    """Return {structure: a sentence} of those that nothing can be computed of, ascending.

    positions (n, 3) A; numbers (n,) or None; the atoms of structure k are offsets[k]:offsets[k+1];
    cells (g, 3, 3) A and pbc (g, 3) where some are periodic. Refused are structures without atoms,
    atomic numbers outside 1..118, positions that are not finite or beyond `FARTHEST`, periodic
    cells without volume or in which an atom meets its own image and, with `coinciding`, atoms
    closer than `COINCIDENT`.
    """
    points, bounds = np.asarray(positions, dtype=np.float64), np.asarray(offsets, dtype=np.int64)
    counts = np.diff(bounds)
    owner = np.repeat(np.arange(len(counts)), counts)
    found: dict[int, str] = {
        int(k): "The structure has no atoms; at least one is needed."
        for k in np.flatnonzero(counts < 1)
    }

    def complain(atoms: Any, say: Callable[[int, int], str]) -> None:
        for i in np.flatnonzero(atoms).tolist():
            k = int(owner[i])
            found.setdefault(k, say(i, i - int(bounds[k])))

    if numbers is not None:
        z = np.asarray(numbers)
        complain(
            ~((z >= 1) & (z <= LARGEST_NUMBER)),
            lambda i, atom: (
                f"Atom {atom} has the atomic number {z[i]}, but those of the elements go from 1 "
                f"to {LARGEST_NUMBER}."
            ),
        )
    finite = np.isfinite(points).all(axis=1)
    complain(~finite, lambda _, atom: f"The position of atom {atom} is not finite.")
    with np.errstate(invalid="ignore"):
        complain(
            finite & (np.abs(points) > FARTHEST).any(axis=1),
            lambda i, atom: (
                f"Atom {atom} is {np.abs(points[i]).max():.1e} Angstrom away, beyond "
                f"{FARTHEST:.0e}; correct its position or the unit of length."
            ),
        )
    if cells is not None and pbc is not None:
        lattices, flags = np.asarray(cells, dtype=np.float64), np.asarray(pbc, dtype=bool)
        for k, sentence in _bad_cells(lattices, flags):
            found.setdefault(k, sentence)
    else:
        lattices, flags = np.zeros((len(counts), 3, 3)), np.zeros((len(counts), 3), dtype=bool)
    if coinciding:
        good = np.array([k for k in range(len(counts)) if k not in found], dtype=np.int64)
        for k, first, second, distance in _coinciding(points, bounds, lattices, flags, good):
            found.setdefault(k, at_one_point(first, second, distance))
    return dict(sorted(found.items()))


def check_structure(
    positions: ArrayLike,
    numbers: ArrayLike | None = None,
    cell: ArrayLike | None = None,
    pbc: ArrayLike | bool | None = None,
    *,
    coinciding: bool = False,
) -> NDArray[np.float64]:
    """Return the positions (n, 3) in double precision; StructureError for what `faults` names, or
    arrays that do not fit together."""
    points = np.ascontiguousarray(positions, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise StructureError(f"Positions must have shape (n, 3), not {points.shape}.")
    if numbers is not None and np.shape(numbers) != (len(points),):
        raise StructureError(
            f"{len(points)} positions need as many atomic numbers, found shape {np.shape(numbers)}."
        )
    flags = np.broadcast_to(np.asarray(False if pbc is None else pbc, dtype=bool), (3,))
    lattice: Any = np.zeros((3, 3)) if cell is None else np.asarray(cell, dtype=np.float64)
    if lattice.shape != (3, 3):
        raise StructureError(f"A cell is three vectors, (3, 3), not {lattice.shape}.")
    offsets = [0, len(points)]
    found = faults(
        points, numbers, offsets, lattice[None], flags[None].copy(), coinciding=coinciding
    )
    if found:
        raise StructureError(found[0])
    return points


def at_one_point(first: int, second: int, distance: float) -> str:
    """Return the sentence about two atoms that coincide."""
    return (
        f"Atoms {first} and {second} are at one point ({distance:.1e} Angstrom apart); remove one "
        "of them."
    )


def complete_cell(cell: ArrayLike | None, periodic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return three independent vectors (3, 3): where the vectors along open directions do not do,
    as when they are zero, orthogonal ones take their place."""
    lattice = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64).reshape(3, 3)
    lengths = np.linalg.norm(lattice, axis=1)
    if abs(np.linalg.det(lattice)) >= _FLAT * lengths.prod() > 0.0:
        return lattice
    kept = [k for k in range(3) if periodic[k]]
    for axis in np.flatnonzero(~periodic):
        # one that is independent of those before stays
        tried = [*(lattice[k] / lengths[k] for k in kept), lattice[axis] / (lengths[axis] or 1.0)]
        if np.linalg.det(np.array(tried) @ np.array(tried).T) < _FLAT**2:
            _, _, right = np.linalg.svd(np.array(tried[:-1]).reshape(-1, 3))
            lattice[axis], lengths[axis] = right[-1], 1.0
        kept.append(int(axis))
    return lattice


def cells_away(
    positions: NDArray[np.float64], lattice: NDArray[np.float64], periodic: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return how many cells each atom (n, 3) lies outside of a complete cell (3, 3)."""
    return np.where(periodic, np.floor(positions @ np.linalg.inv(lattice)), 0).astype(np.int64)


def into_cell(
    positions: NDArray[np.float64], cell: ArrayLike, periodic: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the positions (n, 3) of the images inside the cell, along periodic directions."""
    if not periodic.any():
        return positions
    lattice = complete_cell(cell, periodic)
    return positions - cells_away(positions, lattice, periodic) @ lattice


def _bad_cells(lattices: NDArray[np.float64], flags: NDArray[np.bool_]) -> list[tuple[int, str]]:
    """Return (structure, sentence) of periodic cells that are not finite, flat, or too small."""
    found = []
    wrong = ~np.isfinite(lattices).all(axis=(1, 2)) & flags.any(axis=1)
    found += [(int(k), "The periodic cell is not finite.") for k in np.flatnonzero(wrong)]
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(lattices, axis=2)
        unit = np.where(flags[:, :, None], lattices / lengths[:, :, None], 0.0)
    # the determinant of Gram: the square of the volume that the periodic vectors span
    gram = unit @ unit.transpose(0, 2, 1)
    gram[:, range(3), range(3)] = 1.0
    usable = np.isfinite(gram).all(axis=(1, 2))
    flat = np.ones(len(lattices), dtype=bool)
    flat[usable] = np.linalg.det(gram[usable]) < _FLAT**2
    flat &= flags.any(axis=1) & ~wrong
    for k in np.flatnonzero(flat):
        found.append(
            (int(k), "The periodic cell has no volume; give three independent lattice vectors.")
        )
    sound = np.flatnonzero(flags.any(axis=1) & ~flat & ~wrong)
    if len(sound):
        inverse = np.linalg.inv(gram[sound])
        # distances of lattice planes: no lattice vector is shorter than the least of them
        heights = lengths[sound] / np.sqrt(inverse[:, range(3), range(3)])
        heights[~flags[sound]] = np.inf
        for k in sound[heights.min(axis=1) < COINCIDENT]:
            shortest = np.linalg.norm(reduced(lattices[k], flags[k])[flags[k]], axis=1).min()
            if shortest < COINCIDENT:
                found.append(
                    (
                        int(k),
                        f"The periodic cell has a lattice vector of {shortest:.1e} Angstrom, so "
                        "that atoms meet their own images; correct the cell or its unit.",
                    )
                )
    return found


def reduced(lattice: NDArray[np.float64], periodic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the shortest vectors (3, 3) of the same lattice (Minkowski)."""
    from ase.geometry import minkowski_reduce

    return np.asarray(minkowski_reduce(complete_cell(lattice, periodic), pbc=periodic)[0])


def _coinciding(
    points: NDArray[np.float64],
    bounds: NDArray[np.int64],
    lattices: NDArray[np.float64],
    flags: NDArray[np.bool_],
    chosen: NDArray[np.int64],
) -> list[tuple[int, int, int, float]]:
    """Return (structure, atom, atom, Angstrom) of atoms closer than `COINCIDENT`, images too."""
    from scipy.spatial import cKDTree

    found = []
    patterns, group = np.unique(flags[chosen], axis=0, return_inverse=True)
    for number, periodic in enumerate(patterns):
        members = chosen[group.reshape(-1) == number]
        owner = np.repeat(members, np.diff(bounds)[members])
        index = np.concatenate([np.arange(bounds[k], bounds[k + 1]) for k in members])
        x, radius = points[index], COINCIDENT
        cells = np.tile(np.eye(3), (len(lattices), 1, 1))
        if periodic.any():
            for k in members:
                cells[k] = complete_cell(lattices[k], periodic)
            inverse = np.linalg.inv(cells[members])
            # a vector of length d has components up to d over the distance of lattice planes
            radius = min(0.49, COINCIDENT * np.linalg.norm(inverse, axis=1).max() * 3**0.5)
            x = np.einsum("ni,nij->nj", x, np.repeat(inverse, np.diff(bounds)[members], axis=0))
            x = np.where(periodic, x - np.floor(x), x)
            x = np.where(periodic & (x >= 1.0), 0.0, x)  # rounding
        # a fourth coordinate keeps the structures apart
        apart = np.column_stack([x, (owner - owner.min()) * (2.0 * radius + 1.0)])
        box = [*np.where(periodic, 1.0, 0.0), 0.0]
        pairs = cKDTree(apart, boxsize=box).query_pairs(radius, output_type="ndarray")
        difference = x[pairs[:, 1]] - x[pairs[:, 0]]
        difference -= np.where(periodic, np.rint(difference), 0.0)
        vectors = np.einsum("ni,nij->nj", difference, cells[owner[pairs[:, 0]]])
        distances = np.linalg.norm(vectors, axis=1)
        for p in np.flatnonzero(distances < COINCIDENT):
            i, j = sorted(index[pairs[p]].tolist())
            k = int(owner[pairs[p, 0]])
            found.append((k, i - int(bounds[k]), j - int(bounds[k]), float(distances[p])))
    return sorted(found)

"""Exact neighbour lists of open and periodic structures, sorted by the receiving atom.

The pairs come from the vesin library where it is installed, else from a k-d tree (open) or an
image search (periodic); all three give the same list, and the tests hold them to that.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnnip.errors import StructureError

try:
    import vesin
except ImportError:  # a GPU machine with torch alone
    vesin = None

COINCIDENT = 1e-2  #: Angstrom; two atoms closer than this are one atom written twice

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def neighbour_list(
    positions: ArrayLike,
    cutoff: float,
    cell: ArrayLike | None = None,
    pbc: ArrayLike | bool | None = None,
    *,
    engine: str = "auto",
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """Return all ordered pairs of atoms closer than `cutoff`.

    Parameters
    ----------
    positions : (n, 3), Angstrom.
    cutoff : Angstrom; pairs at exactly this distance are left out.
    cell, pbc : (3, 3) rows are lattice vectors, Angstrom, and one or three flags; open when absent.
    engine : "auto", "vesin" or "numpy".

    Returns
    -------
    edge_index : (2, E) int64, row 0 the neighbour j that sends, row 1 the centre i that receives;
        sorted by i, then j, then shift.
    edge_shift : (E, 3) Angstrom, or None for an open structure. The vector of an edge is
        ``positions[j] + edge_shift - positions[i]``.

    Raises
    ------
    StructureError : empty structure, positions that are not finite, a cutoff that is not positive,
        a periodic cell without volume, or two atoms at one point.
    """
    points = _checked(positions, cutoff)
    periodic = np.broadcast_to(np.asarray(False if pbc is None else pbc, dtype=bool), (3,))
    lattice = _complete_cell(cell, periodic) if periodic.any() else None
    if engine == "auto":
        engine = "vesin" if vesin is not None else "numpy"
    if engine == "vesin":
        target, source, shift = _pairs_vesin(points, cutoff, lattice, periodic)
    elif lattice is None:
        target, source, shift = _pairs_tree(points, cutoff)
    else:
        target, source, shift = _pairs_images(points, cutoff, lattice, periodic)

    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], source, target))
    target, source, shift = target[order], source[order], shift[order]
    vectors = points[source] - points[target]
    if lattice is not None:
        cartesian = shift @ lattice
        vectors += cartesian
    _refuse_coinciding(vectors, source, target)
    edge_index = np.stack([source, target])
    return edge_index, (cartesian if lattice is not None else None)


def _checked(positions: ArrayLike, cutoff: float) -> NDArray[np.float64]:
    """Return the positions (n, 3); StructureError for bad positions or a bad cutoff."""
    points = np.ascontiguousarray(positions, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise StructureError(f"Positions must have shape (n, 3), not {points.shape}.")
    if len(points) == 0:
        raise StructureError("The structure has no atoms; at least one is needed.")
    if not np.isfinite(points).all():
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise StructureError(f"The position of atom {bad} is not finite.")
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise StructureError(f"The cutoff is {cutoff} Angstrom, but it must be positive.")
    return points


def _refuse_coinciding(
    vectors: NDArray[np.float64], source: NDArray[np.int64], target: NDArray[np.int64]
) -> None:
    squared = np.einsum("ij,ij->i", vectors, vectors)
    if len(squared) and squared.min() < COINCIDENT**2:
        worst = int(squared.argmin())
        first, second = sorted((int(target[worst]), int(source[worst])))
        raise StructureError(
            f"Atoms {first} and {second} are at one point ({squared[worst] ** 0.5:.1e} Angstrom "
            "apart); remove one of them."
        )


def _complete_cell(cell: ArrayLike | None, periodic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return three independent lattice vectors; an open direction gets an orthogonal one."""
    lattice = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64).reshape(3, 3)
    for axis in np.flatnonzero(~periodic):
        if np.linalg.norm(lattice[axis]) < 1e-12:
            others = [
                lattice[k] for k in range(3) if k != axis and np.linalg.norm(lattice[k]) > 1e-12
            ]
            _, _, right = np.linalg.svd(np.array(others).reshape(-1, 3))
            lattice[axis] = right[-1]
    volume = abs(np.linalg.det(lattice))
    if not np.isfinite(volume) or volume < 1e-9 * max(1.0, np.abs(lattice).max()) ** 3:
        raise StructureError(
            "The periodic cell has no volume; give three independent lattice vectors."
        )
    return lattice


def _pairs_vesin(
    points: NDArray[np.float64],
    cutoff: float,
    lattice: NDArray[np.float64] | None,
    periodic: NDArray[np.bool_],
) -> Pairs:
    search = vesin.NeighborList(cutoff=float(cutoff), full_list=True, n_threads=1)
    box = np.zeros((3, 3)) if lattice is None else lattice
    i, j, s, d = search.compute(points, box, periodic.tolist(), quantities="ijSd")
    inside = d < cutoff
    return i[inside].astype(np.int64), j[inside].astype(np.int64), s[inside].astype(np.int64)


def _pairs_tree(points: NDArray[np.float64], cutoff: float) -> Pairs:
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(cutoff, output_type="ndarray").astype(np.int64)
    i, j = np.concatenate([pairs, pairs[:, ::-1]]).T
    vectors = points[j] - points[i]
    inside = np.einsum("ij,ij->i", vectors, vectors) < cutoff**2
    return i[inside], j[inside], np.zeros((int(inside.sum()), 3), dtype=np.int64)


def _pairs_images(
    points: NDArray[np.float64],
    cutoff: float,
    lattice: NDArray[np.float64],
    periodic: NDArray[np.bool_],
) -> Pairs:
    # wrap first, so that the number of images depends on the cell and the cutoff alone
    inverse = np.linalg.inv(lattice)
    wraps = np.where(periodic, np.floor(points @ inverse), 0).astype(np.int64)
    wrapped = points - wraps @ lattice
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    reach = np.where(periodic, np.ceil(cutoff / heights).astype(int), 0)
    found: list[Any] = []
    for image in itertools.product(*(range(-r, r + 1) for r in reach)):
        vectors = wrapped[None, :, :] + np.asarray(image) @ lattice - wrapped[:, None, :]
        close = np.einsum("ijk,ijk->ij", vectors, vectors) < cutoff**2
        if image == (0, 0, 0):
            np.fill_diagonal(close, False)
        i, j = np.nonzero(close)
        found.append((i, j, np.broadcast_to(np.asarray(image), (len(i), 3))))
    i, j, s = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return i, j, s - wraps[j] + wraps[i]

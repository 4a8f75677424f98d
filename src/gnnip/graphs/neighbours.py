"""Exact neighbour lists of open and periodic structures, sorted by the receiving atom.

The pairs come from the vesin library where it is installed, else from k-d trees of the atoms and
of their images; both give the same list, and the tests hold them to that.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnnip.errors import StructureError
from gnnip.geometry import (
    COINCIDENT,
    at_one_point,
    cells_away,
    check_structure,
    complete_cell,
    reduced,
)

try:
    import vesin
except ImportError:  # a GPU machine with torch alone
    vesin = None

#: bytes of a graph for each of its edges, in all arrays on the way to it
_EDGE_BYTES = 200
#: images of a cell beyond which its shortest lattice vectors are sought
_MANY_IMAGES = 10_000
#: vesin divides space into at most so many boxes of the size of the cutoff, and fails where that
#: leaves none along a direction
_BOXES = 100_000
#: Angstrom; with longer cutoffs it takes its time around small open structures, and much shorter
#: ones it does not take
_LONG, _SHORT = 50.0, 1e-3

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
    StructureError : what `gnnip.geometry.faults` names, a cutoff that is not positive, two atoms
        at one point, or more pairs than the memory of this machine holds.
    """
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise StructureError(f"The cutoff is {cutoff} Angstrom, but it must be positive.")
    periodic = np.broadcast_to(np.asarray(False if pbc is None else pbc, dtype=bool), (3,))
    lattice, reach = _images(cell, cutoff, periodic) if periodic.any() else (None, np.zeros(3))
    points = check_structure(positions, None, cell, periodic)
    wrapped, wraps = points, np.zeros(points.shape, dtype=np.int64)
    if lattice is not None:
        # images then depend on the cell and the cutoff alone
        wraps = cells_away(points, lattice, periodic)
        wrapped = points - wraps @ lattice
    _refuse_too_many(wrapped, cutoff, reach)
    if engine == "auto":
        able = vesin is not None and _vesin_is_able(wrapped, cutoff, lattice, periodic)
        engine = "vesin" if able else "numpy"
    if engine == "vesin":
        target, source, shift = _pairs_vesin(wrapped, cutoff, lattice, periodic)
    else:
        target, source, shift = _pairs_trees(wrapped, cutoff, lattice, reach)
    shift += wraps[target] - wraps[source]

    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], source, target))
    target, source, shift = target[order], source[order], shift[order]
    vectors = points[source] - points[target]
    if lattice is not None:
        cartesian = shift @ lattice
        vectors += cartesian
    _refuse_coinciding(vectors, source, target)
    edge_index = np.stack([source, target])
    return edge_index, (cartesian if lattice is not None else None)


def _refuse_coinciding(
    vectors: NDArray[np.float64], source: NDArray[np.int64], target: NDArray[np.int64]
) -> None:
    squared = np.einsum("ij,ij->i", vectors, vectors)
    if len(squared) and squared.min() < COINCIDENT**2:
        worst = int(squared.argmin())
        first, second = sorted((int(target[worst]), int(source[worst])))
        raise StructureError(at_one_point(first, second, squared[worst] ** 0.5))


def _most_pairs() -> float:
    """Return how many edges the memory of this machine holds."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _EDGE_BYTES


def _images(
    cell: ArrayLike | None, cutoff: float, periodic: NDArray[np.bool_]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Return independent lattice vectors and how many images (3,) within the cutoff each has to
    both sides; StructureError, naming cell and cutoff, for more than the memory holds."""
    lattice = complete_cell(cell, periodic)
    if not np.isfinite(lattice).all() or np.linalg.det(lattice) == 0.0:
        return None, np.zeros(3)  # for `check_structure` to say

    def reach_of(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        heights = 1.0 / np.linalg.norm(np.linalg.inv(vectors), axis=0)
        return np.where(periodic, np.ceil(cutoff / heights), 0.0)

    reach = reach_of(lattice)
    if np.prod(2.0 * reach + 1.0) > _MANY_IMAGES:
        lattice = reduced(lattice, periodic)
        reach = reach_of(lattice)
    n_images = float(np.prod(2.0 * reach + 1.0))
    if n_images > _most_pairs():
        edges = " x ".join(f"{x:g}" for x in np.linalg.norm(lattice, axis=1)[periodic])
        raise StructureError(
            f"The periodic cell of {edges} Angstrom has {n_images:.1e} images within the cutoff of "
            f"{cutoff:g} Angstrom, more than memory holds; correct the cell or the cutoff."
        )
    return lattice, reach


def _refuse_too_many(
    points: NDArray[np.float64], cutoff: float, reach: NDArray[np.float64]
) -> None:
    """Raise StructureError where all pairs together, counted roughly, fill the memory."""
    images = float(np.prod(np.maximum(1.0, 2.0 * reach - 1.0)))
    most = _most_pairs()
    if len(points) ** 2 * images <= most:
        return
    _, occupied = np.unique(np.floor(points / cutoff), axis=0, return_counts=True)
    pairs = float((occupied.astype(np.float64) ** 2).sum()) * images
    if pairs > most:
        raise StructureError(
            f"The structure of {len(points)} atoms has about {pairs:.1e} pairs within the cutoff "
            f"of {cutoff:g} Angstrom, more than memory holds; take a shorter cutoff or fewer atoms."
        )


def _vesin_is_able(
    points: NDArray[np.float64],
    cutoff: float,
    lattice: NDArray[np.float64] | None,
    periodic: NDArray[np.bool_],
) -> bool:
    extent = np.ptp(points, axis=0)
    if lattice is not None:
        inverse = np.linalg.inv(lattice)
        heights = 1.0 / np.linalg.norm(inverse, axis=0)
        extent = np.where(periodic, heights, np.ptp(points @ inverse, axis=0) * heights)
    boxes = np.maximum(1.0, extent / cutoff)
    total = boxes.prod()
    # twice as careful as need be
    grid = total < _BOXES / 2 or boxes.min() * np.cbrt(_BOXES / total) > 2.0
    return bool(grid and _SHORT < cutoff < _LONG)


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


def _pairs_trees(
    points: NDArray[np.float64],
    cutoff: float,
    lattice: NDArray[np.float64] | None,
    reach: NDArray[np.float64],
) -> Pairs:
    from scipy.spatial import cKDTree

    ranges = [np.arange(-r, r + 1) for r in reach.astype(np.int64)]
    images = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = np.zeros((1, 3)) if lattice is None else images @ lattice
    low, high = points.min(axis=0) - cutoff, points.max(axis=0) + cutoff
    kept = []
    size = max(1, 1_000_000 // len(points))  # images at once
    for start in range(0, len(shifts), size):
        copies = points + shifts[start : start + size, None, :]
        image, atom = np.nonzero(((copies >= low) & (copies <= high)).all(axis=2))
        kept.append((image + start, atom))
    image, atom = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    copies = points[atom] + shifts[image]
    found = cKDTree(points).sparse_distance_matrix(
        cKDTree(copies), cutoff * (1.0 + 1e-9), output_type="ndarray"
    )
    i, copy = found["i"].astype(np.int64), found["j"].astype(np.int64)
    vectors = copies[copy] - points[i]
    inside = np.einsum("ij,ij->i", vectors, vectors) < cutoff**2
    inside &= (atom[copy] != i) | images[image[copy]].any(axis=1)
    i, copy = i[inside], copy[inside]
    return i, atom[copy].astype(np.int64), images[image[copy]].astype(np.int64)

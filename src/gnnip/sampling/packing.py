"""Molecules packed at random into a periodic box: insertion, then rigid bodies pushed apart.

Each molecule gets a random orientation and the best of some random places. Overlaps that remain are
removed by moving and turning the rigid molecules downhill on

    sum over pairs of atoms of two molecules of max(0, d - r)^2,

with d the smallest distance allowed to the pair, until none is left; insertion alone would jam far
below the density of a liquid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnnip.errors import ConfigError, StructureError

_TRIALS = 200  #: places tried for each molecule
_ROUNDS = 60  #: minimisations, each from orientations counted anew
_Array = NDArray[np.float64]


def random_rotation(rng: np.random.Generator) -> _Array:
    """Return a rotation matrix (3, 3), uniformly distributed."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def pack_box(
    molecules: Sequence[_Array],
    box: Sequence[float],
    minimum_distance: float | Sequence[_Array],
    rng: np.random.Generator,
) -> list[_Array]:
    """Return the positions (n_i, 3) of the molecules, placed in a periodic orthorhombic box.

    molecules : geometries (n_i, 3) in Angstrom, kept rigid.  box : three edges, Angstrom.
    minimum_distance : between atoms of different molecules, under periodic images, Angstrom; or the
    radii (n_i,) of the atoms of every molecule, whose sums are the distances allowed.

    Raises ConfigError for a box or distance that is not positive or a box narrower than a molecule,
    StructureError when the molecules do not fit.
    """
    edges = np.asarray(box, dtype=np.float64)
    if isinstance(minimum_distance, Sequence):
        radii = [np.asarray(r, dtype=np.float64) for r in minimum_distance]
    else:
        radii = [np.full(len(m), 0.5 * minimum_distance) for m in molecules]
    smallest = 2.0 * min((float(r.min()) for r in radii), default=1.0)
    if edges.shape != (3,) or not (edges > 0).all() or not smallest > 0:
        raise ConfigError(
            f"Molecules cannot be packed into a box of {list(box)} Å with a minimum distance of "
            f"{smallest:g} Å; all must be > 0."
        )
    centred = [np.asarray(m, dtype=np.float64) - np.mean(m, axis=0) for m in molecules]
    widest = max(2.0 * np.linalg.norm(m, axis=1).max() for m in centred)
    if widest + smallest > edges.min():
        raise ConfigError(
            f"A molecule {widest:.1f} Å wide meets its own image in a box of {edges.min():g} Å; "
            "widen the box."
        )
    owner = np.repeat(np.arange(len(centred)), [len(m) for m in centred])
    centres, bodies = _insert(centred, radii, edges, rng)
    size = np.concatenate(radii)
    allowed = np.where(owner[:, None] == owner[None], 0.0, size[:, None] + size[None])
    for _ in range(_ROUNDS):
        # a little more than is asked for, so that the result does not depend on the last step
        centres, bodies = _push_apart(centres, bodies, owner, edges, 1.02 * allowed)
        deepest = _deepest(centres, bodies, edges, allowed)
        if deepest <= 0:
            return [c + b for c, b in zip(centres, bodies, strict=True)]
        # out of a place where all push against each other
        centres = centres + 0.1 * smallest * rng.normal(size=centres.shape)
        bodies = [b @ _turn(0.2 * rng.normal(size=3)).T for b in bodies]
    raise StructureError(
        f"{len(centred)} molecules do not fit into a box of {edges[0]:g} x {edges[1]:g} x "
        f"{edges[2]:g} Å at {smallest:g} Å from one another (some are {deepest:.2f} Å too near); "
        "enlarge the box or lower the distance."
    )


def _insert(
    molecules: Sequence[_Array], radii: Sequence[_Array], edges: _Array, rng: np.random.Generator
) -> tuple[_Array, list[_Array]]:
    """Return centres (m, 3) and turned molecules; each takes the place with the least overlap."""
    centres: list[_Array] = []
    bodies: list[_Array] = []
    placed, sizes = np.zeros((0, 3)), np.zeros(0)
    for molecule, own in zip(molecules, radii, strict=True):
        body = molecule @ random_rotation(rng).T
        best, best_overlap = np.zeros(3), np.inf
        for place in edges * rng.random((_TRIALS, 3)):
            overlap = 0.0
            if len(placed):
                r = _separations(place + body, placed, edges)[1]
                depth = np.maximum(own[:, None] + sizes[None] - r, 0.0)
                overlap = float(np.square(depth).sum())
            if overlap < best_overlap:
                best, best_overlap = place, overlap
            if overlap == 0.0:
                break
        centres.append(best)
        bodies.append(body)
        placed = np.concatenate([placed, best + body])
        sizes = np.concatenate([sizes, own])
    return np.array(centres), bodies


def _separations(a: _Array, b: _Array, edges: _Array) -> tuple[_Array, _Array]:
    """Return the nearest-image vectors a - b (len(a), len(b), 3) and their lengths."""
    vectors = a[:, None] - b[None]
    vectors -= edges * np.rint(vectors / edges)
    return vectors, np.sqrt(np.einsum("ijk,ijk->ij", vectors, vectors))


def _deepest(centres: _Array, bodies: Sequence[_Array], edges: _Array, allowed: _Array) -> float:
    """Return by how much the worst pair is too near, Angstrom; 0 or less when none is."""
    positions = np.concatenate([c + b for c, b in zip(centres, bodies, strict=True)])
    return float((allowed - _separations(positions, positions, edges)[1]).max())


def _turn(vector: _Array) -> _Array:
    """Return the rotation matrix about `vector` by its length (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * (k @ k)


def _push_apart(
    centres: _Array, bodies: list[_Array], owner: NDArray, edges: _Array, allowed: _Array
) -> tuple[_Array, list[_Array]]:
    """Return centres and bodies after one minimisation of the overlap.

    The gradient in the rotation is the torque at the present orientation, which holds for the small
    turns that a round is limited to; the next round counts turns from where this one ended.
    """
    from scipy.optimize import minimize

    m = len(centres)

    def overlap(values: _Array) -> tuple[float, _Array]:
        shifts, turns = values[: 3 * m].reshape(m, 3), values[3 * m :].reshape(m, 3)
        turned = [b @ _turn(t).T for b, t in zip(bodies, turns, strict=True)]
        arms = np.concatenate(turned)
        vectors, r = _separations(
            (centres + shifts)[owner] + arms, (centres + shifts)[owner] + arms, edges
        )
        depth = np.maximum(allowed - r, 0.0)
        push = (2.0 * depth / np.maximum(r, 1e-9))[..., None] * vectors
        force = push.sum(axis=1)
        gradient = np.zeros((2, m, 3))
        np.add.at(gradient[0], owner, -force)
        np.add.at(gradient[1], owner, -np.cross(arms, force))
        return 0.5 * float(np.square(depth).sum()), gradient.ravel()

    bounds = [(None, None)] * (3 * m) + [(-0.3, 0.3)] * (3 * m)
    found = minimize(
        overlap,
        np.zeros(6 * m),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 30},
    )
    shifts, turns = found.x[: 3 * m].reshape(m, 3), found.x[3 * m :].reshape(m, 3)
    return (centres + shifts) % edges, [b @ _turn(t).T for b, t in zip(bodies, turns, strict=True)]

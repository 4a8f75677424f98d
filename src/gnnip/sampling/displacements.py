"""Random displacements around a path of structures, e.g. of an adsorbate over a surface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gnnip.errors import ConfigError, StructureError


def interpolate(structures: Sequence[Any], count: int) -> list[Any]:
    """Return `count` structures (`ase.Atoms`) evenly spaced on straight lines between neighbours.

    Steps are measured by the root of the summed squared displacement; ends are included. Atoms take
    the nearest image of their place in the next structure.

    Raises ConfigError for less than two structures or a count below two, StructureError for
    structures of different atoms or cells.
    """
    if len(structures) < 2 or count < 2:
        raise ConfigError(
            f"A path needs two structures and two points, found {len(structures)} and {count}."
        )
    first = structures[0]
    for other in structures[1:]:
        if not np.array_equal(first.numbers, other.numbers) or not np.allclose(
            first.cell, other.cell
        ):
            raise StructureError(
                "The structures of a path differ in their atoms or cells; give the same atoms in "
                "the same order."
            )
    corners = [first.get_positions()]
    for structure in structures[1:]:
        step = structure.get_positions() - corners[-1]
        if first.pbc.any():
            from ase.geometry import find_mic

            step = find_mic(step, first.cell, first.pbc)[0]
        corners.append(corners[-1] + step)
    points = np.array(corners)
    lengths = np.linalg.norm(np.diff(points, axis=0).reshape(len(points) - 1, -1), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    if along[-1] == 0:
        raise StructureError("All structures of the path are the same; give different ones.")
    result = []
    for s in np.linspace(0.0, along[-1], count):
        i = min(int(np.searchsorted(along, s, side="right")) - 1, len(lengths) - 1)
        part = (s - along[i]) / lengths[i] if lengths[i] > 0 else 0.0
        moved = first.copy()
        moved.positions = (1.0 - part) * points[i] + part * points[i + 1]
        result.append(moved)
    return result


def displace(atoms: Any, deviation: float | ArrayLike, rng: np.random.Generator) -> Any:
    """Return a copy whose atoms are moved by normal noise.

    deviation : of each component, Angstrom; one number, or one per atom (n,), 0 for atoms held.

    Raises ConfigError for deviations that are negative or do not fit the atoms.
    """
    widths = np.asarray(deviation, dtype=np.float64)
    if widths.shape not in ((), (len(atoms),)) or not (widths >= 0).all():
        raise ConfigError(
            f"Displacements of shape {widths.shape} do not fit {len(atoms)} atoms; give one "
            "deviation >= 0, or one per atom."
        )
    moved = atoms.copy()
    noise = rng.normal(size=(len(atoms), 3))
    moved.positions += np.broadcast_to(widths, (len(atoms),))[:, None] * noise
    return moved


def around_path(
    structures: Sequence[Any], count: int, deviation: float | ArrayLike, rng: np.random.Generator
) -> Iterator[tuple[float, Any]]:
    """Yield `count` times (place from 0 to 1, displaced structure), the places evenly spaced.

    Arguments and errors are those of `interpolate` and `displace`.
    """
    for i, structure in enumerate(interpolate(structures, count)):
        yield i / (count - 1), displace(structure, deviation, rng)

"""Forces in a molecular liquid, divided into what moves whole molecules and what strains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from gnnip.errors import DataError
from gnnip.measurements.kinds import MeasurementKind

if TYPE_CHECKING:
    import pandas as pd

    from gnnip.measurements.sources import Sources

ATOMS = 4  #: of a molecule


@dataclass(frozen=True)
class Molecules(MeasurementKind):
    """Forces and their errors, of rigid molecules and inside of them.

    bond : longest one, Angstrom. From 2.3 to 2.55 all frames of the archive are molecules of four;
        at 2.6 some are joined to a neighbour.
    """

    function: ClassVar[str] = "kang2024.molecules:divide_forces"

    bond: float = 2.45


def divide_forces(sources: Sources, options: Molecules) -> pd.DataFrame:
    """Divide the forces of trained potentials, and their errors, on the test frames of P4.

    The twelve components of the forces on a molecule have six directions that move or turn it as a
    whole. Their part is what the other molecules do to a rigid one; the rest strains it, by its own
    bonds and by its neighbours.

    One row per training: group, cell, seed, and for the part `rigid` and `internal` of the forces
    {part}_rms_ev_per_a of the reference, {part}_rmse_ev_per_a (root mean squares over all
    components, so that squares of the parts add up), rigid_share of the square of the reference's
    forces.

    DataError for frames whose bonds do not make molecules of four atoms.
    """
    import pandas as pd

    from gnnip.models import predict

    rows = []
    for one in sources.potentials():
        said = predict(one.model, one.store, batch_size=4, forces=True)["forces"]
        true = np.sum([one.test.force(term) for term in one.terms], axis=0)
        rigid: dict[str, list[np.ndarray]] = {"true": [], "error": []}
        for frame in range(one.test.n_frames):
            positions, _, cell, _ = one.test.structure(frame)
            part = slice(one.test.offsets[frame], one.test.offsets[frame + 1])
            for members, places in molecules(positions, cell, options.bond):
                modes = rigid_modes(places)
                for name, forces in (("true", true[part]), ("error", (said - true)[part])):
                    rigid[name].append(modes @ forces[members].ravel())
        squares = {name: float(np.square(values).sum()) for name, values in rigid.items()}
        whole = {"true": np.square(true).sum(), "error": np.square(said - true).sum()}
        row = {**one.about, "rigid_share": squares["true"] / whole["true"]}
        for name, column in (("true", "rms"), ("error", "rmse")):
            inner = max(whole[name] - squares[name], 0.0)
            row[f"rigid_{column}_ev_per_a"] = np.sqrt(squares[name] / true.size)
            row[f"internal_{column}_ev_per_a"] = np.sqrt(inner / true.size)
        rows.append(row)
    return pd.DataFrame(rows)


def molecules(
    positions: np.ndarray, cell: np.ndarray | None, bond: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the atoms (4,) of each molecule and their places (4, 3), not cut by the cell.

    DataError for a frame without cell, or whose bonds do not make molecules of four atoms.
    """
    from scipy.sparse.csgraph import connected_components

    if cell is None:
        raise DataError("A liquid is periodic and this frame has no cell; import it with one.")
    apart = positions[None] - positions[:, None]
    apart -= np.rint(apart @ np.linalg.inv(cell)) @ cell
    count, label = connected_components(np.linalg.norm(apart, axis=2) < bond)
    found = [np.flatnonzero(label == k) for k in range(count)]
    if any(len(members) != ATOMS for members in found):
        raise DataError(
            f"Bonds up to {bond:g} Angstrom do not make molecules of {ATOMS} atoms of this frame; "
            "give another bond, or frames of whole molecules."
        )
    return [(members, positions[members[0]] + apart[members[0], members]) for members in found]


def rigid_modes(places: np.ndarray) -> np.ndarray:
    """Return orthonormal rows (6, 3 n): shifts and turns of atoms of equal mass at `places`."""
    about = places - places.mean(axis=0)
    shifts = [np.tile(axis, len(places)) for axis in np.eye(3)]
    turns = [np.cross(axis, about).ravel() for axis in np.eye(3)]
    return np.linalg.qr(np.array([*shifts, *turns]).T)[0].T

"""Which frames a measurement takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms

    from gnnip.datasets.arrays import FrameArrays


def spread_evenly(values: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the values at even distances, all of them when there are fewer."""
    chosen = np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int))
    return values[chosen]


def frames_with(arrays: FrameArrays, select: Mapping[str, Any]) -> np.ndarray:
    """Return the frames whose metadata columns have all the values of `select`, ascending."""
    chosen = np.ones(arrays.n_frames, dtype=bool)
    for column, value in select.items():
        chosen &= arrays.column(column) == value
    return np.flatnonzero(chosen)


def atoms_of(arrays: FrameArrays, frame: int) -> Atoms:
    """Return one frame without its labels."""
    from ase import Atoms

    positions, numbers, cell, pbc = arrays.structure(frame)
    return Atoms(numbers, positions, cell=cell, pbc=pbc)


def terms_of(arrays: FrameArrays, target: str) -> tuple[str, ...]:
    """Return the energy terms that add up to what a training is told to learn: one, or all where
    the target is the total and no term of that name."""
    return arrays.terms if target == "total" and target not in arrays.terms else (target,)


def frame_table(arrays: FrameArrays) -> pd.DataFrame:
    """Return metadata and energies, one row per frame, of a `gnnip.datasets.arrays.FrameArrays`."""
    import pandas as pd

    offsets = arrays.offsets
    table = pd.DataFrame(
        {
            "frame": range(len(offsets) - 1),
            "n_atoms": offsets[1:] - offsets[:-1],
            **{name: values for name, values in arrays.metadata.items() if name != "frame"},
        }
    )
    for term, energies in arrays.energies.items():
        table[f"energy_{term}_ev"] = energies
    return table

"""Data sets: one archive format, the registry of what is shipped, splits and verification.

`arrays` and `store` need numpy and h5py only; the rest is imported when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import ase
    import pandas as pd

__all__ = ["describe", "load", "names"]


def names() -> list[str]:
    """Return the names of the registered data sets; trajectories are not among them."""
    from gnnip.datasets.registry import kind_of, load_registry

    return sorted(name for name, entry in load_registry().items() if kind_of(entry) == "frames")


def describe() -> pd.DataFrame:
    """Return one row per registered data set or trajectory: what it is, how it was labelled,
    whether it is there."""
    from gnnip.datasets import registry

    return registry.describe()


def load(
    name_or_path: str | os.PathLike[str], terms: Iterable[str] | None = None
) -> list[ase.Atoms]:
    """Return the frames of a registered data set or of an archive file, eV and eV/Angstrom.

    Each `ase.Atoms` carries a SinglePointCalculator with the sum of `terms` (default: all) as
    energy and forces; `info` has the frame number, every metadata column and `energy_<term>_ev`;
    `arrays` has `forces_<term>`.

    Raises DataError for an unknown name, a missing or damaged archive, an unknown term, a
    registered trajectory (`gnnip.md.read_trajectory` reads those).
    """
    from gnnip.datasets.structures import load_structures

    return load_structures(name_or_path, terms)

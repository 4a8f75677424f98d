"""Archives of gnnip (`gnnip.datasets.store`), so that what was imported once is read like files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gnnip.datasets.imports.batch import Batch, Skipped
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.datasets.store import load_arrays
from gnnip.errors import DataError, nearest


def read(path: Path, settings: ImportSettings) -> Iterator[Batch | Skipped]:
    """Yield the frames of an archive, one at a time; `energy`, `forces` and `stress` name terms,
    `total` is the sum of all where there is no term of that name.

    DataError for terms and columns that the archive does not have.
    """
    frames = load_arrays(path)

    def terms(name: str, known: dict[str, np.ndarray]) -> list[np.ndarray]:
        if name not in known and (name != "total" or not known):
            raise DataError(f"{path} has no '{name}'{nearest(name, [*known, 'total'])}")
        return [known[name]] if name in known else list(known.values())

    energies = np.sum(terms(settings.energy_key, frames.energies), axis=0)
    forces = stress = None
    if settings.forces_key is not None and frames.forces:
        forces = np.sum(terms(settings.forces_key, frames.forces), axis=0)
    if settings.stress is not None:
        stress = np.sum(terms(settings.stress, frames.stresses), axis=0)
    wanted = dict(settings.columns)
    if settings.trajectory_key is not None:
        wanted["trajectory"] = settings.trajectory_key
    for name in wanted.values():
        if name not in frames.metadata:
            raise DataError(f"{path} has no column '{name}'{nearest(name, frames.metadata)}")
    for k in range(frames.n_frames):
        positions, numbers, cell, pbc = frames.structure(k)
        yield Batch(
            numbers=numbers,
            positions=positions[None],
            energies=energies[k : k + 1],
            frames=np.array([k]),
            forces=None if forces is None else forces[frames.atom_slice(k)][None],
            stress=None if stress is None else stress[k : k + 1],
            cells=None if cell is None else np.asarray(cell)[None],
            pbc=pbc,
            columns={own: frames.metadata[name][k : k + 1] for own, name in wanted.items()},
        )

"""Archives as `ase.Atoms`, the form in which they leave the project."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.registry import check_archive
from gnnip.datasets.store import load_arrays


def archive_path(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the archive of a registered name (checked), or the path itself when it has a
    suffix."""
    path = Path(name_or_path)
    return path if path.suffix else check_archive(str(name_or_path))


def load_structures(
    name_or_path: str | os.PathLike[str], terms: Iterable[str] | None = None
) -> list[ase.Atoms]:
    """Return the frames of an archive as in :func:`gnnip.datasets.load`."""
    frames = load_arrays(archive_path(name_or_path))
    chosen = list(frames.terms if terms is None else terms)
    for term in chosen:
        frames.energy(term)
    return [_structure(frames, i, chosen) for i in range(frames.n_frames)]


def _structure(frames: FrameArrays, frame: int, terms: list[str]) -> ase.Atoms:
    part = frames.atom_slice(frame)
    atoms = ase.Atoms(
        numbers=frames.numbers[part],
        positions=frames.positions[part],
        cell=None if frames.cells is None else frames.cells[frame],
        pbc=False if frames.pbc is None else frames.pbc[frame],
    )
    atoms.info["frame"] = frame
    for column, values in frames.metadata.items():
        value = values[frame]
        atoms.info[column] = value.item() if isinstance(value, np.generic) else value
    for term in frames.terms:
        atoms.info[f"energy_{term}_ev"] = float(frames.energies[term][frame])
    for term, values in frames.forces.items():
        atoms.arrays[f"forces_{term}"] = values[part].copy()
    results: dict[str, Any] = {"energy": float(sum(frames.energies[t][frame] for t in terms))}
    if all(t in frames.forces for t in terms):
        results["forces"] = np.sum([frames.forces[t][part] for t in terms], axis=0)
    if all(t in frames.stresses for t in terms):
        total = np.sum([frames.stresses[t][frame] for t in terms], axis=0)
        results["stress"] = full_3x3_to_voigt_6_stress(total)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms

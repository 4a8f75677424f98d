"""Extended XYZ with any key names, and VASP's OUTCAR: both through ASE's readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnip.datasets.imports.batch import Batch
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.errors import DataError, nearest

if TYPE_CHECKING:
    import ase

_ASE_NAMES = {"extxyz": "extxyz", "vasp": "vasp-out"}
_CALLED = {"extxyz": "extended XYZ", "vasp": "a VASP OUTCAR"}


def read(path: Path, settings: ImportSettings) -> Iterator[Batch]:
    """Yield the structures of a file that ASE reads, one at a time.

    Raises DataError for a file that ASE cannot read and for a frame without the named energy; the
    nearest name that there is is suggested.
    """
    for frame, atoms in enumerate(_structures(path, settings.format)):
        yield _batch(atoms, frame, f"{path}, frame {frame}", settings)


def _structures(path: Path, format_: str) -> Iterator[ase.Atoms]:
    import ase.io

    if not path.is_file():
        raise DataError(f"{path} does not exist; give another file.")
    read = 0
    try:
        for atoms in ase.io.iread(path, index=":", format=_ASE_NAMES[format_]):
            yield atoms
            read += 1
    # ASE's readers raise whatever they stumble over
    except Exception as error:
        raise DataError(
            f"{path} cannot be read as {_CALLED[format_]} after {read} frames "
            f"({type(error).__name__}: {' '.join(str(error).split())[:120]}); it is truncated or "
            "of another format."
        ) from None


def _batch(atoms: ase.Atoms, frame: int, where: str, settings: ImportSettings) -> Batch:
    results: Mapping[str, Any] = {} if atoms.calc is None else atoms.calc.results
    per_frame = {**atoms.info, **{k: v for k, v in results.items() if np.ndim(v) != 2}}
    per_atom = {
        k: v
        for k, v in {**atoms.arrays, **results}.items()
        if np.ndim(v) == 2 and k not in ("positions", "numbers")
    }
    energy = _number(per_frame, settings.energy_key, where)
    forces = None
    key = settings.forces_key
    # a default name may be absent: whether that matters is for the importer to say
    if key is not None and (settings.forces is not None or key in per_atom):
        if key not in per_atom:
            raise DataError(f"{where} has no forces '{key}'{_suggest(key, per_atom)}.")
        forces = np.asarray(per_atom[key], dtype=np.float64)
        if forces.shape != (len(atoms), 3):
            raise DataError(
                f"{where}: '{key}' has shape {forces.shape}, {(len(atoms), 3)} is expected for "
                "forces; name another array."
            )
    columns = {}
    wanted = dict(settings.columns)
    if settings.trajectory_key is not None:
        wanted["trajectory"] = settings.trajectory_key
    for column, name in wanted.items():
        if name not in per_frame:
            raise DataError(f"{where} has no '{name}'{_suggest(name, per_frame)}.")
        columns[column] = np.array([per_frame[name]])
    periodic = bool(np.any(atoms.pbc))
    return Batch(
        numbers=np.asarray(atoms.numbers, dtype=np.int64),
        positions=atoms.positions[None],
        energies=np.array([energy]),
        frames=np.array([frame]),
        forces=None if forces is None else forces[None],
        stress=_stress(per_frame, per_atom, settings.stress, where),
        charges=np.asarray(results["charges"])[None] if "charges" in results else None,
        cells=atoms.cell.array[None] if periodic else None,
        pbc=np.asarray(atoms.pbc),
        columns=columns,
    )


def _suggest(key: str, there: Mapping[str, Any]) -> str:
    return nearest(key, there) if there else "; nothing else is there"


def _number(values: Mapping[str, Any], key: str, where: str) -> float:
    if key not in values:
        raise DataError(f"{where} has no energy '{key}'{_suggest(key, values)}.")
    try:
        return float(values[key])
    except (TypeError, ValueError):
        raise DataError(
            f"{where}: '{key}' is {values[key]!r}, not a number; name another key for the energy."
        ) from None


def _stress(
    per_frame: Mapping[str, Any], per_atom: Mapping[str, Any], key: str | None, where: str
) -> np.ndarray | None:
    """Return the stress (1, 3, 3), None when it is not wanted; positive when stretched, as ASE."""
    if key is None:
        return None
    there = {**per_frame, **per_atom}
    if key not in there:
        raise DataError(f"{where} has no stress '{key}'{_suggest(key, there)}.")
    value = np.asarray(there[key], dtype=np.float64)
    if value.shape == (6,):
        xx, yy, zz, yz, xz, xy = value
        return np.array([[[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]])
    if value.size != 9:
        raise DataError(f"{where}: '{key}' has shape {value.shape}, six or nine numbers expected.")
    return value.reshape(1, 3, 3)

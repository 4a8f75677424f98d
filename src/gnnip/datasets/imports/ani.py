"""ANI-1 and COMP6: HDF5 with one group a molecule.

<group>/<molecule>/coordinates (n, atoms, 3), energies (n,), species (atoms,) or
atomic_numbers; coordinatesHE and energiesHE apart; COMP6 adds `forces`, which are gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from gnnip.datasets.imports.batch import Batch, atomic_numbers
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.errors import DataError, nearest

ROWS = 20_000  #: conformations that are read at once


def read(path: Path, settings: ImportSettings) -> Iterator[Batch]:
    """Yield the conformations of every molecule, at most `ROWS` at once.

    Raises DataError for a file that is truncated or no HDF5, has no molecules, lacks the named
    arrays, or states other units than the settings.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; give another file.")
    try:
        with h5py.File(path, "r") as file:
            yield from _molecules(file, path, settings)
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"{path} is truncated or not an HDF5 file; fetch it again.") from error


def _molecules(file: h5py.File, path: Path, settings: ImportSettings) -> Iterator[Batch]:
    found: list[str] = []

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Group) and "coordinates" in item:
            found.append(name)

    file.visititems(collect)
    if not found:
        raise DataError(
            f"{path} has no group with 'coordinates': it is HDF5, but not in the format of ANI-1."
        )
    frame = 0
    parts = ("", "HE") if settings.high_energy else ("",)
    for name in found:
        group = file[name]
        where = f"{path}, molecule {name}"
        numbers = _numbers(group, where)
        for suffix in parts:
            coordinates = _dataset(group, f"coordinates{suffix}", where)
            energies = _dataset(group, f"{settings.energy_key}{suffix}", where)
            forces = None
            # the frames that are high in energy never have forces
            if settings.forces_key is not None and not suffix:
                forces = _dataset(group, settings.forces_key, where)
            _check_shapes(coordinates, energies, forces, len(numbers), where)
            for array, quantity in (
                (coordinates, "length"),
                (energies, "energy"),
                (forces, "forces"),
            ):
                _check_units(array, settings.unit_names[quantity], where)
            for start in range(0, len(energies), ROWS):
                rows = slice(start, start + ROWS)
                count = len(energies[rows])
                yield Batch(
                    numbers=numbers,
                    positions=np.asarray(coordinates[rows], dtype=np.float64),
                    energies=np.asarray(energies[rows], dtype=np.float64),
                    frames=np.arange(frame, frame + count),
                    forces=None if forces is None else np.asarray(forces[rows], dtype=np.float64),
                    molecule=name.rsplit("/", 1)[-1],
                )
                frame += count


def _dataset(group: h5py.Group, key: str, where: str) -> h5py.Dataset:
    if key not in group:
        raise DataError(f"{where} has no '{key}'{nearest(key, group)}.")
    return group[key]


def _numbers(group: h5py.Group, where: str) -> np.ndarray:
    if "atomic_numbers" in group:
        return np.asarray(group["atomic_numbers"], dtype=np.int64)
    symbols = _dataset(group, "species", where)[()]
    return atomic_numbers([s.decode() if isinstance(s, bytes) else str(s) for s in symbols], where)


def _check_shapes(
    coordinates: h5py.Dataset,
    energies: h5py.Dataset,
    forces: h5py.Dataset | None,
    n_atoms: int,
    where: str,
) -> None:
    expected = (len(energies), n_atoms, 3)
    for array in (coordinates, *([] if forces is None else [forces])):
        if array.shape != expected:
            raise DataError(
                f"{where}: '{array.name.rsplit('/', 1)[-1]}' has shape {array.shape} where "
                f"{expected} is expected; the file is damaged."
            )


def _check_units(array: h5py.Dataset | None, unit: str, where: str) -> None:
    if array is None:
        return
    stated = array.attrs.get("units")
    stated = stated.decode() if isinstance(stated, bytes) else stated
    # written in as many ways as there are programs
    aliases = {"ang": "angstrom", "å": "angstrom", "ha": "hartree", "a": "angstrom"}

    def plain(text: str) -> str:
        return "/".join(aliases.get(p.strip().lower(), p.strip().lower()) for p in text.split("/"))

    if stated is not None and plain(str(stated)) != plain(unit):
        raise DataError(
            f"{where}: '{array.name.rsplit('/', 1)[-1]}' is in {stated} by the file and in {unit} "
            "by the settings; correct units."
        )

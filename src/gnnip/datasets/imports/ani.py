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
from gnnip.files import read_hdf5

ROWS = 20_000  #: conformations that are read at once
_MOST_COMPRESSED = 1100  #: bytes that one byte of gzip can stand for


def read(path: Path, settings: ImportSettings) -> Iterator[Batch]:
    """Yield the conformations of every molecule, at most `ROWS` at once.

    Raises DataError for a file that is truncated or no HDF5, has no molecules, lacks the named
    arrays, or states other units than the settings.
    """
    with read_hdf5(path, "fetch it again") as file:
        yield from _molecules(file, path, settings)


def _molecules(file: h5py.File, path: Path, settings: ImportSettings) -> Iterator[Batch]:
    found: list[str] = []

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Group) and isinstance(item.get("coordinates"), h5py.Dataset):
            found.append(name)

    collect("", file)
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
            forces, hint = None, ""
            # the frames that are high in energy never have forces
            if settings.forces_key is not None and not suffix:
                if settings.forces_key in group:
                    forces = _dataset(group, settings.forces_key, where)
                else:
                    hint = nearest(settings.forces_key, group)
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
                    hint=hint,
                )
                frame += count


def _dataset(group: h5py.Group, key: str, where: str) -> h5py.Dataset:
    if key not in group:
        raise DataError(f"{where} has no '{key}'{nearest(key, group)}.")
    found = group[key]
    if not isinstance(found, h5py.Dataset) or not found.shape:
        raise DataError(f"{where}: '{key}' is no array; the file is damaged.")
    kept = found.id.get_storage_size()
    if found.nbytes > max(1, kept) * _MOST_COMPRESSED:
        raise DataError(
            f"{where}: '{key}' claims {found.shape[0]} rows of {found.nbytes:.1e} bytes, and the "
            f"file holds {kept} bytes of them; it was never filled, or is damaged."
        )
    return found


def _numbers(group: h5py.Group, where: str) -> np.ndarray:
    if "atomic_numbers" in group:
        values = np.asarray(_dataset(group, "atomic_numbers", where))
        if values.dtype.kind not in "iu" or values.ndim != 1:
            raise DataError(f"{where}: 'atomic_numbers' are no whole numbers, one an atom.")
        return values.astype(np.int64)
    symbols = _dataset(group, "species", where)[()]
    return atomic_numbers(
        [s.decode(errors="replace") if isinstance(s, bytes) else str(s) for s in symbols.ravel()],
        where,
    )


def _check_shapes(
    coordinates: h5py.Dataset,
    energies: h5py.Dataset,
    forces: h5py.Dataset | None,
    n_atoms: int,
    where: str,
) -> None:
    for array in (coordinates, energies, *([] if forces is None else [forces])):
        if array.dtype.kind not in "fiu":
            raise DataError(
                f"{where}: '{array.name.rsplit('/', 1)[-1]}' holds no numbers; name another array."
            )
    if energies.ndim != 1:
        raise DataError(
            f"{where}: '{energies.name.rsplit('/', 1)[-1]}' has shape {energies.shape}, one number "
            "a conformation is expected; name another array."
        )
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

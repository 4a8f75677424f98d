"""NeuralIL: one JSON object a line with `Energy`, `Positions`, `Forces` and `Cell-Size`.

The elements are not in the file: the settings name them. The cell is orthorhombic and periodic.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.datasets.imports.batch import Batch, atomic_numbers, text_lines
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.errors import DataError, nearest
from gnnip.files import parse_json


def read(path: Path, settings: ImportSettings) -> Iterator[Batch]:
    """Yield the structures of a file of JSON lines.

    Raises DataError, with the line, for a line that is no JSON object, a missing key (with the
    nearest one that there is), or another number of atoms than the species say.
    """
    symbols = [s for group in settings.species for _ in range(group.times) for s in group.symbols]
    numbers = atomic_numbers(symbols, "species")
    frame = 0
    for number, line in text_lines(path):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        entry = parse_json(line, where, dict)
        positions = _array(entry, "Positions", where)
        if positions.shape != (len(numbers), 3):
            raise DataError(
                f"{where}: the positions have shape {positions.shape} where the species name "
                f"{len(numbers)} atoms; correct species."
            )
        forces, hint = None, ""
        if settings.forces_key is not None and settings.forces_key not in entry:
            hint = nearest(settings.forces_key, entry)
        elif settings.forces_key is not None:
            forces = _array(entry, settings.forces_key, where)
            if forces.shape != positions.shape:
                raise DataError(
                    f"{where}: the forces have shape {forces.shape}, the positions "
                    f"{positions.shape}; the file is damaged."
                )
        sides = _array(entry, "Cell-Size", where).reshape(-1)
        energy = _array(entry, settings.energy_key, where)
        for key, values, sizes in (
            ("Cell-Size", sides, (1, 3)),
            (settings.energy_key, energy, (1,)),
        ):
            if values.size not in sizes:
                raise DataError(
                    f"{where}: '{key}' has {values.size} numbers where {sizes[-1]} is expected; "
                    "correct the file."
                )
        yield Batch(
            numbers=numbers,
            positions=positions[None],
            energies=energy.reshape(1),
            frames=np.array([frame]),
            forces=None if forces is None else forces[None],
            cells=np.diag(np.broadcast_to(sides, (3,)))[None],
            pbc=np.ones(3, dtype=bool),
            hint=hint,
        )
        frame += 1


def _array(entry: dict[str, Any], key: str, where: str) -> np.ndarray:
    if key not in entry:
        raise DataError(f"{where} has no '{key}'{nearest(key, entry)}.")
    try:
        if any(isinstance(v, bool | str) for v in np.array(entry[key], dtype=object).ravel()):
            raise TypeError("true and texts are no numbers, whatever NumPy makes of them")
        return np.array(entry[key], dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"{where}: '{key}' is not an array of numbers; correct the file."
        ) from error

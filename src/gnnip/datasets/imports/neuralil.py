"""NeuralIL: one JSON object a line with `Energy`, `Positions`, `Forces` and `Cell-Size`.

The elements are not in the file: the settings name them. The cell is orthorhombic and periodic.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.datasets.imports.batch import Batch, atomic_numbers, text_lines
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.errors import DataError, nearest


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
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{where} is not a complete JSON object; the file is truncated or damaged, "
                "fetch it again."
            ) from error
        if not isinstance(entry, dict):
            raise DataError(f"{where} is not a JSON object; one a line is expected.")
        positions = _array(entry, "Positions", where)
        if positions.shape != (len(numbers), 3):
            raise DataError(
                f"{where}: the positions have shape {positions.shape} where the species name "
                f"{len(numbers)} atoms; correct species."
            )
        forces = None
        if settings.forces_key is not None and (
            settings.forces is not None or settings.forces_key in entry
        ):
            forces = _array(entry, settings.forces_key, where)
            if forces.shape != positions.shape:
                raise DataError(
                    f"{where}: the forces have shape {forces.shape}, the positions "
                    f"{positions.shape}; the file is damaged."
                )
        sides = np.broadcast_to(_array(entry, "Cell-Size", where), (3,))
        yield Batch(
            numbers=numbers,
            positions=positions[None],
            energies=_array(entry, settings.energy_key, where).reshape(1),
            frames=np.array([frame]),
            forces=None if forces is None else forces[None],
            cells=np.diag(sides)[None],
            pbc=np.ones(3, dtype=bool),
        )
        frame += 1


def _array(entry: dict[str, Any], key: str, where: str) -> np.ndarray:
    if key not in entry:
        raise DataError(f"{where} has no '{key}'{nearest(key, entry)}.")
    try:
        return np.array(entry[key], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{where}: '{key}' is not an array of numbers; correct the file."
        ) from error

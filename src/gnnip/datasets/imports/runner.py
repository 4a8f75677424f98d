"""RuNNer and n2p2: `input.data`, in atomic units.

begin
lattice x y z                              three times, or never for a cluster
atom x y z element charge unused fx fy fz  forces, not gradients
energy E
charge Q
end
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gnnip.datasets.imports.batch import Batch, atomic_numbers, text_lines
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.errors import DataError, nearest

_KEYWORDS = ("begin", "comment", "lattice", "atom", "energy", "charge", "end")


def read(path: Path, settings: ImportSettings) -> Iterator[Batch]:
    """Yield the structures of an `input.data`, with charges and the column `total_charge`.

    Raises DataError, with the line, for an unknown keyword, a line with too few numbers, a
    structure without energy or end.
    """
    frame = 0
    rows: dict[str, list[list[str]]] | None = None
    last = 0
    for last, line in text_lines(path):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        keyword, rest = words[0], words[1:]
        where = f"{path}, line {last}"
        if keyword not in _KEYWORDS:
            raise DataError(f"{where}: unknown keyword '{keyword}'{nearest(keyword, _KEYWORDS)}.")
        if keyword == "begin":
            if rows is not None:
                raise DataError(
                    f"{where}: a structure begins before frame {frame} has its 'end'; the file is "
                    "damaged."
                )
            rows = {"lattice": [], "atom": [], "energy": [], "charge": []}
        elif rows is None:
            raise DataError(f"{where}: '{keyword}' outside of 'begin' and 'end'; correct the file.")
        elif keyword == "end":
            yield _structure(rows, frame, where, with_forces=settings.forces_key is not None)
            rows, frame = None, frame + 1
        elif keyword != "comment":
            needed = {"lattice": 3, "atom": 9, "energy": 1, "charge": 1}[keyword]
            if len(rest) < needed:
                raise DataError(
                    f"{where}: '{keyword}' is followed by {len(rest)} values, {needed} are "
                    "expected; correct the file."
                )
            rows[keyword].append(rest[:needed])
    if rows is not None:
        raise DataError(
            f"{path} ends within frame {frame} (line {last}), without 'end'; it is truncated, "
            "fetch it again."
        )


def _structure(
    rows: dict[str, list[list[str]]], frame: int, where: str, *, with_forces: bool
) -> Batch:
    if not rows["atom"] or len(rows["energy"]) != 1:
        what = "no atoms" if not rows["atom"] else f"{len(rows['energy'])} energies instead of one"
        raise DataError(f"{where}: frame {frame} has {what}; correct the file.")
    if len(rows["lattice"]) not in (0, 3):
        raise DataError(
            f"{where}: frame {frame} has {len(rows['lattice'])} lattice vectors; three or none are "
            "expected."
        )
    try:
        values = np.array([r[:3] + r[4:9] for r in rows["atom"]], dtype=np.float64)
        lattice = np.array(rows["lattice"], dtype=np.float64).reshape(-1, 3)
        energy = np.array(rows["energy"][0], dtype=np.float64)
        charge = np.array(rows["charge"][:1] or [["nan"]], dtype=np.float64)[0]
    except ValueError as error:
        raise DataError(
            f"{where}: frame {frame} has a value that is not a number ({error}); correct the file."
        ) from error
    periodic = len(lattice) == 3
    return Batch(
        numbers=atomic_numbers([r[3] for r in rows["atom"]], where),
        positions=values[None, :, :3],
        energies=energy,
        frames=np.array([frame]),
        forces=values[None, :, 5:] if with_forces else None,
        charges=values[None, :, 3],
        cells=lattice[None] if periodic else None,
        pbc=np.full(3, periodic),
        columns={"total_charge": charge} if rows["charge"] else {},
    )

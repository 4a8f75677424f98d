"""What a reader returns: structures of one composition, in the units of their file."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gnnip.errors import DataError


@dataclass
class Batch:
    """n structures of the same a atoms, in the units of the file.

    numbers (a,); positions (n, a, 3); energies (n,); forces (n, a, 3) or None where the file has
    none; stress (n, 6) or (n, 3, 3), as the file has it; charges (n, a), e; cells (n, 3, 3) or None
    for clusters; pbc (3,); columns {name: (n,)}; frames (n,) numbers of the structures within the
    file; molecule: its name where the file has one; remarks {finding of the report: why}; hint: the
    end of a sentence that suggests a name for forces that are missing, stress_hint one for the
    stress; free_energies (n,) where they stand beside energies of another name.
    """

    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    frames: np.ndarray
    forces: np.ndarray | None = None
    stress: np.ndarray | None = None
    charges: np.ndarray | None = None
    cells: np.ndarray | None = None
    pbc: np.ndarray | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    molecule: str = ""
    remarks: dict[str, str] = field(default_factory=dict)
    hint: str = ""
    free_energies: np.ndarray | None = None
    stress_hint: str = ""


@dataclass
class Skipped:
    """A structure of a file that gives no frame: its number, a finding of the report, and why."""

    frame: int
    finding: str
    reason: str


def atomic_numbers(symbols: list[str], where: str) -> np.ndarray:
    """Return the atomic numbers (a,) of element symbols.

    Raises DataError, with `where`, for a symbol that no element has.
    """
    from ase.data import atomic_numbers as known

    unknown = next((s for s in symbols if known.get(s, 0) == 0), None)
    if unknown is not None:
        raise DataError(f"{where}: '{unknown}' is not a chemical element; correct the file.")
    return np.array([known[s] for s in symbols], dtype=np.int64)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and content of every line of a text file.

    Raises DataError for a file that is missing or no text.
    """
    from ase.io.formats import open_with_compression

    try:
        with open_with_compression(str(path), "r") as stream:
            for number, line in enumerate(stream, start=1):
                # some editors begin a file with a byte order mark
                yield number, line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a text file in UTF-8; save it so, or choose the format that it has."
        ) from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{path} is compressed and damaged or cut off ({error}); fetch it again."
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be read ({reason}); give another file.") from error

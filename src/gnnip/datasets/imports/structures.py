"""Structure files by ASE: extended XYZ with any key names, and what else ASE reads."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnip.datasets.imports.batch import Batch, Skipped, text_lines
from gnnip.datasets.imports.labels import likely
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.errors import DataError, nearest

if TYPE_CHECKING:
    import ase


def structures(path: Path) -> Iterator[ase.Atoms | Skipped]:
    """Yield the structures of a file in any format that ASE reads, in the order of the file, and
    those that are empty or cut off, with the reason.

    Raises DataError for a file that is missing or cannot be read.
    """
    from ase.io import iread
    from ase.io.formats import filetype

    if not path.is_file():
        raise DataError(f"{path} does not exist; give another file.")
    read = 0
    try:
        if filetype(str(path)) == "extxyz":
            yield from extended_xyz(path)
            return
        # '@' is no index, whatever ASE makes of it
        for atoms in iread(path, index=":", do_not_split_by_at_sign=True):
            yield atoms if len(atoms) else Skipped(read, "faulty", "it has no atoms")
            read += 1
    except DataError:
        raise
    # ASE's readers raise whatever they stumble over
    except Exception as error:
        raise _unreadable(path, "structures", read, error) from None


def extended_xyz(path: Path) -> Iterator[ase.Atoms | Skipped]:
    """Yield the structures of extended XYZ as `structures` does; a count of atoms is believed only
    as far as there are lines."""
    from ase.io.extxyz import read_xyz

    lines = (line for _, line in text_lines(path))
    frame, line = 0, next(lines, "")
    while line:
        if not line.strip():
            line = next(lines, "")
            continue
        try:
            count = int(line)
        except ValueError:
            shown = ValueError(f"'{line.strip()[:40]}' is no number of atoms")
            raise _unreadable(path, "extended XYZ", frame, shown) from None
        comment = next(lines, "")
        body = list(islice(lines, max(count, 0)))
        line = next(lines, "")
        while line.startswith("VEC"):  # lattice vectors behind the atoms
            body.append(line)
            line = next(lines, "")
        if count < 1:
            yield Skipped(frame, "faulty", "it has no atoms")
        elif len(body) < count:
            yield Skipped(frame, "cut_off", f"it has {len(body)} of {count} atoms")
        else:
            try:
                text = "".join([f"{count}\n", comment, *body])
                tensors = _Tensors()
                (atoms,) = read_xyz(io.StringIO(text), slice(None), tensors)
                atoms.info.update(tensors.found)
            # a last line without its end may be half a line
            except Exception as error:
                if line or body[-1].endswith("\n"):
                    if isinstance(error, KeyError):  # of ASE's table of symbols
                        error = ValueError(f"{error} is not a chemical element")
                    raise _unreadable(path, "extended XYZ", frame, error) from None
                yield Skipped(frame, "cut_off", "its last line is incomplete")
            else:
                cut = "its last line is shorter than the others and has no end"
                yield Skipped(frame, "cut_off", cut) if _is_cut(body) else atoms
        frame += 1


def _is_cut(lines: list[str]) -> bool:
    """Return whether a last line without its end is shorter than others, which are all alike."""
    widths = {len(line.rstrip("\r\n")) for line in lines[:-1]}
    fixed = len(lines) > 3 and len(widths) == 1
    return fixed and not lines[-1].endswith("\n") and len(lines[-1].rstrip()) < min(widths)


class _Tensors:
    """A parser of comment lines that keeps stresses and virials as they are written: ASE's takes
    nine numbers only, of which it makes six."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def __call__(self, comment: str) -> dict[str, Any]:
        from ase.io.extxyz import key_val_str_to_dict

        # under other names no length is expected of them
        renamed = re.sub(r"(?<!\S)(stress|virial)(?=\s*=)", r"\1_as_written", comment)
        values = key_val_str_to_dict(renamed)
        for key in ("stress", "virial"):
            if f"{key}_as_written" in values:
                self.found[key] = values.pop(f"{key}_as_written")
        return values


def _unreadable(path: Path, called: str, read: int, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as {called} after {read} frames ({type(error).__name__}: "
        f"{' '.join(str(error).split())[:120]}); it is truncated or of another format."
    )


def read(path: Path, settings: ImportSettings) -> Iterator[Batch | Skipped]:
    """Yield the structures of a file of extended XYZ, one at a time.

    Raises DataError for a file that cannot be read and for a frame without the named energy; the
    likely name is suggested.
    """
    for frame, atoms in enumerate(extended_xyz(path)):
        if isinstance(atoms, Skipped):
            yield atoms
        else:
            yield _batch(atoms, frame, f"{path}, frame {frame}", settings)


def read_any(path: Path, settings: ImportSettings) -> Iterator[Batch | Skipped]:
    """Yield the structures of a file in any format that ASE reads, as `read` does; ASE converts to
    eV and Angstrom what its formats define the units of."""
    for frame, atoms in enumerate(structures(path)):
        if isinstance(atoms, Skipped):
            yield atoms
        else:
            yield _batch(atoms, frame, f"{path}, frame {frame}", settings)


def _batch(atoms: ase.Atoms, frame: int, where: str, settings: ImportSettings) -> Batch:
    results: Mapping[str, Any] = {} if atoms.calc is None else atoms.calc.results
    per_frame = {**atoms.info, **{k: v for k, v in results.items() if k not in PER_ATOM}}
    per_atom = {
        k: v
        for k, v in {**atoms.arrays, **{k: v for k, v in results.items() if k in PER_ATOM}}.items()
        if np.ndim(v) == 2 and k not in ("positions", "numbers")
    }
    forces, hint = None, ""
    key = settings.forces_key
    # whether it matters that they are missing is for the importer to say
    if key is not None and key not in per_atom:
        hint = likely("forces", key, per_atom, len(atoms)) if per_atom else ""
    elif key is not None:
        forces = _floats(per_atom[key], (len(atoms), 3), key, "forces", where)[None]
    columns = {}
    wanted = dict(settings.columns)
    if settings.trajectory_key is not None:
        wanted["trajectory"] = settings.trajectory_key
    for column, name in wanted.items():
        if name not in per_frame:
            there = nearest(name, per_frame) if per_frame else "; nothing else is there"
            raise DataError(f"{where} has no '{name}'{there}.")
        columns[column] = np.array([per_frame[name]])
    periodic = bool(np.any(atoms.pbc))
    stress, stress_hint = _stress(per_frame, per_atom, settings.stress, where, len(atoms))
    energy = _number(per_frame, settings.energy_key, where, len(atoms))
    other = per_frame.get("free_energy") if settings.energy is None else None
    return Batch(
        numbers=np.asarray(atoms.numbers, dtype=np.int64),
        positions=atoms.positions[None],
        energies=np.array([energy]),
        frames=np.array([frame]),
        forces=forces,
        stress=stress,
        stress_hint=stress_hint,
        charges=np.asarray(results["charges"])[None] if "charges" in results else None,
        cells=atoms.cell.array[None] if periodic else None,
        pbc=np.asarray(atoms.pbc),
        columns=columns,
        hint=hint,
        free_energies=None if other is None else np.array([float(other)]),
    )


#: results of ASE that have a value for each atom
PER_ATOM = ("forces", "energies", "stresses", "charges", "magmoms")


def _floats(value: Any, shape: tuple[int, ...], key: str, what: str, where: str) -> np.ndarray:
    found = np.asarray(value)
    if found.dtype.kind not in "fiu" or found.shape != shape:
        raise DataError(
            f"{where}: '{key}' has shape {found.shape}, {shape} numbers are expected for {what}; "
            "name another array."
        )
    return found.astype(np.float64)


def _number(values: Mapping[str, Any], key: str, where: str, n_atoms: int) -> float:
    if key not in values:
        raise DataError(f"{where} has no energy '{key}'{likely('energy', key, values, n_atoms)}.")
    try:
        if isinstance(values[key], bool | np.bool_):
            raise TypeError("true is no energy")
        return float(values[key])
    except (TypeError, ValueError):
        raise DataError(
            f"{where}: '{key}' is {values[key]!r}, not a number; name another key for the energy."
        ) from None


def _stress(
    per_frame: Mapping[str, Any],
    per_atom: Mapping[str, Any],
    key: str | None,
    where: str,
    n_atoms: int,
) -> tuple[np.ndarray | None, str]:
    """Return the numbers of the file, (1, 6) or (1, 3, 3), None when there are none or they are
    not wanted; and the end of a sentence with the likely name."""
    if key is None:
        return None, ""
    there = {**per_frame, **per_atom}
    if key not in there:
        return None, likely("stress", key, there, n_atoms)
    value = np.asarray(there[key])
    if value.size == 9:
        return _floats(value.reshape(3, 3), (3, 3), key, "a stress", where)[None], ""
    return _floats(value, (6,), key, "a stress", where)[None], ""

"""VASP's OUTCAR: every ionic step with its labels, and what became of its electronic loop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gnnip.datasets.imports.batch import Batch, Skipped, atomic_numbers, text_lines
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.errors import DataError, nearest
from gnnip.units import GPA

_NUMBER = re.compile(r"[-+]?\d+\.\d*(?:[eE][-+]?\d+)?|\*{3,}")
_ITERATION = re.compile(r"Iteration\s+(\d+)\(\s*(\d+)\)")
_BEGIN = re.compile(r"\s*vasp\.\d")
_STATED = re.compile(r"=\s*([-+.\dEe*]+)")
_ENERGIES = ("free_energy", "energy")


@dataclass
class _Header:
    """What holds for all steps."""

    titles: list[str] = field(default_factory=list)
    potcars: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    nelm: int = 0
    machine_learning: bool = False

    def take(self, line: str) -> None:
        """Read a line."""
        if "TITEL" in line and "=" in line:
            self.titles.append(line.partition("=")[2])
        elif line.startswith(" POTCAR:"):
            self.potcars.append(line.partition(":")[2])
        elif "ions per type" in line:
            self.counts = [int(n) for n in line.partition("=")[2].split() if n.isdigit()]
        elif "NELM " in line and (found := re.search(r"NELM\s*=\s*(\d+)", line)):
            self.nelm = int(found[1])
        elif "ML_LMLFF" in line and re.search(r"ML_LMLFF\s*=\s*\.?T", line):
            self.machine_learning = True

    def numbers(self, where: str) -> np.ndarray:
        """Return the atomic numbers (n,); DataError where the header does not give them."""
        titles = self.titles or self.potcars
        half = len(titles) // 2
        if not self.titles and titles[:half] == titles[half:]:
            titles = titles[:half]  # VASP lists them twice
        kinds = [re.split(r"[_.\s]", [*t.split(), "", ""][1])[0] for t in titles]
        if not self.counts or len(kinds) != len(self.counts):
            raise DataError(
                f"{where} cannot be read as a VASP OUTCAR: its head names {len(kinds)} kinds of "
                f"atoms and {len(self.counts)} numbers of them; it is truncated, of another "
                "format, or POTCAR and POSCAR do not fit."
            )
        symbols = [s for s, n in zip(kinds, self.counts, strict=True) for _ in range(n)]
        return atomic_numbers(symbols, where)


@dataclass
class _Step:
    """One ionic step, as far as it has been read."""

    iterations: int = 0
    converged: bool = False
    stopped: bool = False
    machine_learned: bool = False
    stress: np.ndarray | None = None  # positive when stretched, eV/A^3
    atoms: np.ndarray | None = None  # positions and forces (n, 6)
    energies: dict[str, float] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        return self.iterations > 0 or self.atoms is not None or bool(self.energies)

    def remarks(self, header: _Header) -> dict[str, str]:
        """Return why the labels may not be what the set is to hold."""
        if self.machine_learned or (header.machine_learning and not self.iterations):
            return {"machine_learned": "ML_LMLFF: its labels are of the machine-learned field"}
        out = header.nelm and self.iterations >= header.nelm
        if self.stopped or (out and not self.converged):
            limit = f" at NELM = {header.nelm}" if out else ""
            return {"unconverged": f"its electronic loop stopped{limit} without reaching EDIFF"}
        return {}


def read(path: Path, settings: ImportSettings) -> Iterator[Batch | Skipped]:
    """Yield the ionic steps of an OUTCAR; a last one that is cut off is skipped, with the reason.

    Energies are `free_energy` (TOTEN, the one that the forces belong to) and `energy` (sigma -> 0);
    forces are `forces`, stresses `stress`. Raises DataError for other names, and for a file that
    is no OUTCAR.
    """
    for key, known in (
        (settings.energy_key, _ENERGIES),
        (settings.forces_key, ("forces",)),
        (settings.stress, ("stress",)),
    ):
        if key is not None and key not in known:
            raise DataError(f"{path}: an OUTCAR has no '{key}'{nearest(key, known)}.")
    header, cell, frame = _Header(), np.zeros((3, 3)), 0
    numbers = np.zeros(0, dtype=np.int64)
    step, ionic = _Step(), 0
    lines = text_lines(path)
    for number, line in lines:
        if _BEGIN.match(line):  # another run that was appended
            if step.begun:
                yield Skipped(frame, "cut_off", f"line {number}: its ionic step has no labels")
                frame += 1
            header, numbers, step, ionic = _Header(), numbers[:0], _Step(), 0
        header.take(line)
        if (found := _ITERATION.search(line)) is not None:
            if int(found[1]) != ionic and step.begun:
                yield Skipped(frame, "cut_off", f"line {number}: its ionic step has no labels")
                step, frame = _Step(), frame + 1
            ionic, step.iterations = int(found[1]), int(found[2])
        elif "aborting loop" in line:
            step.converged = "EDIFF is reached" in line
            step.stopped = not step.converged
        elif "direct lattice vectors" in line:
            found_cell = _table(lines, 3, 3)
            cell = cell if found_cell is None else found_cell
        elif line.lstrip().startswith("in kB"):
            step.stress = _stress(line)
        elif "POSITION" in line and "TOTAL-FORCE" in line:
            numbers = header.numbers(str(path)) if not len(numbers) else numbers
            step.machine_learned |= "(ML)" in line
            next(lines, None)
            step.atoms = _table(lines, len(numbers), 6)
            if step.atoms is None:
                yield Skipped(frame, "cut_off", "the file ends within its table of forces")
                return
        elif "free  energy" in line and "TOTEN" in line:
            step.machine_learned |= "ML" in line
            step.energies["free_energy"] = _stated(line)
        elif "energy(sigma->0)" in line and step.atoms is not None and step.energies:
            step.energies["energy"] = _stated(line.partition("energy(sigma->0)")[2])
            yield _batch(step, numbers, cell, frame, header, settings)
            step, frame = _Step(), frame + 1
    if step.begun:
        yield Skipped(frame, "cut_off", "the file ends within its ionic step")
    elif not frame:
        raise DataError(
            f"{path} cannot be read as a VASP OUTCAR: it holds no ionic step; it is truncated or "
            "of another format."
        )


def _batch(
    step: _Step,
    numbers: np.ndarray,
    cell: np.ndarray,
    frame: int,
    header: _Header,
    settings: ImportSettings,
) -> Batch:
    assert step.atoms is not None
    return Batch(
        numbers=numbers,
        positions=step.atoms[None, :, :3],
        energies=np.array([step.energies[settings.energy_key]]),
        frames=np.array([frame]),
        forces=step.atoms[None, :, 3:],
        stress=None if settings.stress is None or step.stress is None else step.stress[None],
        cells=cell[None],
        pbc=np.ones(3, dtype=bool),
        remarks=step.remarks(header),
    )


def _numbers(line: str, count: int) -> list[float]:
    """Return numbers that may touch each other; nan for those that did not fit their columns."""
    found = [float("nan") if text[0] == "*" else float(text) for text in _NUMBER.findall(line)]
    return (found + [float("nan")] * count)[:count]


def _stress(line: str) -> np.ndarray:
    """Return the stress (3, 3), positive when stretched, eV/A^3, of a line in kbar."""
    xx, yy, zz, xy, yz, zx = _numbers(line, 6)
    return -0.1 * GPA * np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])


def _stated(line: str) -> float:
    found = _STATED.search(line)
    try:
        return float(found[1]) if found else float("nan")
    except ValueError:
        return float("nan")


def _table(lines: Iterator[tuple[int, str]], rows: int, columns: int) -> np.ndarray | None:
    """Return the next lines as an array (rows, columns), None where the file ends before."""
    read = []
    for _ in range(rows):
        _, line = next(lines, (0, ""))
        if len(_NUMBER.findall(line)) < columns:
            return None
        read.append(_numbers(line, columns))
    return np.array(read)

"""What a potential says of the structures in a file, frame by frame."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from gnnip.datasets.imports.batch import Skipped
from gnnip.datasets.imports.structures import PER_ATOM, structures
from gnnip.errors import DataError
from gnnip.files import atomic_path
from gnnip.models.calculator import PotentialCalculator

RESULTS = ("energy", "forces", "stress")
#: what the labels of a file are called beside predictions
LABEL = "reference_"


def keep_labels(atoms: ase.Atoms) -> None:
    """Let the labels of a structure be information under names of their own."""
    for name, value in (atoms.calc.results if atoms.calc is not None else {}).items():
        value = np.asarray(value)
        if value.ndim and len(value) == len(atoms) and name in PER_ATOM:
            atoms.set_array(f"{LABEL}{name}", value)
        elif value.dtype.kind in "biufUS":
            atoms.info[f"{LABEL}{name}"] = value.item() if value.ndim == 0 else value
    for name in {*RESULTS, "free_energy"} & set(atoms.info):
        atoms.info[f"{LABEL}{name}"] = atoms.info.pop(name)


def predicted(
    path: Path, calculator: PotentialCalculator
) -> tuple[list[ase.Atoms], dict[int, str]]:
    """Return the structures of a file with energies (eV), forces (eV/A) and, of crystals, stress
    (eV/A^3) of a potential, and {frame: the reason} of those that it cannot treat.

    Forces are those of the potential, also on atoms that constraints hold. What the file holds
    besides stays; its labels are called reference_energy, reference_forces and so on. An ensemble
    adds energy_spread (eV) and forces_spread (n,), eV/A. Raises DataError for a file that cannot be
    read, or none of whose structures the potential can treat.
    """
    frames, left_out = [], {}
    for number, atoms in enumerate(structures(path)):
        try:
            if isinstance(atoms, Skipped):
                raise DataError(f"{atoms.reason}.")
            calculator.calculate(atoms)
        except DataError as error:
            left_out[number] = str(error)
            continue
        keep_labels(atoms)
        results = {name: calculator.results[name] for name in RESULTS if name in calculator.results}
        # elsewhere the forces on held atoms would be zero
        atoms.set_constraint()
        # labels that the file had: they are not of this potential
        for labels in (atoms.info, atoms.arrays):
            for name in set(all_properties) & set(labels):
                del labels[name]
        atoms.calc = SinglePointCalculator(atoms, **results)
        if "energy_spread" in calculator.results:
            atoms.info["energy_spread"] = calculator.results["energy_spread"]
            atoms.set_array("forces_spread", calculator.results["forces_spread"])
        frames.append(atoms)
    if not frames:
        number, reason = next(iter(left_out.items()), (0, "it holds no structures."))
        where = f", frame {number}" if left_out else ""
        raise DataError(f"{path}{where}: {reason}")
    return frames, left_out


def relaxed(
    path: Path, calculator: PotentialCalculator, cell: bool, fmax: float, steps: int
) -> Iterator[ase.Atoms]:
    """Yield the structures of a file relaxed by a potential until no force (and with `cell` no
    derivative by the strain) is above `fmax`, eV/A; `info` says whether it was `relaxed` within so
    many `steps`. DataError for structures that the potential cannot treat."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    for number, atoms in enumerate(structures(path)):
        if isinstance(atoms, Skipped):
            raise DataError(f"{path}, frame {number}: {atoms.reason}.")
        if cell and not atoms.pbc.all():
            raise DataError(
                f"{path}, frame {number} is not periodic in all directions; leave --cell out."
            )
        keep_labels(atoms)
        atoms.calc = calculator
        moved: Any = FrechetCellFilter(atoms) if cell else atoms
        done = bool(BFGS(moved, logfile=None).run(fmax=fmax, steps=steps))
        results = {name: calculator.results[name] for name in RESULTS if name in calculator.results}
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["relaxed"] = done
        yield atoms


def write_structures(path: str | os.PathLike[str], frames: Sequence[ase.Atoms]) -> None:
    """Write structures as extended XYZ."""
    import ase.io

    with atomic_path(path) as temporary:
        ase.io.write(temporary, list(frames), format="extxyz")

"""What a potential says of the structures in a file, frame by frame."""

from __future__ import annotations

from pathlib import Path

import ase
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from gnnip.datasets.imports.batch import Skipped
from gnnip.datasets.imports.structures import structures
from gnnip.errors import DataError
from gnnip.models.calculator import PotentialCalculator

RESULTS = ("energy", "forces", "stress")


def predicted(
    path: Path, calculator: PotentialCalculator
) -> tuple[list[ase.Atoms], dict[int, str]]:
    """Return the structures of a file with energies (eV), forces (eV/A) and, of crystals, stress
    (eV/A^3) of a potential, and {frame: the reason} of those that it cannot treat.

    Forces are those of the potential, also on atoms that constraints hold. Raises DataError for a
    file that cannot be read, or none of whose structures the potential can treat.
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
        results = {name: calculator.results[name] for name in RESULTS if name in calculator.results}
        # elsewhere the forces on held atoms would be zero
        atoms.set_constraint()
        # labels that the file had: they are not of this potential
        for labels in (atoms.info, atoms.arrays):
            for name in set(all_properties) & set(labels):
                del labels[name]
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    if not frames:
        number, reason = next(iter(left_out.items()), (0, "it holds no structures."))
        where = f", frame {number}" if left_out else ""
        raise DataError(f"{path}{where}: {reason}")
    return frames, left_out

"""Potentials in LAMMPS, by `fix external`: LAMMPS moves the atoms, forces come from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from gnnip.errors import DataError


def drive(lammps: Any, fix: str, calculator: Calculator, elements: Mapping[int, str]) -> None:
    """Let a fix of LAMMPS (`fix NAME all external pf/callback 1 1`) take energies, forces and the
    virial of a calculator.

    Args:
        lammps: a running `lammps.lammps` in units metal, one process.
        fix: the name of the fix; `fix_modify NAME energy yes virial yes` lets LAMMPS count both.
        calculator: an ASE calculator, e.g. of `gnnip.load_calculator`.
        elements: symbol of each atom type.

    Raises:
        DataError: other units than metal.
    """
    units = lammps.extract_global("units")
    if units != "metal":
        raise DataError(f"LAMMPS has units {units}, and potentials need metal (eV, Angstrom, ps).")

    def callback(
        caller: Any, step: int, nlocal: int, tag: np.ndarray, x: np.ndarray, f: np.ndarray
    ) -> None:
        order = np.argsort(tag[:nlocal])
        types = caller.numpy.extract_atom("type")[:nlocal][order]
        low, high, xy, yz, xz, periodic, _ = caller.extract_box()
        edges = np.subtract(high, low)
        cell = [[edges[0], 0, 0], [xy, edges[1], 0], [xz, yz, edges[2]]]
        atoms = Atoms([elements[t] for t in types], x[:nlocal][order], cell=cell, pbc=periodic)
        atoms.calc = calculator
        f[:nlocal][order] = atoms.get_forces()
        caller.fix_external_set_energy_global(fix, atoms.get_potential_energy())
        if all(periodic):
            xx, yy, zz, yz_, xz_, xy_ = -atoms.get_volume() * atoms.get_stress()
            caller.fix_external_set_virial_global(fix, [xx, yy, zz, xy_, xz_, yz_])

    lammps.set_fix_external_callback(fix, callback, lammps)

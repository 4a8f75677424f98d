"""ASE calculators of the references of our own: the two terms of the water-anion energy, and the
charge equilibration of gold on MgO; eV, Angstrom, eV/Angstrom.

Lengths convert by ``ase.units.Bohr`` and energies by ``ase.units.Hartree``, as everywhere in the
package; the constants inside the terms are those of the published program.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from gnnip.errors import ConfigError, ConvergenceError, StructureError
from gnnip.reference import charge_equilibration
from gnnip.reference.electron import ElectronSolver, ElectronState
from gnnip.reference.spcf import check_water, energy_and_forces
from gnnip.units import BOHR, HARTREE, HARTREE_PER_BOHR


def _water_positions(atoms: Any) -> np.ndarray:
    """Positions (n, 3) in Bohr of an isolated water cluster; StructureError for others."""
    if np.any(atoms.pbc):
        raise StructureError(
            "the structure is periodic, but the water-anion model is for isolated clusters; "
            "set atoms.pbc = False"
        )
    positions = atoms.positions / BOHR
    check_water(positions, atoms.numbers)
    return positions


class SPCF(Calculator):
    """V_SPC/F of a water cluster, atoms in the order O H H O H H ...

    `results`: energy (eV), free_energy, forces (n, 3) (eV/Angstrom), energy_hartree.
    """

    implemented_properties: list[str] = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Compute everything; raises StructureError for anything but water clusters."""
        super().calculate(atoms, properties, system_changes)
        energy, forces = energy_and_forces(_water_positions(self.atoms))
        self.results = {
            "energy": energy * HARTREE,
            "free_energy": energy * HARTREE,
            "forces": forces * HARTREE_PER_BOHR,
            "energy_hartree": energy,
        }


class TuriBorgis(Calculator):
    """Ground state E_0 of the excess electron of a water cluster, atoms O H H O H H ...

    Add it to :class:`SPCF` (``ase.calculators.mixing.SumCalculator``) for the anion's energy.

    Parameters
    ----------
    accuracy_hartree : error of E_0 allowed (Hartree)
    gap : also solve for the first excited state

    `results`: energy (eV), free_energy, forces (n, 3) (eV/Angstrom), energy_hartree,
    gyration_radius (Angstrom), centre (3,) (Angstrom), gap_hartree (None unless asked for),
    converged.
    """

    implemented_properties: list[str] = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, accuracy_hartree: float = 1e-4, gap: bool = False, **kwargs: Any) -> None:
        """See the class."""
        super().__init__(**kwargs)
        self.solver = ElectronSolver(accuracy=accuracy_hartree)
        self.gap = bool(gap)
        self._last: tuple[np.ndarray, ElectronState] | None = None

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Compute everything.

        Raises
        ------
        StructureError
            Anything but an isolated water cluster.
        ConvergenceError
            The solver failed, or the cluster does not bind an electron.
        """
        super().calculate(atoms, properties, system_changes)
        positions = _water_positions(self.atoms)
        guess = self._guess(positions)
        # on one grid energies and forces of neighbouring geometries match to rounding
        state = self.solver.solve(
            positions, guess=guess, gap=self.gap, fixed_grid=guess is not None
        )
        if not state.bound:
            self._last = None
            raise ConvergenceError(
                f"{len(positions) // 3} water molecules in this geometry do not bind an electron "
                f"(lowest level {state.energy:+.2g} Hartree in the largest box); "
                "use a larger cluster or one relaxed with the electron"
            )
        assert state.forces is not None
        self._last = (positions, state)
        self.results = {
            "energy": state.energy * HARTREE,
            "free_energy": state.energy * HARTREE,
            "forces": state.forces * HARTREE_PER_BOHR,
            "energy_hartree": state.energy,
            "gyration_radius": state.gyration_radius * BOHR,
            "centre": state.centre * BOHR,
            "gap_hartree": state.gap,
            "converged": state.converged,
        }

    def _guess(self, positions: np.ndarray) -> ElectronState | None:
        # only after a small step: elsewhere another state may have become the lowest
        if self._last is None or self._last[0].shape != positions.shape:
            return None
        step = np.abs(positions - self._last[0]).max()
        return self._last[1] if step < 0.5 else None


class WaterAnion(Calculator):
    """V_SPC/F + E_0 of a water cluster anion, atoms O H H O H H ...

    It remembers the electron from call to call, as :class:`TuriBorgis` does: give every trajectory
    a calculator of its own.

    Parameters
    ----------
    accuracy_hartree : error of E_0 allowed (Hartree)

    `results`: energy (eV), free_energy, forces (n, 3) (eV/Angstrom), atomic_energy and
    electronic_energy (eV), and gyration_radius (Angstrom) of the electron.
    """

    implemented_properties: list[str] = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, accuracy_hartree: float = 1e-4) -> None:
        """See the class."""
        super().__init__()
        self.water, self.electron = SPCF(), TuriBorgis(accuracy_hartree)
        self.accuracy_hartree = accuracy_hartree

    def energy_from_scratch(self, atoms: Any) -> float:
        """Return the energy (eV) with no memory of earlier structures and no forces of the
        electron: what a single structure costs. `atoms` are water molecules, O H H ..."""
        positions = atoms.positions / BOHR
        water, _ = energy_and_forces(positions)
        electron = self.electron.solver.solve(positions, forces=False)
        return float((water + electron.energy) * HARTREE)

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Compute everything; raises as :class:`TuriBorgis` does."""
        super().calculate(atoms, properties, system_changes)
        for term in (self.water, self.electron):
            term.calculate(self.atoms)
        water, electron = self.water.results, self.electron.results
        energy = water["energy"] + electron["energy"]
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": water["forces"] + electron["forces"],
            "atomic_energy": water["energy"],
            "electronic_energy": electron["energy"],
            "gyration_radius": electron["gyration_radius"],
        }


class AuMgO(Calculator):
    """Stand-in for DFT of Au2 on MgO and on Al-doped MgO, periodic in three directions.

    Parameters
    ----------
    accuracy : neglected factor in the sum over reciprocal vectors

    `results`: energy (eV), free_energy, forces (n, 3) (eV/Angstrom), charges (n,) (e).
    """

    implemented_properties: list[str] = ["energy", "free_energy", "forces", "charges"]  # noqa: RUF012

    def __init__(self, accuracy: float = charge_equilibration.ACCURACY) -> None:
        """See the class; raises ConfigError for an accuracy that is not between 0 and 1."""
        super().__init__()
        if not 0 < accuracy < 1:
            raise ConfigError(f"The accuracy of AuMgO is {accuracy}; give one between 0 and 1.")
        self.accuracy = float(accuracy)
        self.model = charge_equilibration.shipped_parameters()

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Compute everything; raises StructureError for a structure that is not periodic in all
        directions, has other elements than O, Mg, Al and Au, or atoms at one place."""
        super().calculate(atoms, properties, system_changes)
        if not self.atoms.pbc.all():
            raise StructureError(
                "The structure is not periodic in all three directions; give the slab a cell with "
                "vacuum and set atoms.pbc = True."
            )
        found = charge_equilibration.evaluate(
            self.model,
            self.atoms.numbers,
            self.atoms.positions,
            np.array(self.atoms.cell),
            accuracy=self.accuracy,
        )
        self.results = {
            "energy": found.energy,
            "free_energy": found.energy,
            "forces": found.forces,
            "charges": found.charges,
        }

"""The ASE calculator of the engine `pyscf`; imports ASE and PySCF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import Calculator, all_changes
from pyscf import dft, gto

from gnnip.errors import ConvergenceError, StructureError
from gnnip.units import HARTREE, HARTREE_PER_BOHR

if TYPE_CHECKING:
    from gnnip.reference.pyscf import Pyscf


class PyscfCalculator(Calculator):
    """Kohn-Sham energies and forces of isolated molecules, every geometry from scratch.

    `results` also holds energy_hartree.
    """

    implemented_properties: list[str] = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, engine: Pyscf) -> None:
        """Keep the settings."""
        super().__init__()
        self.engine = engine
        self._solved: Any = None

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Compute what is asked for.

        Raises StructureError for a periodic structure and for electrons that do not fit the
        multiplicity, ConvergenceError when the field does not become self-consistent.
        """
        super().calculate(atoms, properties, system_changes)
        if system_changes or self._solved is None:
            self._solved = None
            self._solved = self._solve()
            energy = float(self._solved.e_tot)
            self.results = {
                "energy": energy * HARTREE,
                "free_energy": energy * HARTREE,
                "energy_hartree": energy,
            }
        if "forces" in properties and "forces" not in self.results:
            gradient = self._solved.nuc_grad_method()
            gradient.verbose = 0
            self.results["forces"] = -gradient.kernel() * HARTREE_PER_BOHR

    def _solve(self) -> Any:
        if self.atoms.pbc.any():
            raise StructureError(
                "The structure is periodic, but the engine 'pyscf' is for isolated molecules; "
                "set atoms.pbc = False or take 'cp2k'."
            )
        settings = self.engine
        electrons = int(self.atoms.numbers.sum()) - settings.charge
        if (electrons - settings.multiplicity + 1) % 2 or electrons < settings.multiplicity - 1:
            raise StructureError(
                f"{self.atoms.symbols} with charge {settings.charge} has {electrons} "
                f"electrons, which cannot have multiplicity {settings.multiplicity}; set "
                "charge or multiplicity."
            )
        molecule = gto.M(
            atom=list(zip(self.atoms.symbols, self.atoms.positions, strict=True)),
            unit="Angstrom",
            basis=settings.basis,
            cart=settings.cartesian,
            charge=settings.charge,
            spin=settings.multiplicity - 1,
            verbose=0,
        )
        field = (dft.RKS if settings.multiplicity == 1 else dft.UKS)(molecule)
        field.xc = settings.functional
        field.grids.level = settings.grid
        field.conv_tol = settings.convergence
        field.max_cycle = settings.max_iterations
        field.kernel()
        if not field.converged:
            raise ConvergenceError(
                f"the field is not self-consistent after {settings.max_iterations} iterations"
            )
        return field

"""Density functional theory of molecules by PySCF, with Gaussian basis functions.

The defaults are the level of the ANI-1 data set, wB97X/6-31G* with six Cartesian d functions
(J. S. Smith et al., Sci. Data 4, 170193 (2017)): energies of the same geometries agree to about
1e-5 Hartree. Spherical d functions (cartesian=false) are 5e-4 Hartree off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from gnnip.errors import ConfigError, ConvergenceError, StructureError
from gnnip.reference.engines import Engine, check_positive, one_thread, package_version
from gnnip.units import HARTREE, HARTREE_PER_BOHR


@dataclass(frozen=True)
class Pyscf(Engine):
    """PySCF.

    grid : 0 to 9, finer upwards.  convergence : of the energy, Hartree.  multiplicity above 1 is
    treated unrestricted.
    """

    name: ClassVar[str] = "pyscf"
    reference: ClassVar[str] = "dft"
    energy_tolerance: ClassVar[float] = 1e-6
    force_tolerance: ClassVar[float] = 1e-3

    functional: str = "wb97x"
    basis: str = "6-31g*"
    cartesian: bool = True
    grid: int = 3
    convergence: float = 1e-9
    max_iterations: int = 100
    charge: int = 0
    multiplicity: int = 1

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers that make no sense."""
        check_positive(self, "convergence", "max_iterations", "multiplicity")
        if not 0 <= self.grid <= 9:
            raise ConfigError(f"The engine 'pyscf' cannot use grid={self.grid}; give 0 to 9.")

    def version(self) -> str:
        """Return the version of PySCF."""
        return package_version("pyscf", self.name)

    def again(self) -> Pyscf:
        """Return the same, converged ten times further."""
        return replace(self, convergence=0.1 * self.convergence)

    def calculator(self) -> Any:
        """Return a calculator of energies and analytic forces, each computed when asked for."""
        self.version()
        one_thread()
        return _calculator_class()(self)


def _calculator_class() -> type:
    """Define the calculator where ASE and PySCF are sure to be there."""
    from ase.calculators.calculator import Calculator, all_changes
    from pyscf import dft, gto

    class PyscfCalculator(Calculator):
        """Kohn-Sham energies and forces of isolated molecules, every geometry from scratch.

        `results` also holds energy_hartree.
        """

        implemented_properties: list[str] = ["energy", "free_energy", "forces"]  # noqa: RUF012

        def __init__(self, engine: Pyscf) -> None:
            super().__init__()
            self.engine = engine
            self._solved: Any = None

        def calculate(
            self,
            atoms: Any = None,
            properties: Any = ("energy",),
            system_changes: Any = all_changes,
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

    return PyscfCalculator

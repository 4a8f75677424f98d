"""Density functional theory of molecules by PySCF, with Gaussian basis functions.

The defaults are the level of the ANI-1 data set, wB97X/6-31G* with six Cartesian d functions
(J. S. Smith et al., Sci. Data 4, 170193 (2017)): energies of the same geometries agree to about
1e-5 Hartree. Spherical d functions (cartesian=false) are 5e-4 Hartree off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from gnnip.errors import ConfigError
from gnnip.reference.engines import Engine, check_positive, one_thread, package_version


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
        """Raise ConfigError for a number out of its range."""
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
        from gnnip.reference.pyscf_calculator import PyscfCalculator

        return PyscfCalculator(self)

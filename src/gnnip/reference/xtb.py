"""GFN-xTB by tblite: fast, for molecules and for periodic cells at the Gamma point.

Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019) (GFN2); Grimme, Bannwarth,
Shushkov, J. Chem. Theory Comput. 13, 1989 (2017) (GFN1). docs/references.md says which of them is
right for which material.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from gnnip.errors import ConfigError, nearest
from gnnip.reference.engines import Engine, EngineError, check_positive, one_thread, package_version

METHODS = ("GFN1-xTB", "GFN2-xTB", "IPEA1-xTB")


@dataclass(frozen=True)
class Xtb(Engine):
    """tblite.

    accuracy : of the self-consistent charges, lower is finer; 10 moves forces by about 1e-4
    eV/Angstrom in solids and 2e-3 in ionic liquids.  temperature : of the electrons, kelvin.
    """

    name: ClassVar[str] = "xtb"
    reference: ClassVar[str] = "xtb"
    force_tolerance: ClassVar[float] = 2e-3

    method: str = "GFN2-xTB"
    charge: int = 0
    multiplicity: int = 1
    accuracy: float = 1.0
    temperature: float = 300.0
    max_iterations: int = 250

    def __post_init__(self) -> None:
        """Raise ConfigError for an unknown method or a number out of its range."""
        if self.method not in METHODS:
            raise ConfigError(
                f"The engine 'xtb' has no method '{self.method}'{nearest(self.method, METHODS)}."
            )
        check_positive(self, "multiplicity", "accuracy", "temperature", "max_iterations")

    def version(self) -> str:
        """Return the version of tblite."""
        return package_version("tblite", self.name)

    def again(self) -> Xtb:
        """Return the same with charges ten times more accurate."""
        return replace(self, accuracy=0.1 * self.accuracy)

    def calculator(self) -> Any:
        """Return tblite's calculator, silent; it starts from the last charges when used again.

        Raises EngineError when it is not installed or cannot be loaded.
        """
        self.version()
        one_thread()
        try:
            from tblite.ase import TBLite
        except ImportError as error:
            raise EngineError(
                f"tblite is installed but cannot be loaded ({error}); install the OpenMP library "
                "of the system ('apt-get install libgomp1')."
            ) from error

        return TBLite(
            method=self.method,
            charge=self.charge,
            multiplicity=self.multiplicity,
            accuracy=self.accuracy,
            electronic_temperature=self.temperature,
            max_iterations=self.max_iterations,
            cache_api=True,
            verbosity=0,
        )

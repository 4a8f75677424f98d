"""What labels a structure: V_SPC/F and the excess electron of water cluster anions, point charges,
and electronic-structure programs (`engines`).

``SPCF()`` and ``TuriBorgis()`` are ASE calculators (eV, eV/Angstrom); the modules below them work
in atomic units, except `coulomb` (eV, Angstrom). Nothing heavy is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["SPCF", "TuriBorgis"]


def __getattr__(name: str) -> Any:
    # ASE and the compiled kernels load only when a calculator is asked for
    if name in __all__:
        return getattr(import_module("gnnip.reference.calculators"), name)
    raise AttributeError(f"module 'gnnip.reference' has no attribute '{name}'")

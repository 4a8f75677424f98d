"""What labels a structure: V_SPC/F and the excess electron of water cluster anions, point charges,
the charge equilibration of gold on MgO, and electronic-structure programs (`engines`).

``SPCF()``, ``TuriBorgis()``, their sum ``WaterAnion()`` and ``AuMgO()`` are ASE calculators (eV,
eV/Angstrom); the modules below them work in atomic units, except `coulomb` and
`charge_equilibration` (eV, Angstrom). Nothing heavy is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gnnip.errors import ConfigError, nearest

__all__ = ["SPCF", "AuMgO", "TuriBorgis", "WaterAnion"]

#: name in cards -> (module, class) of a reference that can drive dynamics
_CALCULATORS = {
    "water_anion": ("gnnip.reference.calculators", "WaterAnion"),
    "au_mgo": ("gnnip.reference.calculators", "AuMgO"),
}


def __getattr__(name: str) -> Any:
    # ASE and the compiled kernels load only when a calculator is asked for
    if name in __all__:
        return getattr(import_module("gnnip.reference.calculators"), name)
    raise AttributeError(f"module 'gnnip.reference' has no attribute '{name}'")


def calculator_module(text: str) -> str:
    """Return the library module behind a reference such as `water_anion`, to hash its code."""
    if _is_engine(text):
        from gnnip.reference.engines import engine_module

        return engine_module(text)
    return _find(text)[0]


def make_calculator(text: str) -> Any:
    """Return a new ASE calculator for a text such as `water_anion accuracy_hartree=1e-3`, or that
    of an engine, `xtb method=GFN1-xTB` (see `gnnip.reference.engines`).

    Raises ConfigError for an unknown name or a wrong setting, EngineError for an engine that is
    not installed.
    """
    if _is_engine(text):
        from gnnip.reference.engines import make_engine

        return make_engine(text).calculator()
    module, cls = _find(text)
    settings = {}
    for word in text.split()[1:]:
        key, _, value = word.partition("=")
        try:
            settings[key] = float(value)
        except ValueError:
            raise ConfigError(
                f"'{word}' in the reference '{text}' is not a setting; write key=number."
            ) from None
    try:
        return getattr(import_module(module), cls)(**settings)
    except TypeError as error:
        raise ConfigError(f"The reference '{text}' has a wrong setting: {error}.") from None


def origin(text: str) -> dict[str, str]:
    """Return what computes a reference such as `make_calculator` takes: for an engine its settings
    in full and its version.
    """
    if not _is_engine(text):
        return {}
    from gnnip.reference.engines import make_engine

    return make_engine(text).provenance()


def _name(text: str) -> str:
    return text.split()[0] if text.strip() else ""


def _is_engine(text: str) -> bool:
    from gnnip.reference.engines import names

    return _name(text).partition(":")[0] in names()


def _find(text: str) -> tuple[str, str]:
    from gnnip.reference.engines import names

    name = _name(text)
    if name not in _CALCULATORS:
        known = [*_CALCULATORS, *names()]
        raise ConfigError(f"There is no reference '{name}'{nearest(name, known)}")
    return _CALCULATORS[name]

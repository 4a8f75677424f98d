"""Potentials by name: those of the library, and `package.module:Class` for a user's own."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gnnip.errors import ConfigError, nearest
from gnnip.models.contract import Potential
from gnnip.models.hyperparameters import read_options, refuse_too_large
from gnnip.models.listing import POTENTIALS


def names() -> list[str]:
    """Return the names of the potentials of the library."""
    return sorted(POTENTIALS)


def architecture(name: str) -> type[Potential]:
    """Return the class of a potential, imported when it is first asked for.

    Raises ConfigError for an unknown name, a module that cannot be imported, and a class that the
    module lacks or that is not a potential.
    """
    if name not in POTENTIALS and ":" not in name:
        raise ConfigError(f"There is no potential '{name}'{nearest(name, names())}")
    module, cls = POTENTIALS.get(name) or name.split(":", 1)
    try:
        found = getattr(import_module(module), cls, None)
    except (ImportError, ValueError, TypeError) as error:
        raise ConfigError(
            f"The module of the potential '{name}' cannot be imported ({error}); install it or add "
            "its folder to PYTHONPATH."
        ) from error
    if found is None:
        raise ConfigError(f"The module {module} has no class '{cls}'.")
    if not (isinstance(found, type) and issubclass(found, Potential)):
        raise ConfigError(
            f"The potential '{name}' is not a class derived from gnnip.models.Potential."
        )
    return found


def build(name: str, **hyperparameters: Any) -> Potential:
    """Return an untrained potential, by its name in the library or as `package.module:Class`.

    Raises ConfigError as `architecture` does, for an unknown hyper-parameter (naming the nearest)
    and for a value that the potential does not accept.
    """
    cls, what = architecture(name), f"The potential '{name}'"
    options = read_options(cls.Hyperparameters, hyperparameters, what)
    refuse_too_large(vars(options), what)
    return cls(options)

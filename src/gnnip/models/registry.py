"""Potentials by name: those of the library, and `package.module:Class` for a user's own."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from gnnip.errors import ConfigError, nearest
from gnnip.machine import memory_bytes
from gnnip.models.contract import Potential
from gnnip.models.hyperparameters import read_options, refuse_too_large
from gnnip.models.listing import POTENTIALS

#: a size from which on the weights are counted before they are made
_LARGE = 1000


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
    options: Any = read_options(cls.Hyperparameters, hyperparameters, what)
    refuse_too_large(vars(options), what)
    _refuse_too_heavy(cls, options, what)
    return cls(options)


def _refuse_too_heavy(cls: type[Potential], options: Any, what: str) -> None:
    """Raise ConfigError for more weights than this machine can train: each needs its gradient and
    two memories of the optimiser beside it."""
    sizes = [v for value in vars(options).values() for v in _as_tuple(value)]
    if max((v for v in sizes if isinstance(v, int)), default=0) < _LARGE:
        return
    try:
        with torch.device("meta"):  # counted without any memory
            count = sum(weights.numel() for weights in cls(options).parameters())
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return  # what needs numbers while it is built is built, or refuses its options
    if 16 * count > memory_bytes():
        raise ConfigError(
            f"{what} would have {count} weights, and this machine has memory to train "
            f"{memory_bytes() // 16} at most; lower its sizes."
        )


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)

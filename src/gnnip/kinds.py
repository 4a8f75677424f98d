"""Kinds of measurements, artefacts and claims: registered classes whose fields are their options.

A kind is a frozen dataclass. Its fields are what a card may write under `options`, checked in a
dry run, and its class variables say where the work is done, so that nothing heavy is imported
before a job runs. A card names a kind of ours by its short name and one of the user's own as
``package.module:Class``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

from gnnip.errors import ConfigError, nearest
from gnnip.models.hyperparameters import read_options


@dataclass(frozen=True)
class Kind:
    """Base of all kinds."""

    #: package.module:function that does the work
    function: ClassVar[str]

    def check(self) -> None:
        """Raise ConfigError for options that do not fit together."""

    @classmethod
    def modules(cls) -> list[str]:
        """Return the modules behind the kind, whose code decides its results; those that only list
        kinds do not count."""
        return [cls.function.partition(":")[0], cls.__module__]


def read(
    name: str, listing: Mapping[str, type[Kind]], what: str, options: Mapping[str, Any], where: str
) -> Any:
    """Return a kind of `listing`, or the user's own class, filled with the options of a card and
    checked; ConfigError for an unknown kind or option."""
    if ":" not in name and name not in listing:
        raise ConfigError(f"there is no {what} '{name}'{nearest(name, listing)}")
    kind = _imported(name, what) if ":" in name else listing[name]
    filled = read_options(kind, options, where)
    try:
        filled.check()
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return filled


def work(target: str) -> Any:
    """Return the function `package.module:function`."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _imported(text: str, what: str) -> type[Kind]:
    """Return the kind `package.module:Class`; ConfigError for anything else."""
    module, _, name = text.partition(":")
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        raise ConfigError(f"the {what} '{text}' cannot be imported: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Kind)):
        raise ConfigError(f"the {what} '{text}' is no class of {__name__}.Kind")
    return found

"""Potentials behind one contract: build, evaluate, save and load."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnnip.models.contract import Potential, evaluate, predict
    from gnnip.models.files import load, save
    from gnnip.models.registry import build, names

__all__ = ["Potential", "build", "evaluate", "load", "names", "predict", "save"]
_PLACES = {"build": "registry", "names": "registry", "load": "files", "save": "files"}


def __getattr__(name: str) -> Any:
    # torch loads only when a potential is asked for
    if name in __all__:
        return getattr(import_module(f"gnnip.models.{_PLACES.get(name, 'contract')}"), name)
    raise AttributeError(f"module 'gnnip.models' has no attribute '{name}'")

"""gnnip: five papers on graph neural network interatomic potentials, reproduced and judged."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_calculator"]


def __getattr__(name: str) -> Any:
    # heavy imports (torch) only when asked for: figures and the command line work without them
    if name == "load_calculator":
        return import_module("gnnip.own.shipped").load_calculator
    raise AttributeError(f"module 'gnnip' has no attribute '{name}'")

"""gnnip: five papers on graph neural network interatomic potentials, reproduced and judged."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gnnip.threads import sleep_while_waiting

__version__ = "0.1.0"
__all__ = ["__version__", "load_calculator"]

sleep_while_waiting()  # before torch is loaded, which may happen in any module


def __getattr__(name: str) -> Any:
    # heavy imports (torch) only when asked for: figures and the command line work without them
    if name == "load_calculator":
        return import_module("gnnip.models.calculator").load_calculator
    raise AttributeError(f"module 'gnnip' has no attribute '{name}'")

"""One trainer for every potential of every card."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gnnip.training.settings import Settings

__all__ = ["Settings", "train"]


def __getattr__(name: str) -> Any:
    # the trainer imports torch, the settings do not
    if name == "train":
        return import_module("gnnip.training.trainer").train
    raise AttributeError(f"module 'gnnip.training' has no attribute '{name}'")

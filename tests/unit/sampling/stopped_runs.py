"""Runs that are stopped before each of their intervals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def run_in_pieces(
    module: ModuleType, step: str, run: Callable[[], Path], most: int
) -> tuple[Path, int]:
    """Let each `run` do a single interval, of which `step` of `module` does one, until it ends.

    Returns what the last run returned, and how many were stopped before; fails after `most`.
    """
    real = getattr(module, step)
    for stops in range(most):
        budget = iter([1])

        def once(*arguments, budget=budget):
            if next(budget, None) is None:
                raise KeyboardInterrupt
            return real(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, step, once)
            try:
                return run(), stops
            except KeyboardInterrupt:
                continue
    raise AssertionError(f"the run did not end in {most} pieces")

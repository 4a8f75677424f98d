"""The first steps of a training once more, which tell whether other code trains alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnnip.training.loop import FIRST_STEPS, Loop
from gnnip.training.problem import Problem, set_up
from gnnip.training.progress import Progress
from gnnip.training.ranks import Ranks
from gnnip.training.run import read_frames
from gnnip.training.trainer import prepare_torch, seeded

#: relative difference of two losses that only rounding explains
TOLERANCE = 1e-6


class _FirstSteps(Loop):
    """A training that ends after the steps whose losses are kept, and leaves no file."""

    def time_is_up(self) -> bool:
        return len(self.run.first_losses) >= FIRST_STEPS

    def restore(self) -> bool:
        return False

    def checkpoint(self) -> None:
        pass

    def judge_unfinished(self, bar: Progress) -> str:
        return "replayed"


def replay(training: Mapping[str, Any]) -> list[float]:
    """Return `first_losses` of summary.json anew, for an entry of a spec of `gnnip.training.run`.

    Raises what `gnnip.training.train` raises; frames and graphs are kept for the next entry.
    """
    arrays, split, settings, stores = read_frames(training)
    problem, ranks = Problem.read(arrays, training["term"], split, settings), Ranks()
    model = seeded(training["model"], training["hyperparameters"], settings)
    device, dtype = prepare_torch(model, settings, ranks)
    task = set_up(problem, model, device, dtype, stores)
    loop = _FirstSteps(problem, task, settings, Path(), "", ranks)
    bar = Progress(settings.epochs, 0, _silent)
    try:
        loop.train(bar)
    finally:
        bar.close()
    return loop.run.first_losses


def _silent(line: str) -> None:
    pass


def difference(recorded: Sequence[float], again: Sequence[float]) -> float:
    """Return the largest relative difference of two series of losses, infinite for other lengths
    and for a loss that only one of them has."""
    if len(recorded) != len(again):
        return math.inf
    return max(map(_relative, recorded, again), default=0.0)


def _relative(one: float, other: float) -> float:
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    found = abs(one - other) / max(abs(one), abs(other))
    return found if math.isfinite(found) else math.inf

"""Learning rate as a function of the epoch and of the validation loss."""

from __future__ import annotations

import math
from typing import Any

from gnnip.training.settings import Settings


class Schedule:
    """The factor rules of `Settings.scheduler`; its whole state is three numbers."""

    def __init__(self, settings: Settings) -> None:
        """Start at the first epoch."""
        self._settings = settings
        self.factor = 1.0
        self.best = math.inf
        self.waited = 0

    def rate(self, epoch: float) -> float:
        """Return the learning rate at `epoch` (0 at the start, fractions within an epoch)."""
        s = self._settings
        rate = s.learning_rate
        if s.scheduler == "cosine":
            done = max(epoch - s.warmup_epochs, 0.0) / max(s.epochs - s.warmup_epochs, 1)
            low = s.min_learning_rate
            rate = low + (rate - low) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
        elif s.scheduler == "exponential":
            rate = max(rate * s.decay**epoch, s.min_learning_rate)
        elif s.scheduler == "plateau":
            rate = max(rate * self.factor, s.min_learning_rate)
        if epoch < s.warmup_epochs:
            rate *= epoch / s.warmup_epochs
        return rate

    def observe(self, validation_loss: float) -> None:
        """Take note of the validation loss of an epoch."""
        if validation_loss < self.best:
            self.best, self.waited = validation_loss, 0
            return
        self.waited += 1
        if self._settings.scheduler == "plateau" and self.waited > self._settings.plateau_patience:
            self.factor *= self._settings.plateau_factor
            self.waited = 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.factor, self.best, self.waited = state["factor"], state["best"], state["waited"]

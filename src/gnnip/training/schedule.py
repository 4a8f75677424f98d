"""Learning rate as a function of the epoch and of the validation loss."""

from __future__ import annotations

import math
from typing import Any

from gnnip.training.settings import Settings
from gnnip.training.soundness import ENDED


class Schedule:
    """A constant rate after a linear warm-up; a subclass defines the one without, `_full_rate`."""

    def __init__(self, settings: Settings) -> None:
        """Start at the first epoch."""
        self.settings = settings

    @property
    def changes_within_epochs(self) -> bool:
        """Whether the rate of a step is that of its fraction of an epoch, or of the whole one."""
        return self.settings.warmup_epochs > 0

    @property
    def ends_at_zero(self) -> bool:
        """Whether the last epochs hardly move, so that their errors are flat in any case."""
        highest = self.settings.learning_rate
        return self.rate(self.settings.epochs) <= ENDED * highest

    def rate(self, epoch: float) -> float:
        """Return the learning rate at `epoch` (0 at the start, fractions within an epoch)."""
        rate, warmup = self._full_rate(epoch), self.settings.warmup_epochs
        return rate * (epoch / warmup) if epoch < warmup else rate

    def _full_rate(self, epoch: float) -> float:
        return self.settings.learning_rate

    def observe(self, validation_loss: float) -> None:
        """Take note of the validation loss of an epoch."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {name: value for name, value in vars(self).items() if name != "settings"}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        vars(self).update(state)


class Cosine(Schedule):
    """Half a cosine, from the end of the warm-up to `min_learning_rate` at the last epoch."""

    def _full_rate(self, epoch: float) -> float:
        s = self.settings
        done = max(epoch - s.warmup_epochs, 0.0) / max(s.epochs - s.warmup_epochs, 1)
        low = s.min_learning_rate
        return low + (s.learning_rate - low) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


class Exponential(Schedule):
    """Times `decay` each epoch, not below `min_learning_rate`."""

    def _full_rate(self, epoch: float) -> float:
        s = self.settings
        return max(s.learning_rate * s.decay**epoch, s.min_learning_rate)


class Plateau(Schedule):
    """Times `plateau_factor` after `plateau_patience` epochs without a better validation loss."""

    def __init__(self, settings: Settings) -> None:
        """Start at the first epoch."""
        super().__init__(settings)
        self.factor, self.best, self.waited = 1.0, math.inf, 0

    def _full_rate(self, epoch: float) -> float:
        return max(self.settings.learning_rate * self.factor, self.settings.min_learning_rate)

    def observe(self, validation_loss: float) -> None:
        """Take note of the validation loss of an epoch."""
        self.waited = 0 if validation_loss < self.best else self.waited + 1
        self.best = min(self.best, validation_loss)
        if self.waited > self.settings.plateau_patience:
            self.factor *= self.settings.plateau_factor
            self.waited = 0


class Step(Schedule):
    """`min_learning_rate` after the first `step_epochs` epochs."""

    def _full_rate(self, epoch: float) -> float:
        s = self.settings
        return s.learning_rate if epoch < s.step_epochs else s.min_learning_rate


class OneCycle(Schedule):
    """Up to the learning rate over 45 % of a cycle, down to where it began at 90 %, and from there
    to `min_learning_rate`, all linear. A cycle is the whole training, or `cycle_epochs`.
    """

    @property
    def changes_within_epochs(self) -> bool:
        """Always."""
        return True

    @property
    def ends_at_zero(self) -> bool:
        """Not where cycles end all along."""
        return self.settings.cycle_epochs is None and super().ends_at_zero

    def _full_rate(self, epoch: float) -> float:
        s = self.settings
        cycle = s.cycle_epochs or s.epochs
        # the end of a cycle belongs to it, not to the next
        done = epoch / cycle - max(math.ceil(epoch / cycle) - 1, 0)
        high = s.learning_rate
        low = high * s.cycle_start
        if done <= 0.9:
            return high + (low - high) * abs(done - 0.45) / 0.45
        return low + (s.min_learning_rate - low) * (done - 0.9) / 0.1


#: `Settings.scheduler` -> class
SCHEDULES: dict[str | None, type[Schedule]] = {
    None: Schedule,
    "cosine": Cosine,
    "exponential": Exponential,
    "one_cycle": OneCycle,
    "plateau": Plateau,
    "step": Step,
}

"""What cho2023 measures and tabulates that no kind does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gnnip.artefacts.kinds import LearningCurve
from gnnip.errors import ConfigError
from gnnip.measurements.kinds import MeasurementKind

LISTING = True  # names and options only


@dataclass(frozen=True)
class TrainingSpeed(MeasurementKind):
    """Seconds of an epoch against the graphs a step, and of fits in closed form, in turns.

    batch_sizes : graphs a step.  devices : cpu, and cuda where there is one.
    frames : that are trained on, the first of the data set.  epochs, repeats : of each, and turns.
    """

    function: ClassVar[str] = "cho2023.measurements:measure_training_speed"
    clock: ClassVar[bool] = True

    batch_sizes: tuple[int, ...] = (1, 8, 25, 200)
    devices: tuple[str, ...] = ("cpu",)
    frames: int = 200
    epochs: int = 3
    repeats: int = 3

    def check(self) -> None:
        """Raise ConfigError for numbers that leave nothing to time."""
        if min(self.frames, self.epochs, self.repeats, *self.batch_sizes) < 1:
            raise ConfigError("frames, epochs, repeats and batch_sizes must be at least 1")


@dataclass(frozen=True, kw_only=True)
class LongLearningCurve(LearningCurve):
    """Learning curves of tens of thousands of epochs, of which a thousand medians are kept."""

    function: ClassVar[str] = "cho2023.curves:thinned_curve"

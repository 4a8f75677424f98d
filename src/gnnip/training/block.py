"""The block `settings:` of a card: the settings of a training that belong to a paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnnip.strict import Strict, model_of
from gnnip.training.settings import NOT_IN_CARDS, Settings

if TYPE_CHECKING:
    TrainingSettings = Strict  # a class that is made while running is no type for a checker
else:
    TrainingSettings = model_of(Settings, leave_out=NOT_IN_CARDS, name="TrainingSettings")

"""Whether a training may judge a paper: not when it has collapsed, was lucky or is not flat.

The validation error of an epoch is its validation loss, which the best epoch is chosen by; of a
loss of squares the root.

- collapsed: the best epoch's error is above 0.95 of the best null model's on the same frames, or
  more than half of the units of a layer are silent on all validation frames;
- lucky: the lowest error was a single epoch's, below 0.8 of the median of the five epochs before
  and the five after it; such an epoch is not kept;
- flat: the median error of the last tenth of the epochs is within 2 % of that of the tenth before.
  Under a schedule that ends at zero that says nothing: there, doubling the epochs has to gain less
  than 5 %, which only a training with half the epochs can show.

The standard library only: verdicts read this without torch.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

COLLAPSED, SILENT = 0.95, 0.5
LUCKY, NEIGHBOURS, FEWEST_NEIGHBOURS = 0.8, 5, 5
FLAT, DOUBLED = 0.02, 0.05
#: a schedule whose last rate is below this share of its highest ends at zero
ENDED = 0.01
#: epochs of a tenth that a median can be taken over
_FEWEST_EPOCHS = 20


def validation_error(loss: float, kind: str) -> float:
    """Return the error that a validation loss of a kind of `Settings.loss` stands for.

    A Huber loss counts as one of squares, which it is where errors are small.
    """
    return loss if kind == "mae" else math.sqrt(loss)


def is_luck(errors: Sequence[float], epoch: int) -> bool:
    """Tell whether the error of `epoch` (the first is 1) is far below those around it."""
    place = epoch - 1
    around = [*errors[max(0, place - NEIGHBOURS) : place], *errors[epoch : epoch + NEIGHBOURS]]
    return len(around) >= FEWEST_NEIGHBOURS and errors[place] < LUCKY * statistics.median(around)


def late_change(errors: Sequence[float]) -> float | None:
    """Return by which share the error fell from the last but one tenth of the epochs to the last
    (negative where it rose); None for fewer than 20 epochs."""
    tenth = len(errors) // 10
    if len(errors) < _FEWEST_EPOCHS:
        return None
    before, last = (
        statistics.median(part) for part in (errors[-2 * tenth : -tenth], errors[-tenth:])
    )
    return 1.0 - last / before if before > 0.0 else 0.0


def faults(summary: Mapping[str, Any]) -> list[str]:
    """Return why a training may not judge, one part of a sentence each; empty when it may.

    `summary` is that of the training. Whether a training under a schedule that ends at zero is flat
    is left to :func:`unflat`.
    """
    if "share_of_null" not in summary:
        return ["not recorded: nothing tells its validation errors"]
    found = []
    share, silent = summary["share_of_null"], summary["silent_share"]
    if share is not None and not share <= COLLAPSED:
        found.append(f"collapsed: its error is {share:.2f} of that of {summary['null_model']}")
    if silent > SILENT:
        found.append(f"collapsed: {100 * silent:.0f} % of the units of a layer are silent")
    if summary.get("lucky_epoch"):
        found.append(f"lucky: its lowest error was the luck of epoch {summary['lucky_epoch']}")
    if summary["stopped"] not in ("epochs", "fit"):
        found.append(f"unfinished: stopped by {summary['stopped']}")
    elif summary["stopped"] == "epochs" and not summary["ends_at_zero"]:
        change = summary["late_change"]
        if change is None:
            found.append(f"not flat: {summary['epochs_run']} epochs are too few to tell")
        elif abs(change) > FLAT:
            way = "falls" if change > 0 else "rises"
            found.append(f"not flat: its error still {way} by {100 * abs(change):.0f} %")
    return found


def unflat(error: float, half: float | None) -> str:
    """Return why a training under a schedule that ends at zero is not flat, empty when it is.

    `error` is its lowest validation error, `half` that of the same with half the epochs.
    """
    if half is None:
        return "nobody knows whether it is flat: none with half the epochs stands beside it"
    gain = 1.0 - error / half if half > 0.0 else 0.0
    return f"not flat: doubling the epochs gained {100 * gain:.0f} %" if gain >= DOUBLED else ""


def kind(fault: str) -> str:
    """Return which kind of fault it is: the words before the colon."""
    return fault.split(":")[0]

"""Whether a training may judge a paper: not when it has collapsed, was lucky or is not flat.

The validation error of an epoch is the mean absolute error of the energy; where forces are trained
on the root mean square error of their components, and where both are the geometric mean of the two.

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
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COLLAPSED, SILENT = 0.95, 0.5
LUCKY, NEIGHBOURS, FEWEST_NEIGHBOURS = 0.8, 5, 5
FLAT, DOUBLED = 0.02, 0.05
#: a schedule whose last rate is below this share of its highest ends at zero
ENDED = 0.01
#: epochs of a tenth that a median can be taken over
_FEWEST_EPOCHS = 20

_ENERGY, _FORCES = "validation_mae_ev", "validation_force_rmse_ev_per_a"


def validation_error(row: Mapping[str, float], energies: bool = True) -> float:
    """Return the error of an epoch from its row of the history; `energies` are trained on or not.

    Only quotients of it mean something where forces are trained on.
    """
    parts = [float(row[_ENERGY])] if energies or _FORCES not in row else []
    parts += [float(row[_FORCES])] if _FORCES in row else []
    return math.prod(parts) ** (1.0 / len(parts))


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
        return ["there is no record of its validation errors"]
    found = []
    share, silent = summary["share_of_null"], summary["silent_share"]
    if share is not None and not share <= COLLAPSED:
        found.append(f"collapsed: its error is {share:.2f} of that of {summary['null_model']}")
    if silent > SILENT:
        found.append(f"collapsed: {100 * silent:.0f} % of the units of a layer are silent")
    if summary.get("lucky_epoch"):
        found.append(f"its lowest error was the luck of epoch {summary['lucky_epoch']}")
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


def unflat(error: float, half: Iterable[float]) -> str:
    """Return why a training under a schedule that ends at zero is not flat, empty when it is.

    `error` is its lowest validation error, `half` those of the same trainings with half the epochs.
    """
    gains = [1.0 - error / other if other > 0.0 else 0.0 for other in half]
    if not gains:
        return "nobody knows whether it is flat: none with half the epochs stands beside it"
    gain = max(gains)
    return f"not flat: doubling the epochs gained {100 * gain:.0f} %" if gain >= DOUBLED else ""

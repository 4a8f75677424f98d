"""Training and validation error against the epoch, and when it has come to rest."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gnnip.artefacts.energy_scores import scored
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import LearningCurve
from gnnip.artefacts.measures import BASELINE, UNITS, columns
from gnnip.artefacts.tables import Result, metric_row, metric_table


def learning_curve(inputs: Inputs, how: LearningCurve) -> Result:
    """Return the errors of every epoch of the trainings, and when each has come to rest.

    Tidy: the keys of the matrix, target, seed, epoch, the mean absolute error of the energy on the
    train_ and the validation_ frames (mae_ha), and that of the baseline on the test frames
    (ensemble_mean_mae_ha).
    """
    column = columns(how.unit)["mae"][0]
    parts, rows = [], []
    for group in inputs.groups():
        scores, _ = scored(inputs, group, how)
        history = inputs.histories(group)
        if "target" not in history:
            history["target"] = inputs.group(group)["target"]
        keys = [c for c in scores if c in history]
        for part in ("train", "validation"):
            history[f"{part}_{column}"] = history[f"{part}_mae_ev"] / UNITS[how.unit]
        told = [*keys, "epoch", f"train_{column}", f"validation_{column}"]
        base = scores.loc[scores["predictor"] == BASELINE, [*keys, column]]
        base = base.rename(columns={column: f"{BASELINE}_{column}"})
        tidy = history[told].merge(base, on=keys)
        variant = inputs.variant(group)
        for _, run in tidy.groupby(keys, sort=False):
            name = how.quantity.format_map(run.iloc[0].to_dict() | {"group": group})
            first, gain, length = plateau(run["epoch"], run[f"validation_{column}"])
            lowest = run[f"validation_{column}"].min() / run[f"{BASELINE}_{column}"].iloc[0]
            # who has nothing to learn is at rest from the first epoch on
            for short, sign, value, trivial in (
                ("converged_epoch", "", first, 1),
                ("late_gain", "%", gain, 0),
                ("epochs", "", length, length),
                ("share_of_baseline", "", lowest, 1),
            ):
                about = {"seed": run["seed"].iloc[0], "variant": variant, "baseline": trivial}
                rows.append(metric_row(inputs, f"{name}_{short}", sign, value, **about))
        parts.append(tidy if len(inputs.groups()) == 1 else tidy.assign(group=group))
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def plateau(epochs: pd.Series, errors: pd.Series) -> tuple[int, float, int]:
    """Return (first epoch within 10 % of the end, gain in % after two thirds, epochs).

    Levels are medians over the last fifteenth of the run: single epochs jump.
    """
    order = np.argsort(epochs.to_numpy())
    level = errors.iloc[order].rolling(max(1, len(order) // 15), min_periods=1).median().to_numpy()
    first = int(epochs.to_numpy()[order][int(np.argmax(level <= 1.1 * level[-1]))])
    two_thirds = level[max(0, round(len(level) * 2 / 3) - 1)]
    return first, float(100.0 * (1.0 - level[-1] / two_thirds)), len(level)

"""Training and validation error against the epoch, and when it has come to rest."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gnnip.artefacts.energy_scores import scored
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import LearningCurve
from gnnip.artefacts.measures import BASELINE, UNITS, columns
from gnnip.artefacts.tables import Result, metric_row, metric_table
from gnnip.errors import DataError


def learning_curve(inputs: Inputs, how: LearningCurve) -> Result:
    """Return the errors of every epoch of the trainings, and when each has come to rest.

    Tidy: the group where there are several, the keys of the matrix, target, seed, epoch, the error
    of the energy on the train_ and the validation_ frames (mae_ha), and that of the baseline on the
    test frames (ensemble_mean_mae_ha). DataError for mean squares of trainings that minimise
    something else.
    """
    column, unit = columns(how.unit)[how.measure]
    parts, rows = [], []
    for group in inputs.groups():
        scores, _ = scored(inputs, group, how)
        history = inputs.histories(group)
        if "target" not in history:
            history["target"] = inputs.group(group)["target"]
        keys = [c for c in scores if c in history]
        if how.measure == "mse":
            _require_squares(inputs, group)
        for part in ("train", "validation"):
            errors = history[f"{part}_{'loss' if how.measure == 'mse' else 'mae_ev'}"]
            history[f"{part}_{column}"] = errors / UNITS[how.unit]
        shown = [*keys, "epoch", f"train_{column}", f"validation_{column}"]
        base = scores.loc[scores["predictor"] == BASELINE, [*keys, "training", column]]
        base = base.rename(columns={column: f"{BASELINE}_{column}"})
        tidy = history[shown].merge(base, on=keys)
        variant = inputs.variant(group)
        for _, run in tidy.groupby(keys, sort=False):
            name = how.quantity.format_map(run.iloc[0].to_dict() | {"group": group})
            first, gain, length, end = plateau(run["epoch"], run[f"validation_{column}"])
            lowest = run[f"validation_{column}"].min() / run[f"{BASELINE}_{column}"].iloc[0]
            # who has nothing to learn is at rest from the first epoch on
            facts = [
                ("converged_epoch", "", first, 1),
                ("late_gain", "%", gain, 0),
                ("epochs", "", length, length),
                ("share_of_baseline", "", lowest, 1),
            ]
            if how.measure == "mse":
                facts.append(("final_mse", unit, end, run[f"{BASELINE}_{column}"].iloc[0]))
            for short, sign, value, trivial in facts:
                about = {"seed": run["seed"].iloc[0], "variant": variant, "baseline": trivial}
                about["training"] = run["training"].iloc[0]
                rows.append(metric_row(inputs, f"{name}_{short}", sign, value, **about))
        tidy = tidy.drop(columns="training")
        parts.append(tidy if len(inputs.groups()) == 1 else tidy.assign(group=group))
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def _require_squares(inputs: Inputs, group: str) -> None:
    settings = inputs.group(group)["settings"]
    weights = {k: settings.get(k) for k in ("force_weight", "stress_weight", "per_atom")}
    if settings.get("loss") != "mse" or settings.get("energy_weight") != 1 or any(weights.values()):
        raise DataError(
            f"{inputs.artefact}: the loss of '{group}' is not the mean square error of its total "
            "energies; take the measure mae."
        )


def plateau(epochs: pd.Series, errors: pd.Series) -> tuple[int, float, int, float]:
    """Return (first epoch within 10 % of the end, gain in % after two thirds, epochs, level at
    the end).

    Levels are medians over the last fifteenth of the run: single epochs jump.
    """
    order = np.argsort(epochs.to_numpy())
    level = errors.iloc[order].rolling(max(1, len(order) // 15), min_periods=1).median().to_numpy()
    first = int(epochs.to_numpy()[order][int(np.argmax(level <= 1.1 * level[-1]))])
    two_thirds = level[max(0, round(len(level) * 2 / 3) - 1)]
    gain = float(100.0 * (1.0 - level[-1] / two_thirds))
    return first, gain, len(level), float(level[-1])

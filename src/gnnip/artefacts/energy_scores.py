"""Errors of trained energies on test frames, beside those of predictors that know no geometry.

Predictions arrive in eV and are converted once, in `predicted_frames`. The trivial predictors are
those of `gnnip.models.baselines`, fitted on the training frames of the same split.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import EnergyErrors
from gnnip.artefacts.measures import ENERGY_MEASURES, UNITS, columns
from gnnip.artefacts.tables import metric_row, metric_table
from gnnip.errors import DataError
from gnnip.measurements import metrics as measure
from gnnip.training.outputs import read_predictions

NETWORK = "network"
PREDICTORS = ("constant", "n_linear", "ensemble_mean")
#: null models that the data set and the division of the frames may allow, too
TRAJECTORIES = ("trajectory_mean", "trajectory_ensemble_mean")


def term_energy(table: pd.DataFrame, term: str) -> pd.Series:
    """Return the energies (eV) of one term of a table of frames; `total` is the sum of all where
    the data set has no term of that name."""
    if f"energy_{term}_ev" in table or term != "total":
        return table[f"energy_{term}_ev"]
    return table.filter(regex="^energy_.*_ev$").sum(axis=1)


def baseline_predictions(
    train: pd.DataFrame, test: pd.DataFrame, energy: pd.Series, how: EnergyErrors
) -> pd.DataFrame:
    """Return what the trivial predictors say of `test`, fitted on the `energy` of `train`; one
    column each, in the unit of `energy`."""
    from gnnip.models.baselines import baseline

    keys = [how.size, *how.ensemble]
    both = pd.concat([train[keys], test[keys]])
    # which columns make an ensemble is ours to say: it gets a number
    number: np.ndarray = both.groupby(keys).ngroup().to_numpy(dtype=float)
    size = both[how.size].to_numpy(dtype=float)
    n = len(train)
    known = energy.to_numpy(dtype=float)
    fitted = {name: baseline(name).fit(known, size[:n], number[:n]) for name in PREDICTORS}
    found = {name: fit.predict(size[n:], number[n:]) for name, fit in fitted.items()}
    return pd.DataFrame(found, index=test.index)


def _of_trajectories(
    table: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame, term: str, how: EnergyErrors
) -> dict[str, np.ndarray]:
    """Return the means of trajectories, where every test frame's has training frames; eV."""
    found = {}
    for name, more in zip(TRAJECTORIES, ((), how.ensemble), strict=True):
        keys = [how.size, "trajectory", *more]
        if all(key in table for key in keys):
            energy = _per(train, how.unit, term_energy(train, term))
            means = energy.groupby([train[key] for key in keys]).mean().rename("mean")
            said = test[keys].join(means, on=keys)["mean"]
            if said.notna().all():
                found[name] = said.to_numpy()
    return found


def predicted_frames(folder: Path, unit: str) -> pd.DataFrame:
    """Return the test frames of the training in `folder` with `true` and `predicted` in a unit.

    DataError for a table without test frames.
    """
    table = read_predictions(folder)
    test = table[table["subset"] == "test"].reset_index(drop=True)
    if test.empty:
        raise DataError(f"{folder} has no test frames predicted; train again with a test set.")
    for name, column in (
        ("true", "energy_reference_ev"),
        ("predicted", "energy_predicted_ev"),
    ):
        test[name] = _per(test, unit, test.pop(column)) / UNITS[unit]
    return test


def _per(table: pd.DataFrame, unit: str, energy: pd.Series) -> pd.Series:
    return energy / table["n_atoms"] if unit.endswith("/atom") else energy


def scored(inputs: Inputs, group: str, how: EnergyErrors) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return scores of a training group, and the test frames that they were made of.

    Scores have one row per predictor, cell and seed: the keys of the matrix, target, seed,
    predictor (`network`, or the name of a trivial one), the measures by the names of `columns`,
    n_train, n_test. Frames have the energies true, predicted and those of the trivial predictors,
    by their names, in the unit asked for. DataError where a training tests on frames that the
    card's split gives it to learn from.
    """
    entry = inputs.group(group)
    table = inputs.frames(entry.get("dataset")).set_index("frame", drop=False)
    rows, kept = [], []
    for keys, seed, folder in inputs.cells(group):
        target = str(keys.get("target") or entry.get("target"))
        test = predicted_frames(folder, how.unit)
        train = table.loc[inputs.training_frames(group, keys, seed)]
        leak = test["frame"].isin(train.index)
        if leak.any():
            raise DataError(
                f"{folder / 'predictions.csv'} tests on {int(leak.sum())} training frames of the "
                "split that the card states; delete the folder and train again."
            )
        energy = _per(train, how.unit, term_energy(train, target))
        guesses = baseline_predictions(train, test, energy, how)
        guesses = guesses.assign(**_of_trajectories(table, train, test, target, how))
        test = test.join(guesses / UNITS[how.unit])
        about = {**keys, "target": target, "seed": seed}
        about["training"] = f"{group}/{folder.parent.name}"
        size = {"n_train": len(train), "n_test": len(test)}
        rows += [
            {**about, "predictor": name, **_score(test, name, how), **size}
            for name in (NETWORK, *guesses.columns)
        ]
        kept.append(test.assign(**about))
    return pd.DataFrame(rows), pd.concat(kept, ignore_index=True)


def _score(frames: pd.DataFrame, predictor: str, how: EnergyErrors) -> dict[str, float]:
    """Return the measures of one predictor, by the names of tidy columns."""
    true = frames["true"]
    guess = frames["predicted" if predictor == NETWORK else predictor]
    ensemble = frames.groupby([how.size, *how.ensemble]).ngroup()
    found = {name: getattr(measure, name)(true, guess) for name in ENERGY_MEASURES[:-1]}
    found["r2_within"] = measure.r2_within(true, guess, ensemble)
    if "force_rmse_ev_per_a" in frames:
        # root mean squares over a frame, which weighs as many atoms as it has
        weight = frames["n_atoms"] / frames["n_atoms"].sum()
        error, size = (
            float(np.sqrt((weight * np.square(frames[column])).sum()))
            for column in ("force_rmse_ev_per_a", "force_rms_reference_ev_per_a")
        )
        error = error if predictor == NETWORK else size  # the others know no forces
        found |= {"force_rmse": error, "force_r2": 1.0 - (error / size) ** 2}
    names = columns(how.unit)
    return {names[name][0]: value for name, value in found.items()}


def score_metrics(
    inputs: Inputs,
    scores: pd.DataFrame,
    how: EnergyErrors,
    quantity: str,
    variant: str = "as_described",
    measures: Iterable[str] = ENERGY_MEASURES,
) -> pd.DataFrame:
    """Return metrics {quantity}_{measure} of the networks in `scores`, each beside its baseline.

    `quantity` and `variant` may hold columns of `scores` in braces; DataError for a measure that
    the trainings do not have.
    """
    names = columns(how.unit)
    told = {*(column for column, _ in names.values()), "n_train", "n_test", "predictor"}
    told.add("training")
    cell = [c for c in scores.columns if c not in told]
    networks = scores[scores["predictor"] == NETWORK]
    others = scores[scores["predictor"] != NETWORK].sort_values(names["mae"][0], kind="stable")
    base = others.drop_duplicates(cell)
    rows = []
    for row in networks.merge(base, on=cell, suffixes=("", "_of_baseline")).to_dict("records"):
        for short in measures:
            column, unit = names[short]
            if column not in row:
                raise DataError(
                    f"{inputs.artefact}: the trainings have no {short}; only those that learn "
                    "forces say how large the errors of forces are."
                )
            name = f"{quantity}_{short}".format_map(row)
            about: dict[str, Any] = {"seed": row["seed"], "variant": variant.format_map(row)}
            about["training"] = row["training"]
            beside = row[f"{column}_of_baseline"]
            rows.append(metric_row(inputs, name, unit, row[column], baseline=beside, **about))
    return metric_table(rows)

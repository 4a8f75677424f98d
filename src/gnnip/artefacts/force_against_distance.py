"""A force, or the energy of an atom, against a distance, beside what is exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts import kinds
from gnnip.artefacts.errors import errors_of, score_rows
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.laws import LAWS, exact_column, value_column
from gnnip.artefacts.tables import Result, metric_row, metric_table
from gnnip.errors import DataError
from gnnip.measurements import metrics as measure
from gnnip.units import COULOMB_CONSTANT


def force_against_distance(inputs: Inputs, options: kinds.ForceAgainstDistance) -> Result:
    """Return the value against the distance of each model, and what is exact.

    Tidy: seed, the distance, trained (where the split tells which distances were trained on), the
    other columns that the options name, the value, what is exact and with `share` the share of it;
    with `models` the column model. Metrics: see `gnnip.artefacts.kinds.ForceAgainstDistance`.
    """
    models = options.models or {inputs.groups()[0]: ""}
    parts, rows = [], []
    for group, model in models.items():
        table = against_distance(inputs, group, options)
        if (seen := trained_distances(inputs, group, options.distance)) is not None:
            table["trained"] = table[options.distance].isin(seen)
        prefix = f"{model}_" if model else ""
        found = _per_distance(inputs, table, options, prefix)
        found += _unseen(inputs, table, options, prefix) if options.share else []
        rows += [row | {"training": group} for row in found]
        keep = ["seed", options.distance, "trained", *options.columns]
        keep += [value_column(options), exact_column(options), "share"][: 3 if options.share else 2]
        table = table[[column for column in keep if column in table]]
        if model:
            table = table.assign(model=model)
            rows += _errors(inputs, group, model)
        parts.append(table)
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def against_distance(
    inputs: Inputs, group: str, options: kinds.ForceAgainstDistance
) -> pd.DataFrame:
    """Return the value and what is exact, of every structure that a group was measured on.

    Columns: group, cell, seed, the distance and the other columns that the options name, the value,
    what is exact, their ratio `share`, and the values of the group's matrix. DataError for a
    measurement that lacks a part of them.
    """
    (name,) = inputs.measurements()
    table = difference(inputs.measurement(name), name, options)
    table = table[table["group"] == group].reset_index(drop=True)
    cells = {folder.parent.name: keys for keys, _, folder in inputs.cells(group)}
    if table.empty or set(table["cell"]) - set(cells):
        raise DataError(f"The measurement {name} does not fit the group '{group}'; run it again.")
    for key in next(iter(cells.values())):
        table[key] = [cells[cell][key] for cell in table["cell"]]
    return table


def difference(table: pd.DataFrame, name: str, options: kinds.ForceAgainstDistance) -> pd.DataFrame:
    """Return the value, or the difference of it that the options ask for, of all trainings."""
    keys = list(dict.fromkeys(["group", "cell", "seed", options.distance, *options.per]))
    read = [options.value, *([] if options.exact in LAWS else [options.exact])]
    columns = [c for c in options.columns if c not in keys]
    if options.difference:
        column, *both = options.difference
        one, two = (table[table[column] == value].set_index(keys) for value in both)
        if one.empty or not one.index.equals(two.reindex(one.index).dropna(how="all").index):
            raise DataError(f"The measurement {name} lacks one of the two {column}s; run it again.")
        found = one[columns].join(one[read] - two.reindex(one.index)[read])
    else:
        found = table.set_index(keys)[[*columns, *read]]
    found = found.rename(columns={options.value: value_column(options)}).reset_index()
    if options.exact in LAWS:
        law = LAWS[options.exact]
        found[law.column] = COULOMB_CONSTANT / found[options.distance] ** law.power
    exact = found[exact_column(options)]
    found["share"] = found[value_column(options)] / exact.where(exact != 0.0)
    return found


def trained_distances(inputs: Inputs, group: str, column: str) -> list[float] | None:
    """Return the distances (Angstrom) of the training structures; None where no one says."""
    where: Mapping[str, Any] = inputs.group(group)["split"].get("train_where") or {}
    return sorted(float(d) for d in where[column]) if column in where else None


def _per_distance(
    inputs: Inputs, table: pd.DataFrame, options: kinds.ForceAgainstDistance, prefix: str
) -> list[dict[str, Any]]:
    """Return mean, spread over structures and share of what is exact, of every seed."""
    rows, what = [], f"{prefix}{options.quantity}"
    for (seed, d), part in table.groupby(["seed", options.distance]):
        values = part[value_column(options)]
        exact = part[exact_column(options)]
        size = exact.iloc[0] if options.exact in LAWS else exact.mean()
        spread = values.std(ddof=1) if len(part) > 1 else np.nan
        share = values.mean() / size if size else np.nan
        for name, value, unit in (
            (f"{what}_d{d:g}", values.mean(), options.unit),
            (f"{what}_spread_d{d:g}", spread, options.unit),
            (f"{what}_share_d{d:g}", share, ""),
        ):
            # who sees nothing there predicts nothing
            rows.append(metric_row(inputs, name, unit, value, seed=seed, baseline=0.0))
    return rows


def _unseen(
    inputs: Inputs, table: pd.DataFrame, options: kinds.ForceAgainstDistance, prefix: str
) -> list[dict[str, Any]]:
    """Return the error over distances that were not trained on, beside that of no force."""
    rows, name = [], f"{prefix}{options.quantity}_rmse_unseen"
    for seed, part in table[~table["trained"]].groupby("seed") if "trained" in table else []:
        exact = part[exact_column(options)]
        value = measure.rmse(exact, part[value_column(options)])
        trivial = measure.rmse(exact, 0.0 * exact)
        rows.append(metric_row(inputs, name, options.unit, value, seed=seed, baseline=trivial))
    return rows


def _errors(inputs: Inputs, group: str, model: str) -> list[dict[str, Any]]:
    """Return the errors of all structures of a model, as its summaries have them."""
    rows = []
    for _, seed, folder in inputs.cells(group):
        summary = inputs.summary(folder)
        for subset in ("validation", "test"):
            scores, name = errors_of(summary, subset), f"{model}_{subset}"
            measures = ("energy_rmse", "force_rmse")
            rows += score_rows(inputs, name, measures, scores, seed, training=group)
    return rows

"""Predictions of trained potentials against the reference."""

from __future__ import annotations

import pandas as pd

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import Parity
from gnnip.artefacts.tables import Result, metric_row, metric_table


def parity(inputs: Inputs, options: Parity) -> Result:
    """Return errors, points and worst frames of the artefact's measurements, and the errors as
    metrics; see `gnnip.measurements.evaluation` and `gnnip.artefacts.kinds.Parity`."""
    tidy = pd.concat([inputs.measurement(name) for name in inputs.measurements()])
    rows = []
    for _, row in tidy[tidy["record"] == "error"].iterrows():
        about = {"seed": row["seed"], "baseline": row["trivial"]}
        about |= {"training": f"{row['group']}/{row['cell']}"}
        quantity = f"{row['group']}_{row['name']}_rmse"
        rows.append(metric_row(inputs, quantity, str(row["unit"]), row["rmse"], **about))
    return tidy.reset_index(drop=True), metric_table(rows)

"""Error against spread of the seeds of trainings."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import Calibration
from gnnip.artefacts.tables import Result, metric_row, metric_table

#: numbers that are metrics, and what who knows nothing gets
_TOLD = {"ratio": float("nan"), "rank": 0.0, "covered": float("nan")}


def calibration(inputs: Inputs, options: Calibration) -> Result:
    """Return bins, points and numbers of the artefact's measurements, and the numbers as metrics;
    see `gnnip.measurements.ensembles` and `gnnip.artefacts.kinds.Calibration`."""
    tidy = pd.concat([inputs.measurement(name) for name in inputs.measurements()])
    rows = []
    for _, row in tidy[tidy["record"] == "number"].iterrows():
        name = str(row["name"]).rpartition("_")[2]
        if name in _TOLD:
            about: dict[str, Any] = {
                "variant": inputs.variant(str(row["group"])),
                "baseline": _TOLD[name],
            }
            about["training"] = f"{row['group']}/{row['cell']}"
            cell = "" if row["cell"] == "all" else "_" + str(row["cell"]).replace("-", "_")
            quantity = f"{row['group']}{cell}_{row['name']}"
            rows.append(metric_row(inputs, quantity, "", row["value"], **about))
    return tidy.reset_index(drop=True), metric_table(rows)

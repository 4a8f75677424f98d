"""Conservation of the energy at constant energy, and the order of its error in the time step."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gnnip.artefacts import kinds
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.measured import measured
from gnnip.artefacts.tables import Result, metric_row, metric_table


def conservation(inputs: Inputs, options: kinds.Conservation) -> Result:
    """Return energy fluctuations at constant energy against the time step, and their order.

    Tidy: the measurements (`gnnip.measurements.conservation`), potentials named by arm, with a
    column material where there are several. Metrics: the exponent of each arm (2 for a smooth
    potential) and the drift at the shortest step.
    """
    parts, rows = [], []
    for one in measured(inputs, options.materials):
        parts.append(one.table)
        for arm, part in one.of_arms(one.table):
            order = part[(part["record"] == "order") & (part["name"] == "exponent_mean")]
            shortest = part[(part["record"] == "conservation") & (part["x"] == part["x"].min())]
            drift = shortest.loc[shortest["name"] == "drift_mev_per_atom_ps", "value"].abs()
            for name, unit, value in (
                ("exponent", "", order["value"].mean()),
                ("drift", "meV/atom/ps", drift.mean()),
            ):
                quantity = f"{one.prefix(arm)}_{name}"
                about: dict[str, Any] = {"variant": one.variants[arm], "training": one.groups[arm]}
                rows.append(metric_row(inputs, quantity, unit, value, **about))
    return pd.concat(parts, ignore_index=True), metric_table(rows)

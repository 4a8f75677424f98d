"""What the reference says of replicas that drift: relaxation, or a hole of the potential."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts import kinds
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.measured import measured
from gnnip.artefacts.tables import Result, metric_row, metric_table


def autopsy(inputs: Inputs, options: kinds.Autopsy) -> Result:
    """Return energies along the replicas whose energy changed most, by potential and reference.

    Tidy: the measurements (`gnnip.measurements.autopsy`), potentials named by arm, with a column
    material where there are several. Metrics: see `gnnip.artefacts.kinds.Autopsy`.
    """
    parts, rows = [], []
    for one in measured(inputs, options.materials):
        parts.append(one.table)
        for arm, part in one.of_arms(one.table):
            change = part[part["record"] == "change"]
            causes = change.loc[change["name"] == "cause", "text"]
            ours, theirs = (
                change.loc[change["name"] == f"by_{who}", "value"].to_numpy(dtype=float)
                for who in ("potential", "reference")
            )
            # of replicas that could be labelled at all, where there are any
            largest = int(np.argmax(np.where(np.isfinite(ours + theirs), np.abs(ours), -1.0)))
            forces = part.loc[part["name"] == "force_rmse_ev_per_a", "value"]
            for name, unit, value in (
                ("labelled", "", float((causes != "unknown").sum())),
                ("holes", "", float((causes == "hole").sum())),
                ("relaxations", "", float((causes == "relaxation").sum())),
                ("change", "meV/atom", float(ours[largest])),
                ("change_by_reference", "meV/atom", float(theirs[largest])),
                ("force_rmse_on_path", "eV/A", float(np.sqrt(np.mean(forces.dropna() ** 2)))),
            ):
                about: dict[str, Any] = {"variant": one.variants[arm], "training": one.groups[arm]}
                rows.append(metric_row(inputs, f"{one.prefix(arm)}_{name}", unit, value, **about))
    return pd.concat(parts, ignore_index=True), metric_table(rows)

"""Surface and interior states of an excess electron, as the measurement of densities has them."""

from __future__ import annotations

import pandas as pd

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import ElectronStates
from gnnip.artefacts.tables import Result, metric_row, metric_table


def electron_states(inputs: Inputs, _: ElectronStates) -> Result:
    """Return atoms and isosurfaces, and metrics of both frames: energy and radius of gyration.

    Tidy: the table of the measurement, of the kind electron_density.
    """
    (name,) = inputs.measurements()
    tidy = inputs.measurement(name)
    named: pd.DataFrame = tidy[tidy["record"] == "property"]
    rows = []
    for state, part in named.groupby("state"):
        value = part.set_index("name")["value"].astype(float)
        radius = value["gyration_radius_a"]
        rows += [
            metric_row(inputs, f"{state}_energy", "Ha", value["energy_ha"]),
            metric_row(inputs, f"{state}_gyration_radius", "A", radius),
        ]
    return tidy, metric_table(rows)

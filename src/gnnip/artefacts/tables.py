"""What all tables share: the columns of metrics and how a row of them is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from gnnip.artefacts.inputs import Inputs

#: that every {artefact}.metrics.csv needs
REQUIRED = ("artefact", "quantity", "variant", "unit", "seed", "value", "baseline", "reference")
#: `training` is the group, or group/cell, behind a number, `-` where none is; empty for all that
#: the artefact reads
COLUMNS = (*REQUIRED, "training")
NONE = "-"
#: a column that is there when a row says why it cannot be judged, e.g. of the load beside a clock
REMARK = "remark"
#: a column that is there when a value has a noise floor, which is then its baseline: no smaller
#: value, bound, tolerance or difference is judged
FLOOR = "floor"
#: a tidy table, and the metrics that verdicts are made of
Result = tuple[pd.DataFrame, pd.DataFrame]


def metric_row(
    inputs: Inputs,
    quantity: str,
    unit: str,
    value: float,
    *,
    seed: Any = None,
    baseline: float = float("nan"),
    variant: str = "as_described",
    dataset: str | None = None,
    training: str = "",
    remark: str = "",
    floor: float = float("nan"),
) -> dict[str, Any]:
    """Return one row of metrics; its reference is that of `dataset`, by default of all data.

    `remark` says why the value cannot be judged, as one below its `floor` cannot: what the
    reference shows against itself.
    """
    if value < floor:
        remark = f"below the noise floor of the reference, {floor:.3g} {unit}".strip()
    return {
        "artefact": inputs.artefact,
        "quantity": quantity,
        "variant": variant,
        "unit": unit,
        "seed": seed,
        "value": float(value),
        "baseline": baseline if math.isnan(floor) else floor,
        "reference": inputs.reference(dataset),
        "training": training,
        REMARK: remark or None,
        FLOOR: None if math.isnan(floor) else floor,
    }


def metric_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return rows of metrics as a table with the agreed columns."""
    extra = [name for name in (REMARK, FLOOR) if any(row.get(name) is not None for row in rows)]
    return pd.DataFrame(list(rows), columns=[*COLUMNS, *extra])

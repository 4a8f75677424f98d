"""What the tables of all cards share: the columns of metrics and how a row of them is made."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gnnip.artefacts.inputs import Inputs

#: of every {artefact}.metrics.csv
COLUMNS = ("artefact", "quantity", "variant", "unit", "seed", "value", "baseline", "reference")
Result = tuple[pd.DataFrame, pd.DataFrame]


def metric_row(
    inputs: Inputs,
    artefact: str,
    quantity: str,
    unit: str,
    value: float,
    *,
    seed: Any = None,
    baseline: float = float("nan"),
    variant: str = "as_described",
) -> dict[str, Any]:
    """Return one row of metrics; the reference is the card's."""
    return {
        "artefact": artefact,
        "quantity": quantity,
        "variant": variant,
        "unit": unit,
        "seed": seed,
        "value": float(value),
        "baseline": baseline,
        "reference": inputs.card.get("reference", "exact"),
    }


def metric_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows of metrics as a table with the agreed columns."""
    return pd.DataFrame(rows, columns=list(COLUMNS))

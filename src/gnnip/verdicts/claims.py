"""The test of a claim: what it found, and where it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

#: metrics of the artefacts that a claim is about, by artefact
Metrics = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class ClaimResult:
    """What a claim's test found.

    `holds` is True or False, or None when the run cannot decide (too few seeds, too few epochs, a
    cell that was not run). `measured` is the number or list that decided, `reason` one sentence,
    `margin` how far from the threshold it was, as a share of it (negative where it fails).
    """

    holds: bool | None
    measured: str
    reason: str
    margin: float | None = None


ClaimTest = Callable[[Metrics], ClaimResult]


def mean(metrics: pd.DataFrame, quantity: str) -> float:
    """Return the mean over seeds of a quantity, as described; NaN when it was not measured."""
    rows = metrics[(metrics["quantity"] == quantity) & (metrics["variant"] == "as_described")]
    return float(rows["value"].mean()) if len(rows) else float("nan")


def of_trivial(metrics: Metrics) -> dict[str, pd.DataFrame]:
    """Return the metrics as the trivial predictors would have them: baselines in place of values.

    Quantities without a baseline are left out: a trivial predictor says nothing of them.
    """
    return {
        artefact: table.assign(value=table["baseline"]).dropna(subset=["value"])
        for artefact, table in metrics.items()
    }

"""The test of a claim: what it found, of our numbers or of the trivial predictors'."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from gnnip.artefacts.tables import FLOOR
from gnnip.training.soundness import COLLAPSED

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


def reads(pattern: str) -> Callable[[ClaimTest], ClaimTest]:
    """State which quantities a test reads, as a regular expression: only the trainings behind these
    must be sound. A test that states none reads all."""

    def state(test: ClaimTest) -> ClaimTest:
        test.reads = pattern  # type: ignore[attr-defined]
        return test

    return state


def of_trivial(metrics: Metrics, known: Mapping[str, float]) -> dict[str, pd.DataFrame]:
    """Return the metrics as the trivial predictors would have them: baselines in place of values.

    Quantities without a baseline, or with a noise floor in its place, have what `known` says of
    them, by regular expressions that match their names in full, or are left out.
    """
    found = {}
    for artefact, table in metrics.items():
        value = table["baseline"].astype(float)
        if FLOOR in table:  # the reference's own noise: no predictor
            value = value.mask(table[FLOOR].notna())
        for pattern, number in known.items():
            value = value.mask(value.isna() & table["quantity"].str.fullmatch(pattern), number)
        found[artefact] = table.assign(value=value).dropna(subset=["value"])
    return found


def of_variant(metrics: Metrics, variant: str | None) -> dict[str, pd.DataFrame]:
    """Return the metrics of one variant as if they were those as described, for tests that know no
    other; all of them where none is asked for."""
    if variant is None:
        return dict(metrics)
    return {
        artefact: table[table["variant"] == variant].assign(variant="as_described")
        for artefact, table in metrics.items()
    }


def described_first(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without those as coded of quantities that are there as described, too."""
    described = rows.loc[rows["variant"] == "as_described", "quantity"]
    return rows[(rows["variant"] != "as_coded") | ~rows["quantity"].isin(described)]


def of_quantity(metrics: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Return the rows of a quantity as described, else as coded: both are the paper's own; none
    when it was measured in neither variant."""
    rows = described_first(metrics[metrics["quantity"] == quantity])
    return rows[rows["variant"].isin(["as_described", "as_coded"])]


def mean(metrics: pd.DataFrame, quantity: str) -> float:
    """Return the mean over seeds of a quantity, see `of_quantity`; NaN where not measured."""
    return float(of_quantity(metrics, quantity)["value"].mean())


def hidden(metrics: Metrics, low: str, high: str) -> str:
    """Return why nothing follows from the order of two errors; empty where something does.

    Their difference is within two standard errors over seeds, or the one that is to be `low` is no
    better than its trivial predictor.
    """
    rows, other = (
        pd.concat([of_quantity(table, name) for table in metrics.values()]) for name in (low, high)
    )
    value = float(rows["value"].mean())
    difference = abs(value - float(other["value"].mean()))
    spreads = [(r["value"].astype(float).to_numpy(), len(r)) for r in (rows, other)]
    error = math.hypot(*(v.std(ddof=1) / n**0.5 if n > 1 else 0.0 for v, n in spreads))
    if difference < 2.0 * error:
        return f"the difference of {difference:.3g} is within two standard errors, {2 * error:.3g}"
    noise = FLOOR in rows and bool(rows[FLOOR].notna().any())
    trivial = float("nan") if noise else float(rows["baseline"].astype(float).mean())
    if trivial > 0.0 and value > COLLAPSED * trivial:
        return f"{low} is no better than a trivial predictor's {trivial:.3g}"
    return ""

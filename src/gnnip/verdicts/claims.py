"""The test of a claim: what it found, of our numbers or of the trivial predictors'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from gnnip.artefacts.tables import FLOOR

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


def mean(metrics: pd.DataFrame, quantity: str) -> float:
    """Return the mean over seeds of a quantity as described, else as coded: both are the paper's
    own; NaN when it was measured in neither variant."""
    rows = metrics[metrics["quantity"] == quantity]
    for variant in ("as_described", "as_coded"):
        own = rows.loc[rows["variant"] == variant, "value"]
        if len(own):
            return float(own.mean())
    return float("nan")

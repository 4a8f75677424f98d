"""A verdict, and what giving one needs of a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import pandas as pd

from gnnip.artefacts.tables import FLOOR, NONE, REMARK
from gnnip.verdicts.published import Claim, Published

REPRODUCED, BETTER, DEVIATES = "reproduced", "better", "deviates"
CANNOT_DECIDE, NOT_COMPARABLE, NOT_RUN = "cannot decide", "not comparable", "not run"
DECIDED = (REPRODUCED, BETTER, DEVIATES)
VERDICTS = (*DECIDED, CANNOT_DECIDE, NOT_COMPARABLE, NOT_RUN)
#: trainings with different seeds that a mean and its standard error take
FEWEST_SEEDS = 3


class JudgedCard(Protocol):
    """What a verdict needs of a card at its tier."""

    id: str
    published: list[Published]
    claims: dict[str, Claim]
    judged: bool
    note: str
    reduced: dict[str, str]
    skipped: dict[str, str]
    references: dict[str, str]
    artefacts: dict[str, Any]

    def seeds_of_artefact(self, artefact: str) -> int:
        """Return how many seeds a complete run of an artefact has."""

    def judging_groups(self, artefact: str) -> list[str]:
        """Return the training groups that decide an artefact's numbers."""


def counts(verdicts: Iterable[str]) -> list[tuple[str, int]]:
    """Return how often each verdict was given, those that were."""
    tally = Counter(verdicts)
    return [(kind, tally[kind]) for kind in VERDICTS if tally[kind]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One row of verdicts.csv; `published` is a number, for the unit `claim` the claim's text."""

    card: str
    artefact: str
    quantity: str
    unit: str
    published: float | str
    tolerance: str = ""
    ours_mean: float | None = None
    ours_std: float | None = None
    n_seeds: int
    baseline: float | None = None
    reference: str
    variant: str = "as_described"
    verdict: str
    reason: str


COLUMNS = tuple(field.name for field in fields(Verdict))


def trainings_behind(
    card: JudgedCard, artefact: str, rows: pd.DataFrame
) -> tuple[list[str], Sequence[int]]:
    """Return the trainings behind rows of an artefact's metrics, and their seeds.

    The column `training` names them; where it does not, they are all that the artefact reads.
    """
    named = rows["training"].fillna("") if "training" in rows else pd.Series("", rows.index)
    groups = {name for name in named if name not in ("", NONE)}
    if (named == "").any():
        groups |= set(card.judging_groups(artefact))
    return sorted(groups), sorted({int(s) for s in rows["seed"].dropna()})


def remark(rows: pd.DataFrame) -> str:
    """Return why rows of metrics themselves say that they cannot be judged; empty where all can."""
    return next(iter(rows[REMARK].dropna()), "") if REMARK in rows else ""


def noise_floor(rows: pd.DataFrame) -> float | None:
    """Return the highest noise floor of rows of metrics; None where none has any."""
    floors = rows[FLOOR].dropna() if FLOOR in rows else ()
    return float(max(floors)) if len(floors) else None


def with_note(reason: str, note: str) -> str:
    """Return a reason with the remark of the run's tier in brackets."""
    return f"{reason} ({note})" if note else reason

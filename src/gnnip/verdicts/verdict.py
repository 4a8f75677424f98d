"""A verdict, and what giving one needs of a card."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

import pandas as pd

from gnnip.artefacts.tables import FLOOR, NONE, REMARK
from gnnip.verdicts.published import Claim, Published

REPRODUCED, BETTER, DEVIATES = "reproduced", "better", "deviates"
CANNOT_DECIDE, NOT_COMPARABLE, NOT_RUN = "cannot decide", "not comparable", "not run"
DECIDED = (REPRODUCED, BETTER, DEVIATES)
VERDICTS = (*DECIDED, CANNOT_DECIDE, NOT_COMPARABLE, NOT_RUN)
#: causes: why a row is not decided, in words that rows share and that are counted
TRIVIAL = "a trivial predictor does as well"
NO_TRIVIAL = "no trivial predictor beside it"
CONTROL = "a control behaves alike"
UNRECORDED = "training not recorded"
SEEDS = "too few seeds"
NOISE = "noise too large"
UNTOLD = "the run does not tell"
OTHER = "data, reference or machine other than the paper's"
REDUCED = "smaller than the paper's"
PLUMBING = "plumbing only"


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


class Why(NamedTuple):
    """Why a row is not decided: the cause, and the same in full with its numbers."""

    cause: str
    text: str


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
    cause: str = ""


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


def remark(rows: pd.DataFrame) -> Why | None:
    """Return why rows of metrics themselves say that they cannot be judged; None where all can.

    The cause is what stands before the first bracket or colon of the remark.
    """
    told = next(iter(rows[REMARK].dropna()), "") if REMARK in rows else ""
    return Why(re.split(r" \(|: ", told)[0], told) if told else None


def noise_floor(rows: pd.DataFrame) -> float | None:
    """Return the highest noise floor of rows of metrics; None where none has any."""
    floors = rows[FLOOR].dropna() if FLOOR in rows else ()
    return float(max(floors)) if len(floors) else None


def with_note(reason: str, note: str) -> str:
    """Return a reason with the remark of the run's tier in brackets."""
    return f"{reason} ({note})" if note else reason

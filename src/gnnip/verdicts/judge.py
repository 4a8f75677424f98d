"""Published values against ours: aggregation over seeds, the verdict and its reason."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from gnnip.artefacts.tables import COLUMNS as METRICS
from gnnip.artefacts.tables import REMARK
from gnnip.errors import DataError
from gnnip.files import write_json, write_text
from gnnip.verdicts import kinds
from gnnip.verdicts.claims import ClaimResult, ClaimTest, Metrics, of_trivial
from gnnip.verdicts.published import Claim, Published

REPRODUCED, BETTER, DEVIATES = "reproduced", "better", "deviates"
NOT_COMPARABLE, NOT_RUN = "not comparable", "not run"
VERDICTS = (REPRODUCED, BETTER, DEVIATES, NOT_COMPARABLE, NOT_RUN)


class JudgedCard(Protocol):
    """What a verdict needs of a card at its tier."""

    id: str
    published: list[Published]
    claims: dict[str, Claim]
    comparable: bool
    note: str
    skipped: dict[str, str]
    references: dict[str, str]
    artefacts: dict[str, Any]

    def seeds_of_artefact(self, artefact: str) -> int:
        """Return how many seeds a complete run of an artefact has."""


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
CLAIM_COLUMNS = (
    *("claim", "holds", "margin", "measured", "reason"),
    *("trivial_holds", "trivial_measured"),
)


@dataclass(frozen=True)
class _Measured:
    """One quantity of one variant over its seeds, in the metrics' unit."""

    variant: str
    unit: str
    mean: float
    std: float | None
    n_seeds: int
    baseline: float | None
    reference: str
    remark: str = ""  # why it cannot be judged


def read_metrics(folder: str | Path, artefacts: list[str]) -> dict[str, pd.DataFrame]:
    """Read {artefact}.metrics.csv of those artefacts that have one, by name.

    Raises DataError for a table without the agreed columns.
    """
    tables = {}
    for name in artefacts:
        path = Path(folder) / f"{name}.metrics.csv"
        if not path.exists():
            continue
        table = pd.read_csv(path)
        missing = [column for column in METRICS if column not in table.columns]
        if missing:
            raise DataError(f"{path} lacks the column {missing[0]}; delete it and run again.")
        tables[name] = table
    return tables


def tests_of(claims: Mapping[str, Claim], module: str | None) -> dict[str, ClaimTest]:
    """Return the tests of a card's claims: those written in the card, and functions of the claims'
    names in `module`, the paper's claims.py."""
    own = import_module(module) if module else None
    tests: dict[str, ClaimTest] = {}
    for name, claim in claims.items():
        if claim.test is not None:
            tests[name] = kinds.read(claim.test, f"claims.{name}").test
        elif hasattr(own, name):
            tests[name] = getattr(own, name)
    return tests


def judge(card: JudgedCard, metrics: Metrics, tests: Mapping[str, ClaimTest]) -> list[Verdict]:
    """Return a verdict for every published number and every claim of the card.

    A quantity that nobody measured, or that fewer seeds measured than the card demands, is `not
    run`: no mean is given for a part of a run.

    Args:
        card: the card at its tier.
        metrics: the metrics tables of the artefacts that were run, by artefact.
        tests: those of the claims, by claim (see `tests_of`).
    """
    rows = []
    for block in card.published:
        table = metrics.get(block.artefact)
        for quantity, published in block.values.items():
            rows += _judge_number(card, block, quantity, published, table)
    rows += [_judge_claim(card, name, metrics, tests) for name in card.claims]
    return rows


def judge_folder(
    card: JudgedCard, folder: str | Path, module: str | None
) -> tuple[list[Verdict], pd.DataFrame]:
    """Return the verdicts of a card, and what the tests of its claims found, from the metrics in
    `folder`; `module` is the paper's claims.py (see `tests_of`)."""
    metrics, tests = read_metrics(folder, list(card.artefacts)), tests_of(card.claims, module)
    return judge(card, metrics, tests), claims_table(card, metrics, tests)


def write_verdicts(folder: str | Path, rows: list[Verdict], claims: pd.DataFrame) -> None:
    """Write verdicts.csv, verdicts.json and claims.csv into a folder."""
    write_text(Path(folder) / "verdicts.csv", to_frame(rows).to_csv(index=False))
    write_json(Path(folder) / "verdicts.json", to_json(rows))
    write_text(Path(folder) / "claims.csv", claims.to_csv(index=False))


def _judge_number(
    card: JudgedCard,
    block: Published,
    quantity: str,
    published: float,
    table: pd.DataFrame | None,
) -> list[Verdict]:
    measured = [] if table is None else _aggregate(table[table["quantity"] == quantity])
    reason = ""
    if table is None:
        reason = card.skipped.get(block.artefact, f"{block.artefact} has not been run")
    elif not measured:
        reason = f"{block.artefact} was run without this quantity"
    if reason:
        references = card.references[block.artefact]
        measured = [_Measured("as_described", block.unit, math.nan, None, 0, None, references)]
    rows = []
    for ours in measured:
        verdict, why = (NOT_RUN, reason) if reason else _compare(card, block, published, ours)
        known = verdict != NOT_RUN
        rows.append(
            Verdict(
                card=card.id,
                artefact=block.artefact,
                quantity=quantity,
                unit=block.unit,
                published=published,
                tolerance=str(block.tolerance),
                ours_mean=ours.mean if known else None,
                ours_std=ours.std if known else None,
                n_seeds=ours.n_seeds,
                baseline=ours.baseline,
                reference=ours.reference,
                variant=ours.variant,
                verdict=verdict,
                reason=_with_note(why, card.note),
            )
        )
    return rows


def _aggregate(table: pd.DataFrame) -> list[_Measured]:
    """Return mean, sample standard deviation and count over seeds, by variant."""
    result = []
    filled = table.assign(variant=table["variant"].fillna("as_described"))
    for variant, rows in filled.groupby("variant", sort=False):
        values = rows["value"].astype(float)
        n_seeds = len(rows) if rows["seed"].isna().all() else int(rows["seed"].nunique())
        baselines = rows["baseline"].dropna().astype(float)
        units = rows["unit"].dropna()
        references = rows["reference"].dropna()
        result.append(
            _Measured(
                variant=str(variant),
                unit=str(units.iloc[0]) if len(units) else "",
                mean=float(values.mean(skipna=False)),
                std=float(values.std(ddof=1)) if len(values) > 1 else None,
                n_seeds=n_seeds,
                baseline=float(baselines.mean()) if len(baselines) else None,
                reference=str(references.iloc[0]) if len(references) else "",
                remark=_remark(rows),
            )
        )
    return result


def _remark(table: pd.DataFrame) -> str:
    """Return why rows of metrics cannot be judged; empty where all can."""
    return next(iter(table[REMARK].dropna()), "") if REMARK in table else ""


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of metrics that can be judged."""
    return table[table[REMARK].isna()] if REMARK in table else table


def _compare(
    card: JudgedCard, block: Published, published: float, ours: _Measured
) -> tuple[str, str]:
    demanded = card.seeds_of_artefact(block.artefact)
    if ours.unit != block.unit:
        raise DataError(
            f"{block.artefact}.metrics.csv gives {ours.unit!r} where the card of {card.id} has "
            f"{block.unit!r}; convert at the border."
        )
    if ours.n_seeds < demanded:
        return NOT_RUN, f"only {ours.n_seeds} of {demanded} seeds are there, no mean of a part"
    if ours.remark:
        return NOT_COMPARABLE, ours.remark
    if not math.isfinite(ours.mean):
        return DEVIATES, "a seed gave no finite value"
    own = block.comparable and block.reference in (None, ours.reference)
    if not own or not card.comparable:
        return NOT_COMPARABLE, _ratio(ours, published) if own else _why_not(block, ours)
    low, high = block.tolerance.bounds(published)
    if low <= ours.mean <= high:
        verdict = REPRODUCED
    elif (block.better == "lower" and ours.mean < low) or (
        block.better == "higher" and ours.mean > high
    ):
        verdict = BETTER
    else:
        verdict = DEVIATES
    reasons = [f"{_ratio(ours, published)}, allowed {low:.3g} to {high:.3g}"]
    if ours.baseline is not None and _no_better_than_baseline(block, ours):
        reasons.append("no better than the trivial baseline")
    if block.note:
        reasons.append(block.note)
    return verdict, "; ".join(reasons)


def _why_not(block: Published, ours: _Measured) -> str:
    return block.note or f"the paper's reference is {block.reference}, ours {ours.reference}"


def _no_better_than_baseline(block: Published, ours: _Measured) -> bool:
    assert ours.baseline is not None
    if block.better == "lower":
        return ours.mean >= ours.baseline
    return block.better == "higher" and ours.mean <= ours.baseline


def _ratio(ours: _Measured, published: float) -> str:
    if published == 0:
        return f"{ours.mean:.3g} against 0"
    return f"{ours.mean / published:.3g} times the published value"


def _judge_claim(
    card: JudgedCard, name: str, metrics: Metrics, tests: Mapping[str, ClaimTest]
) -> Verdict:
    claim = card.claims[name]
    missing = [artefact for artefact in claim.artefacts if artefact not in metrics]
    seeds = 0
    if missing:
        verdict = NOT_RUN
        reason = card.skipped.get(missing[0], f"{missing[0]} has not been run")
    elif name not in tests:
        verdict, reason = NOT_RUN, "no test is written for this claim"
    else:
        read = [metrics[a] for a in claim.artefacts]
        result = tests[name]({a: _judged(t) for a, t in zip(claim.artefacts, read, strict=True)})
        seeds = min(map(_seeds, read))
        reason = "; ".join(part for part in (result.measured, result.reason) if part)
        if result.holds is None:
            reason = next(filter(None, map(_remark, read)), reason)
        demanded = min(card.seeds_of_artefact(artefact) for artefact in claim.artefacts)
        if seeds < demanded:
            verdict, reason = NOT_RUN, f"only {seeds} of {demanded} seeds are there"
        elif not card.comparable or result.holds is None:
            verdict = NOT_COMPARABLE
        else:
            verdict = REPRODUCED if result.holds else DEVIATES
    return Verdict(
        card=card.id,
        artefact=claim.artefacts[0],
        quantity=name,
        unit="claim",
        published=claim.text,
        n_seeds=seeds,
        reference=card.references[claim.artefacts[0]],
        verdict=verdict,
        reason=_with_note(reason, card.note),
    )


def claims_table(
    card: JudgedCard, metrics: Metrics, tests: Mapping[str, ClaimTest]
) -> pd.DataFrame:
    """Return what the test of each claim says of our numbers, and of the trivial predictors'.

    Columns claim, holds, margin, measured, reason, trivial_holds, trivial_measured; a claim whose
    artefacts were not all run, or without a test, has no row. `holds` is empty where the run cannot
    decide, `trivial_holds` also where no baseline stands beside the quantities.
    """
    rows = []
    for name, claim in card.claims.items():
        if name not in tests or any(artefact not in metrics for artefact in claim.artefacts):
            continue
        read = {artefact: _judged(metrics[artefact]) for artefact in claim.artefacts}
        ours, baselines = tests[name](read), of_trivial(read)
        known = not all(table.empty for table in baselines.values())
        trivial = tests[name](baselines) if known else ClaimResult(None, "", "")
        row = {"claim": name} | asdict(ours)
        row |= {"trivial_holds": trivial.holds, "trivial_measured": trivial.measured}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS))


def _seeds(table: pd.DataFrame) -> int:
    return max(1, int(table["seed"].nunique()))


def _with_note(reason: str, note: str) -> str:
    return f"{reason} ({note})" if note else reason


def to_frame(verdicts: list[Verdict]) -> pd.DataFrame:
    """Return the verdicts as a table with the columns of verdicts.csv."""
    return pd.DataFrame([asdict(verdict) for verdict in verdicts], columns=list(COLUMNS))


def to_json(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """Return the verdicts as a list of records; what is not known is null."""
    return [asdict(verdict) for verdict in verdicts]


def read_verdicts(path: str | Path) -> list[Verdict]:
    """Read verdicts.json; DataError when it is missing or not one."""
    try:
        return [Verdict(**record) for record in json.loads(Path(path).read_text(encoding="utf-8"))]
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run the workflow first.") from None
    except (json.JSONDecodeError, TypeError) as error:
        raise DataError(f"{path} is not a list of verdicts ({error}); run again.") from None

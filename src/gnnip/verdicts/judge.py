"""Published values against ours: aggregation over seeds, the verdict and its reason."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from gnnip.artefacts.tables import COLUMNS as METRICS
from gnnip.config.cards import Published, ResolvedCard
from gnnip.errors import DataError
from gnnip.verdicts.claims import ClaimResult

REPRODUCED, BETTER, DEVIATES = "reproduced", "better", "deviates"
NOT_COMPARABLE, NOT_RUN = "not comparable", "not run"
VERDICTS = (REPRODUCED, BETTER, DEVIATES, NOT_COMPARABLE, NOT_RUN)

Claims = Mapping[str, Callable[[dict[str, pd.DataFrame]], ClaimResult]]


@dataclass(frozen=True)
class Verdict:
    """One row of verdicts.csv; `published` is a number, for the unit `claim` the claim's text."""

    card: str
    artefact: str
    quantity: str
    unit: str
    published: float | str
    tolerance: str
    ours_mean: float | None
    ours_std: float | None
    n_seeds: int
    baseline: float | None
    reference: str
    variant: str
    verdict: str
    reason: str


COLUMNS = tuple(field.name for field in fields(Verdict))


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


def claims_of(card: str) -> Claims:
    """Return the written tests of a card's claims (CLAIMS of `gnnip.evaluation.<card>`), if any."""
    name = f"gnnip.evaluation.{card}"
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return {}
    claims: Claims = getattr(module, "CLAIMS", {})
    return claims


def judge(
    card: ResolvedCard, metrics: Mapping[str, pd.DataFrame], claims: Claims | None = None
) -> list[Verdict]:
    """Return a verdict for every published number and every claim of the card.

    A quantity that nobody measured, or that fewer seeds measured than the card demands, is `not
    run`: no mean is given for a part of a run.

    Args:
        card: the card at its tier.
        metrics: the metrics tables of the artefacts that were run, by artefact.
        claims: tests of the claims; those of the card's own module when None.
    """
    rows = []
    for block in card.published:
        table = metrics.get(block.artefact)
        for quantity, published in block.values.items():
            rows += _judge_number(card, block, quantity, published, table)
    tests = claims_of(card.id) if claims is None else claims
    rows += [_judge_claim(card, name, metrics, tests) for name in card.claims]
    return rows


def _judge_number(
    card: ResolvedCard,
    block: Published,
    quantity: str,
    published: float,
    table: pd.DataFrame | None,
) -> list[Verdict]:
    measured = [] if table is None else _aggregate(table[table["quantity"] == quantity])
    if not measured:
        if table is None:
            reason = card.skipped.get(block.artefact, f"{block.artefact} has not been run")
        else:
            reason = f"{block.artefact} was run without this quantity"
        measured = [_Measured("as_described", block.unit, math.nan, None, 0, None, card.reference)]
    else:
        reason = ""
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
            )
        )
    return result


def _compare(
    card: ResolvedCard, block: Published, published: float, ours: _Measured
) -> tuple[str, str]:
    demanded = card.seeds_of_artefact(block.artefact)
    if ours.unit != block.unit:
        raise DataError(
            f"{block.artefact}.metrics.csv gives {ours.unit!r} where the card of {card.id} has "
            f"{block.unit!r}; convert at the border."
        )
    if ours.n_seeds < demanded:
        return NOT_RUN, f"only {ours.n_seeds} of {demanded} seeds are there, no mean of a part"
    if not math.isfinite(ours.mean):
        return DEVIATES, "a seed gave no finite value"
    if not block.comparable or not card.comparable:
        return NOT_COMPARABLE, block.note if not block.comparable else f"{_ratio(ours, published)}"
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
    card: ResolvedCard, name: str, metrics: Mapping[str, pd.DataFrame], claims: Claims
) -> Verdict:
    claim = card.claims[name]
    missing = [artefact for artefact in claim.artefacts if artefact not in metrics]
    seeds = 0
    if missing:
        verdict = NOT_RUN
        reason = card.skipped.get(missing[0], f"{missing[0]} has not been run")
    elif name not in claims:
        verdict, reason = NOT_RUN, "no test is written for this claim"
    else:
        result = claims[name](dict(metrics))
        seeds = min(_seeds(metrics[artefact]) for artefact in claim.artefacts)
        reason = "; ".join(part for part in (result.measured, result.reason) if part)
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
        tolerance="",
        ours_mean=None,
        ours_std=None,
        n_seeds=seeds,
        baseline=None,
        reference=card.reference,
        variant="as_described",
        verdict=verdict,
        reason=_with_note(reason, card.note),
    )


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


def _ours(verdict: Verdict) -> str:
    if verdict.ours_mean is None:
        return ""
    spread = "" if verdict.ours_std is None else f" ± {verdict.ours_std:.2g}"
    return f"{verdict.ours_mean:.3g}{spread} ({verdict.n_seeds})"


def _cells(verdict: Verdict) -> list[str]:
    is_claim = verdict.unit == "claim"
    variant = "" if verdict.variant == "as_described" else f" [{verdict.variant}]"
    return [
        verdict.artefact,
        verdict.quantity + variant,
        "" if is_claim else f"{verdict.published:g} {verdict.unit}".strip(),
        _ours(verdict),
        "" if verdict.baseline is None else f"{verdict.baseline:.3g}",
        verdict.verdict,
    ]


_HEADER = ["artefact", "quantity", "published", "ours (seeds)", "baseline", "verdict"]


def format_table(verdicts: list[Verdict], width: int = 150) -> str:
    """Return the verdicts as a plain-text table of at most `width` columns, with a count below."""
    blocks = []
    for card in dict.fromkeys(verdict.card for verdict in verdicts):
        chosen = [verdict for verdict in verdicts if verdict.card == card]
        rows = [_HEADER, *(_cells(verdict) for verdict in chosen)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
        room = max(30, width - sum(widths) - 2 * len(widths))
        note, reasons = _split_note([verdict.reason for verdict in chosen])
        title = f"{card} ({note})" if note else card
        lines = [title, "=" * len(title)]
        for row, reason in zip(rows, ["reason", *reasons], strict=True):
            start = "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True))
            lines.append(f"{start}  {textwrap.shorten(reason, room, placeholder=' ...')}".rstrip())
            if row is rows[0]:
                lines.append("-" * min(width, len(start) + 2 + room))
        lines.append(count(chosen))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _split_note(reasons: list[str]) -> tuple[str, list[str]]:
    """Return the remark in brackets that all reasons end with, if any, and the reasons without."""
    match = re.search(r" \(([^()]*)\)$", reasons[0])
    if match is None or not all(reason.endswith(match.group()) for reason in reasons):
        return "", reasons
    return match.group(1), [reason.removesuffix(match.group()) for reason in reasons]


def count(verdicts: list[Verdict]) -> str:
    """Return how often each verdict was given, in one line."""
    tally = {kind: sum(v.verdict == kind for v in verdicts) for kind in VERDICTS}
    return f"{len(verdicts)} rows: " + ", ".join(f"{n} {kind}" for kind, n in tally.items() if n)


def format_markdown(verdicts: list[Verdict]) -> str:
    """Return the verdicts as Markdown: the numbers in one table, the claims in another."""
    numbers = [verdict for verdict in verdicts if verdict.unit != "claim"]
    claims = [verdict for verdict in verdicts if verdict.unit == "claim"]
    lines = []
    if numbers:
        lines += ["| " + " | ".join(_HEADER) + " |", "|" + " --- |" * len(_HEADER)]
        lines += ["| " + " | ".join(_cells(verdict)) + " |" for verdict in numbers] + [""]
    if claims:
        lines += ["| claim | verdict | reason |", "| --- | --- | --- |"]
        rows = [(v.published, v.verdict, v.reason.replace("|", "/")) for v in claims]
        lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows] + [""]
    return "\n".join([*lines, count(verdicts)])


def format_html(verdicts: list[Verdict]) -> str:
    """Return the verdicts as a small HTML page, which may also be put into another one."""
    from html import escape

    colours = {REPRODUCED: "#d9f0d3", BETTER: "#d1e5f0", DEVIATES: "#fddbc7"}
    style = 'style="padding:2px 8px;text-align:left;vertical-align:top"'
    names = ["card", *_HEADER, "reason"]
    head = "".join(f"<th {style}>{escape(name)}</th>" for name in names)
    body = []
    for verdict in verdicts:
        text = verdict.reason
        if verdict.unit == "claim":
            text = f"{verdict.published}: {text}"
        cells = [verdict.card, *_cells(verdict), text]
        row = "".join(f"<td {style}>{escape(cell)}</td>" for cell in cells)
        colour = colours.get(verdict.verdict, "#f0f0f0")
        body.append(f'<tr style="background:{colour};color:#000">{row}</tr>')
    return "\n".join(
        [
            '<!doctype html><meta charset="utf-8"><title>Verdicts</title>',
            '<div style="font-family:sans-serif"><h2>Verdicts</h2>',
            f"<p>{escape(count(verdicts))}</p>",
            '<table style="border-collapse:collapse">',
            f"<tr>{head}</tr>",
            *body,
            "</table></div>",
        ]
    )

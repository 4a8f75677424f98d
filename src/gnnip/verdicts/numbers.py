"""Published numbers against ours."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pandas as pd

from gnnip.errors import DataError
from gnnip.training.soundness import COLLAPSED
from gnnip.verdicts.published import FEWEST_SEEDS, Published
from gnnip.verdicts.trainings import why_unsound
from gnnip.verdicts.verdict import (
    BETTER,
    CANNOT_DECIDE,
    DEVIATES,
    NOISE,
    NOT_COMPARABLE,
    NOT_RUN,
    OTHER,
    PLUMBING,
    REDUCED,
    REPRODUCED,
    SEEDS,
    TRIVIAL,
    UNTOLD,
    JudgedCard,
    Verdict,
    Why,
    noise_floor,
    remark,
    trainings_behind,
    with_note,
)


@dataclass(frozen=True)
class Measured:
    """One quantity of one variant over its seeds, in the metrics' unit.

    `trained` tells whether a network is behind it, `unsound` why it judges nothing, `floor` the
    noise of the reference, which the baseline then is, too.
    """

    variant: str
    unit: str
    mean: float
    std: float | None
    n_seeds: int
    baseline: float | None
    reference: str
    trained: bool = field(default=False, kw_only=True)
    unsound: Why | None = field(default=None, kw_only=True)
    floor: float | None = field(default=None, kw_only=True)

    @property
    def error(self) -> float:
        """Return the standard error of the mean; 0 of a single measurement."""
        return 0.0 if self.std is None else self.std / math.sqrt(self.n_seeds)


def judge_number(
    card: JudgedCard,
    block: Published,
    quantity: str,
    table: pd.DataFrame | None,
    trainings: pd.DataFrame | None,
) -> list[Verdict]:
    """Return the verdicts on one published number, one for each variant that was measured."""
    measured = [] if table is None else _aggregate(card, block.artefact, quantity, table, trainings)
    missing = ""
    if table is None:
        missing = card.skipped.get(block.artefact, f"{block.artefact} has not been run")
    elif not measured:
        missing = f"{block.artefact} was run without this quantity"
    if missing:
        missing = _join(missing, block.note)
        reference = card.references[block.artefact]
        measured = [Measured("as_described", block.unit, math.nan, None, 0, None, reference)]
    rows = []
    for ours in measured:
        published = block.values[quantity]
        verdict, why = NOT_RUN, Why("", missing)
        if not missing:
            verdict, why = _compare(card, block, published, ours)
        known = verdict != NOT_RUN
        rows.append(
            Verdict(
                card=card.id,
                artefact=block.artefact,
                quantity=quantity,
                unit=block.unit,
                published=published,
                tolerance=f"{block.tolerance}{' of the ideal value' if block.ideal else ''}",
                ours_mean=ours.mean if known else None,
                ours_std=ours.std if known else None,
                n_seeds=ours.n_seeds,
                baseline=ours.baseline,
                reference=ours.reference,
                variant=ours.variant,
                verdict=verdict,
                reason=with_note(why.text, card.note),
                cause=why.cause,
            )
        )
    return rows


def _aggregate(
    card: JudgedCard,
    artefact: str,
    quantity: str,
    table: pd.DataFrame,
    trainings: pd.DataFrame | None,
) -> list[Measured]:
    """Return mean, sample standard deviation and count over seeds, by variant."""
    result = []
    chosen = table[table["quantity"] == quantity]
    filled = chosen.assign(variant=chosen["variant"].fillna("as_described"))
    for variant, rows in filled.groupby("variant", sort=False):
        values = rows["value"].astype(float)
        n_seeds = len(rows) if rows["seed"].isna().all() else int(rows["seed"].nunique())
        baselines = rows["baseline"].dropna().astype(float)
        units = rows["unit"].dropna()
        references = rows["reference"].dropna()
        names, seeds = trainings_behind(card, artefact, rows)
        result.append(
            Measured(
                variant=str(variant),
                unit=str(units.iloc[0]) if len(units) else "",
                mean=float(values.mean(skipna=False)),
                std=float(values.std(ddof=1)) if len(values) > 1 else None,
                n_seeds=n_seeds,
                baseline=float(baselines.mean()) if len(baselines) else None,
                reference=str(references.iloc[0]) if len(references) else "",
                trained=bool(names),
                unsound=remark(rows) or why_unsound(trainings, names, seeds),
                floor=noise_floor(rows),
            )
        )
    return result


def _compare(
    card: JudgedCard, block: Published, published: float, ours: Measured
) -> tuple[str, Why]:
    demanded = card.seeds_of_artefact(block.artefact)
    if ours.unit != block.unit:
        raise DataError(
            f"{block.artefact}.metrics.csv gives {ours.unit!r} where the card of {card.id} has "
            f"{block.unit!r}; convert at the border."
        )
    if ours.n_seeds < demanded:
        told = f"only {ours.n_seeds} of {demanded} seeds are there, no mean of a part"
        return NOT_RUN, Why(SEEDS, told)
    ratio = _ratio(ours.mean, published, block.ideal)
    if not card.judged or not block.comparable or block.reference not in (None, ours.reference):
        cause = OTHER if card.judged else PLUMBING
        return NOT_COMPARABLE, Why(cause, _join(ratio, _other_reference(block, ours)))
    if block.artefact in card.reduced:
        return NOT_COMPARABLE, Why(REDUCED, _join(ratio, card.reduced[block.artefact]))
    low, high = block.tolerance.bounds(published)
    told = _join(f"{ratio}, allowed {low:.3g} to {high:.3g}", block.note)
    undecided = _why_undecided(block, ours, low, high)
    if undecided:
        return CANNOT_DECIDE, Why(undecided.cause, _join(undecided.text, told))
    return _place(block, ours.mean, low, high), Why("", told)


def _why_undecided(block: Published, ours: Measured, low: float, high: float) -> Why | None:
    """Return why the number judges nothing, None when it does."""
    if not math.isfinite(ours.mean):
        return Why(UNTOLD, "a seed gave no finite value")
    if _no_better_than_trivial(block, ours):
        return Why(TRIVIAL, "no better than the trivial predictor")
    if ours.unsound:
        return ours.unsound
    if ours.floor is not None and ours.floor > high:
        told = f"the noise floor of the reference, {ours.floor:.3g}, is above the tolerance"
        return Why(NOISE, told)
    place = _place(block, ours.mean, low, high)
    trivial = ours.baseline if ours.floor is None else None
    if trivial is not None and DEVIATES not in (place, _place(block, trivial, low, high)):
        return Why(TRIVIAL, f"a trivial predictor gets it too ({trivial:.3g})")
    if ours.trained and ours.n_seeds < FEWEST_SEEDS:
        told = f"{ours.n_seeds} of the {FEWEST_SEEDS} seeds that a standard error takes"
        return Why(SEEDS, told)
    ends = {_place(block, ours.mean + sign * ours.error, low, high) for sign in (-1, 1)}
    if place == REPRODUCED and ends != {REPRODUCED}:
        told = f"the standard error of {ours.error:.2g} reaches beyond the tolerance"
        return Why(NOISE, told)
    return None


def _place(block: Published, value: float, low: float, high: float) -> str:
    if low <= value <= high:
        return REPRODUCED
    beyond = (block.better == "lower" and value < low) or (
        block.better == "higher" and value > high
    )
    return BETTER if beyond else DEVIATES


def _no_better_than_trivial(block: Published, ours: Measured) -> bool:
    if ours.baseline is None or ours.floor is not None or not ours.trained:
        return False
    if block.better == "lower":
        return ours.mean > COLLAPSED * ours.baseline
    return block.better == "higher" and ours.mean <= ours.baseline


def _other_reference(block: Published, ours: Measured) -> str:
    if block.reference in (None, ours.reference):
        return block.note
    return block.note or f"the paper's reference is {block.reference}, ours {ours.reference}"


def _ratio(value: float, published: float, ideal: bool) -> str:
    if published == 0:
        return f"{value:.3g} against 0"
    return f"{value / published:.3g} times the {'ideal' if ideal else 'published'} value"


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)

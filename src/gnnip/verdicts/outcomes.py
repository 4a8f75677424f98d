"""What the test of a claim finds of our numbers, of the trivial predictors' and of a control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import pandas as pd

from gnnip.verdicts import kinds
from gnnip.verdicts.claims import (
    ClaimResult,
    ClaimTest,
    Metrics,
    described_first,
    of_trivial,
    of_variant,
)
from gnnip.verdicts.published import Claim
from gnnip.verdicts.trainings import why_unsound
from gnnip.verdicts.verdict import (
    CANNOT_DECIDE,
    CONTROL,
    DEVIATES,
    NO_TRIVIAL,
    NOT_RUN,
    PLUMBING,
    REPRODUCED,
    SEEDS,
    TRIVIAL,
    UNTOLD,
    JudgedCard,
    Verdict,
    Why,
    remark,
    trainings_behind,
    with_note,
)

#: of claims.csv
COLUMNS = (
    *("claim", "holds", "margin", "measured", "reason"),
    *("trivial", "trivial_measured", "control_holds", "control_measured"),
)


@dataclass(frozen=True)
class ClaimTests:
    """The test of a claim, the quantities that it reads (a regular expression), and the test of its
    control, which must not come out alike."""

    test: ClaimTest
    reads: str = ".*"
    control: ClaimTest | None = None


@dataclass(frozen=True)
class Outcome:
    """What a claim's test found: `ours`, of the `trivial` predictors, of the `control`.

    `trivial` is None where there is no such predictor, for the reason `exempt`, or none is known.
    """

    ours: ClaimResult
    trivial: ClaimResult | None
    exempt: str = ""
    control: ClaimResult | None = None

    @property
    def undecided(self) -> Why | None:
        """Return why the claim cannot be decided by this; None when it can."""
        if self.ours.holds is None:
            return Why(UNTOLD, self.ours.reason or "the run cannot decide it")
        if self.trivial is not None and self.trivial.holds:
            return Why(TRIVIAL, "a trivial predictor passes the test")
        if self.trivial is None and not self.exempt:
            return Why(NO_TRIVIAL, "no trivial predictor stands beside it")
        if self.control is not None and self.control.holds == self.ours.holds:
            return Why(CONTROL, f"the control behaves alike: {self.control.measured}")
        return None

    @property
    def of_trivial(self) -> str:
        """Return in a word what the trivial predictor gets."""
        if self.trivial is None:
            return "does not apply" if self.exempt else "unknown"
        return {True: "passes", False: "fails", None: "cannot be tested"}[self.trivial.holds]


def tests_of(claims: Mapping[str, Claim], module: str | None) -> dict[str, ClaimTests]:
    """Return the tests of a card's claims: those written in the card, and functions of the claims'
    names in `module`, the paper's claims.py."""
    own = import_module(module) if module else None

    def test(written: Mapping[str, Any] | str, where: str) -> tuple[ClaimTest | None, str]:
        if isinstance(written, Mapping):
            kind = kinds.read(written, where)
            return kind.test, kind.reads()
        function = getattr(own, written, None)
        return function, getattr(function, "reads", ".*")

    found = {}
    for name, claim in claims.items():
        main, read = test(claim.test or name, f"claims.{name}")
        control = test(claim.control, f"claims.{name}.control")[0] if claim.control else None
        if main is not None:
            found[name] = ClaimTests(main, read, control)
    return found


def outcome(claim: Claim, tests: ClaimTests, metrics: Metrics) -> Outcome:
    """Return what the tests of a claim find; `metrics` are those of its artefacts."""
    exempt = claim.trivial if isinstance(claim.trivial, str) else ""
    known = {} if isinstance(claim.trivial, str) else claim.trivial
    baselines = of_trivial(metrics, known)
    anything = any(
        table["quantity"].str.fullmatch(tests.reads).any() for table in baselines.values()
    )
    trivial = tests.test(baselines) if anything and not exempt else None
    control = tests.control(metrics) if tests.control else None
    return Outcome(tests.test(metrics), trivial, exempt, control)


def judge_claim(
    card: JudgedCard,
    name: str,
    metrics: Metrics,
    tests: Mapping[str, ClaimTests],
    trainings: pd.DataFrame | None,
) -> tuple[Verdict, dict[str, Any] | None]:
    """Return the verdict on a claim, and its row of claims.csv; None where it was not tested."""
    claim = card.claims[name]
    missing = [artefact for artefact in claim.artefacts if artefact not in metrics]
    read = of_variant({a: metrics[a] for a in claim.artefacts if a in metrics}, claim.variant)
    without = [a for a, table in read.items() if claim.variant and table.empty]
    seeds, row = 0, None
    if missing:
        verdict = NOT_RUN
        why = Why("", card.skipped.get(missing[0], f"{missing[0]} has not been run"))
    elif name not in tests:
        verdict, why = NOT_RUN, Why("", "no test is written for this claim")
    elif without:
        said = f"{without[0]} was run without the variant '{claim.variant}'"
        verdict, why = NOT_RUN, Why("", said)
    else:
        found = outcome(claim, tests[name], read)
        there = min(max(1, int(table["seed"].nunique())) for table in read.values())
        reads = tests[name].reads
        decisive = {
            artefact: described_first(table[table["quantity"].str.fullmatch(reads)])
            for artefact, table in read.items()
        }
        trained = _fewest_seeds(card, decisive)
        seeds = trained or there
        verdict, why = _decide(card, claim, found, decisive, there, trained, trainings)
        row = _row(name, found)
    return (
        Verdict(
            card=card.id,
            artefact=claim.artefacts[0],
            quantity=name,
            unit="claim",
            published=claim.text,
            n_seeds=seeds,
            reference=card.references[claim.artefacts[0]],
            variant=claim.variant or "as_described",
            verdict=verdict,
            reason=with_note(why.text, card.note),
            cause=why.cause,
        ),
        row,
    )


def _decide(
    card: JudgedCard,
    claim: Claim,
    found: Outcome,
    metrics: Metrics,
    there: int,
    trained: int | None,
    trainings: pd.DataFrame | None,
) -> tuple[str, Why]:
    told = "; ".join(part for part in (found.ours.measured, found.ours.reason) if part)
    demanded = min([claim.seeds, *map(card.seeds_of_artefact, claim.artefacts)])
    if there < demanded:
        short = f"only {there} of {demanded} seeds are there"
        return NOT_RUN, Why(SEEDS, f"{short}; {told}" if told else short)
    if not card.judged:
        return CANNOT_DECIDE, Why(PLUMBING, told)
    why = found.undecided
    if why and found.ours.holds is None:
        return CANNOT_DECIDE, Why(why.cause, told or why.text)
    for artefact, table in metrics.items() if not why else ():
        names, of_seeds = trainings_behind(card, artefact, table)
        why = remark(table) or why_unsound(trainings, names, of_seeds, learned=claim.learned)
        if why:
            break
    if not why and trained is not None and trained < claim.seeds:
        why = Why(SEEDS, f"{trained} of the {claim.seeds} seeds that the sentence takes")
    if why:
        return CANNOT_DECIDE, Why(why.cause, f"{why.text}; {told}")
    return (REPRODUCED if found.ours.holds else DEVIATES), Why("", told)


def _fewest_seeds(card: JudgedCard, metrics: Metrics) -> int | None:
    """Return of how many seeds each trained quantity is at least; None where none was trained."""
    found = []
    for artefact, table in metrics.items():
        filled = table.assign(variant=table["variant"].fillna("as_described"))
        for _, rows in filled.groupby(["quantity", "variant"]):
            if trainings_behind(card, artefact, rows)[0]:
                found.append(max(1, int(rows["seed"].nunique())))
    return min(found, default=None)


def _row(name: str, found: Outcome) -> dict[str, Any]:
    row = {"claim": name} | asdict(found.ours)
    row |= {"trivial": found.of_trivial, "trivial_measured": found.exempt}
    if found.trivial is not None:
        row["trivial_measured"] = found.trivial.measured or found.trivial.reason
    if found.control is not None:
        row |= {"control_holds": found.control.holds, "control_measured": found.control.measured}
    return row

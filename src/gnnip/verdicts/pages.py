"""The recorded verdicts as Markdown: all of them, and one line per paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gnnip.files import read_json
from gnnip.verdicts import judge, show
from gnnip.verdicts.verdict import DECIDED, DEVIATES, NOT_RUN, REPRODUCED, Verdict, counts

#: the recorded run that is shown: the largest one there is
TIERS = ("paper", "long", "quick")
NOTHING = "No run has been recorded yet."


class About(Protocol):
    """What a line about a card says of its paper."""

    title: str
    authors: list[str]
    summary: str


@dataclass(frozen=True)
class Recorded:
    """The verdicts of a recorded run; of one that is not `whole` those of its artefacts alone."""

    card: str
    tier: str
    whole: bool
    hardware: str
    rows: list[Verdict]


def recorded(root: Path) -> Iterator[Recorded]:
    """Yield the largest recorded run of each card below `root`, and before it the larger ones in
    which some artefacts only were made. A run without a published number or a claim is left out."""
    for name in sorted({path.parent.name for path in root.glob("*/*/verdicts.json")}):
        for tier in TIERS:
            path = root / tier / name / "verdicts.json"
            if not path.exists():
                continue
            rows = judge.read_verdicts(path)
            provenance = path.with_name("provenance.json")
            whole = provenance.exists()
            runs = [provenance] if whole else sorted(path.parent.glob("*.provenance.json"))
            hardware = {
                ", ".join(run["trainings"]["devices"]) or run["cpu"] for run in map(read_json, runs)
            }
            if not whole:
                rows = [row for row in rows if row.verdict != NOT_RUN]
            if rows:
                yield Recorded(name, tier, whole, ", ".join(sorted(hardware)), rows)
            if rows and whole:
                break


def tables(root: Path) -> str:
    """Return the tables of all recorded verdicts."""
    parts = []
    for run in recorded(root):
        amount = "recorded" if run.whole else "recorded in part"
        parts.append(
            f"**{run.card}**, {amount} at tier `{run.tier}` ({run.hardware}). Ours is mean ± "
            "standard deviation (seeds); the baseline is the trivial predictor's value.\n\n"
            + show.format_markdown(run.rows)
        )
    return "\n\n".join(parts) or NOTHING


def overview(root: Path, cards: Mapping[str, About]) -> str:
    """Return a table with a line for each card: the paper by title and author, what it claims, and
    what was found."""
    runs: dict[str, list[Recorded]] = {}
    for run in recorded(root):
        runs.setdefault(run.card, []).append(run)
    if not runs:
        return NOTHING
    lines = ["| paper | what it claims | what we found |", "| --- | --- | --- |"]
    for name in dict.fromkeys([*cards, *runs]):
        found = "<br>".join(map(_found, runs.get(name, []))) or "Nothing is recorded yet."
        about, claim = f"[{name}](papers/{name})", ""
        if name in cards:
            card = cards[name]
            about, claim = f"{_authors(card.authors)}: {card.title} ({about})", card.summary
        lines.append(f"| {about} | {claim} | {found} |")
    return "\n".join(lines)


def _authors(names: Sequence[str]) -> str:
    """Return the family name of the first author, with `et al.` for more than two."""
    families = [name.split()[-1] for name in names]
    return f"{families[0]} et al." if len(families) > 2 else " and ".join(families)


def _found(run: Recorded) -> str:
    rest = unsettled(run.rows)
    part = "" if run.whole else ", recorded in part"
    return f"Tier `{run.tier}`{part}: {finding(run.rows)}{f' Open: {rest}.' if rest else ''}"


def unsettled(rows: Sequence[Verdict], most: int = 3) -> str:
    """Return how many rows are open, by verdict, with the `most` frequent causes of each."""
    told = []
    for verdict, n in counts(row.verdict for row in rows if row.verdict not in DECIDED):
        causes = Counter(row.cause for row in rows if row.verdict == verdict and row.cause)
        named = causes.most_common(most)
        left = causes.total() - sum(k for _, k in named)
        parts = [f"{cause} ({k})" if k < n else cause for cause, k in named]
        why = ", ".join(parts + ([f"other reasons ({left})"] if left else []))
        told.append(f"{n} {verdict}{f': {why}' if why else ''}")
    return "; ".join(told)


def finding(rows: Sequence[Verdict], most: int | None = None) -> str:
    """Return in a few sentences how many rows decide, which claims hold and which do not; of either
    at most `most` are named and the others counted."""
    decided = sum(row.verdict in DECIDED for row in rows)
    parts = [f"{decided} of {len(rows)} numbers and claims decided."]
    for verdict, word in ((REPRODUCED, "Holds"), (DEVIATES, "Does not hold")):
        texts = [str(r.published) for r in rows if r.unit == "claim" and r.verdict == verdict]
        if texts:
            named = [f"“{text}”" for text in texts[:most]]
            rest = [f"and {len(texts) - len(named)} more"] if len(named) < len(texts) else []
            parts.append(f"{word}: {'; '.join([*named, *rest])}.".replace("|", "/"))
    return " ".join(parts)

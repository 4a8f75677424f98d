"""The recorded verdicts as Markdown: all of them, and one line per paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnnip.files import read_json
from gnnip.verdicts import judge, show
from gnnip.verdicts.verdict import BETTER, DEVIATES, NOT_RUN, REPRODUCED, Verdict

#: the recorded run that is shown: the largest one there is
TIERS = ("paper", "long", "quick")
NOTHING = "No run has been recorded yet."


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


def overview(root: Path, summaries: Mapping[str, str]) -> str:
    """Return a table with a line for each card: what its paper claims (`summaries`, by card), and
    what was found."""
    runs: dict[str, list[Recorded]] = {}
    for run in recorded(root):
        runs.setdefault(run.card, []).append(run)
    if not runs:
        return NOTHING
    order = dict.fromkeys([*summaries, *runs])
    lines = ["| paper | what it claims | what we found |", "| --- | --- | --- |"]
    for card in order:
        found = "; ".join(_found(run) for run in runs.get(card, [])) or "nothing is recorded yet"
        lines.append(f"| [{card}](papers/{card}) | {summaries.get(card, '')} | {found} |")
    return "\n".join(lines)


def _found(run: Recorded) -> str:
    return f"{finding(run.rows)} (tier `{run.tier}`)"


def finding(rows: Sequence[Verdict]) -> str:
    """Return in a line which claims hold, which do not, and how many rows decide."""
    claims = [row for row in rows if row.unit == "claim"]
    parts = []
    for verdict, word in ((REPRODUCED, "holds"), (DEVIATES, "does not hold")):
        texts = [str(row.published) for row in claims if row.verdict == verdict]
        if texts:
            parts.append(f"{word}: {' / '.join(texts)}".replace("|", "/"))
    decided = sum(row.verdict in (REPRODUCED, BETTER, DEVIATES) for row in rows)
    parts.append(f"{decided} of {len(rows)} rows decided")
    return "; ".join(parts)

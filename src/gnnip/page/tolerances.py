"""How much hangs on the tolerances: verdicts on numbers when all are narrower or wider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.config import papers
from gnnip.page.sources import TIERS, Source, recorded
from gnnip.verdicts.judge import judge_folder
from gnnip.verdicts.verdict import VERDICTS, counts

#: tolerances are judged once more at these multiples of theirs
MULTIPLES = (0.5, 1.0, 2.0)
#: colours of verdicts, in their order
_COLOURS = (style.GREEN, style.BLUE, style.VERMILLION, style.ORANGE, style.GREY, style.PALE)
COLUMNS = ("paper", "tier", "multiple", "numbers", *VERDICTS, "changed", "within", "crossed")


def verdicts_at(source: Source) -> pd.DataFrame:
    """Return the verdicts on the numbers of a card, a column for each multiple."""
    module = papers.module(source.place, "claims")
    columns = {}
    for multiple in MULTIPLES:
        published = [
            block.model_copy(update={"tolerance": block.tolerance.times(multiple)})
            for block in source.card.published
        ]
        card = source.card.model_copy(update={"published": published})
        judged = judge_folder(card, source.figures, module, source.trainings)
        columns[multiple] = [v.verdict for v in judged.verdicts if v.unit != "claim"]
    return pd.DataFrame(columns)


def within_at(source: Source) -> pd.DataFrame:
    """Return whether the mean of each measured number lies within the tolerance, whatever else
    keeps it from being decided, a column for each multiple."""
    of = {(b.artefact, quantity): b for b in source.card.published for quantity in b.values}
    rows = []
    for row in source.verdicts:
        block = of.get((row.artefact, row.quantity))
        if block is None or row.ours_mean is None or isinstance(row.published, str):
            continue
        bounds = {m: block.tolerance.times(m).bounds(row.published) for m in MULTIPLES}
        rows.append({m: low <= row.ours_mean <= high for m, (low, high) in bounds.items()})
    return pd.DataFrame(rows, columns=list(MULTIPLES))


def sensitivity(sources: Sequence[Source]) -> pd.DataFrame:
    """Return a row for each card and multiple: how many numbers, how many of each verdict, and how
    many verdicts differ from those at the card's own tolerances; and how many means lie within,
    and how many do so at one of the two multiples alone."""
    rows: list[dict[str, Any]] = []
    for source in sources:
        found, within = verdicts_at(source), within_at(source)
        for multiple in MULTIPLES:
            inside = {"within": int(within[multiple].sum())}
            inside["crossed"] = int((within[multiple] != within[1.0]).sum())
            row = {"paper": source.name, "tier": source.tier, "multiple": multiple}
            changed = int((found[multiple] != found[1.0]).sum())
            told = dict.fromkeys(VERDICTS, 0) | dict(counts(found[multiple]))
            rows.append({**row, "numbers": len(found), **told, "changed": changed, **inside})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def of_records(root: Path) -> pd.DataFrame:
    """Return the table of the largest whole recorded run of each card below a folder."""
    known = [s for s in recorded(root) if (s.folder / "provenance.json").exists()]
    largest = {s.name: s for s in sorted(known, key=lambda s: TIERS.index(s.tier), reverse=True)}
    return sensitivity([largest[name] for name in sorted(largest)])


def as_markdown(table: pd.DataFrame) -> str:
    """Return the table in short: how many verdicts change, and which are given."""
    lines = [
        "| paper | numbers | verdicts that change when all are halved, doubled "
        "| means within when halved, as they are, doubled |",
        "| --- | --- | --- | --- |",
    ]
    for (paper, tier), part in table.groupby(["paper", "tier"], sort=False):
        changed = ", ".join(map(str, part.loc[part["multiple"] != 1.0, "changed"]))
        inside = ", ".join(map(str, part["within"]))
        numbers = part["numbers"].iloc[0]
        lines.append(f"| {paper}, tier `{tier}` | {numbers} | {changed} | {inside} |")
    return "\n".join(lines)


@style.styled
def draw(table: pd.DataFrame) -> Figure:
    """Draw the shares of verdicts of each card at each multiple, and how many change."""
    cards = list(dict.fromkeys(zip(table["paper"], table["tier"], strict=True)))
    height = 24.0 + 19.0 * len(cards)
    fig = style.figure(style.DOUBLE, height)
    ax = style.place(fig, 36.0, 13.0, 100.0, height - 26.0)
    ticks, labels = [], []
    for k, (paper, tier) in enumerate(cards):
        part = table[(table["paper"] == paper) & (table["tier"] == tier)]
        for n, row in enumerate(part.to_dict("records")):
            y, left = 4.0 * k + n, 0.0
            for verdict, colour in zip(VERDICTS, _COLOURS, strict=True):
                share = row[verdict] / row["numbers"]
                ax.barh(y, share, left=left, color=colour, height=0.85)
                left += share
            words = "" if row["multiple"] == 1.0 else f"{row['changed']} change; "
            words += f"{row['within']} within"
            ax.text(1.02, y, words, va="center", fontsize=7)
            ticks.append(y)
            labels.append(f"{row['multiple']:g} ×")
        ax.text(-0.13, 4.0 * k + 1.0, f"{paper}\n{tier}", ha="right", va="center", fontsize=7)
    for verdict, colour in zip(VERDICTS, _COLOURS, strict=True):
        ax.barh([0.0], [0.0], color=colour, label=verdict)
    ax.set_yticks(ticks, labels)
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(0.0, 1.0), ylim=(4.0 * len(cards) - 1.2, -0.8))
    ax.set_xlabel("share of the published numbers")
    top = (0.5, 1.0 - style.MM / fig.get_figheight())
    fig.legend(loc="upper center", ncol=len(VERDICTS), bbox_to_anchor=top, columnspacing=1.0)
    return fig

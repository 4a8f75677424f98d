"""Verdicts as text, Markdown and HTML."""

from __future__ import annotations

import re
import textwrap

from gnnip.verdicts.verdict import BETTER, CANNOT_DECIDE, DEVIATES, REPRODUCED, Verdict, counts


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
    told = counts(verdict.verdict for verdict in verdicts)
    return f"{len(verdicts)} rows: " + ", ".join(f"{n} {kind}" for kind, n in told)


def format_markdown(verdicts: list[Verdict]) -> str:
    """Return the verdicts as Markdown: the numbers in one table, the claims in another."""
    numbers = [verdict for verdict in verdicts if verdict.unit != "claim"]
    claims = [verdict for verdict in verdicts if verdict.unit == "claim"]
    lines = []
    if numbers:
        lines += ["| " + " | ".join(_HEADER) + " |", "|" + " --- |" * len(_HEADER)]
        lines += ["| " + " | ".join([*_cells(v)[:-1], _because(v)]) + " |" for v in numbers] + [""]
    if claims:
        lines += ["| claim | verdict | reason |", "| --- | --- | --- |"]
        rows = [(v.published, v.verdict, v.reason.replace("|", "/")) for v in claims]
        lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows] + [""]
    return "\n".join([*lines, count(verdicts)])


def _because(verdict: Verdict) -> str:
    """Return the verdict, and where it cannot decide why in a few words."""
    if verdict.verdict != CANNOT_DECIDE:
        return verdict.verdict
    return f"{verdict.verdict}: {verdict.reason.split('; ')[0]}".replace("|", "/")


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

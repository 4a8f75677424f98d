"""What the page says of each paper, as plain values that the template lays out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.config import papers
from gnnip.datasets.registry import load_registry
from gnnip.files import yaml_lines
from gnnip.page.charts import ratio_axis, training_curves
from gnnip.page.pictures import picture
from gnnip.page.sources import Paper, Source
from gnnip.page.tolerances import verdicts_at
from gnnip.provenance import cost_rows
from gnnip.verdicts.pages import finding, unsettled
from gnnip.verdicts.published import Published
from gnnip.verdicts.verdict import Verdict, counts

#: what a finding is about, and the kinds of artefacts that are about it
FINDINGS: dict[str, tuple[str, ...]] = {
    "accuracy": (
        *("errors", "learning_curve", "parity", "calibration", "scan"),
        *("local_forces", "force_against_distance"),
    ),
    "splits": (),
    "symmetry": (),
    "conservation": ("conservation",),
    "stability": ("dynamics",),
    "speed": ("cost_against_size",),
}
#: the column that every number with a baseline stands in as well
BASELINE = "trivial baseline"


def facts(paper: Paper) -> dict[str, Any]:
    """Return all that the page says of a paper."""
    card = paper.best.card
    chosen = paper.verdicts()
    verdicts = [verdict for _, verdict in chosen]
    rows = [_row(source, verdict) for source, verdict in chosen]
    artefacts = [
        _artefact(paper, name, rows)
        for name in dict.fromkeys(n for source in paper.sources for n in source.card.artefacts)
    ]
    return {
        "id": card.id,
        "title": card.title,
        "authors": card.authors,
        "citation": card.citation,
        "doi": "" if card.doi == "none" else card.doi,
        "claims_in_short": card.summary,
        # the first screen has room for so many
        "finding": finding(verdicts, most=1),
        "open": unsettled(verdicts, most=2),
        "counts": counts(row["verdict"] for row in rows),
        "rows": rows,
        "axis": ratio_axis(),
        "tiers": [_tier(source) for source in paper.sources],
        "datasets": _datasets(paper),
        "artefacts": [artefact for artefact in artefacts if artefact],
        "thumbnail": _thumbnail(paper),
        "matrix": _matrix(paper, rows),
        "sensitivity": _sensitivity(paper.best),
        "tolerances": _tolerances(paper.best),
        "curves": training_curves(paper.best.histories()),
        "dynamics": _dynamics(paper),
    }


def _row(source: Source, verdict: Verdict) -> dict[str, Any]:
    claim = verdict.unit == "claim"
    row = {
        "claim": claim,
        "tier": source.tier,
        "artefact": verdict.artefact,
        "what": str(verdict.published) if claim else verdict.quantity.replace("_", " "),
        "name": verdict.quantity,
        "variant": "" if verdict.variant == "as_described" else verdict.variant,
        "unit": "" if claim else verdict.unit,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "seeds": verdict.n_seeds,
        "reference": verdict.reference,
    }
    if claim:
        return row | _claim(source, verdict)
    published = float(verdict.published)
    return row | {
        "published": f"{published:g}",
        "tolerance": verdict.tolerance,
        "ours": _number(verdict.ours_mean),
        "spread": _number(verdict.ours_std, 2),
        "baseline": _number(verdict.baseline),
        "marks": _marks(source, verdict, published),
    }


def _claim(source: Source, verdict: Verdict) -> dict[str, Any]:
    """Return what the test of a claim measured, and what a trivial predictor got."""
    found = source.claims.get(verdict.quantity, {})
    return {name: found.get(name, "") for name in ("measured", "trivial")}


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def _block(source: Source, verdict: Verdict) -> Published | None:
    return next(
        (
            block
            for block in source.card.published
            if block.artefact == verdict.artefact and verdict.quantity in block.values
        ),
        None,
    )


def _marks(source: Source, verdict: Verdict, published: float) -> dict[str, float]:
    """Return ours, the baseline and the tolerance in units of the published value.

    Where the published value is 0, or a ratio is no positive number, there is no mark.
    """
    block = _block(source, verdict)
    values = {"ours": verdict.ours_mean, "baseline": verdict.baseline}
    if block is not None:
        values["low"], values["high"] = block.tolerance.bounds(published)
    return {
        name: value / published
        for name, value in values.items()
        if value is not None and published and value / published > 0
    }


def _tier(source: Source) -> dict[str, Any]:
    runs = sorted(source.folder.glob("*provenance.json"))
    made = [source.provenance(name) for name in source.card.artefacts if source.has(name)]
    known = {run["git_commit"]: run for run in made if run}.values()
    return {
        "tier": source.tier,
        "note": source.card.note,
        "whole": any(path.name == "provenance.json" for path in runs),
        "commits": sorted({str(run["git_commit"])[:7] for run in known}),
        "devices": sorted({d for run in known for d in run["trainings"]["devices"] or ["cpu"]}),
        "cpu": sorted({run["cpu"] for run in known}),
        "costs": [row for run in known for row in cost_rows(run["rules"])],
        "hours": sum(run["wall_s"] for run in known) / 3600.0,
        "peak_gb": max((run["peak_memory_mb"] or 0.0 for run in known), default=0.0) / 1000.0,
    }


def _datasets(paper: Paper) -> list[dict[str, Any]]:
    registry = load_registry()
    found = []
    for name in dict.fromkeys(n for source in paper.sources for n in source.card.used_datasets()):
        entry = registry.get(name, {})
        found.append(
            {
                "name": name,
                "title": entry.get("title", ""),
                "frames": entry.get("n_frames"),
                "reference": entry.get("reference") or _reference(paper, name),
                "engine": entry.get("made", {}).get("engine", ""),
                "sha256": entry.get("sha256", ""),
                "licence": entry.get("licence", ""),
            }
        )
    return found


def _reference(paper: Paper, dataset: str) -> str:
    source = next(s for s in paper.sources if dataset in s.card.datasets)
    return source.card.reference_of(dataset)


def _artefact(paper: Paper, name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    source = paper.source_of(name)
    if source is None:
        return None
    card, own = source.card, [row for row in rows if row["artefact"] == name]
    artefact, run = card.artefacts[name], source.provenance(name)
    kind, written = card.artefact_kind(name), source.place / papers.CARD
    function = kind.function if kind else f"{card.id}.tables:{artefact.function or name}"
    figure = kind.figure if kind else f"{card.id}.figures:{artefact.function or name}"
    path = source.figures / f"{name}.png"
    return {
        "name": name,
        "label": artefact.label,
        "title": artefact.title,
        "beyond": artefact.beyond,
        "tier": source.tier,
        "picture": picture(path) if path.exists() else "",
        "published": _published_sentence(own, artefact.beyond),
        "outcome": _outcome_sentence(own),
        "counts": counts(row["verdict"] for row in own),
        "origin": {
            "table": function,
            "figure": figure,
            "rules": "tabulate_artefact, plot_artefact (workflow/rules/artefacts.smk)",
            "card": f"{written.as_posix()}:{_lines(written).get(name, 1)}",
            "datasets": card.datasets_of(name),
            "trainings": card.groups_behind(name),
            "commit": str(run.get("git_commit", ""))[:7],
            "device": ", ".join(run.get("trainings", {}).get("devices", [])) or run.get("cpu", ""),
            "again": f"snakemake --cores all --config tier={source.tier} papers={card.id} "
            f"artefacts={name}",
            "redraw": f"snakemake --cores 1 results/figures/{source.tier}/{card.id}/{name}.png",
        },
    }


def _thumbnail(paper: Paper) -> str:
    """Return the first figure that there is, small."""
    names = (name for source in paper.sources for name in source.card.artefacts)
    found = ((name, paper.source_of(name)) for name in names)
    paths = (source.figures / f"{name}.png" for name, source in found if source)
    first = next((path for path in paths if path.exists()), None)
    return picture(first, 220) if first else ""


@cache
def _lines(card: Path) -> dict[str, int]:
    """Return the line of the card on which each artefact begins."""
    return yaml_lines(card, "artefacts")


def _published_sentence(rows: Sequence[dict[str, Any]], beyond: bool) -> str:
    numbers = [row for row in rows if not row["claim"]]
    claims = {row["what"] for row in rows if row["claim"]}
    if numbers:
        values = [float(row["published"]) for row in numbers if row["unit"] == numbers[0]["unit"]]
        least, most = f"{min(values):g}", f"{max(values):g}"
        span = least if least == most else f"{least} to {most}"
        told = "one number" if len(numbers) == 1 else f"{len(numbers)} numbers"
        return f"The paper gives {told} ({span} {numbers[0]['unit']}".rstrip() + ")."
    if claims:
        return f"The paper says: {min(claims)}."
    return "The paper has no such figure." if beyond else "The paper gives no number to compare."


def _outcome_sentence(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "Nothing here is compared with the paper."
    told = ", ".join(f"{n} {kind}" for kind, n in counts(row["verdict"] for row in rows))
    ratios = [
        row["marks"]["ours"] for row in rows if not row["claim"] and "ours" in row.get("marks", {})
    ]
    if not ratios:
        return f"Ours: {told}."
    return f"Ours: {told}; at the median {np.median(ratios):.2g} times the published value."


def _matrix(paper: Paper, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what was found of each kind of finding: counts of verdicts, or why there are none."""
    about: dict[str, list[str]] = {finding: [] for finding in FINDINGS}
    for source in paper.sources:
        for name, artefact in source.card.artefacts.items():
            kinds = [f for f, names in FINDINGS.items() if artefact.kind in names]
            finding: str | None = artefact.about or next(iter(kinds), None)
            if finding and name not in about[finding]:
                about[finding].append(name)
    cells: dict[str, dict[str, Any]] = {}
    for kind, names in about.items():
        own = [row for row in rows if row["artefact"] in names]
        made = [name for name in names if paper.source_of(name)]
        cells[kind] = {
            "counts": counts(row["verdict"] for row in own),
            "link": made[0] if made else "",
            "text": "",
            "why": "" if made else ("planned, not run yet" if names else "neither side has any"),
        }
    compared = [row for row in rows if not row["claim"] and row["baseline"] and row["ours"]]
    beaten = sum(_beats(row) for row in compared)
    cells[BASELINE] = {
        "counts": [],
        "link": "",
        "text": f"{beaten} of {len(compared)} numbers beat it" if compared else "",
        "why": "" if compared else "no number has one",
    }
    return cells


def _beats(row: dict[str, Any]) -> bool:
    """Tell whether ours is better than the trivial predictor's, which both are errors."""
    return float(row["ours"]) < float(row["baseline"])


def _sensitivity(source: Source) -> list[tuple[str, list[tuple[str, int]]]]:
    """Return the counts of verdicts with all tolerances at multiples of what they are."""
    found = verdicts_at(source)
    return [(f"{multiple:g}", counts(found[multiple])) for multiple in found]


def _tolerances(source: Source) -> list[tuple[str, str]]:
    """Return each tolerance of the card once, and where it comes from."""
    told = [(str(b.tolerance), b.tolerance.because) for b in source.card.published]
    return [(tolerance, why) for tolerance, why in dict.fromkeys(told) if why]


def _dynamics(paper: Paper) -> list[dict[str, Any]]:
    """Return how far the replicas of each potential got, and why they ended."""
    rows = []
    for source in paper.sources:
        for measurement, frames in source.last_frames.items():
            ends: dict[str, dict[int, dict[str, Any]]] = {}
            for atoms in frames:  # a replica's last stored frame has the time, a bad one the reason
                replicas = ends.setdefault(str(atoms.info["potential"]), {})
                replicas.setdefault(int(atoms.info["replica"]), {}).update(atoms.info)
            for potential, found in ends.items():
                times = [float(end.get("time_fs", 0.0)) / 1000.0 for end in found.values()]
                reasons = Counter(str(end.get("reason", "the end")) for end in found.values())
                rows.append(
                    {
                        "tier": source.tier,
                        "measurement": measurement,
                        "potential": potential,
                        "replicas": len(found),
                        "shortest_ps": min(times),
                        "longest_ps": max(times),
                        "reasons": ", ".join(f"{n} × {why}" for why, n in reasons.items()),
                    }
                )
        if rows:
            break
    return rows

"""What jobs are told of a card: plain values, of which only a change of their own redoes a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gnnip.config.resolve import ResolvedCard
from gnnip.config.schema import TrainingGroup
from gnnip.config.trainings import Cell

#: group, cell, seed and folder of a training
Place = tuple[str, Cell, int, str]


def measurement_facts(
    card: ResolvedCard,
    name: str,
    datasets: Sequence[str],
    trainings: Sequence[Place],
    trajectories: Mapping[str, str],
) -> dict[str, Any]:
    """Return a measurement as `gnnip.measurements` reads it: kind, options and sources.

    `datasets` are the files of `card.datasets_measured(name)`, `trajectories` those of dynamics by
    what moves the atoms.
    """
    return {
        "kind": card.measurements[name].kind,
        "options": asdict(card.measurement_kind(name)),
        "datasets": dict(zip(card.datasets_measured(name), datasets, strict=True)),
        "trainings": [
            {
                "folder": folder,
                "group": group,
                "cell": cell.name,
                "seed": seed,
                "dataset": card.trainings[group].dataset,
                "keys": dict(cell.values),
            }
            for group, cell, seed, folder in trainings
        ],
        "trajectories": dict(trajectories),
    }


def artefact_facts(card: ResolvedCard, name: str) -> dict[str, Any]:
    """Return what an artefact may know of the card, as `gnnip.artefacts.inputs` reads it."""
    made_of = card.artefacts[name]
    parts = {m: card.measurement_file(m) for m in made_of.measurements if m in card.parts}
    return {
        **_made_by(card, name),
        **({"parts": parts} if parts else {}),
        "datasets": made_of.datasets,
        "references": {d: card.reference_of(d) for d in card.datasets_of(name)},
        "trainings": {g: _group_facts(card, g, made_of.cells) for g in made_of.trainings},
        "measurements": {
            m: card.measurements[m].model_dump(mode="json") for m in made_of.measurements
        },
        "variants": {g: card.trainings[g].variant for g in card.groups_behind(name)},
        "published": [
            block.model_dump(mode="json", include={"artefact", "unit", "values"})
            for block in card.published
            if block.artefact == name
        ],
    }


def figure_info(
    card: ResolvedCard, name: str, groups: Mapping[str, TrainingGroup]
) -> dict[str, Any]:
    """Return what is written on a figure, and what draws it; `groups` have labels and colours."""
    artefact = card.artefacts[name]
    return {
        **_made_by(card, name),
        "reference": _reference_line(card, name),
        "label": artefact.label,
        "title": artefact.title,
        "trainings": artefact.trainings,
        "looks": {g: {"label": groups[g].label or g, "colour": groups[g].colour} for g in groups},
        "claims": [claim.text for claim in card.claims.values() if name in claim.artefacts],
    }


def _made_by(card: ResolvedCard, artefact: str) -> dict[str, Any]:
    """Return which artefact it is and what makes it, with the defaults of its kind."""
    stated, kind = card.artefacts[artefact], card.artefact_kind(artefact)
    return {
        "card": card.id,
        "tier": card.tier,
        "artefact": artefact,
        "kind": stated.kind,
        "function": stated.function or artefact,
        "options": dict(stated.options) if kind is None else asdict(kind),
    }


def _group_facts(card: ResolvedCard, group: str, chosen: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return a training group with those of its cells that are read, each with its matrix values
    and its split, and the names of the others, where there are any."""
    cells = [
        {
            "name": cell.name,
            "keys": dict(cell.values),
            "split": card.training(group, cell).split,
        }
        for cell in card.cells(group)
        if cell.chosen(chosen)
    ]
    others = [cell.name for cell in card.cells(group) if not cell.chosen(chosen)]
    stated = card.trainings[group].model_dump(mode="json", exclude={"ship", "by_cell"})
    return stated | {"cells": cells} | ({"other_cells": others} if others else {})


def _reference_line(card: ResolvedCard, artefact: str) -> str:
    """Return the reference behind an artefact, by data set where they differ."""
    words = {d: card.reference_of(d) for d in card.datasets_of(artefact)}
    if len(set(words.values())) <= 1:
        return next(iter(words.values()), "")
    return ", ".join(f"{word} ({dataset})" for dataset, word in words.items())

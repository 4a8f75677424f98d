"""The card of a training on a user's own frames: shared kinds, no published values, no Python."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gnnip import catalogue
from gnnip.config.schema import TrainingSettings
from gnnip.errors import ConfigError, nearest

#: name of the data set, and of the measurements
FRAMES, TEST, MD = "frames", "test", "md"
CALIBRATION, WARNINGS = "calibration", "warnings"
#: what a training is where the user says nothing; a stress of 0.001 eV/A^3, 0.16 GPa, weighs as
#: much as 0.03 eV/A on every atom
SETTINGS: dict[str, Any] = {
    "loss": "mse",
    "per_atom": True,
    "learning_rate": 0.01,
    "batch_size": 5,
    "epochs": 100,
    "scheduler": "cosine",
    "ema": 0.99,
}
#: frames, of which the division holds out enough to judge an ensemble
ENOUGH = 20
FORCE_WEIGHT, STRESS_WEIGHT = 1.0, 1000.0
_CURVE = {"series": "target", "words": {"labels": {"total": "validation"}}}


@dataclass(frozen=True)
class Choices:
    """What a user chooses of a training.

    model : as for `gnnip.models.build`.
    options : settings of the training and hyper-parameters of the model, told apart by their names.
    seeds : trainings with different weights and batches, on one division of the frames.
    split : a scheme of `gnnip.datasets.splits`; None takes trajectory where frames say so.
    md : ps of dynamics at constant energy, none when 0.
    temperature : K, of the velocities at its start.
    replicas : of it, each from another frame.
    """

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 1
    split: str | None = None
    md: float = 0.0
    temperature: float = 300.0
    replicas: int = 4


@dataclass(frozen=True)
class Known:
    """What is known of the frames: how many, atomic numbers, which labels they have, and whether
    there are trajectories to hold out."""

    frames: int
    elements: Sequence[int]
    forces: bool
    stress: bool
    trajectories: bool


def name_of(text: str) -> str:
    """Return a name that a card or a training group may have, close to a text."""
    name = re.sub(r"[^a-z0-9]+", "_", text.rpartition(":")[2].lower()).strip("_")
    return name if re.match("[a-z]", name) else f"run_{name}".strip("_")


def make_card(
    name: str, source: Mapping[str, Any], choices: Choices, known: Known
) -> dict[str, Any]:
    """Return the card as it is written to `train.yaml`.

    Args:
        name: of the run.
        source: of the frames, settings of an import.
        choices: the user's.
        known: what the frames have.

    Raises:
        ConfigError: an option that is neither a setting nor a hyper-parameter.
    """
    group = name_of(choices.model)
    card: dict[str, Any] = {
        "id": name,
        "title": f"{group} on {source['path'].rpartition('/')[2]}",
        "authors": ["you"],
        "citation": "not published",
        "doi": "none",
        "datasets": {FRAMES: {"source": "folder", "folder": dict(source)}},
        "trainings": {group: _training(group, choices, known)},
        "measurements": {TEST: {"kind": "evaluation", "trainings": [group], "seeds": "all"}},
        "artefacts": {
            "errors": _artefact("Errors", "Errors beside those of trivial predictors", "errors")
            | {"trainings": [group]},
            "learning_curve": _artefact("Learning", "Energy errors by epoch", "learning_curve")
            | {"trainings": [group], "options": {**_CURVE, "quantity": group}},
            "parity": _artefact("Parity", "Predictions on test frames", "parity")
            | {"measurements": [TEST]},
        },
    }
    if choices.seeds > 1 and known.forces and known.frames >= ENOUGH:
        card["measurements"][CALIBRATION] = {**_of_seeds(group), "kind": "calibration"}
        card["artefacts"]["calibration"] = _artefact(
            "Calibration", "Error against spread of the seeds", "calibration"
        ) | {"measurements": [CALIBRATION]}
    if choices.md:
        card["measurements"][MD] = _dynamics(group, choices)
        card["artefacts"]["survival"] = _artefact(
            "Dynamics", "Replicas alive at constant energy", "dynamics"
        ) | {"measurements": [MD]}
        if CALIBRATION in card["measurements"]:
            card["measurements"][WARNINGS] = {
                **_of_seeds(group),
                "kind": "warnings",
                "options": {"dynamics": MD},
            }
            card["artefacts"]["warning"] = _artefact(
                "Warnings", "Spread of the seeds along the dynamics", "dynamics"
            ) | {"measurements": [WARNINGS], "options": {"view": "warning"}}
    return card


def _training(group: str, choices: Choices, known: Known) -> dict[str, Any]:
    """Return the training group."""
    settings, hyperparameters = _routed(choices, known)
    scheme = choices.split or ("trajectory" if known.trajectories else "random")
    return {
        "label": group.replace("_", " "),
        "dataset": FRAMES,
        "model": choices.model,
        "target": "total",
        "hyperparameters": hyperparameters,
        "settings": settings,
        # seeds are an ensemble, which frames that none has learned from must judge
        "split": {"scheme": scheme, "seed": 0},
        "seeds": choices.seeds,
    }


def _of_seeds(group: str) -> dict[str, Any]:
    """Return what a measurement of the seeds of a group begins with."""
    return {"trainings": [group], "seeds": "all"}


def _artefact(label: str, title: str, kind: str) -> dict[str, Any]:
    return {"label": label, "title": title, "kind": kind}


def _routed(choices: Choices, known: Known) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings and hyper-parameters, with what the frames decide of them."""
    settings = dict(SETTINGS)
    settings["force_weight"] = FORCE_WEIGHT if known.forces else 0.0
    settings["stress_weight"] = STRESS_WEIGHT if known.stress else 0.0
    offered = catalogue.hyperparameters(choices.model)
    hyperparameters: dict[str, Any] = {}
    for key, value in choices.options.items():
        if key in offered:
            hyperparameters[key] = value
        elif key in TrainingSettings.model_fields:
            settings[key] = value
        else:
            names = [*TrainingSettings.model_fields, *offered]
            raise ConfigError(
                f"'{key}' is neither a setting of trainings nor an option of the potential "
                f"'{choices.model}'{nearest(key, names)}"
            )
    _fill_species(choices.model, hyperparameters, known.elements)
    return settings, hyperparameters


def _fill_species(model: str, hyperparameters: dict[str, Any], elements: Sequence[int]) -> None:
    """Let a potential that lists its elements know those of the frames, and the terms of a sum."""
    if "species" in catalogue.hyperparameters(model):
        hyperparameters.setdefault("species", [int(z) for z in elements])
    terms = hyperparameters.get("terms")
    for term in terms if isinstance(terms, list) else []:
        if isinstance(term, dict) and isinstance(term.get("model"), str) and "initial" not in term:
            inner = term.setdefault("hyperparameters", {})
            _fill_species(term["model"], inner, elements)


def _dynamics(group: str, choices: Choices) -> dict[str, Any]:
    """Return the measurement of a dynamics at constant energy, of the first seed."""
    duration = 1000.0 * choices.md
    motion = {
        "temperature": choices.temperature,
        "starts": choices.replicas,
        "repeats": 1,
        "duration": duration,
        "time_step": 1.0,
        "thermostat": "none",
        # frames may be hotter than the dynamics is to be, which then warms up
        "criteria": {"temperature_factor": 10.0},
        "record_every": 5.0,
        "frame_every": 50.0,
    }
    comparison = {"discard": min(100.0, 0.1 * duration), "timed_steps": 0, "snapshots": True}
    options = {"motion": motion, "comparison": comparison}
    return {"kind": "dynamics", "trainings": [group], "options": options}

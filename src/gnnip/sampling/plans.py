"""The plan of what is sampled: the preset of a data set with what a card changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import import_module
from typing import Any

import numpy as np

from gnnip.errors import ConfigError, nearest

PRESETS = ("paper", "smoke")


def make_plan(dataset: str, size: int | None, replica: int, changes: Mapping[str, Any]) -> Any:
    """Return the plan of one trajectory of `gnnip.sampling.<dataset>`.

    `changes` are fields of the plan; `preset` among them chooses what they change: paper (the
    shipped data set, the default) or smoke (seconds, for tests). Without a size it is that of the
    preset.

    Raises ConfigError for an unknown preset or field, and what the plan itself refuses.
    """
    values = dict(changes)
    preset = str(values.pop("preset", "paper"))
    if preset not in PRESETS:
        raise ConfigError(
            f"The plan of {dataset} has no preset '{preset}'{nearest(preset, PRESETS)}."
        )
    make = getattr(import_module(f"gnnip.sampling.{dataset}"), f"{preset}_plan")
    plan = make(replica=replica) if size is None else make(size, replica)
    return change_plan(dataset, plan, values, also=("preset",))


def make_drawing_plan(dataset: str, changes: Mapping[str, Any]) -> Any:
    """Return the plan of independent structures that `gnnip.sampling.<dataset>` draws.

    Raises ConfigError for an unknown field, and what the plan itself refuses.
    """
    return change_plan(dataset, import_module(f"gnnip.sampling.{dataset}").Plan(), changes)


def change_plan(
    dataset: str, plan: Any, changes: Mapping[str, Any], also: tuple[str, ...] = ()
) -> Any:
    """Return a plan (a dataclass) with some fields changed; lists become tuples.

    Raises ConfigError for an unknown field (`also` are names to suggest) and what the plan refuses.
    """
    known = [field.name for field in fields(plan)]
    for name in changes:
        if name not in known:
            raise ConfigError(
                f"A plan of {dataset} has no '{name}'{nearest(name, [*known, *also])}."
            )
    return replace(plan, **{k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()})


def check_plan(plan: Any, *positive: str, not_negative: tuple[str, ...] = ()) -> None:
    """Raise ConfigError for the first named field that is not above zero, or is negative."""
    for name in (*positive, *not_negative):
        value = getattr(plan, name)
        if not (np.isfinite(value) and (value > 0 or (value == 0 and name in not_negative))):
            bound = ">= 0" if name in not_negative else "> 0"
            raise ConfigError(f"A plan cannot use {name} = {value}; it must be {bound}.")


def check_temperatures(temperatures: tuple[float, ...]) -> None:
    """Raise ConfigError for a ladder (kelvin) without a rung, or with one that is not above 0."""
    if not temperatures or min(temperatures) <= 0:
        raise ConfigError("A trajectory needs at least one temperature, all above 0 K.")

"""The plan of one trajectory: the preset of its system with what a card changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import import_module
from typing import Any

from gnnip.errors import ConfigError, nearest

PRESETS = ("paper", "smoke")


def make_plan(dataset: str, size: int, replica: int, changes: Mapping[str, Any]) -> Any:
    """Return the plan of one trajectory of `gnnip.sampling.<dataset>`.

    `changes` are fields of the plan; `preset` among them chooses what they change: paper (the
    shipped data set, the default) or smoke (seconds, for tests).

    Raises ConfigError for an unknown preset or field, and what the plan itself refuses.
    """
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    preset = str(values.pop("preset", "paper"))
    if preset not in PRESETS:
        raise ConfigError(
            f"The plan of {dataset} has no preset '{preset}'{nearest(preset, PRESETS)}."
        )
    plan = getattr(import_module(f"gnnip.sampling.{dataset}"), f"{preset}_plan")(size, replica)
    known = [field.name for field in fields(plan)]
    for name in values:
        if name not in known:
            raise ConfigError(
                f"A plan of {dataset} has no '{name}'{nearest(name, [*known, 'preset'])}."
            )
    return replace(plan, **values)

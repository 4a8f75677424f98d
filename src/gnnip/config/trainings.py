"""Trainings of a card: the cells of a group's matrix, and what each of them is."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from gnnip.config.schema import EarlierTraining, Scalar, Split, TrainingGroup
from gnnip.errors import ConfigError, nearest
from gnnip.strict import validate
from gnnip.training.outputs import seed_numbers
from gnnip.training.settings import stated

# Where a matrix key goes is decided by its name alone; the rest are hyper-parameters.
_ROUTED: tuple[str, ...] = ("target", "model", "split")


@dataclass(frozen=True)
class Cell:
    """One combination of a group's matrix; `name` is the folder, e.g. `layer-gat_target-atomic`."""

    name: str
    values: tuple[tuple[str, Scalar], ...]

    #: what a cell's name is made of: the wildcard constraint of the pipeline
    pattern: ClassVar[str] = r"[A-Za-z0-9_.+\-]+"

    def chosen(self, choices: Mapping[str, Sequence[Scalar]]) -> bool:
        """Tell whether the cell has one of the given values for every key that it has."""
        return all(value in choices.get(key, [value]) for key, value in self.values)


@dataclass(frozen=True)
class TrainingSpec:
    """Everything that one training is, as plain values that a process can be given."""

    model: str
    dataset: str
    term: str
    hyperparameters: dict[str, Any]
    settings: dict[str, Any]
    split: dict[str, Any]

    def entry(
        self, folder: str, data: str, seed: int, trainings: str = "", **settings: Any
    ) -> dict[str, Any]:
        """Return the training as `gnnip.training.run` reads it: an entry of a spec file. Settings
        that are left at their defaults are not in it.

        Args:
            folder: where the results go.
            data: the archive of frames.
            seed: of the split, the initial weights and the order of batches.
            trainings: the folder of all trainings of the card, where those lie that this one starts
                from.
            settings: further settings, such as device and threads.
        """
        hyperparameters = copy.deepcopy(self.hyperparameters)
        for term in terms(hyperparameters):
            if isinstance(term.get("initial"), Mapping):
                earlier = term["initial"]
                place = (trainings, earlier["training"], earlier["cell"], f"seed-{seed}")
                term["initial"] = "/".join(part for part in place if part)
        return {
            "folder": folder,
            "data": data,
            "model": self.model,
            "hyperparameters": hyperparameters,
            "term": self.term,
            "split": self.split,
            "settings": stated(self.settings | settings) | {"seed": seed},
        }


def expand(group: TrainingGroup) -> list[Cell]:
    """Return every combination of the group's matrix; a group without one has the cell `all`."""
    if not group.matrix:
        return [Cell("all", ())]
    keys = list(group.matrix)
    cells = []
    for values in itertools.product(*group.matrix.values()):
        name = "_".join(f"{key}-{value}" for key, value in zip(keys, values, strict=True))
        if not re.fullmatch(Cell.pattern, name):
            raise ConfigError(
                f"The matrix value of '{name}' cannot be part of a folder name; "
                "use letters, digits, '.', '+' and '-'."
            )
        cells.append(Cell(name, tuple(zip(keys, values, strict=True))))
    return cells


def describe(group: TrainingGroup, cell: Cell) -> TrainingSpec:
    """Send each matrix value of `cell` to where it belongs and return the complete training."""
    hyperparameters = dict(group.hyperparameters)
    settings = group.settings.model_dump()
    split = group.split
    routed: dict[str, Any] = {"target": group.target, "model": group.model}
    for key, value in (*cell.values, *group.by_cell.get(cell.name, {}).items()):
        if key == "split":
            split = Split.model_validate(split.model_dump() | {"scheme": value})
        elif key == "train_frames":
            split = split.model_copy(update={key: value})
        elif key in split.where:
            split = split.model_copy(update={"where": split.where | {key: [value]}})
        elif key in _ROUTED:
            routed[key] = value
        elif key in settings:
            settings[key] = value
        else:
            hyperparameters[key] = value
    for key in ("model", "target"):
        if not routed[key]:
            raise ConfigError(
                f"A training group states no {key}; write it in the group or its matrix."
            )
    if not group.dataset:
        raise ConfigError("A training group states no dataset; write it in the group.")
    return TrainingSpec(
        model=str(routed["model"]),
        dataset=group.dataset,
        term=str(routed["target"]),
        hyperparameters=hyperparameters,
        settings=settings,
        split=split.stated(),
    )


def terms(hyperparameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the terms of a sum, and those of the sums among them."""
    found = hyperparameters.get("terms")
    for term in found if isinstance(found, list) else []:
        if isinstance(term, dict):
            yield term
            yield from terms(term.get("hyperparameters") or {})


def earlier(hyperparameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what the terms of a sum start from, where that is a training of the card."""
    found = [term.get("initial") for term in terms(hyperparameters)]
    return [initial for initial in found if isinstance(initial, Mapping)]


def resolve_training(
    groups: Mapping[str, TrainingGroup], group: str, cell: Cell, later: tuple[str, ...] = ()
) -> TrainingSpec:
    """Return the training of a cell; `later` are the groups that start from it.

    ConfigError for one that is not there, that is the training itself or depends on it, or that may
    have been trained on this one's test frames.
    """
    if group in later:
        raise ConfigError(f"the training '{group}' starts from itself; change its 'initial'.")
    training = describe(groups[group], cell)
    training = replace(training, hyperparameters=copy.deepcopy(training.hyperparameters))
    for term in terms(training.hyperparameters):
        if not isinstance(term.get("initial"), Mapping):
            continue
        wanted = validate(EarlierTraining, dict(term["initial"]), "initial")
        if wanted.training not in groups:
            raise ConfigError(
                f"initial: the training group '{wanted.training}' is not defined"
                f"{nearest(wanted.training, groups)}"
            )
        earlier_seeds = seed_numbers(groups[wanted.training].seeds)
        missing = [s for s in seed_numbers(groups[group].seeds) if s not in earlier_seeds]
        if missing:
            raise ConfigError(
                f"initial: the training '{wanted.training}' has no seed {missing[0]}, and "
                f"'{group}', which starts from it, has; give both the same seeds."
            )
        first = _cell_to_start_from(groups[wanted.training], wanted, cell)
        before = resolve_training(groups, wanted.training, first, (*later, group))
        if before.dataset == training.dataset and before.split != training.split:
            raise ConfigError(
                f"initial: the training '{wanted.training}' divides the frames of "
                f"{training.dataset} in another way, so it may have seen the test frames; give "
                "both the same split."
            )
        term["initial"] = {"training": wanted.training, "cell": first.name}
    return training


def _cell_to_start_from(group: TrainingGroup, wanted: EarlierTraining, cell: Cell) -> Cell:
    """Return the cell of `group` that `cell` starts from."""
    cells, own = expand(group), dict(cell.values)
    names = [c.name for c in cells]
    if wanted.cell is not None:
        if wanted.cell not in names:
            raise ConfigError(
                f"initial: the training '{wanted.training}' has no cell '{wanted.cell}'"
                f"{nearest(wanted.cell, names)}"
            )
        return cells[names.index(wanted.cell)]
    fitting = [c for c in cells if all(own.get(key, value) == value for key, value in c.values)]
    if len(fitting) != 1:
        raise ConfigError(
            f"initial: {len(fitting)} cells of the training '{wanted.training}' agree with the "
            f"cell '{cell.name}'; name one of {', '.join(names)} as 'cell'."
        )
    return fitting[0]

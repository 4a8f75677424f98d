"""What the user may write: `config.yaml` and one card per paper, as typed models.

The models reject unknown keys, the JSON schemas that editors use are generated from them, and
:func:`resolve` turns a card, a tier and the config into the one description that the pipeline runs.
Only pydantic and YAML are needed here, so that a dry-run starts fast.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from gnnip import catalogue
from gnnip.datasets.imports.settings import FolderSource
from gnnip.errors import ConfigError, nearest
from gnnip.strict import Strict, explain, full_stop, validate

Tier = Literal["smoke", "quick", "long", "paper"]
Source = Literal["archive", "generate", "download", "folder"]
Scalar = bool | int | float | str
TIERS: tuple[str, ...] = get_args(Tier)
#: tiers that start from what another one changes
_FOUNDATIONS = {"long": "quick"}
CARD_FOLDER = Path("papers")


def _as_list(value: Any) -> Any:
    """Accept `papers=gijon2023` and `papers=a,b` from the command line."""
    if isinstance(value, str):
        return [item for item in re.split(r"[,\s]+", value) if item]
    return value


# a name, or a folder written out; tags in brackets are left out of complaints
SourceChoice = Annotated[
    Annotated[Source, Tag("(name)")] | Annotated[FolderSource, Tag("(folder)")],
    Discriminator(lambda v: "(folder)" if isinstance(v, Mapping | FolderSource) else "(name)"),
]


class Config(Strict):
    """The user's few choices (`config.yaml`, or `snakemake --config key=value`)."""

    tier: Tier = "quick"
    """How much is run: smoke (plumbing only), quick (the default), long (an hour or more without a
    GPU) or paper (as published)."""
    papers: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        default=["gijon2023", "rajak2021", "cho2023", "kang2024", "hoedl2022"], min_length=1
    )
    """The cards to run, by the names of the files under papers/."""
    artefacts: Annotated[list[str], BeforeValidator(_as_list)] | None = Field(
        default=None, min_length=1
    )
    """The artefacts to make, by name, with what they need; null makes all of the cards."""
    seeds: int | None = Field(default=None, ge=1, le=100)
    """Trainings per model with different seeds; null takes the number that the card states."""
    sources: dict[str, SourceChoice] = {}
    """Where a data set comes from, by name: archive (shipped with the repository), generate,
    download (published by others), or a folder of your own frames, {path: ..., format: ...}."""
    references: dict[str, str] = {}
    """What labels a data set instead of its plan's engine, by name, e.g. {sic: cp2k cutoff=250};
    the data set is then generated."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks are trained; auto takes a GPU when there is one."""


class DatasetUse(Strict):
    """A data set that the card reads, and how it is made when its source is `generate`."""

    source: Source = "archive"
    """archive: the file that the registry names; generate: made by the pipeline's own rules;
    download: published by others; folder: the user's own frames."""
    published: str | None = None
    """Name of the published set (`download` only); null takes the data set's own name."""
    folder: FolderSource | None = None
    """Where the user's frames are and how they are read (`folder` only)."""
    verify_frames: int = Field(default=3, ge=1)
    """Frames whose labels are recomputed with the reference and compared, in every run."""
    plan: dict[str, Scalar | list[float] | list[int]] = {}
    """Fields of the sampling plan that differ from its defaults (used by `generate` only)."""
    sizes: list[int] = Field(default=[], min_length=0)
    """System sizes to sample, one trajectory each, e.g. water molecules per cluster; without any
    the structures are independent of each other and drawn in one job."""
    replicas: int = Field(default=1, ge=1)
    """Independent trajectories per size."""


class Split(Strict):
    """How frames are divided into train, validation and test sets."""

    scheme: Literal["random", "trajectory", "size", "columns"] = "random"
    """random: frame by frame, as the paper; trajectory: whole trajectories held out; size: train on
    small systems, test on large ones; columns: by values of the data set's columns."""
    where: dict[str, list[Scalar]] = {}
    """Keep only frames with these values of the data set's columns, e.g. distance_a: [4, 6]."""
    sizes: list[int] | None = None
    """Keep only these system sizes; null keeps all."""
    max_frames: int | None = Field(default=None, ge=10)
    """Keep at most so many frames, drawn evenly over the ensembles; null keeps all."""
    test_fraction: float | None = Field(default=None, gt=0, lt=1)
    """Scheme random: share of the frames in the test set."""
    validation_fraction: float | None = Field(default=None, gt=0, lt=1)
    """Schemes random and columns: share of the training frames set aside to choose the best
    epoch."""
    largest_train_size: int | None = Field(default=None, ge=1)
    """Scheme size: train on systems up to this size."""
    smallest_test_size: int | None = Field(default=None, ge=1)
    """Scheme size: test on systems from this size."""
    train_where: dict[str, list[Scalar]] | None = None
    """Scheme columns: values of the columns of training (and validation) frames."""
    test_where: dict[str, list[Scalar]] | None = None
    """Scheme columns: values of the columns of test frames."""
    together: str | None = None
    """Scheme columns: frames with one value of this column are not divided between training and
    validation."""

    def plan(self) -> dict[str, Any]:
        """Return the scheme and those options that it takes, without the ones left at null."""
        schemes = {
            "test_fraction": ("random",),
            "validation_fraction": ("random", "columns"),
            "largest_train_size": ("size",),
            "smallest_test_size": ("size",),
            "train_where": ("columns",),
            "test_where": ("columns",),
            "together": ("columns",),
        }
        stated = self.model_dump(exclude_none=True)
        return {
            k: v
            for k, v in stated.items()
            if self.scheme in schemes.get(k, (self.scheme,)) and (k != "where" or v)
        }


class TrainingSettings(Strict):
    """How a network is trained: the fields and defaults of :class:`gnnip.training.Settings`."""

    loss: Literal["mae", "mse", "huber"] = "mae"
    """What is minimised."""
    huber_delta: float = Field(default=0.01, gt=0)
    """Where the Huber loss turns linear, in the unit of the error."""
    energy_weight: float = Field(default=1.0, ge=0)
    """Weight of the energy term of the loss."""
    force_weight: float = Field(default=0.0, ge=0)
    """Weight of the force term of the loss; 0 trains on energies only."""
    stress_weight: float = Field(default=0.0, ge=0)
    """Weight of the stress term of the loss (periodic structures with stress labels)."""
    per_atom: bool = False
    """Divide energy errors by the number of atoms before the loss."""
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    """The optimiser."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Step size at the start."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Pull of the weights towards zero."""
    batch_size: int = Field(default=32, ge=1)
    """Structures per optimiser step."""
    epochs: int = Field(default=150, ge=1)
    """Passes over the training set."""
    scheduler: Literal["plateau", "cosine", "exponential"] | None = None
    """Learning-rate schedule; null keeps the rate constant."""
    warmup_epochs: int = Field(default=0, ge=0)
    """Epochs over which the rate rises from zero."""
    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    """Scheduler plateau: what the rate is multiplied by."""
    plateau_patience: int = Field(default=10, ge=0)
    """Scheduler plateau: epochs without a better validation loss before that."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """Where the schedule ends."""
    decay: float = Field(default=0.99, gt=0, le=1)
    """Scheduler exponential: factor per epoch."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of a moving average of the weights, per step; null for none."""
    clip: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient; null for no limit."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of weights and graphs."""
    processes: int = Field(default=1, ge=1)
    """Processes that share every batch, one per GPU; the result is the same but for rounding."""
    compile: bool = False
    """Compile the steps; the result is the same but for rounding, and what cannot be compiled runs
    as it is."""


class TrainingGroup(Strict):
    """A family of trainings: one model, and a matrix of choices that opens into cells."""

    title: str = ""
    """What the group is for, in words."""
    dataset: str | None = None
    """Name of the data set."""
    model: str | None = None
    """Name of the model, as `gnnip.models.names()` lists it."""
    target: str | None = None
    """The energy term that is learned, e.g. atomic or electronic."""
    matrix: dict[str, list[Scalar]] = {}
    """Choices to combine: each key is target, model, split, a training setting, a column of
    split.where (one value at a time) or a hyper-parameter."""
    hyperparameters: dict[str, Scalar | list[Any] | dict[str, Any] | None] = {}
    """Hyper-parameters of the model, by the names it gives them."""
    settings: TrainingSettings = TrainingSettings()
    """How it is trained."""
    split: Split = Split()
    """How the frames are divided."""
    seeds: int = Field(default=1, ge=1)
    """Trainings per cell, with different seeds for the split, the weights and the batches."""

    @model_validator(mode="after")
    def _positive_cutoffs(self) -> TrainingGroup:
        values = [self.hyperparameters.get("cutoff"), *self.matrix.get("cutoff", [])]
        for value in values:
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise ValueError(f"cutoff is {value!r}; it must be a positive length")
        for key, choices in self.matrix.items():
            if not choices:
                raise ValueError(
                    f"matrix.{key} is empty; list at least one value or remove the key"
                )
        return self


class EarlierTraining(Strict):
    """Where a term of a sum gets its weights: `initial: {training: <group>}`, of the same seed."""

    training: str
    """A training group of the card."""
    cell: str | None = None
    """One of its cells, by name; null takes the one that agrees with the cell that starts from it,
    in the keys that both matrices have."""


class Step(Strict):
    """A measurement that is not a training: its rule writes `steps/<name>.csv`."""

    dataset: str | None = None
    """Data set whose frames it uses."""
    trainings: list[str] = []
    """Training groups whose models it measures."""
    cells: dict[str, list[Scalar]] = {}
    """Keep only the cells with these values."""
    seeds: Literal["first", "all"] = "first"
    """Which seeds of every cell it measures."""
    options: dict[str, Any] = {}
    """Arguments of the library function behind the step."""


class Artefact(Strict):
    """A figure, table or audit, and what it is made of."""

    label: str
    """Its name in the paper, e.g. Table 1."""
    title: str
    """What it shows, in one line."""
    trainings: list[str] = []
    """Training groups that it reads."""
    steps: list[str] = []
    """Steps that it reads."""
    datasets: list[str] = []
    """Data sets that it reads, besides those of its trainings."""
    beyond: bool = False
    """True when the paper has no such artefact."""


class Tolerance(Strict):
    """How far from the published value still counts as reproduced: exactly one of the three."""

    factor: float | None = Field(default=None, ge=1)
    """Published / factor to published * factor."""
    relative: float | None = Field(default=None, gt=0)
    """Fraction of the published value, to both sides."""
    absolute: float | None = Field(default=None, gt=0)
    """In the value's own unit, to both sides."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Tolerance:
        if sum(v is not None for v in (self.factor, self.relative, self.absolute)) != 1:
            raise ValueError("a tolerance is exactly one of factor, relative and absolute")
        return self

    def bounds(self, published: float) -> tuple[float, float]:
        """Return the lowest and highest value that still agree with `published`."""
        if self.factor is not None:
            ends = (published / self.factor, published * self.factor)
        elif self.relative is not None:
            ends = (published * (1 - self.relative), published * (1 + self.relative))
        else:
            assert self.absolute is not None
            ends = (published - self.absolute, published + self.absolute)
        return min(ends), max(ends)

    def __str__(self) -> str:
        """Return it as a table shows it, e.g. `factor 1.5` or `±0.3`."""
        if self.factor is not None:
            return f"factor {self.factor:g}"
        if self.relative is not None:
            return f"±{100 * self.relative:g} %"
        return f"±{self.absolute:g}"


class Published(Strict):
    """Published numbers of one artefact that share a unit and a tolerance."""

    artefact: str
    """The artefact that measures them."""
    unit: str
    """Unit of the values, empty for pure numbers."""
    tolerance: Tolerance
    """Fixed before any run."""
    better: Literal["lower", "higher", "neither"] = "lower"
    """Which side of the tolerance is an improvement."""
    comparable: bool = True
    """False when our reference is not the paper's, so that absolute values cannot agree."""
    note: str = ""
    """Why they are not comparable, or what to bear in mind; ends up in the reason."""
    values: dict[str, float] = Field(min_length=1)
    """Quantity: published value."""


class Claim(Strict):
    """A statement of the paper that a written test judges."""

    text: str
    """The claim, paraphrased in one line."""
    where: str
    """Where the paper says it."""
    artefacts: list[str] = Field(min_length=1)
    """The artefacts whose metrics the test reads."""


class TierOverride(Strict):
    """What a tier changes: merged into the card key by key; a list replaces, null removes.

    The changes of `long` come on top of those of `quick`."""

    note: str = ""
    """In words what is reduced; ends up in every verdict's reason."""
    comparable: bool = True
    """False when the tier is too small for its numbers to be judged."""
    datasets: dict[str, Any] = {}
    """Overrides of `datasets`."""
    training_defaults: dict[str, Any] = {}
    """Overrides of `training_defaults`."""
    trainings: dict[str, Any] = {}
    """Overrides of `trainings`; null leaves a group and the artefacts that need it out."""
    steps: dict[str, Any] = {}
    """Overrides of `steps`; null leaves a step and the artefacts that need it out."""
    artefacts: dict[str, Any] = {}
    """Overrides of `artefacts`; null leaves one out."""


class Card(Strict):
    """One paper: what is trained and measured, what it published, and what counts as agreement."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Short name: the name of the file."""
    title: str
    """Title of the paper."""
    authors: list[str] = Field(min_length=1)
    """Its authors."""
    citation: str
    """Journal or proceedings, year, pages."""
    doi: str
    """Digital object identifier."""
    reference: Literal["exact", "published", "dft", "xtb"]
    """What labels our data."""
    datasets: dict[str, DatasetUse] = Field(min_length=1)
    """Data sets, by name."""
    training_defaults: TrainingGroup = TrainingGroup()
    """What the training groups share; hyper-parameters only where a group states no other model."""
    trainings: dict[str, TrainingGroup] = {}
    """Training groups, by name."""
    steps: dict[str, Step] = {}
    """Measurements, by name."""
    artefacts: dict[str, Artefact] = Field(min_length=1)
    """Figures, tables and audits, by name."""
    published: list[Published] = []
    """Published numbers."""
    claims: dict[str, Claim] = {}
    """Published claims, by id."""
    tiers: dict[Tier, TierOverride] = {}
    """What each tier changes."""


class ResolvedCard(Card):
    """A card with the tier's overrides and the user's choices worked in."""

    tier: Tier
    artefacts: dict[str, Artefact] = {}
    """None where the tier leaves all of them out."""
    comparable: bool = True
    note: str = ""
    skipped: dict[str, str] = {}
    """Artefacts that the tier leaves out, and why."""
    reference_archives: list[str] = []
    """Trajectories of references that the steps name, whether they are taken or made anew."""

    def used_datasets(self) -> list[str]:
        """Return the data sets behind the artefacts, in the card's order."""
        used: set[str | None] = set()
        for artefact in self.artefacts.values():
            steps = [self.steps[name] for name in artefact.steps]
            groups = {*artefact.trainings, *(g for step in steps for g in step.trainings)}
            used |= {*artefact.datasets, *(step.dataset for step in steps)}
            used |= {self.trainings[group].dataset for group in groups}
        return [name for name in self.datasets if name in used]

    def cells(self, group: str) -> list[Cell]:
        """Return the cells of a training group, in the order of its matrix."""
        return expand(self.trainings[group])

    def plan(self, group: str, cell: Cell) -> TrainingPlan:
        """Return the plan of one training, with the cells of the trainings that it starts from.

        ConfigError for one that is not there, that is the training itself or depends on it, or that
        may have been trained on this one's test frames.
        """
        return _plan(self.trainings, group, cell, ())

    def earlier(self, plan: TrainingPlan) -> list[tuple[str, str]]:
        """Return the group and the cell of each training that a plan starts from."""
        return [(e["training"], e["cell"]) for e in _earlier(plan.hyperparameters)]

    def modules(self, plan: TrainingPlan) -> list[str]:
        """Return the modules of a plan's model and of those that it starts from."""
        found = set(catalogue.model_modules(plan.model, plan.hyperparameters))
        for group, name in self.earlier(plan):
            cell = next(cell for cell in self.cells(group) if cell.name == name)
            found.update(self.modules(self.plan(group, cell)))
        return sorted(found)

    def seeds(self, group: str) -> list[int]:
        """Return the seeds of a training group."""
        return list(range(self.trainings[group].seeds))

    def seeds_of_artefact(self, artefact: str) -> int:
        """Return how many seeds a complete run of `artefact` has (1 when nothing is trained)."""
        groups = self.artefacts[artefact].trainings
        return max((self.trainings[g].seeds for g in groups), default=1)


# Where a matrix key goes is decided by its name alone; the rest are hyper-parameters.
_ROUTED: tuple[str, ...] = ("target", "model", "split")


@dataclass(frozen=True)
class Cell:
    """One combination of a group's matrix; `name` is the folder, e.g. `layer-gat_target-atomic`."""

    name: str
    values: tuple[tuple[str, Scalar], ...]

    #: what a cell's name is made of: the wildcard constraint of the pipeline
    pattern: ClassVar[str] = r"[A-Za-z0-9_.+\-]+"

    def matches(self, choices: Mapping[str, list[Scalar]]) -> bool:
        """Tell whether the cell has one of the given values for every given key."""
        values = dict(self.values)
        return all(values.get(key) in allowed for key, allowed in choices.items())


@dataclass(frozen=True)
class TrainingPlan:
    """Everything one training needs, as plain values that a process can be given."""

    model: str
    dataset: str
    term: str
    hyperparameters: dict[str, Any]
    settings: dict[str, Any]
    split: dict[str, Any]

    def entry(
        self, folder: str, data: str, seed: int, trainings: str = "", **settings: Any
    ) -> dict[str, Any]:
        """Return the training as `gnnip.training.run` reads it: an entry of a spec file.

        Args:
            folder: where the results go.
            data: the archive of frames.
            seed: of the split, the initial weights and the order of batches.
            trainings: the folder of all trainings of the card, where those lie that this one starts
                from.
            settings: further settings, such as device and threads.
        """
        hyperparameters = copy.deepcopy(self.hyperparameters)
        for term in _terms(hyperparameters):
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
            "settings": self.settings | {"seed": seed} | settings,
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


def plan_training(group: TrainingGroup, cell: Cell) -> TrainingPlan:
    """Send each matrix value of `cell` to where it belongs and return the complete plan."""
    hyperparameters = dict(group.hyperparameters)
    settings = group.settings.model_dump()
    split = group.split
    routed: dict[str, Any] = {"target": group.target, "model": group.model}
    for key, value in cell.values:
        if key == "split":
            split = Split.model_validate(split.model_dump() | {"scheme": value})
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
    return TrainingPlan(
        model=str(routed["model"]),
        dataset=group.dataset,
        term=str(routed["target"]),
        hyperparameters=hyperparameters,
        settings=settings,
        split=split.plan(),
    )


def _terms(hyperparameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the terms of a sum, and those of the sums among them."""
    terms = hyperparameters.get("terms")
    for term in terms if isinstance(terms, list) else []:
        if isinstance(term, dict):
            yield term
            yield from _terms(term.get("hyperparameters") or {})


def _earlier(hyperparameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what the terms of a sum start from, where that is a training of the card."""
    found = [term.get("initial") for term in _terms(hyperparameters)]
    return [initial for initial in found if isinstance(initial, Mapping)]


def _plan(
    groups: Mapping[str, TrainingGroup], group: str, cell: Cell, later: tuple[str, ...]
) -> TrainingPlan:
    """Return the plan of a cell; `later` are the groups that start from it."""
    if group in later:
        raise ConfigError(f"the training '{group}' starts from itself; change its 'initial'.")
    plan = plan_training(groups[group], cell)
    plan = replace(plan, hyperparameters=copy.deepcopy(plan.hyperparameters))
    for term in _terms(plan.hyperparameters):
        if not isinstance(term.get("initial"), Mapping):
            continue
        wanted = validate(EarlierTraining, dict(term["initial"]), "initial")
        if wanted.training not in groups:
            raise ConfigError(
                f"initial: the training group '{wanted.training}' is not defined"
                f"{nearest(wanted.training, groups)}"
            )
        if groups[wanted.training].seeds < groups[group].seeds:
            raise ConfigError(
                f"initial: the training '{wanted.training}' has {groups[wanted.training].seeds} "
                f"seeds and '{group}', which starts from it, {groups[group].seeds}; give it as "
                "many."
            )
        first = _cell_to_start_from(groups[wanted.training], wanted, cell)
        before = _plan(groups, wanted.training, first, (*later, group))
        if before.dataset == plan.dataset and before.split != plan.split:
            raise ConfigError(
                f"initial: the training '{wanted.training}' divides the frames of {plan.dataset} "
                "in another way, so it may have seen the test frames; give both the same split."
            )
        term["initial"] = {"training": wanted.training, "cell": first.name}
    return plan


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


def merge(base: Any, override: Any, keep_null: bool = False) -> Any:
    """Return `base` with `override` worked in: mappings by key, the rest replaces, null removes.

    With `keep_null` a null stays where it is, for an override that is itself worked in later.
    """
    if not (isinstance(base, Mapping) and isinstance(override, Mapping)):
        return copy.deepcopy(override)
    merged = {k: copy.deepcopy(v) for k, v in base.items()}
    for key, value in override.items():
        if value is None and not keep_null:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value, keep_null)
    return merged


@functools.cache
def _parse(text: str) -> Any:
    # a card is asked for many times while the workflow is set up
    return yaml.safe_load(text)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = copy.deepcopy(_parse(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ConfigError(f"{path}{line} is not valid YAML: {problem}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must be a list of 'key: value' lines, found {content!r}.")
    return content


def check_config(values: Mapping[str, Any], where: str = "config.yaml") -> Config:
    """Return the validated config; a ConfigError names the wrong key and the nearest valid one."""
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        raise explain(error, where) from None


def load_config(path: str | Path = "config.yaml") -> Config:
    """Read and validate `config.yaml`."""
    return check_config(_read_yaml(Path(path)), str(path))


def card_names(folder: str | Path = CARD_FOLDER) -> list[str]:
    """Return the names of the cards in `folder`."""
    return sorted(path.stem for path in Path(folder).glob("*.yaml"))


def _read_card(name: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(card_names(folder)) or "none"
        raise ConfigError(f"There is no card '{name}' in {folder}; the cards are {known}.")
    return path, _read_yaml(path)


def load_card(name: str, folder: str | Path = CARD_FOLDER) -> Card:
    """Read and validate a card as it is written, without any tier worked in."""
    path, raw = _read_card(name, Path(folder))
    card = validate(Card, raw, str(path))
    if card.id != name:
        raise ConfigError(f"{path}: id is '{card.id}'; it must be the file's name, '{name}'.")
    return card


def resolve(
    name: str, tier: str, config: Config | None = None, folder: str | Path = CARD_FOLDER
) -> ResolvedCard:
    """Return the card as it is run at `tier`, with the user's seeds and sources worked in.

    Groups and steps that the tier removes take the artefacts that need them along; those are listed
    in `skipped`. A ConfigError names whatever does not fit together.
    """
    load_card(name, folder)  # complaints about the card itself come first, with their own place
    path, raw = _read_card(name, Path(folder))
    override = _override(raw.get("tiers") or {}, tier)
    raw = {k: v for k, v in raw.items() if k != "tiers"}
    note, comparable = override.pop("note", ""), override.pop("comparable", True)
    merged = merge(raw, override)
    defaults = merged.get("training_defaults") or {}
    merged["trainings"] = {
        group: merge(_defaults_for(values or {}, defaults), values or {})
        for group, values in (merged.get("trainings") or {}).items()
    }
    skipped = {}
    for artefact, was in raw["artefacts"].items():
        now = merged["artefacts"].get(artefact)
        # what the tier itself says that the artefact is made of comes first
        made_of = was if now is None else now
        needs = [*(made_of.get("trainings") or []), *(made_of.get("steps") or [])]
        known = {*merged["trainings"], *(merged.get("steps") or {})}
        removed = {*(raw.get("trainings") or {}), *(raw.get("steps") or {})} - known
        lost = [need for need in needs if need in removed]
        if now is None or lost:
            merged["artefacts"].pop(artefact, None)
            skipped[artefact] = f"left out at tier {tier}"
    where = f"{path} (tier {tier})"
    extra = {"tier": tier, "note": note, "comparable": comparable, "skipped": skipped}
    card = validate(ResolvedCard, merged | extra, where)
    if config is not None:
        _select_artefacts(card, config.artefacts)
        for group in card.trainings.values():
            group.seeds = config.seeds or group.seeds
        for dataset, use in card.datasets.items():
            chosen = config.sources.get(dataset, use.source)
            if isinstance(chosen, FolderSource):
                use.folder, chosen = chosen, "folder"
            use.source = chosen
        _choose_references(card, config, where)
        _choose_reference_dynamics(card, config, where)
    _check_references(card, where)
    return card


def _override(tiers: Mapping[str, Any], tier: str) -> dict[str, Any]:
    """Return what a tier changes, with what the tier changes that it starts from."""
    own = tiers.get(tier) or {}
    if tier not in _FOUNDATIONS:
        return dict(own)
    return dict(merge(tiers.get(_FOUNDATIONS[tier]) or {}, own, keep_null=True))


#: option of a step of dynamics that names a registered trajectory of its reference
REFERENCE_ARCHIVE = "reference_archive"


def _choose_references(card: ResolvedCard, config: Config, where: str) -> None:
    """Label data sets with the engines that the user names."""
    if not config.references:
        return
    from gnnip.reference.engines import make_engine
    from gnnip.sampling.plans import make_plan

    for name, use in card.datasets.items():
        text = config.references.get(name)
        if text is None:
            continue
        engine = make_engine(text)
        if config.sources.get(name, "generate") != "generate":
            raise ConfigError(
                f"{where}: '{name}' is asked for from {config.sources[name]} and by another "
                "reference; only what is generated has a choice of references."
            )
        if not use.sizes or not hasattr(make_plan(name, use.sizes[0], 0, {}), "label_engine"):
            raise ConfigError(
                f"{where}: '{name}' is labelled by a model of its own; references cannot be chosen."
            )
        use.source, use.plan = "generate", {**use.plan, "label_engine": engine.text}
        card.reference = engine.reference  # type: ignore[assignment]


def _choose_reference_dynamics(card: ResolvedCard, config: Config, where: str) -> None:
    """Let the reference run where the user says so, instead of taking its trajectories."""
    for step in card.steps.values():
        name = step.options.get(REFERENCE_ARCHIVE)
        card.reference_archives += [name] if name else []
        source = config.sources.get(name, "archive") if name else "archive"
        if source == "generate":
            step.options = {k: v for k, v in step.options.items() if k != REFERENCE_ARCHIVE}
        elif source != "archive":
            raise ConfigError(
                f"{where}: the reference's trajectory '{name}' has the source archive or generate, "
                "no other."
            )


def _select_artefacts(card: ResolvedCard, chosen: list[str] | None) -> None:
    """Leave out the artefacts that the user did not choose, and what only they need.

    Steps measure the groups that the chosen artefacts read; an artefact that names no groups needs
    all of a step.
    """
    if chosen is None:
        return
    for name in list(card.artefacts):
        if name not in chosen:
            del card.artefacts[name]
            card.skipped[name] = "not among the artefacts chosen for this run"
    steps = {step for artefact in card.artefacts.values() for step in artefact.steps}
    card.steps = {name: step for name, step in card.steps.items() if name in steps}
    for name, step in card.steps.items():
        readers = [a.trainings for a in card.artefacts.values() if name in a.steps]
        if all(readers):
            read = {group for trainings in readers for group in trainings}
            step.trainings = [group for group in step.trainings if group in read]
    groups = {g for a in card.artefacts.values() for g in a.trainings}
    groups |= {g for step in card.steps.values() for g in step.trainings}
    pending = [name for name in groups if name in card.trainings]
    while pending:  # and what they start from
        for initial in _earlier(card.trainings[pending.pop()].hyperparameters):
            earlier = str(initial.get("training"))
            if earlier in card.trainings and earlier not in groups:
                groups.add(earlier)
                pending.append(earlier)
    card.trainings = {name: group for name, group in card.trainings.items() if name in groups}
    datasets = {g.dataset for g in card.trainings.values()}
    datasets |= {step.dataset for step in card.steps.values()}
    datasets |= {name for artefact in card.artefacts.values() for name in artefact.datasets}
    card.datasets = {name: use for name, use in card.datasets.items() if name in datasets}


def _defaults_for(group: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a group: hyper-parameters are those of the defaults' own model."""
    other = group.get("model") not in (None, defaults.get("model"))
    return {k: v for k, v in defaults.items() if not (other and k == "hyperparameters")}


def _check_references(card: ResolvedCard, where: str) -> None:
    """Every name that the card uses must be one that it defines."""
    for name, use in card.datasets.items():
        if use.source == "folder" and use.folder is None:
            raise ConfigError(
                f"{where}: datasets.{name} has the source folder, but no folder; write "
                "{path: ..., format: ...}."
            )
    for name, step in card.steps.items():
        if step.options.get(REFERENCE_ARCHIVE) and not step.options.get("reference"):
            raise ConfigError(
                f"{where}: steps.{name} has a {REFERENCE_ARCHIVE} but no reference; write what "
                "moved its atoms."
            )
    for kind, used, defined in _references(card):
        if used not in defined:
            raise ConfigError(f"{where}: {kind} '{used}' is not defined{nearest(used, defined)}.")
    for group_name, group in card.trainings.items():
        try:
            for cell in expand(group):
                plan = card.plan(group_name, cell)
                catalogue.check_hyperparameters(plan.model, plan.hyperparameters)
                TrainingSettings.model_validate(plan.settings)
        except ValidationError as error:
            raise explain(error, f"{where}: trainings.{group_name}") from None
        except ConfigError as error:
            sentence = f"{where}: trainings.{group_name}: {error}"
            raise ConfigError(full_stop(sentence)) from None


def _references(card: ResolvedCard) -> Iterator[tuple[str, str, list[str]]]:
    datasets, groups = list(card.datasets), list(card.trainings)
    artefacts = [*card.artefacts, *card.skipped]
    for group in card.trainings.values():
        if group.dataset:
            yield "data set", group.dataset, datasets
    for step in card.steps.values():
        if step.dataset:
            yield "data set", step.dataset, datasets
        for group_name in step.trainings:
            yield "training group", group_name, groups
    for artefact in card.artefacts.values():
        for group_name in artefact.trainings:
            yield "training group", group_name, groups
        for step_name in artefact.steps:
            yield "step", step_name, list(card.steps)
        for dataset in artefact.datasets:
            yield "data set", dataset, datasets
    for block in card.published:
        yield "artefact", block.artefact, artefacts
    for claim in card.claims.values():
        for name in claim.artefacts:
            yield "artefact", name, artefacts


def resolve_all(
    config: Config, folder: str | Path = CARD_FOLDER, tier: str | None = None
) -> dict[str, ResolvedCard]:
    """Return the resolved cards that `config` names, and complain about sources nobody uses."""
    cards = {name: resolve(name, tier or config.tier, config, folder) for name in config.papers}
    offered = sorted({a for card in cards.values() for a in (*card.artefacts, *card.skipped)})
    for artefact in config.artefacts or []:
        if artefact not in offered:
            raise ConfigError(
                f"config.yaml: artefacts: no selected card has '{artefact}'"
                f"{nearest(artefact, offered)}"
            )
    cards = {name: card for name, card in cards.items() if card.artefacts}
    known = sorted({n for c in cards.values() for n in (*c.datasets, *c.reference_archives)})
    chosen = [("sources", name) for name in config.sources]
    chosen += [("references", name) for name in config.references]
    for key, dataset in chosen:
        if dataset not in known:
            raise ConfigError(
                f"config.yaml: {key}: no card uses '{dataset}'{nearest(dataset, known)}."
            )
    return cards


def schemas() -> dict[str, str]:
    """Return the JSON schemas of config and card as text, by file name."""
    models: dict[str, type[BaseModel]] = {"config": Config, "card": Card}
    return {
        f"{name}.schema.json": json.dumps(model.model_json_schema(), indent=2, sort_keys=True)
        + "\n"
        for name, model in models.items()
    }

"""What the user may write: `config.yaml` and one card per paper, as typed models.

The models reject unknown keys; the JSON schemas that editors use are generated from them. Only
pydantic is needed here, so that a dry-run starts fast.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from gnnip.datasets.imports.settings import FolderSource
from gnnip.strict import Strict
from gnnip.training.block import TrainingSettings
from gnnip.verdicts.published import Claim, Published

Tier = Literal["smoke", "quick", "long", "paper"]
Source = Literal["archive", "generate", "download", "folder"]
# an infinite one is complained about by name, which a choice of types would hide
Scalar = bool | int | Annotated[float, Field(allow_inf_nan=True)] | str
Finding = Literal["accuracy", "splits", "symmetry", "conservation", "stability", "speed"]
TIERS: tuple[str, ...] = get_args(Tier)
#: what names a folder or a file: the wildcards of the workflow have the same form
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def _as_list(value: Any) -> Any:
    """Accept `papers=gijon2023` and `papers=a,b` from the command line."""
    if isinstance(value, str):
        return [item for item in re.split(r"[,\s]+", value) if item]
    return value


def name_of(text: str) -> str:
    """Return the paper that `gijon2023`, `papers/gijon2023` or a path of its card stands for."""
    path = Path(text)
    return path.parent.name if path.name == "card.yaml" else path.name.removesuffix(".yaml")


def _as_names(value: Any) -> Any:
    names = _as_list(value)
    if not isinstance(names, list):
        return names
    return list(dict.fromkeys(name_of(str(n)) for n in names))


# a name, or a folder written out; tags in brackets are left out of complaints
SourceChoice = Annotated[
    Annotated[Source, Tag("(name)")] | Annotated[FolderSource, Tag("(folder)")],
    Discriminator(lambda v: "(folder)" if isinstance(v, Mapping | FolderSource) else "(name)"),
]


def _as_seeds(value: Any) -> Any:
    """Accept `seeds=0,2` and `seeds=[0,2]` from the command line, where Snakemake leaves texts."""
    several = _as_list(value) if isinstance(value, str) and len(_as_list(value)) > 1 else value
    if not isinstance(several, list):
        return value
    return [int(s) if isinstance(s, str) and s.isdecimal() else s for s in several]


def _once(seeds: Any) -> Any:
    if isinstance(seeds, list):
        twice = [seed for number, seed in enumerate(seeds) if seed in seeds[:number]]
        if twice:
            raise ValueError(f"the seed {twice[0]} is listed twice; remove one")
    return seeds


# a count, or a list; the tags are left out of complaints
Seeds = Annotated[
    Annotated[int, Field(ge=1, le=100), Tag("(count)")]
    | Annotated[
        list[Annotated[int, Field(ge=0, lt=2**32)]],
        Field(min_length=1, max_length=100),
        Tag("(list)"),
    ],
    Discriminator(lambda v: "(list)" if isinstance(v, list) else "(count)"),
    AfterValidator(_once),
]


class Config(Strict):
    """The user's few choices (`config.yaml`, or `snakemake --config key=value`)."""

    tier: Tier = "quick"
    """How much is run: smoke (plumbing only), quick (the default), long (an hour or more without a
    GPU) or paper (as published)."""
    papers: Annotated[list[str], BeforeValidator(_as_names)] = Field(
        default=["gijon2023", "rajak2021", "cho2023", "kang2024", "hoedl2022"], min_length=1
    )
    """The cards to run, by the names of their folders."""
    cards: str | None = None
    """A folder of your own papers, or of one, used beside papers/."""
    artefacts: Annotated[list[str], BeforeValidator(_as_list)] | None = Field(
        default=None, min_length=1
    )
    """The artefacts to make, by name, with what they need; null makes all of the cards."""
    seeds: Annotated[Seeds | None, BeforeValidator(_as_seeds)] = None
    """Trainings per model with different seeds: how many, counted from 0, or a list such as [0, 2];
    null takes those that the card states."""
    sources: dict[str, SourceChoice] = {}
    """Where a data set comes from, by name: archive (shipped with the repository), generate,
    download (published by others), or a folder of your own frames, {path: ..., format: ...}."""
    references: dict[str, str] = {}
    """What labels a data set instead of its plan's engine, by name, e.g. {sic: cp2k cutoff=250};
    the data set is then generated."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks are trained; auto takes a GPU when there is one."""
    keep_every: int = Field(default=10, ge=1)
    """Recording a run keeps one frame in so many of its dynamics, under results/kept."""


class DatasetUse(Strict):
    """A data set that the card reads, and how it is made when its source is `generate`."""

    source: Source = "archive"
    """archive: the file that the registry names; generate: made by the pipeline's own rules;
    download: published by others; folder: the user's own frames."""
    published: str | None = None
    """Name of the published set (`download` only); null takes the data set's own name."""
    folder: FolderSource | None = None
    """Where the user's frames are and how they are read (`folder` only)."""
    optional: bool = False
    """Whether a run may lack it: unless the user chooses its source, the artefacts that need it are
    left out where its folder is not there, or it would have to be downloaded."""
    verify_frames: int = Field(default=3, ge=1)
    """Frames whose labels are recomputed with the reference and compared, in every run."""
    plan: dict[str, Scalar | list[float] | list[int]] = {}
    """Fields of the sampling plan that differ from its defaults (used by `generate` only)."""
    sizes: list[int] = Field(default=[], min_length=0)
    """System sizes to sample, one trajectory each, e.g. water molecules per cluster; without any
    the structures are independent of each other and drawn in one job."""
    replicas: int = Field(default=1, ge=1)
    """Independent trajectories per size."""
    starts: str | None = None
    """Data set of the card from whose frames the trajectories start (used by `generate` only)."""

    @model_validator(mode="after")
    def _finite_plan(self) -> DatasetUse:
        _refuse_infinite(self.plan, "plan")
        return self


def _refuse_infinite(value: Any, where: str) -> None:
    """Raise ValueError for a number in lists and mappings that is infinite or none."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}; only finite numbers have a place")
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            _refuse_infinite(part, f"{where}.{key}")


class Split(Strict):
    """How frames are divided into train, validation and test sets."""

    scheme: Literal["random", "trajectory", "size", "columns"] = "random"
    """random: frame by frame, as the paper; trajectory: whole trajectories held out; size: train on
    small systems, test on large ones; columns: by values of the data set's columns."""
    where: dict[str, list[Scalar]] = {}
    """Keep only frames with these values of the data set's columns, e.g. distance_a: [4, 6]."""
    seed: int | None = Field(default=None, ge=0)
    """Divide the frames alike for all seeds of a training, as an ensemble needs; null divides them
    by the seed of the training."""
    sizes: list[int] | None = None
    """Keep only these system sizes; null keeps all."""
    max_frames: int | None = Field(default=None, ge=10)
    """Keep at most so many frames, drawn evenly over the ensembles; null keeps all."""
    train_frames: int | None = Field(default=None, ge=1)
    """Learn from so many of the training frames, those held out stay the same; null takes all."""
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

    def stated(self) -> dict[str, Any]:
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


class TrainingGroup(Strict):
    """A family of trainings: one model, and a matrix of choices that opens into cells."""

    title: str = ""
    """What the group is for, in words."""
    label: str = ""
    """Its name in figures."""
    colour: str = ""
    """Its colour in figures, a name of `gnnip.artefacts.style`."""
    variant: str = "as_described"
    """as_described, as_coded or corrected: which reading of the paper its numbers belong to."""
    dataset: str | None = None
    """Name of the data set."""
    model: str | None = None
    """Name of the model, as `gnnip.models.names()` lists it."""
    target: str | None = None
    """The energy term that is learned, e.g. atomic or electronic."""
    matrix: dict[str, list[Scalar]] = {}
    """Choices to combine: each key is target, model, split, train_frames, a training setting, a
    column of split.where (one value at a time) or a hyper-parameter."""
    by_cell: dict[str, dict[str, Scalar]] = {}
    """Values of single cells of the matrix, by the cells' names, e.g. what a search has chosen for
    each: {layer-gat_target-atomic: {learning_rate: 0.003}}; keys are as those of the matrix."""
    hyperparameters: dict[str, Scalar | list[Any] | dict[str, Any] | None] = {}
    """Hyper-parameters of the model, by the names it gives them."""
    settings: TrainingSettings = TrainingSettings()
    """How it is trained."""
    split: Split = Split()
    """How the frames are divided."""
    seeds: Seeds = 1
    """Trainings per cell, with different seeds for the split, the weights and the batches: how
    many, counted from 0, or a list such as [0, 2]."""
    ship: bool | list[str] = False
    """Whether a recorded run has its weights in git, or of which cells, by name; others are kept
    outside."""

    def ships(self, cell: str) -> bool:
        """Tell whether the weights of a cell, by its name, are in git."""
        return self.ship if isinstance(self.ship, bool) else cell in self.ship

    @model_validator(mode="after")
    def _positive_cutoffs(self) -> TrainingGroup:
        values = [self.hyperparameters.get("cutoff"), *self.matrix.get("cutoff", [])]
        for value in values:
            if value is None:
                continue
            if isinstance(value, bool | str | list | dict) or not 0 < value < math.inf:
                raise ValueError(f"cutoff is {value!r}; it must be a positive length")
        for key, choices in self.matrix.items():
            if not choices:
                raise ValueError(
                    f"matrix.{key} is empty; list at least one value or remove the key"
                )
            twice = [b for a, b in itertools.combinations(choices, 2) if a == b]
            if twice:
                raise ValueError(f"matrix.{key} lists the value {twice[0]!r} twice; remove one")
        _refuse_infinite(self.hyperparameters, "hyperparameters")
        _refuse_infinite(self.matrix, "matrix")
        _refuse_infinite(self.by_cell, "by_cell")
        for cell, own in self.by_cell.items():
            if twice := sorted(own.keys() & self.matrix.keys()):
                raise ValueError(
                    f"by_cell.{cell} states {twice[0]}, which the matrix states; remove one"
                )
        return self


class EarlierTraining(Strict):
    """Where a term of a sum gets its weights: `initial: {training: <group>}`, of the same seed."""

    training: str
    """A training group of the card."""
    cell: str | None = None
    """One of its cells, by name; null takes the one that agrees with the cell that starts from it,
    in the keys that both matrices have."""


class Measurement(Strict):
    """A measurement that is not a training: its table is `measurements/<name>.csv`."""

    kind: str
    """What is measured: a kind of `gnnip.measurements.kinds`, or package.module:Class of yours."""
    datasets: list[str] = []
    """Data sets whose frames it uses; those of its trainings when empty."""
    trainings: list[str] = []
    """Training groups whose models it measures."""
    cells: dict[str, list[Scalar]] = {}
    """Keep only the cells with these values."""
    seeds: Literal["first", "all"] = "first"
    """Which seeds of every cell it measures."""
    options: dict[str, Any] = {}
    """Options of the kind."""


class Artefact(Strict):
    """A figure, table or audit, and what it is made of."""

    label: str
    """Its name in the paper, e.g. Table 1."""
    title: str
    """What it shows, in one line."""
    kind: str | None = None
    """A kind of `gnnip.artefacts.kinds`, or package.module:Class of yours; null takes the functions
    of this name in the paper's tables.py and figures.py."""
    function: str | None = None
    """Without a kind: the name of these functions, where it is not that of the artefact."""
    options: dict[str, Any] = {}
    """Options of the kind, or arguments of the paper's own functions."""
    trainings: list[str] = []
    """Training groups that it reads."""
    cells: dict[str, list[Scalar]] = {}
    """Read only the cells with these values, of groups whose matrix has the key."""
    measurements: list[str] = []
    """Measurements that it reads."""
    datasets: list[str] = []
    """Data sets that it reads, besides those of its trainings."""
    beyond: bool = False
    """True when the paper has no such artefact."""
    about: Finding | None = None
    """What it is about on the page of results; null takes what its kind is about."""

    @model_validator(mode="after")
    def _one_origin(self) -> Artefact:
        if self.kind and self.function:
            raise ValueError("an artefact states a kind or a function of the paper, not both")
        return self


class TierOverride(Strict):
    """What a tier changes: merged into the card key by key; a list replaces, null removes.

    The changes of `long` come on top of those of `quick`."""

    note: str = ""
    """In words what is reduced; ends up in every verdict's reason."""
    judged: bool = True
    """False when the tier is too small for anything to be judged."""
    left_out: dict[str, str] = {}
    """Artefacts that it leaves out, and what would make them, in words."""
    comparable: dict[str, str] = {}
    """Artefacts whose numbers compare with the paper's although the tier changes their data or
    trainings, and why."""
    datasets: dict[str, Any] = {}
    """Overrides of `datasets`."""
    training_defaults: dict[str, Any] = {}
    """Overrides of `training_defaults`."""
    trainings: dict[str, Any] = {}
    """Overrides of `trainings`; null leaves a group and the artefacts that need it out."""
    measurements: dict[str, Any] = {}
    """Overrides of `measurements`; null leaves one and the artefacts that need it out."""
    artefacts: dict[str, Any] = {}
    """Overrides of `artefacts`; null leaves one out."""


class Card(Strict):
    """One paper: what is trained and measured, what it published, and what counts as agreement."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Short name: the name of the folder."""
    title: str
    """Title of the paper."""
    authors: list[str] = Field(min_length=1)
    """Its authors."""
    citation: str
    """Journal or proceedings, year, pages."""
    doi: str
    """Digital object identifier."""
    summary: str = ""
    """What the paper claims, in one line."""
    datasets: dict[Name, DatasetUse] = Field(min_length=1)
    """Data sets, by name."""
    training_defaults: TrainingGroup = TrainingGroup()
    """What the training groups share; hyper-parameters only where a group states no other model."""
    trainings: dict[Name, TrainingGroup] = {}
    """Training groups, by name."""
    measurements: dict[Name, Measurement] = {}
    """Measurements, by name."""
    artefacts: dict[Name, Artefact] = Field(min_length=1)
    """Figures, tables and audits, by name."""
    published: list[Published] = []
    """Published numbers."""
    claims: dict[str, Claim] = {}
    """Published claims, by id."""
    tiers: dict[Tier, TierOverride] = {}
    """What each tier changes."""


def json_schema(model: type[BaseModel]) -> str:
    """Return the JSON schema of what a user writes, as text."""
    return json.dumps(model.model_json_schema(), indent=2, sort_keys=True) + "\n"


def schemas() -> dict[str, str]:
    """Return the JSON schemas of config and card as text, by file name."""
    models: dict[str, type[BaseModel]] = {"config": Config, "card": Card}
    return {f"{name}.schema.json": json_schema(model) for name, model in models.items()}

"""A finished run of any card, made up: the tree of results that tables and figures read.

    run = make_run(tmp_path, "rajak2021", {"sic": ROOT / "data/sic.h5"}, error)
    run.write("dynamics_sic", table)     # measurements/dynamics_sic.csv
    tidy, metrics = run.table("table1")  # by the kind or the paper's own function, kept
    figure = run.draw("table1")          # from the table as it lies on disk
    result = run.claim("gat_best")       # what the claim's test says of the run

`error(training)` says how far each potential is off: every training of the card, at any tier, gets
predictions.csv, history.csv and summary.json from it, with forces where it learns them. Energies
are off by as much up and down in turn, so that the mean absolute error and the root mean square
error are both the given number. Measurements have no rule here: a test writes those that its
artefacts read, before `table`. A card made on the fly is written by `write_card` and run as
``make_run(tmp_path, folder, ...)``.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import yaml
from figure_checks import through_csv
from matplotlib.figure import Figure

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.make import draw, tabulate
from gnnip.artefacts.tables import Result
from gnnip.config.pipeline import Pipeline
from gnnip.config.resolve import ResolvedCard
from gnnip.config.schema import Config
from gnnip.config.trainings import TrainingSpec
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.splits import make_split
from gnnip.datasets.store import write_frames
from gnnip.measurements.sources import load_frames
from gnnip.verdicts.claims import ClaimResult, of_variant
from gnnip.verdicts.judge import Judged, judge
from gnnip.verdicts.outcomes import tests_of
from gnnip.verdicts.trainings import training_table

ROOT = Path(__file__).resolve().parents[2]
#: errors on training frames, as a share of those on other frames
TRAIN_SHARE = 0.8


#: what summary.json says of a training that may judge
SOUND = {
    "stopped": "epochs",
    "epochs_run": 150,
    "validation_error": 0.1,
    "null_model": "the constant",
    "share_of_null": 0.1,
    "silent_share": 0.0,
    "lucky_epoch": 0,
    "late_change": 0.001,
    "ends_at_zero": False,
    "half_error": None,
}


@dataclass(frozen=True)
class Training:
    """A training of the run: its place in the card and what is trained."""

    group: str
    keys: dict[str, Any]
    seed: int
    spec: TrainingSpec


@dataclass(frozen=True)
class Error:
    """How far a potential is off: `energy` eV and `per_atom` meV/atom, which add up; `force` is the
    root mean square over components, eV/Angstrom. `parameters` is the number of its weights."""

    energy: float = 0.0
    per_atom: float = 0.0
    force: float = 0.0
    parameters: int = 1000


Rule = Callable[[Training], Error]


@dataclass
class Run:
    """Where a made-up run is, and what it answers."""

    folder: Path
    pipeline: Pipeline
    card: ResolvedCard
    frames: dict[str, FrameArrays]
    _tables: dict[str, Result] = field(default_factory=dict)

    def _job(self, **wildcards: str) -> SimpleNamespace:
        return SimpleNamespace(tier=self.card.tier, card=self.card.id, **wildcards)

    def inputs(self, artefact: str) -> Inputs:
        """Return what the workflow lets one artefact see of the run."""
        return Inputs(self.folder, self.pipeline.artefact_facts(self._job(artefact=artefact)))

    def write(self, measurement: str, table: pd.DataFrame) -> None:
        """Write the table of a measurement."""
        file = self.folder / "measurements" / f"{measurement}.csv"
        file.parent.mkdir(exist_ok=True)
        table.to_csv(file, index=False)

    def table(self, artefact: str) -> Result:
        """Return the tidy table and the metrics of an artefact; made once."""
        if artefact not in self._tables:
            self._tables[artefact] = tabulate(self.inputs(artefact))
        return self._tables[artefact]

    def info(self, artefact: str) -> dict[str, Any]:
        """Return what is written on a figure and what draws it."""
        return self.pipeline.figure_info(self._job(artefact=artefact))

    def draw(self, artefact: str, tidy: pd.DataFrame | None = None) -> Figure:
        """Return the figure of an artefact, of another table where one is given."""
        table = self.table(artefact)[0] if tidy is None else tidy
        return draw(through_csv(table), self.info(artefact))

    @functools.cached_property
    def tests(self) -> Mapping[str, Callable[..., ClaimResult]]:
        """The tests of the card's claims, those of the card and those of the paper's claims.py."""
        found = tests_of(self.card.claims, self.pipeline.claims_module(self._job()))
        return {name: claim.test for name, claim in found.items()}

    def judge(self, artefacts: Iterable[str]) -> Judged:
        """Return the verdicts on some artefacts of the run."""
        tests = tests_of(self.card.claims, self.pipeline.claims_module(self._job()))
        trainings = training_table(sorted(self.folder.glob("trainings/*/*/*/summary.json")))
        metrics = {name: self.table(name)[1] for name in artefacts}
        return judge(self.card, metrics, tests, trainings)

    def claim(self, name: str) -> ClaimResult:
        """Return what the test of a claim says of the run."""
        claim = self.card.claims[name]
        metrics = {artefact: self.table(artefact)[1] for artefact in claim.artefacts}
        return self.tests[name](of_variant(metrics, claim.variant))

    def published(self, artefact: str) -> dict[str, float]:
        """Return the published numbers of an artefact by quantity."""
        blocks = [b.values for b in self.card.published if b.artefact == artefact]
        return {quantity: value for values in blocks for quantity, value in values.items()}


def make_run(
    root: Path,
    paper: str | Path,
    frames: Mapping[str, FrameArrays | Path],
    error: Rule = lambda training: Error(),
    *,
    tier: str = "paper",
    epochs: int = 150,
) -> Run:
    """Write results/{tier} below `root` with every training of a card.

    Args:
        root: an empty folder.
        paper: the name of one of our cards, or a folder with a card.yaml.
        frames: the data sets by name, or archives that are copied.
        error: how far each potential is off.
        tier: which tier of the card is run.
        epochs: rows of every history.csv, whose errors fall to those of the rule.
    """
    folder = ROOT / "papers" / paper if isinstance(paper, str) else paper
    pipeline = Pipeline(Config(papers=[folder.name], cards=str(folder), tier=tier))
    card = pipeline.cards[folder.name]
    loaded = {name: _store(root / tier, name, data) for name, data in frames.items()}
    run = Run(root / tier / card.id, pipeline, card, loaded)
    for group in card.trainings:
        for _, cell, seed, _ in pipeline.training_folders(card.id, tier, [group]):
            training = Training(group, dict(cell.values), seed, card.training(group, cell))
            place = run.folder / "trainings" / group / cell.name / f"seed-{seed}"
            _write_training(place, loaded[training.spec.dataset], training, error, epochs)
    return run


def write_card(root: Path, text: str) -> Path:
    """Write a card of your own, without what says which paper and which of its figures it is;
    return its folder."""
    about = {"title": "", "authors": ["nobody"], "citation": "", "doi": ""}
    values = about | yaml.safe_load(text)
    for name, artefact in values["artefacts"].items():
        values["artefacts"][name] = {"label": name, "title": name} | artefact
    folder = root / values["id"]
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return folder


def metrics_of(values: Mapping[str, Any], variant: str = "as_described") -> pd.DataFrame:
    """Return metrics from {quantity: value or list over seeds}, as tests of claims read them."""
    rows = [
        {"quantity": quantity, "variant": variant, "unit": "", "value": value, "seed": seed}
        for quantity, many in values.items()
        for seed, value in enumerate(np.atleast_1d(many))
    ]
    return pd.DataFrame(rows).assign(baseline=np.nan, reference="exact")


def labels(frames: FrameArrays, term: str, what: str) -> np.ndarray:
    """Return `energies` or `forces` of a term; of `total` the sum of all where it is no term."""
    known = getattr(frames, what)
    return known[term] if term in known else np.sum(list(known.values()), axis=0)


def _store(results: Path, name: str, data: FrameArrays | Path) -> FrameArrays:
    file = results / "datasets" / f"{name}.h5"
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, FrameArrays):
        write_frames(file, data, attributes={})
    else:
        shutil.copy(data, file)
    return load_frames(file)


def _write_training(
    folder: Path, frames: FrameArrays, training: Training, rule: Rule, epochs: int
) -> None:
    folder.mkdir(parents=True)
    split = dict(training.spec.split)
    scheme, seed = split.pop("scheme"), split.pop("seed", training.seed)
    parts = make_split(frames, scheme, seed, **split)
    error, summary = rule(training), {"best_epoch": epochs, "wall_s": 5.0, **SOUND}
    tables = []
    for subset, chosen in parts.items():
        table = _predictions(frames, training.spec, chosen, error)
        share = TRAIN_SHARE if subset == "train" else 1.0
        off = table["energy_predicted_ev"] - table["energy_reference_ev"]
        each = 1000.0 * off / table["n_atoms"]
        summary |= {
            f"n_{subset}": len(chosen),
            f"{subset}_mae_ev": share * float(off.abs().mean()),
            f"{subset}_energy_rmse_mev_per_atom": share * float(np.sqrt((each**2).mean())),
            f"{subset}_force_mae_ev_per_a": share * 0.8 * error.force,
            f"{subset}_force_rmse_ev_per_a": share * error.force,
        }
        tables.append(table.assign(subset=subset))
    table = pd.concat(tables)
    table[table["subset"] != "train"].to_csv(folder / "predictions.csv", index=False)
    summary |= {"n_parameters": error.parameters}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    epoch = np.arange(1, epochs + 1)
    decay = 1.0 + 25.0 * np.exp(-epoch / 15.0)
    history: dict[str, Any] = {"epoch": epoch, "train_loss": decay}
    followed = ["mae_ev"]
    followed += ["force_rmse_ev_per_a"] if training.spec.settings["force_weight"] else []
    for name in [f"{subset}_{what}" for subset in ("train", "validation") for what in followed]:
        history[name] = summary[name] * decay
    history |= {"learning_rate": 1e-3, "seconds": 0.5}
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)


def _predictions(
    frames: FrameArrays, spec: TrainingSpec, chosen: np.ndarray, error: Error
) -> pd.DataFrame:
    """Return the rows of some frames in predictions.csv, but for their subset."""
    energy, n_atoms = labels(frames, spec.term, "energies")[chosen], frames.n_atoms[chosen]
    turns = np.where(np.arange(len(chosen)) % 2, 1.0, -1.0)
    table = {
        "frame": chosen,
        **{name: values[chosen] for name, values in frames.metadata.items() if name != "frame"},
        "n_atoms": n_atoms,
        "energy_reference_ev": energy,
        "energy_predicted_ev": energy + turns * (error.energy + 1e-3 * error.per_atom * n_atoms),
    }
    if spec.settings["force_weight"] and frames.forces:
        squares = np.square(labels(frames, spec.term, "forces")).mean(axis=1)
        size = np.sqrt(np.add.reduceat(squares, frames.offsets[:-1]) / frames.n_atoms)
        table |= {
            "force_mae_ev_per_a": 0.8 * error.force,
            "force_rmse_ev_per_a": error.force,
            "force_rms_reference_ev_per_a": size[chosen],
        }
    return pd.DataFrame(table)

"""Errors of trained potentials in energies and forces, beside those of trivial predictors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts import arms, kinds
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.tables import Result, metric_row, metric_table
from gnnip.datasets.arrays import FrameArrays
from gnnip.measurements import metrics as measure
from gnnip.training.outputs import read_predictions

#: measure in the metrics -> its name in tidy tables and summaries, and its unit
MEASURES = {
    "energy_rmse": ("energy_rmse_mev_per_atom", "meV/atom"),
    "energy_mae": ("energy_mae_mev_per_atom", "meV/atom"),
    "energy_r2": ("energy_r2", ""),
    "force_mae": ("force_mae_ev_per_a", "eV/A"),
    "force_rmse": ("force_rmse_ev_per_a", "eV/A"),
    "force_r2": ("force_r2", ""),
    "share_beyond_cutoff": ("share_beyond_cutoff", ""),
    "parameters": ("n_parameters", ""),
}
#: what every potential is measured by
SCORED = ("energy_rmse", "energy_mae", "energy_r2", "force_mae", "force_rmse", "force_r2")
SUBSETS = ("train", "validation", "test")


def errors(inputs: Inputs, options: kinds.Errors) -> Result:
    """Return the errors of the artefact's training groups, of trivial predictors, and published.

    Tidy: the columns of `potential_errors`, with material and arm where the card tells materials
    apart and split with `by_split`; published numbers have the name of the metric's group in the
    column arm or group. Metrics: see `gnnip.artefacts.kinds.Errors`.
    """
    parts, rows = [], []
    for group, name in arms.names(inputs.groups(), options.materials).items():
        table = potential_errors(inputs, group, options.ensemble, train=options.train)
        if options.by_split and "split" not in table:
            table["split"] = str(inputs.group(group)["split"]["scheme"])
        if options.materials:
            for place, column in enumerate(("material", "arm")):
                table.insert(1 + place, column, arms.divide(group, options.materials)[place])
        parts.append(table)
        for prefix, variant, training, part in _cells(inputs, group, name, table, options.by_split):
            rows += error_metrics(inputs, prefix, part, variant, training)
    parts.append(published_errors(inputs, "arm" if options.materials else "group"))
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def _cells(
    inputs: Inputs, group: str, name: str, table: pd.DataFrame, by_split: bool
) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yield beginning of the names of metrics, variant, training and rows of each cell."""
    own = str(inputs.group(group)["variant"])
    keys = list(inputs.group(group)["cells"][0]["keys"])
    both = by_split and table["split"].nunique() > 1
    for values, part in table.groupby(keys) if keys else [((), table)]:
        cell = dict(zip(keys, values, strict=True))
        training = inputs.training(group, cell)
        by_trajectory = both and cell.get("split") == "trajectory"
        if by_split:
            cell.pop("split", None)
        prefix = "_".join([name, *(f"{key}_{value}" for key, value in cell.items())])
        yield prefix, "by_trajectory" if by_trajectory else own, training, part


def score_rows(
    inputs: Inputs,
    prefix: str,
    measures: Iterable[str],
    scores: Mapping[str, float],
    seed: int,
    baselines: Mapping[str, float] | None = None,
    variant: str = "as_described",
    training: str = "",
) -> list[dict[str, Any]]:
    """Return rows of metrics named {prefix}_{measure} from scores by the names of `MEASURES`."""
    rows = []
    for short in measures:
        column, unit = MEASURES[short]
        trivial = np.nan if baselines is None else baselines[column]
        about: dict[str, Any] = {"seed": seed, "baseline": trivial, "variant": variant}
        about["training"] = training
        rows.append(metric_row(inputs, f"{prefix}_{short}", unit, scores[column], **about))
    return rows


def errors_of(summary: Mapping[str, float] | pd.Series, subset: str) -> dict[str, float]:
    """Return the errors of a training's summary on one subset, by the names of `MEASURES`."""
    names = ("energy_rmse_mev_per_atom", "force_mae_ev_per_a", "force_rmse_ev_per_a")
    known = {name: summary.get(f"{subset}_{name}") for name in names}
    return {name: float(value) for name, value in known.items() if value is not None}


def potential_errors(
    inputs: Inputs, group: str, ensemble: Sequence[str] = (), *, train: bool = False
) -> pd.DataFrame:
    """Return errors of a training group on every subset, with those of trivial predictors.

    Columns: source, group, the keys of the group's matrix, subset, seed, n_frames, n_parameters,
    energy_rmse_mev_per_atom, energy_mae_mev_per_atom, energy_r2, and where forces are known
    force_mae_ev_per_a, force_rmse_ev_per_a and force_r2. Energies are total energies divided by the
    number of atoms.

    Sources: `ours`; `composition`, the least-squares fit of the training energies on the
    composition; with `ensemble` (columns of the data set) also `ensemble_mean`, the mean energy per
    atom of the training frames of the same ensemble; `null_model`, the best of those that the
    division of the frames allows (see `gnnip.models.trivial`). None of them knows a force.

    With `train` also the training frames. A training keeps no predictions of them: the errors of
    `ours` are those of its summary, which has no mean absolute error per atom (NaN).
    """
    from gnnip.models.trivial import lowest_error, null_energies

    entry = inputs.group(group)
    arrays = inputs.arrays(entry["dataset"])
    rows = []
    for keys, seed, folder in inputs.cells(group):
        summary = inputs.summary(folder)
        known = inputs.training_frames(group, keys, seed)
        learned = arrays.subset(known)
        term = str(keys.get("target", entry["target"]))
        predictions = read_predictions(folder).groupby("subset", sort=False)
        parts = {"train": _labels(learned, term)} if train else {}
        parts |= {str(subset): part for subset, part in predictions}
        for subset, part in parts.items():
            asked = known if subset == "train" else part["frame"].to_numpy()
            frames = arrays.subset(asked)
            nulls = null_energies(arrays, arrays.energy(term), known, asked)
            best = lowest_error(nulls, arrays.energy(term)[asked])
            trivial = {"composition": nulls["composition"], "null_model": nulls[best]}
            for source, scores in _sources(
                frames, part, learned, term, ensemble, trivial, summary
            ).items():
                size = summary["n_parameters"] if source == "ours" else np.nan
                about = {"source": source, "group": group, **keys, "subset": subset, "seed": seed}
                counts = {"n_frames": frames.n_frames, "n_parameters": size}
                rows.append(about | counts | scores)
    return pd.DataFrame(rows)


def _labels(frames: FrameArrays, term: str) -> pd.DataFrame:
    """Return what predictions.csv would have of the training frames, without predictions."""
    part = pd.DataFrame({"energy_reference_ev": frames.energy(term)})
    if frames.forces:
        squares = np.square(frames.force(term)).mean(axis=1)
        sums = np.add.reduceat(squares, frames.offsets[:-1])
        part["force_rms_reference_ev_per_a"] = np.sqrt(sums / frames.n_atoms)
    return part


def _mean_force(frames: FrameArrays, term: str) -> float | None:
    """Return the mean size of a component (eV/A), the mean absolute error of no force at all."""
    return float(np.abs(frames.force(term)).mean()) if term in frames.forces else None


def _sources(
    frames: FrameArrays,
    part: pd.DataFrame,
    learned: FrameArrays,
    term: str,
    ensemble: Sequence[str],
    trivial: Mapping[str, np.ndarray],
    summary: Mapping[str, float],
) -> dict[str, dict[str, float]]:
    """Return the errors of every source on one subset: energies meV/atom, forces eV/Angstrom;
    `trivial` are energies (eV) by source."""
    weight = frames.n_atoms / frames.n_atoms.sum()
    true = part["energy_reference_ev"].to_numpy() * 1000.0 / frames.n_atoms
    none = _mean_force(frames, term)

    def root_mean_square(column: str) -> float | None:
        # of root mean squares over a frame, which weighs as many atoms as it has
        known = column in part
        return float(np.sqrt((weight * np.square(part[column])).sum())) if known else None

    size = root_mean_square("force_rms_reference_ev_per_a")

    def scores(energy: np.ndarray, *force: float | None) -> dict[str, float]:
        rmse, mae = measure.rmse(true, energy), measure.mae(true, energy)
        return _scores(rmse, mae, measure.r2(true, energy), size, *force)

    if "energy_predicted_ev" in part:
        predicted = part["energy_predicted_ev"].to_numpy() * 1000.0 / frames.n_atoms
        column = "force_mae_ev_per_a"
        mae = float((weight * part[column]).sum()) if column in part else None
        ours = scores(predicted, root_mean_square("force_rmse_ev_per_a"), mae)
    else:
        known, spread = errors_of(summary, "train"), float(np.var(true))
        rmse = known["energy_rmse_mev_per_atom"]
        force = (known.get("force_rmse_ev_per_a"), known.get("force_mae_ev_per_a"))
        ours = _scores(rmse, np.nan, 1.0 - rmse**2 / spread if spread > 0 else np.nan, size, *force)
    found = {"ours": ours}
    nothing = (size, none if "force_mae_ev_per_a" in ours else None)
    guesses = {name: said * 1000.0 / frames.n_atoms for name, said in trivial.items()}
    if ensemble:
        guesses["ensemble_mean"] = _of_ensemble(learned, frames, term, ensemble)
    return found | {name: scores(said, *nothing) for name, said in guesses.items()}


def _scores(
    rmse: float,
    mae: float,
    r2: float,
    size: float | None,
    force_rmse: float | None = None,
    force_mae: float | None = None,
) -> dict[str, float]:
    """Return errors by the names of tidy columns; those of forces only where they are known."""
    found = {"energy_rmse_mev_per_atom": rmse, "energy_mae_mev_per_atom": mae, "energy_r2": r2}
    if force_mae is not None and size is not None:
        found["force_mae_ev_per_a"] = force_mae
    if force_rmse is not None and size is not None:
        found |= {"force_rmse_ev_per_a": force_rmse, "force_r2": 1.0 - (force_rmse / size) ** 2}
    return found


def error_metrics(
    inputs: Inputs,
    prefix: str,
    table: pd.DataFrame,
    variant: str,
    training: str,
) -> list[dict[str, Any]]:
    """Return rows of metrics {prefix}_{subset}_{measure} from a table of `potential_errors`, of the
    measures that it knows."""
    rows = []
    known = [short for short in SCORED if MEASURES[short][0] in table]
    for (subset, seed), part in table.groupby(["subset", "seed"], sort=False):
        sources = part.set_index("source")
        ours, trivial = (
            {MEASURES[short][0]: float(sources[MEASURES[short][0]][source]) for short in known}
            for source in ("ours", "null_model")
        )
        # the predictions of training frames are not kept
        measures = [s for s in known if (subset, s) != ("train", "energy_mae")]
        name = f"{prefix}_{subset}"
        about = (trivial, variant, training)
        rows += score_rows(inputs, name, measures, ours, int(str(seed)), *about)
    return rows


def _of_ensemble(
    train: FrameArrays, frames: FrameArrays, term: str, columns: Sequence[str]
) -> np.ndarray:
    """Return the mean energy (meV/atom) of the training frames of each frame's ensemble; of all
    training frames where it has none."""
    known = pd.DataFrame({c: train.column(c) for c in columns})
    known["energy"] = train.energy(term) * 1000.0 / train.n_atoms
    means = known.groupby(list(columns))["energy"].mean().rename("mean").reset_index()
    wanted = pd.DataFrame({c: frames.column(c) for c in columns})
    found = wanted.merge(means, on=list(columns), how="left")["mean"]
    return np.asarray(found.fillna(known["energy"].mean()))


def published_errors(inputs: Inputs, who: str) -> pd.DataFrame:
    """Return the artefact's published numbers as rows of its tidy table, with the source
    `published`: quantities named {who}_{subset}_{measure} of `MEASURES`."""
    rows = []
    pattern = re.compile(f"(.+)_({'|'.join(SUBSETS)})_({'|'.join(SCORED)})")
    for quantity, value in inputs.published():
        if found := pattern.fullmatch(quantity):
            name, subset, short = found.groups()
            about = {"source": "published", who: name, "subset": subset}
            rows.append(about | {MEASURES[short][0]: value})
    return pd.DataFrame(rows)

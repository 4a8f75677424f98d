"""Errors of trained potentials in energies and forces, beside those of trivial predictors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.inputs import Inputs, read_csv
from gnnip.artefacts.tables import metric_row
from gnnip.datasets.arrays import FrameArrays
from gnnip.measurements import metrics as measure

#: measure in the metrics -> its name in tidy tables and summaries, and its unit
MEASURES = {
    "energy_rmse": ("energy_rmse_mev_per_atom", "meV/atom"),
    "energy_mae": ("energy_mae_mev_per_atom", "meV/atom"),
    "energy_r2": ("energy_r2", ""),
    "force_rmse": ("force_rmse_ev_per_a", "eV/A"),
    "force_r2": ("force_r2", ""),
    "share_beyond_cutoff": ("share_beyond_cutoff", ""),
    "parameters": ("n_parameters", ""),
}
#: what every potential is measured by
SCORED = ("energy_rmse", "energy_mae", "energy_r2", "force_rmse", "force_r2")
#: what a summary does not say of the training frames, whose predictions are not kept
UNKNOWN_OF_TRAIN = ("energy_mae",)


def score_rows(
    inputs: Inputs,
    artefact: str,
    prefix: str,
    measures: Iterable[str],
    scores: Mapping[str, float],
    seed: int,
    baselines: Mapping[str, float] | None = None,
    variant: str = "as_described",
) -> list[dict[str, Any]]:
    """Return rows of metrics named {prefix}_{measure} from scores by the names of `MEASURES`."""
    rows = []
    for short in measures:
        column, unit = MEASURES[short]
        baseline = np.nan if baselines is None else baselines[column]
        rows.append(
            metric_row(
                inputs,
                artefact,
                f"{prefix}_{short}",
                unit,
                scores[column],
                seed=seed,
                baseline=baseline,
                variant=variant,
            )
        )
    return rows


def errors_of(summary: Mapping[str, float] | pd.Series, subset: str) -> dict[str, float]:
    """Return the errors of a training's summary on one subset, by the names of `MEASURES`."""
    names = ("energy_rmse_mev_per_atom", "force_rmse_ev_per_a")
    return {name: float(summary[f"{subset}_{name}"]) for name in names}


def potential_errors(
    inputs: Inputs, group: str, term: str, ensemble: Sequence[str] = (), *, train: bool = False
) -> pd.DataFrame:
    """Return errors of a training group on every subset, with those of trivial predictors.

    Columns: source, group, the keys of the group's matrix, subset, seed, n_frames,
    energy_rmse_mev_per_atom, energy_mae_mev_per_atom, energy_r2, force_rmse_ev_per_a, force_r2,
    n_parameters. Energies are total energies divided by the number of atoms.

    Sources: `ours`; `composition`, the least-squares fit of the training energies on the
    composition; with `ensemble` (columns of the data set) also `ensemble_mean`, the mean energy per
    atom of the training frames of the same ensemble. Both predict zero forces.

    With `train` also the training frames. A training keeps no predictions of them: the errors of
    `ours` are those of its summary, which has no mean absolute error per atom (NaN).
    """
    arrays = inputs.arrays(inputs.group(group).get("dataset"))
    rows = []
    for keys, seed, folder in inputs.cells(group):
        predictions = read_csv(folder / "predictions.csv")
        summary = inputs.summary(folder)
        learned = arrays.subset(inputs.training_frames(group, keys, seed))
        subsets: list[tuple[str, pd.DataFrame | None]] = [("train", None)] if train else []
        subsets += [(str(name), p) for name, p in predictions.groupby("subset", sort=False)]
        for subset, part in subsets:
            if part is None:
                frames, energy, size = learned, learned.energy(term), _force_sizes(learned, term)
            else:
                frames = arrays.subset(part["frame"].to_numpy())
                energy = part["energy_reference_ev"].to_numpy()
                size = part["force_rms_reference_ev_per_a"].to_numpy()
            true = energy * 1000.0 / frames.n_atoms
            weight = frames.n_atoms / frames.n_atoms.sum()
            trivial = {"composition": _of_composition(learned, frames, term)}
            if ensemble:
                trivial["ensemble_mean"] = _of_ensemble(learned, frames, term, ensemble)
            found = {name: _measured(true, e, size, size, weight) for name, e in trivial.items()}
            if part is None:
                ours = _summarised(errors_of(summary, subset), true, size, weight)
            else:
                predicted = part["energy_predicted_ev"].to_numpy() * 1000.0 / frames.n_atoms
                force = part["force_rmse_ev_per_a"].to_numpy()
                ours = _measured(true, predicted, size, force, weight)
            for source, scores in ({"ours": ours} | found).items():
                rows.append(
                    {
                        "source": source,
                        "group": group,
                        **keys,
                        "subset": subset,
                        "seed": seed,
                        "n_frames": frames.n_frames,
                        "n_parameters": summary["n_parameters"] if source == "ours" else np.nan,
                        **scores,
                    }
                )
    return pd.DataFrame(rows)


def _measured(
    true: np.ndarray, energy: np.ndarray, size: np.ndarray, force: np.ndarray, weight: np.ndarray
) -> dict[str, float]:
    """Return the errors of energies (meV/atom) and of forces, whose size and error (eV/Angstrom)
    are root mean squares over a frame that weighs as many atoms as it has."""
    force_rmse, rms = (float(np.sqrt((weight * np.square(x)).sum())) for x in (force, size))
    return {
        "energy_rmse_mev_per_atom": measure.rmse(true, energy),
        "energy_mae_mev_per_atom": measure.mae(true, energy),
        "energy_r2": measure.r2(true, energy),
        "force_rmse_ev_per_a": force_rmse,
        "force_r2": 1.0 - (force_rmse / rms) ** 2,
    }


def _summarised(
    known: Mapping[str, float], true: np.ndarray, size: np.ndarray, weight: np.ndarray
) -> dict[str, float]:
    """Return `_measured` of a potential of which only the root mean square errors are known."""
    energy, force = known["energy_rmse_mev_per_atom"], known["force_rmse_ev_per_a"]
    spread, square = float(np.var(true)), float((weight * np.square(size)).sum())
    return {
        "energy_rmse_mev_per_atom": energy,
        "energy_mae_mev_per_atom": np.nan,
        "energy_r2": 1.0 - energy**2 / spread if spread > 0 else np.nan,
        "force_rmse_ev_per_a": force,
        "force_r2": 1.0 - force**2 / square,
    }


def _force_sizes(frames: FrameArrays, term: str) -> np.ndarray:
    """Return the root mean square of the force components of each frame, eV/Angstrom."""
    squares = np.square(frames.force(term)).mean(axis=1)
    return np.asarray(np.sqrt(np.add.reduceat(squares, frames.offsets[:-1]) / frames.n_atoms))


def error_metrics(
    inputs: Inputs,
    artefact: str,
    prefix: str,
    table: pd.DataFrame,
    *,
    baseline: str = "composition",
    variant: str = "as_described",
) -> list[dict[str, Any]]:
    """Return rows of metrics {prefix}_{subset}_{measure} from a table of `potential_errors`, of the
    measures that it knows."""
    rows = []
    for (subset, seed), part in table.groupby(["subset", "seed"], sort=False):
        scores = part.set_index("source")
        rows += score_rows(
            inputs,
            artefact,
            f"{prefix}_{subset}",
            [short for short in SCORED if subset != "train" or short not in UNKNOWN_OF_TRAIN],
            _scores(scores, "ours"),
            int(str(seed)),
            _scores(scores, baseline),
            variant,
        )
    return rows


def _of_composition(train: FrameArrays, frames: FrameArrays, term: str) -> np.ndarray:
    """Return the energies (meV/atom) that the composition alone predicts."""
    from gnnip.models.composition import composition_energies, fit_composition

    fit = fit_composition(train.energy(term), train.numbers, train.offsets)
    energies = composition_energies(fit, frames.numbers, frames.offsets)
    return np.asarray(energies * 1000.0 / frames.n_atoms)


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


def _scores(table: pd.DataFrame, source: str) -> dict[str, float]:
    return {MEASURES[name][0]: float(table[MEASURES[name][0]][source]) for name in SCORED}


def published_errors(inputs: Inputs, artefact: str, who: str) -> pd.DataFrame:
    """Return the artefact's published numbers as rows of its tidy table, with the source
    `published`: quantities named {who}_{subset}_{measure} of `MEASURES`."""
    rows = []
    for block in inputs.card.get("published") or []:
        if block["artefact"] != artefact:
            continue
        for quantity, value in block["values"].items():
            name, subset, measure = quantity.split("_", 2)
            about = {"source": "published", who: name, "subset": subset}
            rows.append(about | {MEASURES[measure][0]: value})
    return pd.DataFrame(rows)

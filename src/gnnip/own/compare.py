"""Runs side by side: their errors and learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.errors import DataError
from gnnip.files import sha256
from gnnip.own.page import error_rows, evaluations
from gnnip.own.run import Run
from gnnip.training.outputs import read_history, read_predictions

_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILLION, style.PURPLE, style.SKY)


def read_runs(folders: Sequence[str]) -> dict[str, Run]:
    """Return runs by the names of their folders; DataError for a run that is not finished."""
    runs = {}
    for folder in folders:
        run = Run.read(Path(folder))
        unfinished = [p for _, _, _, p in _places(run) if not (Path(p) / "summary.json").exists()]
        if unfinished or not (run.folder / "index.html").exists():
            raise DataError(f"{folder} is not finished; continue it with 'gnnip train {folder}'.")
        runs[folder] = run
    return runs


def _places(run: Run) -> list[tuple[str, object, int, str]]:
    return [*run.trainings(list(run.card.trainings))]


def same_test(runs: Sequence[Run]) -> bool:
    """Tell whether runs were tested on the same frames, seed by seed."""
    return len({_tested(run) for run in runs}) == 1


def _tested(run: Run) -> tuple[object, ...]:
    (dataset, *_) = run.card.datasets
    parts: list[object] = [sha256(run.dataset(dataset))]
    for _, _, seed, folder in _places(run):
        table = read_predictions(Path(folder))
        parts.append((seed, *table.loc[table["subset"] == "test", "frame"]))
    return tuple(parts)


def comparison(runs: dict[str, Run]) -> list[list[str]]:
    """Return rows of errors, a column for each run, and what a trivial predictor has in the first;
    the first row has the names."""
    known = {
        name: {row[0]: row for row in error_rows(evaluations(run))} for name, run in runs.items()
    }
    first = next(iter(known.values()))
    rows = [["RMSE", "unit", *runs, "trivial"]]
    for quantity in dict.fromkeys(q for table in known.values() for q in table):
        own = [table[quantity][2] if quantity in table else "" for table in known.values()]
        about = next(table[quantity] for table in known.values() if quantity in table)
        trivial = first[quantity][5] if quantity in first else ""
        rows.append([quantity, about[1], *own, trivial])
    return rows


@style.styled
def curves(runs: dict[str, Run]) -> Figure:
    """Draw the validation errors of runs by epoch and by time, of forces where all have them."""
    histories = {name: _histories(run) for name, run in runs.items()}
    column, label = "validation_force_rmse_ev_per_a", "force RMSE, validation (eV/Å)"
    if not all(column in table for table in histories.values()):
        column, label = "validation_mae_ev", "energy MAE, validation (eV)"
    fig = style.figure(style.DOUBLE, 74.0)
    for place, (x, words) in enumerate((("epoch", "epoch"), ("time", "time of training (s)"))):
        ax = style.place(fig, 18.0 + 82.0 * place, 16.0, 62.0, 42.0)
        for turn, (name, table) in enumerate(histories.items()):
            colour = _COLOURS[turn % len(_COLOURS)]
            for k, (_, one) in enumerate(table.groupby("seed")):
                ax.plot(one[x], one[column], color=colour, lw=1.0, label=name if k == 0 else None)
        ax.set(xlabel=words, ylabel=label if place == 0 else "")
        style.plain_log(ax)
        style.panel(ax, "ab"[place])
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles, labels, loc="upper center", ncols=4)
    return fig


def _histories(run: Run) -> pd.DataFrame:
    parts = []
    for _, _, seed, folder in _places(run):
        own = read_history(Path(folder))
        parts.append(own.assign(seed=seed, time=np.cumsum(own["seconds"])))
    return pd.concat(parts)

"""Errors on frames that no potential was trained on: rows of their own, by their own reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts import kinds
from gnnip.artefacts.errors import MEASURES
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.tables import Result, metric_row, metric_table


def other_frames(inputs: Inputs, options: kinds.OtherFrames) -> Result:
    """Return the errors of potentials on the frames of a measurement of the kind other_frames.

    Tidy: source (ours, and null_model: the mean of a composition and no force), group, the data set
    as `subset`, seed, n_frames, energy_rmse_mev_per_atom, force_rmse_ev_per_a. Metrics: see
    `gnnip.artefacts.kinds.OtherFrames`.
    """
    (name,) = inputs.measurements()
    table = inputs.measurement(name)
    tidy, rows = [], []
    for (group, cell, seed, dataset), part in table.groupby(
        ["group", "cell", "seed", "dataset"], sort=False
    ):
        ours, trivial = _scores(part)
        training = f"{group}/{cell}"
        prefix = f"{group if cell == 'all' else f'{group}_{cell}'}_{dataset}"
        for short in ("energy_rmse", "force_rmse"):
            column, unit = MEASURES[short]
            if np.isfinite(ours[column]):
                about: dict[str, Any] = {"baseline": trivial[column], "training": training}
                about |= {"seed": seed, "dataset": dataset}
                rows.append(metric_row(inputs, f"{prefix}_{short}", unit, ours[column], **about))
        for source, scores in (("ours", ours), ("null_model", trivial)):
            place = {"source": source, "group": group, "subset": dataset, "seed": seed}
            tidy.append(place | {"n_frames": len(part)} | scores)
    return pd.DataFrame(tidy), metric_table(rows)


def _scores(part: pd.DataFrame) -> tuple[dict[str, float], dict[str, float]]:
    """Return the errors of a potential on one data set, and those of who knows the mean energy of
    each composition and no force. A composition with one frame has no energy to be compared."""
    weight = part["n_atoms"] / part["n_atoms"].sum()
    several = part.groupby("composition")["frame"].transform("size") > 1
    energies = 1000.0 * part[["energy_ev", "energy_reference_ev"]].div(part["n_atoms"], axis=0)
    about = (energies - energies.groupby(part["composition"]).transform("mean"))[several]

    def root(values: pd.Series) -> float:
        return float(np.sqrt(np.square(values).mean())) if len(values) else np.nan

    def force(column: str) -> float:
        return float(np.sqrt((weight * np.square(part[column])).sum(skipna=False)))

    off = about["energy_ev"] - about["energy_reference_ev"]
    return (
        {
            "energy_rmse_mev_per_atom": root(off),
            "force_rmse_ev_per_a": force("force_rmse_ev_per_a"),
        },
        {
            "energy_rmse_mev_per_atom": root(about["energy_reference_ev"]),
            "force_rmse_ev_per_a": force("force_rms_reference_ev_per_a"),
        },
    )

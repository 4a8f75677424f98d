"""Test errors of training groups against the keys of their matrices."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from gnnip.artefacts.energy_scores import score_metrics, scored
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import Scan
from gnnip.artefacts.tables import NONE, Result, metric_row, metric_table
from gnnip.datasets.arrays import FrameArrays
from gnnip.units import BOHR

#: Angstrom
LENGTHS = {"Angstrom": 1.0, "Bohr": BOHR}


def scan(inputs: Inputs, how: Scan) -> Result:
    """Return the scores of every training of the artefact's groups, and metrics of the networks.

    Tidy: that of `gnnip.artefacts.energy_scores.scored`, with the column group where there are
    several, and neighbours (per atom, within the cutoff x) where they are asked for.
    """
    groups = inputs.groups()
    parts, metrics = [], []
    for group in groups:
        scores, _ = scored(inputs, group, how)
        if len(groups) > 1:
            scores.insert(0, "group", group)
        if how.neighbours:
            scores[how.x] = scores[how.x].astype(float)
        variant = inputs.variant(group)
        metrics.append(score_metrics(inputs, scores, how, how.quantity, variant, how.measures))
        parts.append(scores)
    tidy = pd.concat(parts, ignore_index=True)
    if how.neighbours:
        counts = _neighbours(inputs, tidy[how.x], how)
        tidy["neighbours"] = tidy[how.x].map(counts)
        chosen = counts[how.chosen[0]]
        # the same for every seed, but a quantity needs as many rows as the card has seeds
        rows = [
            metric_row(inputs, name, "", value, seed=seed, training=NONE)
            for name, value in (("mean_neighbours", chosen), ("mean_pairs_per_atom", chosen / 2.0))
            for seed in sorted(tidy["seed"].unique())
        ]
        metrics.append(metric_table(rows))
    return tidy, pd.concat(metrics, ignore_index=True)


def _neighbours(inputs: Inputs, cutoffs: pd.Series, how: Scan) -> dict[float, float]:
    """Return neighbours per atom by cutoff, in the unit of the card, the chosen one among them."""
    assert how.neighbours is not None
    length = LENGTHS[how.neighbours]
    arrays = inputs.arrays(inputs.group(inputs.groups()[0]).get("dataset"))
    wanted = sorted({*map(float, cutoffs), how.chosen[0]})
    counts = mean_neighbours(arrays, [cutoff * length for cutoff in wanted])
    return {cutoff: counts[cutoff * length] for cutoff in wanted}


def mean_neighbours(
    arrays: FrameArrays, cutoffs: Iterable[float], n_frames: int = 64
) -> dict[float, float]:
    """Return neighbours per atom within each cutoff (Angstrom), over evenly drawn frames.

    Both directions of a pair are counted and the atom itself is not; images count in periodic
    frames.
    """
    from gnnip.graphs.neighbours import neighbour_list

    drawn = np.linspace(0, arrays.n_frames - 1, min(n_frames, arrays.n_frames))
    frames = [arrays.structure(frame) for frame in np.unique(drawn.astype(int))]
    atoms = sum(len(numbers) for _, numbers, _, _ in frames)
    found = {}
    for cutoff in cutoffs:
        lists = [neighbour_list(x, cutoff, cell, pbc)[0] for x, _, cell, pbc in frames]
        found[cutoff] = sum(edges.shape[1] for edges in lists) / atoms
    return found

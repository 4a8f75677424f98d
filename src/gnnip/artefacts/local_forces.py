"""Learned local forces against the distance: where they are lowest, and their sign in ranges."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts import arms, kinds
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.measured import measured
from gnnip.artefacts.tables import Result, metric_row, metric_table

FORCE = "directed_force_ev_per_a"
#: pairs of atoms behind a bin, below which it says nothing
FEWEST_PAIRS = 20
#: Angstrom, between which means are taken
RANGES = (0.0, 2.0, 3.0, 4.0)


def local_forces(inputs: Inputs, options: kinds.LocalForces) -> Result:
    """Return binned local forces of the measured potentials, and where they are lowest.

    Tidy: the measurement (`gnnip.measurements.local_forces.tabulate_local_forces`) with the arm of
    each potential and whether a bin has pairs enough to count. Metrics: see
    `gnnip.artefacts.kinds.LocalForces`.
    """
    parts, rows = [], []
    for one in measured(inputs, options.materials):
        tidy = one.table
        tidy["arm"] = [arms.divide(group, options.materials)[1] for group in tidy["group"]]
        tidy["counts"] = tidy["n_pairs"] >= FEWEST_PAIRS
        parts.append(tidy)
        width = np.diff(np.unique(tidy["distance_a"]), append=np.inf).min()
        counted = tidy[tidy["counts"]]
        keys = ["arm", "seed", "centre", "neighbour"]
        for (arm, seed, centre, neighbour), part in counted.groupby(keys, sort=False):
            prefix = f"{one.prefix(str(arm))}_{centre}{neighbour}"
            about: dict[str, Any] = {"seed": seed, "variant": one.variants[str(arm)]}
            about["training"] = one.groups[str(arm)]
            facts = [*_extremes(part, width), *_ranges(part)]
            rows += [metric_row(inputs, f"{prefix}_{n}", u, v, **about) for n, u, v in facts]
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def _extremes(part: pd.DataFrame, width: float) -> Iterator[tuple[str, str, float]]:
    """Yield the lowest force of one pair of elements, its place, and the highest one."""
    lowest = part.iloc[int(part[FORCE].argmin())]
    steps = ((part["distance_a"] - lowest["distance_a"]) / width).round()
    yield "lowest_force", "eV/A", float(lowest[FORCE])
    yield "lowest_force_at", "A", float(lowest["distance_a"])
    yield "lowest_force_inside", "", float({-1, 1} <= set(steps))
    yield "highest_force", "eV/A", float(part[FORCE].max())


def _ranges(part: pd.DataFrame) -> Iterator[tuple[str, str, float]]:
    """Yield the mean force between two distances, over the pairs of atoms."""
    for low, high in pairwise(RANGES):
        inside = part[(part["distance_a"] >= low) & (part["distance_a"] < high)]
        if len(inside):
            value = float(np.average(inside[FORCE], weights=inside["n_pairs"]))
            name = f"{low:g}_to_{high:g}" if low else f"below_{high:g}"
            yield f"force_{name}", "eV/A", value

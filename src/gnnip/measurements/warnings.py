"""Whether the spread of an ensemble warns before a replica fails.

Every stored frame of a replica, and the last good and the first bad one of a failure, is replayed
through all seeds of the potential that moved it, that one among them. A warning is the first frame
in which the spread of the forces on any atom is larger than in all frames that no seed learned
from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import DataError
from gnnip.md import Trajectory, read_trajectory
from gnnip.measurements.dynamics.motion import COLUMNS
from gnnip.measurements.dynamics.rows import Row, row
from gnnip.measurements.ensembles import ensembles, held_out, load_seeds, spread_of
from gnnip.measurements.selection import spread_evenly
from gnnip.measurements.sources import Sources
from gnnip.models.contract import Potential

if TYPE_CHECKING:
    from gnnip.measurements.kinds import Warnings


def replay(sources: Sources, options: Warnings) -> pd.DataFrame:
    """Return the records below of the potentials that have several seeds, in the columns of tables
    of dynamics.

    spread : largest spread of a force (eV/Angstrom) at x (fs).
    warning : limit_ev_per_a, the largest spread in frames that no seed learned from; of a replica
        flagged_fs, when the spread first exceeded it (NaN if never), and of failures failed_fs and
        warning_fs, the time between.

    DataError where no training has several seeds, or too few frames were held out.
    """
    rows: list[Row] = []
    groups = ensembles(sources.trainings)
    if not groups:
        raise DataError("Warnings need trainings with two seeds or more; raise their seeds.")
    for seeds in groups.values():
        models = load_seeds(seeds, sources.device)
        arrays = sources.arrays(seeds[0].dataset)
        known = arrays.subset(spread_evenly(held_out(seeds), options.max_frames))
        limit = float(spread_of(models, known).largest(known.offsets).max())
        for name in (seed.name for seed in seeds if seed.name in sources.trajectories):
            rows.append(row(name, "warning", "limit_ev_per_a", limit))
            for t in read_trajectory(sources.trajectories[name]):
                rows += _warning(name, t, models, limit, options.frames)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _warning(
    name: str, t: Trajectory, models: Sequence[Potential], limit: float, count: int
) -> list[Row]:
    """Return the largest spread along one replica, and when it first exceeded the limit."""
    chosen = spread_evenly(np.arange(len(t.time_fs)), count)
    times = [float(t.time_fs[k]) for k in chosen]
    places = [np.asarray(t.positions[k], dtype=np.float64) for k in chosen]
    if t.failure is not None:
        # between the last stored frame and the failure there may be nothing else
        interval = t.series["time_fs"]
        step = float(interval[1] - interval[0]) if len(interval) > 1 else 0.0
        if t.failure.last_good is not None and t.failure.time_fs - step > (times or [-1.0])[-1]:
            times.append(t.failure.time_fs - step)
            places.append(t.failure.last_good.positions)
    sizes = _largest(places, t, models)
    about: dict[str, Any] = {"replica": t.replica}
    rows = [
        row(name, "spread", "forces", s, x=x, **about) for x, s in zip(times, sizes, strict=True)
    ]
    flagged = next((x for x, s in zip(times, sizes, strict=True) if not s <= limit), math.nan)
    rows.append(row(name, "warning", "flagged_fs", flagged, **about))
    if t.failure is not None:
        rows.append(row(name, "warning", "failed_fs", t.failure.time_fs, **about))
        rows.append(row(name, "warning", "warning_fs", t.failure.time_fs - flagged, **about))
    return rows


def _largest(
    places: Sequence[np.ndarray], t: Trajectory, models: Sequence[Potential]
) -> list[float]:
    """Return the largest spread of a force in each structure, infinite where none is defined."""
    if not places:
        return []
    count, n_atoms = len(places), len(t.atomic_numbers)
    frames = FrameArrays(
        positions=np.concatenate(places),
        numbers=np.tile(t.atomic_numbers, count),
        offsets=np.arange(count + 1) * n_atoms,
        energies={},
        cells=None if t.cell is None else np.repeat(np.asarray(t.cell)[None], count, axis=0),
        pbc=None if t.pbc is None else np.repeat(np.asarray(t.pbc)[None], count, axis=0),
    )
    try:
        return [float(value) for value in spread_of(models, frames).largest(frames.offsets)]
    except DataError:  # a structure that gives no graph
        if count == 1:
            return [math.inf]
        return [value for one in places for value in _largest([one], t, models)]

"""Records of single replicas: how long they lived, how hot they were, and what energy was kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gnnip.md import Trajectory, straight_line, survival_curve
from gnnip.measurements.dynamics.motion import Motion
from gnnip.measurements.dynamics.options import Comparison
from gnnip.measurements.dynamics.rows import Row, curve, row

_SERIES = ("temperature_k", "potential_energy_ev", "conserved_energy_ev")
#: rows of each time series of each replica that the table keeps
_SERIES_ROWS = 160


def single_runs(
    name: str, replicas: Sequence[Trajectory], motion: Motion, wanted: Comparison
) -> list[Row]:
    """Return the records run, survival and series of one potential."""
    rows = [r for t in replicas for r in _run(name, t, motion, wanted)]
    rows += _survival(name, replicas, motion)
    for t in replicas:
        time = t.series["time_fs"]
        kept = np.unique(np.linspace(0, len(time) - 1, min(len(time), _SERIES_ROWS)).astype(int))
        for key in _SERIES:
            rows += curve(name, "series", key, time[kept], t.series[key][kept], t.replica)
    return rows


def _run(name: str, t: Trajectory, motion: Motion, wanted: Comparison) -> list[Row]:
    time = t.series["time_fs"]
    late = time >= wanted.discard
    values = {
        "n_atoms": float(len(t.atomic_numbers)),
        "target_temperature_k": motion.temperature,
        "simulated_fs": t.failure.time_fs if t.failure else motion.duration,
    }
    if late.any():
        values["temperature_mean_k"] = float(t.series["temperature_k"][late].mean())
    if late.sum() > 2:
        energy = 1000.0 * t.series["conserved_energy_ev"][late] / len(t.atomic_numbers)
        drift, fluctuation = straight_line(time[late] / 1000.0, energy)
        values["drift_mev_per_atom_ps"] = drift
        values["fluctuation_mev_per_atom"] = fluctuation
    rows = [row(name, "run", key, value, replica=t.replica) for key, value in values.items()]
    reason = f"{t.failure.reason}: {t.failure.detail}" if t.failure else ""
    failed = float(t.failure is not None)
    return [*rows, row(name, "run", "failed", failed, replica=t.replica, text=reason)]


def _survival(name: str, replicas: Sequence[Trajectory], motion: Motion) -> list[Row]:
    failures = [t.failure for t in replicas]
    found = survival_curve(
        [motion.duration if f is None else min(f.time_fs, motion.duration) for f in failures],
        [f is not None for f in failures],
    )
    rows = curve(name, "survival", "survival", found.time_fs, found.survival)
    rows += curve(name, "survival", "survival_low", found.time_fs, found.lower)
    return rows + curve(name, "survival", "survival_high", found.time_fs, found.upper)

"""Does the energy error of constant-energy dynamics fall with the square of the time step?

For a potential smooth enough, velocity Verlet conserves a nearby energy and the fluctuation of the
true one goes as dt^2. A potential that jumps or has kinks (a cutoff without envelope, rectified
layers, single precision) leaves a part that does not fall, or a drift: a fitted exponent below 2
tells a rough surface from a long time step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnnip.errors import ConfigError
from gnnip.md.integrators import VelocityVerlet
from gnnip.md.simulation import Simulation
from gnnip.md.stability import Criteria
from gnnip.md.state import State


@dataclass(frozen=True)
class OrderTest:
    """Energy errors at several time steps."""

    time_steps_fs: np.ndarray  #: (k,)
    fluctuation_mev_per_atom: np.ndarray  #: (k, g) RMS about a straight line in time
    drift_mev_per_atom_ps: np.ndarray  #: (k, g) slope of that line
    exponent: np.ndarray  #: (g,) slope of log fluctuation against log time step
    exponent_mean: float
    exponent_error: float  #: standard error over the replicas; NaN for one


def straight_line(time: np.ndarray, energy: np.ndarray) -> tuple[float, float]:
    """Return slope and RMS deviation of a straight line through `energy` (m,) over `time` (m,)."""
    time, energy = time - time.mean(), energy - energy.mean()
    line = np.polyfit(time, energy, 1)
    return float(line[0]), float(np.sqrt(np.mean((energy - np.polyval(line, time)) ** 2)))


def nve_order_test(
    potential: Any,
    state: State,
    time_steps_fs: Sequence[float] = (0.25, 0.5, 1.0),
    duration_fs: float = 200.0,
    skin: float = 1.0,
) -> OrderTest:
    """Run `state` for `duration_fs` at each time step from the same start and fit the order.

    Use an equilibrated state, time steps short against the fastest vibration, and a duration of
    several of its periods. Replicas that fail have NaN. Raises ConfigError for fewer than two
    different time steps or a duration under 20 steps.
    """
    steps = np.array(sorted(set(time_steps_fs)), dtype=np.float64)
    if len(steps) < 2:
        raise ConfigError("The order test needs at least two different time steps.")
    if duration_fs < 20 * steps[-1]:
        raise ConfigError(
            f"The order test needs at least 20 of the longest time step ({steps[-1]:g} fs)."
        )
    n_replicas = state.n_replicas
    counts = np.array(state.layout.counts)
    fluctuation = np.full((len(steps), n_replicas), np.nan)
    drift = np.full((len(steps), n_replicas), np.nan)
    for k, time_step in enumerate(steps):
        run = Simulation(
            potential,
            state,
            VelocityVerlet(float(time_step)),
            criteria=Criteria(temperature_factor=None),
            record_every=1,
            frame_every=None,
            skin=skin,
        ).run(round(duration_fs / time_step))
        for row, trajectory in enumerate(run.trajectories):
            if trajectory.failure is not None:
                continue
            energy = trajectory.series["conserved_energy_ev"] * 1000.0 / counts[row]
            slope, scatter = straight_line(trajectory.series["time_fs"], energy)
            fluctuation[k, row], drift[k, row] = scatter, slope * 1000.0
    with np.errstate(divide="ignore"):
        logs = np.log(fluctuation)
    centred = np.log(steps) - np.log(steps).mean()
    exponent = (centred @ (logs - logs.mean(axis=0))) / (centred @ centred)
    known = exponent[np.isfinite(exponent)]
    error = float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    mean = float(known.mean()) if len(known) else float("nan")
    return OrderTest(steps, fluctuation, drift, exponent, mean, error)

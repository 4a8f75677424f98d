"""Does the energy error of potentials in constant-energy dynamics fall with the square of the step?

Every potential moves the same starts, at the same velocities, for one duration by
several time steps (`gnnip.md.nve_order_test`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gnnip.measurements.dynamics import COLUMNS, REFERENCE, Motion, load_potential
from gnnip.models.hyperparameters import read_options, require

if TYPE_CHECKING:
    import pandas as pd

    from gnnip.md import OrderTest, State
    from gnnip.measurements.kinds import Conservation
    from gnnip.measurements.sources import Sources


@dataclass(frozen=True)
class Order:
    """How the order is measured.

    time_steps : fs, at least two, short against the fastest vibration.
    duration : fs of each run: several periods of the vibrations, at least 20 of the longest step.
    equilibration : fs that each potential moves the starts by the motion's thermostat and time step
        before, so that it is on its own surface; 0 for none.
    precision : in which trained potentials are evaluated. In single precision rounding adds an
        error that does not fall with the step; "trained" is the precision of the weights.
    """

    time_steps: tuple[float, ...] = (0.25, 0.5, 1.0)
    duration: float = 200.0
    equilibration: float = 100.0
    precision: Literal["double", "trained"] = "double"

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers out of range."""
        require(
            len(set(self.time_steps)) >= 2 and min(self.time_steps) > 0,
            "Order: time_steps needs at least two different ones, greater than zero (fs).",
        )
        require(
            self.duration >= 20 * max(self.time_steps),
            "Order: duration must be at least 20 of the longest time step (fs).",
        )
        require(self.equilibration >= 0, "Order: equilibration must not be negative (fs).")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Order:
        """Build from plain values; ConfigError names an unknown key and the nearest valid one."""
        return read_options(cls, values, "Order")


def measure_conservation(sources: Sources, options: Conservation) -> pd.DataFrame:
    """Return one tidy table of the energy errors of all potentials at several time steps.

    All are moved from the same starts, equilibrated as the motion says; the reference joins them as
    "reference" where it is stated. Columns potential, record, name, replica, x, value, text. By
    record:

    conservation : fluctuation_mev_per_atom, RMS of the energy about a straight line in time, and
        drift_mev_per_atom_ps, the slope of that line, of each replica; x is the time step in fs.
        NaN, with the reason as text, for a replica that failed.
    order : exponent of each replica, slope of log fluctuation against log time step, 2 for a smooth
        potential; exponent_mean, and exponent_low and exponent_high, the 95 % interval of the mean
        (Student's t over replicas; NaN for one).
    """
    import pandas as pd

    moved, wanted = Motion.read(options.motion), Order.read(options.order)
    (dataset,) = sources.datasets
    arrays = sources.arrays(dataset)
    rows: list[dict[str, Any]] = []
    chosen: dict[str, tuple[Any, str | None]] = {t.name: (t.model, None) for t in sources.trainings}
    if options.reference is not None:
        chosen[REFERENCE] = (None, options.reference)
    for name, (model, text) in chosen.items():
        print(f"order of {name}")
        potential = load_potential(model, text)
        if model is not None and wanted.precision == "double":
            potential = potential.double()
        # one name for all: the same velocities at the start
        state = moved.state(arrays, "conservation")
        rows += _measure(name, potential, state, moved, wanted)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _measure(
    name: str, potential: Any, state: State, motion: Motion, wanted: Order
) -> list[dict[str, Any]]:
    from gnnip import md

    replicas = state.layout.identifiers
    failures: dict[int, str] = {}
    if wanted.equilibration > 0:
        run = md.Simulation(potential, state, motion.integrator(), frame_every=None)
        result = run.run(motion.steps(wanted.equilibration))
        failures = {replica: str(failure) for replica, failure in result.failures.items()}
        state = run.state
    test: OrderTest | None = None
    if state.n_replicas:
        test = md.nve_order_test(potential, state, wanted.time_steps, wanted.duration)
    row = {replica: k for k, replica in enumerate(state.layout.identifiers)}
    rows: list[tuple[Any, ...]] = []
    for replica in replicas:
        text = failures.get(replica, "")
        for k, step in enumerate(sorted(set(wanted.time_steps))):
            for key in ("fluctuation_mev_per_atom", "drift_mev_per_atom_ps"):
                known = test is not None and replica in row
                value = float(getattr(test, key)[k, row[replica]]) if known else np.nan
                said = text or ("" if np.isfinite(value) else "failed at constant energy")
                rows.append((name, "conservation", key, replica, step, value, said))
        if test is not None and replica in row:
            exponent = float(test.exponent[row[replica]])
            rows.append((name, "order", "exponent", replica, None, exponent, text))
    exponents = np.zeros(0) if test is None else test.exponent[np.isfinite(test.exponent)]
    for key, value in zip(("mean", "low", "high"), _interval(exponents), strict=True):
        rows.append((name, "order", f"exponent_{key}", None, None, value, ""))
    return [dict(zip(COLUMNS, values, strict=True)) for values in rows]


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return mean and 95 % interval of the mean (Student's t)."""
    from scipy.stats import t

    if not len(values):
        return np.nan, np.nan, np.nan
    mean = float(values.mean())
    if len(values) < 2:
        return mean, np.nan, np.nan
    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half

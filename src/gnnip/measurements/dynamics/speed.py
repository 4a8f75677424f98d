"""How long a step takes, all potentials in turn in one process on one core."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np
import torch

from gnnip.datasets.store import load_arrays
from gnnip.md import Simulation, State
from gnnip.measurements.dynamics.motion import REFERENCE, Motion
from gnnip.measurements.dynamics.options import Comparison
from gnnip.measurements.dynamics.rows import Row, row
from gnnip.measurements.dynamics.run import load_potential
from gnnip.measurements.timing import interleave


def time_steps(
    dataset: str | os.PathLike[str],
    models: Mapping[str, str | os.PathLike[str]],
    reference: str | None,
    motion: Motion,
    reference_motion: Motion,
    wanted: Comparison,
) -> list[Row]:
    """Return the record speed: all potentials take steps in turn, after one unmeasured turn.

    To be called in a process of its own (`gnnip.measurements.timing.in_one_thread`).
    """
    torch.set_num_threads(1)
    steps = wanted.timed_steps
    arrays = load_arrays(dataset)
    jobs: dict[tuple[str, str, int], Callable[[], None]] = {}
    for name, file in models.items():
        everybody = motion.state(arrays, name)
        count = everybody.n_replicas
        jobs[name, "alone", 1] = _stepper(file, None, everybody.select([0]), motion, steps)
        if count > 1:
            jobs[name, "batched", count] = _stepper(file, None, everybody, motion, steps)
    if reference is not None:
        alone = reference_motion.state(arrays, REFERENCE).select([0])
        jobs[REFERENCE, "alone", 1] = _stepper(None, reference, alone, reference_motion, steps)
    rows = []
    measured, machine = interleave(jobs, wanted.timing_repeats)
    for (name, how, count), seconds in measured.items():
        one = float(np.median(seconds)) / (steps * count)
        rows.append(row(name, "speed", f"{how}_seconds_per_step", one, text=machine))
    return rows


def _stepper(
    model: str | os.PathLike[str] | None,
    reference: str | None,
    state: State,
    motion: Motion,
    steps: int,
) -> Callable[[], None]:
    simulation = Simulation(
        load_potential(model, reference), state, motion.integrator(), frame_every=None
    )

    def advance() -> None:
        simulation.run(simulation.step + steps)

    return advance

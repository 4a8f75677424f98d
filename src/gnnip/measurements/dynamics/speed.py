"""How long a step takes, all potentials in turn in one process on one core."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from gnnip.datasets.arrays import load_arrays
from gnnip.md import Simulation, State
from gnnip.measurements.dynamics.motion import REFERENCE, Motion
from gnnip.measurements.dynamics.options import Comparison
from gnnip.measurements.dynamics.rows import Row, row
from gnnip.measurements.dynamics.run import load_potential
from gnnip.measurements.timing import in_one_thread, interleave
from gnnip.provenance import environment


def speed(
    dataset: str | os.PathLike[str],
    models: Mapping[str, str | os.PathLike[str]],
    reference: str | None,
    motion: Motion,
    reference_motion: Motion,
    wanted: Comparison,
) -> list[Row]:
    """Return the record speed of the models, and of the reference where there is one."""
    files = {name: os.fspath(path) for name, path in models.items()}
    motions = (asdict(motion), asdict(reference_motion))
    steps, repeats = wanted.timed_steps, wanted.timing_repeats
    return in_one_thread(time_steps, os.fspath(dataset), files, reference, *motions, steps, repeats)


def time_steps(
    dataset: str,
    models: Mapping[str, str],
    reference: str | None,
    motion: Mapping[str, Any],
    reference_motion: Mapping[str, Any],
    steps: int,
    repeats: int,
) -> list[Row]:
    """Let all potentials take `steps` steps in turn, `repeats` times, after one unmeasured turn."""
    torch.set_num_threads(1)
    moved, own = Motion.read(motion), Motion.read(reference_motion)
    arrays = load_arrays(dataset)
    jobs: dict[tuple[str, str, int], Callable[[], None]] = {}
    for name, file in models.items():
        everybody = moved.state(arrays, name)
        count = everybody.n_replicas
        jobs[name, "alone", 1] = _stepper(file, None, everybody.select([0]), moved, steps)
        if count > 1:
            jobs[name, "batched", count] = _stepper(file, None, everybody, moved, steps)
    if reference is not None:
        alone = own.state(arrays, REFERENCE).select([0])
        jobs[REFERENCE, "alone", 1] = _stepper(None, reference, alone, own, steps)
    hardware = str(environment().get("cpu") or "unknown processor")
    rows = []
    for (name, how, count), seconds in interleave(jobs, repeats).items():
        one = float(np.median(seconds)) / (steps * count)
        rows.append(row(name, "speed", f"{how}_seconds_per_step", one, text=hardware))
    return rows


def _stepper(
    model: str | None, reference: str | None, state: State, motion: Motion, steps: int
) -> Callable[[], None]:
    simulation = Simulation(
        load_potential(model, reference), state, motion.integrator(), frame_every=None
    )

    def advance() -> None:
        simulation.run(simulation.step + steps)

    return advance

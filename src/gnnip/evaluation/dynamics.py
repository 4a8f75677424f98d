"""Molecular dynamics of trained potentials and of references, from the same starts.

A replica is a start (a frame of the data set) run with a seed of its own; every start is run
`repeats` times. Potentials share starts, not seeds: their trajectories are independent samples, and
the reference's first repeats against its last ones are the noise floor of every comparison
(`gnnip.evaluation.dynamics_comparison`). A replica that fails is a result, and is not run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gnnip.errors import ConfigError, DataError
from gnnip.evaluation.selection import frames_with, spread_evenly
from gnnip.files import atomic_path
from gnnip.models.hyperparameters import read_options, require

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.md import State, Trajectory

#: name of the reference among the potentials
REFERENCE = "reference"


@dataclass(frozen=True)
class Motion:
    """How replicas are moved.

    temperature : K, of the thermostat and of the velocities at the start.
    select : values of metadata columns that a start must have, e.g. {n_molecules: 32}.
    starts, repeats : frames to start from, drawn evenly from those selected, and replicas of each.
    duration, time_step : fs.
    thermostat : "csvr", "langevin" or "none" (constant energy).
    relaxation : fs; of Langevin dynamics the inverse friction.
    record_every, frame_every : fs between rows of the time series and between frames.
    seed : of velocities and thermostat, with the potential's name and the replica's number.
    """

    temperature: float
    select: dict[str, Any] = field(default_factory=dict)
    starts: int = 2
    repeats: int = 2
    duration: float = 1000.0
    time_step: float = 0.5
    thermostat: Literal["csvr", "langevin", "none"] = "csvr"
    relaxation: float = 100.0
    record_every: float = 2.0
    frame_every: float = 2.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise ConfigError for values that cannot be."""
        for name in ("starts", "repeats"):
            require(getattr(self, name) >= 1, f"Motion: {name} must be at least 1.")
        for name in ("duration", "time_step", "relaxation", "record_every", "frame_every"):
            require(getattr(self, name) > 0, f"Motion: {name} must be greater than zero (fs).")
        require(self.temperature >= 0, "Motion: temperature must not be negative (K).")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Motion:
        """Build from plain values; ConfigError names an unknown key and the nearest valid one."""
        return read_options(cls, values, "Motion")

    def steps(self, interval: float) -> int:
        """Return how many steps an interval (fs) is, at least one."""
        return max(1, round(interval / self.time_step))

    def frames(self, arrays: FrameArrays) -> np.ndarray:
        """Return the frames to start from; DataError when too few are there."""
        chosen = frames_with(arrays, self.select)
        if len(chosen) < self.starts:
            raise DataError(
                f"Only {len(chosen)} frames of the data set have {self.select}, {self.starts} are "
                "needed to start from."
            )
        return spread_evenly(chosen, self.starts)

    def state(self, arrays: FrameArrays, name: str, device: str = "cpu") -> State:
        """Return the replicas of the potential `name` at their start, start by start."""
        from gnnip.md import make_state

        frames = np.repeat(self.frames(arrays), self.repeats)
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        first = int.from_bytes(digest[:6], "big")
        periodic = arrays.cells is not None
        return make_state(
            [arrays.positions[arrays.atoms(f)] for f in frames],
            [arrays.numbers[arrays.atoms(f)] for f in frames],
            temperature=self.temperature,
            seeds=[first + replica for replica in range(len(frames))],
            cells=[arrays.cells[f] for f in frames] if periodic else None,  # type: ignore[index]
            pbc=None if arrays.pbc is None else [arrays.pbc[f] for f in frames],
            device=device,
        )

    def integrator(self) -> Any:
        """Return the integrator of `gnnip.md`."""
        from gnnip import md

        if self.thermostat == "csvr":
            return md.CSVR(self.time_step, self.relaxation)
        if self.thermostat == "langevin":
            return md.Langevin(self.time_step, 1.0 / self.relaxation)
        return md.VelocityVerlet(self.time_step)


def run_dynamics(
    dataset: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    name: str,
    motion: Mapping[str, Any],
    model: str | os.PathLike[str] | None = None,
    reference: str | None = None,
    code: str = "",
    device: str = "cpu",
    threads: int = 1,
    progress: Callable[[str], None] = print,
) -> list[Trajectory]:
    """Run the replicas of one potential and write their trajectories to `output` (HDF5).

    Parameters
    ----------
    name : of the potential, which its seeds depend on.
    motion : fields of `Motion`.
    model, reference : a trained potential, or the text that `gnnip.reference.make_calculator`
        understands: one of the two.
    code : hash of the code that moves the replicas; another one starts anew.
    threads : of torch.

    A run that was killed continues from the checkpoints beside `output`, which are kept under a key
    of everything that decides the run. The electron, say, that a reference remembers from step to
    step is not in a checkpoint: a reference that continues agrees to its accuracy, not to the bit.
    """
    import torch

    from gnnip.datasets.arrays import load_arrays
    from gnnip.files import sha256
    from gnnip.md import Simulation
    from gnnip.models.contract import choose_device, model_files

    if (model is None) == (reference is None):
        raise ConfigError("Dynamics need either a trained model or the name of a reference.")
    torch.set_num_threads(threads)
    plan = Motion.read(motion)
    place = str(choose_device(device)) if model is not None else "cpu"
    arrays = load_arrays(dataset)
    state = plan.state(arrays, name, place)
    identity = {
        "motion": asdict(plan),
        "name": name,
        "potential": reference if model is None else sha256(model_files(model)[0]),
        "code": code,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    output = Path(output)
    folder = output.parent / f"run-{key}"
    for stale in output.parent.glob("run-*"):
        if stale != folder:
            shutil.rmtree(stale)
    n_steps = plan.steps(plan.duration)
    simulation = Simulation(
        load_potential(model, reference, place),
        state,
        plan.integrator(),
        record_every=plan.steps(plan.record_every),
        frame_every=plan.steps(plan.frame_every),
        folder=folder,
        checkpoint_every=max(1, n_steps // 20),
    )
    if simulation.step:
        progress(f"continues at step {simulation.step} of {n_steps}")
    result = simulation.run(n_steps, progress=progress)
    assert result.path is not None
    with atomic_path(output) as temporary:
        shutil.copyfile(result.path, temporary)
    shutil.rmtree(folder)
    return result.trajectories


def load_potential(
    model: str | os.PathLike[str] | None, reference: str | None, device: str = "cpu"
) -> Any:
    """Return what `gnnip.md.Simulation` moves atoms by."""
    if model is not None:
        from gnnip.models import load

        return load(model, device=device)
    from gnnip.reference import make_calculator

    assert reference is not None
    # what a reference remembers belongs to one trajectory
    return lambda replica: make_calculator(reference)

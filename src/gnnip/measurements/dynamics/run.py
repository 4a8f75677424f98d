"""Run the replicas of one potential, or of a reference, and keep their trajectories.

A replica that fails is a result, and is not run again. A run that was killed continues from its
checkpoints to the same frames. They are kept under a key of everything that decides the run. What a
reference remembers from step to step, the electron say, it forgets at each of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnip.errors import ConfigError
from gnnip.files import atomic_path, make_folder, sha256
from gnnip.measurements.dynamics.motion import Motion

if TYPE_CHECKING:
    from gnnip.md import Simulation, Trajectory


def run_dynamics(
    dataset: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    name: str,
    motion: Mapping[str, Any],
    model: str | os.PathLike[str] | None = None,
    reference: str | None = None,
    failures: str | os.PathLike[str] | None = None,
    code: str = "",
    device: str = "cpu",
    threads: int = 1,
    progress: Callable[[str], object] = print,
) -> list[Trajectory]:
    """Run the replicas of one potential and write their trajectories to `output` (HDF5).

    The file also says how they were moved: its facts (`gnnip.md.read_facts`) are motion, potential,
    and the versions of what moved them. A run that was killed continues.

    Parameters
    ----------
    name : of the potential, which its seeds depend on.
    motion : fields of `Motion`.
    model, reference : a trained potential, or the text that `gnnip.reference.make_calculator`
        understands: one of the two, ConfigError otherwise.
    failures : folder for the last good and the first bad frame of every replica that failed, one
        file of extended XYZ each, named by `failure_file`.
    code : hash of the code that moves the replicas; another one starts anew.
    device, threads : of torch.
    """
    import torch

    from gnnip.md import add_facts, write_failure
    from gnnip.models.contract import choose_device
    from gnnip.models.files import model_files

    if (model is None) == (reference is None):
        raise ConfigError("Dynamics need either a trained model or the name of a reference.")
    torch.set_num_threads(threads)
    moved, output = Motion.read(motion), Path(output)
    weights = None if model is None else sha256(model_files(model)[0])
    identity = {"motion": asdict(moved), "name": name, "potential": weights or reference}
    folder = _folder_of_checkpoints(output, {**identity, "code": code})
    place = "cpu" if model is None else str(choose_device(device))
    potential = load_potential(model, reference, place)
    simulation = _start_or_continue(moved, dataset, name, potential, place, folder)
    n_steps = moved.steps(moved.duration)
    if simulation.step:
        progress(f"continues at step {simulation.step} of {n_steps}")
    result = simulation.run(n_steps, progress=progress)
    if failures is not None:
        make_folder(failures)
        for replica, failure in result.failures.items():
            write_failure(failure, Path(failures) / failure_file(replica))
    assert result.path is not None
    with atomic_path(output) as temporary:
        shutil.copyfile(result.path, temporary)
        add_facts(temporary, {"motion": asdict(moved), **_origin(model, reference)})
    shutil.rmtree(folder)
    return result.trajectories


def _start_or_continue(
    motion: Motion,
    dataset: str | os.PathLike[str],
    name: str,
    potential: Any,
    device: str,
    folder: Path,
) -> Simulation:
    """Return the run of all replicas, at its start or at the checkpoint in `folder`."""
    from gnnip.datasets.store import load_arrays
    from gnnip.md import Simulation

    arrays = load_arrays(dataset)
    return Simulation(
        potential,
        motion.state(arrays, name, device),
        motion.integrator(),
        criteria=motion.limits(arrays),
        record_every=motion.steps(motion.record_every),
        frame_every=motion.steps(motion.frame_every),
        folder=folder,
        checkpoint_every=max(1, motion.steps(motion.duration) // 20),
    )


def _folder_of_checkpoints(output: Path, identity: Mapping[str, Any]) -> Path:
    """Return the folder of this run's checkpoints; those of other runs beside it are removed."""
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    folder = output.parent / f"run-{key}"
    for stale in output.parent.glob("run-*"):
        if stale != folder:
            shutil.rmtree(stale)
    return folder


def failure_file(replica: int) -> str:
    """Return the name of the file with the last frames of a replica that failed."""
    return f"replica-{replica:04d}.xyz"


def _origin(model: str | os.PathLike[str] | None, reference: str | None) -> dict[str, Any]:
    """Return what moved the atoms, and the versions of it."""
    import platform
    from importlib import metadata

    import gnnip

    facts = {"gnnip": gnnip.__version__, "python": platform.python_version()}
    facts |= {name: metadata.version(name) for name in ("numpy", "torch")}
    if model is not None or reference is None:
        return facts | {"potential": "trained"}
    from gnnip.reference import origin

    return facts | {"potential": reference, **origin(reference)}


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

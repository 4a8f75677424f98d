"""Structures of the samplers with their labels as flat arrays, and how they were made."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

import gnnip
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.store import read_frames
from gnnip.errors import DataError
from gnnip.sampling.frames import Frame, Trajectory, pack, read_trajectory


def gather_frames(
    frames: Sequence[Frame],
    energies: Mapping[str, Sequence[float] | np.ndarray],
    forces: Mapping[str, Sequence[np.ndarray]],
    units: Mapping[str, str],
    stresses: Mapping[str, np.ndarray] | None = None,
) -> FrameArrays:
    """Return frames with their labels, by term, in the `units`.

    energies (frames,), forces one (n, 3) per frame, stresses (frames, 3, 3). The columns become
    metadata. A frame with a cell is periodic in three directions; where none has one, the set has
    no cells.
    """
    flat = pack(frames)
    periodic = flat["pbc"].any()
    columns = frames[0].columns
    return FrameArrays(
        positions=flat["positions"],
        numbers=flat["numbers"],
        offsets=flat["offsets"],
        energies={term: np.asarray(values) for term, values in energies.items()},
        forces={term: np.concatenate(list(values)) for term, values in forces.items()},
        stresses=dict(stresses or {}),
        metadata={name: flat[f"column_{name}"] for name in columns},
        cells=flat["cells"] if periodic else None,
        pbc=flat["pbc"] if periodic else None,
        units=dict(units),
    )


def read_trajectories(dataset: str, paths: Sequence[str | os.PathLike[str]]) -> list[Trajectory]:
    """Return finished trajectories, ordered by size and replica.

    Raises DataError when there are none, or one is missing or damaged.
    """
    if not paths:
        raise DataError(f"There are no trajectories of {dataset} to assemble; run some first.")
    found = [read_trajectory(path) for path in sorted(map(Path, paths))]
    return sorted(found, key=lambda t: (t.plan["size"], t.plan["replica"]))


def read_starts(path: str | os.PathLike[str]) -> list[Frame]:
    """Return the frames of an archive, in its units, to start trajectories from."""
    arrays = read_frames(path)
    structures = map(arrays.structure, range(arrays.n_frames))
    return [
        Frame(
            numbers.astype(np.int64),
            positions,
            cell,
            {name: values[i].item() for name, values in arrays.metadata.items()},
        )
        for i, (positions, numbers, cell, _) in enumerate(structures)
    ]


def story(trajectories: Sequence[Trajectory]) -> dict[str, str | int | float]:
    """Return seed, plans and seconds of sampling, as archives record them."""
    return {
        "seed": int(trajectories[0].plan["seed"]),
        "plans": json.dumps([trajectory.plan for trajectory in trajectories]),
        "sampling_seconds": float(sum(trajectory.seconds for trajectory in trajectories)),
    }


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of gnnip, Python and some packages, as archives record them."""
    own = {"gnnip": gnnip.__version__, "python": platform.python_version()}
    return own | {package: metadata.version(package) for package in packages}

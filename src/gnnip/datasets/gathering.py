"""Structures of the samplers and their labels as flat arrays, and the versions that made them."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata

import numpy as np

import gnnip
from gnnip.datasets.arrays import FrameArrays
from gnnip.sampling.frames import Frame, pack


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


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of gnnip, Python and some packages, as archives record them."""
    own = {"gnnip": gnnip.__version__, "python": platform.python_version()}
    return own | {package: metadata.version(package) for package in packages}

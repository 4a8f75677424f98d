"""Structures of the samplers and their labels as flat arrays, and the versions that made them."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata

import numpy as np

import gnnip
from gnnip.datasets.arrays import FrameArrays
from gnnip.sampling.frames import Frame


def gather_frames(
    frames: Sequence[Frame],
    term: str,
    energies: np.ndarray,
    forces: Sequence[np.ndarray],
    units: Mapping[str, str],
    stresses: np.ndarray | None = None,
) -> FrameArrays:
    """Return frames with the labels of one term.

    energies (frames,), forces one (n, 3) per frame, stresses (frames, 3, 3), in the `units`. The
    columns become metadata. A frame with a cell is periodic in three directions; where none has
    one, the set has no cells.
    """
    counts = [len(frame.numbers) for frame in frames]
    periodic = np.array([frame.cell is not None for frame in frames])
    return FrameArrays(
        positions=np.concatenate([frame.positions for frame in frames]),
        numbers=np.concatenate([frame.numbers for frame in frames]),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        energies={term: np.asarray(energies)},
        forces={term: np.concatenate(list(forces))},
        stresses={} if stresses is None else {term: stresses},
        metadata={
            name: np.array([frame.columns[name] for frame in frames]) for name in frames[0].columns
        },
        cells=np.array([np.zeros((3, 3)) if f.cell is None else f.cell for f in frames])
        if periodic.any()
        else None,
        pbc=np.repeat(periodic[:, None], 3, axis=1) if periodic.any() else None,
        units=dict(units),
    )


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of gnnip, Python and some packages, as archives record them."""
    own = {"gnnip": gnnip.__version__, "python": platform.python_version()}
    return own | {package: metadata.version(package) for package in packages}

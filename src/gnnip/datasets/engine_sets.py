"""Data sets whose labels come from an engine: from finished trajectories to an archive.

The attributes of such an archive say what labelled it (`engine`, `engine_version`), how the frames
were made (`plans`) and which frames have no label (`failed`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.gathering import gather_frames, read_trajectories, story, versions
from gnnip.datasets.store import write_frames
from gnnip.errors import DataError
from gnnip.reference.engines import Engine, evaluate, make_engine, running
from gnnip.reference.labelling import PATIENCE_S, Labels, label_frames
from gnnip.sampling.frames import Frame, Trajectory

TERM = "total"  #: name of the one energy term
LABELLER = "engine"
UNITS = {
    "positions": "Angstrom",
    "energies": "eV",
    "forces": "eV/Angstrom",
    "stresses": "eV/Angstrom^3",
}


def assemble(
    dataset: str,
    trajectories: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    engine: str | None = None,
    workers: int = 1,
    time_limit_s: float = PATIENCE_S,
    cache: str | os.PathLike[str] | None = None,
    provenance: Mapping[str, str | int | float] | None = None,
    progress: Callable[[str], object] = print,
) -> Path:
    """Label the frames of finished trajectories (frames.npz) and write the archive `out`.

    The module `gnnip.sampling.<dataset>` gives the TITLE. `engine` is by default what the plans
    state as label_engine. Labels are cached under `cache` (default: `out` with the suffix .labels)
    frame by frame, so that an interrupted run continues; the cache is removed at the end. Frames
    that the engine fails on are left out and listed in the attribute `failed`. Stresses are kept
    where all frames have them. `provenance` becomes attributes of the file.

    Raises DataError for no trajectories, one that is missing or damaged, trajectories to be
    labelled by different engines, or when no frame could be labelled; EngineError for an engine
    that is not installed.
    """
    content = read_trajectories(dataset, trajectories)
    labels_of = make_engine(engine or _stated_engine(dataset, content))
    out = Path(out)
    folder = Path(cache) if cache is not None else out.with_name(out.name + ".labels")
    frames = [frame for trajectory in content for frame in trajectory.frames]
    labels = label_frames(
        [frame.atoms() for frame in frames],
        labels_of,
        folder,
        workers=workers,
        time_limit_s=time_limit_s,
        progress=progress,
    )
    arrays = gather(frames, labels, content[0].units)
    attributes: dict[str, str | int | float] = {
        "title": import_module(f"gnnip.sampling.{dataset}").TITLE,
        "labeller": LABELLER,
        "reference": labels_of.reference,
        **labels_of.provenance(),
        "label_accuracy_ev": label_accuracy(labels_of, int(arrays.n_atoms.max())),
        **versions("numpy", "ase", "h5py"),
        **story(content),
        "lost": json.dumps([event for trajectory in content for event in trajectory.events]),
        "failed": json.dumps(
            [f"{frames[i].columns['trajectory']}: {r}" for i, r in labels.failures.items()]
        ),
        "labelling_seconds": labels.seconds,
        "labelling_seconds_a_frame": labels.seconds / len(frames),
        **(provenance or {}),
    }
    write_frames(out, arrays, attributes=attributes)
    shutil.rmtree(folder, ignore_errors=True)
    return out


def _stated_engine(dataset: str, content: Sequence[Trajectory]) -> str:
    stated = {t.plan.get("label_engine") or t.plan.get("engine", "") for t in content}
    if len(stated) > 1:
        raise DataError(
            f"The trajectories of {dataset} ask for labels by {' and by '.join(sorted(stated))}; "
            "labels of two references cannot be mixed, name one engine."
        )
    return str(stated.pop())


def label_accuracy(engine: Engine, n_atoms: int) -> float:
    """Return what verification allows the energy (eV) of a structure; forces are allowed five times
    as much per Angstrom."""
    return max(engine.energy_tolerance * n_atoms, 0.2 * engine.force_tolerance)


def gather(frames: Sequence[Frame], labels: Labels, column_units: Mapping[str, str]) -> FrameArrays:
    """Return the frames that have labels as arrays."""
    good = labels.good
    stresses = labels.stresses[good]
    return gather_frames(
        [frames[i] for i in good],
        {TERM: labels.energies[good]},
        {TERM: [labels.forces[i] for i in good]},
        {**UNITS, **column_units},
        {TERM: stresses} if np.isfinite(stresses).all() else None,
    )


def label_again(frames: FrameArrays, frame: int) -> dict[str, Any]:
    """Return energy_total (eV) and forces_total (n, 3) (eV/Angstrom) of one stored frame.

    The engine is the one that the archive names, converged further where it can be.

    Raises EngineError when it is not installed, ConvergenceError when it fails.
    """
    positions, numbers, cell, _ = frames.structure(frame)
    structure = Frame(numbers.astype(np.int64), positions, cell, {})
    with running(make_engine(str(frames.attributes["engine"])).again()) as calculator:
        found = evaluate(calculator, structure.atoms())
    return {f"energy_{TERM}": found.energy, f"forces_{TERM}": found.forces}

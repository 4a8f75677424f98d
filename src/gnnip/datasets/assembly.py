"""From trajectories to an archive: label every frame at full accuracy and write one file."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from gnnip import reference, units
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.gathering import gather_frames, read_trajectories, story, versions
from gnnip.datasets.references import OWN_MODELS
from gnnip.datasets.store import write_frames
from gnnip.errors import DataError
from gnnip.files import atomic_path
from gnnip.locks import end_with
from gnnip.reference.engines import THREADS
from gnnip.sampling import water_anion
from gnnip.sampling.clusters import fragments
from gnnip.sampling.correlation import correlation_time
from gnnip.sampling.frames import Progress, Trajectory
from gnnip.sampling.plans import make_drawing_plan

TERMS = ("atomic", "electronic")
_SCALARS = ("electron_gyration_radius", "electron_offset", "gap")
UNITS = {
    "positions": "Bohr",
    "energies": "Hartree",
    "forces": "Hartree/Bohr",
    "temperature_k": "K",
    "time_fs": "fs",
    "electron_gyration_radius": "Bohr",
    "electron_offset": "Bohr",
    "gap": "Hartree",
}


def assemble(
    dataset: str,
    trajectories: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    workers: int = 1,
) -> Path:
    """Label the frames of finished trajectories of any data set and write the archive `out`.

    Errors are those of `assemble_water_anion`, for the others of `engine_sets.assemble`.
    """
    if dataset in OWN_MODELS:
        return assemble_water_anion(dataset, trajectories, out, workers=workers)
    from gnnip.datasets import engine_sets

    return engine_sets.assemble(dataset, trajectories, out, workers=workers)


def assemble_water_anion(
    dataset: str,
    trajectories: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    workers: int = 2,
    accuracy: float = 1e-5,
    provenance: Mapping[str, str | int | float] | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress = print,
) -> Path:
    """Label the frames of finished trajectories (frames.npz) and write the archive `out`.

    Positions are rounded to float32 (Bohr) first and labelled as stored: V_SPC/F exactly, E_0 to
    `accuracy` (Hartree), with forces. Labels of each trajectory are cached under `cache` (default:
    `out` with the suffix .labels) by content, so that an interrupted assembly continues; the cache
    is removed at the end. `provenance` becomes attributes of the file. The module
    `gnnip.sampling.<dataset>` gives the TITLE, the names of its SERIES, the units of COLUMNS
    beside those of `water_anion`, and what is `told` of a trajectory.

    Raises DataError for a missing trajectory file, a frame that is not an intact cluster with a
    bound electron.
    """
    content = read_trajectories(dataset, trajectories)
    for trajectory in content:
        if any(len(fragments(frame.positions)) > 1 for frame in trajectory.frames):
            raise DataError(
                f"{trajectory.name} has a frame with an evaporated molecule; run it with another "
                "seed."
            )
    out = Path(out)
    folder = Path(cache) if cache is not None else out.with_name(out.name + ".labels")
    labels = [folder / f"{_key(_positions(t), accuracy)}.npz" for t in content]
    _label_all(content, labels, accuracy, workers, progress)
    sampler = import_module(f"gnnip.sampling.{dataset}")
    arrays = _gather(content, labels, getattr(sampler, "COLUMNS", {}))
    times = {t.name: correlation_times(t, sampler.SERIES) for t in content}
    attributes: dict[str, str | int | float] = {
        "title": sampler.TITLE,
        "labeller": "water_anion",
        "reference": "exact",
        "label_accuracy_hartree": accuracy,
        "bohr_in_angstrom": units.BOHR,
        "hartree_in_ev": units.HARTREE,
        **versions("numpy", "scipy", "numba", "h5py"),
        **story(content),
        # attempts that were abandoned: evaporated molecules, unbound electrons
        "lost": json.dumps({t.name: t.events for t in content}),
        "trajectories": json.dumps(
            {t.name: _told(t, arrays, sampler.told(t), times[t.name]) for t in content}
        ),
        "correlation_times_fs": json.dumps(times),
        "electron_solves": sum(t.evaluations for t in content),
        **(provenance or {}),
    }
    write_frames(out, arrays, attributes=attributes)
    shutil.rmtree(folder, ignore_errors=True)
    return out


def correlation_times(trajectory: Trajectory, names: Sequence[str]) -> dict[str, float]:
    """Return the integrated autocorrelation times (fs) of what a trajectory of the anion recorded
    after every impulse, by its `names`."""
    rungs = len(trajectory.plan.get("temperatures", "1"))
    step = trajectory.plan["electron_fs"]
    return {
        name: float(f"{correlation_time(values.reshape(rungs, -1), step):.3g}")
        for name, values in zip(names, trajectory.series.T, strict=True)
    }


def _told(
    trajectory: Trajectory, frames: FrameArrays, more: str, times: Mapping[str, float]
) -> str:
    """Return what became of a trajectory, in a line for the registry."""
    own = frames.column("state")[frames.column("trajectory") == trajectory.name]
    took = [f"{name} {value:g}" for name, value in times.items()]
    return (
        f"{more}, {np.sum(own == 'interior')} of {len(own)} frames "
        f"interior, {len(trajectory.events)} attempts lost; frames every "
        f"{trajectory.plan['stride_fs']:g} fs, correlation times (fs): {', '.join(took)}"
    )


def _label_all(
    content: Sequence[Trajectory],
    paths: Sequence[Path],
    accuracy: float,
    workers: int,
    progress: Progress,
) -> None:
    """Write the labels of each trajectory that are not there yet, the largest clusters first."""
    todo = [(t, path) for t, path in zip(content, paths, strict=True) if not path.is_file()]
    todo.sort(key=lambda job: -job[0].plan["size"])
    done = len(paths) - len(todo)
    if done:
        progress(f"{done} of {len(paths)} trajectories are labelled already")
    # one thread per process: the solver's matrices are small
    for name in (*THREADS, "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    if not todo:
        return
    context = multiprocessing.get_context("spawn")
    many = min(workers, len(todo))
    with ProcessPoolExecutor(many, context, end_with, (os.getpid(),)) as pool:
        jobs = {
            pool.submit(_label_trajectory, _positions(t), accuracy, path): t for t, path in todo
        }
        for done_job in as_completed(jobs):
            done_job.result()
            done += 1
            progress(f"{jobs[done_job].name} labelled, {done} of {len(paths)} trajectories")


def draw_structures(dataset: str, plan: Mapping[str, Any], out: str | os.PathLike[str]) -> Path:
    """Draw and label independent structures and write them as the data set `out`.

    The module `gnnip.sampling.<dataset>` provides `Plan` (changed by `plan`), `structures(plan)`,
    an iterator of `Frame`, `label(positions, numbers)`, with a third argument `cell` where frames
    have one, and the constants TITLE, TERM, UNITS and LABEL_ACCURACY_EV. What labels hold beside
    energy and forces becomes columns. Positions are labelled as they are stored, in single
    precision.

    Raises ConfigError for an unknown field of the plan, StructureError for one that cannot be
    drawn.
    """
    sampler = import_module(f"gnnip.sampling.{dataset}")
    chosen = make_drawing_plan(dataset, plan)
    energy, force = f"energy_{sampler.TERM}", f"forces_{sampler.TERM}"
    frames, energies, forces = [], [], []
    for frame in sampler.structures(chosen):
        stored = frame.positions.astype(np.float32)
        box = () if frame.cell is None else (frame.cell,)
        labels = sampler.label(stored.astype(np.float64), frame.numbers, *box)
        more = {key: value for key, value in labels.items() if key not in (energy, force)}
        frames.append(replace(frame, positions=stored, columns={**frame.columns, **more}))
        energies.append(labels[energy])
        forces.append(labels[force])
    term = sampler.TERM
    arrays = gather_frames(frames, {term: energies}, {term: forces}, sampler.UNITS)
    attributes: dict[str, str | int | float] = {
        "title": sampler.TITLE,
        "labeller": dataset,
        "reference": "exact",
        "label_accuracy_ev": sampler.LABEL_ACCURACY_EV,
        **versions("numpy", "scipy", "h5py"),
        "seed": chosen.seed,
        "plan": json.dumps(asdict(chosen)),
    }
    write_frames(out, arrays, attributes=attributes)
    return Path(out)


def _positions(trajectory: Trajectory) -> np.ndarray:
    """Return the positions (frames, 3N, 3) as they will be stored."""
    return np.array([frame.positions for frame in trajectory.frames], dtype=np.float32)


def _key(positions: np.ndarray, accuracy: float) -> str:
    digest = hashlib.sha256(positions.tobytes())
    digest.update(repr(accuracy).encode())
    # labels of another solver are other labels
    for source in sorted(Path(reference.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    digest.update(Path(water_anion.__file__).read_bytes())
    return digest.hexdigest()[:24]


def _label_trajectory(positions: np.ndarray, accuracy: float, path: Path) -> None:
    labels = [water_anion.label(x.astype(np.float64), accuracy) for x in positions]
    columns = {key: np.array([label[key] for label in labels]) for key in labels[0]}
    with atomic_path(path) as temporary:
        np.savez(temporary, allow_pickle=False, **columns)


def _gather(
    content: Sequence[Trajectory], paths: Sequence[Path], more: Mapping[str, str]
) -> FrameArrays:
    labels: dict[str, list[Any]] = {}
    for trajectory, path in zip(content, paths, strict=True):
        with np.load(path, allow_pickle=False) as found:
            if not found["bound"].all():
                raise DataError(
                    f"{trajectory.name}: the electron of frame {int(np.argmin(found['bound']))} is "
                    "not bound; run it with another seed."
                )
            for key in found.files:
                labels.setdefault(key, []).extend(found[key])
    frames = []
    for i, frame in enumerate(frame for trajectory in content for frame in trajectory.frames):
        columns = {
            "n_molecules": np.int32(len(frame.numbers) // 3),
            **{key: frame.columns[key] for key in ("temperature_k", "trajectory")},
            "replica": np.int32(frame.columns["replica"]),
            "time_fs": frame.columns["time_fs"],
            **{key: frame.columns[key] for key in more},
            **{key: labels[key][i] for key in ("state", *_SCALARS)},
        }
        frames.append(replace(frame, positions=frame.positions.astype(np.float32), columns=columns))
    energies = {term: labels[f"energy_{term}"] for term in TERMS}
    forces = {term: labels[f"forces_{term}"] for term in TERMS}
    return gather_frames(frames, energies, forces, UNITS | {k: u for k, u in more.items() if u})

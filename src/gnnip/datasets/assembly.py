"""From trajectories to an archive: label every frame at full accuracy and write one file."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from importlib import import_module, metadata
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

import gnnip
from gnnip import reference, units
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.gathering import gather_frames
from gnnip.datasets.store import write_frames
from gnnip.errors import DataError
from gnnip.files import atomic_path
from gnnip.sampling import water_anion
from gnnip.sampling.clusters import fragments

TERMS = ("atomic", "electronic")
_SCALARS = ("electron_gyration_radius", "electron_offset", "gap")


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
    if dataset == "water_anion":
        return assemble_water_anion(trajectories, out, workers=workers)
    from gnnip.datasets import engine_sets

    return engine_sets.assemble(dataset, trajectories, out, workers=workers)


def assemble_water_anion(
    trajectories: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    workers: int = 2,
    accuracy: float = 1e-5,
    provenance: Mapping[str, str | int | float] | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Callable[[str], object] = print,
) -> Path:
    """Label the frames of finished trajectories (frames.npz) and write the archive `out`.

    Positions are rounded to float32 (Bohr) first and labelled as stored: V_SPC/F exactly, E_0 to
    `accuracy` (Hartree), with forces. Labels of each trajectory are cached under `cache` (default:
    `out` with the suffix .labels) by content, so that an interrupted assembly continues; the cache
    is removed at the end. `provenance` becomes attributes of the file.

    Raises DataError for a missing trajectory file, a frame that is not an intact cluster with a
    bound electron.
    """
    paths = [Path(p) for p in trajectories]
    missing = [p for p in paths if not p.is_file()]
    if missing or not paths:
        raise DataError(
            f"{missing[0] if missing else 'The list of trajectories'} is missing or empty; run "
            "'python -m gnnip.sampling.water_anion' first."
        )
    out = Path(out)
    folder = Path(cache) if cache is not None else out.with_name(out.name + ".labels")
    content = {p: _read(p) for p in paths}
    paths.sort(key=lambda p: (content[p]["plan"].size, content[p]["plan"].replica))
    jobs = {p: folder / f"{_key(content[p]['positions'], accuracy)}.npz" for p in paths}
    todo = sorted(
        (p for p in paths if not jobs[p].is_file()), key=lambda p: -content[p]["plan"].size
    )
    done = len(paths) - len(todo)
    if done:
        progress(f"{done} of {len(paths)} trajectories are labelled already")
    # one thread per process: the solver's matrices are small
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    if todo:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context) as pool:
            futures = {
                pool.submit(_label_trajectory, content[p]["positions"], accuracy, jobs[p]): p
                for p in todo
            }
            for future in as_completed(futures):
                future.result()
                done += 1
                progress(
                    f"{content[futures[future]]['plan'].name} labelled, {done} of {len(paths)} "
                    "trajectories"
                )
    frames = _gather([content[p] for p in paths], [jobs[p] for p in paths])
    attributes: dict[str, str | int | float] = {
        "title": "Water cluster anions: V_SPC/F + E_0 of Langevin trajectories",
        "labeller": "water_anion",
        "label_accuracy_hartree": accuracy,
        "bohr_in_angstrom": units.BOHR,
        "hartree_in_ev": units.HARTREE,
        "gnnip": gnnip.__version__,
        "python": platform.python_version(),
        **{p: metadata.version(p) for p in ("numpy", "scipy", "numba", "h5py")},
        "seed": content[paths[0]]["plan"].seed,
        "plans": json.dumps([asdict(content[p]["plan"]) for p in paths]),
        # attempts that were abandoned: evaporated molecules, unbound electrons
        "lost": json.dumps(
            {content[p]["plan"].name: json.loads(str(content[p]["events"])) for p in paths}
        ),
        "sampling_seconds": float(sum(c["seconds"] for c in content.values())),
        "electron_solves": int(sum(c["solves"] for c in content.values())),
        **(provenance or {}),
    }
    write_frames(out, frames, attributes=attributes)
    shutil.rmtree(folder, ignore_errors=True)
    return out


def draw_structures(dataset: str, plan: Mapping[str, Any], out: str | os.PathLike[str]) -> Path:
    """Draw and label independent structures and write them as the data set `out`.

    The module `gnnip.sampling.<dataset>` provides `Plan` (read from `plan`), `structures(plan)`,
    an iterator of `Frame`, `label(positions, numbers)`, with a third argument `cell` where frames
    have one, and the constants TITLE, TERM, UNITS and LABEL_ACCURACY_EV. What labels hold beside
    energy and forces becomes columns. Positions are labelled as they are stored, in single
    precision.

    Raises ConfigError for an unknown field of the plan, StructureError for one that cannot be
    drawn.
    """
    sampler = import_module(f"gnnip.sampling.{dataset}")
    chosen = sampler.Plan.read(dict(plan))
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
    arrays = gather_frames(frames, sampler.TERM, np.array(energies), forces, sampler.UNITS)
    attributes: dict[str, str | int | float] = {
        "title": sampler.TITLE,
        "labeller": dataset,
        "label_accuracy_ev": sampler.LABEL_ACCURACY_EV,
        "gnnip": gnnip.__version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in ("numpy", "scipy", "h5py")},
        "seed": chosen.seed,
        "plan": json.dumps(asdict(chosen)),
    }
    write_frames(out, arrays, attributes=attributes)
    return Path(out)


def _read(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            content: dict[str, Any] = {key: archive[key] for key in archive.files}
        content["plan"] = water_anion.read_plan(content)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is no trajectory of ours or damaged; run it again.") from error
    content["positions"] = content["positions"].astype(np.float32)
    for positions in content["positions"]:
        if len(fragments(positions.astype(np.float64))) > 1:
            raise DataError(
                f"{path} has a frame with an evaporated molecule; run it with another seed."
            )
    return content


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


def _gather(contents: list[dict[str, Any]], label_paths: list[Path]) -> FrameArrays:
    positions, counts = [], []
    energies: dict[str, list[np.ndarray]] = {t: [] for t in TERMS}
    forces: dict[str, list[np.ndarray]] = {t: [] for t in TERMS}
    columns: dict[str, list[np.ndarray]] = {}
    for content, path in zip(contents, label_paths, strict=True):
        plan = content["plan"]
        with np.load(path, allow_pickle=False) as labels:
            n = len(labels["energy_atomic"])
            if not labels["bound"].all():
                frame = int(np.argmin(labels["bound"]))
                raise DataError(
                    f"{plan.name}: the electron of frame {frame} is not bound; run it with "
                    "another seed."
                )
            row = {
                "n_molecules": np.full(n, plan.size, dtype=np.int32),
                "temperature_k": content["temperature_k"],
                "trajectory": np.full(n, plan.name),
                "replica": np.full(n, plan.replica, dtype=np.int32),
                "time_fs": content["time_fs"],
                "state": labels["state"],
                **{key: labels[key] for key in _SCALARS},
            }
            for term in TERMS:
                energies[term].append(labels[f"energy_{term}"])
                forces[term].append(labels[f"forces_{term}"].reshape(-1, 3))
        for key, values in row.items():
            columns.setdefault(key, []).append(values)
        positions.append(content["positions"].reshape(-1, 3))
        counts += [3 * plan.size] * n
    return FrameArrays(
        positions=np.concatenate(positions),
        numbers=np.tile(np.array([8, 1, 1], dtype=np.uint8), sum(counts) // 3),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        energies={k: np.concatenate(v) for k, v in energies.items()},
        forces={k: np.concatenate(v) for k, v in forces.items()},
        metadata={k: np.concatenate(v) for k, v in columns.items()},
        units={
            "positions": "Bohr",
            "energies": "Hartree",
            "forces": "Hartree/Bohr",
            "temperature_k": "K",
            "time_fs": "fs",
            "electron_gyration_radius": "Bohr",
            "electron_offset": "Bohr",
            "gap": "Hartree",
        },
    )

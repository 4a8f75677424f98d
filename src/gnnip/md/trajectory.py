"""Trajectories of many replicas: collected in memory, written in atomic segments, joined in one
HDF5 file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gnnip.errors import DataError
from gnnip.files import atomic_path
from gnnip.md.stability import Failure, Frame

FORMAT = "gnnip trajectory"
FORMAT_VERSION = 1
#: columns of the time series
SERIES = (
    "time_fs",
    "temperature_k",
    "potential_energy_ev",
    "kinetic_energy_ev",
    "conserved_energy_ev",
)
_FAILURE_VALUES = (
    "replica",
    "seed",
    "target_temperature",
    "step",
    "time_fs",
    "reason",
    "detail",
    "pair_distance",
    "pair_ratio",
    "environment_distance",
    "environment_atom",
)
#: decimals that a packed file keeps
_DECIMALS = {"positions_angstrom": 4, "velocities_angstrom_per_fs": 6}
#: numbers in an array below which the bookkeeping of compression costs more than it saves
_WORTH_PACKING = 1000
#: before an attribute that is no plain number or text
_JSON = "json:"
_FRAMES = ("time_fs", "positions_angstrom", "velocities_angstrom_per_fs")


@dataclass(frozen=True)
class Trajectory:
    """What one replica did."""

    replica: int
    seed: int
    target_temperature: float  #: K
    atomic_numbers: np.ndarray  #: (n,)
    masses: np.ndarray  #: (n,) amu
    cell: np.ndarray | None  #: (3, 3) Angstrom
    pbc: np.ndarray | None  #: (3,) bool
    time_fs: np.ndarray  #: (t,) of the frames
    positions: np.ndarray  #: (t, n, 3) Angstrom, unwrapped
    velocities: np.ndarray  #: (t, n, 3) Angstrom/fs
    series: Mapping[str, np.ndarray]  #: columns of SERIES, (s,), oftener than the frames
    failure: Failure | None = None

    @property
    def frame_interval_fs(self) -> float:
        """Time between two frames; DataError with fewer than two."""
        if len(self.time_fs) < 2:
            raise DataError(
                f"Replica {self.replica} has fewer than two frames: store them more often."
            )
        return float(self.time_fs[1] - self.time_fs[0])


class Recorder:
    """Frames and time series of the current segment."""

    def __init__(self, precision: str = "float32") -> None:
        """Take the precision of stored positions and velocities."""
        self.precision = precision
        self._frames: dict[int, list[tuple[float, np.ndarray, np.ndarray]]] = {}
        self._series: dict[int, list[tuple[float, ...]]] = {}

    def add_frame(
        self, replica: int, time_fs: float, positions: np.ndarray, velocities: np.ndarray
    ) -> None:
        """Keep one frame (n, 3)."""
        entry = (time_fs, positions.astype(self.precision), velocities.astype(self.precision))
        self._frames.setdefault(replica, []).append(entry)

    def add_row(self, replica: int, row: Sequence[float]) -> None:
        """Keep one row of the time series, in the order of SERIES."""
        self._series.setdefault(replica, []).append(tuple(row))

    def empty(self) -> bool:
        """Return whether nothing was kept."""
        return not self._frames and not self._series

    def arrays(self) -> dict[int, dict[str, np.ndarray]]:
        """Return "frames/..." and "series/..." arrays of each replica."""
        result: dict[int, dict[str, np.ndarray]] = {}
        for replica, frames in self._frames.items():
            columns = [np.array(column) for column in zip(*frames, strict=True)]
            result.setdefault(replica, {}).update(
                {f"frames/{name}": column for name, column in zip(_FRAMES, columns, strict=True)}
            )
        for replica, rows in self._series.items():
            table = np.array(rows)
            result.setdefault(replica, {}).update(
                {f"series/{name}": table[:, k] for k, name in enumerate(SERIES)}
            )
        return result

    def write_segment(self, path: Path) -> None:
        """Write what was kept, atomically, and forget it."""
        with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
            for replica, arrays in self.arrays().items():
                for name, values in arrays.items():
                    file[f"{replica:04d}/{name}"] = values
        self._frames, self._series = {}, {}


def join_segments(
    target: Path,
    segments: Sequence[Path],
    replicas: Sequence[Trajectory],
    n_segments: int,
    attributes: Mapping[str, Any],
) -> None:
    """Write `target` atomically: what it holds already, then the segments in order; failures from
    `replicas`.

    `replicas` carry everything but frames and series. `n_segments` is kept as an attribute: the
    number of segments joined so far.
    """
    parts = ([target] if target.exists() else []) + list(segments)
    opened = [h5py.File(part, "r") for part in parts]
    try:
        with atomic_path(target) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
            file.attrs["segments"] = n_segments
            for name, value in attributes.items():
                file.attrs[name] = value
            for replica in replicas:
                group = file.create_group(f"{replica.replica:04d}")
                _write_constants(group, replica)
                for name in [f"frames/{n}" for n in _FRAMES] + [f"series/{n}" for n in SERIES]:
                    pieces = [
                        f[f"{replica.replica:04d}/{name}"]
                        for f in opened
                        if f"{replica.replica:04d}/{name}" in f
                    ]
                    if not pieces:
                        continue
                    total = sum(len(piece) for piece in pieces)
                    data = group.create_dataset(
                        name, (total, *pieces[0].shape[1:]), pieces[0].dtype
                    )
                    start = 0
                    for piece in pieces:
                        data[start : start + len(piece)] = piece[...]
                        start += len(piece)
    finally:
        for part in opened:
            part.close()


def joined_segments(path: Path) -> int:
    """Return how many segments a trajectory file holds already; 0 when there is none."""
    if not path.exists():
        return 0
    with _open(path) as file:
        return int(file.attrs["segments"])


def read_trajectory(path: str | os.PathLike[str]) -> list[Trajectory]:
    """Read all replicas of a trajectory file; DataError if it is missing, damaged, of another kind
    or newer.
    """
    with _open(Path(path)) as file:
        return [_read_replica(file[name]) for name in sorted(file)]


def read_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a trajectory file says of itself: settings of the integrator, and whatever
    `add_facts` wrote; DataError as for `read_trajectory`.
    """
    with _open(Path(path)) as file:
        return {
            name: json.loads(value[len(_JSON) :])
            if isinstance(value, str) and value.startswith(_JSON)
            else (value.item() if isinstance(value, np.generic) else value)
            for name, value in file.attrs.items()
        }


def add_facts(path: str | os.PathLike[str], facts: Mapping[str, Any]) -> None:
    """Write numbers, texts and JSON values into a trajectory file of one's own, as attributes."""
    _open(Path(path)).close()
    with h5py.File(path, "r+") as file:
        for name, value in facts.items():
            plain = isinstance(value, str | int | float)
            file.attrs[name] = value if plain else _JSON + json.dumps(value, sort_keys=True)


def pack_trajectory(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write `source` anew, small enough to be shipped: compressed, frames rounded.

    Positions are kept to 1e-4 Angstrom and velocities to 1e-6 Angstrom/fs, less than either
    changes in a hundredth of a femtosecond.
    Everything else, time series and failures included, is kept as it is.
    """
    with (
        _open(Path(source)) as old,
        atomic_path(target) as temporary,
        h5py.File(temporary, "w") as new,
    ):
        new.attrs.update(old.attrs)

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                new.require_group(name).attrs.update(item.attrs)
                return
            options: dict[str, Any] = {}
            if item.size > _WORTH_PACKING:
                options = {"compression": "gzip", "shuffle": True}
                if "/frames/" in name and name.rpartition("/")[2] in _DECIMALS:
                    options["scaleoffset"] = _DECIMALS[name.rpartition("/")[2]]
            new.create_dataset(name, data=item[...], **options)

        old.visititems(copy)


def write_extxyz(trajectory: Trajectory, path: str | os.PathLike[str], every: int = 1) -> None:
    """Write the frames of one replica as extended XYZ (through ASE), every `every`-th one."""
    from ase.io import write

    frames = [
        _atoms(
            trajectory,
            trajectory.positions[k],
            trajectory.velocities[k],
            {"time_fs": float(trajectory.time_fs[k])},
        )
        for k in range(0, len(trajectory.time_fs), every)
    ]
    if not frames:
        raise DataError(f"Replica {trajectory.replica} has no frames to write.")
    with atomic_path(path) as temporary:
        write(temporary, frames, format="extxyz")


def write_failure(failure: Failure, path: str | os.PathLike[str]) -> None:
    """Write the last good and the first bad frame of a failed replica as extended XYZ (through
    ASE).
    """
    from ase.io import write

    frames = []
    for label, frame in (("last_good", failure.last_good), ("first_bad", failure.first_bad)):
        if frame is not None:
            info = {
                "frame": label,
                "step": frame.step,
                "reason": failure.reason,
                "temperature_k": frame.temperature,
            }
            frames.append(_atoms(failure, frame.positions, frame.velocities, info))
    with atomic_path(path) as temporary:
        write(temporary, frames, format="extxyz")


def _atoms(
    system: Trajectory | Failure,
    positions: np.ndarray,
    velocities: np.ndarray,
    info: dict[str, Any],
) -> Any:
    from ase import Atoms, units

    atoms = Atoms(
        numbers=system.atomic_numbers,
        positions=positions,
        cell=system.cell,
        pbc=system.pbc,
        info=info,
    )
    if isinstance(system, Trajectory):
        atoms.set_masses(system.masses)
    atoms.set_velocities(np.asarray(velocities, dtype=np.float64) / units.fs)
    return atoms


def failure_record(failure: Failure) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Split a failure into JSON values and arrays."""
    values: dict[str, Any] = {name: getattr(failure, name) for name in _FAILURE_VALUES}
    values["reasons"] = list(failure.reasons)
    values["pair"] = None if failure.pair is None else list(failure.pair)
    values["pair_numbers"] = None if failure.pair_numbers is None else list(failure.pair_numbers)
    arrays = {"atomic_numbers": failure.atomic_numbers}
    if failure.cell is not None and failure.pbc is not None:
        arrays.update(cell=failure.cell, pbc=failure.pbc)
    for label in ("last_good", "first_bad"):
        frame: Frame | None = getattr(failure, label)
        if frame is not None:
            values[label] = {
                "step": frame.step,
                "potential_energy": frame.potential_energy,
                "temperature": frame.temperature,
            }
            arrays[f"{label}/positions"] = frame.positions
            arrays[f"{label}/velocities"] = frame.velocities
    return {
        k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()
    }, arrays


def failure_from_record(values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Failure:
    """Turn `failure_record` round."""
    frames: dict[str, Frame | None] = {}
    for label in ("last_good", "first_bad"):
        frames[label] = None
        if label in values:
            record = values[label]
            frames[label] = Frame(
                int(record["step"]),
                np.asarray(arrays[f"{label}/positions"]),
                np.asarray(arrays[f"{label}/velocities"]),
                _number(record["potential_energy"]),
                _number(record["temperature"]),
            )
    assert frames["first_bad"] is not None
    return Failure(
        replica=int(values["replica"]),
        seed=int(values["seed"]),
        target_temperature=float(values["target_temperature"]),
        step=int(values["step"]),
        time_fs=float(values["time_fs"]),
        reason=values["reason"],
        reasons=tuple(values["reasons"]),
        detail=values["detail"],
        pair=_pair(values["pair"]),
        pair_numbers=_pair(values["pair_numbers"]),
        pair_distance=_number(values["pair_distance"]),
        pair_ratio=_number(values["pair_ratio"]),
        last_good=frames["last_good"],
        first_bad=frames["first_bad"],
        atomic_numbers=np.asarray(arrays["atomic_numbers"]),
        cell=np.asarray(arrays["cell"]) if "cell" in arrays else None,
        pbc=np.asarray(arrays["pbc"]) if "pbc" in arrays else None,
        environment_distance=_number(values["environment_distance"]),
        environment_atom=values["environment_atom"],
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _pair(value: Any) -> tuple[int, int] | None:
    return None if value is None else (int(value[0]), int(value[1]))


def _write_constants(group: h5py.Group, replica: Trajectory) -> None:
    group.attrs["seed"] = replica.seed
    group.attrs["target_temperature_k"] = replica.target_temperature
    group["atomic_numbers"], group["masses_amu"] = replica.atomic_numbers, replica.masses
    if replica.cell is not None and replica.pbc is not None:
        group["cell_angstrom"], group["pbc"] = replica.cell, replica.pbc
    if replica.failure is not None:
        values, arrays = failure_record(replica.failure)
        failed = group.create_group("failure")
        failed.attrs["json"] = json.dumps(values)
        for name, array in arrays.items():
            failed[name] = array


def _read_replica(group: h5py.Group) -> Trajectory:
    n = len(group["atomic_numbers"])
    empty = {
        "time_fs": np.zeros(0),
        "positions_angstrom": np.zeros((0, n, 3)),
        "velocities_angstrom_per_fs": np.zeros((0, n, 3)),
    }
    frames = {
        name: group[f"frames/{name}"][...] if f"frames/{name}" in group else empty[name]
        for name in _FRAMES
    }
    failure = None
    if "failure" in group:
        failed = group["failure"]
        arrays: dict[str, np.ndarray] = {}

        def collect(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                arrays[name] = item[...]

        failed.visititems(collect)
        failure = failure_from_record(json.loads(failed.attrs["json"]), arrays)
    return Trajectory(
        replica=int(group.name.strip("/")),
        seed=int(group.attrs["seed"]),
        target_temperature=float(group.attrs["target_temperature_k"]),
        atomic_numbers=group["atomic_numbers"][...],
        masses=group["masses_amu"][...],
        cell=group["cell_angstrom"][...] if "cell_angstrom" in group else None,
        pbc=group["pbc"][...] if "pbc" in group else None,
        time_fs=frames["time_fs"],
        positions=frames["positions_angstrom"],
        velocities=frames["velocities_angstrom_per_fs"],
        series={
            name: group[f"series/{name}"][...] if f"series/{name}" in group else np.zeros(0)
            for name in SERIES
        },
        failure=failure,
    )


def _open(path: Path) -> h5py.File:
    if not path.exists():
        raise DataError(f"There is no trajectory at {path}.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} is not a readable HDF5 file; delete it and run again.") from error
    if file.attrs.get("format") != FORMAT or file.attrs.get("format_version", 0) > FORMAT_VERSION:
        found = f"{file.attrs.get('format')} {file.attrs.get('format_version')}"
        file.close()
        raise DataError(
            f"{path} holds '{found}', expected '{FORMAT}' up to version {FORMAT_VERSION}."
        )
    return file

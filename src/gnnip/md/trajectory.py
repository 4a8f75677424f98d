"""Trajectories of many replicas: collected in memory, kept in segments, joined in one file."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gnnip.errors import ConfigError, DataError
from gnnip.files import atomic_path, read_hdf5, write_hdf5
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
#: decimals that a packed file keeps
_DECIMALS = {"positions_angstrom": 4, "velocities_angstrom_per_fs": 6}
#: numbers in an array below which the bookkeeping of compression costs more than it saves
_WORTH_PACKING = 1000
#: before an attribute that is no plain number or text
_JSON = "json:"
#: arrays of a replica in a file
_FRAME_NAMES = tuple(
    f"frames/{name}" for name in ("time_fs", "positions_angstrom", "velocities_angstrom_per_fs")
)
_SERIES_NAMES = tuple(f"series/{name}" for name in SERIES)


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


def trajectory_of(constants: Mapping[str, Any], recorded: Mapping[str, np.ndarray]) -> Trajectory:
    """Return a trajectory with the frames and time series of `recorded`, arrays named as in the
    file; those that are missing are empty.

    `constants` are all other fields of `Trajectory`.
    """
    none = np.zeros((0, len(constants["atomic_numbers"]), 3))
    return Trajectory(
        **constants,
        time_fs=recorded.get("frames/time_fs", np.zeros(0)),
        positions=recorded.get("frames/positions_angstrom", none),
        velocities=recorded.get("frames/velocities_angstrom_per_fs", none),
        series={name: recorded.get(f"series/{name}", np.zeros(0)) for name in SERIES},
    )


class Recorder:
    """Frames and time series of the current segment."""

    def __init__(self, precision: str = "float32") -> None:
        """Take the precision of stored frames; ConfigError unless it is float32 or float64."""
        if precision not in ("float32", "float64"):
            raise ConfigError(
                f"frame_precision must be 'float32' or 'float64', found {precision!r}."
            )
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
        for names, kept in ((_FRAME_NAMES, self._frames), (_SERIES_NAMES, self._series)):
            for replica, rows in kept.items():
                columns = (np.array(column) for column in zip(*rows, strict=True))
                result.setdefault(replica, {}).update(zip(names, columns, strict=True))
        return result

    def write_segment(self, path: Path) -> None:
        """Write what was kept, atomically, and forget it."""
        with write_hdf5(path) as file:
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
    with ExitStack() as stack:
        cure = "delete its folder to start the run anew"
        opened = [stack.enter_context(read_hdf5(part, cure)) for part in parts]
        file = stack.enter_context(write_hdf5(target))
        file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
        file.attrs["segments"] = n_segments
        file.attrs.update(attributes)
        for replica in replicas:
            group = file.create_group(f"{replica.replica:04d}")
            _write_constants(group, replica)
            for name in (*_FRAME_NAMES, *_SERIES_NAMES):
                path = f"{replica.replica:04d}/{name}"
                pieces = [part[path] for part in opened if path in part]
                if pieces:
                    _write_joined(group, name, pieces)


def _write_joined(group: h5py.Group, name: str, pieces: Sequence[h5py.Dataset]) -> None:
    """Join the pieces along the first axis, one after the other to spare memory."""
    total = sum(len(piece) for piece in pieces)
    data = group.create_dataset(name, (total, *pieces[0].shape[1:]), pieces[0].dtype)
    start = 0
    for piece in pieces:
        data[start : start + len(piece)] = piece[...]
        start += len(piece)


def joined_segments(path: Path) -> int:
    """Return how many segments a trajectory file holds already; 0 when there is none."""
    if not path.exists():
        return 0
    with _open(path) as file:
        return int(file.attrs["segments"])


def is_trajectory(path: str | os.PathLike[str]) -> bool:
    """Return whether a file holds trajectories; what a data set holds are frames."""
    try:
        with _open(Path(path)):
            return True
    except DataError:
        return False


def read_trajectory(path: str | os.PathLike[str]) -> list[Trajectory]:
    """Read all replicas of a file; DataError if missing, damaged, of another kind or newer."""
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
    with _open(Path(path)) as old, write_hdf5(path) as new:
        new.attrs.update(old.attrs)
        for name in old:
            old.copy(name, new)
        for name, value in facts.items():
            plain = isinstance(value, str | int | float)
            new.attrs[name] = value if plain else _JSON + json.dumps(value, sort_keys=True)


def pack_trajectory(
    source: str | os.PathLike[str], target: str | os.PathLike[str], every: int = 1
) -> None:
    """Write `source` anew, small enough to be shipped: compressed, frames rounded, and of these
    every `every`-th one.

    Positions are kept to 1e-4 Angstrom and velocities to 1e-6 Angstrom/fs, less than either
    changes in a hundredth of a femtosecond.
    Everything else, time series and failures included, is kept as it is.
    """
    with _open(Path(source)) as old, write_hdf5(target) as new:
        new.attrs.update(old.attrs)
        if every > 1:
            new.attrs["thinned_by"] = every

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                new.require_group(name).attrs.update(item.attrs)
                return
            options: dict[str, Any] = {}
            framed = "/frames/" in name
            values = item[::every] if framed else item[...]
            if values.size > _WORTH_PACKING:
                options = {"compression": "gzip", "shuffle": True}
                if framed and name.rpartition("/")[2] in _DECIMALS:
                    options["scaleoffset"] = _DECIMALS[name.rpartition("/")[2]]
            new.create_dataset(name, data=values, **options)

        old.visititems(copy)


def write_extxyz(trajectory: Trajectory, path: str | os.PathLike[str], every: int = 1) -> None:
    """Write the frames of one replica as extended XYZ (through ASE), every `every`-th one."""
    from ase.io import write

    frames = _stored_frames(trajectory, slice(None, None, every))
    if not frames:
        raise DataError(f"Replica {trajectory.replica} has no frames to write.")
    with atomic_path(path) as temporary:
        write(temporary, frames, format="extxyz")


def write_failure(failure: Failure, path: str | os.PathLike[str]) -> None:
    """Write the last good and the first bad frame of a failed replica as extended XYZ."""
    from ase.io import write

    with atomic_path(path) as temporary:
        write(temporary, _failure_frames(failure), format="extxyz")


def last_frames(trajectory: Trajectory, before: int = 5) -> list[Any]:
    """Return how a replica ended, as structures of ASE whose `info` tells them apart by `frame`.

    One that lived: its last stored frame ("stored"). One that failed: the last `before` stored
    frames, then "last_good" and "first_bad", which have a `reason`. All have `replica`, and either
    `time_fs` or `step`.
    """
    failure, stored = trajectory.failure, len(trajectory.time_fs)
    count = 1 if failure is None else before
    frames = _stored_frames(trajectory, slice(max(0, stored - count), stored))
    for atoms in frames:
        atoms.info["frame"] = "stored"
    frames += [] if failure is None else _failure_frames(failure)
    for atoms in frames:
        atoms.info["replica"] = trajectory.replica
    return frames


def _stored_frames(trajectory: Trajectory, part: slice) -> list[Any]:
    columns = (trajectory.time_fs, trajectory.positions, trajectory.velocities)
    return [
        _atoms(trajectory, positions, velocities, {"time_fs": float(time)})
        for time, positions, velocities in zip(*(c[part] for c in columns), strict=True)
    ]


def _failure_frames(failure: Failure) -> list[Any]:
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
    return frames


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
    """Split a failure into JSON values (None where a number is NaN) and arrays."""
    values: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for field in dataclasses.fields(Failure):
        name, value = field.name, getattr(failure, field.name)
        if isinstance(value, Frame):
            numbers = ("step", "potential_energy", "temperature")
            values[name] = {key: getattr(value, key) for key in numbers}
            arrays[f"{name}/positions"] = value.positions
            arrays[f"{name}/velocities"] = value.velocities
        elif isinstance(value, np.ndarray):
            arrays[name] = value
        elif name not in ("last_good", "cell", "pbc"):
            values[name] = None if isinstance(value, float) and math.isnan(value) else value
    return values, arrays


def failure_from_record(values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Failure:
    """Return the failure that `failure_record` split, also after its values went through JSON."""
    known = {field.name for field in dataclasses.fields(Failure)}
    fields = {name: value for name, value in values.items() if name in known}
    for name in ("pair_distance", "pair_ratio"):
        fields[name] = math.nan if values[name] is None else float(values[name])
    for name in ("reasons", "pair", "pair_numbers"):
        fields[name] = None if values[name] is None else tuple(values[name])
    for name in ("last_good", "first_bad"):
        fields[name] = None
        if name in values:
            positions, velocities = arrays[f"{name}/positions"], arrays[f"{name}/velocities"]
            fields[name] = Frame(positions=positions, velocities=velocities, **values[name])
    for name in ("atomic_numbers", "cell", "pbc"):
        fields[name] = arrays.get(name)
    return Failure(**fields)


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
    arrays, failure = _arrays(group), None
    if "failure" in group:
        failed = group["failure"]
        failure = failure_from_record(json.loads(failed.attrs["json"]), _arrays(failed))
    constants = {
        "replica": int(group.name.strip("/")),
        "seed": int(group.attrs["seed"]),
        "target_temperature": float(group.attrs["target_temperature_k"]),
        "atomic_numbers": arrays["atomic_numbers"],
        "masses": arrays["masses_amu"],
        "cell": arrays.get("cell_angstrom"),
        "pbc": arrays.get("pbc"),
        "failure": failure,
    }
    return trajectory_of(constants, arrays)


def _arrays(group: h5py.Group) -> dict[str, np.ndarray]:
    """Return all arrays in a group by their paths in it."""
    found: dict[str, np.ndarray] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[...]

    group.visititems(collect)
    return found


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    with read_hdf5(path, "delete it and run again") as file:
        found = file.attrs.get("format"), file.attrs.get("format_version", 0)
        if found[0] != FORMAT or not found[1] <= FORMAT_VERSION:
            raise DataError(
                f"{path} holds '{found[0]} {found[1]}', expected '{FORMAT}' up to version "
                f"{FORMAT_VERSION}."
            )
        yield file

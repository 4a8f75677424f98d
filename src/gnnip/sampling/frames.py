"""frames.npz: the structures of one finished trajectory, of one or of many sizes, before labelling.

Arrays: positions (n, 3), numbers (n,), offsets (frames + 1,), cells (frames, 3, 3) and pbc (frames,
3), column_<name> (frames,) with what is known of each frame, and the plan, the units of positions
(Angstrom where they say nothing) and columns, and the events as JSON; series (steps, values) is
what was recorded more often. Beside it, while it is being made, lies checkpoint.npz.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from gnnip.errors import CheckpointError, DataError
from gnnip.files import atomic_path

FORMAT = 1
_Plan = TypeVar("_Plan")


@dataclass
class Frame:
    """One structure: numbers (n,), positions (n, 3), cell (3, 3) or None, and its columns."""

    numbers: NDArray[Any]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None
    columns: dict[str, str | int | float]

    def atoms(self) -> Any:
        """Return it as `ase.Atoms`."""
        from ase import Atoms

        return Atoms(
            numbers=self.numbers,
            positions=self.positions,
            cell=self.cell,
            pbc=self.cell is not None,
        )


@dataclass
class Trajectory:
    """What a frames.npz holds."""

    plan: dict[str, Any]
    frames: list[Frame]
    units: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    seconds: float = 0.0
    evaluations: int = 0
    series: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def name(self) -> str:
        """Return the name that its frames carry."""
        return str(self.frames[0].columns["trajectory"])


def pack(frames: Sequence[Frame]) -> dict[str, NDArray[Any]]:
    """Return frames as flat arrays, as the file holds them; positions keep their precision."""
    counts = [len(frame.numbers) for frame in frames]
    none = np.zeros((3, 3))
    arrays = {
        "positions": np.concatenate([f.positions for f in frames] or [np.zeros((0, 3))]),
        "numbers": np.concatenate([f.numbers for f in frames] or [np.zeros(0)]).astype(np.uint8),
        "offsets": np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        "cells": np.array([none if f.cell is None else f.cell for f in frames]).reshape(-1, 3, 3),
        "pbc": np.array([[f.cell is not None] * 3 for f in frames], dtype=bool).reshape(-1, 3),
    }
    for name in frames[0].columns if frames else ():
        arrays[f"column_{name}"] = np.array([frame.columns[name] for frame in frames])
    return arrays


def unpack(arrays: Mapping[str, NDArray[Any]]) -> list[Frame]:
    """Return the frames of `pack`."""
    columns = {k.removeprefix("column_"): v for k, v in arrays.items() if k.startswith("column_")}
    frames = []
    for i, (begin, end) in enumerate(
        zip(arrays["offsets"][:-1], arrays["offsets"][1:], strict=True)
    ):
        frames.append(
            Frame(
                arrays["numbers"][begin:end].astype(np.int64),
                arrays["positions"][begin:end].astype(np.float64),
                arrays["cells"][i] if arrays["pbc"][i].any() else None,
                {name: values[i].item() for name, values in columns.items()},
            )
        )
    return frames


def save(path: Path, plan: Any, **arrays: Any) -> None:
    """Write arrays and the plan (a dataclass) atomically."""
    with atomic_path(path) as temporary:
        np.savez(temporary, format=FORMAT, plan=json.dumps(asdict(plan)), **arrays)


def load(path: Path, plan: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file made with this plan.

    Raises CheckpointError for a file that is damaged or was made with another plan.
    """
    content = _load(path, CheckpointError)
    found, wanted = json.loads(str(content["plan"])), json.loads(json.dumps(asdict(plan)))
    if found != wanted:
        other = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        raise CheckpointError(
            f"{path} was made with another {', '.join(other)}; delete it or choose another folder."
        )
    return content


def _load(path: Path, error: type[Exception]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {key: archive[key] for key in archive.files}
        json.loads(str(content["plan"]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as cause:
        raise error(
            f"{path} is damaged or not a trajectory file of gnnip; delete it and run it again."
        ) from cause
    return content


def write_trajectory(
    path: Path,
    plan: Any,
    frames: Sequence[Frame],
    *,
    units: Mapping[str, str],
    events: Sequence[str] = (),
    series: Sequence[tuple[float, ...]] = (),
    seconds: float = 0.0,
    evaluations: int = 0,
) -> None:
    """Write frames.npz; positions become single-precision numbers, which are then labelled."""
    arrays = pack(frames)
    arrays["positions"] = arrays["positions"].astype(np.float32)
    save(
        path,
        plan,
        units=json.dumps(dict(units)),
        events=json.dumps(list(events)),
        series=np.array(series),
        seconds=seconds,
        evaluations=evaluations,
        **arrays,
    )


def read_trajectory(path: str | Path) -> Trajectory:
    """Return a frames.npz; DataError for a file that is missing, damaged or without frames."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is missing; run its trajectory first.")
    content = _load(path, DataError)
    try:
        trajectory = Trajectory(
            plan=json.loads(str(content["plan"])),
            frames=unpack(content),
            units=json.loads(str(content["units"])),
            events=json.loads(str(content["events"])),
            seconds=float(content["seconds"]),
            evaluations=int(content["evaluations"]),
            series=content["series"],
        )
    except (KeyError, ValueError, IndexError) as cause:
        raise DataError(
            f"{path} is damaged or not a trajectory file of gnnip; delete it and run it again."
        ) from cause
    if not trajectory.frames:
        raise DataError(f"{path} holds no frames; run it with at least one.")
    return trajectory


Progress = Callable[[str], object]

"""How, where and how far from the data set replicas failed, and structures to look at."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from gnnip.datasets.arrays import FrameArrays
from gnnip.md import EnvironmentLibrary, Trajectory, shortest_distances
from gnnip.measurements.dynamics.options import Comparison
from gnnip.measurements.dynamics.rows import Row, pair_name, row, symbol
from gnnip.measurements.dynamics.run import failure_file
from gnnip.measurements.selection import spread_evenly

#: name of the data set's frames, with which autopsies are compared
DATASET = "dataset"


def autopsies(
    runs: Mapping[str, Sequence[Trajectory]],
    files: Mapping[str, str | os.PathLike[str]],
    arrays: FrameArrays,
    wanted: Comparison,
) -> list[Row]:
    """Return the records autopsy and closest, none where no replica failed."""
    failed = [(name, t) for name, replicas in runs.items() for t in replicas if t.failure]
    if not failed:
        return []
    chosen = spread_evenly(np.arange(arrays.n_frames), wanted.environment_frames)
    known = [arrays.structure(f) for f in chosen] if wanted.environment_frames else []
    library = EnvironmentLibrary().fit(known) if len(known) > 1 else None
    shortest = shortest_distances(known)
    rows = [row(DATASET, "closest", pair_name(p), value) for p, value in shortest.items()]
    for name, t in failed:
        rows += _autopsy(name, t, library, shortest)
        frames = Path("failures") / failure_file(t.replica)
        if t.failure is not None and (Path(files[name]).parent / frames).exists():
            found = row(name, "autopsy", "frames", math.nan, text=str(Path(name) / frames))
            rows.append(found | {"replica": t.replica, "x": t.failure.time_fs})
    return rows


def _autopsy(
    name: str,
    t: Trajectory,
    library: EnvironmentLibrary | None,
    shortest: Mapping[tuple[int, int], float],
) -> list[Row]:
    failure = t.failure
    assert failure is not None
    found: list[tuple[str, str, float, str]] = [("autopsy", "kind", failure.time_fs, failure.kind)]
    if failure.pair_numbers is not None:
        low, high = sorted(failure.pair_numbers)
        share = failure.pair_distance / shortest.get((low, high), math.nan)
        elements = pair_name((low, high))
        found += [
            ("autopsy", "pair_distance_a", failure.pair_distance, elements),
            ("autopsy", "pair_ratio", failure.pair_ratio, elements),
            ("autopsy", "pair_share", share, elements),
        ]
    if library is not None and failure.last_good is not None:
        last = (failure.last_good.positions, t.atomic_numbers, t.cell, t.pbc)
        distance, atom = library.strangest(last, failure.pair)
        element = symbol(t.atomic_numbers[atom])
        found.append(("autopsy", "environment_distance", distance, element))
    bad = (failure.first_bad.positions, t.atomic_numbers, t.cell, t.pbc)
    found += [("closest", pair_name(p), r, "") for p, r in shortest_distances([bad]).items()]
    return [
        row(name, record, key, value, replica=t.replica, x=failure.time_fs, text=text)
        for record, key, value, text in found
    ]


def snapshots(name: str, replicas: Sequence[Trajectory]) -> list[Row]:
    """Return the record frame of one potential: of the first replica that lived the last structure,
    and of the first that failed the first bad one.
    """
    rows = []
    for failed in (False, True):
        t = next((t for t in replicas if (t.failure is not None) == failed), None)
        if t is None or not (failed or len(t.positions)):
            continue
        positions = t.positions[-1] if t.failure is None else t.failure.first_bad.positions
        if not np.isfinite(positions).all():
            continue
        atoms = _to_look_at(t, positions)
        for number, atom in enumerate(atoms):
            place = " ".join(f"{value:.4f}" for value in atom.position)
            found = row(name, "frame", atom.symbol, math.nan, replica=t.replica, text=place)
            rows.append(found | {"x": float(number)})
    return rows


def _to_look_at(t: Trajectory, positions: np.ndarray) -> Atoms:
    """Return a structure wrapped into its cell, the closest pair of a failure in the middle."""
    atoms = Atoms(numbers=t.atomic_numbers, positions=positions, cell=t.cell, pbc=t.pbc)
    if t.failure is not None and t.failure.pair is not None and atoms.pbc.any():
        # in the middle, where no boundary parts the two
        place = atoms.cell.scaled_positions(atoms.positions[t.failure.pair[0]])
        shift = np.where(atoms.pbc, 0.5 - place, 0.0)
        atoms.positions += atoms.cell.cartesian_positions(shift)
    atoms.wrap()
    return atoms

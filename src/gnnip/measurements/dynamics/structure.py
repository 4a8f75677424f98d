"""Structure of the replicas beside the reference's: radial and angular distributions, profiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import wasserstein_distance

from gnnip.datasets.arrays import FrameArrays
from gnnip.md import (
    AngularDistribution,
    RadialDistribution,
    Structure,
    Trajectory,
    adf_errors,
    mean_angular_distribution,
    mean_radial_distribution,
    rdf_errors,
)
from gnnip.measurements.dynamics.motion import REFERENCE, Motion
from gnnip.measurements.dynamics.options import Comparison, elements_in
from gnnip.measurements.dynamics.rows import Row, curve, pair_name, row, symbol, triplet_name
from gnnip.measurements.selection import frames_with

#: name of the reference compared with itself
NOISE_FLOOR = "noise_floor"
Halves = tuple[list[Structure], list[Structure]]
Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def structure(
    runs: Mapping[str, Sequence[Trajectory]],
    arrays: FrameArrays,
    motion: Motion,
    wanted: Comparison,
) -> list[Row]:
    """Return distributions, their errors and noise floors; `motion` is that of the reference."""
    some = next(iter(runs.values()))[0]
    # each of them: of(frames), curves(found) by name, errors(found, expected) in percent
    measures: dict[str, Any] = {"rdf": _Radial(wanted)}
    if wanted.adf_cutoff is not None:
        measures["adf"] = _Angular(wanted)
    if some.cell is None:
        measures["profile"] = _Profile(some)
    frames = {name: _pooled(replicas, wanted) for name, replicas in runs.items()}
    if REFERENCE in runs:
        halves = _halves(runs[REFERENCE], motion, wanted)
    else:
        frames[REFERENCE], halves = _stand_in(arrays, motion, len(some.atomic_numbers))
    return [
        found
        for record, measure in measures.items()
        for found in _measured(record, measure, frames, halves)
    ]


def _measured(
    record: str,
    measure: Any,
    frames: Mapping[str, Sequence[Structure]],
    halves: Halves | None,
) -> list[Row]:
    """Return curves and errors of one distribution for all potentials that have frames."""
    rows: list[Row] = []
    found = {name: measure.of(own) for name, own in frames.items() if own}
    expected = found.get(REFERENCE)
    for name, distribution in found.items():
        for key, (x, values) in measure.curves(distribution).items():
            rows += curve(name, record, key, x, values)
        if name != REFERENCE and expected is not None:
            rows += _errors(name, record, measure, distribution, expected)
    if halves is not None:
        first, last = (measure.of(half) for half in halves)
        rows += _errors(NOISE_FLOOR, record, measure, first, last)
    return rows


def _errors(name: str, record: str, measure: Any, found: Any, expected: Any) -> list[Row]:
    """Return the errors of all curves and, of angles, the distances between them in degrees."""
    errors = measure.errors(found, expected)
    rows = [row(name, f"{record}_error", key, value) for key, value in errors.items()]
    if record != "adf":
        return rows
    ours, theirs = measure.curves(found), measure.curves(expected)
    for key in (key for key in theirs if key in ours):
        (x, p), (_, q) = ours[key], theirs[key]
        distance = float(wasserstein_distance(x, x, p, q))
        rows.append(row(name, f"{record}_distance", key, distance))
    return rows


def _late_frames(t: Trajectory, wanted: Comparison) -> list[Structure]:
    """Return at most `max_frames` frames after the discarded time, evenly spread."""
    late = np.flatnonzero(t.time_fs >= wanted.discard)
    chosen = late[_evenly(len(late), min(len(late), wanted.max_frames))]
    return [(t.positions[k], t.atomic_numbers, t.cell, t.pbc) for k in chosen]


def _evenly(length: int, count: int) -> np.ndarray:
    """Return `count` of the numbers below `length`, evenly spread."""
    return np.linspace(0, length - 1, count).round().astype(int) if count else np.zeros(0, int)


def _pooled(replicas: Sequence[Trajectory], wanted: Comparison) -> list[Structure]:
    """Return the frames of all replicas, the same number of each that lives as long."""
    return [frame for t in replicas for frame in _late_frames(t, wanted)]


def _halves(replicas: Sequence[Trajectory], motion: Motion, wanted: Comparison) -> Halves | None:
    """Return the frames of the two halves, as many of both; None when one is empty."""
    parts = motion.halves([(t, _late_frames(t, wanted)) for t in replicas])
    halves = [[frame for _, frames in half for frame in frames] for half in parts]
    count = min(len(half) for half in halves)
    if not count:
        return None
    early, late = ([half[k] for k in _evenly(len(half), count)] for half in halves)
    return early, late


def _stand_in(
    arrays: FrameArrays, motion: Motion, n_atoms: int
) -> tuple[list[Structure], Halves | None]:
    """Return the frames of the data set that replicas of so many atoms started from, for a
    reference that was not run, and their halves.
    """
    own = frames_with(arrays, motion.select)
    own = own[math.prod(motion.supercell) * arrays.n_atoms[own] == n_atoms]
    frames: list[Structure] = [arrays.structure(f) for f in own]
    half = len(frames) // 2
    # neighbouring frames of one trajectory are alike: halves are of whole stretches
    return frames, (frames[:half], frames[half : 2 * half]) if half else None


class _Radial:
    """Radial distribution functions by pairs of elements."""

    def __init__(self, wanted: Comparison) -> None:
        self.wanted = wanted

    def of(self, frames: Sequence[Structure]) -> RadialDistribution:
        return mean_radial_distribution(frames, r_max=self.wanted.r_max, bins=self.wanted.bins)

    def curves(self, found: RadialDistribution) -> Curves:
        return {pair_name(pair): (found.r, g) for pair, g in found.g.items()}

    def errors(self, found: RadialDistribution, expected: RadialDistribution) -> dict[str, float]:
        return {pair_name(p): e["percent"] for p, e in rdf_errors(found, expected).items()}


class _Angular:
    """Angular distributions by triplets of elements."""

    def __init__(self, wanted: Comparison) -> None:
        self.cutoff, self.bins = wanted.angle_cutoff(), wanted.adf_bins
        texts = (elements_in(t, 3, "adf_triplets", "Se-Ge-Se") for t in wanted.adf_triplets)
        self.chosen = {(centre, min(a, b), max(a, b)) for a, centre, b in texts}

    def of(self, frames: Sequence[Structure]) -> AngularDistribution:
        assert self.cutoff is not None
        found = mean_angular_distribution(frames, cutoff=self.cutoff, bins=self.bins)
        if not self.chosen:
            return found
        return replace(found, p={key: p for key, p in found.p.items() if key in self.chosen})

    def curves(self, found: AngularDistribution) -> Curves:
        degrees = np.degrees(found.angle)
        return {triplet_name(key): (degrees, np.radians(p)) for key, p in found.p.items()}

    def errors(self, found: AngularDistribution, expected: AngularDistribution) -> dict[str, float]:
        return {triplet_name(k): e["percent"] for k, e in adf_errors(found, expected).items()}


class _Profile:
    """Atoms of each element per Angstrom of distance from the centre of mass of a cluster."""

    def __init__(self, system: Trajectory) -> None:
        self.masses = dict(zip(system.atomic_numbers.tolist(), system.masses, strict=True))
        start = _centred(system.positions[0], system.masses)
        reach = 1.3 * float(np.linalg.norm(start, axis=1).max())
        self.edges = np.linspace(0.0, max(reach, 1.0), 41)

    def of(self, frames: Sequence[Structure]) -> dict[str, np.ndarray]:
        width = self.edges[1] - self.edges[0]
        counts: dict[str, np.ndarray] = {}
        for positions, numbers, _, _ in frames:
            masses = np.array([self.masses[int(z)] for z in numbers])
            distance = np.linalg.norm(_centred(positions, masses), axis=1)
            for z in np.unique(numbers):
                own = np.histogram(distance[numbers == z], self.edges)[0]
                counts[symbol(z)] = own + counts.get(symbol(z), 0)
        return {key: count / (len(frames) * width) for key, count in counts.items()}

    def curves(self, found: dict[str, np.ndarray]) -> Curves:
        middle = 0.5 * (self.edges[1:] + self.edges[:-1])
        return {key: (middle, values) for key, values in found.items()}

    def errors(
        self, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]
    ) -> dict[str, float]:
        # half, since an atom in the wrong place is missing in the right one
        return {
            key: float(50.0 * np.abs(found[key] - values).sum() / max(values.sum(), 1e-300))
            for key, values in expected.items()
        }


def _centred(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    return positions - np.einsum("a,ad->d", masses, positions) / masses.sum()

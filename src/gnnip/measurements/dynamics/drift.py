"""Replicas that leave the reference's energies or structure although no two atoms are too close.

Both criteria look at windows of time. The measure is what the reference itself does in windows of
the same length or, where it was run too briefly for eight of them, of a half of it, a quarter, ...:
the means of shorter windows scatter more, so fewer replicas fail. Without a trajectory of the
reference nothing is judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gnnip.datasets.arrays import FrameArrays
from gnnip.md import (
    RadialDistribution,
    Structure,
    Trajectory,
    mean_radial_distribution,
    rdf_errors,
    survival_curve,
)
from gnnip.measurements.dynamics.motion import REFERENCE, Motion
from gnnip.measurements.dynamics.options import Comparison
from gnnip.measurements.dynamics.rows import Row, curve, pair_name, row
from gnnip.measurements.selection import spread_evenly

#: frames of a window that its radial distribution is made of
_FRAMES = 10
#: windows that the reference's scatter is taken from
_WINDOWS = 8
#: values of the columns that tell ensembles apart, of each replica by its number
Ensembles = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class _Windows:
    """Windows of one replica: their ends (w,) in fs, and what was found in each."""

    ensemble: tuple[Any, ...]
    ends: np.ndarray
    energy: np.ndarray  #: (w,) mean potential energy per atom, meV
    structure: list[RadialDistribution | None]


@dataclass(frozen=True)
class _Measure:
    """What the windows of the reference show, by ensemble or of all."""

    energy: dict[tuple[Any, ...], float]  #: mean potential energy per atom, meV
    sigma: float  #: standard deviation of windows about their ensemble's mean, meV/atom
    atoms: float
    structure: dict[tuple[Any, ...], RadialDistribution]
    #: by pair, the largest distance (Angstrom, integral of |g - g_ref|) of a window from the other
    #: replicas of its ensemble, from the other windows where it is the only replica
    floor: dict[tuple[int, int], float]


def ensembles(arrays: FrameArrays, motion: Motion, columns: Sequence[str]) -> Ensembles:
    """Return the values that the frame each replica started from has in the `columns`."""
    frames = np.repeat(motion.frames(arrays), motion.repeats)
    return [tuple(arrays.column(column)[f] for column in columns) for f in frames]


def drifts(
    runs: Mapping[str, Sequence[Trajectory]],
    wanted: Comparison,
    duration: float,
    alike: Mapping[str, Ensembles] | None = None,
) -> list[Row]:
    """Return the records drift, survival_by_{criterion} and score of all potentials, and the rows
    of the record run that say when each replica failed by which criterion.

    `duration` (fs) is that of the runs of potentials. A replica is compared with the reference's
    of its own ensemble, where `alike` gives those of every potential and of the reference.
    """
    of = {name: (alike or {}).get(name) for name in runs}
    own = runs.get(REFERENCE, [])
    measure = _measure(_of_reference(own, wanted, of.get(REFERENCE)), own)
    rows: list[Row] = []
    for name, replicas in runs.items():
        if name == REFERENCE:
            continue
        times = []
        for t in replicas:
            windows = _windows(t, wanted, wanted.window, _ensemble(t, of[name]))
            # energies of independent parts of a larger cell average out
            spread = measure.sigma * math.sqrt(measure.atoms / len(t.atomic_numbers))
            limit = max(wanted.energy_sigma * spread, wanted.energy_floor)
            away = windows.energy - measure.energy.get(windows.ensemble, math.nan)
            expected = measure.structure.get(windows.ensemble)
            ratios = [_over_floor(g, expected, measure.floor) for g in windows.structure]
            share = np.array([ratio for ratio, _ in ratios]) / wanted.structure_factor
            for k, end in enumerate(windows.ends):
                place: dict[str, Any] = {"replica": t.replica, "x": float(end)}
                rows.append(row(name, "drift", "energy_mev_per_atom", float(away[k]), **place))
                place["text"] = ratios[k][1]
                rows.append(row(name, "drift", "structure", float(share[k]), **place))
            limits = math.inf if t.failure is None else t.failure.time_fs
            energy = _first(windows.ends, np.abs(away) > limit)
            structure = _first(windows.ends, share > 1.0)
            times.append({"limits": limits, "energy": energy, "structure": structure})
            if math.isfinite(spread):
                rows.append(row(name, "run", "energy_limit_mev_per_atom", limit, replica=t.replica))
        used = ["limits"]
        used += ["energy"] if math.isfinite(measure.sigma) else []
        used += ["structure"] if measure.floor else []
        rows += _survivals(name, replicas, times, used, duration)
    return rows


def _survivals(
    name: str,
    replicas: Sequence[Trajectory],
    times: Sequence[Mapping[str, float]],
    used: Sequence[str],
    duration: float,
) -> list[Row]:
    """Return rows of the times of failure, survival by each criterion that is `used`, and scores.

    area is that under the survival curve over the time of the run as a share; graded is 1 for a
    replica that neither failed nor left, 0.5 + 0.5 f for one that left the reference's energies or
    structure at the share f of the run, and 0.5 f for one that broke a limit (after MLIPAudit).
    """
    told = [{key: t[key] for key in used} | {"any": min(t[key] for key in used)} for t in times]
    rows: list[Row] = []
    for t, own in zip(replicas, told, strict=True):
        for key, time in own.items():
            failed = math.isfinite(time)
            rows.append(row(name, "run", f"failed_by_{key}", float(failed), replica=t.replica))
            if failed:
                rows.append(row(name, "run", f"failed_by_{key}_fs", time, replica=t.replica))
    for key in (*used, "any"):
        ends = [own[key] for own in told]
        observed = [min(end, duration) for end in ends]
        found = survival_curve(observed, [math.isfinite(end) for end in ends])
        record = f"survival_by_{key}"
        rows += curve(name, record, "survival", found.time_fs, found.survival)
        rows += curve(name, record, "survival_low", found.time_fs, found.lower)
        rows += curve(name, record, "survival_high", found.time_fs, found.upper)
        rows.append(row(name, "score", f"area_{key}", float(np.mean(observed)) / duration))
    graded = [
        0.5 * min(own["limits"] / duration, 1.0)
        if math.isfinite(own["limits"])
        else 0.5 + 0.5 * min(own["any"] / duration, 1.0)
        for own in told
    ]
    return [*rows, row(name, "score", "graded", float(np.mean(graded)))]


def _ensemble(t: Trajectory, known: Ensembles | None) -> tuple[Any, ...]:
    return () if known is None else known[t.replica]


def _of_reference(
    replicas: Sequence[Trajectory], wanted: Comparison, known: Ensembles | None
) -> list[_Windows]:
    """Return the windows of the reference, short enough that there are eight in all."""
    lasts = [float(t.series["time_fs"][-1]) - wanted.discard for t in replicas]
    steps = [float(np.diff(t.series["time_fs"][:2]).sum()) for t in replicas]
    length = wanted.window
    while replicas and sum(int(max(last, 0.0) / length) for last in lasts) < _WINDOWS:
        if length / 2.0 < max(steps):
            break
        length /= 2.0
    return [_windows(t, wanted, length, _ensemble(t, known)) for t in replicas]


def _windows(
    t: Trajectory, wanted: Comparison, length: float, ensemble: tuple[Any, ...]
) -> _Windows:
    """Return the whole windows of a replica after the discarded time, of a length in fs."""
    time, start = np.asarray(t.series["time_fs"]), wanted.discard
    last = float(time[-1]) if len(time) else 0.0
    ends, energies, structures = [], [], []
    for k in range(int(max(last - start, 0.0) / length * (1.0 + 1e-9))):
        low, high = start + k * length, (start + (k + 1) * length) * (1.0 + 1e-9)
        inside = (time > low) & (time <= high)
        if not inside.any():
            continue
        ends.append(start + (k + 1) * length)
        energy = float(np.asarray(t.series["potential_energy_ev"])[inside].mean())
        energies.append(1000.0 * energy / len(t.atomic_numbers))
        frames = np.flatnonzero((t.time_fs > low) & (t.time_fs <= high))
        structures.append(_distribution(t, frames, wanted))
    return _Windows(ensemble, np.array(ends), np.array(energies), structures)


def _distribution(
    t: Trajectory, frames: np.ndarray, wanted: Comparison
) -> RadialDistribution | None:
    if not len(frames):
        return None
    chosen = spread_evenly(frames, min(_FRAMES, len(frames)))
    structures: list[Structure] = [
        (t.positions[k], t.atomic_numbers, t.cell, t.pbc) for k in chosen
    ]
    if not all(np.isfinite(positions).all() for positions, *_ in structures):
        return None
    return mean_radial_distribution(structures, r_max=wanted.r_max, bins=wanted.bins)


def _measure(own: Sequence[_Windows], replicas: Sequence[Trajectory]) -> _Measure:
    """Return what the reference does; NaN and nothing where its windows do not tell."""
    keys = list(dict.fromkeys(w.ensemble for w in own))
    energies = {k: np.concatenate([w.energy for w in own if w.ensemble == k]) for k in keys}
    energies = {k: values for k, values in energies.items() if len(values)}
    square = sum(float(((e - e.mean()) ** 2).sum()) for e in energies.values())
    freedom = sum(len(e) - 1 for e in energies.values())
    structure: dict[tuple[Any, ...], RadialDistribution] = {}
    floor: dict[tuple[int, int], float] = {}
    for key in keys:
        alike = [w for w in own if w.ensemble == key]
        mean = _mean([g for w in alike for g in w.structure])
        if mean is not None:
            structure[key] = mean
        for pair, distance in _distances(alike):
            floor[pair] = max(floor.get(pair, 0.0), distance)
    return _Measure(
        energy={key: float(e.mean()) for key, e in energies.items()},
        sigma=math.sqrt(square / freedom) if freedom > 1 else math.nan,
        atoms=float(len(replicas[0].atomic_numbers)) if replicas else math.nan,
        structure=structure,
        floor=floor,
    )


def _distances(alike: Sequence[_Windows]) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield pair and distance of each window of an ensemble from its other replicas, or from its
    other windows where it has one replica."""
    for k, windows in enumerate(alike):
        for n, g in enumerate(windows.structure):
            if len(alike) > 1:
                rest = _mean([o for j, w in enumerate(alike) if j != k for o in w.structure])
            else:
                rest = _mean([o for j, o in enumerate(windows.structure) if j != n])
            if g is not None and rest is not None:
                for pair, error in rdf_errors(g, rest).items():
                    yield pair, error["integral_angstrom"]


def _mean(found: Sequence[RadialDistribution | None]) -> RadialDistribution | None:
    """Return the mean of windows that have as many frames each."""
    known = [g for g in found if g is not None]
    if not known:
        return None
    mean = {pair: np.mean([g.g[pair] for g in known], axis=0) for pair in known[0].g}
    return replace(known[0], g=mean)


def _over_floor(
    g: RadialDistribution | None,
    expected: RadialDistribution | None,
    floor: Mapping[tuple[int, int], float],
) -> tuple[float, str]:
    """Return the largest distance of any pair from the reference in units of its floor, and the
    pair; NaN where there is no floor."""
    if g is None or expected is None or not floor:
        return math.nan, ""
    errors = rdf_errors(g, expected)
    ratios = {p: errors[p]["integral_angstrom"] / max(floor[p], 1e-12) for p in floor}
    worst = max(ratios, key=lambda pair: ratios[pair])
    return ratios[worst], pair_name(worst)


def _first(ends: np.ndarray, bad: np.ndarray) -> float:
    """Return the end of the first bad window, infinite where there is none."""
    return float(ends[bad][0]) if bad.any() else math.inf

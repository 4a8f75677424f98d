"""Vibrations of the replicas that lived to the end, beside the reference's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import wasserstein_distance

from gnnip.md import Spectrum, Trajectory, vdos_error, vibrational_density_of_states
from gnnip.measurements.dynamics.motion import REFERENCE, Motion
from gnnip.measurements.dynamics.options import Comparison
from gnnip.measurements.dynamics.rows import Row, curve, row
from gnnip.measurements.dynamics.structure import NOISE_FLOOR

#: replicas with their velocities (t, n, 3) in Angstrom/fs after the discarded time
Alive = list[tuple[Trajectory, np.ndarray]]


def spectra(
    runs: Mapping[str, Sequence[Trajectory]], motion: Motion, wanted: Comparison
) -> list[Row]:
    """Return the densities of states and their errors; `motion` is the reference's."""
    alive = {name: _survivors(replicas, wanted) for name, replicas in runs.items()}
    lengths = [len(v) * t.frame_interval_fs for own in alive.values() for t, v in own]
    if not lengths:
        return []
    # pieces of one length resolve the same lines, however long a run was
    length = min(lengths)
    found = {name: mean_spectrum(own, length) for name, own in alive.items()}
    rows = []
    for name, spectrum in found.items():
        if spectrum is not None:
            rows += curve(name, "vdos", "total", spectrum.frequency, spectrum.total)
    expected = found.get(REFERENCE)
    if expected is None:
        return rows
    for name, spectrum in found.items():
        if name != REFERENCE and spectrum is not None:
            rows += _errors(name, spectrum, expected)
    length = length if motion.repeats > 1 else length / 2
    first, last = (mean_spectrum(half, length) for half in motion.halves(alive[REFERENCE]))
    if first is not None and last is not None:
        rows += _errors(NOISE_FLOOR, first, last)
    return rows


def _survivors(replicas: Sequence[Trajectory], wanted: Comparison) -> Alive:
    """Return the replicas that did not fail, with their velocities after the discarded time."""
    found = []
    for t in replicas:
        late = t.time_fs >= wanted.discard
        if t.failure is None and late.sum() > 7:
            found.append((t, t.velocities[late]))
    return found


def mean_spectrum(alive: Alive, length: float) -> Spectrum | None:
    """Return the mean spectrum of all pieces of `length` (fs) that fit into the runs, or None."""
    found: list[Spectrum] = []
    for t, velocities in alive:
        frames = min(round(length / t.frame_interval_fs), len(velocities))
        if frames < 8:
            continue
        for start in range(0, len(velocities) - frames + 1, frames):
            found.append(
                vibrational_density_of_states(
                    velocities[start : start + frames],
                    t.masses,
                    t.atomic_numbers,
                    t.frame_interval_fs,
                )
            )
    if not found:
        return None
    total = np.mean([spectrum.at(found[0].frequency).total for spectrum in found], axis=0)
    return replace(found[0], total=total, species={})


def _errors(name: str, spectrum: Spectrum, expected: Spectrum) -> list[Row]:
    """Return `vdos_error` in percent and the Wasserstein distance in THz, up to the highest
    frequency that both runs resolve."""
    top = min(spectrum.frequency[-1], expected.frequency[-1])
    grid = expected.frequency[expected.frequency <= top * (1.0 + 1e-9)]
    ours, theirs = spectrum.at(grid), expected.at(grid)
    distance = float(wasserstein_distance(grid, grid, ours.total, theirs.total))
    return [
        row(name, "vdos_error", "total", float(vdos_error(ours, theirs)["percent"])),
        row(name, "vdos_distance", "total", distance),
    ]

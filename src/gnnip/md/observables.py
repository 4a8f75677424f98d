"""Structure and dynamics from trajectories: RDF, ADF, vDOS, MSD, their errors against a reference,
and its noise floor.

Frames are arrays (t, n, 3), positions in Angstrom and unwrapped, velocities in Angstrom/fs. Two
definitions of the error of an RDF are in use and both are given: the integral of |g - g_ref| in
Angstrom (Fu et al., arXiv 2210.07237) and the percentage of the integral of |g_ref - 1|
(matbench-discovery); angles and spectra have the Wasserstein distances of the latter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from gnnip.errors import DataError
from gnnip.md.structures import Pair, Structure, neighbour_vectors, shortest_lattice_vector

Triplet = tuple[int, int, int]
Key = TypeVar("Key")


@dataclass(frozen=True)
class RadialDistribution:
    """g(r) of each pair of species (atomic numbers, ascending)."""

    edges: np.ndarray  #: (bins + 1,) Angstrom
    g: Mapping[Pair, np.ndarray]  #: (bins,); 1/Angstrom for open systems
    #: relative to the mean density (periodic); False: probability density of the distance (open)
    density: bool

    @property
    def r(self) -> np.ndarray:
        """Centres of the bins, Angstrom."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])


@dataclass(frozen=True)
class AngularDistribution:
    """Probability density of the angle at a centre; keys (centre, smaller end, larger end)."""

    edges: np.ndarray  #: (bins + 1,) radians, 0 to pi
    p: Mapping[Triplet, np.ndarray]  #: (bins,) per radian

    @property
    def angle(self) -> np.ndarray:
        """Centres of the bins, radians."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])


@dataclass(frozen=True)
class Spectrum:
    """Vibrational density of states, normalised to 1 over the frequencies."""

    frequency: np.ndarray  #: (m,) THz
    total: np.ndarray  #: (m,) per THz
    species: Mapping[int, np.ndarray]  #: share of each element, adding up to the total

    def at(self, frequency: np.ndarray) -> Spectrum:
        """Return the total at other frequencies (m,), evenly spaced, THz: the straight line between
        its own, normalised again; itself where they are the same.
        """
        own = self.frequency
        if len(own) == len(frequency) and np.allclose(own, frequency):
            return self
        total = np.interp(frequency, own, self.total, right=0.0)
        area = max(float(total.sum() * (frequency[1] - frequency[0])), 1e-300)
        return Spectrum(frequency, total / area, {})


@dataclass(frozen=True)
class MeanSquareDisplacement:
    """Mean square displacement averaged over atoms and time origins."""

    time_fs: np.ndarray  #: (m,)
    total: np.ndarray  #: (m,) Angstrom^2
    species: Mapping[int, np.ndarray]

    def diffusion(self, start_fs: float, end_fs: float) -> dict[int, float]:
        """Diffusion coefficient of each element in cm^2/s: slope / 6 of a straight line over
        [start_fs, end_fs].

        Raises DataError when fewer than two points lie in the interval.
        """
        chosen = (self.time_fs >= start_fs) & (self.time_fs <= end_fs)
        if chosen.sum() < 2:
            raise DataError(
                f"Fewer than two times between {start_fs} and {end_fs} fs: widen the interval."
            )
        # 1 Angstrom^2/fs = 0.1 cm^2/s
        return {
            z: float(np.polyfit(self.time_fs[chosen], values[chosen], 1)[0]) / 6.0 * 0.1
            for z, values in self.species.items()
        }


def radial_distribution(
    frames: np.ndarray,
    numbers: np.ndarray,
    cell: np.ndarray | None = None,
    pbc: np.ndarray | None = None,
    *,
    r_max: float | None = None,
    bins: int = 200,
) -> RadialDistribution:
    """Radial distribution functions by species, averaged over `frames` (t, n, 3).

    Periodic (cell (3, 3), fixed): g(r) = V n_ab(r) / (N_a N_b shell volume), images included, so
    `r_max` may exceed half the cell; default: half the shortest lattice vector. Open: the
    probability density of the pair distance, `r_max` needed. Raises DataError for no frames or a
    missing `r_max`.
    """
    frames, numbers = _check_frames(frames, numbers)
    periodic = cell is not None
    if r_max is None:
        if cell is None:
            raise DataError(
                "An open system has no natural largest distance: give r_max (Angstrom)."
            )
        r_max = 0.5 * shortest_lattice_vector(cell)
    if not (r_max > 0 and bins > 0):
        raise DataError(f"r_max and bins must be greater than zero, found {r_max} and {bins}.")
    edges = np.linspace(0.0, r_max, bins + 1)
    species, kind = np.unique(numbers, return_inverse=True)
    n_kinds = len(species)
    histogram = np.zeros((n_kinds * n_kinds, bins))
    for positions in frames:
        index, _, r = neighbour_vectors((positions, numbers, cell, pbc), r_max)
        _count(histogram, kind[index[1]] * n_kinds + kind[index[0]], r, r_max)
    counts = np.bincount(kind)
    shell = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    g: dict[Pair, np.ndarray] = {}
    for a in range(n_kinds):
        for b in range(a, n_kinds):
            pairs = histogram[a * n_kinds + b] / len(frames)
            if periodic:
                volume = abs(np.linalg.det(np.asarray(cell, dtype=np.float64)))
                value = pairs * volume / (counts[a] * counts[b] * shell)
            else:
                value = pairs / max(pairs.sum() * (edges[1] - edges[0]), 1e-300)
            g[int(species[a]), int(species[b])] = value
    return RadialDistribution(edges, g, periodic)


def angular_distribution(
    frames: np.ndarray,
    numbers: np.ndarray,
    cell: np.ndarray | None = None,
    pbc: np.ndarray | None = None,
    *,
    cutoff: float | Mapping[Pair, float],
    bins: int = 90,
) -> AngularDistribution:
    """Angles j-i-k between neighbours closer than `cutoff` (Angstrom; one, or one per pair of
    species), by species.

    Averaged over `frames` (t, n, 3); each angle counts once; triplets that never occur are left
    out. Raises DataError for no frames.
    """
    frames, numbers = _check_frames(frames, numbers)
    longest = float(cutoff if isinstance(cutoff, int | float) else max(cutoff.values()))
    edges = np.linspace(0.0, np.pi, bins + 1)
    species, kind = np.unique(numbers, return_inverse=True)
    n_kinds = len(species)
    histogram = np.zeros((n_kinds**3, bins))
    limits = _cutoffs(cutoff, species)
    for positions in frames:
        index, vectors, r = neighbour_vectors((positions, numbers, cell, pbc), longest)
        close = r < limits[kind[index[1]], kind[index[0]]]
        source, target, units = index[0][close], index[1][close], vectors[close] / r[close, None]
        first, second = _pairs_of_edges(target, len(positions))
        cosine = np.clip(np.einsum("ij,ij->i", units[first], units[second]), -1.0, 1.0)
        ends = np.sort(np.stack([kind[source[first]], kind[source[second]]]), axis=0)
        channel = (kind[target[first]] * n_kinds + ends[0]) * n_kinds + ends[1]
        _count(histogram, channel, np.arccos(cosine), np.pi)
    p: dict[Triplet, np.ndarray] = {}
    for channel, counts in enumerate(histogram):
        if counts.sum() > 0:
            centre, *ends = species[list(np.unravel_index(channel, (n_kinds,) * 3))].tolist()
            p[centre, ends[0], ends[1]] = counts / (counts.sum() * (edges[1] - edges[0]))
    return AngularDistribution(edges, p)


def mean_radial_distribution(
    structures: Sequence[Structure], *, r_max: float, bins: int = 200
) -> RadialDistribution:
    """Radial distribution functions averaged over structures that may differ in cell, composition
    or order of atoms; each counts the same.

    Raises DataError for no structures or when some are periodic and others open.
    """
    parts = [
        (len(frames), radial_distribution(frames, *system, r_max=r_max, bins=bins))
        for frames, *system in _by_system(structures)
    ]
    if len({part.density for _, part in parts}) > 1:
        raise DataError("Periodic and open structures have no common radial distribution.")
    return replace(parts[0][1], g=_weighted([(count, part.g) for count, part in parts]))


def mean_angular_distribution(
    structures: Sequence[Structure], *, cutoff: float | Mapping[Pair, float], bins: int = 90
) -> AngularDistribution:
    """Angular distributions averaged over structures that may differ in cell, composition or order
    of atoms, as `angular_distribution`; DataError for no structures.

    Where several systems are averaged, each counts by its structures, not by its angles.
    """
    parts = [
        (len(frames), angular_distribution(frames, *system, cutoff=cutoff, bins=bins))
        for frames, *system in _by_system(structures)
    ]
    found = _weighted([(count, part.p) for count, part in parts])
    width = np.pi / bins
    # a triplet that some of the systems lack is normalised over those that have it
    return replace(parts[0][1], p={k: p / (p.sum() * width) for k, p in found.items()})


def _by_system(structures: Sequence[Structure]) -> list[tuple[np.ndarray, Any, Any, Any]]:
    """Return (frames (t, n, 3), numbers, cell, pbc) of structures that differ in positions only."""
    if not structures:
        raise DataError("An average needs at least one structure.")
    groups: dict[Any, tuple[list[np.ndarray], Any]] = {}
    for positions, *system in structures:
        kinds = zip(system, (np.int64, np.float64, np.bool_), strict=True)
        key = tuple(None if part is None else np.asarray(part, t).tobytes() for part, t in kinds)
        groups.setdefault(key, ([], system))[0].append(positions)
    return [(np.stack(frames), *system) for frames, system in groups.values()]


def _weighted(parts: Sequence[tuple[int, Mapping[Key, np.ndarray]]]) -> dict[Key, np.ndarray]:
    """Return the weighted means by key; what a part lacks is zero."""
    if len(parts) == 1:
        return dict(parts[0][1])
    keys: list[Key] = sorted({key for _, part in parts for key in part})  # type: ignore[type-var]
    total = sum(count for count, _ in parts)
    return {
        key: np.sum([count * part[key] for count, part in parts if key in part], axis=0) / total
        for key in keys
    }


def vibrational_density_of_states(
    velocities: np.ndarray, masses: np.ndarray, numbers: np.ndarray, interval_fs: float
) -> Spectrum:
    """Power spectrum of the mass-weighted velocities (t, n, 3), `interval_fs` apart, with a Hann
    window.

    Equal to the Fourier transform of the velocity autocorrelation (Wiener-Khinchin); masses (n,)
    in amu. The mean velocity of each atom over the window is not removed: diffusion shows at zero
    frequency. Raises DataError for fewer than 8 frames or an interval that is not positive.
    """
    v = np.asarray(velocities, dtype=np.float64)
    if v.ndim != 3 or v.shape[2] != 3 or len(v) < 8:
        raise DataError(f"A spectrum needs velocities of shape (t > 7, n, 3), found {v.shape}.")
    if not interval_fs > 0:
        raise DataError(
            f"The interval between frames must be greater than zero (fs), found {interval_fs}."
        )
    window = np.hanning(len(v) + 2)[1:-1, None, None]
    power = (np.abs(np.fft.rfft(v * window, axis=0)) ** 2).sum(axis=2) * np.asarray(masses)[None, :]
    frequency = np.fft.rfftfreq(len(v), interval_fs) * 1000.0
    numbers = np.asarray(numbers)
    shares = {int(z): power[:, numbers == z].sum(axis=1) for z in np.unique(numbers)}
    total = power.sum(axis=1)
    area = float(total.sum() * (frequency[1] - frequency[0]))
    if not area > 0:
        raise DataError("The velocities are all zero: there is no spectrum.")
    return Spectrum(frequency, total / area, {z: share / area for z, share in shares.items()})


def mean_square_displacement(
    frames: np.ndarray,
    numbers: np.ndarray,
    interval_fs: float,
    *,
    masses: np.ndarray | None = None,
) -> MeanSquareDisplacement:
    """Mean square displacement of unwrapped `frames` (t, n, 3), averaged over all time origins, by
    species.

    With `masses` the motion of the centre of mass is taken out first. Lags up to half the
    trajectory. Cost t log t (Calandrini et al., Collection SFN 12, 201 (2011)).
    """
    x, numbers = _check_frames(frames, numbers)
    if masses is not None:
        x = x - np.einsum("a,tad->td", masses, x)[:, None, :] / np.sum(masses)
    x = x - x[:1]
    n_frames = len(x)
    lags = max(1, n_frames // 2) if n_frames > 1 else 1
    padded = np.fft.rfft(x, n=2 * n_frames, axis=0)
    correlation = np.fft.irfft(np.abs(padded) ** 2, n=2 * n_frames, axis=0)[:lags].sum(axis=2)
    square = np.square(x).sum(axis=2)
    # sum over origins of |x(t0)|^2 + |x(t0 + lag)|^2
    total = np.cumsum(np.concatenate([np.zeros_like(square[:1]), square]), axis=0)
    lag = np.arange(lags)
    sums = (total[n_frames - lag] - total[0]) + (total[n_frames] - total[lag])
    msd = np.maximum((sums - 2.0 * correlation) / (n_frames - lag)[:, None], 0.0)
    species = {int(z): msd[:, numbers == z].mean(axis=1) for z in np.unique(numbers)}
    return MeanSquareDisplacement(lag * float(interval_fs), msd.mean(axis=1), species)


def rdf_errors(
    g: RadialDistribution, reference: RadialDistribution
) -> dict[Pair, dict[str, float]]:
    """Errors of each pair: "integral_angstrom" = int |g - g_ref| dr and "percent" = 100 min(1,
    that / int |g_ref - 1| dr).

    For open systems (no mean density) the percentage is of int |g_ref| dr = 1. DataError unless
    both have the same bins.
    """
    _check_bins(g.edges, reference.edges, "radial distributions")
    width = reference.edges[1] - reference.edges[0]
    result: dict[Pair, dict[str, float]] = {}
    for pair, expected in reference.g.items():
        found = g.g.get(pair, np.zeros_like(expected))
        integral = float(np.abs(found - expected).sum() * width)
        norm = float(np.abs(expected - (1.0 if reference.density else 0.0)).sum() * width)
        result[pair] = {"integral_angstrom": integral, "percent": _percent(integral, norm)}
    return result


def adf_errors(
    p: AngularDistribution, reference: AngularDistribution
) -> dict[Triplet, dict[str, float]]:
    """Errors of each triplet: "integral" = int |p - p_ref| dtheta (0 to 2) and "percent" = 100
    min(1, W1(p, p_ref) / W1(p_ref, sin/2)).

    W1 is the Wasserstein distance over the angle; sin(theta)/2 is what directions without
    structure give. A triplet that `p` lacks has 100 percent.
    """
    _check_bins(p.edges, reference.edges, "angular distributions")
    width = reference.edges[1] - reference.edges[0]
    uniform = 0.5 * (np.cos(reference.edges[:-1]) - np.cos(reference.edges[1:])) / width
    result: dict[Triplet, dict[str, float]] = {}
    for key, expected in reference.p.items():
        if key not in p.p:
            result[key] = {"integral": 1.0, "percent": 100.0}
            continue
        distance = _wasserstein(p.p[key], expected, width)
        norm = _wasserstein(expected, uniform, width)
        result[key] = {
            "integral": float(np.abs(p.p[key] - expected).sum() * width),
            "percent": _percent(distance, norm),
        }
    return result


def vdos_error(spectrum: Spectrum, reference: Spectrum) -> dict[str, float]:
    """Errors of a spectrum: "integral" = int |dos - ref| df (0 to 2) and "percent" = 100 min(1, W1
    / sigma_ref).

    sigma_ref is the standard deviation of the reference's frequencies; both spectra are cut where
    99.9 % of the reference's power is reached and normalised again.
    """
    if len(spectrum.frequency) != len(reference.frequency) or not np.allclose(
        spectrum.frequency, reference.frequency
    ):
        raise DataError(
            "The spectra have different frequencies: use the same number and interval of frames."
        )
    f, width = reference.frequency, reference.frequency[1] - reference.frequency[0]
    power = np.cumsum(reference.total) * width
    end = min(int(np.searchsorted(power, 0.999 * power[-1])) + 1, len(f))
    ours, theirs = (
        s.total[:end] / max(s.total[:end].sum() * width, 1e-300) for s in (spectrum, reference)
    )
    mean = float((f[:end] * theirs).sum() * width)
    sigma = float(np.sqrt(((f[:end] - mean) ** 2 * theirs).sum() * width))
    distance = _wasserstein(ours, theirs, width)
    return {
        "integral": float(np.abs(ours - theirs).sum() * width),
        "percent": _percent(distance, sigma),
    }


def _wasserstein(p: np.ndarray, q: np.ndarray, width: float) -> float:
    return float(np.abs(np.cumsum(p - q) * width).sum() * width)


def _pairs_of_edges(target: np.ndarray, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """All unordered pairs of edges with the same `target` (sorted)."""
    counts = np.bincount(target, minlength=n_atoms)
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    # the k-th edge of an atom pairs with the counts - k - 1 after it
    rank = np.arange(len(target)) - starts[target]
    after = counts[target] - rank - 1
    first = np.repeat(np.arange(len(target)), after)
    step = np.arange(len(first)) - np.repeat(np.cumsum(after) - after, after)
    return first, first + 1 + step


def _percent(distance: float, norm: float) -> float:
    """Return a distance in percent of its norm, 100 at most."""
    return 100.0 * (min(1.0, distance / norm) if norm > 0 else distance > 0)


def _count(histogram: np.ndarray, channel: np.ndarray, values: np.ndarray, top: float) -> None:
    """Add the values, from 0 to `top`, to the bins (channels, bins) of their channels."""
    bins = histogram.shape[1]
    slot = np.minimum((values * (bins / top)).astype(int), bins - 1)
    counts = np.bincount(channel * bins + slot, minlength=histogram.size)
    histogram += counts.reshape(histogram.shape)


def _cutoffs(cutoff: float | Mapping[Pair, float], species: np.ndarray) -> np.ndarray:
    """Return the cutoff of each pair of species (s, s); zero for pairs that are left out."""
    if isinstance(cutoff, int | float):
        return np.full((len(species), len(species)), float(cutoff))
    limits = {tuple(sorted(pair)): limit for pair, limit in cutoff.items()}
    return np.array([[limits.get((min(a, b), max(a, b)), 0.0) for b in species] for a in species])


def _check_frames(frames: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(frames, dtype=np.float64)
    z = np.asarray(numbers)
    if x.ndim != 3 or x.shape[2] != 3 or len(x) == 0 or x.shape[1] != len(z):
        raise DataError(f"Frames must have shape (t, {len(z)}, 3) with t > 0, found {x.shape}.")
    if not np.isfinite(x).all():
        raise DataError(
            f"Frame {int(np.argwhere(~np.isfinite(x))[0, 0])} holds positions that are not finite."
        )
    return x, z


def _check_bins(ours: np.ndarray, theirs: np.ndarray, name: str) -> None:
    if len(ours) != len(theirs) or not np.allclose(ours, theirs):
        raise DataError(
            f"The two {name} have different bins: compute both with the same range and number."
        )

"""When a run has failed, why, and what the last frames looked like; survival of many runs.

The limits are those that the literature on learned potentials uses side by side: not finite, three
times the target temperature, a pair closer than 0.6 covalent distances, a potential energy six
standard deviations from the reference ensemble, and a radial distribution too far from the
reference over a window of time (the last after Fu et al., TMLR 2023, arXiv 2210.07237). They are
told apart because they mean different things.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnnip.errors import ConfigError, DataError, GnnipError
from gnnip.md.observables import RadialDistribution
from gnnip.md.structures import Structure, neighbour_vectors

#: reasons, the most telling first: when several hold in one step, the first is the failure's reason
REASONS = (
    "non-finite",
    "min-distance",
    "displacement",
    "temperature",
    "energy",
    "rdf",
    "evaluation",
)
#: what becomes of replicas, told apart by `Failure.kind`
KINDS = ("collapse", "explosion", "melting", "non-finite", "refused")
#: a closest pair below this part of the sum of its covalent radii is a collapse, whatever
#: criterion noticed first: bonds of healthy runs at thousands of kelvin stay above 0.8
COLLAPSED = 0.75


@dataclass(frozen=True)
class RdfCriterion:
    """Fail when the RDF of any pair of species over one window is too far from the reference."""

    reference: RadialDistribution
    threshold: float  #: Angstrom, integral of |g - g_ref| over r
    window_fs: float = 1000.0
    sample_fs: float = 10.0

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers that are not positive and a window below one sample."""
        if not (self.threshold > 0 and 0 < self.sample_fs <= self.window_fs):
            raise ConfigError(
                "An RDF criterion needs threshold > 0 and 0 < sample_fs <= window_fs, found "
                f"{self.threshold}, {self.sample_fs}, {self.window_fs}."
            )


@dataclass(frozen=True)
class Criteria:
    """Limits of a healthy run; None switches one off."""

    #: kinetic temperature over target (targets of 0 K are not judged)
    temperature_factor: float | None = 3.0
    distance_factor: float | None = 0.6  #: distance over the sum of the covalent radii
    energy_sigma: float | None = 6.0  #: standard deviations of the reference ensemble
    #: potential energy in eV, (mean, standard deviation) of the reference, one for all or one per
    #: replica; without it the energy is not judged
    energy_reference: tuple[float, float] | Sequence[tuple[float, float]] | None = None
    rdf: RdfCriterion | None = None
    displacement: float | None = 1.0  #: Angstrom in one step
    equilibration_fs: float = 0.0  #: energy and RDF are judged after this time only

    def __post_init__(self) -> None:
        """Raise ConfigError for limits that are not greater than zero."""
        for name in ("temperature_factor", "distance_factor", "energy_sigma", "displacement"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be greater than zero or None, found {value!r}.")

    def energy_range(self, identifier: int) -> tuple[float, float]:
        """Return the allowed potential energies of one replica, eV."""
        if self.energy_sigma is None or self.energy_reference is None:
            return -math.inf, math.inf
        references: Any = self.energy_reference
        if not isinstance(references[0], int | float):
            if identifier >= len(references):
                raise ConfigError(
                    f"energy_reference has {len(references)} entries, none for replica "
                    f"{identifier}: give one each."
                )
            references = references[identifier]
        mean, sigma = references
        return mean - self.energy_sigma * sigma, mean + self.energy_sigma * sigma


@dataclass(frozen=True)
class Frame:
    """One configuration of one replica."""

    step: int
    positions: np.ndarray  #: (n, 3) Angstrom
    velocities: np.ndarray  #: (n, 3) Angstrom/fs
    potential_energy: float  #: eV; NaN if it was not evaluated
    temperature: float  #: K, kinetic


@dataclass(frozen=True)
class Failure:
    """Autopsy of one failed replica."""

    replica: int
    seed: int
    target_temperature: float  #: K
    step: int
    time_fs: float
    reason: str  #: one of REASONS
    reasons: tuple[str, ...]  #: all that held in that step
    detail: str
    pair: tuple[int, int] | None  #: atoms closest in units of the sum of their covalent radii
    pair_numbers: tuple[int, int] | None
    pair_distance: float  #: Angstrom
    pair_ratio: float  #: distance over the sum of the covalent radii
    last_good: Frame | None  #: None when the start itself was bad
    first_bad: Frame
    atomic_numbers: np.ndarray
    cell: np.ndarray | None
    pbc: np.ndarray | None

    @property
    def kind(self) -> str:
        """One of KINDS.

        collapse: a pair is closer than the criterion of distances or than COLLAPSED allows;
        explosion: too hot, too fast or too far from the usual energies without such a pair;
        melting: another structure at healthy distances; non-finite; refused: by the potential.
        """
        if self.reason == "non-finite":
            return "non-finite"
        if "min-distance" in self.reasons or self.pair_ratio < COLLAPSED:
            return "collapse"
        return {"rdf": "melting", "evaluation": "refused"}.get(self.reason, "explosion")

    def __str__(self) -> str:
        """Return one line for a log."""
        text = (
            f"replica {self.replica} failed at {self.time_fs:g} fs ({self.reason}): {self.detail}"
        )
        if self.pair is not None and self.pair_numbers is not None:
            i, j = self.pair
            kinds = f"Z {self.pair_numbers[0]}-{self.pair_numbers[1]}"
            text += f"; closest pair {i}-{j} ({kinds}), {self.pair_distance:.3f} A"
        return text


class EnvironmentLibrary:
    """Atomic environments of a training set, to say how far a structure is from all of them.

    An environment is described by the density of neighbours of each species in Gaussian shells,
    sum_j exp(-(r_ij - mu_k)^2 / 2 sigma^2) (1 + cos(pi r_ij / r_c)) / 2, and compared with those
    of atoms of the same element by Euclidean distance. Distances are given in units of the 99 %
    quantile of what training atoms have to their own nearest environment in another frame: above 1
    is outside the training set.
    """

    def __init__(
        self, cutoff: float = 5.0, n_shells: int = 12, max_environments: int = 5000
    ) -> None:
        """Take the radius in Angstrom, the shells, and the most environments of an element."""
        self.cutoff = cutoff
        self.centres = np.linspace(0.5, cutoff, n_shells)
        self.width = float(self.centres[1] - self.centres[0])
        self.max_environments = max_environments
        self._species: list[int] = []
        self._known: dict[int, np.ndarray] = {}
        self._unit: dict[int, float] = {}

    def fit(self, structures: Sequence[Structure]) -> EnvironmentLibrary:
        """Learn from at least two structures; return self."""
        if len(structures) < 2:
            raise DataError("An environment library needs at least two frames.")
        self._species = sorted({int(z) for _, numbers, _, _ in structures for z in numbers})
        described = [self.describe(structure) for structure in structures]
        for z in self._species:
            rows = [
                d[np.asarray(numbers) == z]
                for d, (_, numbers, _, _) in zip(described, structures, strict=True)
            ]
            origin = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
            known = np.concatenate(rows)
            keep = _evenly(len(known), self.max_environments)
            known, origin = known[keep], origin[keep]
            sample = _evenly(len(known), 200)
            gaps = np.linalg.norm(known[sample, None, :] - known[None, :, :], axis=2)
            gaps[origin[sample, None] == origin[None, :]] = np.inf
            nearest = gaps.min(axis=1)
            nearest = nearest[np.isfinite(nearest)]
            self._known[z] = known
            # a set of identical environments has no width of its own: a thousandth of the
            # descriptor's length stands in
            floor = 1e-3 * float(np.linalg.norm(known, axis=1).mean()) + 1e-12
            self._unit[z] = max(float(np.quantile(nearest, 0.99)) if len(nearest) else 0.0, floor)
        return self

    def describe(self, structure: Structure) -> np.ndarray:
        """Return the descriptor of each atom (n, species x shells)."""
        positions, numbers, _, _ = structure
        index, _, r = neighbour_vectors(structure, self.cutoff)
        shells = np.exp(-((r[:, None] - self.centres) ** 2) / (2.0 * self.width**2))
        shells *= (0.5 + 0.5 * np.cos(np.pi * r / self.cutoff))[:, None]
        result = np.zeros((len(positions), len(self._species), len(self.centres)))
        neighbours = np.asarray(numbers)[index[0]]
        for k, z in enumerate(self._species):
            chosen = neighbours == z
            np.add.at(result[:, k, :], index[1][chosen], shells[chosen])
        return result.reshape(len(positions), -1)

    def distances(self, structure: Structure) -> np.ndarray:
        """Return for each atom (n,) the distance to the nearest training environment, in units of
        the training set's own; infinite for elements that the training set lacks.
        """
        described, numbers = self.describe(structure), np.asarray(structure[1])
        result = np.full(len(described), np.inf)
        for atom, z in enumerate(numbers.tolist()):
            if z in self._known:
                gaps = np.linalg.norm(self._known[z] - described[atom], axis=1)
                result[atom] = gaps.min() / self._unit[z]
        return result

    def strangest(
        self, structure: Structure, atoms: Sequence[int] | None = None
    ) -> tuple[float, int]:
        """Return distance and number of the atom, of all or of `atoms`, that is furthest from the
        training environments; NaN for a structure whose neighbours are not defined.
        """
        count = len(structure[1])
        try:
            distances = self.distances(structure)
        except GnnipError:
            distances = np.full(count, np.nan)
        atom = max(range(count) if atoms is None else atoms, key=lambda a: distances[a])
        return float(distances[atom]), int(atom)


def _evenly(length: int, most: int) -> np.ndarray:
    """Return at most so many of the numbers below `length`, evenly spread."""
    return np.linspace(0, length - 1, min(length, most)).astype(int)


@dataclass(frozen=True)
class SurvivalCurve:
    """Kaplan-Meier estimate: step function of time with a confidence band."""

    time_fs: np.ndarray  #: (m,) 0, then the times of failures, then the end of observation
    survival: np.ndarray  #: (m,) probability of being alive just after each time
    lower: np.ndarray
    upper: np.ndarray
    at_risk: np.ndarray  #: (m,) runs under observation just before each time


def survival_curve(
    times_fs: Sequence[float],
    failed: Sequence[bool],
    *,
    interval: str = "wilson",
    z: float = 1.959964,
) -> SurvivalCurve:
    """Kaplan-Meier estimate S(t) = prod (1 - d_k / n_k) of runs that failed at, or were observed
    until, `times_fs`.

    `interval` "greenwood": S +- z s with Greenwood's variance s^2 = S^2 sum d / (n (n - d)),
    clipped to [0, 1]. "wilson": Wilson's score interval with the effective number S (1 - S) / s^2
    of runs (Rothman 1978), the number at risk where S is 1 or 0; it is not empty when no run, or
    every run, failed. Raises DataError without runs or for times that are negative or not finite.
    """
    times = np.asarray(times_fs, dtype=np.float64)
    dead = np.asarray(failed, dtype=bool)
    if len(times) == 0 or times.shape != dead.shape:
        raise DataError("A survival curve needs at least one run and one flag per run.")
    if not (np.isfinite(times).all() and (times >= 0).all()):
        raise DataError("Times of a survival curve must be finite and not negative (fs).")
    if interval not in ("wilson", "greenwood"):
        raise ConfigError(f"interval must be 'wilson' or 'greenwood', found {interval!r}.")
    grid = np.unique(np.concatenate([[0.0], times[dead], [times.max()]]))
    at_risk = np.array([(times >= t).sum() for t in grid])
    deaths = np.array([(dead & (times == t)).sum() for t in grid])
    survival = np.cumprod(1.0 - deaths / at_risk)
    # where all that are left fail at once S is zero and stays so: the variance has no term from it
    terms = np.where(at_risk > deaths, deaths / (at_risk * np.maximum(at_risk - deaths, 1)), 0.0)
    variance = survival**2 * np.cumsum(terms)
    if interval == "greenwood":
        spread = z * np.sqrt(variance)
        lower, upper = survival - spread, survival + spread
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            effective = survival * (1.0 - survival) / variance
        effective = np.where(np.isfinite(effective) & (effective > 0), effective, at_risk)
        # the number of runs that a proportion is measured on cannot fall below those still
        # watched, nor exceed all
        effective = np.clip(effective, 1.0, len(times))
        centre = (survival + z**2 / (2 * effective)) / (1 + z**2 / effective)
        half = (
            z
            / (1 + z**2 / effective)
            * np.sqrt(survival * (1 - survival) / effective + z**2 / (4 * effective**2))
        )
        lower, upper = centre - half, centre + half
    return SurvivalCurve(grid, survival, np.clip(lower, 0, 1), np.clip(upper, 0, 1), at_risk)

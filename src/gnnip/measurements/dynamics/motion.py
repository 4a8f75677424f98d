"""How replicas are moved and when one counts as failed. Importing this needs no torch.

A replica is a start (a frame of the data set) run with a seed of its own; every start is run
`repeats` times. Potentials share starts, not seeds: their trajectories are independent samples, and
the reference's first repeats against its last ones are the noise floor of every comparison.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gnnip.errors import ConfigError, DataError
from gnnip.measurements.selection import frames_with, spread_evenly
from gnnip.models.hyperparameters import read_options, refuse_too_large, require

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.md import Criteria, State, Structure, Trajectory
    from gnnip.md.integrators import Integrator

#: name of the reference among the potentials
REFERENCE = "reference"
#: of the tables that measurements of dynamics write
COLUMNS = ("potential", "record", "name", "replica", "x", "value", "text")


@dataclass(frozen=True)
class Limits:
    """When a replica counts as failed; null switches a limit off.

    temperature_factor : kinetic temperature over the thermostat's.
    distance_factor : distance of two atoms over the sum of their covalent radii.
    displacement : Angstrom that an atom may move in one step.
    energy_sigma : standard deviations of the potential energy (the sum of the data set's terms) of
        the frames that the starts are selected from, about their mean; only frames with the
        composition of the start count. Off unless stated.
    rdf_threshold : Angstrom, integral of |g - g_ref| over the distance for any pair of elements, g
        over a window of time, g_ref over the frames that the starts are selected from. Off unless
        stated.
    rdf_window, rdf_sample : fs; length of a window and time between two samples in it.
    rdf_range, rdf_bins : Angstrom and bins of g.
    equilibration : fs, before which energies and radial distributions are not judged.
    """

    temperature_factor: float | None = 3.0
    distance_factor: float | None = 0.6
    displacement: float | None = 1.0
    energy_sigma: float | None = None
    rdf_threshold: float | None = None
    rdf_window: float = 1000.0
    rdf_sample: float = 10.0
    rdf_range: float = 6.0
    rdf_bins: int = 60
    equilibration: float = 0.0

    def criteria(
        self, arrays: FrameArrays, starts: np.ndarray, selected: np.ndarray, copies: int = 1
    ) -> Criteria:
        """Return the criteria of `gnnip.md` for replicas that start from the frames `starts`, each
        repeated to that many `copies`, whose energies are independent of each other.

        Raises DataError when fewer than two of the `selected` frames have a start's composition.
        """
        from gnnip.md import Criteria, RdfCriterion, mean_radial_distribution

        energies = rdf = None
        if self.energy_sigma is not None:
            total = np.sum([arrays.energies[term] for term in arrays.terms], axis=0)
            one = [_mean_and_spread(total[_alike(arrays, f, selected)], f) for f in starts]
            energies = [(copies * mean, copies**0.5 * spread) for mean, spread in one]
        if self.rdf_threshold is not None:
            structures = [arrays.structure(f) for f in spread_evenly(selected, 200)]
            g = mean_radial_distribution(structures, r_max=self.rdf_range, bins=self.rdf_bins)
            rdf = RdfCriterion(g, self.rdf_threshold, self.rdf_window, self.rdf_sample)
        return Criteria(
            temperature_factor=self.temperature_factor,
            distance_factor=self.distance_factor,
            energy_sigma=self.energy_sigma,
            energy_reference=energies,
            displacement=self.displacement,
            rdf=rdf,
            equilibration_fs=self.equilibration,
        )


def _alike(arrays: FrameArrays, frame: int, selected: np.ndarray) -> np.ndarray:
    """Return those of the `selected` frames that have the elements of `frame`."""
    elements = [np.sort(arrays.structure(int(f))[1]) for f in (frame, *selected)]
    return selected[[np.array_equal(own, elements[0]) for own in elements[1:]]]


def _mean_and_spread(energies: np.ndarray, frame: int) -> tuple[float, float]:
    spread = float(np.std(energies, ddof=1)) if len(energies) > 1 else 0.0
    if not spread > 0:
        raise DataError(
            f"The energies of the frames like frame {frame} have no spread: select more frames, or "
            "leave energy_sigma out."
        )
    return float(np.mean(energies)), spread


def repeated(structure: Structure, times: Sequence[int]) -> Structure:
    """Return a periodic structure repeated `times` (3) along its cell vectors, copy by copy."""
    positions, numbers, cell, pbc = structure
    if tuple(times) == (1, 1, 1):
        return structure
    if cell is None or pbc is None or not np.all(np.asarray(pbc) | (np.asarray(times) == 1)):
        raise ConfigError(
            f"The start is not periodic along every direction that supercell = {list(times)} "
            "repeats; leave supercell out."
        )
    shifts = np.array(list(product(*(range(n) for n in times)))) @ cell
    copies = (shifts[:, None, :] + positions[None]).reshape(-1, 3)
    return copies, np.tile(numbers, len(shifts)), cell * np.array(times)[:, None], pbc


@dataclass(frozen=True)
class Motion:
    """How replicas are moved.

    temperature : K, of the thermostat and of the velocities at the start.
    select : values of metadata columns that a start must have, e.g. {n_molecules: 32}.
    starts, repeats : frames to start from, drawn evenly from those selected, and replicas of each.
    supercell : times that a start is repeated along its three cell vectors; the copies get
        velocities of their own.
    duration, time_step : fs.
    thermostat : "csvr", "langevin" or "none" (constant energy).
    relaxation : fs; of Langevin dynamics the inverse friction.
    record_every, frame_every : fs between rows of the time series and between frames.
    seed : of velocities and thermostat, with the potential's name and the replica's number.
    criteria : when a replica counts as failed, fields of `Limits`.
    """

    temperature: float
    select: dict[str, Any] = field(default_factory=dict)
    starts: int = 2
    repeats: int = 2
    supercell: tuple[int, ...] = (1, 1, 1)
    duration: float = 1000.0
    time_step: float = 0.5
    thermostat: Literal["csvr", "langevin", "none"] = "csvr"
    relaxation: float = 100.0
    record_every: float = 2.0
    frame_every: float = 2.0
    seed: int = 1
    criteria: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers out of range."""
        for name in ("starts", "repeats"):
            require(getattr(self, name) >= 1, f"Motion: {name} must be at least 1.")
        refuse_too_large({"starts x repeats": self.starts * self.repeats}, "Motion")
        require(
            len(self.supercell) == 3 and min(self.supercell) >= 1,
            f"Motion: supercell is {list(self.supercell)}; give three numbers, at least 1 each.",
        )
        for name in ("duration", "time_step", "relaxation", "record_every", "frame_every"):
            require(getattr(self, name) > 0, f"Motion: {name} must be greater than zero (fs).")
        require(self.temperature >= 0, "Motion: temperature must not be negative (K).")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Motion:
        """Build from plain values; ConfigError names an unknown key and the nearest valid one."""
        return read_options(cls, values, "Motion")

    def steps(self, interval: float) -> int:
        """Return how many steps an interval (fs) is, at least one."""
        return max(1, round(interval / self.time_step))

    def half(self, replica: int) -> int | None:
        """Return 0 for the first repeats of every start, 1 for the last, None for the one between
        where their number is odd: the halves of the reference give the noise floor.
        """
        rank = replica % self.repeats
        if rank < self.repeats // 2:
            return 0
        return 1 if rank >= (self.repeats + 1) // 2 else None

    def halves(self, runs: Sequence[tuple[Trajectory, Any]]) -> list[list[tuple[Trajectory, Any]]]:
        """Return the first and the last repeats of every start, each with its values along the path
        or, where each start was run once, all replicas with their early and with their late ones.
        """
        if self.repeats > 1:
            return [[(t, own) for t, own in runs if self.half(t.replica) == k] for k in (0, 1)]
        early = [(t, own[: len(own) // 2]) for t, own in runs]
        return [early, [(t, own[len(own) // 2 :]) for t, own in runs]]

    def frames(self, arrays: FrameArrays) -> np.ndarray:
        """Return the frames to start from; DataError when too few are there."""
        chosen = frames_with(arrays, self.select)
        if len(chosen) < self.starts:
            raise DataError(
                f"Only {len(chosen)} frames of the data set have {self.select}, {self.starts} are "
                "needed to start from."
            )
        return spread_evenly(chosen, self.starts)

    def limits(self, arrays: FrameArrays) -> Criteria:
        """Return the criteria of the replicas, in their order."""
        starts = np.repeat(self.frames(arrays), self.repeats)
        selected, copies = frames_with(arrays, self.select), math.prod(self.supercell)
        return self.criteria.criteria(arrays, starts, selected, copies)

    def state(self, arrays: FrameArrays, name: str, device: str = "cpu") -> State:
        """Return the replicas of the potential `name` at their start, start by start."""
        from gnnip.md import make_state

        frames = np.repeat(self.frames(arrays), self.repeats)
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        first = int.from_bytes(digest[:6], "big")
        starts = [repeated(arrays.structure(f), self.supercell) for f in frames]
        positions, numbers, cells, pbc = (list(parts) for parts in zip(*starts, strict=True))
        periodic = all(cell is not None for cell in cells)
        return make_state(
            positions,
            numbers,
            temperature=self.temperature,
            seeds=[first + replica for replica in range(len(frames))],
            cells=cells if periodic else None,
            pbc=pbc if periodic else None,
            device=device,
        )

    def integrator(self) -> Integrator:
        """Return what moves the atoms by one time step."""
        from gnnip import md

        if self.thermostat == "csvr":
            return md.CSVR(self.time_step, self.relaxation)
        if self.thermostat == "langevin":
            return md.Langevin(self.time_step, 1.0 / self.relaxation)
        return md.VelocityVerlet(self.time_step)


def motion_of_reference(
    motion: Mapping[str, Any], own: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the motion of the reference: that of the potentials but for what is its own."""
    return {**motion, **(own or {})}

"""What is measured on the trajectories of a step. Importing this needs neither torch nor pandas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gnnip.models.hyperparameters import read_options, require

_CUTOFF = "Comparison: adf_cutoff must be greater than zero (Angstrom), for all or by pair."


def elements_in(text: str, count: int, option: str, example: str) -> list[int]:
    """Return the atomic numbers of `count` elements joined by hyphens; ConfigError for a text that
    is no such thing, with an `example` of what the `option` takes.
    """
    from ase.data import atomic_numbers

    symbols = text.split("-")
    known = len(symbols) == count and all(s in atomic_numbers for s in symbols)
    require(known, f"Comparison: {option} has '{text}', elements such as {example} are expected.")
    return [int(atomic_numbers[s]) for s in symbols]


@dataclass(frozen=True)
class Comparison:
    """What is measured on the trajectories.

    discard : fs at the start that no average is made of.
    r_max, bins : Angstrom and bins of the radial distributions.
    adf_cutoff : Angstrom, up to which two atoms are neighbours in the angular distributions; one
        for all, or one by pair of elements, {Ge-Se: 3.0}, where other pairs are no neighbours.
        Without it there are no angles.
    adf_triplets, adf_bins : end-centre-end, e.g. [Se-Ge-Se], all that occur when empty; and bins.
    max_frames : most frames of a replica that go into a radial or angular distribution.
    environment_frames : frames of the data set, drawn evenly, whose environments and shortest
        distances the failures are held against; 0 for none.
    window : fs, over which means are taken to tell whether a replica has left the reference. One
        has failed by its energy when a mean is further from the reference's than `energy_sigma`
        standard deviations of such means of the reference and than `energy_floor` (meV/atom), and
        by its structure when a radial distribution of any pair is further from the reference's than
        `structure_factor` times what the reference's own windows show (integral of |g - g_ref|).
    ensemble : columns of the data set, e.g. [phase], whose values at the start tell replicas apart
        that have different energies and structures in equilibrium; each is compared with the
        reference's of its own kind.
    snapshots : keep the last structure of the first replica of each potential that lived, and the
        first bad one of the first that failed.
    relabel : frames of each replica that the reference computes again; 0 for none.
    observables : values of the reference's `results` to keep of those frames, and their names.
    timed_steps, timing_repeats : steps of each potential in each turn of the clock, and turns;
        0 steps for no timing.
    time_reference : whether the reference is timed beside them, for which it must be installed.
    """

    discard: float = 100.0
    r_max: float = 8.0
    bins: int = 160
    adf_cutoff: dict[str, float] | float | None = None
    adf_triplets: tuple[str, ...] = ()
    adf_bins: int = 90
    max_frames: int = 200
    environment_frames: int = 200
    window: float = 500.0
    energy_sigma: float = 6.0
    energy_floor: float = 20.0
    structure_factor: float = 2.0
    ensemble: tuple[str, ...] = ()
    snapshots: bool = False
    relabel: int = 0
    observables: dict[str, str] = field(default_factory=dict)
    timed_steps: int = 10
    timing_repeats: int = 5
    time_reference: bool = True

    def __post_init__(self) -> None:
        """Raise ConfigError for wrong pairs, triplets, cutoffs and limits of drifts."""
        for name in ("window", "energy_sigma", "energy_floor", "structure_factor"):
            require(getattr(self, name) > 0, f"Comparison: {name} must be greater than zero.")
        for triplet in self.adf_triplets:
            elements_in(triplet, 3, "adf_triplets", "Se-Ge-Se")
        self.angle_cutoff()

    def angle_cutoff(self) -> float | dict[tuple[int, int], float] | None:
        """Return the cutoff of angles as `gnnip.md.angular_distribution` takes it."""
        if self.adf_cutoff is None or isinstance(self.adf_cutoff, float):
            require(self.adf_cutoff is None or self.adf_cutoff > 0, _CUTOFF)
            return self.adf_cutoff
        limits = {}
        for pair, cutoff in self.adf_cutoff.items():
            first, last = sorted(elements_in(pair, 2, "adf_cutoff", "Ge-Se"))
            require(isinstance(cutoff, int | float) and cutoff > 0, _CUTOFF)
            limits[first, last] = float(cutoff)
        require(bool(limits), _CUTOFF)
        return limits

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Comparison:
        """Build from plain values; ConfigError names an unknown key and the nearest valid one."""
        return read_options(cls, values, "Comparison")

"""The toy structures of kang2024: two unit charges in a random medium of half charges.

A box of width x width x (2 margin + d) Angstrom holds +1e at (width/2, width/2, margin) and -1e a
distance d above it, and as many particles of +0.5e as of -0.5e at random places, no two particles
closer than `minimum_distance`. That is configuration I; configuration II is the same medium without
the -1e. There are no images: the box only bounds the places.

The four charges are told apart by four element labels. Every structure has a random stream of its
own, named by (seed, d, purpose, draw), so that it does not depend on what else is drawn, and a
diluted medium is a part of the full one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from gnnip.errors import ConfigError, StructureError
from gnnip.reference import coulomb
from gnnip.sampling.frames import Frame
from gnnip.sampling.plans import check_plan

#: atomic number of the label -> charge (e); the elements stand for nothing but their charge
CHARGES: dict[int, float] = {11: 1.0, 17: -1.0, 3: 0.5, 9: -0.5}
POSITIVE, NEGATIVE, HALF_POSITIVE, HALF_NEGATIVE = CHARGES

TITLE = "Point charges: two unit charges in a random medium of half charges"
TERM = "coulomb"
UNITS = {
    "positions": "Angstrom",
    "energies": "eV",
    "forces": "eV/Angstrom",
    "distance_a": "Angstrom",
}
#: eV; two sums in double precision over some hundred pairs differ by less
LABEL_ACCURACY_EV = 1e-8
PURPOSES = ("train", "test")
CONFIGURATIONS = ("I", "II")
#: so many places refused in a row: the medium is jammed (at the published density about one place
#: in five is free for the last particle)
PATIENCE = 200_000
_BLOCK = 2048


@dataclass(frozen=True)
class Plan:
    """What is drawn; the defaults are the published structures.

    distances : d, Angstrom.  train_draws, test_draws : media per distance, each of which gives one
    structure of either type.  kept_fractions : share of the half charges that stays.  width, margin
    : of the box, Angstrom.  density : particles of each sign per cubic Angstrom (0.05 makes
    120 + 5 d in the published box).  minimum_distance : Angstrom.
    """

    distances: tuple[float, ...] = (4, 5, 6, 7, 8, 9, 10, 11, 12)
    train_draws: int = 200
    test_draws: int = 100
    kept_fractions: tuple[float, ...] = (1.0,)
    width: float = 10.0
    margin: float = 12.0
    density: float = 0.05
    minimum_distance: float = 1.5
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers that describe no structure."""
        check_plan(self, "width", "margin", "minimum_distance", not_negative=("density",))
        if not self.distances or min(self.distances) < self.minimum_distance:
            raise ConfigError(
                f"Point charges: distances are {list(self.distances)}; at least one is needed and "
                f"none may be below the minimum distance of {self.minimum_distance} Å."
            )
        if not self.kept_fractions or not all(0 <= f <= 1 for f in self.kept_fractions):
            raise ConfigError(
                f"Point charges: kept_fractions are {list(self.kept_fractions)}; give shares from "
                "0 to 1."
            )
        if min(self.train_draws, self.test_draws) < 0 or self.train_draws + self.test_draws < 1:
            raise ConfigError("Point charges: train_draws and test_draws ask for no structure.")

    def pairs(self, distance: float, kept_fraction: float = 1.0) -> int:
        """Return the number of half charges of either sign: 120 + 5 d as published."""
        full = self.density * self.width**2 * (2 * self.margin + distance)
        return round(kept_fraction * round(full))


def random_charges(
    plan: Plan, distance: float, purpose: str, draw: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return positions (n, 3) in Angstrom and atomic numbers (n,) of configuration I.

    The order is +1e, -1e, then +0.5e and -0.5e in turn as they were inserted: the first 2 m half
    charges are a random medium of m pairs. Positions are single-precision numbers, as they will be
    stored.

    Raises StructureError when the medium is too dense to be filled one by one at random.
    """
    rng = np.random.default_rng(
        [plan.seed, round(1000 * distance), PURPOSES.index(purpose), int(draw)]
    )
    box = np.array([plan.width, plan.width, 2 * plan.margin + distance])
    middle = 0.5 * plan.width
    fixed = np.array([[middle, middle, plan.margin], [middle, middle, plan.margin + distance]])
    n_pairs = plan.pairs(distance)
    positions = insert_at_random(fixed, box, 2 * n_pairs, plan.minimum_distance, rng)
    numbers = np.array([POSITIVE, NEGATIVE] + [HALF_POSITIVE, HALF_NEGATIVE] * n_pairs)
    return positions, numbers


def insert_at_random(
    fixed: NDArray[np.float64],
    box: NDArray[np.float64],
    count: int,
    minimum_distance: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return `fixed` (m, 3) and `count` more points in [0, box), no two closer than the minimum.

    Random sequential insertion: uniform places are taken one after the other and refused when a
    particle is too near. A grid whose cells hold at most one particle finds it in constant time.

    Raises StructureError when fixed points are too close to one another or outside the box, and
    when 200,000 places in a row were refused.
    """
    points = np.empty((len(fixed) + count, 3))
    side = minimum_distance / np.sqrt(3.0)
    shape = np.floor(box / side).astype(np.int64) + 1
    grid = np.full(shape, -1, dtype=np.int64)
    start = _as_stored(fixed)
    if (start < 0).any() or (start > box).any():
        raise StructureError("A fixed charge lies outside the box; widen the box.")
    n, _ = _insert(points, 0, start, grid, side, minimum_distance)
    if n < len(fixed):
        raise StructureError(
            f"Fixed charges are closer than the minimum distance of {minimum_distance} Å; move "
            "them apart."
        )
    refused = 0
    while n < len(points):
        placed, since = _insert(
            points, n, _as_stored(box * rng.random((_BLOCK, 3))), grid, side, minimum_distance
        )
        refused = refused + since if placed == n else since
        n = placed
        if refused >= PATIENCE and n < len(points):
            share = len(points) * np.pi / 6 * minimum_distance**3 / np.prod(box)
            raise StructureError(
                f"Only {n} of {len(points)} particles fit at random into the box "
                f"{box[0]:g} x {box[1]:g} x {box[2]:g} Å with a minimum distance of "
                f"{minimum_distance:g} Å (they would fill {100 * share:.0f} %, random insertion "
                "jams at 38 %); lower the density or the minimum distance."
            )
    return points


def _as_stored(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points.astype(np.float32).astype(np.float64)


@numba.njit(cache=True)
def _insert(
    points: NDArray[np.float64],
    n: int,
    candidates: NDArray[np.float64],
    grid: NDArray[np.int64],
    side: float,
    minimum: float,
) -> tuple[int, int]:
    """Put those `candidates` that fit behind the first `n` points; return the new number of points
    and how many were refused since the last that fitted."""
    refused = 0
    for c in range(len(candidates)):
        if n == len(points):
            break
        x, y, z = candidates[c]
        i, j, k = int(x / side), int(y / side), int(z / side)
        free = True
        for a in range(max(i - 2, 0), min(i + 3, grid.shape[0])):
            for b in range(max(j - 2, 0), min(j + 3, grid.shape[1])):
                for e in range(max(k - 2, 0), min(k + 3, grid.shape[2])):
                    other = grid[a, b, e]
                    if other >= 0:
                        dx = points[other, 0] - x
                        dy = points[other, 1] - y
                        dz = points[other, 2] - z
                        if dx * dx + dy * dy + dz * dz < minimum * minimum:
                            free = False
        if free:
            points[n] = candidates[c]
            grid[i, j, k] = n
            n += 1
            refused = 0
        else:
            refused += 1
    return n, refused


def dilute(
    positions: NDArray[np.float64], numbers: NDArray[np.int64], pairs: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return configuration I with the first `pairs` pairs of half charges only."""
    keep = slice(0, 2 + 2 * pairs)
    return positions[keep], numbers[keep]


def remove_negative(
    positions: NDArray[np.float64], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return configuration II: the same particles without the -1e."""
    keep = numbers != NEGATIVE
    return positions[keep], numbers[keep]


def charges_of(numbers: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return the charges (n,) of atomic numbers (n,); StructureError for any other element."""
    values = np.array([CHARGES.get(int(z), np.nan) for z in numbers])
    if np.isnan(values).any():
        stranger = int(numbers[int(np.argmax(np.isnan(values)))])
        raise StructureError(
            f"The atomic number {stranger} stands for no charge; the labels are {list(CHARGES)}."
        )
    return values


def structures(plan: Plan) -> Iterator[Frame]:
    """Yield all that is drawn, without cells.

    Columns: distance_a, configuration (I or II), purpose (train or test), draw, kept_fraction and
    medium, a name shared by the structures whose half charges come from one draw.
    """
    for purpose, count in zip(PURPOSES, (plan.train_draws, plan.test_draws), strict=True):
        for distance in plan.distances:
            for draw in range(count):
                full = random_charges(plan, distance, purpose, draw)
                for kept in plan.kept_fractions:
                    one = dilute(*full, plan.pairs(distance, kept))
                    for configuration in CONFIGURATIONS:
                        chosen = one if configuration == "I" else remove_negative(*one)
                        yield Frame(
                            chosen[1],
                            chosen[0],
                            None,
                            {
                                "distance_a": float(distance),
                                "configuration": configuration,
                                "purpose": purpose,
                                "draw": draw,
                                "kept_fraction": float(kept),
                                "medium": f"d{distance:g}-{purpose}-{draw}",
                            },
                        )


def label(
    positions: NDArray[np.float64], numbers: NDArray[np.integer[Any]]
) -> dict[str, float | NDArray[np.float64]]:
    """Return energy_coulomb (eV) and forces_coulomb (n, 3) (eV/Angstrom) of labelled charges."""
    energy, forces = coulomb.energy_and_forces(positions, charges_of(numbers))
    return {f"energy_{TERM}": energy, f"forces_{TERM}": forces}


def label_again(
    positions: NDArray[np.float64], numbers: NDArray[np.integer[Any]]
) -> dict[str, float | NDArray[np.float64]]:
    """Return what `label` returns, by an independent sum in extended precision."""
    energy, forces = coulomb.direct_sum(positions, charges_of(numbers))
    return {f"energy_{TERM}": energy, f"forces_{TERM}": forces}

"""Pair terms and charge equilibration of a periodic structure: an energy with charge transfer.

Charges q are Gaussians of a width per element. They minimise

    Q(q) = sum_i chi_i q_i + 1/2 sum_i J_i q_i^2 + 1/2 sum_ij A_ij q_i q_j,    sum_i q_i = 0,

where A is the Coulomb interaction of the Gaussians with all images and with themselves, J a
hardness per element, and chi_i = chi_Z + sum_j f_ZZ'(r_ij) an electronegativity that knows the
neighbours.
The energy is

    E = sum_i e_Z + sum_i<j u_ZZ'(r_ij) + sum_i (phi_Z + sum_j g_ZZ'(r_ij)) q_i
        + 1/2 sum_i K_Z q_i^2 + 1/2 sum_ij A_ij q_i q_j.

u, f and g are short-ranged: beyond the cutoff only the charges carry anything, and they depend on
every atom of the cell. Q is not E, so forces follow the charges: dq/dx enters by one more linear
solution (the adjoint), not by differences. The scheme is that of fourth-generation neural networks
(Ko, Finkler, Goedecker, Behler, Nat. Commun. 12, 398, 2021) with pair functions for the networks.

    A_ij = (4 pi k / V) sum_G exp(-(s_i^2 + s_j^2) G^2 / 2) cos(G (r_i - r_j)) / G^2,    G != 0

converges by itself, because the charges have a width: there is no sum in real space. Boundary
conditions are conducting; three directions are periodic. Units: eV, Angstrom, e.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from gnnip.errors import DataError, StructureError
from gnnip.files import read_yaml, sha256, write_text
from gnnip.units import COULOMB_CONSTANT

Floats = NDArray[np.float64]

#: of the sum over reciprocal vectors: the neglected factor exp(-s^2 G^2) of the narrowest Gaussian
ACCURACY = 1e-10
CLOSEST = 0.5  #: Angstrom; nearer atoms are one atom written twice
_BLOCK = 4096  #: reciprocal vectors at a time


@dataclass(frozen=True)
class Parameters:
    """Numbers of the model for n elements and m radial functions.

    numbers (n,) atomic numbers. Per element (n,): energy e (eV), width s (Angstrom), hardness J
    and stiffness K (eV/e^2), electronegativity chi and potential phi (eV/e). Per ordered pair of
    elements and radial function (n, n, m): pair_energy of u (eV, symmetric),
    pair_electronegativity of f and pair_potential of g (eV/e), both felt by the first element.
    centres (m,), spread and cutoff of the radial functions (Angstrom). made: how it was fitted.
    """

    numbers: NDArray[np.int64]
    energy: Floats
    width: Floats
    hardness: Floats
    electronegativity: Floats
    potential: Floats
    stiffness: Floats
    pair_energy: Floats
    pair_electronegativity: Floats
    pair_potential: Floats
    centres: Floats
    spread: float
    cutoff: float
    made: dict[str, Any] = field(default_factory=dict)

    def species(self, numbers: ArrayLike) -> NDArray[np.int64]:
        """Return the index of each atomic number (n,); StructureError for an unknown element."""
        wanted = np.asarray(numbers, dtype=np.int64)
        unknown = sorted({int(z) for z in wanted} - {int(z) for z in self.numbers})
        if unknown:
            raise StructureError(
                f"The model has no parameters for the atomic number {unknown[0]}; it knows "
                f"{', '.join(str(int(z)) for z in self.numbers)}."
            )
        order = np.argsort(self.numbers)
        return order[np.searchsorted(self.numbers, wanted, sorter=order)]


#: fields of `Parameters` per element and per ordered pair, as the file names them
_ELEMENT = ("energy", "width", "hardness", "electronegativity", "potential", "stiffness")
_PAIR = ("energy", "electronegativity", "potential")
SHIPPED = Path(__file__).with_name("au_mgo.yaml")
#: of that file; part of the code, so that results are made anew when it changes
SHIPPED_SHA256 = "660b8f255577657ba78fae4da19959fe8f8d95c0ffff288e48896430ac79c18f"


def write_parameters(path: str | os.PathLike[str], parameters: Parameters) -> None:
    """Write parameters as YAML; `read_parameters` returns the same numbers to ten digits."""
    from ase.data import chemical_symbols

    names = [chemical_symbols[int(z)] for z in parameters.numbers]

    def short(value: float) -> float:
        return float(f"{value:.10g}")

    content = {
        "made": parameters.made,
        "radial": {
            "centres": [short(c) for c in parameters.centres],
            "spread": parameters.spread,
            "cutoff": parameters.cutoff,
        },
        "elements": {
            name: {key: short(getattr(parameters, key)[i]) for key in _ELEMENT}
            for i, name in enumerate(names)
        },
        "pairs": {
            f"{one}-{two}": {
                key: [short(c) for c in getattr(parameters, f"pair_{key}")[i, j]]
                for key in _PAIR
                if getattr(parameters, f"pair_{key}")[i, j].any()
            }
            for i, one in enumerate(names)
            for j, two in enumerate(names)
        },
    }
    head = (
        "# Parameters of gnnip.reference.charge_equilibration; units eV, Angstrom, e. "
        "The first element of a pair feels the second.\n"
    )
    write_text(path, head + yaml.safe_dump(content, sort_keys=False, width=100))


@cache
def shipped_parameters() -> Parameters:
    """Return the parameters fitted to Au2 on MgO; DataError for any other file in their place."""
    found = sha256(SHIPPED)
    if found != SHIPPED_SHA256:
        raise DataError(
            f"{SHIPPED} has changed (SHA-256 {found}); restore it, or state the new checksum in "
            "SHIPPED_SHA256 to make all that depends on it anew."
        )
    return read_parameters(SHIPPED)


def read_parameters(path: str | os.PathLike[str]) -> Parameters:
    """Return the parameters of a file.

    Raises DataError for a file that is missing, no YAML or not complete.
    """
    from ase.data import atomic_numbers

    try:
        content = read_yaml(path)
        elements, pairs = content["elements"], content["pairs"]
        names, centres = list(elements), content["radial"]["centres"]
        columns: dict[str, Any] = {
            key: np.array([elements[name][key] for name in names], dtype=np.float64)
            for key in _ELEMENT
        }
        for key in _PAIR:
            table = np.zeros((len(names), len(names), len(centres)))
            for i, one in enumerate(names):
                for j, two in enumerate(names):
                    table[i, j] = pairs.get(f"{one}-{two}", {}).get(key, 0.0)
            columns[f"pair_{key}"] = table
        return Parameters(
            numbers=np.array([atomic_numbers[name] for name in names]),
            centres=np.array(centres, dtype=np.float64),
            spread=float(content["radial"]["spread"]),
            cutoff=float(content["radial"]["cutoff"]),
            made=content["made"],
            **columns,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} holds no parameters of the charge equilibration "
            f"({type(error).__name__}: {error}); "
            "write it with python -m gnnip.datasets.fit_charge_equilibration."
        ) from error


def radial_functions(
    distances: Floats, centres: Floats, spread: float, cutoff: float
) -> tuple[Floats, Floats]:
    """Return values and slopes (p, m) of exp(-(r - c)^2 / 2 w^2) (1 - r^2 / R^2)^3 at r (p,).

    The factor makes value, slope and curvature vanish at the cutoff R.
    """
    r = distances[:, None]
    off = (r - centres) / spread
    bell = np.exp(-0.5 * off * off)
    inside = np.maximum(1.0 - np.square(r / cutoff), 0.0)
    fade, slope = inside**3, -6.0 * r / cutoff**2 * inside**2
    return bell * fade, bell * (slope - off / spread * fade)


class Neighbours(NamedTuple):
    """Ordered pairs within the cutoff: i and j (p,), unit vectors from i to j (p, 3), distances."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    along: Floats
    distances: Floats


def neighbours(positions: Floats, cell: Floats, cutoff: float) -> Neighbours:
    """Return all ordered pairs closer than the cutoff, images of an atom itself included.

    Raises StructureError for two atoms at one place.
    """
    import vesin

    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    i, j, distances, vectors = search.compute(positions, cell, periodic=True, quantities="ijdD")
    # the order of pairs is that of their sums: keep it the same everywhere
    order = np.lexsort((distances, j, i))
    i, j = i[order].astype(np.int64), j[order].astype(np.int64)
    distances, vectors = distances[order], vectors[order]
    if len(distances) and distances.min() < CLOSEST:
        worst = int(np.argmin(distances))
        raise StructureError(
            f"Atoms {i[worst]} and {j[worst]} are {distances[worst]:.2g} Å apart; move one of them."
        )
    return Neighbours(i, j, vectors / distances[:, None], distances)


def scatter(neighbours: Neighbours, slopes: Floats, n: int) -> Floats:
    """Return the forces (n, 3) of an energy whose derivative by each pair's distance is given."""
    pulls = slopes[:, None] * neighbours.along
    forces = np.empty((n, 3))
    for axis in range(3):
        forces[:, axis] = np.bincount(neighbours.i, pulls[:, axis], n)
        forces[:, axis] -= np.bincount(neighbours.j, pulls[:, axis], n)
    return forces


class GaussianSum:
    """Coulomb interaction of Gaussian charges in a periodic cell, as a sum over reciprocal vectors.

    positions (n, 3) and cell (3, 3) in Angstrom, widths (n,) in Angstrom. `accuracy` is the
    neglected factor exp(-s^2 G^2) of the narrowest charge with itself.
    """

    def __init__(
        self, positions: Floats, cell: Floats, widths: Floats, accuracy: float = ACCURACY
    ) -> None:
        """Choose the reciprocal vectors."""
        self.widths = widths
        narrow = math.sqrt(-math.log(accuracy)) / float(widths.min())
        self.reciprocal = 2.0 * np.pi * np.linalg.inv(cell).T
        reach = np.floor(narrow * np.linalg.norm(cell, axis=1) / (2.0 * np.pi)).astype(int)
        axes = [np.arange(-m, m + 1) for m in reach]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        # one of each pair G, -G: they come in opposite order, around G = 0 in the middle
        index = index[len(index) // 2 + 1 :]
        vectors = index @ self.reciprocal
        squares = np.einsum("ij,ij->i", vectors, vectors)
        keep = squares < narrow**2
        self.index, self.vectors, self.squares = index[keep], vectors[keep], squares[keep]
        volume = abs(float(np.linalg.det(cell)))
        self.weights = 8.0 * np.pi * COULOMB_CONSTANT / volume / self.squares
        turns = 2.0j * np.pi * (positions @ np.linalg.inv(cell))
        self._reach = reach
        self._phases = [np.exp(np.outer(a, turns[:, k])) for k, a in enumerate(axes)]

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.complex128]]]:
        """Yield slices of the vectors and exp(i G r - s^2 G^2 / 2) (vectors, n) for them."""
        kinds, kind = np.unique(self.widths, return_inverse=True)
        for begin in range(0, len(self.index), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            rows = self.index[part] + self._reach
            phases = self._phases[0][rows[:, 0]] * self._phases[1][rows[:, 1]]
            phases *= self._phases[2][rows[:, 2]]
            form = np.exp(-0.5 * np.outer(self.squares[part], np.square(kinds)))
            phases *= form[:, kind]
            yield part, phases

    def matrix(self) -> Floats:
        """Return A (n, n), eV/e^2, images and the self-interaction included."""
        n = len(self.widths)
        total = np.zeros((n, n))
        for part, phases in self.blocks():
            root = np.sqrt(self.weights[part])[:, None]
            for half in (root * phases.real, root * phases.imag):
                total += half.T @ half
        return total

    def matrix_gradient(self) -> Floats:
        """Return dA_ij / dr_i (n, n, 3), eV/(e^2 Angstrom); for j = i it is zero."""
        n = len(self.widths)
        total = np.zeros((n, n, 3))
        for part, phases in self.blocks():
            for axis in range(3):
                scaled = (self.weights[part] * self.vectors[part, axis])[:, None] * phases.imag
                product = scaled.T @ phases.real
                total[:, :, axis] -= product - product.T
        return total

    def forces(self, first: Floats, second: Floats) -> Floats:
        """Return minus the gradient (n, 3) of first A second for charges (n,) that stay as they
        are."""
        forces = np.zeros((len(self.widths), 3))
        for part, phases in self.blocks():
            weighted = self.weights[part][:, None] * self.vectors[part]
            for charge, other in ((first, phases @ second), (second, phases @ first)):
                # Im(phase x conjugate of the sum over the other charges)
                pull = phases.imag * other.real[:, None] - phases.real * other.imag[:, None]
                forces += charge[:, None] * (pull.T @ weighted)
        return forces


class Solution(NamedTuple):
    """Energy (eV), forces (n, 3) (eV/Angstrom), charges (n,) (e) and the common electronegativity
    dQ/dq_i = `level` (eV/e) of all atoms."""

    energy: float
    forces: Floats
    charges: Floats
    level: float


def equilibrate(matrix: Floats, electronegativities: Floats) -> tuple[Floats, Floats]:
    """Return charges (n,) or (n, m) and level (m,) that solve H q + chi = level, sum q = 0.

    matrix : H (n, n), eV/e^2, positive definite.  electronegativities : chi (n,) or (n, m), eV/e.
    """
    from scipy.linalg import cho_factor, cho_solve

    factor = cho_factor(matrix)
    chi = electronegativities.reshape(len(matrix), -1)
    solved = cho_solve(factor, np.column_stack([np.ones(len(matrix)), chi]))
    ones, rest = solved[:, :1], solved[:, 1:]
    level = rest.sum(axis=0) / ones.sum()
    return (ones * level - rest).reshape(electronegativities.shape), level


def evaluate(
    parameters: Parameters,
    numbers: ArrayLike,
    positions: ArrayLike,
    cell: ArrayLike,
    *,
    accuracy: float = ACCURACY,
) -> Solution:
    """Return energy, forces and charges of a structure that is periodic in three directions.

    numbers (n,); positions (n, 3) and cell (3, 3) in Angstrom; `accuracy` as in `GaussianSum`.

    Raises StructureError for an element without parameters, a cell without volume, positions that
    are not finite and atoms at one place.
    """
    kind = parameters.species(numbers)
    points = np.asarray(positions, dtype=np.float64)
    box = np.asarray(cell, dtype=np.float64)
    n = len(kind)
    if points.shape != (n, 3) or n == 0 or not np.isfinite(points).all():
        raise StructureError(
            f"Positions of shape {points.shape} do not fit {n} atoms, or are not finite; give "
            "(n, 3) finite numbers."
        )
    if box.shape != (3, 3) or not abs(np.linalg.det(box)) > 0:
        raise StructureError("The cell has no volume; give three independent lattice vectors.")
    pairs = neighbours(points, box, parameters.cutoff)
    one, two = kind[pairs.i], kind[pairs.j]
    values, slopes = radial_functions(
        pairs.distances, parameters.centres, parameters.spread, parameters.cutoff
    )

    def term(table: Floats) -> tuple[Floats, Floats]:
        chosen = table[one, two]
        return np.einsum("pm,pm->p", chosen, values), np.einsum("pm,pm->p", chosen, slopes)

    energy_pair, energy_slope = term(parameters.pair_energy)
    chi_pair, chi_slope = term(parameters.pair_electronegativity)
    phi_pair, phi_slope = term(parameters.pair_potential)
    chi = parameters.electronegativity[kind] + np.bincount(pairs.i, chi_pair, n)
    phi = parameters.potential[kind] + np.bincount(pairs.i, phi_pair, n)

    coulomb = GaussianSum(points, box, parameters.width[kind], accuracy)
    a = coulomb.matrix()
    hardened = a + np.diag(parameters.hardness[kind])
    q, level = equilibrate(hardened, chi)
    stiffness = parameters.stiffness[kind] * q
    field = a @ q
    energy = (
        parameters.energy[kind].sum()
        + 0.5 * energy_pair.sum()
        + q @ (phi + 0.5 * stiffness + 0.5 * field)
    )
    # H z + (dE/dq) = const, sum z = 0: what the change of the charges adds to the gradient
    adjoint, _ = equilibrate(hardened, phi + stiffness + field)
    gradient = 0.5 * energy_slope + q[pairs.i] * phi_slope + adjoint[pairs.i] * chi_slope
    forces = scatter(pairs, gradient, n) + coulomb.forces(q, 0.5 * q + adjoint)
    return Solution(float(energy), forces, q, float(level[0]))

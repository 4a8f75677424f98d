"""V_SPC/F: the flexible SPC water model of the water-anion paper, for an isolated cluster.

Atomic units (Hartree, Bohr). Per molecule, with bond lengths r1, r2 and the H-H distance h::

    V = k_w [(r1-r0)^2 + (r2-r0)^2] + k_b (h-h0)^2 + c (r1+r2-2 r0)(h-h0) + d (r1-r0)(r2-r0)

and between molecules Lennard-Jones on the oxygens plus Coulomb on all sites, over all pairs without
cutoff. Toukan and Rahman, Phys. Rev. B 31, 2643 (1985), harmonic part only; unit factors are those
of the program that produced the published data, so that energies agree to rounding.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnnip.errors import StructureError

Floats = NDArray[np.float64]

_BOHR_A = 0.529177
_HARTREE_EV = 2.0 * 13.60580
_KELVIN = 1.0 / 11604.45 / _HARTREE_EV
_MDYN_A = 1.0 / 4.3598149
_MDYN_PER_A = 1.0 / 15.5691905

CHARGE_O = -0.82  #: charge of oxygen (e)
CHARGE_H = 0.41  #: charge of hydrogen (e)
EPSILON = 78.22 * _KELVIN  #: Lennard-Jones depth between oxygens (Hartree)
SIGMA = 3.165 / _BOHR_A  #: Lennard-Jones diameter (Bohr)
R0 = 1.0 / _BOHR_A  #: bond length (Bohr)
H0 = 2.0 * R0 * math.sin(math.radians(109.47) / 2.0)  #: H-H distance at equilibrium (Bohr)
#: stretch: D rho^2, the harmonic expansion of the Morse bond (Hartree/Bohr^2)
K_STRETCH = 0.708 * _MDYN_A * (2.566 * _BOHR_A) ** 2
K_HH = 0.5 * 2.283 * _MDYN_PER_A  #: half the H-H force constant (Hartree/Bohr^2)
K_CROSS = -1.469 * _MDYN_PER_A  #: stretch - H-H coupling (Hartree/Bohr^2)
K_BONDS = 0.776 * _MDYN_PER_A  #: stretch - stretch coupling (Hartree/Bohr^2)
CLOSEST = 0.1  #: two atoms nearer than this are one point (Bohr)


@numba.njit(cache=True)
def _closest_pair(positions: Floats) -> tuple[float, int, int]:
    best, a, b = np.inf, -1, -1
    for i in range(len(positions)):
        for j in range(i):
            s = 0.0
            for k in range(3):
                d = positions[i, k] - positions[j, k]
                s += d * d
            if s < best:
                best, a, b = s, j, i
    return math.sqrt(best), a, b


def check_water(positions: ArrayLike, numbers: ArrayLike) -> None:
    """Refuse anything but a cluster of water molecules given as O H H O H H ...

    `positions` (3N, 3) in Bohr, `numbers` (3N,) atomic numbers. Raises StructureError for no atoms,
    a wrong shape or order, a coordinate that is not finite, or two atoms at one point.
    """
    x = np.asarray(positions, dtype=np.float64)
    z = np.asarray(numbers)
    if x.size == 0 or z.size == 0:
        raise StructureError("the structure has no atoms; give at least one water molecule (O H H)")
    if x.ndim != 2 or x.shape[1] != 3 or z.shape != (len(x),):
        raise StructureError(
            f"positions of shape {x.shape} and atomic numbers of shape {z.shape} do not describe "
            "one structure; expected (3N, 3) and (3N,)"
        )
    if len(x) % 3:
        raise StructureError(
            f"{len(x)} atoms are not a whole number of water molecules; expected 3 a molecule"
        )
    wrong = np.flatnonzero(z != np.tile([8, 1, 1], len(z) // 3))
    if wrong.size:
        i = int(wrong[0])
        raise StructureError(
            f"atom {i} has atomic number {int(z[i])} where the order O H H O H H ... needs "
            f"{8 if i % 3 == 0 else 1}; sort the atoms by molecule, oxygen first"
        )
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if bad.size:
        raise StructureError(f"the coordinates of atom {int(bad[0])} are not finite")
    distance, i, j = _closest_pair(x)
    if distance < CLOSEST:
        raise StructureError(
            f"atoms {i} and {j} are {distance:.3g} Bohr apart; no two atoms may be nearer than "
            f"{CLOSEST} Bohr (are the units right?)"
        )


def as_water_positions(positions: ArrayLike) -> Floats:
    """Return positions as contiguous (3N, 3) float64; StructureError for another shape or NaN."""
    x: NDArray[Any] = np.ascontiguousarray(positions, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != 3 or len(x) == 0 or len(x) % 3:
        raise StructureError(
            f"positions of shape {x.shape} are not those of water molecules; expected (3N, 3), N>=1"
        )
    if not np.isfinite(x).all():
        raise StructureError("a coordinate of the cluster is not finite")
    return x


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _intramolecular(positions: Floats, forces: Floats) -> float:
    energy = 0.0
    for o in range(0, len(positions), 3):
        u1, u2, u3 = np.empty(3), np.empty(3), np.empty(3)
        r1 = r2 = h = 0.0
        for k in range(3):
            u1[k] = positions[o + 1, k] - positions[o, k]
            u2[k] = positions[o + 2, k] - positions[o, k]
            u3[k] = positions[o + 2, k] - positions[o + 1, k]
            r1 += u1[k] * u1[k]
            r2 += u2[k] * u2[k]
            h += u3[k] * u3[k]
        r1, r2, h = math.sqrt(r1), math.sqrt(r2), math.sqrt(h)
        a, b, c = r1 - R0, r2 - R0, h - H0
        energy += (
            K_STRETCH * (a * a + b * b) + K_HH * c * c + K_CROSS * (a + b) * c + K_BONDS * a * b
        )
        g1 = (2.0 * K_STRETCH * a + K_CROSS * c + K_BONDS * b) / r1
        g2 = (2.0 * K_STRETCH * b + K_CROSS * c + K_BONDS * a) / r2
        g3 = (2.0 * K_HH * c + K_CROSS * (a + b)) / h
        for k in range(3):
            forces[o, k] += g1 * u1[k] + g2 * u2[k]
            forces[o + 1, k] += g3 * u3[k] - g1 * u1[k]
            forces[o + 2, k] -= g3 * u3[k] + g2 * u2[k]
    return energy


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _coulomb_row(
    xi: float, yi: float, zi: float, x: Floats, y: Floats, z: Floats, start: int, stop: int
) -> tuple[float, float, float, float]:
    """Sum of 1/r and of (r_i - r_j)/r^3 over the sites start..stop of one species."""
    e = fx = fy = fz = 0.0
    for j in range(start, stop):
        dx, dy, dz = xi - x[j], yi - y[j], zi - z[j]
        s = dx * dx + dy * dy + dz * dz
        inv = 1.0 / math.sqrt(s)
        inv3 = inv * inv * inv
        e += inv
        fx += inv3 * dx
        fy += inv3 * dy
        fz += inv3 * dz
    return e, fx, fy, fz


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _lennard_jones_row(
    xi: float, yi: float, zi: float, x: Floats, y: Floats, z: Floats, start: int, stop: int
) -> tuple[float, float, float, float]:
    """Lennard-Jones plus O-O Coulomb of one oxygen with the oxygens start..stop."""
    e = fx = fy = fz = 0.0
    s2 = SIGMA * SIGMA
    for j in range(start, stop):
        dx, dy, dz = xi - x[j], yi - y[j], zi - z[j]
        s = dx * dx + dy * dy + dz * dz
        inv = 1.0 / math.sqrt(s)
        inv2 = inv * inv
        u = s2 * inv2
        u6 = u * u * u
        charge = CHARGE_O * CHARGE_O * inv
        e += 4.0 * EPSILON * (u6 * u6 - u6) + charge
        g = (24.0 * EPSILON * (2.0 * u6 * u6 - u6) + charge) * inv2
        fx += g * dx
        fy += g * dy
        fz += g * dz
    return e, fx, fy, fz


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _intermolecular(positions: Floats, forces: Floats) -> float:
    # each pair is visited from both ends: no scattered writes, so every inner loop vectorises
    n = len(positions) // 3
    ox, oy, oz = np.empty(n), np.empty(n), np.empty(n)
    hx, hy, hz = np.empty(2 * n), np.empty(2 * n), np.empty(2 * n)
    for m in range(n):
        ox[m], oy[m], oz[m] = positions[3 * m, 0], positions[3 * m, 1], positions[3 * m, 2]
        for k in range(2):
            hx[2 * m + k] = positions[3 * m + 1 + k, 0]
            hy[2 * m + k] = positions[3 * m + 1 + k, 1]
            hz[2 * m + k] = positions[3 * m + 1 + k, 2]
    energy = 0.0
    for m in range(n):
        for k in range(3):
            i = 3 * m + k
            xi, yi, zi = positions[i, 0], positions[i, 1], positions[i, 2]
            q = CHARGE_O if k == 0 else CHARGE_H
            e = fx = fy = fz = 0.0
            for side in range(2):
                first, last = (0, m) if side == 0 else (m + 1, n)
                if k == 0:
                    a, ax, ay, az = _lennard_jones_row(xi, yi, zi, ox, oy, oz, first, last)
                else:
                    a, ax, ay, az = _coulomb_row(xi, yi, zi, ox, oy, oz, first, last)
                    a, ax, ay, az = (
                        q * CHARGE_O * a,
                        q * CHARGE_O * ax,
                        q * CHARGE_O * ay,
                        q * CHARGE_O * az,
                    )
                b, bx, by, bz = _coulomb_row(xi, yi, zi, hx, hy, hz, 2 * first, 2 * last)
                e += a + q * CHARGE_H * b
                fx += ax + q * CHARGE_H * bx
                fy += ay + q * CHARGE_H * by
                fz += az + q * CHARGE_H * bz
            energy += 0.5 * e
            forces[i, 0] += fx
            forces[i, 1] += fy
            forces[i, 2] += fz
    return energy


@numba.njit(cache=True)
def _each(part: Any, positions: Floats, energies: Floats, forces: Floats) -> None:
    for b in range(len(positions)):
        energies[b] = part(positions[b], forces[b])


def of_beads(
    part: Literal["intramolecular", "intermolecular"], positions: Floats
) -> tuple[Floats, Floats]:
    """Energies (beads,) and forces (beads, 3N, 3) of one part of V_SPC/F at several geometries.

    `positions` (beads, 3N, 3), units as of :func:`energy_and_forces`; not checked.
    """
    energies, forces = np.empty(len(positions)), np.zeros(positions.shape)
    kernel = _intramolecular if part == "intramolecular" else _intermolecular
    _each(kernel, np.ascontiguousarray(positions), energies, forces)
    return energies, forces


def energy_and_forces(positions: ArrayLike) -> tuple[float, Floats]:
    """Energy (Hartree) and forces (3N, 3) (Hartree/Bohr) of V_SPC/F.

    `positions` (3N, 3) in Bohr, atoms O H H O H H ...; equation and source in the module docstring.
    Use :func:`check_water` first on structures that come from outside.

    Raises StructureError for a shape other than (3N, 3), or a coordinate that is not finite.
    """
    x = as_water_positions(positions)
    forces = np.zeros_like(x)
    energy = _intramolecular(x, forces) + _intermolecular(x, forces)
    return float(energy), forces

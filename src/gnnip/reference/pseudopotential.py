"""Electron-water pseudopotential of Turi and Borgis on a uniform grid, and its forces.

Atomic units. Site i at distance r adds (Turi and Borgis, J. Chem. Phys. 117, 6186 (2002))::

    V_i(r) = -(q_i/r) erf(A1 r) + (B1/r) [erf(B2 r) - erf(B3 r)]
             - (alpha/2) / (r^2 + C1^2)^2                          (the last on oxygen only)

Beyond a radius R of 11-12 Bohr the error functions are 1 to 4e-11 Hartree, so the sum splits:
everywhere the plain function of max(r, R), in one loop that SIMD units like; inside R a
polynomial table in r^2 of what is missing. The cost is linear in atoms x points.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gnnip.reference.spcf import CHARGE_H, CHARGE_O

Floats = NDArray[np.float64]
Array = NDArray[Any]  #: of float64, or of float32 for speed

POLARISABILITY = 9.7446  #: alpha of oxygen (Bohr^3)
POLARISATION_RADIUS = 4.4  #: C1 of oxygen (Bohr)
#: q, A1, B1, B2, B3 of O and of H
PARAMETERS = np.array(
    [[CHARGE_O, 0.575, 0.620, 1.000, 0.400], [CHARGE_H, 0.750, 0.150, 0.500, 0.350]]
)
_INTERVALS = 1024
_DEGREE = 5


class Tables(NamedTuple):
    """What is missing inside the split radius, as piecewise polynomials of r^2.

    `radius` (2,) Bohr for O, H; `potential` and `slope` (2, intervals, degree + 1), highest power
    last, of the interval's coordinate in [-1/2, 1/2]; slope is V'(r)/r.
    """

    radius: Floats
    potential: Floats
    slope: Floats


@numba.njit(cache=True, error_model="numpy")
def _exact(species: int, r: float) -> tuple[float, float]:
    """V(r) and V'(r)/r of one site with exact error functions; r > 0."""
    value = slope = 0.0
    q, a1 = PARAMETERS[species, 0], PARAMETERS[species, 1]
    b1, b2, b3 = PARAMETERS[species, 2], PARAMETERS[species, 3], PARAMETERS[species, 4]
    for weight, a in ((-q, a1), (b1, b2), (-b1, b3)):
        e = math.erf(a * r) / r
        value += weight * e
        slope += weight * (2.0 * a / math.sqrt(math.pi) * math.exp(-a * a * r * r) - e) / (r * r)
    if species == 0:
        p = 1.0 / (r * r + POLARISATION_RADIUS * POLARISATION_RADIUS)
        value -= 0.5 * POLARISABILITY * p * p
        slope += 2.0 * POLARISABILITY * p * p * p
    return value, slope


@numba.njit(cache=True, error_model="numpy")
def _far(species: int, s: float) -> tuple[float, float]:
    """V(r) and V'(r)/r with the error functions set to 1; s = r^2."""
    value = -PARAMETERS[species, 0] / math.sqrt(s)
    slope = -value / s
    if species == 0:
        p = 1.0 / (s + POLARISATION_RADIUS * POLARISATION_RADIUS)
        value -= 0.5 * POLARISABILITY * p * p
        slope += 2.0 * POLARISABILITY * p * p * p
    return value, slope


@numba.njit(cache=True)
def _sample(species: int, s: Floats, radius: float) -> Floats:
    out = np.empty((2, s.size))
    v, w = _far(species, radius * radius)
    for i in range(s.size):
        a, b = _exact(species, math.sqrt(s[i]))
        out[0, i], out[1, i] = a - v, b - w
    return out


@lru_cache(maxsize=2)
def tables(single: bool) -> Tables:
    """Tables of both species; `single` splits where the tails are 1e-8 instead of 4e-11 Hartree."""
    radius = np.array([9.5, 10.5]) if single else np.array([11.0, 12.0])
    k = np.arange(_DEGREE + 1)
    nodes = 0.5 * np.cos(np.pi * (2 * k + 1) / (2 * _DEGREE + 2))
    inverse = np.linalg.inv(nodes[:, None] ** k)
    result = np.empty((2, 2, _INTERVALS, _DEGREE + 1))
    for species in range(2):
        s = (np.arange(_INTERVALS)[:, None] + 0.5 + nodes) * radius[species] ** 2 / _INTERVALS
        values = _sample(species, s.ravel(), radius[species]).reshape(2, *s.shape)
        result[:, species] = values @ inverse.T
    return Tables(radius, result[0], result[1])


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _add_far(
    V: Array, x: Array, y: Array, z: Array, positions: Array, constants: Array, squares: Array
) -> None:
    """Far part of whole molecules; every array of one float type (literals would promote)."""
    nx, plane = V.shape
    ny, nz = len(y), len(z)
    cut_o, cut_h, qo, qh = constants[0], constants[1], constants[2], constants[3]
    half_alpha, c2 = constants[4], constants[5]
    for m in range(len(positions) // 3):
        o = 3 * m
        for iy in range(ny):
            a, b, c = (
                y[iy] - positions[o, 1],
                y[iy] - positions[o + 1, 1],
                y[iy] - positions[o + 2, 1],
            )
            a, b, c = a * a, b * b, c * c
            for iz in range(nz):
                u, v, w = (
                    z[iz] - positions[o, 2],
                    z[iz] - positions[o + 1, 2],
                    z[iz] - positions[o + 2, 2],
                )
                squares[0, iy * nz + iz] = a + u * u
                squares[1, iy * nz + iz] = b + v * v
                squares[2, iy * nz + iz] = c + w * w
        for ix in range(nx):
            a, b, c = (
                x[ix] - positions[o, 0],
                x[ix] - positions[o + 1, 0],
                x[ix] - positions[o + 2, 0],
            )
            a, b, c = a * a, b * b, c * c
            for k in range(plane):
                so, s1, s2 = a + squares[0, k], b + squares[1, k], c + squares[2, k]
                so = so if so > cut_o else cut_o
                s1 = s1 if s1 > cut_h else cut_h
                s2 = s2 if s2 > cut_h else cut_h
                ro, r1, r2 = math.sqrt(so), math.sqrt(s1), math.sqrt(s2)
                p = so + c2
                p *= p
                # one division for the four terms
                top = (qo * p + half_alpha * ro) * (r1 * r2) + qh * (r1 + r2) * (ro * p)
                V[ix, k] -= top / ((r1 * r2) * (ro * p))


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _add_near(
    V: Array, origin: Floats, spacing: float, positions: Floats, radii: Floats, tables: Floats
) -> None:
    nx, ny, nz = V.shape
    for i in range(len(positions)):
        species = 0 if i % 3 == 0 else 1
        t = tables[species]
        cut = radii[species] ** 2
        per = len(t) / cut
        x0 = (positions[i, 0] - origin[0]) / spacing
        y0 = (positions[i, 1] - origin[1]) / spacing
        z0 = (positions[i, 2] - origin[2]) / spacing
        reach = radii[species] / spacing
        for ix in range(max(0, math.ceil(x0 - reach)), min(nx, math.floor(x0 + reach) + 1)):
            dx = (ix - x0) * spacing
            ry = reach * reach - (ix - x0) ** 2
            if ry <= 0.0:
                continue
            ry = math.sqrt(ry)
            for iy in range(max(0, math.ceil(y0 - ry)), min(ny, math.floor(y0 + ry) + 1)):
                dy = (iy - y0) * spacing
                d = dx * dx + dy * dy
                rz = reach * reach - (ix - x0) ** 2 - (iy - y0) ** 2
                if rz <= 0.0:
                    continue
                rz = math.sqrt(rz)
                for iz in range(max(0, math.ceil(z0 - rz)), min(nz, math.floor(z0 + rz) + 1)):
                    dz = (iz - z0) * spacing
                    u = (d + dz * dz) * per
                    n = min(int(u), len(t) - 1)
                    f = u - n - 0.5
                    V[ix, iy, iz] += t[n, 0] + f * (
                        t[n, 1] + f * (t[n, 2] + f * (t[n, 3] + f * (t[n, 4] + f * t[n, 5])))
                    )


def _constants(table: Tables, polarisability: float, kind: np.dtype[Any]) -> Array:
    """Return the squared radii (O, H), the charges (O, H), the polarisability and C1 squared."""
    charges = (CHARGE_O, CHARGE_H)
    values = [*(table.radius**2), *charges, polarisability, POLARISATION_RADIUS**2]
    return np.array(values).astype(kind)


def potential(
    V: Array,
    origin: Floats,
    spacing: float,
    positions: Floats,
    *,
    fast: bool = False,
    far: NDArray[np.float32] | None = None,
) -> None:
    """Write the potential (Hartree) of all sites into V (nx, ny, nz), float64 or float32.

    Point (i, j, k) lies at origin + spacing * (i, j, k), Bohr. `fast` (always so for a float32 V)
    sums the far part in float32: error below 1e-6 Hartree instead of 1e-9; `far` is float32 memory
    of V's size for it.
    """
    fast = fast or V.dtype == np.float32
    kind = np.dtype(np.float32 if fast else np.float64)
    table = tables(fast)
    ny, nz = V.shape[1:]
    c = _constants(table, 0.5 * POLARISABILITY, kind)
    x, y, z = ((np.arange(n) * spacing).astype(kind) for n in V.shape)
    target = V
    if kind != V.dtype:
        target = np.empty(V.shape, kind) if far is None else far.reshape(V.shape)
    target[:] = 0.0
    squares = np.empty((3, ny * nz), dtype=kind)
    relative = (positions - origin).astype(kind)
    _add_far(target.reshape(len(x), ny * nz), x, y, z, relative, c, squares)
    if target is not V:
        V[:] = target
    _add_near(V, origin, spacing, positions, table.radius, table.potential)


@numba.njit(cache=True)
def _compact(density: Array, spacing: float, threshold: float, like: Array) -> Array:
    nx, ny, nz = density.shape
    count = 0
    for ix in range(nx):
        for iy in range(ny):
            for iz in range(nz):
                if density[ix, iy, iz] > threshold:
                    count += 1
    out = np.empty((4, count), like.dtype)
    n = 0
    for ix in range(nx):
        for iy in range(ny):
            for iz in range(nz):
                w = density[ix, iy, iz]
                if w > threshold:
                    out[0, n], out[1, n], out[2, n] = ix * spacing, iy * spacing, iz * spacing
                    out[3, n] = w
                    n += 1
    return out


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _far_force_o(
    x: Any, y: Any, z: Any, points: Array, cut: Any, q: Any, alpha2: Any, c2: Any
) -> tuple[Any, Any, Any]:
    fx = fy = fz = cut - cut
    px, py, pz, weight = points[0], points[1], points[2], points[3]
    for k in range(points.shape[1]):
        dx, dy, dz = px[k] - x, py[k] - y, pz[k] - z
        s = dx * dx + dy * dy + dz * dz
        s = s if s > cut else cut
        r3 = s * math.sqrt(s)
        p = s + c2
        p3 = p * p * p
        g = weight[k] * (q * p3 + alpha2 * r3) / (r3 * p3)
        fx += g * dx
        fy += g * dy
        fz += g * dz
    return fx, fy, fz


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _far_force_h(x: Any, y: Any, z: Any, points: Array, cut: Any, q: Any) -> tuple[Any, Any, Any]:
    fx = fy = fz = cut - cut
    px, py, pz, weight = points[0], points[1], points[2], points[3]
    for k in range(points.shape[1]):
        dx, dy, dz = px[k] - x, py[k] - y, pz[k] - z
        s = dx * dx + dy * dy + dz * dz
        s = s if s > cut else cut
        g = weight[k] * q / (s * math.sqrt(s))
        fx += g * dx
        fy += g * dy
        fz += g * dz
    return fx, fy, fz


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _far_forces(forces: Floats, positions: Array, points: Array, c: Array) -> None:
    for i in range(len(positions)):
        x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
        if i % 3 == 0:
            fx, fy, fz = _far_force_o(x, y, z, points, c[0], c[2], c[4], c[5])
        else:
            fx, fy, fz = _far_force_h(x, y, z, points, c[1], c[3])
        forces[i, 0] += fx
        forces[i, 1] += fy
        forces[i, 2] += fz


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _near_forces(
    forces: Floats,
    density: Array,
    spacing: float,
    positions: Floats,
    radii: Floats,
    tables: Floats,
    threshold: float,
) -> None:
    nx, ny, nz = density.shape
    row_max = np.zeros((nx, ny))
    for ix in range(nx):
        for iy in range(ny):
            for iz in range(nz):
                row_max[ix, iy] = max(row_max[ix, iy], density[ix, iy, iz])
    for i in range(len(positions)):
        species = 0 if i % 3 == 0 else 1
        t = tables[species]
        per = len(t) / radii[species] ** 2
        x0, y0, z0 = (
            positions[i, 0] / spacing,
            positions[i, 1] / spacing,
            positions[i, 2] / spacing,
        )
        reach = radii[species] / spacing
        fx = fy = fz = 0.0
        for ix in range(max(0, math.ceil(x0 - reach)), min(nx, math.floor(x0 + reach) + 1)):
            dx = (ix - x0) * spacing
            ry = reach * reach - (ix - x0) ** 2
            if ry <= 0.0:
                continue
            ry = math.sqrt(ry)
            for iy in range(max(0, math.ceil(y0 - ry)), min(ny, math.floor(y0 + ry) + 1)):
                rz = reach * reach - (ix - x0) ** 2 - (iy - y0) ** 2
                if rz <= 0.0 or row_max[ix, iy] < threshold:
                    continue
                rz = math.sqrt(rz)
                dy = (iy - y0) * spacing
                d = dx * dx + dy * dy
                row = along = 0.0
                for iz in range(max(0, math.ceil(z0 - rz)), min(nz, math.floor(z0 + rz) + 1)):
                    dz = (iz - z0) * spacing
                    u = (d + dz * dz) * per
                    n = min(int(u), len(t) - 1)
                    f = u - n - 0.5
                    g = density[ix, iy, iz] * (
                        t[n, 0]
                        + f
                        * (t[n, 1] + f * (t[n, 2] + f * (t[n, 3] + f * (t[n, 4] + f * t[n, 5]))))
                    )
                    row += g
                    along += g * dz
                fx += row * dx
                fy += row * dy
                fz += along
        forces[i, 0] += fx
        forces[i, 1] += fy
        forces[i, 2] += fz


def forces_of_density(
    density: Array, origin: Floats, spacing: float, positions: Floats, *, fast: bool = False
) -> Floats:
    """Hellmann-Feynman forces (3N, 3), Hartree/Bohr: F_i = int rho V'(r_i)/r_i (r - R_i) dr.

    `density` (nx, ny, nz) is the probability of each grid point (its sum is 1), of either float
    type. Points are skipped whose weights add up to less than 1e-9. `fast` (always so for float32)
    sums the far part in float32 and skips a weight of 1e-6.
    """
    fast = fast or density.dtype == np.float32
    kind = np.dtype(np.float32 if fast else np.float64)
    table = tables(fast)
    threshold = (1e-6 if fast else 1e-9) / density.size
    points = _compact(density, spacing, threshold, np.empty(0, kind))
    c = _constants(table, 2.0 * POLARISABILITY, kind)
    forces = np.zeros((len(positions), 3))
    relative = positions - origin
    _far_forces(forces, relative.astype(kind), points, c)
    _near_forces(forces, density, spacing, relative, table.radius, table.slope, threshold)
    return forces

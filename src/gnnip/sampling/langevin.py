"""Langevin dynamics of classical particles and of ring polymers, with a slow force as an impulse.

One step of length dt is BAOAB (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34): half
kick, half drift, exact Ornstein-Uhlenbeck on the momenta, half drift, half kick. A force that is
dear and slow acts as an impulse before and after every `n_inner` steps (RESPA; Tuckerman, Berne,
Martyna, J. Chem. Phys. 97, 1990).

A ring polymer of P beads samples (atomic units, hbar = 1, physical temperature)

    H_P = sum_i P p_i^2/2m + sum_i m P / (2 beta^2) |x_{i+1} - x_i|^2 + (1/P) sum_i V(x_i),

the primitive path integral. Each bead has the mass m/P, so that the centroid moves as fast as the
classical particle. The drift is exact in the normal modes of the free ring, of frequency
w_k = 2 P/beta sin(k pi/P); internal modes have friction 2 w_k, the optimum of the free ring, and
the centroid has the friction asked for (as PILE; Ceriotti et al., J. Chem. Phys. 133, 124104
(2010)).

Everything is in atomic units; arrays have the shape (beads, n, 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from gnnip.errors import ConfigError
from gnnip.sampling.atomic_units import KELVIN

#: forces (beads, n, 3) at positions (beads, n, 3), Hartree/Bohr
Forces = Callable[[np.ndarray], np.ndarray]


def maxwell_momenta(
    masses: np.ndarray, temperature: float, beads: int, rng: np.random.Generator
) -> np.ndarray:
    """Return momenta (beads, n, 3) drawn from the Maxwell distribution at `temperature` (kelvin),
    each bead with its share of the masses."""
    width = np.sqrt(masses / beads * temperature * KELVIN)
    return rng.normal(size=(beads, len(masses), 3)) * width[:, None]


def remove_rigid_motion(
    positions: np.ndarray, momenta: np.ndarray, masses: np.ndarray
) -> np.ndarray:
    """Return `momenta` (beads, n, 3) without total linear and angular momentum of all beads
    together."""
    x = positions.reshape(-1, 3)
    p = momenta.reshape(-1, 3)
    m = np.tile(masses, len(positions))
    p = p - m[:, None] * (p.sum(axis=0) / m.sum())
    x = x - m @ x / m.sum()
    inertia = np.eye(3) * (m @ (x * x).sum(axis=1)) - np.einsum("i,ij,ik->jk", m, x, x)
    # pinv: a single atom and a linear molecule have axes without inertia
    omega = np.linalg.pinv(inertia, rcond=1e-10) @ np.cross(x, p).sum(axis=0)
    return (p - m[:, None] * np.cross(omega, x)).reshape(momenta.shape)


def kinetic_temperature(momenta: np.ndarray, masses: np.ndarray, *, constraints: int = 0) -> float:
    """Return the temperature (kelvin) of `momenta` (beads, n, 3) with 3 n beads - constraints
    freedoms."""
    kinetic = 0.5 * len(momenta) * float((momenta**2 / masses[:, None]).sum())
    return 2.0 * kinetic / ((momenta.size - constraints) * KELVIN)


@dataclass
class Langevin:
    """BAOAB integrator of `beads` copies of n particles.

    masses (n,) in electron masses; timestep in atomic units; friction in inverse atomic time
    units, 0 for constant energy (then no mode is thermostatted); temperature in kelvin (it also
    fixes the springs). `rigid_motion=False` removes total linear and angular momentum once per
    `advance`.

    Raises ConfigError for a time step that is not positive, negative friction or temperature, or
    no bead.
    """

    masses: np.ndarray
    timestep: float
    friction: float
    temperature: float
    beads: int = 1
    rigid_motion: bool = True
    _modes: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Precompute the free ring's propagator and the thermostat's coefficients."""
        for name, value, good in (
            ("timestep", self.timestep, self.timestep > 0),
            ("friction", self.friction, self.friction >= 0),
            ("temperature", self.temperature, self.temperature > 0),
            ("beads", self.beads, self.beads >= 1),
        ):
            if not good:
                raise ConfigError(
                    f"Langevin dynamics cannot use {name} = {value}; give a positive number."
                )
        P, dt = self.beads, self.timestep
        self._modes = normal_modes(P)
        omega = ring_frequencies(P, self.temperature)
        half = 0.5 * dt * omega
        self._cos = np.cos(half)[:, None, None]
        # sin(w t)/w, continuous at the centroid's w = 0
        self._sin_by_omega = np.where(
            omega > 0, np.sin(half) / np.where(omega > 0, omega, 1), 0.5 * dt
        )[:, None, None]
        self._omega_sin = (omega * np.sin(half))[:, None, None]
        gamma = np.where(omega > 0, 2.0 * omega, self.friction) * (self.friction > 0)
        damp = np.exp(-gamma * dt)
        self._damp = damp[:, None, None]
        self._noise = (
            np.sqrt(self.masses / P * self.temperature * KELVIN)[None, :, None]
            * np.sqrt(1.0 - damp**2)[:, None, None]
        )

    def _drift_thermostat_drift(
        self, x: np.ndarray, p: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        m = self.masses[None, :, None] / self.beads
        if self.beads == 1:
            x = x + 0.5 * self.timestep * p / m
            if self.friction > 0:
                p = self._damp * p + self._noise * rng.normal(size=p.shape)
            return x + 0.5 * self.timestep * p / m, p
        U = self._modes
        q, v = np.tensordot(U, x, 1), np.tensordot(U, p, 1)
        q, v = self._cos * q + self._sin_by_omega * v / m, self._cos * v - self._omega_sin * m * q
        if self.friction > 0:
            v = self._damp * v + self._noise * rng.normal(size=v.shape)
        q, v = self._cos * q + self._sin_by_omega * v / m, self._cos * v - self._omega_sin * m * q
        return np.tensordot(U.T, q, 1), np.tensordot(U.T, v, 1)

    def advance(
        self,
        positions: np.ndarray,
        momenta: np.ndarray,
        fast_forces: np.ndarray,
        fast: Forces,
        rng: np.random.Generator,
        *,
        n_inner: int = 1,
        slow_forces: np.ndarray | None = None,
        slow: Forces | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Advance by `n_inner` steps inside one impulse of the slow force.

        Arrays (beads, n, 3); `fast_forces` and `slow_forces` are those at `positions`. Forces are
        -dV/dx of each bead's potential: the factor 1/P of H_P is applied here. Returns positions,
        momenta and both forces at the new point.
        """
        x, p, f = positions, momenta, fast_forces
        half = 0.5 * self.timestep / self.beads
        impulse = half * n_inner
        if slow_forces is not None:
            p = p + impulse * slow_forces
        for _ in range(n_inner):
            p = p + half * f
            x, p = self._drift_thermostat_drift(x, p, rng)
            f = fast(x)
            p = p + half * f
        g = None
        if slow is not None:
            g = slow(x)
            p = p + impulse * g
        if not self.rigid_motion:
            p = remove_rigid_motion(x, p, self.masses)
        return x, p, f, g


def ring_frequencies(beads: int, temperature: float) -> np.ndarray:
    """Return the normal-mode frequencies (beads,) of the free ring, w_k = 2 P/beta sin(k
    pi/P)."""
    return 2.0 * beads * temperature * KELVIN * np.sin(np.arange(beads) * np.pi / beads)


def normal_modes(beads: int) -> np.ndarray:
    """Return the orthogonal matrix (mode, bead) that diagonalises the springs of a ring of
    `beads`."""
    j, k = np.arange(beads), np.arange(beads)[:, None]
    modes = np.where(
        2 * k <= beads,
        np.sqrt(2.0 / beads) * np.cos(2 * np.pi * j * k / beads),
        np.sqrt(2.0 / beads) * np.sin(2 * np.pi * j * k / beads),
    )
    modes[0] = np.sqrt(1.0 / beads)
    if beads % 2 == 0 and beads > 1:
        modes[beads // 2] = np.sqrt(1.0 / beads) * (-1.0) ** j
    return modes

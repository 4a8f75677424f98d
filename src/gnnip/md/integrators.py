"""Time steps: velocity Verlet, Langevin (BAOAB) and velocity Verlet with stochastic velocity
rescaling (CSVR).

Each integrator moves a state up to the force evaluation (`before_forces`) and from it to the end
of the step (`after_forces`). Only products, sums and quotients of separate tensors are used: fused
kernels may round differently in the vector body and in its tail, and a replica would then depend
on its place in the batch.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch

from gnnip.errors import ConfigError
from gnnip.md.randomness import BLOCK_STEPS, LANGEVIN, RESCALING, BlockNoise
from gnnip.md.state import State, kinetic_energy
from gnnip.units import AMU_A2_PER_FS2, KB


class Integrator(Protocol):
    """What the simulation asks of an integrator."""

    time_step: float
    keeps_momentum: bool  #: if not, all 3n degrees of freedom are warm

    def before_forces(self, state: State, step: int) -> State:
        """Move positions and velocities up to the point where new forces are needed."""

    def after_forces(self, state: State, step: int) -> State:
        """Finish the step with the new forces."""

    def settings(self) -> dict[str, Any]:
        """Return what defines the integrator, for checkpoints and provenance."""


def _kick(state: State, duration: float) -> torch.Tensor:
    acceleration = state.forces / (state.masses * AMU_A2_PER_FS2)[:, None]
    return state.velocities + duration * acceleration


class VelocityVerlet:
    """Constant-energy dynamics of second order (Swope et al., J. Chem. Phys. 76, 637 (1982))."""

    keeps_momentum = True

    def __init__(self, time_step: float) -> None:
        """Take `time_step` in fs; ConfigError unless it is greater than zero."""
        self.time_step = _positive("time_step", time_step, "fs")

    def settings(self) -> dict[str, Any]:
        """Return name and time step."""
        return {"integrator": "velocity_verlet", "time_step_fs": self.time_step}

    def before_forces(self, state: State, step: int) -> State:
        """Half a kick and a drift."""
        velocities = _kick(state, 0.5 * self.time_step)
        return state.replace(
            velocities=velocities, positions=state.positions + self.time_step * velocities
        )

    def after_forces(self, state: State, step: int) -> State:
        """Half a kick."""
        return state.replace(velocities=_kick(state, 0.5 * self.time_step))


class Langevin(VelocityVerlet):
    """Langevin dynamics by the splitting B A O A B (Leimkuhler and Matthews, J. Chem. Phys. 138,
    174102 (2013)); the last B is velocity Verlet's.

    The noise moves the centre of mass too, so all 3n degrees of freedom are warm; a simulation
    counts them so, whatever the start.
    """

    keeps_momentum = False

    def __init__(self, time_step: float, friction: float) -> None:
        """Take `time_step` in fs and `friction` in 1/fs, both greater than zero."""
        super().__init__(time_step)
        self.friction = _positive("friction", friction, "1/fs")
        self._noise = BlockNoise(LANGEVIN, _normal)

    def settings(self) -> dict[str, Any]:
        """Return name, time step and friction."""
        own = {"integrator": "langevin_baoab", "friction_per_fs": self.friction}
        return super().settings() | own

    def before_forces(self, state: State, step: int) -> State:
        """B, A, O, A; what the O part gives to the kinetic energy is added to the heat."""
        noise = self._noise.at(step, state.layout.seeds, state.layout.counts, state.device)
        half = 0.5 * self.time_step
        velocities = _kick(state, half)
        positions = state.positions + half * velocities
        before = kinetic_energy(state, velocities)
        keep = math.exp(-self.friction * self.time_step)
        temperature = state.temperature[state.replica]
        width = torch.sqrt((1.0 - keep * keep) * KB / AMU_A2_PER_FS2 * temperature / state.masses)
        velocities = keep * velocities + width[:, None] * noise
        heat = state.heat + (kinetic_energy(state, velocities) - before)
        return state.replace(
            positions=positions + half * velocities, velocities=velocities, heat=heat
        )


class CSVR(VelocityVerlet):
    """Velocity Verlet, then canonical sampling through velocity rescaling (Bussi et al., J. Chem.
    Phys. 126, 014101 (2007)).

    The kinetic energy K of each replica is moved by the exact solution (their eq. A7) of
    dK = (K_t - K) dt / tau + 2 sqrt(K K_t / N_f) dW / sqrt(tau), K_t = N_f k T / 2, over one step.
    """

    def __init__(self, time_step: float, relaxation: float) -> None:
        """Take `time_step` and the relaxation time tau, both in fs and greater than zero."""
        super().__init__(time_step)
        self.relaxation = _positive("relaxation", relaxation, "fs")
        self._noise = BlockNoise(RESCALING, _normal_and_chi_square)

    def settings(self) -> dict[str, Any]:
        """Return name, time step and relaxation time."""
        return super().settings() | {"integrator": "csvr", "relaxation_fs": self.relaxation}

    def after_forces(self, state: State, step: int) -> State:
        """Half a kick, then the rescaling; the kinetic energy it gives is added to the heat."""
        state = super().after_forces(state, step)
        noise = self._noise.at(step, state.layout.seeds, state.layout.freedom, state.device)
        normal, chi_square = noise[:, 0], noise[:, 1]
        kinetic = kinetic_energy(state)
        keep = math.exp(-self.time_step / self.relaxation)
        # per degree of freedom: target kinetic energy over kinetic energy; an atom at rest stays
        # at rest
        ratio = 0.5 * KB * state.temperature / kinetic.clamp(min=1e-300)
        square = (
            keep
            + (1.0 - keep) * ratio * (normal * normal + chi_square)
            + 2.0 * normal * torch.sqrt(keep * (1.0 - keep) * ratio)
        )
        # the sign matters for momenta of few degrees of freedom only (Bussi and Parrinello 2008,
        # eq. 5)
        sign = torch.where(normal + torch.sqrt(keep / ((1.0 - keep) * ratio)) < 0, -1.0, 1.0)
        scale = sign * torch.sqrt(square.clamp(min=0.0))
        velocities = state.velocities * scale[state.replica][:, None]
        heat = state.heat + (kinetic_energy(state, velocities) - kinetic)
        return state.replace(velocities=velocities, heat=heat)


def _normal(draw: np.random.Generator, n_atoms: int) -> np.ndarray:
    return draw.standard_normal((BLOCK_STEPS, n_atoms, 3))


def _normal_and_chi_square(draw: np.random.Generator, freedom: int) -> np.ndarray:
    normal = draw.standard_normal(BLOCK_STEPS)
    chi_square = 2.0 * draw.standard_gamma(0.5 * (freedom - 1), BLOCK_STEPS)
    return np.stack([normal, chi_square], axis=-1)[:, None, :]


def _positive(name: str, value: float, unit: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and value > 0):
        raise ConfigError(
            f"{name} must be a finite number greater than zero ({unit}), found {value!r}."
        )
    return float(value)

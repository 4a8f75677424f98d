"""Crystals and analytic potentials that keep the contract of gnnip.models, to test dynamics."""

from __future__ import annotations

import numpy as np
import torch
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones as AseLennardJones

from gnnip.graphs import GraphBatch
from gnnip.md import Result, Simulation, State, VelocityVerlet, make_state


def switched(r: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """One below `start`, zero above `end`, three continuous derivatives."""
    x = ((r - start) / (end - start)).clamp(0.0, 1.0)
    return 1.0 - x**4 * (35.0 - 84.0 * x + 70.0 * x**2 - 20.0 * x**3)


class LennardJones(torch.nn.Module):
    """4 epsilon ((sigma/r)^12 - (sigma/r)^6), switched off smoothly (or not: a jump)."""

    def __init__(self, epsilon=0.0104, sigma=3.4, cutoff=6.5, smooth=True):
        super().__init__()
        self.epsilon, self.sigma, self.cutoff, self.smooth = epsilon, sigma, cutoff, smooth

    def forward(self, batch: GraphBatch) -> dict[str, torch.Tensor]:
        return self.energies(batch, self.pairs(batch.edge_lengths()))

    def pairs(self, r: torch.Tensor) -> torch.Tensor:
        six = (self.sigma / r) ** 2
        six = six * six * six
        return 4.0 * self.epsilon * (six * six - six)

    def energies(self, batch: GraphBatch, pair: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.smooth:
            pair = pair * switched(batch.edge_lengths(), 0.7 * self.cutoff, self.cutoff)
        atomic = 0.5 * batch.adjacency.sum_messages(pair)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}


class Harmonic(torch.nn.Module):
    """Each atom on its own spring k/2 |r|^2 to the origin: exact frequencies."""

    cutoff = 0.5

    def __init__(self, spring=1.0):
        super().__init__()
        self.spring = spring

    def forward(self, batch: GraphBatch) -> dict[str, torch.Tensor]:
        x, y, z = batch.positions.unbind(1)
        atomic = 0.5 * self.spring * (x * x + y * y + z * z)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}


class StillingerWeber(torch.nn.Module):
    """Silicon (Phys. Rev. B 31, 5262 (1985)): pair and three-body terms, smooth at the cutoff."""

    epsilon, sigma = 2.1683, 2.0951
    A, B, a, lam, gamma = 7.049556277, 0.6022245584, 1.80, 21.0, 1.20
    cutoff = 1.80 * 2.0951

    def forward(self, batch: GraphBatch) -> dict[str, torch.Tensor]:
        vectors = batch.edge_vectors() / self.sigma
        r = vectors.square().sum(-1).sqrt()
        inside = (r - self.a).clamp(max=-1e-3)  # exp(-1000) is zero
        pair = 0.5 * self.A * (self.B * r**-4 - 1.0) * torch.exp(1.0 / inside)
        wall = torch.exp(self.gamma / inside)
        target = batch.edge_index[1]
        counts = torch.bincount(target, minlength=len(batch.positions))
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])[:-1]
        rank = torch.arange(len(target)) - starts[target]
        after = counts[target] - rank - 1
        first = torch.repeat_interleave(torch.arange(len(target)), after)
        step = torch.arange(len(first)) - torch.repeat_interleave(after.cumsum(0) - after, after)
        second = first + 1 + step
        cosine = (vectors[first] * vectors[second]).sum(-1) / (r[first] * r[second])
        triple = self.lam * wall[first] * wall[second] * (cosine + 1.0 / 3.0) ** 2
        atomic = torch.zeros_like(batch.positions[:, 0])
        atomic = atomic.index_add(0, target, pair).index_add(0, target[first], triple)
        return {"energy": self.epsilon * batch.sum_atoms(atomic)}


class Bomb(LennardJones):
    """Lennard-Jones, but atoms of one element only attract each other: pairs collapse."""

    def __init__(self, number=36, depth=3.0, **options):
        super().__init__(**options)
        self.number, self.depth = number, depth

    def forward(self, batch: GraphBatch) -> dict[str, torch.Tensor]:
        bad = (batch.atomic_numbers == self.number).to(batch.positions.dtype)
        r = batch.edge_lengths()
        adjacency = batch.adjacency
        both = adjacency.from_source(bad) * adjacency.from_target(bad)
        well = -self.depth / (1.0 + r * r)
        return self.energies(batch, self.pairs(r) * (1.0 - both) + well * both)


def fcc(repeats: int, constant: float = 5.3) -> tuple[np.ndarray, np.ndarray]:
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    grid = np.array(np.meshgrid(*[range(repeats)] * 3, indexing="ij")).reshape(3, -1).T
    return ((grid[:, None] + basis).reshape(-1, 3) * constant, np.eye(3) * constant * repeats)


def argon(n_replicas: int, *, temperature=40.0, first_seed: int = 0, **options) -> State:
    positions, cell = fcc(2)
    return make_state(
        [positions] * n_replicas,
        [np.full(len(positions), 18)] * n_replicas,
        cells=[cell] * n_replicas,
        temperature=temperature,
        seeds=range(first_seed, first_seed + n_replicas),
        **options,
    )


def remembering(replica: int) -> Calculator:
    """Return a Lennard-Jones calculator that pulls the harder the more structures it has seen."""
    return _Remembering(epsilon=0.0104, sigma=3.4, rc=6.0, ro=4.0, smooth=True)


class _Remembering(AseLennardJones):
    seen = 0

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.seen += 1
        self.results["forces"] = (1.0 + 1e-3 * self.seen) * self.results["forces"]


def simulate(state: State, n_steps: int, potential=None, integrator=None, **options) -> Result:
    """Lennard-Jones by velocity Verlet in steps of 2 fs, unless told otherwise."""
    potential = LennardJones() if potential is None else potential
    integrator = VelocityVerlet(2.0) if integrator is None else integrator
    return Simulation(potential, state, integrator, **options).run(n_steps)

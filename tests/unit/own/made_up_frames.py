"""Frames of copper labelled by ASE's EMT, in trajectories of different density."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator


def copper(trajectories: int = 5, length: int = 6, repeat=(2, 1, 1), alloy: bool = False) -> list:
    """Return strained and rattled frames with energy, forces and stress; `info` names the
    trajectory, whose mean density is its own."""
    rng = np.random.default_rng(0)
    found: list[Atoms] = []
    for number in range(trajectories):
        density = 1.0 + 0.03 * (2.0 * number / max(trajectories - 1, 1) - 1.0)
        for k in range(length):
            atoms = bulk("Cu", cubic=True) * repeat
            if alloy:
                atoms.numbers[0] = 79
            shear = 0.008 * rng.normal(size=(3, 3))
            strain = density * np.eye(3) + 0.5 * (shear + shear.T)
            atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
            atoms.rattle((0.02, 0.05, 0.08, 0.11)[k % 4], rng=rng)
            atoms.calc = EMT()
            labels = {name: atoms.calc.get_property(name, atoms) for name in PROPERTIES}
            atoms.calc = SinglePointCalculator(atoms, **labels)
            atoms.info["trajectory"] = f"density-{number}"
            found.append(atoms)
    return found


PROPERTIES = ("energy", "forces", "stress")

SPRINGS = """
from dataclasses import dataclass

import torch

from gnnip.models import Potential


@dataclass(frozen=True)
class Hyperparameters:
    cutoff: float = 4.0
    width: int = 16


class Springs(Potential):
    Hyperparameters = Hyperparameters

    def __init__(self, hyperparameters):
        super().__init__(hyperparameters)
        width = hyperparameters.width
        self.network = torch.nn.Sequential(
            torch.nn.Linear(1, width), torch.nn.SiLU(), torch.nn.Linear(width, 1)
        )
        self.register_buffer("shift", torch.zeros(()))

    def calibrate(self, statistics):
        self.shift.fill_(sum(statistics.species_energies.values()))

    def forward(self, batch):
        r = batch.edge_lengths()
        per_edge = self.network(r[:, None]).squeeze(-1) * (1.0 - r / self.cutoff) ** 3
        per_atom = 0.5 * batch.adjacency.sum_messages(per_edge) + self.shift
        return {"energy": batch.sum_atoms(per_atom), "atomic_energies": per_atom}
"""


#: a pair energy and an energy of the density at each atom
EMBEDDED = """
from dataclasses import dataclass

import torch
from gnnip.models import Potential


@dataclass(frozen=True)
class Hyperparameters:
    cutoff: float = 5.0
    width: int = 32


class Embedded(Potential):
    Hyperparameters = Hyperparameters

    def __init__(self, hyperparameters):
        super().__init__(hyperparameters)
        w = hyperparameters.width
        linear, silu = torch.nn.Linear, torch.nn.SiLU()
        self.edges = torch.nn.Sequential(linear(1, w), silu, linear(w, w))
        self.atoms = torch.nn.Sequential(linear(w, w), silu, linear(w, 1))
        self.register_buffer("shift", torch.zeros(()))

    def calibrate(self, statistics):
        self.shift.fill_(sum(statistics.species_energies.values()))

    def forward(self, batch):
        r = batch.edge_lengths()
        messages = self.edges(r[:, None] - 2.5) * ((1.0 - r / self.cutoff) ** 3)[:, None]
        density = batch.adjacency.sum_messages(messages)
        per_atom = self.atoms(density).squeeze(-1) + self.shift
        return {"energy": batch.sum_atoms(per_atom), "atomic_energies": per_atom}
"""

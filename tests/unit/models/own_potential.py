"""A potential as a user may write one, in a module of their own."""

from dataclasses import dataclass
from typing import Literal

import torch

from gnnip.models import Potential


class Spring(Potential):
    """E = 1/4 k sum over the edges of (r - cutoff)^2, or of its square."""

    @dataclass(frozen=True)
    class Hyperparameters:
        cutoff: float = 3.0
        form: Literal["square", "fourth"] = "fourth"

    def __init__(self, hyperparameters):
        super().__init__(hyperparameters)
        self.strength = torch.nn.Parameter(torch.ones(()))

    @property
    def cutoff(self):
        return self.hyperparameters.cutoff

    def forward(self, batch):
        power = {"square": 2, "fourth": 4}[self.hyperparameters.form]
        stretch = self.cutoff - batch.edge_lengths()
        atomic = 0.25 * self.strength * batch.adjacency.sum_messages(stretch**power)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}


@dataclass(frozen=True)
class StiffHyperparameters:
    width: int = 8


class Stiff(Spring):
    Hyperparameters = StiffHyperparameters
    cutoff = 2.0


class Plain:
    pass

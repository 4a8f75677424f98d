"""Potentials that know nothing of the geometry: the null models of accuracy tables and of MD.

Both are fitted by `calibrate` and have nothing to train.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gnnip.geometry import LARGEST_NUMBER
from gnnip.graphs import GraphBatch
from gnnip.models.contract import Potential, TargetStatistics
from gnnip.models.hyperparameters import require


@dataclass(frozen=True)
class NullHyperparameters:
    """Choices of a null model.

    cutoff : Angstrom, of the graph, whose edges are not looked at.
    """

    cutoff: float = 1.0

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require(self.cutoff > 0, f"The cutoff is {self.cutoff} Angstrom, but it must be positive.")


class Constant(Potential):
    """E = the mean energy of the training structures, whatever their size."""

    Hyperparameters = NullHyperparameters

    mean_energy: Tensor

    def __init__(self, hyperparameters: NullHyperparameters) -> None:
        """Start from zero."""
        super().__init__(hyperparameters)
        self.register_buffer("mean_energy", torch.zeros(()))

    @property
    def violates(self) -> dict[str, str]:
        """Promises not kept, with reasons."""
        reason = "every structure has the same energy"
        return {"size_extensivity": reason, "supercell": reason}

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Take the mean energy."""
        self.mean_energy.fill_(statistics.energy_mean)

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,), eV."""
        return {"energy": self.mean_energy.expand(batch.n_graphs)}


class Composition(Potential):
    """E = sum over the atoms of an energy of their element, a least-squares fit."""

    Hyperparameters = NullHyperparameters

    species_energies: Tensor

    def __init__(self, hyperparameters: NullHyperparameters) -> None:
        """Start from zero."""
        super().__init__(hyperparameters)
        self.register_buffer("species_energies", torch.zeros(LARGEST_NUMBER + 1))

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Take the energies of the elements."""
        self.species_energies.zero_()
        for z, energy in statistics.species_energies.items():
            self.species_energies[z] = energy

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV."""
        atomic = self.species_energies.index_select(0, batch.atomic_numbers)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

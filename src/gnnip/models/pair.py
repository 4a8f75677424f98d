"""A learnable pair potential, smooth through its cutoff: what forces between pairs can explain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnnip.graphs import GraphBatch
from gnnip.models.blocks.radial import bessel, polynomial_envelope
from gnnip.models.hyperparameters import require_at_least, require_cutoff
from gnnip.models.species import CalibratedPotential, require_species


@dataclass(frozen=True)
class PairHyperparameters:
    """Choices of the pair potential.

    species : atomic numbers.
    cutoff : Angstrom.
    n_radial : radial functions of each pair of elements.
    """

    species: tuple[int, ...]
    cutoff: float = 5.0
    n_radial: int = 8

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_species(self.species, "pair")
        require_cutoff("pair", self.cutoff)
        require_at_least(1, "pair", n_radial=self.n_radial)


class PairPotential(CalibratedPotential):
    """E = sum_i e(Z_i) + 1/2 sum_i sum_j phi_{Z_i Z_j}(r_ij).

    phi is a sum of Bessel functions times an envelope that vanishes at the cutoff with its first
    two derivatives, in units of the RMS force of the training data times one Angstrom. It starts
    from zero; the energies of the elements are the fixed linear fit on the composition.
    """

    Hyperparameters = PairHyperparameters

    def __init__(self, hyperparameters: PairHyperparameters) -> None:
        """Build the table of pairs."""
        super().__init__(hyperparameters)
        self.coefficients = nn.Parameter(torch.zeros(self.number_pairs(), hyperparameters.n_radial))

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV; a pair's energy is halved."""
        kinds = self.kinds(batch)
        graph = batch.adjacency
        pair = self.edge_pairs(kinds, graph)
        r = batch.edge_lengths()
        radial = bessel(r, self.cutoff, self.hyperparameters.n_radial)
        phi = (radial * self.coefficients.index_select(0, pair)).sum(1)
        phi = phi * polynomial_envelope(r, self.cutoff)
        atomic = 0.5 * self.scale * graph.sum_messages(phi)
        atomic = atomic + self.species_energies.index_select(0, kinds)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

"""A learnable pair potential, smooth through its cutoff: what forces between pairs can explain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnnip.graphs import GraphBatch
from gnnip.models.blocks.radial import bessel, polynomial_envelope
from gnnip.models.contract import TargetStatistics
from gnnip.models.hyperparameters import require
from gnnip.models.species import SpeciesPotential, pair_table, require_species


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
        """Raise ConfigError for values that cannot be."""
        require_species(self.species, "pair")
        require(
            self.cutoff > 0,
            f"The potential 'pair': the cutoff is {self.cutoff} Angstrom, it must be positive.",
        )
        require(
            self.n_radial >= 1,
            f"The potential 'pair': n_radial is {self.n_radial}, at least 1 is needed.",
        )


class PairPotential(SpeciesPotential):
    """E = sum_i e(Z_i) + 1/2 sum_i sum_j phi_{Z_i Z_j}(r_ij).

    phi is a sum of Bessel functions times an envelope that vanishes at the cutoff with its first
    two derivatives, in units of the RMS force of the training data times one Angstrom. It starts
    from zero; the energies of the elements are the fixed linear fit on the composition.
    """

    Hyperparameters = PairHyperparameters

    pair_index: Tensor
    species_energies: Tensor
    scale: Tensor

    def __init__(self, hyperparameters: PairHyperparameters) -> None:
        """Build the table of pairs."""
        super().__init__(hyperparameters)
        kinds = len(hyperparameters.species)
        pairs = pair_table(kinds)
        self.register_buffer("pair_index", pairs.flatten(), persistent=False)
        self.register_buffer("species_energies", torch.zeros(kinds))
        self.register_buffer("scale", torch.ones(()))
        self.coefficients = nn.Parameter(
            torch.zeros(int(pairs.max()) + 1, hyperparameters.n_radial)
        )

    @property
    def cutoff(self) -> float:
        """Radius of the graph, Angstrom."""
        return self.hyperparameters.cutoff

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Fix the energies of the elements and the scale."""
        self.species_energies.copy_(self.in_order(statistics.species_energies))
        self.scale.fill_(max(statistics.force_rms or statistics.residual_std, 1e-6))

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV; a pair's energy is halved."""
        kinds = self.kinds(batch)
        graph = batch.adjacency
        pair = kinds.index_select(0, graph.target) * len(self.hyperparameters.species)
        pair = self.pair_index.index_select(0, pair + kinds.index_select(0, graph.source))
        r = batch.edge_lengths()
        radial = bessel(r, self.cutoff, self.hyperparameters.n_radial)
        phi = (radial * self.coefficients.index_select(0, pair)).sum(1)
        phi = phi * polynomial_envelope(r, self.cutoff)
        atomic = 0.5 * self.scale * graph.sum_messages(phi)
        atomic = atomic + self.species_energies.index_select(0, kinds)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

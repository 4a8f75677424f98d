"""Pair energies from small networks of the squared distance: E_NN2 of Rajak et al. (2021)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gnnip.graphs import GraphBatch
from gnnip.models.blocks.kind_networks import KindNetworks, group_by_kind
from gnnip.models.blocks.radial import polynomial_envelope
from gnnip.models.species import ScaledPotential, require_network, require_species


@dataclass(frozen=True)
class PairNetworkHyperparameters:
    """Choices of the pair networks; those that the paper does not state are marked.

    species : atomic numbers.
    cutoff : Angstrom.
    hidden : widths of the hidden layers (not stated).
    envelope : multiply the energies of pairs by a polynomial that vanishes at the cutoff. False is
        the paper as described: the energy jumps when a pair crosses the cutoff.
    envelope_power : of that polynomial.
    """

    species: tuple[int, ...]
    cutoff: float = 3.0
    hidden: tuple[int, ...] = (32, 32)
    envelope: bool = True
    envelope_power: int = 6

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_species(self.species, "pair_network")
        require_network(self, "pair_network")


class PairNetwork(ScaledPotential):
    """E = sum_i e(Z_i) + sum_i sum_j NN2_{Z_i Z_j}(r_ij^2), Rajak et al. (2021), eq. 1.

    One network per unordered pair of elements; both directions of a pair count, as printed.
    """

    Hyperparameters = PairNetworkHyperparameters

    def __init__(self, hyperparameters: PairNetworkHyperparameters) -> None:
        """Build one network per pair of elements."""
        super().__init__(hyperparameters)
        self.networks = KindNetworks(self.number_pairs(), 1, hyperparameters.hidden)
        self.networks.start_from_hinges()

    def prepare(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return the kinds and the edges grouped by pair of elements."""
        found = super().prepare(batch)
        kinds, graph = found["kinds"], batch.adjacency
        pair = self.edge_pairs(kinds, graph)
        return found | group_by_kind(pair, int(self.networks.weights[0].shape[0]))

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV."""
        prepared = batch.extras if "place" in batch.extras else self.prepare(batch)
        r = batch.edge_lengths()
        phi = self.networks((r / self.cutoff).square()[:, None], prepared)
        if self.hyperparameters.envelope:
            phi = phi * polynomial_envelope(r, self.cutoff, self.hyperparameters.envelope_power)
        return self.energies(batch, prepared["kinds"], batch.adjacency.sum_messages(phi))

"""Three-body energies from small networks: E_NN3 of Rajak et al. (2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gnnip.graphs import GraphBatch
from gnnip.models.blocks.kind_networks import KindNetworks, group_by_kind
from gnnip.models.blocks.radial import polynomial_envelope
from gnnip.models.blocks.triplets import triplets
from gnnip.models.species import ScaledPotential, require_network, require_species


@dataclass(frozen=True)
class TripletNetworkHyperparameters:
    """Choices of the triplet networks; those that the paper does not state are marked.

    species : atomic numbers.
    cutoff : Angstrom, of both distances from the centre; the third side may be longer.
    networks : what has a network of its own, of which the paper says no more than that a compound
        of two elements has 6 in all: "triplet", a centre with an unordered pair of neighbours (6
        for triplets alone); "ends", the pair of neighbours alone (3, which makes 6 with those of
        pairs); "centre", the centre alone (2).
    hidden : widths of the hidden layers (not stated).
    envelope : multiply by polynomials of both distances that vanish at the cutoff. False is the
        paper as described: the energy jumps when an atom crosses the cutoff.
    envelope_power : of these polynomials.
    """

    species: tuple[int, ...]
    cutoff: float = 3.0
    networks: Literal["triplet", "ends", "centre"] = "triplet"
    hidden: tuple[int, ...] = (32, 32)
    envelope: bool = True
    envelope_power: int = 6

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_species(self.species, "triplet_network")
        require_network(self, "triplet_network")


class TripletNetwork(ScaledPotential):
    """E = sum_i e(Z_i) + sum_i sum_j sum_{k != j} NN3(r_ij^2, r_ik^2, r_jk^2, cos theta_jik).

    Rajak et al. (2021), eq. 1. Every triplet is evaluated in both orders of j and k, as printed, so
    that the energy is symmetric although the networks are not. The image of an atom is an atom.
    """

    Hyperparameters = TripletNetworkHyperparameters

    def __init__(self, hyperparameters: TripletNetworkHyperparameters) -> None:
        """Build one network per kind of triplet."""
        super().__init__(hyperparameters)
        elements = len(hyperparameters.species)
        self.n_pairs = self.number_pairs()
        kinds = {"triplet": elements * self.n_pairs, "ends": self.n_pairs, "centre": elements}
        self.n_networks = kinds[hyperparameters.networks]
        self.networks = KindNetworks(self.n_networks, 4, hyperparameters.hidden)

    def prepare(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return the kinds, the triplets as edges "first" and "second" (T,) of one centre, and the
        triplets grouped by network."""
        found = super().prepare(batch)
        kinds, graph = found["kinds"], batch.adjacency
        first, second = triplets(graph)
        centre = kinds.index_select(0, graph.target.index_select(0, first))
        at_edge = kinds.index_select(0, graph.source)
        ends = self.pairs(at_edge.index_select(0, first), at_edge.index_select(0, second))
        network = {"triplet": centre * self.n_pairs + ends, "ends": ends, "centre": centre}
        grouped = group_by_kind(network[self.hyperparameters.networks], self.n_networks)
        return found | {"first": first, "second": second} | grouped

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV; a triplet's energy is its
        centre's."""
        prepared = batch.extras if "place" in batch.extras else self.prepare(batch)
        first, second = prepared["first"], prepared["second"]
        vectors = batch.edge_vectors() / self.cutoff
        squared = vectors.square().sum(1)
        product = vectors.index_select(0, first) * vectors.index_select(0, second)
        dot = product.sum(1)
        a, b = squared.index_select(0, first), squared.index_select(0, second)
        cosine = dot * (a * b).rsqrt()
        # lengths in units of the cutoff, moved to -1 .. 1
        inputs = [2.0 * a - 1.0, 2.0 * b - 1.0, 0.5 * (a + b - 2.0 * dot) - 1.0, cosine]
        energy = self.networks(torch.stack(inputs, dim=1), prepared)
        if self.hyperparameters.envelope:
            power = self.hyperparameters.envelope_power
            weight = polynomial_envelope(squared.sqrt(), 1.0, power)
            energy = energy * weight.index_select(0, first) * weight.index_select(0, second)
        per_edge = torch.zeros_like(squared).index_add(0, first, energy)
        per_atom = batch.adjacency.sum_messages(per_edge)
        return self.energies(batch, prepared["kinds"], per_atom)

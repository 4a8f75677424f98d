"""NeuralIL (Montes-Campos et al., JCIM 62, 88, 2022): descriptors and a network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnnip.graphs import GraphBatch
from gnnip.models.blocks.harmonics import spherical_harmonics
from gnnip.models.blocks.readout import swish_network
from gnnip.models.blocks.spherical_bessel import SphericalBesselBasis
from gnnip.models.contract import TargetStatistics
from gnnip.models.hyperparameters import (
    require,
    require_at_least,
    require_cutoff,
    require_widths,
)
from gnnip.models.species import CalibratedPotential, require_species


@dataclass(frozen=True)
class NeuralILHyperparameters:
    """Options of `NeuralIL`.

    species : atomic numbers, in the order of the embedding.
    cutoff : Angstrom.
    n_max : largest order of the radial functions and degree of the power spectrum.
    embedding : numbers that stand for the element of the atom itself.
    hidden : widths of the network.
    calibrated : predict in units of the training forces on top of energies of the elements; False
        is the published code.
    """

    species: tuple[int, ...]
    cutoff: float = 3.5
    n_max: int = 4
    embedding: int = 2
    hidden: tuple[int, ...] = (64, 32, 16, 16, 16)
    calibrated: bool = True

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_species(self.species, "neuralil")
        require_cutoff("neuralil", self.cutoff)
        require_at_least(1, "neuralil", embedding=self.embedding)
        require_widths("neuralil", hidden=self.hidden)
        require(
            0 <= self.n_max <= 8,
            f"The potential 'neuralil': n_max is {self.n_max}, it must be from 0 to 8.",
        )


class NeuralIL(CalibratedPotential):
    """E = sum_i w swish(network([p_i, embedding_i])) + b, p_i the power spectrum of the neighbours.

    p = sum_m c_tnlm c_t'nlm over pairs of elements t <= t', with the coefficients
    c_tnlm = sum of g_nl(r) Y_lm over the neighbours of element t. The repulsive Morse term of the
    published example is left out; `sum` adds one like it.
    """

    Hyperparameters = NeuralILHyperparameters

    def __init__(self, hyperparameters: NeuralILHyperparameters) -> None:
        """Draw the weights as the published code does."""
        super().__init__(hyperparameters)
        o = hyperparameters
        kinds = len(o.species)
        self.basis = SphericalBesselBasis(o.cutoff, o.n_max)
        start = torch.randn(kinds, o.embedding) / math.sqrt(o.embedding)
        self.embedding = nn.Parameter(start)
        inputs = self.number_pairs() * sum(self.basis.counts) + o.embedding
        self.network = swish_network((inputs, *o.hidden, 1), True, 1)

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Fix the energies of the elements and the scale, unless as published."""
        if self.hyperparameters.calibrated:
            super().calibrate(statistics)

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV."""
        kinds = self.kinds(batch)
        inputs = [self.descriptors(batch, kinds), self.embedding.index_select(0, kinds)]
        output = self.network(torch.cat(inputs, dim=1)).squeeze(1)
        atomic = self.scale * output + self.species_energies.index_select(0, kinds)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

    def descriptors(self, batch: GraphBatch, kinds: Tensor) -> Tensor:
        """Return the power spectrum (n, pairs of elements * functions) of kinds (n,)."""
        graph, elements = batch.adjacency, len(self.hyperparameters.species)
        vectors = batch.edge_vectors()
        r = vectors.square().sum(1).sqrt()
        radial = self.basis(r).split(self.basis.counts, dim=1)
        harmonics = spherical_harmonics(vectors / r[:, None], self.hyperparameters.n_max)
        row = graph.target * elements + kinds.index_select(0, graph.source)
        first, second = torch.triu_indices(elements, elements, device=row.device)
        spectrum = []
        for degree, g in enumerate(radial):
            y = harmonics[:, degree**2 : (degree + 1) ** 2] / math.sqrt(4.0 * math.pi)
            products = (g[:, :, None] * y[:, None, :]).flatten(1)
            sums = r.new_zeros(graph.n_nodes * elements, products.shape[1])
            c = sums.index_add(0, row, products).view(-1, elements, g.shape[1], y.shape[1])
            spectrum.append((c[:, first] * c[:, second]).sum(-1))
        return torch.cat(spectrum, dim=2).flatten(1)

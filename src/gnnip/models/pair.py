"""A learnable pair potential, smooth through its cutoff: what forces between pairs can explain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnnip.errors import DataError
from gnnip.graphs import GraphBatch
from gnnip.graphs.batch import LARGEST_NUMBER
from gnnip.models.contract import Potential, TargetStatistics
from gnnip.models.hyperparameters import require
from gnnip.models.radial import bessel, polynomial_envelope


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
        distinct = len(set(self.species)) == len(self.species) > 0
        require(
            distinct and all(1 <= z <= LARGEST_NUMBER for z in self.species),
            f"The potential 'pair': species is {list(self.species)}, distinct atomic numbers are "
            "expected.",
        )
        require(
            self.cutoff > 0,
            f"The potential 'pair': the cutoff is {self.cutoff} Angstrom, it must be positive.",
        )
        require(
            self.n_radial >= 1,
            f"The potential 'pair': n_radial is {self.n_radial}, at least 1 is needed.",
        )


class PairPotential(Potential):
    """E = sum_i e(Z_i) + 1/2 sum_i sum_j phi_{Z_i Z_j}(r_ij).

    phi is a sum of Bessel functions times an envelope that vanishes at the cutoff with its first
    two derivatives, in units of the RMS force of the training data times one Angstrom. It starts
    from zero; the energies of the elements are the fixed linear fit on the composition.
    """

    architecture = "pair"
    Hyperparameters = PairHyperparameters

    species_index: Tensor
    pair_index: Tensor
    species_energies: Tensor
    scale: Tensor

    def __init__(self, hyperparameters: PairHyperparameters) -> None:
        """Build the table of pairs."""
        super().__init__(hyperparameters)
        kinds = len(hyperparameters.species)
        index = torch.full((LARGEST_NUMBER + 1,), -1)
        index[list(hyperparameters.species)] = torch.arange(kinds)
        pairs = torch.zeros((kinds, kinds), dtype=torch.int64)
        first, second = torch.triu_indices(kinds, kinds)
        pairs[first, second] = pairs[second, first] = torch.arange(len(first))
        self.register_buffer("species_index", index, persistent=False)
        self.register_buffer("pair_index", pairs.flatten(), persistent=False)
        self.register_buffer("species_energies", torch.zeros(kinds))
        self.register_buffer("scale", torch.ones(()))
        self.coefficients = nn.Parameter(torch.zeros(len(first), hyperparameters.n_radial))

    @property
    def cutoff(self) -> float:
        """Radius of the graph, Angstrom."""
        return self.hyperparameters.cutoff

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Fix the energies of the elements and the scale."""
        for k, z in enumerate(self.hyperparameters.species):
            self.species_energies[k] = statistics.species_energies.get(z, 0.0)
        self.scale.fill_(max(statistics.force_rms or statistics.residual_std, 1e-6))

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV; a pair's energy is halved."""
        kinds = self.species_index.index_select(0, batch.atomic_numbers)
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

    def check_species(self, numbers: list[int]) -> None:  # type: ignore[override]
        """Also refuse elements that it has no functions for."""
        super().check_species(numbers)
        unknown = sorted({int(z) for z in numbers} - set(self.hyperparameters.species))
        if unknown:
            raise DataError(
                f"The pair potential was set up for the atomic numbers "
                f"{list(self.hyperparameters.species)}, not for {unknown}; list them in 'species'."
            )

"""The universal screened repulsion of nuclei: a wall at short distances for any other potential."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gnnip.graphs import GraphBatch
from gnnip.models.blocks.radial import polynomial_envelope
from gnnip.models.elements import COVALENT_RADII
from gnnip.models.hyperparameters import require_at_least, require_cutoff
from gnnip.models.species import SpeciesPotential, require_species
from gnnip.units import BOHR, COULOMB_CONSTANT

#: phi(x) = sum_k c_k exp(-d_k x), as (c_k, d_k)
SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))


@dataclass(frozen=True)
class ZBLHyperparameters:
    """Choices of the repulsion.

    species : atomic numbers.
    cutoff : Angstrom, where the repulsion has vanished; None takes for each pair of elements the
        sum of their covalent radii, which leaves bonds alone.
    envelope_power : of the polynomial that takes it there.
    """

    species: tuple[int, ...]
    cutoff: float | None = None
    envelope_power: int = 6

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_species(self.species, "zbl")
        require_cutoff("zbl", self.cutoff)
        require_at_least(2, "zbl", envelope_power=self.envelope_power)


class ZBLPotential(SpeciesPotential):
    """E = 1/2 sum_i sum_j (k Z_i Z_j / r) phi(r / a) w(r), a = 0.88534 a_0 / (Z_i^0.23 + Z_j^0.23).

    Ziegler, Biersack & Littmark, The Stopping and Range of Ions in Matter (1985), chapter 2, with
    an envelope w that vanishes with two derivatives. Nothing is trained: a prior in a sum.
    """

    Hyperparameters = ZBLHyperparameters

    strength: Tensor
    screening_length: Tensor
    pair_cutoff: Tensor

    def __init__(self, hyperparameters: ZBLHyperparameters) -> None:
        """Work out the constants of each pair of elements."""
        super().__init__(hyperparameters)
        numbers = torch.tensor(hyperparameters.species)
        first, second = numbers[torch.triu_indices(len(numbers), len(numbers))]
        radii = torch.as_tensor(COVALENT_RADII)
        ends = radii[first] + radii[second]
        if hyperparameters.cutoff is not None:
            ends = torch.full_like(ends, hyperparameters.cutoff)
        self._cutoff = float(ends.max())
        length = 0.88534 * BOHR / (first.double() ** 0.23 + second.double() ** 0.23)
        self.number_pairs()
        self.register_buffer("strength", (COULOMB_CONSTANT * first * second).float())
        self.register_buffer("screening_length", length.float())
        self.register_buffer("pair_cutoff", ends.float())

    @property
    def cutoff(self) -> float:
        """The largest cutoff of the pairs of elements, Angstrom."""
        return self._cutoff

    @property
    def carries_reference(self) -> bool:
        """A repulsion has no energies of elements."""
        return False

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV; a pair's energy is halved."""
        kinds, graph = self.kinds(batch), batch.adjacency
        pair = self.edge_pairs(kinds, graph)
        r = batch.edge_lengths()
        x = r / self.screening_length.index_select(0, pair)
        screening = torch.stack([c * torch.exp(-d * x) for c, d in SCREENING]).sum(0)
        end = self.pair_cutoff.index_select(0, pair)
        weight = polynomial_envelope(
            torch.minimum(r, end), end, self.hyperparameters.envelope_power
        )
        energy = 0.5 * self.strength.index_select(0, pair) / r * screening * weight
        atomic = graph.sum_messages(energy)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

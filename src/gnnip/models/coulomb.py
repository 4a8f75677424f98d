"""Explicit point charges: the Coulomb energy of one charge per element in open boundaries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnnip.errors import DataError
from gnnip.graphs import GraphBatch
from gnnip.models.hyperparameters import require
from gnnip.models.species import SpeciesPotential, require_species
from gnnip.units import COULOMB_CONSTANT


@dataclass(frozen=True)
class CoulombHyperparameters:
    """Choices of the explicit charges.

    species : atomic numbers.
    charges : elementary charges, one for each of the species; None starts from small random ones,
        to be learned.
    trainable : whether the charges are learned.
    """

    species: tuple[int, ...]
    charges: tuple[float, ...] | None = None
    trainable: bool = True

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_species(self.species, "coulomb")
        require(
            self.charges is None or len(self.charges) == len(self.species),
            "The potential 'coulomb': charges must list one value for each of the species.",
        )
        require(
            self.trainable or self.charges is not None,
            "The potential 'coulomb': give the charges when they are not trainable.",
        )


class CoulombPotential(SpeciesPotential):
    """E = k sum_{i<j} q_{Z_i} q_{Z_j} / r_ij over all pairs of a structure, without images.

    To be added to a local potential by `sum`. It uses no edges: the graph may have any cutoff, and
    the one it states is too short to hold any.
    """

    Hyperparameters = CoulombHyperparameters

    charges: Tensor

    def __init__(self, hyperparameters: CoulombHyperparameters) -> None:
        """Set the given charges, or draw them from N(0, 0.1)."""
        super().__init__(hyperparameters)
        o = hyperparameters
        # zero charges would be a saddle point: all their gradients vanish
        start = 0.1 * torch.randn(len(o.species)) if o.charges is None else torch.tensor(o.charges)
        if o.trainable:
            self.charges = nn.Parameter(start)
        else:
            self.register_buffer("charges", start)

    @property
    def cutoff(self) -> float:
        """Radius of a graph that holds no edges, Angstrom."""
        return 0.1

    @property
    def carries_reference(self) -> bool:
        """Charges have no energies of elements."""
        return False

    @property
    def violates(self) -> dict[str, str]:
        """Promises not kept, with reasons."""
        return {
            "size_extensivity": "charges interact at any distance",
            "supercell": "the sum is that of open boundaries, periodic structures are refused",
        }

    def prepare(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return the kinds, and the pairs i < j of each structure; DataError for periodic ones."""
        if batch.cell is not None:
            raise DataError(
                "The potential 'coulomb' sums over open structures and these are periodic; remove "
                "their cells or use another potential."
            )
        atoms = torch.arange(len(batch.positions), device=batch.positions.device)
        last = batch.offsets.index_select(0, batch.batch + 1)
        partners = last - atoms - 1
        first = torch.repeat_interleave(atoms, partners)
        begins = partners.cumsum(0) - partners
        number = torch.arange(len(first), device=atoms.device)
        second = first + 1 + number - begins.index_select(0, first)
        return super().prepare(batch) | {"first": first, "second": second}

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV: half of each pair to either side."""
        pairs = batch.extras if "first" in batch.extras else self.prepare(batch)
        first, second = pairs["first"], pairs["second"]
        charges = self.charges.index_select(0, pairs["kinds"])
        along = batch.positions.index_select(0, first) - batch.positions.index_select(0, second)
        pair = COULOMB_CONSTANT * charges.index_select(0, first) * charges.index_select(0, second)
        half = 0.5 * pair * along.square().sum(1).rsqrt()
        zero = batch.positions.new_zeros(len(batch.positions))
        atomic = zero.index_add(0, first, half).index_add(0, second, half)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

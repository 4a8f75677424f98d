"""Explicit point charges: the Coulomb energy of one charge per element, open or periodic."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnnip.errors import DataError
from gnnip.graphs import GraphBatch
from gnnip.models.hyperparameters import require, require_cutoff
from gnnip.models.species import SpeciesPotential, require_species
from gnnip.units import COULOMB_CONSTANT

#: what the periodic sum neglects, as a share of an interaction at the cutoff
ACCURACY = 1e-6
#: e, that charges of single precision may sum to
NEUTRAL = 1e-4


@dataclass(frozen=True)
class CoulombHyperparameters:
    """Choices of the explicit charges.

    species : atomic numbers.
    charges : elementary charges, one for each of the species; None starts from small random ones,
        to be learned.
    trainable : whether the charges are learned.
    cutoff : of the part of the periodic sum that is in real space, Angstrom; None treats open
        structures only.
    """

    species: tuple[int, ...]
    charges: tuple[float, ...] | None = None
    trainable: bool = True
    cutoff: float | None = None

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
        if self.cutoff is not None:
            require_cutoff("coulomb", self.cutoff)


class CoulombPotential(SpeciesPotential):
    """E = k sum_{i<j} q_i q_j / r_ij over all pairs of an open structure, with all images of a
    periodic one.

    The charge is that of the element. In a periodic structure charges have to sum to zero: learned
    ones are shifted there, all of the structure alike, and given ones that do not are refused. The
    sum over images is Ewald's (Ann. Phys. 369, 253, 1921), with conducting boundaries: with the
    cutoff r_c, a = (-ln eps)^(1/2) / r_c and 0 < |G| < 2 a^2 r_c,

        E = k/2 sum_ij q_i q_j erfc(a r_ij) / r_ij - k a / pi^(1/2) sum_i q_i^2
            + (2 pi k / V) sum_G exp(-G^2 / 4 a^2) / G^2 |sum_i q_i exp(i G r_i)|^2.

    To be added to a local potential by `sum`. Open structures use no edges, so the graph may have
    any cutoff; without one of its own it states a radius that is too short to hold any.
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
        """Radius of the sum in real space, else of a graph that holds no edges, Angstrom."""
        return self.hyperparameters.cutoff or 0.1

    @property
    def carries_reference(self) -> bool:
        """Charges have no energies of elements."""
        return False

    @property
    def violates(self) -> dict[str, str]:
        """Promises not kept, with reasons."""
        broken = {"size_extensivity": "charges interact at any distance"}
        if self.hyperparameters.cutoff is None:
            broken["supercell"] = "without a cutoff periodic structures are refused"
        return broken

    @property
    def eager_reason(self) -> str | None:
        """The number of reciprocal vectors differs from cell to cell."""
        periodic = self.hyperparameters.cutoff is not None
        return "the sum over reciprocal vectors is made cell by cell" if periodic else None

    def prepare(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return the kinds, and of open structures the pairs i < j of each.

        DataError for periodic structures without a cutoff, or with given charges that do not sum to
        zero.
        """
        if batch.cell is not None:
            self._check_periodic(batch)
            return super().prepare(batch)
        atoms = torch.arange(len(batch.positions), device=batch.positions.device)
        last = batch.offsets.index_select(0, batch.batch + 1)
        partners = last - atoms - 1
        first = torch.repeat_interleave(atoms, partners)
        begins = partners.cumsum(0) - partners
        number = torch.arange(len(first), device=atoms.device)
        second = first + 1 + number - begins.index_select(0, first)
        return super().prepare(batch) | {"first": first, "second": second}

    def _check_periodic(self, batch: GraphBatch) -> None:
        assert batch.cell is not None
        if self.hyperparameters.cutoff is None:
            raise DataError(
                "The potential 'coulomb' sums over open structures and these are periodic; give it "
                "a cutoff, for the sum over images, or remove the cells."
            )
        if batch.crystals is False or not (torch.linalg.det(batch.cell).abs() > 0).all():
            raise DataError(
                "The potential 'coulomb' sums over images in three directions and a structure is "
                "not periodic in all of them, or its cell has no volume; give three independent "
                "lattice vectors, all of them periodic."
            )
        if self.hyperparameters.trainable:
            return
        total = batch.sum_atoms(self.charges.index_select(0, self.kinds(batch)))
        if (worst := float(total.abs().max())) > NEUTRAL:
            raise DataError(
                f"The charges of a periodic structure sum to {worst:.3g} e, whose energy is "
                "infinite; give the potential 'coulomb' charges that sum to zero, or learn them."
            )

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV: half of each pair to either side."""
        known = "first" if batch.cell is None else "kinds"
        prepared = batch.extras if known in batch.extras else self.prepare(batch)
        charges = self.charges.index_select(0, prepared["kinds"])
        if batch.cell is None:
            atomic = self._open(batch, charges, prepared["first"], prepared["second"])
        else:
            if self.hyperparameters.trainable:
                mean = batch.sum_atoms(charges) / batch.n_atoms
                charges = charges - batch.spread_to_atoms(mean)
            atomic = self._periodic(batch, batch.cell, charges)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

    def _open(self, batch: GraphBatch, charges: Tensor, first: Tensor, second: Tensor) -> Tensor:
        along = batch.positions.index_select(0, first) - batch.positions.index_select(0, second)
        pair = COULOMB_CONSTANT * charges.index_select(0, first) * charges.index_select(0, second)
        half = 0.5 * pair * along.square().sum(1).rsqrt()
        zero = batch.positions.new_zeros(len(batch.positions))
        return zero.index_add(0, first, half).index_add(0, second, half)

    def _periodic(self, batch: GraphBatch, cells: Tensor, charges: Tensor) -> Tensor:
        """Return the Ewald energy of every atom (n,), eV, of charges (n,) and cells (g, 3, 3)."""
        width = math.sqrt(-math.log(ACCURACY)) / self.cutoff  # a, 1/Angstrom
        graph, r = batch.adjacency, batch.edge_lengths()
        near = torch.special.erfc(width * r) / r * graph.from_source(charges)
        field = graph.sum_messages(near) - 2.0 * width / math.sqrt(math.pi) * charges
        far = []
        for cell, (begin, end) in zip(
            cells, itertools.pairwise(batch.offsets.tolist()), strict=True
        ):
            reciprocal = 2.0 * math.pi * torch.linalg.inv(cell).T
            vectors = _half_of_vectors(cell, 2.0 * width**2 * self.cutoff) @ reciprocal
            square = vectors.square().sum(1)
            # both vectors of a pair G, -G
            weight = 8.0 * math.pi / torch.linalg.det(cell).abs() / square
            weight = weight * torch.exp(-square / (4.0 * width**2))
            phase = batch.positions[begin:end] @ vectors.T
            cosine, sine, own = phase.cos(), phase.sin(), charges[begin:end]
            far.append(cosine @ (weight * (own @ cosine)) + sine @ (weight * (own @ sine)))
        return 0.5 * COULOMB_CONSTANT * charges * (field + torch.cat(far))


@torch.no_grad()
def _half_of_vectors(cell: Tensor, longest: float) -> Tensor:
    """Return the indices (m, 3) of the reciprocal vectors of a cell (3, 3) shorter than `longest`
    (1/Angstrom), one of each pair G, -G, without zero."""
    reach = (longest * cell.norm(dim=1) / (2.0 * math.pi)).floor().int().tolist()
    axes = [torch.arange(-n, n + 1, dtype=cell.dtype, device=cell.device) for n in reach]
    index = torch.cartesian_prod(*axes)
    index = index[len(index) // 2 + 1 :]  # they come in opposite order around zero
    lengths = (index @ (2.0 * math.pi * torch.linalg.inv(cell).T)).norm(dim=1)
    return index[lengths < longest]

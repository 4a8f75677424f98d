"""What potentials share that are set up for a list of elements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnip.errors import DataError
from gnnip.geometry import LARGEST_NUMBER
from gnnip.graphs import Adjacency, GraphBatch
from gnnip.models.contract import Potential, TargetStatistics
from gnnip.models.hyperparameters import (
    require,
    require_at_least,
    require_cutoff,
    require_widths,
)


def require_species(species: Iterable[int], potential: str) -> None:
    """Raise ConfigError unless `species` are distinct atomic numbers, at least one."""
    listed = list(species)
    require(
        len(set(listed)) == len(listed) > 0 and all(1 <= z <= LARGEST_NUMBER for z in listed),
        f"The potential '{potential}': species is {listed}, but it must list distinct atomic "
        f"numbers from 1 to {LARGEST_NUMBER}.",
    )


def require_network(options: Any, potential: str) -> None:
    """Raise ConfigError for a `cutoff`, `hidden` or `envelope_power` that is out of range."""
    require_cutoff(potential, options.cutoff)
    require_widths(potential, hidden=options.hidden)
    require_at_least(2, potential, envelope_power=options.envelope_power)


def pair_table(kinds: int) -> Tensor:
    """Return the number of each unordered pair of kinds, (kinds, kinds), symmetric: 0, 1, ... in
    the order (0, 0), (0, 1), ..., (1, 1), ..."""
    table = torch.zeros((kinds, kinds), dtype=torch.int64)
    first, second = torch.triu_indices(kinds, kinds)
    table[first, second] = table[second, first] = torch.arange(len(first))
    return table


class SpeciesPotential(Potential):
    """Base of potentials whose hyper-parameters list their elements as `species`.

    The kind of an atom is the place of its element in that list.
    """

    kind_of_number: Tensor
    pair_index: Tensor

    def __init__(self, hyperparameters: Any) -> None:
        """Build the table from atomic numbers to kinds."""
        super().__init__(hyperparameters)
        table = torch.full((LARGEST_NUMBER + 1,), -1)
        table[list(hyperparameters.species)] = torch.arange(len(hyperparameters.species))
        self.register_buffer("kind_of_number", table, persistent=False)

    def prepare(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return the kinds (n,) as "kinds"; DataError for an element that is not listed."""
        kinds = self.kind_of_number.index_select(0, batch.atomic_numbers)
        if bool((kinds < 0).any()):
            self.check_species(batch.atomic_numbers.tolist())
        return {"kinds": kinds}

    def kinds(self, batch: GraphBatch) -> Tensor:
        """Return the kind of each atom, (n,) int64, as prepared or anew."""
        prepared = batch.extras.get("kinds")
        return SpeciesPotential.prepare(self, batch)["kinds"] if prepared is None else prepared

    def number_pairs(self) -> int:
        """Number the unordered pairs of kinds, for `edge_pairs`; return how many there are."""
        table = pair_table(len(self.hyperparameters.species))
        self.register_buffer("pair_index", table.flatten(), persistent=False)
        return int(table.max()) + 1

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the number of the unordered pair of two kinds, both (m,)."""
        place = first * len(self.hyperparameters.species) + second
        return self.pair_index.index_select(0, place)

    def edge_pairs(self, kinds: Tensor, graph: Adjacency) -> Tensor:
        """Return the number of the pair of kinds at the ends of each edge, (E,)."""
        target = kinds.index_select(0, graph.target)
        return self.pairs(target, kinds.index_select(0, graph.source))

    def in_order(self, values: dict[int, float]) -> Tensor:
        """Return values by atomic number, zero where absent, in the order of the kinds."""
        found = [values.get(z, 0.0) for z in self.hyperparameters.species]
        return torch.tensor(found, dtype=torch.float64)

    def check_species(self, numbers: NDArray[np.int64] | list[int]) -> None:
        """Also refuse elements that the potential was not set up for."""
        super().check_species(numbers)
        listed = list(self.hyperparameters.species)
        unknown = sorted({int(z) for z in np.unique(numbers)} - set(listed))
        if unknown:
            raise DataError(
                f"The potential '{self.architecture}' was set up for the atomic numbers {listed}, "
                f"not for {unknown}; list them in 'species' and train it on them."
            )


class CalibratedPotential(SpeciesPotential):
    """Base of potentials in units of the RMS force of the training data times one Angstrom, on top
    of energies of the elements, the fixed linear fit on the composition.
    """

    species_energies: Tensor
    scale: Tensor

    def __init__(self, hyperparameters: Any) -> None:
        """Start from zero and one."""
        super().__init__(hyperparameters)
        self.register_buffer("species_energies", torch.zeros(len(hyperparameters.species)))
        self.register_buffer("scale", torch.ones(()))

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Fix the energies of the elements and the scale."""
        self.species_energies.copy_(self.in_order(statistics.species_energies))
        self.scale.fill_(max(statistics.force_rms or statistics.residual_std, 1e-6))


class ScaledPotential(CalibratedPotential):
    """Base of networks with a trained part of the energies of the elements beside the fixed one
    (not stated in the paper), without which a pair energy would have to be zero on average.
    """

    def __init__(self, hyperparameters: Any) -> None:
        """Start from zero."""
        super().__init__(hyperparameters)
        self.species_shift = nn.Parameter(torch.zeros(len(hyperparameters.species)))

    @property
    def violates(self) -> dict[str, str]:
        """Smoothness, without an envelope."""
        if self.hyperparameters.envelope:
            return {}
        return {"smoothness": f"there is no envelope: the energy jumps at {self.cutoff:g} Angstrom"}

    def energies(self, batch: GraphBatch, kinds: Tensor, per_atom: Tensor) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV, from the networks' output (n,)."""
        scaled = self.scale * (per_atom + self.species_shift.index_select(0, kinds))
        atomic = scaled + self.species_energies.index_select(0, kinds)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

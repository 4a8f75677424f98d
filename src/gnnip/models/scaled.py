"""What the networks of Rajak et al. (2021) share: scale, energies of the elements, checks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gnnip.graphs import GraphBatch
from gnnip.models.hyperparameters import require_at_least, require_cutoff, require_widths
from gnnip.models.species import CalibratedPotential


def require_network(options: Any, potential: str) -> None:
    """Raise ConfigError for a `cutoff`, `hidden` or `envelope_power` that is out of range."""
    require_cutoff(potential, options.cutoff)
    require_widths(potential, hidden=options.hidden)
    require_at_least(2, potential, envelope_power=options.envelope_power)


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

"""What the networks of Rajak et al. (2021) share: scale, energies of the elements, checks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gnnip.graphs import GraphBatch
from gnnip.models.contract import TargetStatistics
from gnnip.models.hyperparameters import require
from gnnip.models.species import SpeciesPotential


def require_network(options: object, potential: str) -> None:
    """Raise ConfigError unless `cutoff`, `hidden` and `envelope_power` of the options can be."""
    cutoff = getattr(options, "cutoff", 0.0)
    hidden = getattr(options, "hidden", ())
    power = getattr(options, "envelope_power", 0)
    what = f"The potential '{potential}'"
    require(cutoff > 0, f"{what}: the cutoff is {cutoff} Angstrom, it must be positive.")
    require(
        len(hidden) > 0 and all(width >= 1 for width in hidden),
        f"{what}: hidden is {list(hidden)}, at least one width is needed, all of them positive.",
    )
    require(power >= 2, f"{what}: envelope_power is {power}, at least 2 is needed.")


class ScaledPotential(SpeciesPotential):
    """Base of networks whose energies are in units of the RMS force of the training data times one
    Angstrom, on top of energies of the elements.

    The latter are the fixed linear fit on the composition and a trained part (not stated in the
    paper), without which a pair energy would have to be zero on average.
    """

    species_energies: Tensor
    scale: Tensor

    def __init__(self, hyperparameters: object) -> None:
        """Start from zero and one."""
        super().__init__(hyperparameters)
        kinds = len(self.hyperparameters.species)
        self.register_buffer("species_energies", torch.zeros(kinds))
        self.register_buffer("scale", torch.ones(()))
        self.species_shift = nn.Parameter(torch.zeros(kinds))

    @property
    def cutoff(self) -> float:
        """Radius of the graph, Angstrom."""
        return self.hyperparameters.cutoff

    @property
    def violates(self) -> dict[str, str]:
        """Smoothness, without an envelope."""
        if self.hyperparameters.envelope:
            return {}
        return {"smoothness": f"there is no envelope: the energy jumps at {self.cutoff:g} Angstrom"}

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Fix the energies of the elements and the scale."""
        self.species_energies.copy_(self.in_order(statistics.species_energies))
        self.scale.fill_(max(statistics.force_rms or statistics.residual_std, 1e-6))

    def energies(self, batch: GraphBatch, kinds: Tensor, per_atom: Tensor) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV, from the networks' output (n,)."""
        scaled = self.scale * (per_atom + self.species_shift.index_select(0, kinds))
        atomic = scaled + self.species_energies.index_select(0, kinds)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

"""What a training minimises, and the errors that its history shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnnip.graphs import GraphBatch
from gnnip.training.settings import Settings


def _huber(difference: Tensor, settings: Settings) -> Tensor:
    zero = torch.zeros_like(difference)
    return nn.functional.huber_loss(difference, zero, delta=settings.huber_delta)


def _log_cosh(difference: Tensor, settings: Settings) -> Tensor:
    a = settings.log_cosh_slope
    return ((nn.functional.softplus(2.0 * a * difference) - math.log(2.0)) / a - difference).mean()


#: `Settings.loss` -> mean over the differences between what is predicted and the labels
LOSSES: dict[str, Callable[[Tensor, Settings], Tensor]] = {
    "mae": lambda difference, _: difference.abs().mean(),
    "mse": lambda difference, _: difference.square().mean(),
    "huber": _huber,
    "log_cosh": _log_cosh,
}
#: quantity -> what its differences add to the sums that the history is made of
METRICS: dict[str, Callable[[Tensor], Tensor]] = {
    "energy": lambda difference: difference.detach().abs().sum(),
    "forces": lambda difference: difference.detach().double().square().sum(),
}


@dataclass(frozen=True)
class Errors:
    """Means over a subset: loss, absolute energy error (eV), RMSE of force components (eV/A)."""

    loss: float
    energy_mae: float
    force_rmse: float | None = None

    def __str__(self) -> str:
        """Return them as a progress line shows them."""
        energy = f"{self.energy_mae:.4g} eV"
        return energy if self.force_rmse is None else f"{energy} {self.force_rmse:.4g} eV/A"

    def columns(self, subset: str) -> dict[str, float]:
        """Return the columns of `history.csv` that hold the errors of a subset."""
        found = {f"{subset}_mae_ev": self.energy_mae}
        if self.force_rmse is not None:
            found[f"{subset}_force_rmse_ev_per_a"] = self.force_rmse
        return found


@dataclass(frozen=True)
class Share:
    """What one process does of a batch, perhaps nothing, and the structures and atoms of all."""

    batch: GraphBatch | None
    graphs: int
    atoms: int


class Objective:
    """The weighted sum of the losses of energies, forces and stresses; see `Settings`."""

    def __init__(self, settings: Settings) -> None:
        """Take the loss and the weights of the settings."""
        self.per_atom = settings.per_atom
        self.forces, self.stress = settings.force_weight > 0, settings.stress_weight > 0
        weights = {"energy": settings.energy_weight}
        if self.forces:
            weights["forces"] = settings.force_weight
        if self.stress:
            weights["stress"] = settings.stress_weight
        self.weights, self._settings = weights, settings
        self._penalty = LOSSES[settings.loss]

    def __call__(self, output: Mapping[str, Tensor], share: Share) -> tuple[Tensor, Tensor]:
        """Return what a share adds to the loss of its batch, and to the sums of `no_errors`."""
        batch = share.batch
        assert batch is not None
        structures = batch.n_graphs / share.graphs
        atoms = batch.positions.shape[0] / share.atoms
        losses, sums = [], []
        for name, weight in self.weights.items():
            label = getattr(batch, name)
            found = output[name].double() if name == "energy" else output[name]
            difference = found - label
            if name in METRICS:
                sums.append(METRICS[name](difference))
            if name == "energy" and self.per_atom:
                difference = difference / batch.n_atoms
            part = atoms if name == "forces" else structures
            losses.append(part * weight * self._penalty(difference, self._settings))
        loss = losses[0]
        for other in losses[1:]:
            loss = loss + other
        return loss, torch.stack([loss.detach().double() * share.graphs, *sums])

    def of_differences(self, differences: Mapping[str, Tensor], n_atoms: Tensor) -> float:
        """Return the loss of whole structures from differences by quantity; n_atoms (g,)."""
        found = 0.0
        for name, weight in self.weights.items():
            difference = differences[name]
            if name == "energy" and self.per_atom:
                difference = difference / n_atoms
            found += weight * float(self._penalty(difference, self._settings))
        return found

    def no_errors(self, device: torch.device) -> Tensor:
        """Return the zeros that sums over batches start from: loss times structures, and what
        `METRICS` adds for each quantity."""
        counted = [name for name in self.weights if name in METRICS]
        return torch.zeros(1 + len(counted), dtype=torch.float64, device=device)

    def mean(self, sums: list[float], structures: int, atoms: int) -> Errors:
        """Turn sums over so many structures and atoms into means."""
        return Errors(
            sums[0] / structures,
            sums[1] / structures,
            math.sqrt(sums[2] / (3 * atoms)) if self.forces else None,
        )

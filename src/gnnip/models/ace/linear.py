"""The potential linear in ACE descriptors, fitted in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnnip.errors import DataError
from gnnip.graphs import GraphBatch
from gnnip.models.ace.descriptors import Descriptors, require_descriptors
from gnnip.models.ace.least_squares import FOLDS, Rows, solve
from gnnip.models.ace.radial import Radial
from gnnip.models.contract import TargetStatistics
from gnnip.models.fitting import FitReport, TrainingFrames
from gnnip.models.hyperparameters import require
from gnnip.models.species import SpeciesPotential

#: numbers of the derivatives of one batch, which bound the memory of a fit
_NUMBERS = 30_000_000


@dataclass(frozen=True)
class LinearACEHyperparameters:
    """Choices of linear ACE.

    species : atomic numbers.
    cutoff : Angstrom.
    body_order : 2, 3 or 4: the central atom and at most this many less one neighbours.
    degree : largest sum of n + l over the neighbours of a function.
    radial : functions of the distance, see `gnnip.models.ace.radial`.
    ridge : penalty of the squares of the coefficients, of descriptors whose columns in the fit have
        the norm 1; None chooses it by cross-validation, 0 is plain least squares.
    """

    species: tuple[int, ...]
    cutoff: float = 5.0
    body_order: int = 3
    degree: int = 4
    radial: Radial = "polynomial"
    ridge: float | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_descriptors("ace", self.species, self.cutoff, self.body_order, self.degree)
        require(
            self.ridge is None or (math.isfinite(self.ridge) and self.ridge >= 0),
            f"The potential 'ace': ridge is {self.ridge}, it must not be negative; null chooses it "
            "by cross-validation.",
        )


class LinearACE(SpeciesPotential):
    """E = sum_i (e_z(i) + c_z(i) . B_i), Drautz (2019) with the embedding function left out.

    The fit minimises energy_weight * mean(dE^2) + force_weight * mean(dF^2), whatever the loss of
    the settings is. The energies e of the elements are fitted with the coefficients, unpenalised.
    """

    Hyperparameters = LinearACEHyperparameters

    species_energies: Tensor

    def __init__(self, hyperparameters: LinearACEHyperparameters) -> None:
        """Start from zero."""
        super().__init__(hyperparameters)
        o, kinds = hyperparameters, len(hyperparameters.species)
        self.descriptors = Descriptors(kinds, o.cutoff, o.body_order, o.degree, o.radial)
        self.coefficients = nn.Parameter(torch.zeros(kinds, self.descriptors.functions))
        self.register_buffer("species_energies", torch.zeros(kinds))

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Take the energies of the elements."""
        self.species_energies.copy_(self.in_order(statistics.species_energies))

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV."""
        kinds = self.kinds(batch)
        found = self.descriptors(batch, kinds)
        atomic = (found * self.coefficients.index_select(0, kinds)).sum(1)
        atomic = atomic + self.species_energies.index_select(0, kinds)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

    @torch.no_grad()
    def fit(self, frames: TrainingFrames) -> FitReport:
        """Find the coefficients by least squares.

        Raises DataError for stresses, and for fewer equations than coefficients or frames than a
        cross-validation takes.
        """
        self._check(frames)
        parts = torch.tensor_split(frames.train, min(FOLDS, len(frames.train)))
        folds, energies = [], []
        for part in parts:
            rows = Rows(self.coefficients.numel())
            energies.append(torch.cat(list(self._equations(frames, part, rows))).double().cpu())
            folds.append(rows)
        counts, x, y = torch.cat(energies).tensor_split((len(self.species_energies), -1), dim=1)
        # what the energies of the elements can explain is taken out of both sides of the equations
        left = torch.cat([x, y], dim=1)
        left = left - counts @ torch.linalg.lstsq(counts, left, driver="gelsd").solution
        for rows, part in zip(folds, left.split([len(e) for e in energies]), strict=True):
            rows.add(part[:, :-1], part[:, -1])
        found, ridge = solve([rows.triangle() for rows in folds], self.hyperparameters.ridge)
        rest = torch.linalg.lstsq(counts, y - x @ found[:, None], driver="gelsd").solution
        self.coefficients.copy_(found.view_as(self.coefficients))
        self.species_energies.copy_(rest[:, 0])
        return FitReport(complete=True, details={"ridge": ridge, "coefficients": len(found)})

    def _check(self, frames: TrainingFrames) -> None:
        """Refuse what there are too few equations for."""
        n, ridge, columns = len(frames.train), self.hyperparameters.ridge, self.coefficients.numel()
        forces = 3 * frames.store.n_atoms(frames.train) if frames.force_weight > 0 else 0
        equations = forces + (n if frames.energy_weight > 0 else 0)
        if frames.stress_weight > 0:
            raise DataError(
                "The potential 'ace' is fitted to energies and forces alone; set stress_weight to "
                "0."
            )
        if ridge == 0 and equations < columns:
            raise DataError(
                f"The potential 'ace' has {columns} coefficients and {n} training frames give "
                f"{equations} equations; give it more frames, forces too, or a ridge (null chooses "
                "one)."
            )
        if ridge is None and n < 2:
            raise DataError(
                "The potential 'ace' chooses its ridge by leaving training frames out, and there "
                "is only one; give it more frames or state a ridge."
            )

    def _equations(self, frames: TrainingFrames, part: Tensor, rows: Rows) -> Iterator[Tensor]:
        """Yield weighted equations of energies, [atoms of each kind, descriptors, label], and give
        those of forces to `rows`, batch by batch."""
        store, wanted = frames.store, frames.force_weight > 0
        n, atoms = len(frames.train), store.n_atoms(frames.train)
        edges = store.mean_neighbours * atoms / n
        size = max(1, int(_NUMBERS / max(1.0, edges * 3 * self.descriptors.functions)))
        of_forces = math.sqrt(frames.force_weight / (3 * atoms))
        for batch in frames.batches(part, min(size, 64)):
            batch, kinds = batch.to(torch.float64), self.kinds(batch)
            assert batch.energy is not None
            weight = batch.energy.new_full((batch.n_graphs, 1), frames.energy_weight / n).sqrt()
            if frames.per_atom:
                weight = weight / batch.n_atoms[:, None]
            found = self.descriptors.by_kind(self.descriptors(batch, kinds), kinds)
            one_hot = nn.functional.one_hot(kinds, len(self.species_energies)).double()
            counted = batch.sum_atoms(torch.cat([one_hot, found], dim=1))
            yield weight * torch.cat([counted, batch.energy[:, None]], dim=1)
            if wanted:
                assert batch.forces is not None
                gradients = self.descriptors.gradients(batch, kinds)
                rows.add(-of_forces * gradients, of_forces * batch.forces.reshape(-1))

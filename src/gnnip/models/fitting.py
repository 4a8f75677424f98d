"""What a potential is given to be fitted in closed form, and what it says afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from gnnip.graphs import GraphBatch, GraphStore


@dataclass(frozen=True)
class TrainingFrames:
    """Labelled graphs for `Potential.fit`: least squares, ridge, statistics of descriptors.

    store : graphs in the precision of the training.
    train, validation : which structures of `store` these subsets are.
    energy_weight, force_weight, stress_weight, per_atom : as in `gnnip.training.Settings`; forces
        and stresses are there where their weight is above 0.
    cutoff : Angstrom, where it is shorter than that of the store.
    """

    store: GraphStore
    train: Tensor
    validation: Tensor
    energy_weight: float = 1.0
    force_weight: float = 0.0
    stress_weight: float = 0.0
    per_atom: bool = False
    cutoff: float | None = None

    def batches(self, rows: Tensor | None = None, size: int = 64) -> Iterator[GraphBatch]:
        """Yield structures `rows` of the store, the training subset when absent, in their order.

        A batch holds the labels `energy` (g,) eV in double precision and perhaps `forces` (n, 3)
        eV/Angstrom and `stress` (g, 3, 3) eV/Angstrom^3: what the known part of the potential
        leaves (`Potential.parts`).
        """
        for batch in self.store.batches(self.train if rows is None else rows, size):
            if self.cutoff is None:
                yield batch
            else:
                yield batch.with_edges(batch.edges_within(self.cutoff), self.cutoff)

    def within(self, cutoff: float) -> TrainingFrames:
        """Return the same frames with the edges of a shorter cutoff."""
        return replace(self, cutoff=cutoff if cutoff < self.store.cutoff else None)


@dataclass(frozen=True)
class FitReport:
    """What a fit in closed form has done.

    complete : nothing is left to be trained by gradient.
    details : numbers and words for the summary of the training, such as the ridge that was chosen.
    """

    complete: bool
    details: Mapping[str, float | str] = field(default_factory=dict)

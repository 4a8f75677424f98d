"""Many structures as one graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gnnip.errors import DataError
from gnnip.graphs.adjacency import Adjacency, spread_segments, sum_segments

if TYPE_CHECKING:
    from torch_geometric.data import Batch

LARGEST_NUMBER = 118  #: of an element


@dataclass
class GraphBatch:
    """Structures stacked into one graph of n atoms and E directed edges.

    Attributes
    ----------
    positions : (n, 3), Angstrom.
    atomic_numbers : (n,) int64.
    edge_index : (2, E) int64; row 0 the neighbour j, row 1 the centre i; sorted by i.
    batch : (n,) int64, the structure of each atom, ascending.
    n_graphs : number of structures.
    offsets : (g+1,) int64; atoms of structure k are offsets[k]:offsets[k+1].
    adjacency : the edges in the form that the layers sum over.
    edge_shift : (E, 3) Angstrom for periodic images, or None; the vector of an edge is
        ``positions[j] + edge_shift - positions[i]``.
    cell : (g, 3, 3), rows are lattice vectors, Angstrom, or None.
    lengths : (E,) distances belonging to `positions`, Angstrom, or None to compute them.
    energy : (g,) eV float64, or None.  forces : (n, 3) eV/Angstrom, or None.
    stress : (g, 3, 3) eV/Angstrom^3 with the sign of ASE, or None.
    frame : (g,) int64, the number of each structure in its data set.
    cutoff : Angstrom; the edges are all pairs closer than this. None where that is not known.
    extras : tensors that a potential derived from the edges (`Potential.prepare`), by its names.
    """

    positions: Tensor
    atomic_numbers: Tensor
    edge_index: Tensor
    batch: Tensor
    n_graphs: int
    offsets: Tensor
    adjacency: Adjacency
    edge_shift: Tensor | None = None
    cell: Tensor | None = None
    lengths: Tensor | None = None
    energy: Tensor | None = None
    forces: Tensor | None = None
    stress: Tensor | None = None
    frame: Tensor | None = None
    cutoff: float | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)

    @property
    def n_atoms(self) -> Tensor:
        """(g,) atoms of each structure, int64."""
        return self.offsets[1:] - self.offsets[:-1]

    def edge_vectors(self) -> Tensor:
        """Return r_j + shift - r_i of every edge, (E, 3), Angstrom, differentiable."""
        vectors = self.adjacency.from_source(self.positions) - self.adjacency.from_target(
            self.positions
        )
        return vectors if self.edge_shift is None else vectors + self.edge_shift

    def edge_lengths(self) -> Tensor:
        """Return the distance of every edge, (E,), Angstrom; stored ones where they are valid."""
        if self.lengths is not None and not self.positions.requires_grad:
            return self.lengths
        return self.edge_vectors().square().sum(-1).sqrt()

    def sum_atoms(self, x: Tensor) -> Tensor:
        """Sum (n,) or (n, F) over the atoms of each structure: (g,) or (g, F)."""
        return sum_segments(x, self.batch, self.offsets)

    def spread_to_atoms(self, x: Tensor) -> Tensor:
        """Give every atom the row of its structure: (g,) or (g, F) to (n,) or (n, F)."""
        return spread_segments(x, self.batch, self.offsets)

    def edges_within(self, cutoff: float) -> dict[str, Tensor]:
        """Return the edges shorter than `cutoff` (Angstrom) as the tensors of their adjacency:
        "edges" (E',) their numbers, "offsets", "source_offsets" (n+1,) and "by_source" (E',).

        Raises DataError if the batch may lack some of them.
        """
        if self.cutoff is not None and cutoff > self.cutoff * (1 + 1e-9):
            raise DataError(
                f"The graph holds pairs closer than {self.cutoff:g} Angstrom, but {cutoff:g} is "
                "asked for; build it with the larger cutoff."
            )
        old = self.adjacency
        with torch.no_grad():
            kept = self.edge_lengths() < cutoff
            zero = torch.zeros(1, dtype=torch.int64, device=kept.device)
            before = torch.cat([zero, kept.cumsum(0)])
            turned = kept.index_select(0, old.by_source)
            before_turned = torch.cat([zero, turned.cumsum(0)])
            return {
                "edges": kept.nonzero()[:, 0],
                "offsets": before.index_select(0, old.offsets),
                "by_source": before.index_select(0, old.by_source[turned]),
                "source_offsets": before_turned.index_select(0, old.source_offsets),
            }

    def with_edges(self, chosen: dict[str, Tensor], cutoff: float) -> GraphBatch:
        """Return the batch with the edges of `edges_within` alone, positions differentiable."""
        edges, old = chosen["edges"], self.adjacency
        source, target = old.source.index_select(0, edges), old.target.index_select(0, edges)
        adjacency = Adjacency(
            source,
            target,
            chosen["offsets"],
            chosen["by_source"],
            chosen["source_offsets"],
            symmetric=old.symmetric,
        )
        shift, lengths = self.edge_shift, self.lengths
        return replace(
            self,
            edge_index=torch.stack([source, target]),
            adjacency=adjacency,
            edge_shift=None if shift is None else shift.index_select(0, edges),
            lengths=None if lengths is None else lengths.index_select(0, edges),
            cutoff=cutoff,
            extras={},
        )

    @classmethod
    def from_structures(
        cls,
        structures: Sequence[dict[str, Any]],
        cutoff: float,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> GraphBatch:
        """Build a batch from dictionaries as `GraphStore.from_structures` does."""
        from gnnip.graphs.store import GraphStore

        store = GraphStore.from_structures(structures, cutoff, device=device, dtype=dtype)
        return store.batch(torch.arange(len(structures)))

    def to_torch_geometric(self) -> Batch:
        """Return a `torch_geometric.data.Batch`, see `gnnip.graphs.exchange`."""
        from gnnip.graphs.exchange import to_torch_geometric

        return to_torch_geometric(self)

    @classmethod
    def from_torch_geometric(cls, data: Batch, cutoff: float | None = None) -> GraphBatch:
        """Return the batch of a `torch_geometric.data.Batch`, see `gnnip.graphs.exchange`."""
        from gnnip.graphs.exchange import from_torch_geometric

        return from_torch_geometric(data, cutoff)

    def to(self, dtype: torch.dtype) -> GraphBatch:
        """Return the batch with geometry in another precision (labels keep theirs)."""
        changed = {
            f.name: getattr(self, f.name).to(dtype)
            for f in fields(self)
            if f.name in {"positions", "edge_shift", "cell", "lengths"}
            and getattr(self, f.name) is not None
        }
        return replace(self, **changed)

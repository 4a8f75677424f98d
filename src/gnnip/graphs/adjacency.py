"""Sums over the edges of a graph without arrays of (edges x features), and their derivatives.

Four linear maps carry every message-passing layer of the project: gather (nodes to edges), their
adjoint (edges to nodes), the weighted sum over neighbours, and the dot product of an edge's ends.
Each is an autograd function whose backward pass is built of the same maps, so that any number of
derivatives (forces, and the gradient of a loss on forces) runs at the speed of the forward pass.
`embedding_bag` is the kernel below: on a CPU it is several times faster than sparse matrices or
scatter, on a GPU it sums in a fixed order, so results repeat.

A compiler knows better how to fuse plain operations than these functions, and differentiates them
itself: inside `plain_sums` the same maps are gathers and `index_add`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

# torch says so once for the pattern of `_EdgeDot`, the only use of it here
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


_plain = False


@contextmanager
def plain_sums() -> Iterator[None]:
    """Make the sums over edges of operations that torch can trace, differentiate and fuse."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def sums_are_plain() -> bool:
    """Tell whether `plain_sums` is in force."""
    return _plain


@torch.library.custom_op("gnnip::constant", mutates_args=())
def _constant(x: Tensor) -> Tensor:
    """Return a copy of `x` that no derivative goes through, in a traced graph too."""
    return x.clone()


@_constant.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


_constant.register_autograd(lambda ctx, grad: None)


@dataclass
class Adjacency:
    """Directed edges j -> i of a batch of graphs, sorted by the receiving node i.

    Attributes
    ----------
    source, target : (E,) int64; node j that sends and node i that receives.
    offsets : (n+1,) int64; edges of node i are offsets[i]:offsets[i+1].
    by_source : (E,) int64; the order that sorts the edges by source.
    source_offsets : (n+1,) int64; groups of `by_source`.
    symmetric : every edge has its reverse, and `by_source` is the number of that reverse edge.
    """

    source: Tensor
    target: Tensor
    offsets: Tensor
    by_source: Tensor
    source_offsets: Tensor
    symmetric: bool = False

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.offsets.shape[0] - 1

    @property
    def n_edges(self) -> int:
        """Number of directed edges."""
        return self.source.shape[0]

    @classmethod
    def from_edge_index(cls, edge_index: Tensor, n_nodes: int) -> tuple[Adjacency, Tensor]:
        """Build from (2, E) edges in any order; also return the order (E,) that sorts edge data."""
        source, target = edge_index[0].long(), edge_index[1].long()
        order = torch.argsort(target, stable=True)
        source, target = source[order], target[order]
        adjacency = cls(
            source,
            target,
            _offsets(target, n_nodes),
            torch.argsort(source, stable=True),
            _offsets(source, n_nodes),
        )
        return adjacency, order

    @cached_property
    def transposed(self) -> Adjacency:
        """The same edges with the direction turned round; edge k of it is edge by_source[k]."""
        if self.symmetric:
            return self
        inverse = torch.empty_like(self.by_source)
        inverse[self.by_source] = torch.arange(self.n_edges, device=inverse.device)
        turned = Adjacency(
            self.target.index_select(0, self.by_source),
            self.source.index_select(0, self.by_source),
            self.source_offsets,
            inverse,
            self.offsets,
        )
        turned.__dict__["transposed"] = self
        return turned

    @cached_property
    def degree(self) -> Tensor:
        """(n,) number of edges that each node receives, int64."""
        return self.offsets[1:] - self.offsets[:-1]

    def from_source(self, x: Tensor) -> Tensor:
        """Return x_j for every edge: (n,) or (n, F) to (E,) or (E, F)."""
        if _plain:
            return x.index_select(0, self.source)
        return _Gather.apply(x, self.source, self.by_source, self.source_offsets)

    def from_target(self, x: Tensor) -> Tensor:
        """Return x_i for every edge: (n,) or (n, F) to (E,) or (E, F)."""
        return spread_segments(x, self.target, self.offsets)

    def sum_messages(self, messages: Tensor) -> Tensor:
        """Sum the messages (E,) or (E, F) that each node receives: (n,) or (n, F)."""
        return sum_segments(messages, self.target, self.offsets)

    def sum_neighbours(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return sum_j w_ij x_j, (n, F); weights (E,), ones when absent."""
        if _plain:
            x_j = x.index_select(0, self.source)
            messages = x_j if weights is None else x_j * weights[:, None]
            return _plain_sum(messages, self.target, self.n_nodes)
        return _WeightedSum.apply(x, weights, self)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a_i . b_j for every edge, (E,); a and b (n, F)."""
        if _plain:
            return (a.index_select(0, self.target) * b.index_select(0, self.source)).sum(-1)
        return _EdgeDot.apply(a, b, self)

    def softmax(
        self,
        logits: Tensor,
        self_logits: Tensor | None = None,
        weights: Tensor | None = None,
        epsilon: float = 1e-9,
    ) -> tuple[Tensor, Tensor | None]:
        """Softmax of logits (E,) over the edges of each receiving node, and a self loop if given.

        As Spektral: the maximum is subtracted and epsilon is added to the sum. The derivative
        through the maximum (of order epsilon) is left out. `weights` (E,) are factors on the powers
        of the edges.

        Returns
        -------
        (E,) weights of the edges and (n,) weights of the self loops (None without `self_logits`).
        """
        with torch.no_grad():
            if self_logits is None:
                top = logits.new_full((self.n_nodes,), -torch.inf)
            else:
                top = self_logits.detach().clone()
            top = top.scatter_reduce(0, self.target, logits.detach(), "amax", include_self=True)
            if _plain:
                top = _constant(top)
        powers = torch.exp(logits - top.index_select(0, self.target))
        if weights is not None:
            powers = powers * weights
        total = self.sum_messages(powers) + epsilon
        if self_logits is None:
            return powers * self.from_target(1.0 / total), None
        self_powers = torch.exp(self_logits - top)
        inverse = 1.0 / (total + self_powers)
        return powers * self.from_target(inverse), self_powers * inverse


def sum_segments(x: Tensor, segment: Tensor, offsets: Tensor) -> Tensor:
    """Sum consecutive rows of x (n,) or (n, F): row g is the sum over offsets[g]:offsets[g+1].

    `segment` (n,) is the number of the segment of each row.
    """
    if _plain:
        return _plain_sum(x, segment, offsets.shape[0] - 1)
    return _Sum.apply(x, segment, None, offsets)


def spread_segments(x: Tensor, segment: Tensor, offsets: Tensor) -> Tensor:
    """Repeat row g of x (g,) or (g, F) for every member of segment g: `sum_segments` turned."""
    if _plain:
        return x.index_select(0, segment)
    return _Gather.apply(x, segment, None, offsets)


def _plain_sum(x: Tensor, index: Tensor, n: int) -> Tensor:
    return x.new_zeros((n, *x.shape[1:])).index_add(0, index, x)


def _offsets(sorted_or_not: Tensor, n: int) -> Tensor:
    counts = torch.bincount(sorted_or_not, minlength=n)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _bag(index: Tensor, x: Tensor, offsets: Tensor, weights: Tensor | None = None) -> Tensor:
    if index.numel() == 0:
        return x.new_zeros((offsets.shape[0] - 1, x.shape[1]))
    return embedding_bag(
        index, x, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


class _Gather(torch.autograd.Function):
    """y_e = x[index_e]; `order` groups the edges by index (None: they are grouped already)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, index: Tensor, order: Tensor | None, offsets: Tensor
    ) -> Tensor:
        ctx.graph = (index, order, offsets)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        return _Sum.apply(grad, *ctx.graph), None, None, None


class _Sum(torch.autograd.Function):
    """y_i = sum over the edges e of group i of m_e: the adjoint of `_Gather`."""

    @staticmethod
    def forward(
        ctx: Any, m: Tensor, index: Tensor, order: Tensor | None, offsets: Tensor
    ) -> Tensor:
        ctx.graph = (index, order, offsets)
        n = offsets.shape[0] - 1
        if m.device.type == "cpu" and (m.dtype == torch.float64 or m.dim() == 1):
            # on a CPU the fast bag kernel exists in single precision only
            return m.new_zeros((n, *m.shape[1:])).index_add_(0, index, m)
        if order is None:
            order = torch.arange(m.shape[0], device=m.device)
        rows = m.contiguous().reshape(m.shape[0], math.prod(m.shape[1:]))
        return _bag(order, rows, offsets).reshape(n, *m.shape[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        return _Gather.apply(grad, *ctx.graph), None, None, None


class _WeightedSum(torch.autograd.Function):
    """y_i = sum_j w_ij x_j."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor | None, graph: Adjacency) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(x, weights)
        return _bag(graph.source, x.contiguous(), graph.offsets, weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[override]
        x, weights = ctx.saved_tensors
        graph: Adjacency = ctx.graph
        grad_x = grad_weights = None
        if ctx.needs_input_grad[0]:
            turned = None if weights is None else weights.index_select(0, graph.by_source)
            grad_x = _WeightedSum.apply(grad, turned, graph.transposed)
        if ctx.needs_input_grad[1]:
            grad_weights = _EdgeDot.apply(grad, x, graph)
        return grad_x, grad_weights, None


class _EdgeDot(torch.autograd.Function):
    """w_ij = a_i . b_j."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, graph: Adjacency) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(a, b)
        kernel = a.device.type == "cpu" and torch.backends.mkl.is_available()
        # images make several edges of a pair, and the kernel takes no more than all pairs
        if not kernel or not 0 < graph.n_edges <= graph.n_nodes**2:
            return (a.index_select(0, graph.target) * b.index_select(0, graph.source)).sum(-1)
        missing = -a.shape[1] % 8  # the kernel is ten times slower at widths like 4
        if missing:
            a, b = (torch.nn.functional.pad(t, (0, missing)) for t in (a, b))
        pattern = torch.sparse_csr_tensor(
            graph.offsets,
            graph.source,
            a.new_zeros(graph.n_edges),
            (graph.n_nodes, graph.n_nodes),
            check_invariants=False,
        )
        return torch.sparse.sampled_addmm(
            pattern, a.contiguous(), b.contiguous().t(), beta=0.0
        ).values()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[override]
        a, b = ctx.saved_tensors
        graph: Adjacency = ctx.graph
        grad_a = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_a = _WeightedSum.apply(b, grad, graph)
        if ctx.needs_input_grad[1]:
            grad_b = _WeightedSum.apply(a, grad.index_select(0, graph.by_source), graph.transposed)
        return grad_a, grad_b, None

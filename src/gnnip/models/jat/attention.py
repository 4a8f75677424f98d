"""The logits of dynamic attention (Brody et al., ICLR 2022) on every edge j -> i.

    l[e, h] = sum_c swish(q[j, c] + k[i, c]) A[c, h]

Two forms with one signature: `plain` in torch operations (the reference, any device, any order of
derivative, can be traced) and `fused` in compiled kernels (CPU, first and second derivatives by
hand, no array of edges times width).
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, silu

from gnnip.graphs import Adjacency
from gnnip.graphs.adjacency import sums_are_plain
from gnnip.models.nequip import build

SOURCE = Path(__file__).with_name("kernels.cpp")


def available(x: Tensor) -> bool:
    """Tell whether the kernels can treat these features."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and build.library(SOURCE) is not None
    )


def logits(query: Tensor, key: Tensor, weights: Tensor, graph: Adjacency) -> Tensor:
    """Return l (E, heads) from q and k (n, width) and A (width, heads), by the faster form."""
    form = fused if available(query) and not sums_are_plain() else plain
    return form(query, key, weights, graph)


def plain(query: Tensor, key: Tensor, weights: Tensor, graph: Adjacency) -> Tensor:
    """Return the logits (E, heads) from torch operations."""
    return silu(graph.from_source(query) + graph.from_target(key)) @ weights


def fused(query: Tensor, key: Tensor, weights: Tensor, graph: Adjacency) -> Tensor:
    """Return the logits (E, heads) from the compiled kernels (CPU, float32 or float64)."""
    missing = -query.shape[1] % (64 // query.element_size())
    q, k, a = (pad(t, (0, missing)).contiguous() for t in (query, key, weights.t()))
    found: Tensor = _Logits.apply(q, k, a, graph)
    return found


def _call(name: str, inputs: tuple[Tensor, ...], graph: Adjacency, *others: Tensor | None) -> None:
    query, _, weights = inputs
    library = build.library(SOURCE)
    assert library is not None
    numbers = [*query.shape, weights.shape[0], torch.get_num_threads()]
    tensors = [graph.source.contiguous(), graph.offsets.contiguous(), *inputs]
    function = getattr(library, f"{name}_{'float' if query.dtype == torch.float32 else 'double'}")
    function(
        (ctypes.c_long * len(numbers))(*numbers),
        (ctypes.c_void_p * len(tensors))(*[t.data_ptr() for t in tensors]),
        *[ctypes.c_void_p(None if t is None else t.data_ptr()) for t in others],
    )


class _Logits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, a: Tensor, graph: Adjacency) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(q, k, a)
        found = q.new_empty((graph.n_edges, a.shape[0]))
        _call("forward", (q, k, a), graph, found)
        return found

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> Any:  # type: ignore[override]
        wanted = ctx.needs_input_grad[2]
        return *_Slopes.apply(*ctx.saved_tensors, u.contiguous(), ctx.graph, wanted), None


class _Slopes(torch.autograd.Function):
    """dS/dq, dS/dk and, where wanted, dS/dA for u = dS/dl."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, a: Tensor, u: Tensor, graph: Adjacency, wanted: bool
    ) -> Any:
        ctx.graph = graph
        ctx.save_for_backward(q, k, a, u)
        ctx.set_materialize_grads(False)
        dq, dk = torch.zeros_like(q), torch.zeros_like(k)
        da = torch.zeros_like(a) if wanted else None
        _call("backward", (q, k, a), graph, u, dq, dk, da)
        return dq, dk, da

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:  # type: ignore[override]
        q, k, a, u = ctx.saved_tensors
        aq, ak, aa = cotangents
        if aa is not None or torch.is_grad_enabled():
            return *_plain_second(ctx, cotangents), None, None
        aq, ak = (torch.zeros_like(q) if t is None else t.contiguous() for t in (aq, ak))
        dq, dk, du = torch.zeros_like(q), torch.zeros_like(k), torch.empty_like(u)
        da = torch.zeros_like(a) if ctx.needs_input_grad[2] else None
        _call("second", (q, k, a), ctx.graph, u, aq, ak, dq, dk, da, du)
        return dq, dk, da, du, None, None


def _plain_second(ctx: Any, cotangents: tuple[Tensor | None, ...]) -> tuple[Any, ...]:
    """Derivatives that the kernels lack, of third order or of the gradient of the weights."""
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        # fresh views: u may itself depend on the other inputs, and these are partial derivatives
        inputs = [
            t.view_as(t) if t.requires_grad else t.detach().requires_grad_()
            for t in ctx.saved_tensors
        ]
        q, k, a, u = inputs
        first = torch.autograd.grad(plain(q, k, a.t(), ctx.graph), (q, k, a), u, create_graph=True)
        total = torch.zeros_like(u).sum()
        for found, given in zip(first, cotangents, strict=True):
            if given is not None:
                total = total + (found * given).sum()
        return torch.autograd.grad(total, inputs, create_graph=keep, allow_unused=True)

"""Dynamic attention (Brody et al., ICLR 2022) on the edges j -> i: its logits and its softmax.

    l[e, h] = sum_c swish(q[j, c] + k[i, c]) A[c, h]

Both have two forms with one signature: `plain` in torch operations (the reference, any device, any
order of derivative, can be traced) and `fused` in compiled kernels (CPU, first and second
derivatives by hand, no array of edges times width).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, silu

from gnnip.graphs import Adjacency
from gnnip.graphs.adjacency import sums_are_plain
from gnnip.models.blocks import build

SOURCE = Path(__file__).with_name("kernels.cpp")


def available(x: Tensor) -> bool:
    """Tell whether the kernels can treat these features."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and build.library(SOURCE) is not None
    )


def _fuses(x: Tensor) -> bool:
    return available(x) and not sums_are_plain()


def logits(query: Tensor, key: Tensor, weights: Tensor, graph: Adjacency) -> Tensor:
    """Return l (E, heads) from q and k (n, width) and A (width, heads), by the faster form."""
    form = fused_logits if _fuses(query) else plain_logits
    return form(query, key, weights, graph)


def softmax(
    logits: Tensor, own: Tensor, envelope: Tensor | None, graph: Adjacency
) -> tuple[Tensor, Tensor]:
    """Return the softmax of logits (E, heads) over the edges into each node and its own (n, heads).

    envelope : (E,), factors on the powers of the edges.  By the faster form.
    """
    form = fused_softmax if _fuses(logits) else plain_softmax
    return form(logits, own, envelope, graph)


def plain_logits(query: Tensor, key: Tensor, weights: Tensor, graph: Adjacency) -> Tensor:
    """Return the logits from torch operations."""
    return silu(graph.from_source(query) + graph.from_target(key)) @ weights


def fused_logits(query: Tensor, key: Tensor, weights: Tensor, graph: Adjacency) -> Tensor:
    """Return the logits from the compiled kernels (CPU, float32 or float64)."""
    missing = -query.shape[1] % (64 // query.element_size())
    q, k, a = (pad(t, (0, missing)).contiguous() for t in (query, key, weights.t()))
    found: Tensor = _Logits.apply(q, k, a, graph)
    return found


def plain_softmax(
    logits: Tensor, own: Tensor, envelope: Tensor | None, graph: Adjacency
) -> tuple[Tensor, Tensor]:
    """Return the softmax from torch operations."""
    heads = [
        graph.softmax(of_edges.contiguous(), of_nodes, envelope, epsilon=0.0)
        for of_edges, of_nodes in zip(logits.unbind(1), own.unbind(1), strict=True)
    ]
    alpha, loops = zip(*heads, strict=True)
    return torch.stack(alpha, dim=1), torch.stack(loops, dim=1)


def fused_softmax(
    logits: Tensor, own: Tensor, envelope: Tensor | None, graph: Adjacency
) -> tuple[Tensor, Tensor]:
    """Return the softmax from the compiled kernels (CPU, float32 or float64)."""
    weights = None if envelope is None else envelope.contiguous()
    found: tuple[Tensor, Tensor] = _Softmax.apply(
        logits.contiguous(), own.contiguous(), weights, graph
    )
    return found


def _call(name: str, sizes: tuple[int, ...], tables: Any, *others: Tensor | None) -> None:
    library = build.library(SOURCE)
    assert library is not None
    numbers = [*sizes, torch.get_num_threads()]
    dtype = next(t.dtype for t in tables if t is not None and t.is_floating_point())
    function = getattr(library, f"{name}_{'float' if dtype == torch.float32 else 'double'}")
    function(
        (ctypes.c_long * len(numbers))(*numbers),
        (ctypes.c_void_p * len(tables))(*map(_address, tables)),
        *[ctypes.c_void_p(_address(t)) for t in others],
    )


def _address(t: Tensor | None) -> int | None:
    return None if t is None else t.data_ptr()


def _call_logits(name: str, ctx: Any, q: Tensor, k: Tensor, a: Tensor, *others: Any) -> None:
    tables = [ctx.graph.source.contiguous(), ctx.graph.offsets.contiguous(), q, k, a]
    _call(name, (*q.shape, len(a)), tables, *others)


def _call_softmax(name: str, ctx: Any, inputs: Any, powers: Any, *others: Any) -> None:
    tables = [ctx.graph.offsets.contiguous(), *inputs, *powers]
    _call(f"softmax_{name}", tuple(powers[1].shape), tables, *others)


class _Logits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, a: Tensor, graph: Adjacency) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(q, k, a)
        found = q.new_empty((graph.n_edges, a.shape[0]))
        _call_logits("forward", ctx, q, k, a, found)
        return found

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> Any:  # type: ignore[override]
        wanted = ctx.needs_input_grad[2]
        return *_LogitSlopes.apply(*ctx.saved_tensors, u.contiguous(), ctx.graph, wanted), None


class _LogitSlopes(torch.autograd.Function):
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
        _call_logits("backward", ctx, q, k, a, u, dq, dk, da)
        return dq, dk, da

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:  # type: ignore[override]
        q, k, a, u = ctx.saved_tensors
        if cotangents[2] is not None or torch.is_grad_enabled():
            graph = ctx.graph

            def plain(q: Tensor, k: Tensor, a: Tensor) -> tuple[Tensor]:
                return (plain_logits(q, k, a.t(), graph),)

            return *_plain_second(plain, (q, k, a), (u,), cotangents), None, None
        aq, ak = (_given(t, q) for t in cotangents[:2])
        dq, dk, du = torch.zeros_like(q), torch.zeros_like(k), torch.empty_like(u)
        da = torch.zeros_like(a) if ctx.needs_input_grad[2] else None
        _call_logits("second", ctx, q, k, a, u, aq, ak, dq, dk, da, du)
        return dq, dk, da, du, None, None


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, l: Tensor, l0: Tensor, w: Tensor | None, graph: Adjacency) -> Any:  # noqa: E741
        ctx.graph = graph
        b, a0 = torch.empty_like(l), torch.empty_like(l0)
        _call_softmax("forward", ctx, (l, l0, w), (b, a0))
        ctx.save_for_backward(l, l0, w, b, a0)
        return b.clone() if w is None else b * w[:, None], a0.clone()

    @staticmethod
    def backward(ctx: Any, u: Tensor, u0: Tensor) -> Any:  # type: ignore[override]
        *inputs, b, a0 = ctx.saved_tensors
        slopes = _SoftmaxSlopes.apply(*inputs, u.contiguous(), u0.contiguous(), b, a0, ctx.graph)
        return *slopes, None


class _SoftmaxSlopes(torch.autograd.Function):
    """dS/dl, dS/dl0, dS/dw for u = dS/da, u0 = dS/da0; b and a0, known from l, are constants."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        l, l0, w, u, u0, *powers, ctx.graph = inputs  # noqa: E741
        ctx.save_for_backward(*inputs[:-1])
        ctx.set_materialize_grads(False)
        dl, dl0 = torch.empty_like(l), torch.empty_like(l0)
        dw = None if w is None else torch.zeros_like(w)
        _call_softmax("backward", ctx, (l, l0, w), powers, u, u0, dl, dl0, dw)
        return dl, dl0, dw

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:  # type: ignore[override]
        l, l0, w, u, u0, *powers = ctx.saved_tensors  # noqa: E741
        if torch.is_grad_enabled():
            graph = ctx.graph
            found = _plain_second(
                lambda l, l0, w=None: plain_softmax(l, l0, w, graph),  # noqa: E741
                (l, l0) if w is None else (l, l0, w),
                (u, u0),
                cotangents,
            )
            return *found[:2], None if w is None else found[2], *found[-2:], None, None, None
        x, x0 = _given(cotangents[0], l), _given(cotangents[1], l0)
        y = None if cotangents[2] is None else cotangents[2].contiguous()
        dl, dl0, du, du0 = (torch.empty_like(t) for t in (l, l0, u, u0))
        dw = None if w is None else torch.zeros_like(w)
        given = (u, u0, x, x0, y, dl, dl0, dw, du, du0)
        _call_softmax("second", ctx, (l, l0, w), powers, *given)
        return dl, dl0, dw, du, du0, None, None, None


def _given(cotangent: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if cotangent is None else cotangent.contiguous()


def _plain_second(
    plain: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    slopes: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
) -> tuple[Any, ...]:
    """Derivatives that the kernels lack, of third order or of the gradient of the weights."""
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        # fresh views: slopes may depend on the inputs, and these are partial derivatives
        views = [
            t.view_as(t) if t.requires_grad else t.detach().requires_grad_()
            for t in (*inputs, *slopes)
        ]
        inputs, slopes = views[: len(inputs)], views[len(inputs) :]
        first = torch.autograd.grad(plain(*inputs), inputs, slopes, create_graph=True)
        total = torch.zeros_like(slopes[0]).sum()
        for found, given in zip(first, cotangents, strict=False):
            if given is not None:
                total = total + (found * given).sum()
        return torch.autograd.grad(total, views, create_graph=keep, allow_unused=True)

"""The convolution of one layer: radially weighted sum over neighbours of features x harmonics.

    out[t, row(p, k), u] = sum over messages s -> t of
                               w[e, p, u] sum_ij C[p, i, j, k] x[s, i, u] Y[e, j],      w = h W

Two forms with one signature: `dense` in torch operations (the reference, any device, any order of
derivative, can be traced) and `fused` in compiled kernels (CPU, first and second derivatives by
hand).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnnip.models.blocks import build
from gnnip.models.nequip.coupling import Coupling

SOURCE = Path(__file__).with_name("kernels.cpp")
LARGEST_OUTPUT = 4  # degree of an output for which the kernels are compiled


@dataclass
class Pairs:
    """Pairs of atoms with messages neighbour -> centre and, when `both`, centre -> neighbour too.

    The vector of a pair is r_neighbour - r_centre.
    """

    centre: Tensor  # (P,) int64
    neighbour: Tensor  # (P,) int64
    both: bool
    n_nodes: int


class Tables:
    """Constant arrays of a `Coupling` in the forms that the two implementations want."""

    def __init__(self, coupling: Coupling):
        """Keep the coupling; tables are made when first asked for."""
        self.coupling = coupling
        self.signs = np.array([(-1) ** coupling.harmonics[p.edge][0] for p in coupling.paths])
        self._dense: dict[tuple[torch.dtype, torch.device], tuple[Any, ...]] = {}
        self._fused: dict[torch.dtype, tuple[Any, ...]] = {}
        self.largest_output = max(irrep[0] for irrep in coupling.outputs)

    def dense(self, dtype: torch.dtype, device: torch.device) -> tuple[Any, ...]:
        """Return what `dense` needs.

        Per input irrep its slice, a table (S, rows * components) and that table's shape; path of
        each row; the order that sorts the rows; the signs of the harmonics of the reverse edge.
        """
        key = (dtype, device)
        if key not in self._dense:
            c = self.coupling
            groups, path_of_row, row = [], [], []
            for source, (degree, _) in enumerate(c.inputs):
                blocks = []
                start = 0
                for number, path in enumerate(c.paths):
                    if path.source != source:
                        continue
                    start = c.source_start(path)
                    value = c.coefficients(path)
                    block = np.zeros((c.n_harmonics, value.shape[2], value.shape[0]))
                    edge = c.edge_start(path)
                    block[edge : edge + value.shape[1]] = value.transpose(1, 2, 0)
                    blocks.append(block)
                    path_of_row += [number] * value.shape[2]
                    row += [c.row(path, k) for k in range(value.shape[2])]
                if not blocks:
                    continue
                table = np.concatenate(blocks, axis=1)
                groups.append(
                    (
                        slice(start, start + 2 * degree + 1),
                        torch.as_tensor(
                            table.reshape(c.n_harmonics, -1), dtype=dtype, device=device
                        ),
                        (table.shape[1], table.shape[2]),
                    )
                )
            signs = np.concatenate([[(-1) ** d] * (2 * d + 1) for d, _ in c.harmonics])
            self._dense[key] = (
                groups,
                torch.as_tensor(path_of_row, device=device),
                torch.as_tensor(np.argsort(row), device=device),
                torch.as_tensor(signs, dtype=dtype, device=device),
            )
        return self._dense[key]

    def fused(self, dtype: torch.dtype) -> tuple[Any, ...]:
        """Return (sizes, tensors) as the kernels take them; the tensors keep the memory alive."""
        if dtype not in self._fused:
            c = self.coupling
            records, entries, size = [], [], 0
            for number, path in enumerate(c.paths):
                value = c.coefficients(path)
                n_i, _, n_k = value.shape
                stride = c.multiplicity[path.target]
                records.append(
                    [
                        c.source_start(path),
                        n_i,
                        n_k,
                        c.row(path, 0),
                        stride,
                        size,
                        self.signs[number],
                    ]
                )
                for i, j, k in zip(*np.nonzero(np.abs(value) > 1e-12), strict=True):
                    entries.append((size + i * n_k + k, c.edge_start(path) + j, value[i, j, k]))
                size += n_i * n_k
            entries.sort()
            swapped = sorted(entries, key=lambda entry: (entry[1], entry[0]))
            starts = np.searchsorted([e[1] for e in swapped], np.arange(c.n_harmonics + 1))

            def integers(values: Any) -> Tensor:
                return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.int32)

            tensors = [
                integers(records),
                integers([e[0] for e in entries]),
                integers([e[1] for e in entries]),
                torch.tensor([e[2] for e in entries], dtype=dtype),
                integers(starts),
                integers([e[0] for e in swapped]),
                torch.tensor([e[2] for e in swapped], dtype=dtype),
            ]
            sizes = [len(c.paths), c.components, c.rows, c.n_harmonics, size, len(entries)]
            self._fused[dtype] = (sizes, tensors)
        return self._fused[dtype]


def dense(
    tables: Tables, pairs: Pairs, x: Tensor, harmonics: Tensor, hidden: Tensor, weights: Tensor
) -> Tensor:
    """Return (n, rows, channels): harmonics contracted into small matrices, batched products.

    Takes x (n, components, channels), harmonics (P, S), hidden (P, H) and weights
    (H, paths * channels).
    """
    groups, path_of_row, order, signs = tables.dense(x.dtype, x.device)
    path_weights = hidden @ weights
    source, target = pairs.neighbour, pairs.centre
    if pairs.both:
        source, target = torch.cat([source, pairs.centre]), torch.cat([target, pairs.neighbour])
        harmonics = torch.cat([harmonics, harmonics * signs])
        path_weights = torch.cat([path_weights, path_weights])
    features = x.index_select(0, source)
    parts = [
        (harmonics @ table).view(-1, *shape) @ features[:, where] for where, table, shape in groups
    ]
    path_weights = path_weights.view(source.shape[0], len(tables.coupling.paths), x.shape[2])
    messages = torch.cat(parts, dim=1) * path_weights.index_select(1, path_of_row)
    out = x.new_zeros(pairs.n_nodes, tables.coupling.rows, x.shape[2])
    return out.index_add(0, target, messages.index_select(1, order))


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


class _Call:
    """One prepared call into the kernels for fixed tables, pairs and weights."""

    def __init__(self, tables: Tables, pairs: Pairs, x: Tensor, hidden: Tensor, weights: Tensor):
        found = build.library(SOURCE)
        assert found is not None
        self.library, self.suffix = found, "float" if x.dtype == torch.float32 else "double"
        sizes, tensors = tables.fused(x.dtype)
        numbers = [
            *sizes,
            x.shape[2],
            hidden.shape[1],
            pairs.n_nodes,
            len(pairs.centre),
            int(pairs.both),
            torch.get_num_threads(),
        ]
        self.keep = [
            *tensors,
            pairs.centre.int(),
            pairs.neighbour.int(),
            weights,
            weights.t().contiguous(),
        ]
        self.sizes = (ctypes.c_long * len(numbers))(*numbers)
        self.tables = (ctypes.c_void_p * len(self.keep))(*[t.data_ptr() for t in self.keep])

    def __call__(self, name: str, *tensors: Tensor | None) -> None:
        function = getattr(self.library, f"{name}_{self.suffix}")
        function(self.sizes, self.tables, *[_pointer(t) for t in tensors])


def _wanted(ctx: Any, position: int) -> bool:
    # needs_input_grad does not know which gradients this pass asks for; the engine does
    node = ctx.next_functions[position][0]
    if node is None:
        return False
    try:
        return torch._C._will_engine_execute_node(node)
    except (RuntimeError, AttributeError):  # a leaf under autograd.grad cannot be asked
        return True


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, harmonics: Tensor, hidden: Tensor, weights: Tensor, where: Any
    ) -> Tensor:
        tables, pairs = where
        ctx.where = where
        ctx.save_for_backward(x, harmonics, hidden, weights)
        out = x.new_zeros(pairs.n_nodes, tables.coupling.rows, x.shape[2])
        _Call(tables, pairs, x, hidden, weights)("forward", x, harmonics, hidden, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, harmonics, hidden, weights = ctx.saved_tensors
        wanted = _wanted(ctx, 1), _wanted(ctx, 3)
        found = _Backward.apply(x, harmonics, hidden, weights, g.contiguous(), ctx.where, wanted)
        return *found, None


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        harmonics: Tensor,
        hidden: Tensor,
        weights: Tensor,
        g: Tensor,
        where: Any,
        wanted: Any,
    ) -> Any:
        ctx.where = where
        ctx.save_for_backward(x, harmonics, hidden, weights, g)
        ctx.set_materialize_grads(False)
        dx, dhidden = torch.zeros_like(x), torch.empty_like(hidden)
        dharmonics = torch.empty_like(harmonics) if wanted[0] else None
        dweights = torch.zeros_like(weights) if wanted[1] else None
        call = _Call(*where, x, hidden, weights)
        call("backward", x, harmonics, hidden, g, dx, dharmonics, dhidden, dweights)
        return dx, dharmonics, dhidden, dweights

    @staticmethod
    def backward(ctx: Any, ax: Any, aharmonics: Any, ahidden: Any, aweights: Any) -> Any:
        x, harmonics, hidden, weights, g = ctx.saved_tensors
        if aweights is not None or torch.is_grad_enabled():
            return *_dense_second(ctx, (ax, aharmonics, ahidden, aweights)), None, None
        dx, dhidden, dg = torch.zeros_like(x), torch.empty_like(hidden), torch.zeros_like(g)
        dharmonics = torch.empty_like(harmonics) if _wanted(ctx, 1) else None
        dweights = torch.zeros_like(weights) if _wanted(ctx, 3) else None
        given = [
            torch.zeros_like(like) if a is None else a.contiguous()
            for a, like in ((ax, x), (aharmonics, harmonics), (ahidden, hidden))
        ]
        call = _Call(*ctx.where, x, hidden, weights)
        call("second", x, harmonics, hidden, g, *given, dx, dharmonics, dhidden, dweights, dg)
        return dx, dharmonics, dhidden, dweights, dg, None, None


def _dense_second(ctx: Any, cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
    """Derivatives that the kernels lack, of third order or of the gradient of the weights."""
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        # fresh views: g may itself depend on the other inputs, and these are partial derivatives
        inputs = [
            t.view_as(t) if t.requires_grad else t.detach().requires_grad_()
            for t in ctx.saved_tensors
        ]
        *arguments, g = inputs
        first = torch.autograd.grad(
            dense(*ctx.where, *arguments), arguments, g, create_graph=True, allow_unused=True
        )
        total = torch.zeros_like(g).sum()
        for found, given in zip(first, cotangents, strict=True):
            if found is not None and given is not None:
                total = total + (found * given).sum()
        return torch.autograd.grad(total, inputs, create_graph=keep, allow_unused=True)


def _pad(tensor: Tensor, multiple: int) -> Tensor:
    missing = -tensor.shape[-1] % multiple
    return torch.nn.functional.pad(tensor, (0, missing)) if missing else tensor


def available(tables: Tables, x: Tensor) -> bool:
    """Tell whether the kernels can treat these features."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and tables.largest_output <= LARGEST_OUTPUT
        and build.library(SOURCE) is not None
    )


def fused(
    tables: Tables, pairs: Pairs, x: Tensor, harmonics: Tensor, hidden: Tensor, weights: Tensor
) -> Tensor:
    """Return what `dense` returns, from the compiled kernels (CPU, float32 or float64)."""
    lanes = 64 // x.element_size()
    channels = x.shape[2]
    weights = _pad(weights.view(hidden.shape[1], -1, channels), lanes).flatten(1)
    missing = -hidden.shape[1] % lanes
    if missing:
        weights = torch.nn.functional.pad(weights, (0, 0, 0, missing))
    out = _Forward.apply(
        _pad(x, lanes).contiguous(),
        harmonics.contiguous(),
        _pad(hidden, lanes).contiguous(),
        weights.contiguous(),
        (tables, pairs),
    )
    return out[..., :channels]

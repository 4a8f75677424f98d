"""Activations: by name, and silu with a derivative of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gnnip.errors import ConfigError, nearest

# 1 / rms of the activation under a unit Gaussian, e3nn's fixed-seed Monte-Carlo estimate: weights
# trained with e3nn presuppose these digits, not the exact integrals.
SILU_GAIN = 1.6791767923989418
TANH_GAIN = 1.5937334472592695


def _identity(x: Tensor) -> Tensor:
    return x


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": nn.functional.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": nn.functional.softplus,
    "silu": nn.functional.silu,
    "linear": _identity,
}


def activation(name: str | None) -> Callable[[Tensor], Tensor]:
    """Return an activation by name, None being "linear"; ConfigError for an unknown name."""
    if name is not None and name not in _ACTIVATIONS:
        raise ConfigError(f"There is no activation '{name}'{nearest(name, _ACTIVATIONS)}")
    return _ACTIVATIONS[name or "linear"]


def silu(x: Tensor) -> Tensor:
    """Return x sigmoid(x), whose second derivative takes half the passes of autograd's."""
    result: Tensor = _Silu.apply(x)
    return result


class _Silu(torch.autograd.Function):
    """x sigmoid(x), whose second derivative is written out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return nn.functional.silu(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = _SiluSlope.apply(x, g)
        return slope


class _SiluSlope(torch.autograd.Function):
    """g silu'(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor) -> Tensor:
        ctx.save_for_backward(x, g)
        return torch.ops.aten.silu_backward(g, x)

    @staticmethod
    def backward(ctx: Any, gg: Tensor) -> tuple[Tensor, Tensor]:
        x, g = ctx.saved_tensors
        # silu'' = s (1 - s) (2 + x (1 - 2 s)) with s = sigmoid(x)
        s = torch.sigmoid(x)
        bracket = torch.addcmul(torch.full_like(x[:1, :1], 2.0), x, 1.0 - 2.0 * s)
        curvature = torch.addcmul(s, s, s, value=-1.0) * bracket
        slope: Tensor = _SiluSlope.apply(x, gg)
        return curvature * g * gg, slope

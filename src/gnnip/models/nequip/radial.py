"""Functions of the distance (Bessel basis, cutoffs, radial network) and spherical harmonics."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from e3nn import o3
from torch import Tensor, nn

# 1 / rms of the activation under a unit Gaussian, e3nn's fixed-seed Monte-Carlo estimate: weights
# trained with
# e3nn presuppose these digits, not the exact integrals.
SILU_GAIN = 1.6791767923989418
TANH_GAIN = 1.5937334472592695


class BesselBasis(nn.Module):
    """(2 / cutoff) sin(k_n r) / r with k_n = n pi / cutoff at the start.

    Gasteiger, Gross and Guennemann, 2020, eq. 7.
    """

    def __init__(self, cutoff: float, n_functions: int, trainable: bool):
        """Take the cutoff in Angstrom."""
        super().__init__()
        self.cutoff = cutoff
        frequencies = torch.arange(1, n_functions + 1) * (math.pi / cutoff)
        if trainable:
            self.frequencies = nn.Parameter(frequencies)
        else:
            self.register_buffer("frequencies", frequencies)

    def forward(self, distance: Tensor) -> Tensor:
        """Return (E, n) for distances (E,)."""
        r = distance[:, None]
        return (2.0 / self.cutoff) * torch.sin(self.frequencies * r) / r


class PolynomialCutoff(nn.Module):
    """1 - (p+1)(p+2)/2 u^p + p(p+2) u^(p+1) - p(p+1)/2 u^(p+2), u = r / cutoff.

    Gasteiger, Gross and Guennemann, 2020, eq. 8.
    """

    def __init__(self, cutoff: float, power: int):
        """Take the cutoff in Angstrom and p."""
        super().__init__()
        self.cutoff, self.power = cutoff, power

    def forward(self, distance: Tensor) -> Tensor:
        """Return (E,), 0 at and past the cutoff."""
        p = self.power
        u = (distance / self.cutoff).clamp(max=1.0)
        bracket = (p + 1) * (p + 2) / 2 - u * (p * (p + 2) - u * (p * (p + 1) / 2))
        return 1 - u.pow(p) * bracket


class XplorCutoff(nn.Module):
    """1 up to `onset`, then (rc^2-r^2)^2 (rc^2+2r^2-3ro^2) / (rc^2-ro^2)^3, as in HOOMD-blue."""

    def __init__(self, cutoff: float, onset: float):
        """Take the cutoff and the onset in Angstrom."""
        super().__init__()
        self.cutoff, self.onset = cutoff, onset

    def forward(self, distance: Tensor) -> Tensor:
        """Return (E,), 0 at and past the cutoff."""
        square, on, off = distance**2, self.onset**2, self.cutoff**2
        value = (off - square) ** 2 * (off + 2 * square - 3 * on) / (off - on) ** 3
        value = torch.where(distance < self.onset, torch.ones_like(value), value)
        return torch.where(distance < self.cutoff, value, torch.zeros_like(value))


@lru_cache(maxsize=16)
def _raising(degree: int) -> np.ndarray:
    """Coefficients (2l-1, 3, 2l+1) that make Y_l from Y_(l-1) and Y_1, component normalisation."""
    coefficients = o3.wigner_3j(degree - 1, 1, degree, dtype=torch.float64).numpy()
    return coefficients * math.sqrt(_square_norm(degree))


@lru_cache(maxsize=16)
def _square_norm(degree: int) -> float:
    # |sum C Y_(l-1) Y_1|^2 is the same for every direction: take the pole of Y_1 = sqrt(3) (0, 1,
    # 0)
    pole = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    lower = o3.spherical_harmonics(degree - 1, pole, True, "component").numpy()
    coefficients = o3.wigner_3j(degree - 1, 1, degree, dtype=torch.float64).numpy()
    value = np.einsum("i,j,ijk->k", lower, math.sqrt(3) * pole.numpy(), coefficients)
    return float((2 * degree + 1) / (value @ value))


def spherical_harmonics(direction: Tensor, lmax: int) -> Tensor:
    """Return (E, (lmax+1)^2) real harmonics of unit vectors (E, 3), e3nn's order, |Y_l|^2 = 2 l +
    1.

    Degrees above 2 follow from Y_l = c sum C(l-1, 1, l) Y_(l-1) Y_1.
    """
    parts = [torch.ones_like(direction[:, :1])]
    if lmax >= 1:
        parts.append(math.sqrt(3.0) * direction)
    if lmax >= 2:
        x, y, z = direction.unbind(1)
        a = math.sqrt(15.0)
        parts.append(
            torch.stack(
                [
                    a * x * z,
                    a * x * y,
                    math.sqrt(5.0) * (y * y - 0.5 * (x * x + z * z)),
                    a * y * z,
                    0.5 * a * (z * z - x * x),
                ],
                dim=1,
            )
        )
    for degree in range(3, lmax + 1):
        table = torch.as_tensor(_raising(degree), dtype=direction.dtype, device=direction.device)
        outer = (parts[-1][:, :, None] * parts[1][:, None, :]).flatten(1)
        parts.append(outer @ table.reshape(-1, 2 * degree + 1))
    return torch.cat(parts, dim=1)


class _Silu(torch.autograd.Function):
    """x sigmoid(x), whose second derivative is written out: autograd's takes twice the passes."""

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


class RadialNetwork(nn.Module):
    """Hidden layers of the radial network: h <- c silu(h W / sqrt(rows of W)), no bias.

    The last linear layer, which makes the path weights, belongs to the convolution, and so does the
    last factor c: a factor on weights costs less than one on every pair.
    """

    def __init__(self, widths: tuple[int, ...]):
        """Take the width of the basis and the widths of the hidden layers."""
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(rows, columns)) for rows, columns in pairwise(widths)
        )

    def forward(self, basis: Tensor, traceable: bool = False) -> Tensor:
        """Return (E, last width), short of the last factor c, for a basis (E, first width).

        `traceable` takes torch's own activation, which compilers know.
        """
        hidden, gain = basis, 1.0
        for weight in self.weights:
            hidden = hidden @ (weight * (gain / math.sqrt(weight.shape[0])))
            hidden = nn.functional.silu(hidden) if traceable else _Silu.apply(hidden)
            gain = SILU_GAIN
        return hidden

"""Functions of a distance: Bessel functions, envelopes that vanish at the cutoff, networks.

Two forms of one formula differ in the order of their operations, which trained models rely on.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from gnnip.models.blocks.activations import SILU_GAIN, silu


def bessel(r: Tensor, cutoff: float, n: int) -> Tensor:
    """Return sqrt(2/rc) sin(k pi r/rc)/r for k = 1..n: (E,) to (E, n).

    Gasteiger et al., ICLR 2020 (DimeNet), eq. 7.
    """
    k = torch.arange(1, n + 1, dtype=r.dtype, device=r.device)
    return math.sqrt(2.0 / cutoff) * torch.sin(k * (math.pi / cutoff) * r[:, None]) / r[:, None]


def polynomial_envelope(r: Tensor, cutoff: float | Tensor, p: int = 6) -> Tensor:
    """Return 1 - (p+1)(p+2)/2 u^p + p(p+2) u^(p+1) - p(p+1)/2 u^(p+2), u = r/rc < 1: (E,).

    The function and its first two derivatives vanish at the cutoff. Gasteiger et al., eq. 8.
    """
    u = r / cutoff
    a, b, c = (p + 1) * (p + 2) / 2, p * (p + 2), p * (p + 1) / 2
    return 1.0 + u**p * (-a + u * (b - c * u))


class BesselBasis(nn.Module):
    """(2 / cutoff) sin(k_n r) / r with k_n = n pi / cutoff at the start: `bessel`, trainable."""

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


def polynomial_cutoff(distance: Tensor, cutoff: float, power: int) -> Tensor:
    """Return `polynomial_envelope` (E,) up to the cutoff, 0 past it."""
    p = power
    u = (distance / cutoff).clamp(max=1.0)
    bracket = (p + 1) * (p + 2) / 2 - u * (p * (p + 2) - u * (p * (p + 1) / 2))
    return 1 - u.pow(p) * bracket


def xplor_cutoff(distance: Tensor, cutoff: float, onset: float) -> Tensor:
    """Return (E,): 1 up to `onset`, 0 past the cutoff, between them
    (rc^2-r^2)^2 (rc^2+2r^2-3ro^2) / (rc^2-ro^2)^3, as in HOOMD-blue."""
    square, on, off = distance**2, onset**2, cutoff**2
    value = (off - square) ** 2 * (off + 2 * square - 3 * on) / (off - on) ** 3
    value = torch.where(distance < onset, torch.ones_like(value), value)
    return torch.where(distance < cutoff, value, torch.zeros_like(value))


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
            hidden = nn.functional.silu(hidden) if traceable else silu(hidden)
            gain = SILU_GAIN
        return hidden

"""Functions of a distance that vanish smoothly at the cutoff."""

from __future__ import annotations

import math

import torch
from torch import Tensor


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

"""Radial functions of spherical Bessel functions, orthonormal within a cutoff.

Kocer, Mason & Erturk, J. Chem. Phys. 150, 154102 (2019) and AIP Advances 10, 015021 (2020): two
neighbouring Bessel functions j_l are combined so that value, slope and curvature vanish at the
cutoff, then made orthonormal under the weight r^2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import spherical_jn
from torch import Tensor, nn


def bessel_roots(degree: int, count: int) -> NDArray[np.float64]:
    """Return the first `count` positive roots of j_degree, by bisection between those below."""
    roots: NDArray[np.float64] = np.pi * np.arange(1.0, count + degree + 1)
    for order in range(1, degree + 1):
        low, high = roots[:-1], roots[1:]
        sign = np.sign(spherical_jn(order, low))
        for _ in range(60):
            middle = 0.5 * (low + high)
            left = np.sign(spherical_jn(order, middle)) != sign
            low, high = np.where(left, low, middle), np.where(left, middle, high)
        roots = 0.5 * (low + high)
    return roots


def combinations(degree: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return roots u (count + 1,) and C (count + 1, count) of g_n = rc^-1.5 sum_k j_l(u_k r/rc)
    C_kn."""
    roots = bessel_roots(degree, count + 1)
    table = np.zeros((count + 1, count))
    for n, (a, b) in enumerate(pairwise(roots)):
        factor = math.sqrt(2.0 / (a * a + b * b))
        table[n, n] = factor * b / spherical_jn(degree + 1, a)
        table[n + 1, n] = -factor * a / spherical_jn(degree + 1, b)
    # Gram-Schmidt: only neighbouring functions overlap
    square, d = roots**2, 1.0
    for n in range(1, count):
        before, here, after = square[n - 1 : n + 2]
        e = before * after / ((before + here) * (here + after))
        d, last = 1.0 - e / d, d
        table[:, n] = table[:, n] / math.sqrt(d) + math.sqrt(e / (d * last)) * table[:, n - 1]
    return roots, table


class SphericalBesselBasis(nn.Module):
    """g_nl(r), l = 0 ... n_max, n = 0 ... n_max - l: degree by degree.

    Evaluated in double precision: the recurrence in l loses digits at short distances.
    """

    scales: Tensor
    table: Tensor

    def __init__(self, cutoff: float, n_max: int) -> None:
        """Take the cutoff in Angstrom."""
        super().__init__()
        self.counts = [n_max - degree + 1 for degree in range(n_max + 1)]
        parts = [combinations(degree, count) for degree, count in enumerate(self.counts)]
        scales = np.concatenate([roots for roots, _ in parts]) / cutoff
        self.scales = nn.Buffer(torch.as_tensor(scales), persistent=False)
        blocks = [torch.as_tensor(table) for _, table in parts]
        table = torch.block_diag(*blocks) / cutoff**1.5
        self.table = nn.Buffer(table, persistent=False)

    def forward(self, r: Tensor) -> Tensor:
        """Return (E, functions) for distances (E,) below the cutoff, Angstrom."""
        x = r.double()[:, None] * self.scales.double()
        columns: Sequence[Tensor] = x.split([count + 1 for count in self.counts], dim=1)
        functions = [_bessel(x, degree) for degree, x in enumerate(columns)]
        return (torch.cat(functions, dim=1) @ self.table.double()).to(r.dtype)


def _bessel(x: Tensor, degree: int) -> Tensor:
    """Return j_degree(x) by the recurrence upwards."""
    inverse = 1.0 / x
    here = torch.sin(x) * inverse
    if degree == 0:
        return here
    before, here = here, (here - torch.cos(x)) * inverse
    for order in range(1, degree):
        before, here = here, (2 * order + 1) * inverse * here - before
    return here

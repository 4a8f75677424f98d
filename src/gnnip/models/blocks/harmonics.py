"""Real spherical harmonics of directions, as e3nn has them."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=256)
def wigner_3j(l1: int, l2: int, l3: int) -> np.ndarray:
    """Return the coefficients (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) that couple real harmonics of degrees
    l1 and l2 to l3, with norm 1 and e3nn's order and signs.

    Those of complex harmonics are Racah's formula without the factors that the norm cancels. e3nn
    itself is not imported: it loads torch's compiler, which takes as long as torch.
    """
    complex_ones = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            m3 = m1 + m2
            least, most = max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2)
            total = sum(
                (-1) ** k
                / _factorials(k, l1 + l2 - l3 - k, l1 - m1 - k, l2 + m2 - k)
                / _factorials(l3 - l2 + m1 + k, l3 - l1 - m2 + k)
                for k in range(least, most + 1)
            )
            weight = _factorials(l1 + m1, l1 - m1, l2 + m2, l2 - m2, l3 + m3, l3 - m3)
            complex_ones[l1 + m1, l2 + m2, l3 + m3] = total * math.sqrt(weight)
    first, second, third = (_real_basis(degree) for degree in (l1, l2, l3))
    table = np.einsum("ij,kl,mn,ikm->jln", first, second, third.conj(), complex_ones).real
    return table / np.linalg.norm(table)


def _factorials(*numbers: int) -> int:
    return math.prod(map(math.factorial, numbers))


def _real_basis(degree: int) -> np.ndarray:
    """Return the matrix of complex harmonics (rows) by real ones, with the phase that makes the
    coefficients real."""
    table = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=complex)
    table[degree, degree] = 1
    for m in range(1, degree + 1):
        table[degree - m, degree + m], table[degree - m, degree - m] = 1, -1j
        table[degree + m, degree + m], table[degree + m, degree - m] = (-1) ** m, 1j * (-1) ** m
    table[:, np.arange(2 * degree + 1) != degree] /= math.sqrt(2)
    return (-1j) ** degree * table


@lru_cache(maxsize=16)
def _raising(degree: int) -> np.ndarray:
    """Coefficients (2l-1, 3, 2l+1) that make Y_l from Y_(l-1) and Y_1, component normalisation."""
    # |sum C Y_(l-1) Y_1|^2 is the same for every direction: take the pole of Y_1 = sqrt(3) (0, 1,
    # 0)
    pole = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    lower = spherical_harmonics(pole, degree - 1)[0, 1 - 2 * degree :]
    coefficients = wigner_3j(degree - 1, 1, degree)
    value = np.einsum("i,j,ijk->k", lower, math.sqrt(3) * pole[0], coefficients)
    return coefficients * math.sqrt((2 * degree + 1) / (value @ value))


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

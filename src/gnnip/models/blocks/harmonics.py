"""Real spherical harmonics of directions, as e3nn has them."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from e3nn import o3
from torch import Tensor


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

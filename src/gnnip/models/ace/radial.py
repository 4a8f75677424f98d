"""Functions of the distance: polynomials as ACE1.jl has them, and Bessel functions."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from gnnip.models.blocks.radial import bessel, polynomial_envelope

Radial = Literal["polynomial", "bessel"]
Distance = TypeVar("Distance", Tensor, float)

#: of the polynomials, Angstrom: the length of the transformed distance, where the range begins that
#: they are orthogonal on; and the points of that range
LENGTH, INNER, POINTS = 1.0, 0.65, 1000


def radial_functions(r: Tensor, cutoff: float, n: int, kind: Radial) -> Tensor:
    """Return n functions of distances (E,) below the cutoff, Angstrom, that end smoothly there:
    (E, n).

    "polynomial" : J_k(x) of x = ((1 + r0) / (1 + r))^2 with the factor (x - x(cutoff))^2,
        orthonormal on a grid of x, of which the force ends with a kink at the cutoff.
    "bessel" : sin(k pi r / cutoff) / r with an envelope, twice differentiable there.
    """
    if kind == "bessel":
        return bessel(r, cutoff, n) * polynomial_envelope(r, cutoff)[:, None]
    x, end = _transformed(r), _transformed(cutoff)
    first, rest = _recursion(n, cutoff)
    found = [first * (x - end).square()]
    before = torch.zeros_like(x)
    for a, b, c in rest:
        found, before = [*found, (a * x + b) * found[-1] + c * before], found[-1]
    return torch.stack(found, dim=1)


def _transformed(r: Distance) -> Distance:
    return ((1.0 + LENGTH) / (1.0 + r)) ** 2


@lru_cache(maxsize=64)
def _recursion(n: int, cutoff: float) -> tuple[float, list[tuple[float, float, float]]]:
    """Return the factor of the first polynomial, and (a, b, c) of
    J_k = (a x + b) J_(k-1) + c J_(k-2)."""
    low, high = (_transformed(r) for r in (cutoff, INNER))
    step = (high - low) / POINTS
    x = low + step * (np.arange(POINTS) + 0.5)
    first = 1.0 / np.sqrt(np.mean((x - low) ** 4))
    before, last = np.zeros_like(x), first * (x - low) ** 2
    rest = []
    for _ in range(n - 1):
        b, c = np.mean(x * last * last), np.mean(x * last * before)
        found = (x - b) * last - c * before
        size = np.sqrt(np.mean(found * found))
        before, last = last, found / size
        rest.append((float(1.0 / size), float(-b / size), float(-c / size)))
    return float(first), rest

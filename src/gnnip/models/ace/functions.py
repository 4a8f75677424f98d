"""Which invariant functions an ACE basis has, and the products that they are sums of.

R. Drautz, Phys. Rev. B 99, 014104 (2019). A channel is a tuple (kind of the neighbours, n, l) with
n = 1, 2, ... and l = 0, 1, ...; the function of several channels couples their sums over the
neighbours, A_nlm, to an invariant. The degree of a function is the sum of n + l over its channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from gnnip.models.blocks.harmonics import wigner_3j

Channel = tuple[int, int, int]
Index = NDArray[np.int64]

#: a coupling coefficient below this is zero but for rounding
_ZERO = 1e-12


def functions(kinds: int, body_order: int, degree: int) -> list[tuple[Channel, ...]]:
    """Return the channels of every function of up to `body_order` - 1 neighbours and of at most
    this degree, which are the same for each kind of the central atom."""
    channels = [
        (kind, n, angular)
        for kind in range(kinds)
        for n in range(1, degree + 1)
        for angular in range(degree + 1 - n)
    ]
    return [
        chosen
        for order in range(1, body_order)
        for chosen in combinations_with_replacement(channels, order)
        if sum(n + angular for _, n, angular in chosen) <= degree
        and _invariant([angular for *_, angular in chosen])
    ]


def _invariant(degrees: list[int]) -> bool:
    """Tell whether harmonics of these degrees, three at most, couple to an invariant, also under
    reflection."""
    most = max(degrees)
    return 2 * most <= sum(degrees) and sum(degrees) % 2 == 0


def _couplings(degrees: list[int]) -> Iterator[tuple[tuple[int, ...], float]]:
    """Yield the places (m + l of each harmonic) and the coefficients, not zero, that couple them;
    the sum of the squares of the coefficients is 1."""
    first, second, third = (*degrees, 0, 0)[:3]
    table = wigner_3j(first, second, third).reshape([2 * d + 1 for d in degrees])
    for place in zip(*np.nonzero(np.abs(table) > _ZERO), strict=True):
        yield tuple(int(p) for p in place), float(table[place])


@dataclass(frozen=True)
class Products:
    """The functions as sums over products of one, two, three components of A: `factors[k]` (T, k+1)
    are the components, `function[k]` (T,), ascending, the number of the function, `weight[k]` (T,)
    the coefficient.

    radial : functions n of the distance for l = 0, 1, ...; the components of A for one kind of
        neighbours are n by m, l after l.  components : their number.  functions : their number.
    """

    radial: tuple[int, ...]
    components: int
    functions: int
    factors: tuple[Index, ...]
    function: tuple[Index, ...]
    weight: tuple[NDArray[np.float64], ...]


@lru_cache(maxsize=64)
def products(kinds: int, body_order: int, degree: int) -> Products:
    """Return the products of all functions, those of equal factors gathered."""
    chosen = functions(kinds, body_order, degree)
    flat = [channel for channels in chosen for channel in channels]
    radial = tuple(
        max(n for _, n, found in flat if found == angular)
        for angular in range(max(found for *_, found in flat) + 1)
    )
    sizes = [n * (2 * angular + 1) for angular, n in enumerate(radial)]
    begins = np.concatenate([[0], np.cumsum(sizes)])
    components = int(begins[-1])
    listed: list[list[tuple[int, float, list[int]]]] = [[] for _ in range(body_order - 1)]
    for number, channels in enumerate(chosen):
        gathered: dict[tuple[int, ...], float] = {}
        for place, weight in _couplings([angular for *_, angular in channels]):
            key = tuple(
                sorted(
                    kind * components + int(begins[angular]) + (n - 1) * (2 * angular + 1) + m
                    for (kind, n, angular), m in zip(channels, place, strict=True)
                )
            )
            gathered[key] = gathered.get(key, 0.0) + weight
        listed[len(channels) - 1] += [
            (number, weight, list(key)) for key, weight in gathered.items() if abs(weight) > _ZERO
        ]
    return Products(
        radial,
        components,
        len(chosen),
        tuple(np.array([key for *_, key in terms], dtype=np.int64) for terms in listed),
        tuple(np.array([number for number, *_ in terms]) for terms in listed),
        tuple(np.array([weight for _, weight, _ in terms]) for terms in listed),
    )

"""Least squares on more rows than fit into memory, with a ridge chosen by cross-validation."""

from __future__ import annotations

import torch
from torch import Tensor

#: ridges to choose from, of columns of norm 1
RIDGES = tuple(10.0**power for power in range(-14, 1))
#: parts that the training frames are divided into, each left out once to choose a ridge
FOLDS = 5
#: singular values below this share of the largest are zero but for rounding
_ROUNDING = 1e-13
#: rows that wait until they are reduced, for each column
_WAITING = 4


class Rows:
    """The rows [x, y] of a least-squares problem, kept as the triangle of their QR decomposition,
    which has their sums of squares and loses no digits to them."""

    def __init__(self, columns: int) -> None:
        """Begin without a row of `columns` coefficients and a label."""
        self.waiting = [torch.zeros((0, columns + 1), dtype=torch.float64)]

    def add(self, x: Tensor, y: Tensor) -> None:
        """Take rows x (m, columns) and y (m,)."""
        self.waiting.append(torch.cat([x, y[:, None]], dim=1).double().cpu())
        if sum(map(len, self.waiting)) > _WAITING * self.waiting[0].shape[1]:
            self.waiting = [self.triangle()]

    def triangle(self) -> Tensor:
        """Return a matrix (at most columns + 1, columns + 1) with the sums of squares of all."""
        return reduce(torch.cat(self.waiting))


def reduce(rows: Tensor) -> Tensor:
    """Return the triangle of the QR decomposition of rows."""
    found: Tensor = torch.linalg.qr(rows, mode="r").R
    return found


def solve(folds: list[Tensor], ridge: float | None) -> tuple[Tensor, float]:
    """Return the coefficients and the ridge, in units of columns of norm 1.

    folds : triangles of the rows of each part of the frames.
    ridge : None chooses the one with the least error on the parts that are left out in turn.
    """
    chosen = _best_ridge(folds) if ridge is None else ridge
    return _solutions(torch.cat(folds), (chosen,))[:, 0], chosen


def _best_ridge(folds: list[Tensor]) -> float:
    errors = torch.zeros(len(RIDGES), dtype=torch.float64)
    for k, left_out in enumerate(folds):
        found = _solutions(torch.cat(folds[:k] + folds[k + 1 :]), RIDGES)
        errors += (left_out[:, :-1] @ found - left_out[:, -1:]).square().sum(0)
    return RIDGES[int(errors.argmin())]


def _solutions(rows: Tensor, ridges: tuple[float, ...]) -> Tensor:
    """Return the coefficients (columns, ridges), of the least norm where they are not unique."""
    triangle = reduce(rows)
    sizes = triangle[:, :-1].square().sum(0).sqrt()
    sizes = torch.where(sizes > 0, sizes, torch.ones_like(sizes))
    left, values, right = torch.linalg.svd(triangle[:, :-1] / sizes, full_matrices=False)
    wanted = left.T @ triangle[:, -1]
    squares = values.square()[:, None] + torch.tensor(ridges, dtype=torch.float64)
    kept = values > _ROUNDING * values.max().clamp(min=1e-300)
    filters = torch.where(kept[:, None], values[:, None] / squares.clamp(min=1e-300), 0.0)
    return (right.T @ (filters * wanted[:, None])) / sizes[:, None]

"""Rows of the tidy table of a comparison, and the names of elements in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ase.data import chemical_symbols

from gnnip.measurements.dynamics.motion import COLUMNS

Row = dict[str, Any]


def row(
    potential: str,
    record: str,
    name: str,
    value: float,
    *,
    replica: int | None = None,
    x: float | None = None,
    text: str = "",
) -> Row:
    """Return one row; `comparison` describes the records of the table."""
    return dict(zip(COLUMNS, (potential, record, name, replica, x, value, text), strict=True))


def curve(
    potential: str,
    record: str,
    name: str,
    x: Iterable[float],
    values: Iterable[float],
    replica: int | None = None,
) -> list[Row]:
    """Return a row for each point of a curve, to six digits."""
    return [
        row(potential, record, name, float(f"{v:.6g}"), replica=replica, x=float(f"{u:.6g}"))
        for u, v in zip(x, values, strict=True)
    ]


def symbol(number: int) -> str:
    """Return the symbol of an element."""
    return str(chemical_symbols[int(number)])


def pair_name(numbers: tuple[int, int]) -> str:
    """Return two elements joined by a hyphen, the heavier first."""
    return "-".join(symbol(z) for z in sorted(numbers, reverse=True))


def triplet_name(numbers: tuple[int, int, int]) -> str:
    """Return end-centre-end of (centre, end, end), the heavier end first."""
    centre, *ends = numbers
    return "-".join(symbol(z) for z in (max(ends), centre, min(ends)))

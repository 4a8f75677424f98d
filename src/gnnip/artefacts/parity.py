"""Predicted against reference values, coloured by size."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gnnip.artefacts import style


def parity(
    ax: Axes, rows: pd.DataFrame, x: str, y: str, colours: dict[Any, Any], *, size: str
) -> None:
    """Draw column `y` against `x` beside the diagonal, coloured by the values of `size`."""
    values = rows[[x, y]].to_numpy()
    _points(ax, rows, (x, y), colours, size)
    _window(ax, float(values.min()), float(values.max()))


def deviation_parity(
    ax: Axes, rows: pd.DataFrame, x: str, y: str, colours: dict[Any, Any], *, size: str
) -> None:
    """Draw `parity` of deviations: a few wild predictions must not squeeze the rest, so that the
    window follows the reference, and what lies outside is counted."""
    _points(ax, rows, (x, y), colours, size)
    reach = 1.6 * float(rows[x].abs().max())
    outside = int((rows[y].abs() > reach).sum())
    if outside:
        ax.text(
            0.98,
            0.02,
            f"{outside} of {len(rows)} points outside",
            transform=ax.transAxes,
            fontsize=6,
            ha="right",
            color=style.GREY,
        )
    _window(ax, -reach, reach)
    ax.axhline(0.0, color=style.GREY, lw=0.9, ls=(0, (4, 2)), zorder=1)


def _points(
    ax: Axes, rows: pd.DataFrame, columns: tuple[str, str], colours: dict[Any, Any], size: str
) -> None:
    shuffled = rows.sample(frac=1.0, random_state=0)  # so that no size hides another
    shades = [colours[n] for n in shuffled[size]]
    x, y = (shuffled[column] for column in columns)
    ax.scatter(x, y, s=9, c=shades, alpha=0.75, linewidths=0, zorder=2)


def _window(ax: Axes, low: float, high: float) -> None:
    pad = 0.04 * (high - low)
    ends = (low - pad, high + pad)
    ax.plot(ends, ends, color=style.INK, lw=0.7, zorder=1)
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    for side in (ax.xaxis, ax.yaxis):
        side.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def write_note(ax: Axes, text: str) -> None:
    """Write lines into the upper left corner."""
    place: dict[str, Any] = {"transform": ax.transAxes, "fontsize": 7, "va": "top"}
    ax.text(0.04, 0.97, text, linespacing=1.5, **place)


def size_legend(fig: Figure, colours: dict[Any, Any], x: float, title: str) -> None:
    """Say which size has which colour, right of the panels."""
    handles = [
        Line2D([], [], marker="o", ls="", color=c, ms=4, label=f"{n}") for n, c in colours.items()
    ]
    fig.legend(
        handles=handles,
        title=title,
        loc="upper left",
        bbox_to_anchor=(x, 0.96),
        handletextpad=0.1,
        borderaxespad=0,
        title_fontsize=7,
    )

"""A row of panels, one per target, and what is drawn into several kinds of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.artefacts.kinds import Words

#: what values without a colour of their own get, in turn
TURNS = ("BLUE", "VERMILLION", "GREEN", "ORANGE", "PURPLE", "SKY")
PREDICTORS = {"n_linear": "linear in size", "ensemble_mean": "ensemble mean"}
MEASURES = {"mae": "MAE", "mse": "MSE", "rmse": "RMSE", "mape": "MAPE", "force_rmse": "force RMSE"}
UNITS = {"mape": "%", "force_rmse": "eV/Å"}


class Panel(NamedTuple):
    """Axes, their letter, the target that they are about, and its rows of the table."""

    ax: Axes
    letter: str
    value: str
    rows: pd.DataFrame

    def title(self, words: Words, end: str = "") -> None:
        """Write letter and target above the axes."""
        style.panel(self.ax, self.letter, words.label(self.value) + end)


def row_of_panels(
    tidy: pd.DataFrame,
    height: float,
    *,
    left: float,
    right: float,
    bottom: float,
    top: float,
    gap: float,
) -> tuple[Figure, list[Panel]]:
    """Return a figure with a panel for every target in the table, lengths in mm.

    It is as wide as its panels need: one alone is not stretched over the page.
    """
    values = list(tidy["target"].unique())
    fig = style.figure(style.DOUBLE if len(values) > 1 else style.MIDDLE, height)
    width = fig.get_figwidth() / style.MM
    each = (width - left - right - gap * (len(values) - 1)) / len(values)
    panels = []
    for i, (letter, value) in enumerate(zip("abcdefgh", values, strict=False)):
        ax = style.place(fig, left + i * (each + gap), bottom, each, height - bottom - top)
        panels.append(Panel(ax, letter, str(value), tidy[tidy["target"] == value]))
    return fig, panels


def colour(words: Words, name: Any, turn: int = 0) -> str:
    """Return the colour that a card gives a value, else the next one in turn."""
    return named(words.colour(name, TURNS[turn % len(TURNS)]))


def named(name: str) -> str:
    """Return a colour of `gnnip.artefacts.style` by its name in a card, e.g. blue."""
    return str(getattr(style, name.upper()))


def predictor(words: Words, name: str) -> str:
    """Return the words for a trivial predictor."""
    return words.label(name, PREDICTORS.get(name))


def error_label(words: Words, subset: str, measure: str, unit: str, term: str) -> str:
    """Return what stands along an axis of errors: test MAE of $V$ (Ha)."""
    of = "" if measure == "force_rmse" else f" of {words.symbol(term)}"
    return f"{subset} {MEASURES[measure]}{of} ({UNITS.get(measure, unit)})"


def baseline_line(ax: Axes, value: float, label: str) -> None:
    """Draw the error of a trivial predictor across the axes."""
    ax.axhline(value, color=style.GREY, lw=0.9, ls=(0, (4, 2)), zorder=1, label=label)


def mean_and_spread(
    ax: Axes, at: float, values: pd.Series, *, lying: bool = False, **look: Any
) -> None:
    """Draw the mean over seeds at a place along x, or along y when lying, with its standard
    deviation where there are several."""
    error = style.spread(values) if len(values) > 1 else None
    if lying:
        ax.errorbar(values.mean(), at, xerr=error, capsize=2, **look)
    else:
        ax.errorbar(at, values.mean(), yerr=error, capsize=2, **look)


def names_at_the_left(ax: Axes, names: Sequence[str], last: float = -0.4) -> None:
    """Name rows from the top; `last` is where the axes end below the last one."""
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) + last, -0.6)
    ax.grid(axis="x", which="major")


def shades(values: Iterable[Any], first: float = 0.0, last: float = 0.92) -> dict[Any, Any]:
    """Return a colour for each of ordered values, e.g. sizes, between two shares of the map."""
    ordered = list(values)
    found = mpl.colormaps[style.ORDERED](np.linspace(first, last, max(len(ordered), 2)))
    return dict(zip(ordered, found, strict=False))


def joint_legend(fig: Figure, ax: Axes, x: float, y: float, columns: int = 4) -> None:
    """Draw one legend for all panels, in millimetres above the lower edge and a share along it."""
    handles, labels = ax.get_legend_handles_labels()
    height = fig.get_figheight() / style.MM
    fig.legend(handles, labels, loc="lower center", ncol=columns, bbox_to_anchor=(x, y / height))


def with_spread(value: float, spread: float) -> str:
    """Return "0.0210 ± 0.0025", rounded to the digits that the spread leaves."""
    size = spread if np.isfinite(spread) and spread > 0 else abs(value) / 10
    if not np.isfinite(value) or size == 0:
        return f"{value:.3g}"
    # two digits of the spread when it begins with 1, else one
    digits = 1 if size / 10 ** np.floor(np.log10(size)) < 1.95 else 0
    decimals = int(np.clip(digits - np.floor(np.log10(size)), 0, 6))
    text = f"{value:.{decimals}f}"
    return f"{text} ± {spread:.{decimals}f}" if np.isfinite(spread) and spread > 0 else text


def labels_at_the_right(
    ax: Axes, ends: Mapping[str, tuple[float, str]], least: float = 7.5
) -> None:
    """Write each curve's name at its end, (value, colour) by name, on a logarithmic axis, pushed
    apart so that names keep `least` points."""
    low, high = np.log(ax.get_ylim())
    height = ax.get_window_extent().height / ax.figure.dpi * 72.0
    order = sorted(ends, key=lambda name: ends[name][0])
    wanted = [(np.log(ends[name][0]) - low) / (high - low) * height for name in order]
    placed = list(wanted)
    for _ in range(200):
        for i in range(len(placed) - 1):
            overlap = least - (placed[i + 1] - placed[i])
            if overlap > 0:
                placed[i] -= overlap / 2
                placed[i + 1] += overlap / 2
    for name, y, own in zip(order, placed, wanted, strict=True):
        shade, point, place = ends[name][1], (1.0, own / height), (1.06, y / height)
        line = {"arrowstyle": "-", "lw": 0.5, "color": shade, "shrinkA": 0, "shrinkB": 1}
        look: dict[str, Any] = {"fontsize": 6.5, "va": "center", "color": shade}
        ax.annotate(name, point, place, "axes fraction", "axes fraction", arrowprops=line, **look)

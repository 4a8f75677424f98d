"""A drawn table of errors: ours beside the published numbers, and a strip that compares them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.artefacts.panels import with_spread

#: height of a row and of the heading, and both ends of the lines, mm
ROW, HEAD, LEFT, RIGHT = 4.3, 13.5, 3.0, 167.0
PUBLISHED = 13.5  #: how far right of ours the published number ends, mm
#: the strip on which errors are compared, mm
STRIP = (141.0, 166.0)


class Column(NamedTuple):
    """A column of the tidy table: where it is printed (mm), under which label, and multiplied by
    what; one without a published number stands alone."""

    name: str
    at: float
    label: str
    scale: float = 1.0
    published: bool = True


@dataclass(frozen=True)
class Block:
    """One block of rows.

    rows : of the tidy table: sources ours, baseline and published, by the column layer.
    lines : label of each row by the layer's name, the baselines last.
    colours : of those that were trained.
    columns : what is printed.  compared : the column that the strip compares, relative to the
        `beside` predictor's.
    """

    rows: pd.DataFrame
    lines: Mapping[str, str]
    colours: Mapping[str, str]
    columns: Sequence[Column]
    compared: str
    beside: str

    @property
    def height(self) -> float:
        """Return the height, mm."""
        return HEAD + len(self.lines) * ROW + 2.0

    @functools.cached_property
    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Mean and spread over seeds, and the published numbers, layers down."""
        is_published = self.rows["source"] == "published"
        ours = self.rows[~is_published].groupby("layer")
        known = self.rows[is_published].set_index("layer")
        return ours.mean(numeric_only=True), ours.std(ddof=1, numeric_only=True), known

    def draw(self, fig: Figure, ax: Axes, top: float, title: str, strip: str) -> None:
        """Draw the block, in axes of millimetres from the upper left corner."""
        self._heading(ax, top, title)
        for i, name in enumerate(self.lines):
            y = top + HEAD + (i + 0.5) * ROW
            if i % 2 == 0:
                ends = {"xmin": LEFT / style.DOUBLE, "xmax": RIGHT / style.DOUBLE}
                ax.axhspan(y - ROW / 2, y + ROW / 2, **ends, color="#F6F6F6", lw=0)
            if i == len(self.colours):
                _rule(ax, y - ROW / 2, lw=0.5, color=style.GREY)
            self._row(ax, y, name)
        _rule(ax, top + HEAD + len(self.lines) * ROW, lw=0.8)
        self._strip(fig, top)
        _say(ax, sum(STRIP) / 2, top + 7.2, strip, 6, ha="center")

    def _heading(self, ax: Axes, top: float, title: str) -> None:
        _say(ax, LEFT, top + 2.2, title, 8, fontweight="bold")
        _rule(ax, top + 5.0, lw=0.8)
        _say(ax, LEFT, top + 10.0, "layer")
        _say(ax, 35.5, top + 10.0, "weights", ha="right")
        # those with a published number first: what is drawn first is written first
        for c in self.columns:
            if not c.published:
                _say(ax, c.at, top + 10.0, c.label, ha="right")
                continue
            _say(ax, c.at + 2.5, top + 7.2, c.label, ha="center")
            _say(ax, c.at, top + 10.9, "ours", 6, ha="center")
            _say(ax, c.at + PUBLISHED, top + 10.9, "publ.", 6, ha="right", color=style.GREY)
            _rule(ax, top + 9.1, (c.at - 9.0, c.at + PUBLISHED), lw=0.4, color=style.GREY)
        _rule(ax, top + HEAD - 0.7, lw=0.5)

    def _row(self, ax: Axes, y: float, name: str) -> None:
        mean, spread, known = self.tables
        trained, networks = name in self.colours, mean.loc[list(self.colours)]
        _say(ax, LEFT, y, self.lines[name], style="normal" if trained else "italic")
        weights = _at(mean, name, "n_parameters")
        if trained and np.isfinite(weights):
            _say(ax, 35.5, y, f"{weights:,.0f}", 6.5, ha="right")
        for c in self.columns:
            value = _at(mean, name, c.name)
            if not c.published:
                _say(ax, c.at, y, _share(value), 6.5, ha="right")
                continue
            weight = "bold" if trained and value == networks[c.name].min() else "normal"
            text = with_spread(c.scale * value, c.scale * _at(spread, name, c.name))
            _say(ax, c.at, y, text, 6.5, ha="center", fontweight=weight)
            if name in known.index and c.name in known:
                text = f"{c.scale * _at(known, name, c.name):.4g}"
                _say(ax, c.at + PUBLISHED, y, text, 6.5, ha="right", color=style.GREY)

    def _strip(self, fig: Figure, top: float) -> None:
        """Draw the error relative to that of `beside`, on a logarithmic axis beside the rows."""
        unit, empty = _at(self.tables[0], self.beside, self.compared), pd.Series(dtype=float)
        mean, spread, known = (table.get(self.compared, empty) / unit for table in self.tables)
        drawn = [*mean[list(self.lines)], *known]
        low = 10 ** np.floor(np.log10(min([*drawn, 0.5])))
        high = 10 ** np.ceil(np.log10(max([*drawn, 2.0])))
        width, height, length = style.DOUBLE, fig.get_figheight() / style.MM, len(self.lines) * ROW
        bottom = 1.0 - (top + HEAD + length) / height
        place = (STRIP[0] / width, bottom, (STRIP[1] - STRIP[0]) / width, length / height)
        box = fig.add_axes(place)
        box.set(xscale="log", xlim=(low, high), ylim=(len(self.lines), 0))
        box.patch.set_alpha(0.0)
        for side in ("left", "bottom", "top"):
            box.spines[side].set_visible(False)
        box.set_yticks([])
        box.xaxis.tick_top()
        box.tick_params(axis="x", which="both", labelsize=5.5, length=1.5, pad=0.5)
        box.axvline(1.0, color=style.GREY, lw=0.8, ls=(0, (4, 2)))
        for i, name in enumerate(self.lines):
            value, y, shade = mean[name], i + 0.5, self.colours.get(name)
            if shade is None:
                box.plot(value, y, "|", color=style.INK, ms=6, mew=1.2)
                continue
            if np.isfinite(spread[name]):
                ends = [max(value - spread[name], low), value + spread[name]]
                box.plot(ends, [y] * 2, color=shade, lw=1.2)
            box.plot(value, y, "o", color=shade, ms=3.8)
            if name in known:
                look: dict[str, Any] = {"mfc": "none", "mec": style.INK, "ms": 3.8, "mew": 0.7}
                box.plot(known[name], y, "o", zorder=3, **look)


def _at(table: pd.DataFrame, row: str, column: str) -> float:
    value: Any = table.at[row, column]
    return float(value)


def _say(ax: Axes, x: float, y: float, text: str, size: float = 7, **look: Any) -> None:
    ax.text(x, y, text, fontsize=size, va="center", **look)


def _rule(ax: Axes, y: float, ends: tuple[float, float] = (LEFT, RIGHT), **look: Any) -> None:
    ax.plot(ends, [y] * 2, **{"color": style.INK} | look)


def _share(value: float) -> str:
    """Return a coefficient of determination, not further down than is told apart."""
    text = f"{value:.2f}" if value > -9.95 else f"{value:.0f}" if value > -99.5 else "< -99"
    return text.replace("-", "−")

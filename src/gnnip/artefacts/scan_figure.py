"""Figures of scans: curves over numbers, columns of marks over words, a map over two keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.artefacts.kinds import Scan
from gnnip.artefacts.measures import BASELINE, columns
from gnnip.artefacts.panels import (
    Panel,
    baseline_line,
    colour,
    error_label,
    joint_legend,
    mean_and_spread,
    predictor,
    row_of_panels,
    with_spread,
)


@style.styled
def scan(tidy: pd.DataFrame, info: Mapping[str, Any], how: Scan) -> Figure:
    """Return the error against the keys, a panel per value of `panels`."""
    if how.y:
        fig = _map(tidy, how)
    elif pd.api.types.is_numeric_dtype(tidy[how.x]):
        fig = _curves(tidy, how)
    else:
        fig = _marks(tidy, how)
    style.footer(fig, info, tidy, how.note)
    return fig


def _error_label(how: Scan, panel: Panel) -> str:
    return error_label(how.words, "test", how.measure, how.unit, panel.value)


def _series(rows: pd.DataFrame, how: Scan) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield label, colour and rows of what is drawn in one colour."""
    networks = rows[rows["predictor"] == "network"]
    if how.series is None:
        yield how.words.label("network"), colour(how.words, "network"), networks
        return
    for turn, value in enumerate(networks[how.series].unique()):
        shade = colour(how.words, value, turn)
        yield how.words.label(value), shade, networks[networks[how.series] == value]


def _curves(tidy: pd.DataFrame, how: Scan) -> Figure:
    """Draw every seed, mean and standard deviation against numbers."""
    column, around = columns(how.unit)[how.measure][0], None
    if "neighbours" in tidy:
        around = tidy.drop_duplicates(how.x).set_index(how.x)["neighbours"].sort_index()
    # curves against a logarithm fill the panel: their names stand beside it
    room = {
        "left": 17,
        "right": 36 if how.log else 5,
        "bottom": 15,
        "gap": 20,
        "top": 9 if around is None else 21,
    }
    fig, panels = row_of_panels(tidy, 76, **room)
    for panel in panels:
        ax, rows = panel.ax, panel.rows
        for x in how.chosen:
            ax.axvline(x, color=style.PALE, lw=5, zorder=0)
        for label, shade, part in _series(rows, how):
            _seeds_and_mean(ax, part[how.x], part[column], shade, label, how.log)
        base = rows.loc[rows["predictor"] == BASELINE, column].mean()
        baseline_line(ax, base, predictor(how.words, BASELINE))
        ax.set(xlabel=how.words.label(how.x), ylabel=_error_label(how, panel))
        ticks = sorted(rows[how.x].unique())
        if how.log:
            ax.set_xscale("log")
            ax.set_xticks(ticks, [f"{value:g}" for value in ticks])
            ax.minorticks_off()
            style.plain_log(ax)
        else:
            networks = rows.loc[rows["predictor"] == "network", column]
            ax.set_ylim(0, 1.18 * max(networks.max(), base))
            ax.set_xticks(ticks)
        if around is None:
            if len(panels) > 1 or panel.value != "total":
                panel.title(how.words)
        else:
            _neighbour_axis(ax, around)
            title = f"({panel.letter})  {how.words.label(panel.value)}"
            ax.set_title(title, loc="left", pad=26)
        if panel.letter == "a":
            beside = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)}
            ax.legend(**(beside if how.log else {"loc": "lower right"}))
    return fig


def _seeds_and_mean(
    ax: Axes, x: pd.Series, values: pd.Series, shade: str, label: str, log: bool
) -> None:
    groups = values.groupby(x)
    if groups.size().max() > 1:
        beside = x * 1.05 if log else x + 0.03 * (x.max() - x.min())
        ax.plot(beside, values, "o", color=shade, ms=2.6, alpha=0.6, mew=0)
    mean, error = groups.mean(), groups.std(ddof=1).fillna(0.0)
    ax.errorbar(mean.index, mean, yerr=error, fmt="o-", color=shade, ms=4.5, capsize=2, label=label)


def _neighbour_axis(ax: Axes, around: pd.Series) -> None:
    upper = ax.secondary_xaxis("top")
    upper.set_xticks(list(around.index), [f"{v:.1f}" for v in around])
    upper.tick_params(length=2, labelsize=6.5)
    upper.spines["top"].set_visible(True)
    upper.set_xlabel("neighbours per atom", fontsize=7, labelpad=2)


def _marks(tidy: pd.DataFrame, how: Scan) -> Figure:
    """Draw columns of marks side by side, with the trivial predictors as bars."""
    column, values = columns(how.unit)[how.measure][0], list(tidy[how.x].unique())
    fig, panels = row_of_panels(tidy, 78, left=17, right=5, bottom=20, top=9, gap=20)
    for panel in panels:
        ax = panel.ax
        for i, value in enumerate(values):
            rows = panel.rows[panel.rows[how.x] == value]
            series = list(_series(rows, how))
            for k, (label, shade, part) in enumerate(series):
                x = i + 0.18 * (k - (len(series) - 1) / 2)
                aside, named = [x + 0.05] * len(part), label if i == 0 else None
                ax.plot(aside, part[column], "o", color=shade, ms=2.6, alpha=0.6, mew=0)
                mean_and_spread(ax, x, part[column], fmt="o", color=shade, ms=5, label=named)
            _baseline_bars(ax, i, rows, column, how)
        ax.set_xticks(range(len(values)), [how.words.label(value) for value in values])
        ax.set_xlim(-0.5, len(values) - 0.5)
        style.plain_log(ax)
        ax.set_ylabel(_error_label(how, panel))
        panel.title(how.words)
    joint_legend(fig, panels[0].ax, 0.5, 4.5)
    return fig


def _baseline_bars(ax: Axes, i: int, rows: pd.DataFrame, column: str, how: Scan) -> None:
    errors = rows.groupby("predictor")[column].mean()
    for name, dash in (("ensemble_mean", "-"), ("n_linear", (0, (2, 1.5)))):
        # an ensemble that is not in the training set has no mean: the line stands for it
        if name == "ensemble_mean" and errors[name] == errors["n_linear"]:
            continue
        label = predictor(how.words, name) if i == 0 else None
        look: dict[str, Any] = {"color": style.GREY, "lw": 1.2, "ls": dash, "zorder": 1}
        ax.plot([i - 0.36, i + 0.36], [errors[name]] * 2, label=label, **look)


def _map(tidy: pd.DataFrame, how: Scan) -> Figure:
    """Write the error of every pair of values; colour: how far it is from the chosen pair's."""
    column, pair = columns(how.unit)[how.measure][0], how.chosen[::-1]
    networks = tidy[tidy["predictor"] == "network"]
    fig, panels = row_of_panels(tidy, 72, left=15, right=24, bottom=15, top=10, gap=22)
    across, down = (sorted(networks[key].unique()) for key in (how.x, how.y))
    image = None
    for panel in panels:
        ax = panel.ax
        own = panel.rows[panel.rows["predictor"] == "network"]
        groups = own.groupby([how.y, how.x])[column]
        mean, spread = groups.mean(), groups.std(ddof=1)
        centre = float(mean.get(pair, mean.median()))
        change = [[100 * (mean.get((r, c), np.nan) / centre - 1) for c in across] for r in down]
        image = ax.imshow(change, cmap="PuOr_r", vmin=-50, vmax=50, origin="lower", aspect="auto")
        for place in mean.index:
            i, j = down.index(place[0]), across.index(place[1])
            text = with_spread(mean[place], spread[place]).replace(" ± ", "\n±")
            weight = "bold" if place == pair else "normal"
            ink = "white" if abs(change[i][j]) > 36 else style.INK
            middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
            ax.text(j, i, text, fontweight=weight, color=ink, **middle)
        ax.set_xticks(range(len(across)), [how.words.label(c) for c in across])
        ax.set_yticks(range(len(down)), [how.words.label(r) for r in down])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set(xlabel=how.words.label(how.x), ylabel=how.words.label(how.y))
        base = panel.rows.loc[panel.rows["predictor"] == BASELINE, column].mean()
        beside = f"{predictor(how.words, BASELINE)}: {base:.2g}"
        panel.title(how.words, f": {_short(how)}; {beside}")
    _colour_bar(fig, image, pair, how)
    return fig


def _short(how: Scan) -> str:
    return error_label(how.words, "", how.measure, how.unit, "").replace(" of the energy", "")[1:]


def _colour_bar(fig: Figure, image: Any, pair: tuple[float, ...], how: Scan) -> None:
    width = fig.get_figwidth() / style.MM
    bar = fig.colorbar(image, cax=style.place(fig, width - 19, 15, 3, 47), extend="both")
    than = " + ".join(f"{value:g}" for value in pair) or "the median"
    bar.set_label(f"{_short(how).split(' (')[0]} relative to {than} (%)", fontsize=7)
    bar.outline.set_linewidth(0.4)

"""Figure of a force or an energy against a distance: what is exact is dotted; distances that were
trained on are hollow, unseen ones filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import kinds, style
from gnnip.artefacts.laws import LAWS, exact_column, value_column
from gnnip.artefacts.looks import look_of


@style.styled
def force_against_distance(
    tidy: pd.DataFrame, info: Mapping[str, Any], options: kinds.ForceAgainstDistance
) -> Figure:
    """Draw the value against the distance, with `share` its share of what is exact below, else the
    values alone on their own scale; side by side for several models."""
    models = options.models or {info["trainings"][0]: ""}
    alone = len(models) == 1
    fig = style.figure(style.SINGLE if alone else style.DOUBLE, 99.0)
    width = style.SINGLE - (17.0 if alone else 19.0)
    look = look_of(info)
    for column, (group, model) in enumerate(models.items()):
        part = tidy[tidy["model"] == model] if model else tidy
        if part.empty:
            continue
        left, colour = 14.0 + column * 86.0, look.colours[group]
        ax = style.place(fig, left, 43.0, width, 49.0)
        _exact(ax, part, options)
        _values(ax, part, options, colour)
        ax.set_ylabel(options.label)
        ax.set_title(options.title.format(label=look.labels[group]), loc="left")
        ax.legend(loc="upper right")
        ax.tick_params(labelbottom=False)
        below = style.place(fig, left, 17.0, width, 22.0)
        if options.share:
            _shares(below, part, options, colour)
        else:
            _values(below, part, options, colour)
            below.set(xlabel=options.axis, ylabel=f"closer ({options.unit})")
            below.margins(y=0.2)
        below.set_xlim(ax.get_xlim())
    note = f"bars: standard deviation over {options.over} and seeds"
    style.footer(fig, info, tidy, note + ("; below: seeds, band: ±10 %" if options.share else ""))
    return fig


def _exact(ax: Axes, tidy: pd.DataFrame, options: kinds.ForceAgainstDistance) -> None:
    """Draw what is exact, dotted."""
    distance, exact = options.distance, exact_column(options)
    if options.exact in LAWS:
        law, first = LAWS[options.exact], tidy.iloc[0]
        places = np.linspace(tidy[distance].min() - 0.3, tidy[distance].max() + 0.3, 100)
        known = first[exact] * (first[distance] / places) ** law.power
        ax.plot(places, known, ":", color=style.INK, lw=1.2, label=law.name, zorder=3)
    else:
        known = tidy.groupby(distance)[exact].mean()
        ax.plot(known.index, known, ":", color=style.INK, lw=1.2, label="reference", zorder=3)


def _values(ax: Axes, tidy: pd.DataFrame, options: kinds.ForceAgainstDistance, colour: str) -> None:
    """Draw seed means with the standard deviation over structures."""
    distance, value = options.distance, value_column(options)
    ax.axhline(0.0, color=style.GREY, lw=0.6, zorder=1)
    for part, label, face in _by_training(tidy, colour):
        per_seed = part.groupby([distance, "seed"])[value].agg(["mean", "std"])
        grouped = per_seed.groupby(distance)
        mean = grouped["mean"].mean()
        # over structures within a seed and over seeds
        variance = grouped["std"].apply(lambda s: np.square(s).mean())
        variance = variance + grouped["mean"].var(ddof=0)
        spread = np.sqrt(variance.fillna(0.0))
        look: dict[str, Any] = {"fmt": "o", "color": colour, "mfc": face, "capsize": 2}
        ax.errorbar(mean.index, mean, spread, label=label, lw=0.9, zorder=4, **look)


def _by_training(tidy: pd.DataFrame, colour: str) -> list[tuple[pd.DataFrame, str, str]]:
    """Return rows, name and the inside of the marks of unseen and of trained distances."""
    if "trained" not in tidy:
        return [(tidy, "potential", colour)]
    seen = tidy["trained"].astype(bool)
    both = [(tidy[~seen], "unseen distance", colour), (tidy[seen], "trained distance", "white")]
    return [entry for entry in both if len(entry[0])]


def _shares(ax: Axes, tidy: pd.DataFrame, options: kinds.ForceAgainstDistance, colour: str) -> None:
    """Draw the share of what is exact of every seed."""
    ax.axhspan(0.9, 1.1, color=style.PALE, lw=0, zorder=0)
    ax.axhline(1.0, color=style.INK, lw=1.2, ls=":", zorder=3)
    ax.axhline(0.0, color=style.GREY, lw=0.6, zorder=1)
    for _, own in tidy.groupby("seed"):
        mean = own.groupby(options.distance)["share"].mean()
        ax.plot(mean.index, mean, color=colour, lw=0.8, alpha=0.6, zorder=2)
        for part, _, face in reversed(_by_training(own, colour)):
            at = mean[mean.index.isin(part[options.distance])]
            ax.plot(at.index, at, "o", ms=3, color=colour, mfc=face, zorder=4)
    known = LAWS[options.exact].share if options.exact in LAWS else "share of the reference"
    ax.set(xlabel=options.axis, ylabel=known)
    ax.set_ylim(min(-0.08, ax.get_ylim()[0]), max(1.25, ax.get_ylim()[1]))

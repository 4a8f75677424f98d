"""Errors of potentials side by side: one row per model or subset, one panel per measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from gnnip.artefacts import style

ENERGY_RMSE = ("energy_rmse_mev_per_atom", "energy RMSE (meV/atom)")
ENERGY_MAE = ("energy_mae_mev_per_atom", "energy MAE (meV/atom)")
FORCE_RMSE = ("force_rmse_ev_per_a", "force RMSE (eV/Å)")
PANEL_GAP, RIGHT = 6.0, 3.0  #: millimetres


class Row(NamedTuple):
    """What stands in one row, which rows of the same name share: the rows of the tidy table
    (sources `ours`, `published` and those of baselines), the colour of the mark and those of the
    insides of ours and of the published one."""

    name: str
    part: pd.DataFrame
    colour: str
    face: str
    published_face: str = "white"


class Mark(NamedTuple):
    """One entry of the legend."""

    marker: str
    colour: str
    face: str
    name: str


PUBLISHED = Mark("D", style.INK, "white", "published")


def error_panels(
    rows: Sequence[Row],
    measures: Sequence[tuple[str, str]],
    legend: Sequence[Mark],
    *,
    baseline: str,
    left: float,
    step: float,
) -> Figure:
    """Draw errors on logarithmic axes: ours with the spread over seeds, published, a baseline.

    `measures` are columns and their labels; `baseline` is the source drawn as a bar. The names take
    `left` millimetres, each row `step`.
    """
    names = list(dict.fromkeys(row.name for row in rows))
    length = max(step * len(names), 14.0)
    fig = style.figure(style.DOUBLE, 26.0 + length)
    width = (style.DOUBLE - left - RIGHT + 1.0) / len(measures) - PANEL_GAP
    for column, (measure, label) in enumerate(measures):
        at = left + column * (width + PANEL_GAP)
        ax = style.place(fig, at, 15.0, width, length)
        drawn = []
        for row in rows:
            y = names.index(row.name)
            ours, trivial, published = (
                row.part.loc[row.part["source"] == source, measure].dropna()
                for source in ("ours", baseline, "published")
            )
            drawn += [ours, trivial, published]
            ax.plot(trivial.mean(), y, "|", ms=9, mew=1.6, color=style.GREY)
            ax.errorbar(
                ours.mean(),
                y,
                xerr=None if len(ours) < 2 else style.spread(ours),
                fmt="o",
                color=row.colour,
                mfc=row.face,
                capsize=2,
            )
            if len(published):
                ax.plot(published.iloc[0], y, "D", ms=4.5, mfc=row.published_face, color=style.INK)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_yticks(range(len(names)), names if column == 0 else [])
        ax.set_xlabel(label)
        ax.grid(axis="x")
        values = pd.concat(drawn)
        positive = values[values > 0]
        ax.set_xlim(float(positive.min()) / 1.6, float(positive.max()) * 1.6)
        style.plain_log(ax, "x", wanted=2)
    ax = style.place(fig, left, 15.0 + length, style.DOUBLE - left - RIGHT, 6.0)
    ax.axis("off")
    for marker, colour, face, name in legend:
        ax.plot([], [], marker, color=colour, mfc=face, ms=5, mew=1.2, label=name)
    ax.legend(loc="center left", ncols=len(legend), bbox_to_anchor=(0.0, 0.6))
    return fig

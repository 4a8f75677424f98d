"""Figure of learning curves: validation errors against the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gnnip.artefacts import style
from gnnip.artefacts.kinds import LearningCurve
from gnnip.artefacts.measures import BASELINE, columns
from gnnip.artefacts.panels import (
    baseline_line,
    colour,
    error_label,
    labels_at_the_right,
    predictor,
    row_of_panels,
)


@style.styled
def learning_curve(tidy: pd.DataFrame, info: Mapping[str, Any], how: LearningCurve) -> Figure:
    """Return mean and range over seeds of every curve, named at its end, beside the baseline."""
    measured, unit = columns(how.unit)[how.measure]
    column, baseline = f"validation_{measured}", f"{BASELINE}_{measured}"
    # room for the names at the right, whose letters take some 1.3 mm
    baseline_name = predictor(how.words, BASELINE)
    names = [baseline_name, *map(how.words.label, tidy[how.series].unique())]
    right = max(22.0, 7.5 + 1.3 * max(len(name.replace("$", "")) for name in names))
    room = {"left": 17.0, "right": right, "bottom": 15.0, "top": 9.0, "gap": right + 11.0}
    apart = "group" in tidy and how.series != "group"
    drawn = tidy.assign(target=tidy["group"]) if apart else tidy
    fig, panels = row_of_panels(drawn, 80.0, **room)
    for panel in panels:
        ax, rows = panel.ax, panel.rows
        last = int(rows["epoch"].max())
        if how.shaded:
            ax.axvspan(*how.shaded, color="#EDEDED", lw=0, zorder=0)
        ends = {}
        for turn, value in enumerate(rows[how.series].unique()):
            runs = rows[rows[how.series] == value].pivot_table(
                index="epoch", columns="seed", values=column
            )
            smooth = runs.rolling(max(1, len(runs) // 30), min_periods=1).median()
            shade = colour(how.words, value, turn)
            low, high = smooth.min(axis=1), smooth.max(axis=1)
            ax.fill_between(smooth.index, low, high, color=shade, alpha=0.18, lw=0)
            ax.plot(smooth.index, smooth.mean(axis=1), color=shade, lw=1.1)
            ends[how.words.label(value)] = (float(smooth.mean(axis=1).iloc[-1]), shade)
        level = float(rows[baseline].mean())
        baseline_line(ax, level, baseline_name)
        ends[baseline_name] = (level, style.GREY)
        term = "" if apart else panel.value
        label = error_label(how.words, "validation", how.measure, unit.replace("2", "²"), term)
        ax.set(xlim=(0, last), xlabel="epoch", ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        style.plain_log(ax)
        labels_at_the_right(ax, ends)
        panel.title(how.words)
    note = "line and band: mean and range over seeds, running median"
    if how.shaded:
        note += f"; grey: {how.shaded[0]:g}–{how.shaded[1]:g} epochs"
    style.footer(fig, info, tidy, "; ".join(filter(None, (note, how.note))))
    return fig

"""Figure of error against spread: points, and their root mean squares by tenths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.artefacts.kinds import Calibration
from gnnip.artefacts.looks import look_of

_UNITS = {"energy": "meV/atom", "forces": "eV/Å"}
_WORDS = {"energy": "energy", "forces": "force on an atom"}


@style.styled
def calibration(tidy: pd.DataFrame, info: Mapping[str, Any], options: Calibration) -> Figure:
    """Draw a panel for each quantity: the diagonal is a calibrated ensemble."""
    names = [name for name in _UNITS if name in set(tidy["name"])]
    fig = style.figure(style.DOUBLE if len(names) > 1 else style.SINGLE, 84.0)
    look = look_of(info)
    for place, name in enumerate(names):
        ax = style.place(fig, 18.0 + 83.0 * place, 16.0, 58.0, 56.0)
        own = tidy[tidy["name"] == name]
        for (group, _), part in own.groupby(["group", "cell"], sort=False):
            _draw(ax, part, look.colours[str(group)], look.labels[str(group)])
        low = max(float(own["spread"].min()), 1e-3 * float(own["spread"].max()))
        high = float(max(own["spread"].max(), own["error"].max()))
        ax.plot([low, high], [low, high], color=style.GREY, lw=0.7)
        ax.set(xlim=(0.8 * low, 1.25 * float(own["spread"].max())), ylim=(0.3 * low, 1.4 * high))
        ax.set(xlabel=f"spread over seeds ({_UNITS[name]})", ylabel=f"error ({_UNITS[name]})")
        style.plain_log(ax, "x")
        style.plain_log(ax, "y")
        style.panel(ax, "ab"[place], _WORDS[name])
        if place == 0:
            ax.legend(loc="upper left")
    seeds = ", ".join(str(int(n)) for n in sorted(tidy["n_seeds"].dropna().unique()))
    note = f"{seeds} seeds; large: root mean squares by tenths; line: a calibrated ensemble"
    style.footer(fig, info, tidy, note)
    return fig


def _draw(ax: Axes, part: pd.DataFrame, colour: str, label: str) -> None:
    points, bins = (part[part["record"] == record] for record in ("point", "bin"))
    ax.plot(points["spread"], points["error"], "o", ms=1.2, mew=0, alpha=0.35, color=colour)
    ax.plot(bins["spread"], bins["error"], "o-", ms=3.5, lw=0.9, color=colour, label=label)

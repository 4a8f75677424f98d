"""Figure of error against spread: points, and their root mean squares by tenths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gnnip.artefacts import style
from gnnip.artefacts.arms import divide
from gnnip.artefacts.kinds import Calibration
from gnnip.artefacts.looks import Look, look_of
from gnnip.artefacts.panels import TURNS, named

_UNITS = {"energy": "meV/atom", "forces": "eV/Å"}
_WORDS = {"energy": "energy", "forces": "force on an atom"}


@style.styled
def calibration(tidy: pd.DataFrame, info: Mapping[str, Any], options: Calibration) -> Figure:
    """Draw a panel for each quantity, in a row for each material: the diagonal is a calibrated
    ensemble."""
    names = [name for name in _UNITS if name in set(tidy["name"])]
    material = tidy["group"].map(lambda group: divide(str(group), options.materials)[0])
    known = list(dict.fromkeys(material))
    width, height = style.DOUBLE if len(names) > 1 else style.SINGLE, 16.0 + 74.0 * len(known)
    fig = style.figure(width, height)
    looks = _looks(tidy, look_of(info))
    labels: dict[str, Any] = {}
    for row, name_of in enumerate(known):
        start = f"{options.materials.get(name_of, name_of)}: " if len(known) > 1 else ""
        for place, name in enumerate(names):
            bottom = height - 12.0 - 74.0 * (row + 1) + 14.0
            ax = style.place(fig, 18.0 + 83.0 * place, bottom, 58.0, 54.0)
            own = tidy[(tidy["name"] == name) & (material == name_of)]
            for place_of, part in own.groupby(["group", "cell"], sort=False):
                label, colour = looks[place_of]
                labels[label] = _draw(ax, part, colour)
            widest = float(own["spread"].max())
            low = max(float(own["spread"].min()), 1e-3 * widest)
            high = max(widest, float(own["error"].max()))
            ax.plot([low, high], [low, high], color=style.GREY, lw=0.7)
            ax.set(xlim=(0.8 * low, 1.25 * widest), ylim=(0.3 * low, 1.4 * high))
            ax.set(xlabel=f"spread over seeds ({_UNITS[name]})", ylabel=f"error ({_UNITS[name]})")
            style.plain_log(ax, "x")
            style.plain_log(ax, "y")
            letter = style.LETTERS[len(names) * row + place]
            style.panel(ax, letter, f"{start}{_WORDS[name]}")
    fig.legend(labels.values(), labels, loc="upper center", ncol=len(labels))
    seeds = ", ".join(str(int(n)) for n in sorted(tidy["n_seeds"].dropna().unique()))
    note = f"{seeds} seeds; large: root mean squares by tenths; line: a calibrated ensemble"
    style.footer(fig, info, tidy, note)
    return fig


def _looks(tidy: pd.DataFrame, look: Look) -> dict[Any, tuple[str, str]]:
    """Return label and colour by (group, cell): those of the group, or of each cell its own, named
    by what the others of the group have otherwise, where there are several."""
    found: dict[Any, tuple[str, str]] = {}
    for group, cells in tidy.groupby("group", sort=False)["cell"].unique().items():
        parts = {cell: str(cell).split("_") for cell in cells}
        for cell, own in parts.items():
            others = [other for name, other in parts.items() if name != cell]
            said = [x.rpartition("-")[2] for x in own if any(x not in other for other in others)]
            label = ", ".join([look.labels[str(group)], *said])
            colour = named(TURNS[len(found) % len(TURNS)]) if others else look.colours[str(group)]
            found[group, cell] = label, colour
    return found


def _draw(ax: Axes, part: pd.DataFrame, colour: str) -> Line2D:
    points, bins = (part[part["record"] == record] for record in ("point", "bin"))
    ax.plot(points["spread"], points["error"], "o", ms=1.2, mew=0, alpha=0.35, color=colour)
    (line,) = ax.plot(bins["spread"], bins["error"], "o-", ms=3.5, lw=0.9, color=colour)
    return line

"""Figure of autopsies: changes of energy along replicas, by the reference against the potential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import kinds, style
from gnnip.artefacts.looks import Look, legend, look_of

#: mark of the last frame of a replica by what its change is
MARKS = {"relaxation": "o", "hole": "X", "none": "s", "unknown": "D"}


@style.styled
def autopsy(tidy: pd.DataFrame, info: Mapping[str, Any], options: kinds.Autopsy) -> Figure:
    """Draw a panel for each measurement: a line for each replica from its first labelled frame."""
    look = look_of(info, options.materials, set(tidy["potential"]))
    places = list(dict.fromkeys(tidy["material"])) if "material" in tidy else [""]
    parts = [tidy[tidy["material"] == p] if p else tidy for p in places]
    fig = style.figure(style.DOUBLE, 88.0) if len(parts) > 1 else style.figure(style.SINGLE, 88.0)
    for k, (place, part) in enumerate(zip(places, parts, strict=True)):
        ax = style.place(fig, 19.0 + 84.0 * k, 19.0, 60.0, 50.0)
        _paths(ax, part, look)
        style.panel(ax, style.LETTERS[k], options.materials.get(place, place))
    legend(fig, look, look.present(tidy))
    note = "on the line: as the reference; away from it: a hole of the potential"
    style.footer(fig, info, tidy, f"from the first labelled frame; {note}")
    return fig


def _paths(ax: Axes, part: pd.DataFrame, look: Look) -> None:
    """Draw the reference's change of energy against the potential's along every replica."""
    path = part[part["record"] == "path"]
    causes = part[(part["record"] == "change") & (part["name"] == "cause")]
    seen: list[str] = []
    levels = [0.0]
    for name in look.present(path):
        for replica, own in path[path["potential"] == name].groupby("replica"):
            wide = own.pivot_table(index="x", columns="name", values="value", dropna=False)
            ours, theirs = wide["potential_mev_per_atom"], wide["reference_mev_per_atom"]
            known = np.isfinite(theirs)
            ax.plot(ours[known], theirs[known], "-", color=look.colours[name], lw=0.9, alpha=0.8)
            wanted = (causes["potential"] == name) & (causes["replica"] == replica)
            text = str(causes.loc[wanted, "text"].iloc[0])
            seen.append(text)
            if known.any():
                end = (ours[known].iloc[-1], theirs[known].iloc[-1])
                look_of_mark: dict[str, Any] = {"ms": 5, "mec": "white", "mew": 0.4, "zorder": 3}
                ax.plot(*end, MARKS[text], color=look.colours[name], **look_of_mark)
                levels += [*ours[known], *theirs[known]]
    room = max(0.08 * (max(levels) - min(levels)), 5.0)
    low, high = min(levels) - room, max(levels) + room
    ax.plot([low, high], [low, high], color=style.GREY, lw=0.7, ls=(0, (4, 2)), zorder=0)
    for text in (text for text in MARKS if text in seen):
        ax.plot([], [], MARKS[text], color=style.GREY, ms=4, label=text)
    if seen:
        ax.legend(loc="best", handletextpad=0.1)
    ax.set(xlim=(low, high), ylim=(low, high))
    ax.set(xlabel="by the potential (meV/atom)", ylabel="by the reference (meV/atom)")

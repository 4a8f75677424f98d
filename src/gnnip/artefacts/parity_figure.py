"""Figure of predictions against the reference: a panel a quantity, forces coloured by element."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.artefacts.kinds import Parity

LABELS = {
    "energy": "energy (meV/atom)",
    "forces": "force component (eV/Å)",
    "stress": "stress component (eV/Å³)",
}
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILLION, style.PURPLE, style.SKY)
_LEFT, _SIDE, _GAP = 15.0, 36.0, 18.0  #: millimetres
_WIDTHS = (style.SINGLE, style.MIDDLE, style.DOUBLE)


@style.styled
def parity(tidy: pd.DataFrame, info: Mapping[str, Any], options: Parity) -> Figure:
    """Draw the points of all trainings, with the errors over them; energies from their mean."""
    points = tidy[tidy["record"] == "point"]
    errors = tidy[tidy["record"] == "error"].groupby("name")
    names = [name for name in LABELS if name in set(points["name"])]
    fig = style.figure(_WIDTHS[len(names) - 1], _SIDE + 26.0)
    for place, name in enumerate(names):
        ax = style.place(fig, _LEFT + place * (_SIDE + _GAP), 15.0, _SIDE, _SIDE)
        _draw(ax, points[points["name"] == name], name)
        found = errors.get_group(name)
        said = f"RMSE {found['rmse'].mean():.3g}, trivial {found['trivial'].mean():.3g}"
        style.panel(ax, "abc"[place], said)
    style.footer(fig, info, tidy, "energies: from the mean of the reference")
    return fig


def _draw(ax: Axes, points: pd.DataFrame, name: str) -> None:
    zero = points["reference"].mean() if name == "energy" else 0.0
    true, guess = points["reference"] - zero, points["predicted"] - zero
    ends = np.array([min(true.min(), guess.min()), max(true.max(), guess.max())])
    ends += 0.05 * np.ptp(ends) * np.array([-1.0, 1.0])
    ax.plot(ends, ends, color=style.GREY, lw=0.7)
    elements = points["element"].fillna("")
    for turn, element in enumerate(sorted(elements.unique())):
        one = elements == element
        colour = _COLOURS[turn % len(_COLOURS)]
        ax.plot(true[one], guess[one], "o", ms=1.6, mew=0, alpha=0.6, color=colour, label=element)
    if elements.nunique() > 1:
        ax.legend(loc="upper left", markerscale=2.5, handletextpad=0.1)
    ax.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"reference {LABELS[name]}")
    ax.set_ylabel("predicted")
    ax.locator_params(nbins=4)

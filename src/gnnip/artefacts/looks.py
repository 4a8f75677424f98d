"""What potentials look like in figures: label and colour, as the card's training groups state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gnnip.artefacts import style
from gnnip.artefacts.arms import divide
from gnnip.artefacts.panels import TURNS, named

REFERENCE = "reference"


@dataclass(frozen=True)
class Look:
    """Label and colour of each potential, in drawing order; the reference's name is fixed."""

    labels: Mapping[str, str]
    colours: Mapping[str, str]

    def width(self, name: str) -> float:
        """Return the line width of a potential in points."""
        return 2.6 if name == REFERENCE else 1.1

    def stroke(self, name: str) -> dict[str, Any]:
        """Return colour, width and opacity of a potential's curve."""
        alpha = 0.45 if name == REFERENCE else 1.0
        return {"color": self.colours[name], "lw": self.width(name), "alpha": alpha}

    def present(self, rows: pd.DataFrame, column: str = "potential") -> list[str]:
        """Return the potentials that `rows` knows, in drawing order."""
        known = set(rows[column])
        return [name for name in self.labels if name in known]


def look_of(
    info: Mapping[str, Any], materials: Collection[str] = (), known: Collection[str] = ()
) -> Look:
    """Return the look of the reference and of the arms of all training groups, in the card's order.

    `known` are the potentials of a table; one that is named after a group and more (gnn/all/seed-1)
    has the look of the group.
    """
    labels, colours = {REFERENCE: REFERENCE}, {REFERENCE: style.INK}
    for number, (group, look) in enumerate(info["looks"].items()):
        arm = divide(group, materials)[1]
        for name in [arm, *(k for k in sorted(known) if k.startswith(f"{arm}/"))]:
            labels.setdefault(name, look["label"] + name[len(arm) :].replace("/", " "))
            colours.setdefault(name, named(look["colour"] or TURNS[number % len(TURNS)]))
    return Look(labels, colours)


def legend(fig: Figure, look: Look, names: Sequence[str]) -> None:
    """Name potentials along the upper edge; eight of them fit into one or two rows."""
    handles = []
    for name in names:
        stroke = look.stroke(name) | {"lw": max(2.0, look.width(name))}
        handles.append(Line2D([], [], label=look.labels[name], **stroke))
    columns = max(1, len(handles)) if len(handles) <= 5 else 4
    top = (0.5, 1.0 - style.MM / fig.get_figheight())
    fig.legend(handles=handles, loc="upper center", ncol=columns, bbox_to_anchor=top)

"""The frames that the potentials of a card learn from: bonds and energies, one row per data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.artefacts.panels import shades

if TYPE_CHECKING:
    from gnnip.artefacts.kinds import ReferenceData

ROW = 52.0  #: height of a row, mm
#: dashes and mark of kinds of structure
_KINDS = (("-", "."), ((0, (4, 1)), "x"), ((0, (1, 1)), "+"))


@style.styled
def reference_data(tidy: pd.DataFrame, info: Mapping[str, Any], options: ReferenceData) -> Figure:
    """Radial distribution of the bonds, with their known lengths dotted, and the energies of the
    frames in the order of the set; one colour per ensemble."""
    tidy = tidy.fillna({"group": "", "text": "", "name": ""})
    datasets = list(dict.fromkeys(tidy["dataset"]))
    height = ROW * len(datasets) + 8.0
    fig = style.figure(style.DOUBLE, height)
    for row, dataset in enumerate(datasets):
        part = tidy[tidy["dataset"] == dataset]
        bottom = height - ROW * (row + 1) + 10.0
        size = (52.0, ROW - 23.0)
        left, right = (style.place(fig, x, bottom, *size) for x in (15.0, 85.0))
        # one colour per ensemble, ordered as the table orders them
        groups = list(dict.fromkeys(part.loc[part["group"] != "", "group"]))
        looks = _looks(groups)
        _distribution(left, part, looks)
        _energies(right, part, looks)
        facts = part[part["record"] == "about"].set_index("name")
        number = int(facts["value"]["n_frames"])
        about = f"{number} frames of up to {int(facts['value']['n_atoms'])} atoms"
        if "n_trajectories" in facts.index:
            about += f", {int(facts['value']['n_trajectories'])} trajectories"
        close = part[part["name"] == "close_pairs"]
        for pair, rows in close.groupby("text", sort=False):
            counts = " and ".join(f"{value:.3g}" for value in sorted(set(rows["value"])))
            about += f"; {counts} pairs {pair} below {rows['x'].iloc[0]:g} Å"
        x, top = 15.0 / style.DOUBLE, bottom + size[1]
        title, labels = facts["text"]["title"], f"{about}; labels: {facts['text']['engine']}"
        fig.text(x, (top + 6.5) / height, f"{dataset}: {title}", fontweight="bold")
        fig.text(x, (top + 2.5) / height, labels, fontsize=6.5, color=style.GREY)
        handles = [
            left.plot([], [], color=c, lw=1.6, ls=dashes, marker=mark, ms=2.5, label=g)[0]
            for g, (c, dashes, mark) in looks.items()
        ]
        corner = (140.0 / style.DOUBLE, (top + 1) / height)
        tight: dict[str, Any] = {"borderaxespad": 0.0, "fontsize": 6, "labelspacing": 0.25}
        fig.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, **tight)
    note = "dotted: measured bond length; energies above the lowest; "
    style.footer(fig, info, tidy, note + "labels as stated above each row")
    return fig


def _looks(groups: Sequence[str]) -> dict[str, tuple[Any, Any, str]]:
    """Return colour, dashes and mark of each ensemble. Where several kinds of structure come at
    several temperatures (crystal 1100 K, melt 1100 K), dashes and mark tell the kind."""
    parts = {group: group.rsplit(" ", 2) for group in groups}
    heated = all(len(p) == 3 and p[2] == "K" for p in parts.values())
    kinds = list(dict.fromkeys(p[0] for p in parts.values())) if heated else []
    if not 1 < len(kinds) <= len(_KINDS):
        return {group: (c, "-", ".") for group, c in shades(groups, 0.05, 0.88).items()}
    colours = shades(sorted({p[1] for p in parts.values()}, key=float), 0.05, 0.8)
    return {g: (colours[p[1]], *_KINDS[kinds.index(p[0])]) for g, p in parts.items()}


def _distribution(ax: Axes, part: pd.DataFrame, looks: Mapping[str, Any]) -> None:
    curves = part[part["record"] == "rdf"]
    bonds = list(dict.fromkeys(curves["name"]))
    known = part[(part["record"] == "bond") & (part["name"] == "known_length")]
    for bond, dashes in zip(bonds, ("", (0, (3, 1.2))), strict=False):
        for group, (colour, own, _) in looks.items():
            rows = curves[(curves["name"] == bond) & (curves["group"] == group)]
            ax.plot(rows["x"], rows["value"], color=colour, lw=0.9, ls=dashes or own)
        length = known.loc[known["text"] == bond, "value"]
        if len(length):
            ax.axvline(length.iloc[0], color=style.INK, lw=0.7, ls=":")
    ax.set_xlim(1.0 if curves.loc[curves["value"] > 0, "x"].min() > 1.0 else 0.8, 6.0)
    ax.set_ylim(0.0, 1.08 * curves["value"].max() or None)
    dash = {0: "", 1: " (dashed)"}
    names = ", ".join(f"{bond}{dash[i]}" for i, bond in enumerate(bonds[:2]))
    ax.set_xlabel(f"distance {names} (Å)")
    open_system = part["group"].str.contains("heavy|surface|interior").any()
    ax.set_ylabel("density (1/Å)" if open_system else "$g(r)$")


def _energies(ax: Axes, part: pd.DataFrame, looks: Mapping[str, Any]) -> None:
    rows = part[part["record"] == "energy"]
    for group, (colour, _, mark) in looks.items():
        of = rows[rows["group"] == group]
        ax.plot(of["x"], of["value"], mark, ms=2.4, mew=0.5, color=colour)
    ax.set_xlim(-0.02 * rows["x"].max(), 1.02 * rows["x"].max())
    ax.set_ylim(bottom=0.0)
    ax.set(xlabel="frame", ylabel="energy (meV/atom)")

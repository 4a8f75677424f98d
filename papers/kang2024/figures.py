"""Figures of kang2024 (the toy of point charges) that no kind draws.

Every function takes the tidy DataFrame of `kang2024.tables` and `info` (tier, reference, card) and
returns a matplotlib Figure at print size. The exact law is dotted, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import LogLocator, NullLocator

from gnnip.artefacts import style
from gnnip.artefacts.looks import look_of
from gnnip.artefacts.panels import mean_and_spread, shades

Info = Mapping[str, Any]
DISTANCE = "distance $d$ (Å)"

CHARGES = {
    1.0: (style.VERMILLION, 62, r"$+1e$"),
    -1.0: (style.BLUE, 62, r"$-1e$"),
    0.5: ("#F3B9A0", 13, r"$+0.5e$"),
    -0.5: ("#A9C7E6", 13, r"$-0.5e$"),
}


@style.styled
def fig1a(tidy: pd.DataFrame, info: Info) -> Figure:
    """The two configuration types, seen from the side: the same medium, with and without -1e."""
    long = float(tidy["z_a"].max() - tidy["z_a"].min()) + 2.0
    across = float(tidy["x_a"].max() - tidy["x_a"].min()) + 2.0
    width = style.DOUBLE - 8.0
    panel = width * across / long
    height = 2 * panel + 34.0
    fig = style.figure(style.DOUBLE, height)
    for row, name in enumerate(("I", "II")):
        part = tidy[tidy["configuration"] == name]
        bottom = 9.0 + (1 - row) * (panel + 9.0)
        ax = style.place(fig, 4.0, bottom, width, panel)
        ax.set(xlim=(part["z_a"].min() - 1, part["z_a"].max() + 1), aspect="equal")
        ax.set_ylim(tidy["x_a"].min() - 1.0, tidy["x_a"].max() + 1.0)
        ax.axis("off")
        _particles(ax, part)
        without = "" if name == "I" else ", without $-1e$"
        place = (4.0 / style.DOUBLE, (bottom + panel + 1.0) / height)
        fig.text(*place, f"type {name}{without}", fontweight="bold")
        if name == "I":
            _distance(ax, part)
    legend = style.place(fig, 4.0, height - 8.0, width, 5.0)
    legend.axis("off")
    legend.set(xlim=(0, 4), ylim=(0, 1))
    for k, (colour, size, name) in enumerate(CHARGES.values()):
        edge: dict[str, Any] = {"edgecolor": style.INK, "linewidth": 0.5}
        legend.scatter(0.08 + 0.5 * k, 0.5, s=size, color=colour, **edge)
        legend.text(0.16 + 0.5 * k, 0.5, name, va="center")
    style.footer(fig, info, tidy, "one random medium, seen from the side; open boundaries")
    return fig


def _particles(ax: Axes, part: pd.DataFrame) -> None:
    """Draw every particle in the colour of its charge, the unit charges in front."""
    for charge, (colour, size, _) in CHARGES.items():
        of = part[np.isclose(part["charge_e"], charge)]
        width, order = (0.8, 4) if abs(charge) == 1 else (0.25, 2)
        look: dict[str, Any] = {"edgecolor": style.INK, "linewidth": width, "zorder": order}
        ax.scatter(of["z_a"], of["x_a"], s=size, color=colour, **look)


def _distance(ax: Axes, part: pd.DataFrame) -> None:
    """Draw an arrow between the unit charges, with the distance."""
    one, other = (part[np.isclose(part["charge_e"], charge)].iloc[0] for charge in (1.0, -1.0))
    ends = ((one["z_a"], one["x_a"]), (other["z_a"], other["x_a"]))
    head: dict[str, Any] = {"arrowstyle": "<->", "mutation_scale": 9, "shrinkA": 5, "shrinkB": 5}
    ax.add_patch(FancyArrowPatch(*ends, color=style.INK, zorder=5, **head))
    middle, words = (one["z_a"] + other["z_a"]) / 2, f"$d$ = {one['distance_a']:g} Å"
    box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85}
    ax.text(middle, one["x_a"] + 0.35, words, ha="center", va="bottom", zorder=6, bbox=box)


def _share_axes(ax: Axes) -> None:
    """Draw where all of the exact force is, and where nothing is, and name the axes."""
    ax.axhline(1.0, color=style.INK, ls=":", lw=1.2)
    ax.axhline(0.0, color=style.GREY, lw=0.6)
    ax.set(xlabel=DISTANCE, ylabel=r"$F_\mathrm{I} - F_\mathrm{II}$, share of $k/d^2$")


def _curve(ax: Axes, part: pd.DataFrame, column: str, colour: Any, label: str = "") -> None:
    """Draw the mean of a column against the distance."""
    mean = part.groupby("distance_a")[column].mean()
    ax.plot(mean.index, mean, "o-", color=colour, label=label)


@style.styled
def receptive_field(tidy: pd.DataFrame, info: Info) -> Figure:
    """Share of the exact force against the distance for one to five layers."""
    fig = style.figure(style.MIDDLE, 75.0)
    ax = style.place(fig, 14.0, 17.0, style.MIDDLE - 52.0, 50.0)
    _share_axes(ax)
    for count, colour in shades(sorted(tidy["layers"].unique()), 0.08, 0.86).items():
        part = tidy[tidy["layers"] == count]
        energy, force = part["energy_reach_a"].iloc[0], part["force_reach_a"].iloc[0]
        _curve(ax, part, "share", colour, f"{count}: {energy:g} Å, {force:g} Å")
        if force <= tidy["distance_a"].max():
            ax.plot([force] * 2, [-0.08, -0.02], color=colour, lw=1.5)
    ax.set_ylim(min(-0.1, ax.get_ylim()[0]), max(1.15, ax.get_ylim()[1]))
    title = {"title": "layers: reach of\nenergy, force", "title_fontsize": 7}
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), **title)
    style.footer(fig, info, tidy, "force reach: 2 × layers × cutoff, through an atom in between")
    return fig


@style.styled
def explicit_charges(
    tidy: pd.DataFrame, info: Info, models: Mapping[str, Mapping[str, Any]], far: str
) -> Figure:
    """Message passing beside local potentials and explicit charges: error, far force, cost."""
    colours, drawn = look_of(info).colours, [name for name in models if name in set(tidy["model"])]
    fig = style.figure(style.DOUBLE, 30.0 + 8.0 * len(drawn))
    panels = (
        ("force_rmse_ev_per_a", "force RMSE (eV/Å)", True),
        ("share_beyond_cutoff", r"share of $k/d^2$, far", False),
        ("n_parameters", "parameters", True),
        ("training_s", "training time (s)", True),
    )
    width = (style.DOUBLE - 36.0 - 3.0) / 4 - 5.0
    for column, (measure, label, log) in enumerate(panels):
        ax = style.place(fig, 36.0 + column * (width + 5.5), 17.0, width, 8.0 * len(drawn))
        for y, model in enumerate(drawn):
            values = tidy[tidy["model"] == model][measure]
            colour = colours[str(models[model]["group"])]
            mean_and_spread(ax, y, values, lying=True, fmt="o", color=colour)
        ax.set_ylim(len(drawn) - 0.5, -0.5)
        ax.set_yticks(range(len(drawn)), drawn if column == 0 else [])
        ax.set_xlabel(label)
        ax.grid(axis="x")
        if log:
            _log_axis(ax, tidy[measure][tidy[measure] > 0])
        else:
            ax.set_xlim(-0.1, 1.2)
            ax.axvline(1.0, color=style.INK, ls=":", lw=1.2)
    note = "far: d beyond the cutoff; blue: networks, orange: pair functions; times of one machine"
    style.footer(fig, info, tidy, note)
    return fig


def _log_axis(ax: Axes, values: pd.Series) -> None:
    """Make the lower axis logarithmic, with plain numbers where they fit."""
    low, high = float(values.min()) / 2, float(values.max()) * 2
    ax.set_xlim(low, high)
    if high / low < 1e4:
        style.plain_log(ax, "x", wanted=2)
        return
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=4))
    ax.xaxis.set_minor_locator(NullLocator())


@style.styled
def dilution(tidy: pd.DataFrame, info: Info) -> Figure:
    """Non-local force and connection of the unit charges against the share of the medium kept."""
    fig = style.figure(style.DOUBLE, 66.0)
    left, right = (style.place(fig, x, 14.0, 66.0, 44.0) for x in (14.0, 98.0))
    _share_axes(left)
    for kept, colour in shades(
        sorted(tidy["kept_fraction"].unique(), reverse=True), 0.08, 0.86
    ).items():
        part = tidy[tidy["kept_fraction"] == kept]
        _curve(left, part, "share", colour, f"{100 * kept:g} %")
        _curve(right, part, "connected", colour)
    low, high = left.get_ylim()
    left.set_ylim(min(-0.1, low), max(1.15, high) + 0.45)  # room for the legend
    left.legend(title="medium kept", title_fontsize=7, loc="upper right", ncols=3)
    style.panel(left, "a")
    right.set(xlabel=DISTANCE, ylabel="media that connect the charges")
    right.set_ylim(-0.05, 1.08)
    style.panel(right, "b")
    style.footer(fig, info, tidy, "connected: joined by edges shorter than the cutoff")
    return fig


@style.styled
def gold_on_mgo(tidy: pd.DataFrame, info: Info) -> Figure:
    """Forces against the stand-in's, their size by element, and the cost of wetting."""
    fig = style.figure(style.DOUBLE, 80.0)
    forces = tidy[tidy["record"] == "force"]
    reference = str(forces["source"].iloc[0])
    elements = {"O": style.VERMILLION, "Mg": style.GREEN, "Al": style.PURPLE, "Au": style.ORANGE}
    ax = style.place(fig, 15.0, 21.0, 48.0, 48.0)
    for name, colour in elements.items():
        of = forces[forces["name"] == name]
        ax.scatter(of["x"], of["value"], s=4, color=colour, linewidth=0, alpha=0.6, label=name)
    most = 1.05 * np.abs(forces[["x", "value"]].to_numpy()).max()
    ax.plot([-most, most], [-most, most], color=style.GREY, lw=0.6, zorder=0)
    ax.set(xlim=(-most, most), ylim=(-most, most))
    ax.set(
        xlabel="stand-in (eV/Å)", ylabel=f"{_written(reference)} (eV/Å)", title="force components"
    )
    ax.legend(markerscale=2, handletextpad=0.1, borderaxespad=0.2)
    sources = {reference: style.BLUE, "stand-in": style.GREY, "published": style.INK}
    panels = (("rms", 79.0, 46.0, "force, rms (eV/Å)"), ("wetting", 140.0, 25.0, "wetting (meV)"))
    for record, left, width, label in panels:
        part = tidy[tidy["record"] == record]
        names = list(dict.fromkeys(part["name"]))
        ax = style.place(fig, left, 21.0, width, 48.0)
        for k, (source, colour) in enumerate(sources.items()):
            values = part[part["source"] == source].set_index("name")["value"].reindex(names)
            at = np.arange(len(names)) + 0.27 * (k - 1)
            ax.bar(at, values, 0.24, color=colour, label=_written(source))
        ax.axhline(0.0, color=style.INK, lw=0.6)
        ax.set_xticks(range(len(names)), names)
        ax.set_title(label)
        ax.grid(axis="y")
        if record == "rms":
            ax.legend(loc="upper left")
    note = (
        "wetting: relaxed flat less upright dimer; the stand-in is fitted to the published frames"
    )
    style.footer(fig, info, tidy, note)
    return fig


def _written(source: str) -> str:
    return {"dft": "DFT", "xtb": "GFN1-xTB"}.get(source, source)

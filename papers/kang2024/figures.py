"""Figures of kang2024 that no kind draws.

Every function takes the tidy DataFrame of `kang2024.tables` and `info` (tier, reference, card) and
returns a matplotlib Figure at print size. The exact law is dotted, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import LogLocator, NullLocator

from gnnip.artefacts import style
from gnnip.artefacts.looks import look_of
from gnnip.artefacts.panels import mean_and_spread, names_at_the_left, shades
from gnnip.artefacts.structure_picture import draw_frame

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
    panels = (
        ("force_rmse_ev_per_a", "force RMSE (eV/Å)", True),
        ("share_beyond_cutoff", r"share of $k/d^2$, far", False),
        ("n_parameters", "parameters", True),
        ("training_s", "training time (s)", True),
    )
    chosen = {model: colours[str(models[model]["group"])] for model in drawn}
    fig = _method_panels(tidy, panels, chosen, left=36.0, step=8.0)
    note = "far: d beyond the cutoff; blue: networks, orange: pair functions; times of one machine"
    style.footer(fig, info, tidy, note)
    return fig


def _method_panels(
    tidy: pd.DataFrame,
    panels: Sequence[tuple[str, str, bool]],
    colours: Mapping[str, str],
    *,
    left: float,
    step: float,
) -> Figure:
    """Draw a row of `step` millimetres for each model of `colours`, and a panel for each column of
    the table: its label, and whether the axis is logarithmic. Published models are open."""
    fig = style.figure(style.DOUBLE, 22.0 + step * len(colours))
    width = (style.DOUBLE - left - 3.0) / 4 - 5.0
    for column, (measure, label, log) in enumerate(panels):
        ax = style.place(fig, left + column * (width + 5.5), 17.0, width, step * len(colours))
        for y, (model, colour) in enumerate(colours.items()):
            part = tidy[tidy["model"] == model]
            known = "source" in part and (part["source"] == "published").all()
            values = part[measure].dropna()
            if len(values):
                look = {"fmt": "o", "color": colour, "mfc": "white" if known else colour}
                mean_and_spread(ax, y, values, lying=True, **look)
        ax.set_ylim(len(colours) - 0.5, -0.5)
        ax.set_yticks(range(len(colours)), list(colours) if column == 0 else [])
        ax.set_xlabel(label)
        ax.grid(axis="x")
        if log:
            _log_axis(ax, tidy[measure][tidy[measure] > 0])
        else:
            ax.set_xlim(-0.1, 1.2)
            ax.axvline(1.0, color=style.INK, ls=":", lw=1.2)
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


# --- gold on MgO ----------------------------------------------------------------------------------

SUPPORTS = {"undoped": "MgO", "doped": "Al-doped MgO"}
CONFIGURATIONS = {"non_wetting": "non-wetting", "wetting": "wetting"}


@style.styled
def fig2a(tidy: pd.DataFrame, info: Info) -> Figure:
    """The four structures from the side: gold above, aluminium in the last layer but one."""
    fig = style.figure(style.DOUBLE, 78.0)
    places = [(s, c) for s in SUPPORTS for c in CONFIGURATIONS]
    for number, (support, configuration) in enumerate(places):
        part = tidy[(tidy["support"] == support) & (tidy["configuration"] == configuration)]
        ax = style.place(fig, 4.0 + 41.5 * number, 9.0, 37.5, 60.0)
        # from the side: up is away from the slab
        names = {"x_a": "x", "z_a": "y", "y_a": "z"}
        frame = part.rename(columns=names)[["element", *"xyz"]]
        draw_frame(ax, frame.assign(z=-frame["z"]))
        style.panel(ax, "abcd"[number], f"{CONFIGURATIONS[configuration]},\n{SUPPORTS[support]}")
    note = "Au orange, Mg green, O red, Al blue; the dimers at rest, on a held slab"
    style.footer(fig, info, tidy, note)
    return fig


@style.styled
def fig2b(tidy: pd.DataFrame, info: Info) -> Figure:
    """E(wetting) - E(non-wetting) on both supports: the relaxed dimers, and one dimer on both."""
    look = look_of(info)
    groups = [g for g in info["trainings"] if g in set(tidy["group"])]
    names = ["reference", *groups]
    fig = style.figure(style.DOUBLE, 31.0 + 6.0 * len(names))
    width = (style.DOUBLE - 42.0 - 3.0) / 2 - 5.0
    titles = {"relaxed": "at rest on each support", "same": "the same dimer on both"}
    for column, (record, title) in enumerate(titles.items()):
        left = 42.0 + column * (width + 7.0)
        ax = style.place(fig, left, 17.0, width, 6.0 * len(names))
        own = tidy[tidy["record"] == record]
        for y, name in enumerate(names):
            for support, face in (("undoped", "white"), ("doped", look.colours[name])):
                part = own[own["support"] == support]
                values = part["reference_mev"].iloc[:1]
                if name != "reference":
                    values = part.loc[part["group"] == name, "difference_mev"]
                colour = look.colours[name]
                at = y - 0.12 if support == "undoped" else y + 0.12
                mean_and_spread(ax, at, values, lying=True, fmt="o", color=colour, mfc=face)
                if name == "reference":
                    ax.axvline(values.iloc[0], color=style.GREY, lw=0.7, ls=":", zorder=1)
        names_at_the_left(ax, [look.labels[n] for n in names] if column == 0 else [""] * len(names))
        ax.axvline(0.0, color=style.GREY, lw=0.6)
        ax.set_xlabel(r"$E$(wetting) $-$ $E$(non-wetting) (meV)")
        style.panel(ax, "ab"[column], title)
        if column == 0:
            for face, words in (("white", "MgO"), (style.INK, "Al-doped MgO")):
                ax.plot([], [], "o", color=style.INK, mfc=face, label=words)
            top = (42.0 / style.DOUBLE, 1.0 - 1.0 * style.MM / fig.get_figheight())
            fig.legend(loc="upper left", ncols=2, bbox_to_anchor=top)
    style.footer(fig, info, tidy, "bars: standard deviation over seeds; dotted: the reference")
    return fig


@style.styled
def fig2c(tidy: pd.DataFrame, info: Info) -> Figure:
    """Force on the upright dimer against the Au-O distance on both supports."""
    look = look_of(info)
    groups = [g for g in info["trainings"] if g in set(tidy["group"])]
    fig = style.figure(style.DOUBLE, 72.0)
    drawn = tidy[["force_ev_per_a", "reference_ev_per_a"]]
    low, top = drawn.min().min(), drawn.max().max()
    low, top = low - 0.06 * (top - low), top + 0.06 * (top - low)
    for column, (support, title) in enumerate(SUPPORTS.items()):
        ax = style.place(fig, 14.0 + 63.0 * column, 17.0, 56.0, 46.0)
        own = tidy[tidy["support"] == support]
        known = own.groupby("gold_oxygen_a")["reference_ev_per_a"].first()
        ax.plot(known.index, known, **look.stroke("reference"), label="reference")
        for group in groups:
            curve = own[own["group"] == group].groupby("gold_oxygen_a")["force_ev_per_a"]
            mean, spread = curve.mean(), curve.std().fillna(0.0)
            ax.plot(mean.index, mean, color=look.colours[group], label=look.labels[group])
            band: dict[str, Any] = {"color": look.colours[group], "alpha": 0.2, "lw": 0}
            ax.fill_between(mean.index, mean - spread, mean + spread, **band)
        ax.axhline(0.0, color=style.GREY, lw=0.6, zorder=1)
        ax.set(xlabel="Au–O distance (Å)", ylim=(low, top))
        style.panel(ax, "ab"[column], title)
        if column == 0:
            ax.set_ylabel("force on Au$_2$ (eV/Å)")
        else:
            ax.tick_params(labelleft=False)
            ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02))
    style.footer(fig, info, tidy, "force on both atoms, away from the slab; bands: over seeds")
    return fig


@style.styled
def au_mgo_methods(
    tidy: pd.DataFrame,
    info: Info,
    methods: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, str],
) -> Figure:
    """Errors, parameters and seconds a step of our potentials, beside published errors."""
    colours = look_of(info).colours
    owners = {label: group for group, label in labels.items()}
    drawn = list(dict.fromkeys(tidy["model"]))
    panels = (
        ("energy_rmse_mev_per_atom", "energy (meV/atom)", True),
        ("force_rmse_ev_per_a", "force (eV/Å)", True),
        ("n_parameters", "parameters", True),
        ("step_s", "training step (s)", True),
    )
    chosen = {m: colours[owners[m]] if m in owners else style.INK for m in drawn}
    fig = _method_panels(tidy, panels, chosen, left=44.0, step=6.0)
    note = "errors: RMSE of test frames; open: published, of DFT frames divided otherwise"
    style.footer(fig, info, tidy, note)
    return fig


@style.styled
def reach(tidy: pd.DataFrame, info: Info) -> Figure:
    """What is felt of the far end, as a share of what is exact, against the edges between."""
    fig = style.figure(style.DOUBLE, 70.0)
    titles = {
        "gold": "gold feels aluminium, through slabs",
        "toy": "a charge feels the other, through media",
    }
    counts = sorted(int(n) for n in tidy["network_layers"].unique())
    colours, markers = shades(counts, 0.08, 0.86), dict(zip(counts, "os^Dv", strict=False))
    for column, (system, title) in enumerate(titles.items()):
        ax = style.place(fig, 14.0 + 67.0 * column, 17.0, 56.0, 45.0)
        own = tidy[tidy["system"] == system]
        for count in counts:
            part = own[own["network_layers"] == count]
            if part.empty:
                continue
            share = (part["felt"] / part["exact"]).groupby(part["hops"]).mean()
            blind = share.index > 2 * count
            look: dict[str, Any] = {"color": colours[count], "marker": markers[count]}
            ax.plot(share.index, share, lw=0.9, **look)
            ax.plot(share.index[blind], share[blind], ls="", mfc="white", zorder=5, **look)
        ax.axhline(1.0, color=style.INK, ls=":", lw=1.2)
        ax.axhline(0.0, color=style.GREY, lw=0.6, zorder=1)
        ax.set_xlabel("edges between the two ends")
        ax.set_xticks(sorted(own["hops"].dropna().unique().astype(int)))
        style.panel(ax, "ab"[column], title)
        if column == 0:
            ax.set_ylabel("felt, share of the exact")
            title_look = {"title": "layers: reach", "title_fontsize": 7}
            place = (140.0 / style.DOUBLE, 62.0 * style.MM / fig.get_figheight())
            lines = [
                Line2D([], [], color=colours[n], marker=markers[n], label=f"{n}: {2 * n} edges")
                for n in counts
            ]
            fig.legend(handles=lines, loc="upper left", bbox_to_anchor=place, **title_look)
    note = "open marks: further than twice as many edges as layers, where a network is blind"
    style.footer(fig, info, tidy, note)
    return fig


@style.styled
def p4_cause(tidy: pd.DataFrame, info: Info) -> Figure:
    """Force errors of whole molecules and inside of them, against the cutoff."""
    fig = style.figure(style.SINGLE, 66.0)
    ax = style.place(fig, 14.0, 17.0, style.SINGLE - 17.0, 44.0)
    looks = {"rigid": (style.BLUE, "of whole molecules"), "internal": (style.ORANGE, "inside them")}
    for part, (colour, words) in looks.items():
        own = tidy[tidy["part"] == part]
        for cutoff, values in own.groupby("cutoff")["rmse_ev_per_a"]:
            mean_and_spread(ax, float(str(cutoff)), values, fmt="o", color=colour)
        mean = own.groupby("cutoff")["rmse_ev_per_a"].mean()
        ax.plot(mean.index, mean, color=colour, label=f"error, {words}")
        ax.axhline(own["rms_ev_per_a"].mean(), color=colour, ls="--", lw=0.9)
    ax.plot([], [], "--", color=style.INK, lw=0.9, label="size of the forces")
    ax.set(xlabel="cutoff (Å)", ylabel="force RMSE (eV/Å)")
    ax.set_xticks(sorted(tidy["cutoff"].unique()))
    drawn = tidy[["rmse_ev_per_a", "rms_ev_per_a"]]
    ax.set_ylim(drawn.min().min() / 1.6, drawn.max().max() * 8.0)  # room for the legend
    style.plain_log(ax)
    ax.legend(loc="upper right")
    share = 100 * tidy["rigid_share"].mean()
    note = f"{share:.1f} % of the squared force move or turn whole molecules"
    style.footer(fig, info, tidy, note)
    return fig

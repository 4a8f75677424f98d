"""Figures of kang2024 (the toy of point charges): one function per artefact, from its tidy table.

Every function takes the tidy DataFrame that `kang2024.tables` wrote and `info` (tier,
reference, card) and returns a matplotlib Figure at print size. The exact law is dotted, as in the
paper; distances that were trained on are hollow, unseen ones filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import LogLocator, NullLocator

from gnnip.artefacts import error_panels as errors
from gnnip.artefacts import style
from gnnip.artefacts.reference_data_figure import reference_data

__all__ = [
    "dilution",
    "explicit_charges",
    "fig1a",
    "fig1b",
    "fig1c",
    "fig1d",
    "fig1e",
    "receptive_field",
    "reference_data",
    "small_network",
    "toy_errors",
]

Info = Mapping[str, Any]

MODEL_COLOURS = {"interpolation": style.BLUE, "extrapolation": style.VERMILLION}
CHARGES = {
    1.0: (style.VERMILLION, 62, r"$+1e$"),
    -1.0: (style.BLUE, 62, r"$-1e$"),
    0.5: ("#F3B9A0", 13, r"$+0.5e$"),
    -0.5: ("#A9C7E6", 13, r"$-0.5e$"),
}


# --- the figure of the paper ----------------------------------------------------------------------


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
        for charge, (colour, size, _) in CHARGES.items():
            of = part[np.isclose(part["charge_e"], charge)]
            ax.scatter(
                of["z_a"],
                of["x_a"],
                s=size,
                color=colour,
                edgecolor=style.INK,
                linewidth=0.8 if abs(charge) == 1 else 0.25,
                zorder=4 if abs(charge) == 1 else 2,
            )
        without = "" if name == "I" else ", without $-1e$"
        fig.text(
            4.0 / style.DOUBLE,
            (bottom + panel + 1.0) / height,
            f"type {name}{without}",
            fontweight="bold",
        )
        if name == "I":
            one = part[np.isclose(part["charge_e"], 1.0)].iloc[0]
            other = part[np.isclose(part["charge_e"], -1.0)].iloc[0]
            ax.add_patch(
                FancyArrowPatch(
                    (one["z_a"], one["x_a"]),
                    (other["z_a"], other["x_a"]),
                    arrowstyle="<->",
                    mutation_scale=9,
                    shrinkA=5,
                    shrinkB=5,
                    color=style.INK,
                    zorder=5,
                )
            )
            ax.text(
                (one["z_a"] + other["z_a"]) / 2,
                one["x_a"] + 0.35,
                f"$d$ = {one['distance_a']:g} Å",
                ha="center",
                va="bottom",
                zorder=6,
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85},
            )
    legend = style.place(fig, 4.0, height - 8.0, width, 5.0)
    legend.axis("off")
    legend.set(xlim=(0, 4), ylim=(0, 1))
    for k, (colour, size, name) in enumerate(CHARGES.values()):
        legend.scatter(
            0.08 + 0.5 * k, 0.5, s=size, color=colour, edgecolor=style.INK, linewidth=0.5
        )
        legend.text(0.16 + 0.5 * k, 0.5, name, va="center")
    style.footer(fig, info, tidy, "one random medium, seen from the side; open boundaries")
    return fig


def _law(
    ax: Axes,
    tidy: pd.DataFrame,
    value: str,
    ideal: str,
    colour: str,
) -> None:
    """Draw seed means of `value` with the standard deviation over media, and the exact law."""
    distances = np.linspace(tidy["distance_a"].min() - 0.3, tidy["distance_a"].max() + 0.3, 100)
    first = tidy.iloc[0]
    power = 2 if "force" in ideal else 1
    law = first[ideal] * (first["distance_a"] / distances) ** power
    name = r"exact, $k/d^2$" if power == 2 else r"pair energy $k/d$"
    ax.plot(distances, law, ":", color=style.INK, lw=1.2, label=name, zorder=3)
    for trained, label in ((False, "unseen distance"), (True, "trained distance")):
        part = tidy[tidy["trained"] == trained]
        if part.empty:
            continue
        per_seed = part.groupby(["distance_a", "seed"])[value].agg(["mean", "std"])
        grouped = per_seed.groupby("distance_a")
        mean = grouped["mean"].mean()
        # over media within a seed and over seeds
        variance = grouped["std"].apply(lambda s: np.square(s).mean())
        variance = variance + grouped["mean"].var(ddof=0)
        ax.errorbar(
            mean.index,
            mean,
            np.sqrt(variance.fillna(0.0)),
            fmt="o",
            color=colour,
            mfc=colour if not trained else "white",
            capsize=2,
            lw=0.9,
            label=label,
            zorder=4,
        )


FORCE_NOTE = "bars: standard deviation over media and seeds; below: seeds, band: ±10 %"


def _force_panels(fig: Figure, tidy: pd.DataFrame, model: str, left: float, width: float) -> None:
    """Draw the force against the distance above, and its share of the exact law below."""
    colour = MODEL_COLOURS[model]
    top = style.place(fig, left, 43.0, width, 49.0)
    _law(top, tidy, "force_difference_ev_per_a", "coulomb_force_ev_per_a", colour)
    top.axhline(0.0, color=style.GREY, lw=0.6, zorder=1)
    top.set_ylabel(r"$F_\mathrm{I} - F_\mathrm{II}$ on $+1e$ (eV/Å)")
    top.set_title(f"{model} model", loc="left")
    top.tick_params(labelbottom=False)
    top.legend(loc="upper right")
    bottom = style.place(fig, left, 17.0, width, 22.0)
    bottom.axhspan(0.9, 1.1, color=style.PALE, lw=0, zorder=0)
    bottom.axhline(1.0, color=style.INK, lw=1.2, ls=":", zorder=3)
    bottom.axhline(0.0, color=style.GREY, lw=0.6, zorder=1)
    for _, part in tidy.groupby("seed"):
        mean = part.groupby("distance_a")["share"].mean()
        bottom.plot(mean.index, mean, color=colour, lw=0.8, alpha=0.6, zorder=2)
        for trained, face in ((True, "white"), (False, colour)):
            at = mean[part.groupby("distance_a")["trained"].first() == trained]
            bottom.plot(at.index, at, "o", ms=3, color=colour, mfc=face, zorder=4)
    bottom.set(xlabel=r"distance $d$ (Å)", ylabel=r"share of $k/d^2$")
    bottom.set_xlim(top.get_xlim())
    bottom.set_ylim(min(-0.08, bottom.get_ylim()[0]), max(1.25, bottom.get_ylim()[1]))


def _with_share(tidy: pd.DataFrame, info: Info, model: str) -> Figure:
    fig = style.figure(style.SINGLE, 99.0)
    _force_panels(fig, tidy, model, 14.0, style.SINGLE - 17.0)
    style.footer(fig, info, tidy, FORCE_NOTE)
    return fig


@style.styled
def fig1b(tidy: pd.DataFrame, info: Info) -> Figure:
    """Force on the +1e from the -1e, interpolation model."""
    return _with_share(tidy, info, "interpolation")


@style.styled
def fig1c(tidy: pd.DataFrame, info: Info) -> Figure:
    """Force on the +1e from the -1e, extrapolation model."""
    return _with_share(tidy, info, "extrapolation")


def _atomic_energy(tidy: pd.DataFrame, info: Info, model: str) -> Figure:
    fig = style.figure(style.SINGLE, 71.0)
    ax = style.place(fig, 14.0, 17.0, style.SINGLE - 17.0, 47.0)
    _law(ax, tidy, "energy_difference_ev", "coulomb_energy_ev", MODEL_COLOURS[model])
    ax.axhline(0.0, color=style.GREY, lw=0.6, zorder=1)
    ax.set(xlabel=r"distance $d$ (Å)", ylabel=r"$E_\mathrm{I} - E_\mathrm{II}$ of $+1e$ (eV)")
    ax.set_title(f"{model} model", loc="left")
    ax.legend(loc="upper right")
    style.footer(fig, info, tidy, "bars: standard deviation over media and seeds")
    return fig


@style.styled
def fig1d(tidy: pd.DataFrame, info: Info) -> Figure:
    """Atomic energy of the +1e, interpolation model."""
    return _atomic_energy(tidy, info, "interpolation")


@style.styled
def fig1e(tidy: pd.DataFrame, info: Info) -> Figure:
    """Atomic energy of the +1e, extrapolation model."""
    return _atomic_energy(tidy, info, "extrapolation")


@style.styled
def toy_errors(tidy: pd.DataFrame, info: Info) -> Figure:
    """Energy and force errors of both models: ours, published, and the trivial predictor."""
    rows = []
    for group, colour in MODEL_COLOURS.items():
        for subset in ("validation", "test"):
            part = tidy[(tidy["group"] == group) & (tidy["subset"] == subset)]
            if len(part):
                rows.append(errors.Row(f"{group}, {subset}", part, colour, colour))
    legend = (
        errors.Mark("o", style.BLUE, style.BLUE, "ours"),
        errors.PUBLISHED,
        errors.Mark("|", style.GREY, style.GREY, "composition fit, no forces"),
    )
    measures = (errors.ENERGY_RMSE, errors.ENERGY_MAE, errors.FORCE_RMSE)
    fig = errors.error_panels(rows, measures, legend, baseline="composition", left=38.0, step=9.0)
    style.footer(fig, info, tidy, "energies: total energy divided by the number of particles")
    return fig


# --- beyond the paper -----------------------------------------------------------------------------


@style.styled
def small_network(tidy: pd.DataFrame, info: Info) -> Figure:
    """Force on the +1e by the small network: interpolation and extrapolation model."""
    fig = style.figure(style.DOUBLE, 99.0)
    for column, model in enumerate(MODEL_COLOURS):
        part = tidy[tidy["model"] == model]
        if len(part):
            _force_panels(fig, part, model, 14.0 + column * 86.0, style.SINGLE - 19.0)
    style.footer(fig, info, tidy, FORCE_NOTE)
    return fig


@style.styled
def receptive_field(tidy: pd.DataFrame, info: Info) -> Figure:
    """Share of the exact force against the distance for one to five layers."""
    fig = style.figure(style.MIDDLE, 75.0)
    ax = style.place(fig, 14.0, 17.0, style.MIDDLE - 52.0, 50.0)
    layers = sorted(tidy["layers"].unique())
    palette = colormaps[style.ORDERED](np.linspace(0.08, 0.86, len(layers)))
    ax.axhline(1.0, color=style.INK, ls=":", lw=1.2)
    ax.axhline(0.0, color=style.GREY, lw=0.6)
    for colour, count in zip(palette, layers, strict=True):
        part = tidy[tidy["layers"] == count]
        mean = part.groupby("distance_a")["share"].mean()
        energy, force = part["energy_reach_a"].iloc[0], part["force_reach_a"].iloc[0]
        ax.plot(
            mean.index,
            mean,
            "o-",
            color=colour,
            label=f"{count}: {energy:g} Å, {force:g} Å",
        )
        if force <= tidy["distance_a"].max():
            ax.plot([force] * 2, [-0.08, -0.02], color=colour, lw=1.5)
    ax.set(xlabel=r"distance $d$ (Å)", ylabel=r"$F_\mathrm{I} - F_\mathrm{II}$, share of $k/d^2$")
    ax.set_ylim(min(-0.1, ax.get_ylim()[0]), max(1.15, ax.get_ylim()[1]))
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        title="layers: reach of\nenergy, force",
        title_fontsize=7,
    )
    style.footer(fig, info, tidy, "force reach: 2 × layers × cutoff, through an atom in between")
    return fig


@style.styled
def explicit_charges(tidy: pd.DataFrame, info: Info) -> Figure:
    """Message passing beside local potentials and explicit charges: error, far force, cost."""
    models = list(dict.fromkeys(tidy["model"]))
    fig = style.figure(style.DOUBLE, 30.0 + 8.0 * len(models))
    panels = (
        ("force_rmse_ev_per_a", "force RMSE (eV/Å)", True),
        ("share_beyond_cutoff", r"share of $k/d^2$, far", False),
        ("n_parameters", "parameters", True),
        ("training_s", "training time (s)", True),
    )
    width = (style.DOUBLE - 36.0 - 3.0) / 4 - 5.0
    for column, (measure, label, log) in enumerate(panels):
        ax = style.place(fig, 36.0 + column * (width + 5.5), 17.0, width, 8.0 * len(models))
        for y, model in enumerate(models):
            values = tidy[tidy["model"] == model][measure]
            network = model in ("message passing", "one layer")
            ax.errorbar(
                values.mean(),
                y,
                xerr=style.spread(values) if len(values) > 1 else None,
                fmt="o",
                color=style.BLUE if network else style.ORANGE,
                capsize=2,
            )
        ax.set_ylim(len(models) - 0.5, -0.5)
        ax.set_yticks(range(len(models)), models if column == 0 else [])
        ax.set_xlabel(label)
        ax.grid(axis="x")
        if log:
            positive = tidy[measure][tidy[measure] > 0]
            low, high = float(positive.min()) / 2, float(positive.max()) * 2
            ax.set_xlim(low, high)
            if high / low < 1e4:
                style.plain_log(ax, "x", wanted=2)
            else:  # plain numbers would not fit
                ax.set_xscale("log")
                ax.xaxis.set_major_locator(LogLocator(numticks=4))
                ax.xaxis.set_minor_locator(NullLocator())
        else:
            ax.set_xlim(-0.1, 1.2)
            ax.axvline(1.0, color=style.INK, ls=":", lw=1.2)
    note = "far: d beyond the cutoff; blue: networks, orange: pair functions; times of one machine"
    style.footer(fig, info, tidy, note)
    return fig


@style.styled
def dilution(tidy: pd.DataFrame, info: Info) -> Figure:
    """Non-local force and connection of the unit charges against the share of the medium kept."""
    fig = style.figure(style.DOUBLE, 66.0)
    kept = sorted(tidy["kept_fraction"].unique(), reverse=True)
    palette = colormaps[style.ORDERED](np.linspace(0.08, 0.86, len(kept)))
    left = style.place(fig, 14.0, 14.0, 66.0, 44.0)
    left.axhline(1.0, color=style.INK, ls=":", lw=1.2)
    left.axhline(0.0, color=style.GREY, lw=0.6)
    for colour, fraction in zip(palette, kept, strict=True):
        mean = tidy[tidy["kept_fraction"] == fraction].groupby("distance_a")["share"].mean()
        left.plot(mean.index, mean, "o-", color=colour, label=f"{100 * fraction:g} %")
    left.set(xlabel=r"distance $d$ (Å)", ylabel=r"$F_\mathrm{I} - F_\mathrm{II}$, share of $k/d^2$")
    low, high = left.get_ylim()
    left.set_ylim(min(-0.1, low), max(1.15, high) + 0.45)  # room for the legend
    left.legend(title="medium kept", title_fontsize=7, loc="upper right", ncols=3)
    style.panel(left, "a")
    right = style.place(fig, 98.0, 14.0, 66.0, 44.0)
    for colour, fraction in zip(palette, kept, strict=True):
        part = tidy[tidy["kept_fraction"] == fraction]
        mean = part.groupby("distance_a")["connected"].mean()
        right.plot(mean.index, mean, "o-", color=colour)
    right.set(xlabel=r"distance $d$ (Å)", ylabel="media that connect the charges")
    right.set_ylim(-0.05, 1.08)
    style.panel(right, "b")
    style.footer(fig, info, tidy, "connected: joined by edges shorter than the cutoff")
    return fig

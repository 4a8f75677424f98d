"""Figures of cho2023 that no kind draws, at print size, from tidy tables alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.artefacts.looks import look_of
from gnnip.artefacts.panels import (
    baseline_line,
    joint_legend,
    mean_and_spread,
    names_at_the_left,
    shades,
)

Info = Mapping[str, Any]
#: of predictors
WORDS = {
    "network": "linear ACE",
    "constant": "constant",
    "n_linear": "linear in the size",
    "ensemble_mean": "mean of the size",
    "trajectory_mean": "mean of its trajectory",
    "trajectory_ensemble_mean": "the same at its temperature",
    "equipartition": r"$\frac{3N}{2}(kT)^2$",
    "linear": "linear fit",
    "network_slow": "network, 35,000 epochs",
    "network_fast": "network, larger steps",
}


def _row(
    height: float, count: int, left: float = 18.0, bottom: float = 17.0
) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side."""
    fig = style.figure(style.DOUBLE if count > 1 else style.MIDDLE, height)
    gap = 20.0
    width = (fig.get_figwidth() / style.MM - left - 6.0 - gap * (count - 1)) / count
    panels = [
        style.place(fig, left + k * (width + gap), bottom, width, height - bottom - 9.0)
        for k in range(count)
    ]
    return fig, panels


@style.styled
def linear_fit(tidy: pd.DataFrame, info: Info) -> Figure:
    """The mean square error of the linear fit beside those of predictors without geometry."""
    names = list(tidy["predictor"].unique())
    fig, (ax,) = _row(22.0 + 7.0 * len(names), 1, left=42.0)
    for at, name in enumerate(names):
        own = tidy.loc[tidy["predictor"] == name, "mse_ev2"]
        shade = style.BLUE if name == "network" else style.GREY
        mean_and_spread(ax, at, own, lying=True, fmt="o", color=shade, ms=5)
    names_at_the_left(ax, [WORDS[name] for name in names])
    ax.set_xlabel("test MSE of the total energy (eV²)")
    style.plain_log(ax, "x")
    style.footer(fig, info, tidy, "bars: standard deviation over seeds")
    return fig


@style.styled
def connectivity(
    tidy: pd.DataFrame,
    info: Info,
    thresholds: Sequence[float],
    published: float,
    chemical: float,
) -> Figure:
    """Neighbours per atom against the threshold, and the shortest distance of every frame."""
    fig, (left, right) = _row(70.0, 2)
    curve = tidy[tidy["record"] == "neighbours"]
    left.plot(curve["cutoff_a"], curve["value"], "o-", color=style.BLUE, ms=3)
    for x, name in ((published, "published"), (chemical, "as described here")):
        left.axvline(x, color=style.GREY, lw=0.9, ls=(0, (4, 2)), zorder=0)
        look: dict[str, Any] = {"rotation": 90, "va": "bottom", "fontsize": 6.5}
        left.text(x + 0.04, 0.04 * curve["value"].max(), name, color=style.GREY, **look)
    left.set(xlabel="threshold (Å)", ylabel="neighbours per atom", xlim=(0, None), ylim=(0, None))
    closest = tidy.loc[tidy["record"] == "closest", "value"]
    right.hist(closest, bins=15, color=style.BLUE)
    right.axvline(published, color=style.GREY, lw=0.9, ls=(0, (4, 2)))
    right.set(xlabel="shortest distance of a frame (Å)", ylabel="frames")
    right.set_xlim(0, 1.1 * closest.max())
    style.panel(left, "a")
    style.panel(right, "b", f"closest pair of all: {closest.min():.2f} Å")
    style.footer(fig, info, tidy, "dashed: thresholds of the graph")
    return fig


@style.styled
def angular(
    tidy: pd.DataFrame,
    info: Info,
    degrees: Sequence[int],
    body_orders: Sequence[int],
    angles: Sequence[float],
) -> Figure:
    """Descriptors with an angle, and how far two geometries are told apart."""
    fig, (left, right) = _row(70.0, 2)
    for order, shade in shades(body_orders).items():
        own = tidy[tidy["body_order"] == order]
        name = f"body order {order}"
        left.plot(own["degree"], own["descriptors"], "o-", color=shade, ms=3, label=name)
        left.plot(own["degree"], own["angular"], "s--", color=shade, ms=3, mfc="none")
        right.plot(own["degree"], own["difference"], "o-", color=shade, ms=3, label=name)
    for ax in (left, right):
        ax.axvline(3, color=style.PALE, lw=5, zorder=0)
        ax.set(xlabel="degree", xticks=list(degrees))
    left.set(ylabel="descriptors")
    left.set_yscale("symlog", linthresh=10)
    left.set_ylim(0, 1.5 * tidy["descriptors"].max())
    right.legend(loc="upper left", bbox_to_anchor=(0.08, 1.0))
    first, second = angles
    right.set(ylabel="largest difference, relative")
    style.panel(left, "a", "all, and dashed those with an angle")
    style.panel(right, "b", f"O-Hf-O of {first:g}° against {second:g}°")
    style.footer(
        fig,
        info,
        tidy,
        "grey band: published degree; two elements; in (b) body orders 3 and 4 coincide",
    )
    return fig


@style.styled
def constant(
    tidy: pd.DataFrame,
    info: Info,
    published: Mapping[str, float],
    atoms: int,
    temperature: float,
) -> Figure:
    """Mean square errors, published and ours, each beside predicting the mean."""
    estimate = float(tidy.loc[tidy["source"] == "estimate", "mse_ev2"].iloc[0])
    names = list(tidy.loc[tidy["source"].isin(["published", "ours"]), "what"].unique())
    fig, (ax,) = _row(30.0 + 6.0 * len(names), 1, left=44.0)
    looks = {
        "published": (style.VERMILLION, "D", "published (DFT)"),
        "ours": (style.BLUE, "o", "ours (xTB)"),
        "constant": (style.GREY, "|", "the mean, our frames"),
    }
    for source, (shade, mark, label) in looks.items():
        for at, name in enumerate(names):
            own = tidy[(tidy["what"] == name) & (tidy["source"] == source)]["mse_ev2"]
            if len(own):
                look: dict[str, Any] = {"fmt": mark, "color": shade, "ms": 6, "label": label}
                mean_and_spread(ax, at, own, lying=True, **look)
                label = "_"
    ax.axvline(estimate, color=style.INK, lw=1.0, ls=(0, (4, 2)), zorder=0)
    words = [WORDS.get(name, name.replace("_", " ")) for name in names]
    names_at_the_left(ax, words)
    ax.set_xlabel("MSE of the total energy (eV²)")
    style.plain_log(ax, "x")
    height = fig.get_figheight() / style.MM
    fig.legend(loc="upper center", ncol=3, bbox_to_anchor=(0.5, 1 - 1 / height))
    note = f"dashed: (3N/2)(kT)² = {estimate:.3f} eV² of {atoms} atoms at {temperature:g} K"
    style.footer(fig, info, tidy, note)
    return fig


@style.styled
def speed(tidy: pd.DataFrame, info: Info, long_epochs: int = 35_000) -> Figure:
    """Seconds of an epoch against the graphs a step."""
    fig, (ax,) = _row(72.0, 1)
    look = look_of(info)
    for (group, device), own in tidy[~tidy["fitted"]].groupby(["group", "device"], sort=False):
        part = own.sort_values("batch_size")
        line = "-" if device == "cpu" else "--"
        where = "" if device == "cpu" else ", GPU"
        ax.plot(
            part["batch_size"],
            part["seconds"],
            f"o{line}",
            color=look.colours[str(group)],
            label=look.labels[str(group)] + where,
        )
    fits = tidy.loc[tidy["fitted"], "seconds"]
    if len(fits):
        baseline_line(ax, float(fits.iloc[0]), "the whole linear fit")
    ax.set(xlabel="graphs a step", ylabel="seconds")
    style.plain_log(ax, "x")
    style.plain_log(ax)
    ax.legend(loc="best")
    frames = int(tidy["n_frames"].max())
    style.footer(
        fig, info, tidy, f"an epoch of {frames} frames, one core; {tidy['hardware'].iloc[0]}"
    )
    return fig


@style.styled
def learning(tidy: pd.DataFrame, info: Info) -> Figure:
    """Errors of forces against training frames and against the seconds of the training."""
    fig, panels = _row(84.0, 2, bottom=23.0)
    look = look_of(info)
    ours = tidy[tidy["source"] == "ours"]
    for ax, x in zip(panels, ("train_frames", "seconds"), strict=True):
        for group in look.present(ours, "group"):
            own = ours[ours["group"] == group].groupby("train_frames")
            at, value = own[x].mean(), own["force_rmse_ev_per_a"].mean()
            ax.plot(at, value, "o-", color=look.colours[group], label=look.labels[group])
        null = tidy.loc[tidy["source"] == "null_model", "force_rmse_ev_per_a"].mean()
        baseline_line(ax, float(null), "no force")
        style.plain_log(ax, "x")
        style.plain_log(ax)
    panels[0].set(xlabel="training frames", ylabel="test force RMSE (eV/Å)")
    panels[1].set(xlabel="seconds of the training")
    joint_legend(fig, panels[0], 0.5, 4.5, columns=5)
    style.panel(panels[0], "a")
    style.panel(panels[1], "b")
    style.footer(fig, info, tidy, "seconds: one core, beside other jobs")
    return fig


@style.styled
def peroxide(tidy: pd.DataFrame, info: Info, pair: str, distance: float) -> Figure:
    """Errors of forces on the atoms of close pairs and on all others."""
    look = look_of(info)
    groups = look.present(tidy, "group")
    fig, (ax,) = _row(32.0 + 6.0 * len(groups), 1, left=44.0)
    colours = {"close": style.VERMILLION, "others": style.BLUE}
    words = {"close": f"{pair} below {distance:g} Å", "others": "all other atoms"}
    for atoms, shade in colours.items():
        for at, group in enumerate(groups):
            own = tidy[(tidy["group"] == group) & (tidy["atoms"] == atoms)]
            for source, mark in (("network", "o"), ("zero", "|")):
                values = own.loc[own["predictor"] == source, "force_rmse_ev_per_a"]
                label = words[atoms] if at == 0 and source == "network" else "_"
                if len(values):
                    mean_and_spread(ax, at, values, lying=True, fmt=mark, color=shade, label=label)
    names_at_the_left(ax, [look.labels[group] for group in groups])
    ax.set_xlabel("test force RMSE (eV/Å)")
    style.plain_log(ax, "x")
    height = fig.get_figheight() / style.MM
    fig.legend(loc="upper center", ncol=2, bbox_to_anchor=(0.5, 1 - 1 / height))
    style.footer(fig, info, tidy, "strokes: no force at all")
    return fig

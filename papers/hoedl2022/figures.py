"""Figures of hoedl2022 that no kind draws; tables are those of `hoedl2022.tables`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.artefacts.arms import divide
from gnnip.artefacts.kinds import Scan
from gnnip.artefacts.looks import look_of
from gnnip.artefacts.measures import columns
from gnnip.artefacts.panels import mean_and_spread, names_at_the_left
from gnnip.artefacts.scan_figure import scan

Info = Mapping[str, Any]
MATERIALS = ("ean", "ani")
#: meV/atom on the poster, as they are and where its eV are Hartree
POSTER, HARTREE = (16.0, 30.0), 27.211386


def _looks(info: Info) -> tuple[dict[str, str], dict[str, str]]:
    """Return labels and colours by group and by arm; those of the ionic liquid come first."""
    look = look_of(info)
    labels, colours = dict(look.labels), dict(look.colours)
    for name in list(labels):
        labels.setdefault(divide(name, MATERIALS)[1], labels[name])
        colours.setdefault(divide(name, MATERIALS)[1], colours[name])
    return labels | {"wB97X": "wB97X"}, colours | {"wB97X": style.GREY}


@style.styled
def training_speed(
    tidy: pd.DataFrame,
    info: Info,
    epochs: int,
    configurations: int,
    show: Sequence[str],
    against: str | None = None,
) -> Figure:
    """Configurations per second in training and in evaluation."""
    labels, colours = _looks(info)
    length = 8.0 * len(show)
    fig = style.figure(style.DOUBLE, 26.0 + length)
    for column, work in enumerate(("training", "evaluation")):
        ax = style.place(fig, 34.0 + 68.0 * column, 15.0, 60.0, length)
        for y, group in enumerate(show):
            part = tidy[(tidy["group"] == group) & (tidy["work"] == work)]
            rate = float(part["per_second"].iloc[0])
            ax.barh(y, rate, height=0.6, color=colours[group])
            ax.text(rate, y, f" {float(f'{rate:.3g}'):,.10g}", va="center", fontsize=7)
        names_at_the_left(ax, [labels[g] if column == 0 else "" for g in show])
        ax.set_xlim(0.0, 1.2 * tidy.loc[tidy["work"] == work, "per_second"].max())
        ax.set_xlabel("configurations per second")
        style.panel(ax, "ab"[column], "training step" if column == 0 else "one configuration")
    machine = str(tidy["hardware"].iloc[0])
    style.footer(fig, info, tidy, f"{machine}, one thread of its processor or one GPU")
    return fig


@style.styled
def dissociation(tidy: pd.DataFrame, info: Info) -> Figure:
    """Energy along N-H and N...O, and the share of broken bonds against time."""
    labels, colours = _looks(info)
    fig = style.figure(style.DOUBLE, 76.0)
    axes = [style.place(fig, 15.0 + 55.0 * k, 15.0, 40.0, 47.0) for k in range(3)]
    arms = [arm for arm in (*labels, "wB97X") if arm in set(tidy["arm"])]
    arms = list(dict.fromkeys(arms))
    curves, hot = tidy[tidy["part"] == "curve"], tidy[tidy["part"] == "hot"]
    titles = {"N-H": "N–H, with N…O at 2.8 Å", "N...O": "N…O, ions apart"}
    for ax, (coordinate, title) in zip(axes[:2], titles.items(), strict=True):
        for arm in arms:
            part = curves[(curves["coordinate"] == coordinate) & (curves["arm"] == arm)]
            if len(part):
                look = _line(arm, colours) if arm != "wB97X" else {"ls": "", "marker": "s", "ms": 3}
                look.setdefault("color", colours[arm])
                ax.plot(part["x_a"], part["energy_ev"], label=labels[arm], **look)
        exact = curves[(curves["coordinate"] == coordinate) & (curves["arm"] == "reference")]
        low, high = exact["energy_ev"].min(), exact["energy_ev"].max()
        room = max(0.6 * (high - low), 0.3)
        ax.set(ylim=(low - room, high + room), xlabel="distance (Å)", ylabel="energy (eV)")
        style.panel(ax, "ab"[list(titles).index(coordinate)], title)
    for arm in arms:
        replicas = hot[hot["arm"] == arm].pivot_table("share", "time_fs", "replica")
        part = replicas.ffill().mean(axis=1)  # one that failed keeps its last count
        if len(part):
            axes[2].plot(part.index, 100.0 * part, label=labels[arm], **_line(arm, colours))
    axes[2].set(xlabel="time (fs)", ylabel="broken bonds (%)")
    axes[2].set_ylim(bottom=-1.0)
    style.panel(axes[2], "c", "dynamics at 2000 K")
    handles, names = axes[1].get_legend_handles_labels()
    fig.legend(handles, names, loc="upper center", ncol=len(names), bbox_to_anchor=(0.5, 0.99))
    note = "curves: rigid ions, zero where N–H is 1.05 and N…O 2.8 Å; dynamics until they fail"
    style.footer(fig, info, tidy.drop(columns="seed", errors="ignore"), note)
    return fig


def _line(arm: str, colours: Mapping[str, str]) -> dict[str, Any]:
    reference = arm == "reference"
    return {
        "color": colours[arm],
        "lw": 2.6 if reference else 1.2,
        "alpha": 0.45 if reference else 1,
    }


@style.styled
def published_frames(tidy: pd.DataFrame, info: Info) -> Figure:
    """Errors in the forces frame by frame, in rising order, beside the poster's range."""
    fig = style.figure(style.MIDDLE, 66.0)
    ax = style.place(fig, 15.0, 13.0, style.MIDDLE - 20.0, 44.0)
    ax.axhspan(0.080, 0.088, color=style.SKY, alpha=0.5, lw=0, label="the poster's MAE")
    for column, word, colour in (("mae", "MAE", style.BLUE), ("rmse", "RMSE", style.VERMILLION)):
        values = np.sort(tidy[f"force_{column}_ev_per_a"])
        ax.plot(np.arange(1, len(values) + 1), values, "o", ms=3, color=colour, label=word)
    ax.set(xlabel="frames, by rising error", ylabel="force error (eV/Å)")
    style.plain_log(ax, "y", wanted=3)
    ax.legend(loc="upper left")
    style.footer(fig, info, tidy, "frames that the authors' network may have been trained on")
    return fig


@style.styled
def data_efficiency(tidy: pd.DataFrame, info: Info, how: Scan) -> Figure:
    """The scan, with the authors' network as a line: how many frames it saw is not published."""
    theirs = tidy["predictor"] == "authors_network"
    fig = scan(tidy[~theirs], info, how)
    (ax,) = fig.axes
    column, _ = columns(how.unit)[how.measure]
    for error in tidy.loc[theirs, column]:
        label = how.words.label("authors_network")
        ax.axhline(error, color=style.BLUE, lw=1.0, ls=(0, (4, 2)), zorder=1, label=label)
        ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return fig


@style.styled
def ani_scaling(tidy: pd.DataFrame, info: Info) -> Figure:
    """Error against the number of conformations, and against the number of heavy atoms."""
    fig = style.figure(style.DOUBLE, 74.0)
    left, right = (style.place(fig, x, 14.0, 62.0, 46.0) for x in (16.0, 100.0))
    known, new, null = style.BLUE, style.VERMILLION, style.GREY
    every = tidy[tidy["n_heavy"] == "all"]
    for molecules, colour in (("known", known), ("new", new)):
        part = every[every["molecules"] == molecules]
        _curve(left, part, "n_train", "energy_mae_mev_per_atom", colour, f"{molecules} molecules")
        _curve(left, part, "n_train", "null_mae_mev_per_atom", colour, "", null=True)
    left.set_xlabel("conformations trained on")
    left.set_ylabel("energy MAE (meV/atom)")
    style.plain_log(left, "x", wanted=3)
    style.plain_log(left, "y", wanted=3)
    style.panel(left, "a")
    largest = tidy[(tidy["n_train"] == tidy["n_train"].max()) & (tidy["n_heavy"] != "all")]
    largest = largest[largest["molecules"] == "known"].astype({"n_heavy": int})
    _curve(right, largest, "n_heavy", "energy_mae_mev_per_atom", known, "known molecules")
    _curve(right, largest, "n_heavy", "null_mae_mev_per_atom", known, "", null=True)
    right.set_xticks(sorted(largest["n_heavy"].unique()))
    right.set_xlabel("heavy atoms")
    style.plain_log(right, "y", wanted=3)
    style.panel(right, "b", "largest training set")
    left.plot([], [], ":", color=null, label="best null model")
    handles, names = left.get_legend_handles_labels()
    fig.legend(handles, names, loc="upper center", ncol=3, bbox_to_anchor=(0.5, 0.99))
    style.footer(fig, info, tidy, "known: new conformations of molecules that were trained on")
    return fig


def _curve(
    ax: Axes, part: pd.DataFrame, x: str, y: str, colour: str, label: str, null: bool = False
) -> None:
    places = sorted(part[x].unique())
    values = [part.loc[part[x] == place, y] for place in places]
    look: dict[str, Any] = {
        "color": colour,
        "ls": ":" if null else "-",
        "marker": "" if null else "o",
    }
    ax.plot(places, [v.mean() for v in values], label=label or None, **look)
    if not null:
        for place, value in zip(places, values, strict=True):
            mean_and_spread(ax, float(place), value, fmt="o", color=colour)


@style.styled
def ani_units(tidy: pd.DataFrame, info: Info) -> Figure:
    """Errors of networks and null models beside both readings of the poster's range."""
    labels, colours = _looks(info)
    labels |= {"null_model": "mean of the molecule", "composition": "fit on the composition"}
    names = [n for n in labels if n in set(tidy["name"])]
    fig = style.figure(style.DOUBLE, 32.0 + 7.0 * len(names))
    ax = style.place(fig, 42.0, 15.0, style.DOUBLE - 48.0, 7.0 * len(names))
    for unit, factor, shade in (("meV", 1.0, style.SKY), ("mHartree", HARTREE, style.YELLOW)):
        low, high = (factor * end for end in POSTER)
        ax.axvspan(low, high, color=shade, alpha=0.45, lw=0)
        place = (np.sqrt(low * high), 1.02)
        ax.text(*place, f"the poster's,\n{unit}/atom", transform=ax.get_xaxis_transform(),
                ha="center", va="bottom", fontsize=6.5)  # fmt: skip
    for y, name in enumerate(names):
        values = tidy.loc[tidy["name"] == name, "energy_mae_mev_per_atom"]
        colour = colours.get(name, style.GREY)
        mean_and_spread(ax, y, values, lying=True, fmt="o", color=colour)
    names_at_the_left(ax, [labels[n] for n in names])
    values = tidy["energy_mae_mev_per_atom"]
    ax.set_xlim(min(10.0, values.min() / 1.5), max(1200.0, values.max() * 1.5))
    style.plain_log(ax, "x", wanted=3)
    ax.set_xlabel("energy MAE of new conformations of known molecules (meV/atom)")
    style.footer(fig, info, tidy, "null models know composition or molecule, and no geometry")
    return fig


@style.styled
def features(tidy: pd.DataFrame, info: Info) -> Figure:
    """Change of the energy by feature and network, on a logarithmic scale."""
    labels, _ = _looks(info)
    names = {
        "permutation": "order of\nthe atoms",
        "rotation": "rotation",
        "translation": "translation",
        "periodicity": "cell\ndoubled",
        "additivity": "two copies\napart",
        "locality": "a far\nmolecule",
        "ghost": "beside\na ghost",
        "displacement": "atoms\nmoved",
    }
    groups = list(dict.fromkeys(tidy["group"]))
    shown = [n for n in names if n in set(tidy["feature"])]
    words = {"ean": "ionic liquid", "ani": "molecules"}
    fig = style.figure(style.DOUBLE, 28.0 + 8.0 * len(groups))
    ax = style.place(fig, 50.0, 15.0, style.DOUBLE - 56.0, 8.0 * len(groups))
    for column, feature in enumerate(shown):
        for row, group in enumerate(groups):
            part = tidy[(tidy["group"] == group) & (tidy["feature"] == feature)]
            if part.empty:
                continue
            changes = part["change_mev_per_atom"]
            change = float(changes.min() if feature == "displacement" else changes.max())
            broken = (change > 1e-3) != (feature == "displacement")
            look = {"facecolor": style.VERMILLION if broken else style.SKY, "alpha": 0.6}
            ax.add_patch(_tile(column, row, look))
            ax.text(column, row, f"{change:.0e}" if change else "0", ha="center", va="center")
    ax.set(xlim=(-0.5, len(shown) - 0.5), ylim=(len(groups) - 0.5, -0.5))
    ax.set_xticks(range(len(shown)), [names[n] for n in shown])
    ax.xaxis.tick_top()
    rows = [f"{labels[g]}\n({words[divide(g, MATERIALS)[0]]})" for g in groups]
    ax.set_yticks(range(len(groups)), rows)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    note = (
        "largest change (meV/atom), orange: above 0.001; ghost: a translation beside an O at the "
        "origin; moved by 0.1 Å: the least, orange: below"
    )
    style.footer(fig, info, tidy, note)
    return fig


def _tile(x: float, y: float, look: Mapping[str, Any]) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, lw=0, **look)


@style.styled
def attention(tidy: pd.DataFrame, info: Info) -> Figure:
    """Attention weight by contact against the distance, trained and untrained."""
    contacts = {
        "H(N) from O": ("donor H looks at O", style.VERMILLION),
        "O from H(N)": ("O looks at donor H", style.BLUE),
        "H(C) from O": ("H on carbon looks at O", style.GREEN),
        "H(N) from N": ("donor H looks at N", style.PURPLE),
        "all": ("all pairs", style.GREY),
    }
    fig = style.figure(style.DOUBLE, 76.0)
    top = 1.08 * tidy["attention"].max()
    for column, weights in enumerate(("trained", "untrained")):
        ax = style.place(fig, 14.0 + 82.0 * column, 15.0, 68.0, 46.0)
        ax.axvspan(1.5, 2.4, color=style.PALE, alpha=0.5, lw=0)
        ax.text(1.95, 0.97, "hydrogen\nbonds", ha="center", va="top", fontsize=6.5,
                transform=ax.get_xaxis_transform())  # fmt: skip
        part = tidy[tidy["weights"] == weights]
        for contact, (words, colour) in contacts.items():
            curve = part[part["contact"] == contact]
            look = {"ls": "--"} if contact == "all" else {"marker": "o", "ms": 2.5}
            ax.plot(curve["distance_a"], curve["attention"], color=colour, label=words, **look)
        ax.set(xlabel="distance (Å)", ylim=(0.0, top))
        if column == 0:
            ax.set_ylabel("mean attention weight")
        style.panel(ax, "ab"[column], weights)
    handles, names = ax.get_legend_handles_labels()
    fig.legend(handles, names, loc="upper center", ncol=len(names), bbox_to_anchor=(0.5, 0.99))
    style.footer(fig, info, tidy, "one test frame; mean over layers and heads")
    return fig


@style.styled
def pareto(tidy: pd.DataFrame, info: Info) -> Figure:
    """Error in the forces against the times of one evaluation and of the training."""
    labels, colours = _looks(info)
    fig = style.figure(style.DOUBLE, 80.0)
    columns = (("evaluation_ms", "forces of one frame (ms)"), ("training_s", "training (s)"))
    for number, (x, label) in enumerate(columns):
        ax = style.place(fig, 14.0 + 84.0 * number, 14.0, 66.0, 48.0)
        front = tidy.sort_values(x)
        best = front["force_mae_ev_per_a"].cummin()
        front = front[front["force_mae_ev_per_a"] == best]
        look = {"color": style.PALE, "lw": 3, "zorder": 0, "label": "nothing is better in both"}
        ax.plot(front[x], front["force_mae_ev_per_a"], "-", **look)
        for row in tidy.to_dict("records"):
            group = str(row["group"])
            look = {"color": colours[group], "ls": "", "label": labels[group]}
            look["marker"] = "s" if group.startswith(("ean_as", "ean_corr", "ean_neu")) else "o"
            ax.plot(row[x], row["force_mae_ev_per_a"], ms=6, **look)
        ax.set_xlim(tidy[x].min() / 1.5, tidy[x].max() * 1.5)
        ax.set_xlabel(label)
        if number == 0:
            ax.set_ylabel("test force MAE (eV/Å)")
        style.plain_log(ax, "x", wanted=3)
        style.plain_log(ax, "y", wanted=3)
        style.panel(ax, "ab"[number])
    handles, names = ax.get_legend_handles_labels()
    fig.legend(handles, names, loc="upper center", ncol=5, bbox_to_anchor=(0.5, 0.995))
    machine = tidy["hardware"].iloc[0]
    note = f"225 atoms, seed 0; squares: hoedl2022; {machine}, one thread"
    style.footer(fig, info, tidy, note)
    return fig

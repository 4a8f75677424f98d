"""Figures of gijon2023 (water cluster anions) that no shared kind draws, from their tidy tables.

Every function takes the tidy DataFrame that the function of its name in `gijon2023.tables` made,
`info` (tier, reference, card), and the words that the card has for layers and terms. Published
values are drawn hollow or grey, ours solid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gnnip.artefacts import dynamics_panels as dynamics
from gnnip.artefacts import style
from gnnip.artefacts.error_table import Block, Column
from gnnip.artefacts.kinds import Words
from gnnip.artefacts.panels import (
    baseline_line,
    colour,
    error_label,
    joint_legend,
    labels_at_the_right,
    mean_and_spread,
    named,
    names_at_the_left,
    predictor,
    row_of_panels,
    shades,
)
from gnnip.measurements import metrics as measure

Info = Mapping[str, Any]
TRIVIAL = ("constant", "n_linear", "ensemble_mean", "trajectory_mean", "trajectory_ensemble_mean")


# --- accuracy -------------------------------------------------------------------------------------


def _layers(tidy: pd.DataFrame, words: Words) -> list[str]:
    """Return the layers of a table, in the card's order."""
    return [layer for layer in words.colours if (tidy["layer"] == layer).any()]


@style.styled
def table1(tidy: pd.DataFrame, info: Info, words: Mapping[str, Any]) -> Figure:
    """Table 1: ours (mean and standard deviation over seeds) beside the published numbers.

    To the right of each row the MAE relative to the (N, T) mean: filled ours, hollow published.
    """
    w, tidy = Words(**words), _with_variants(tidy)
    trained = tidy[tidy["source"] == "ours"]
    ours = {
        name + end: (name, w.label(name) + end)
        for end in trained["end"].unique()
        for name in _layers(trained[trained["end"] == end], w)
    }
    tidy = tidy.assign(layer=tidy["layer"] + tidy["end"])
    told = [n for n in TRIVIAL if (tidy["layer"] == n).any()]
    lines = {key: label for key, (_, label) in ours.items()} | {n: predictor(w, n) for n in told}
    blocks = {}
    for target in tidy["target"].unique():
        squared = 3 if target == "atomic" else 5
        unit = rf"MSE (10$^{{-{squared}}}$ Ha$^2$)"
        columns = (
            Column("mae_ha", 49.5, "MAE (mHa)", 1e3),
            Column("mse_ha2", 76.5, unit, 10.0**squared),
            Column("mape_percent", 102.0, "MAPE (%)"),
            Column("r2", 125.5, r"$R^2$", published=False),
            Column("r2_within", 136.5, r"$R^2_{N,T}$", published=False),
        )
        shade = {key: colour(w, name) for key, (name, _) in ours.items()}
        rows = tidy[tidy["target"] == target]
        blocks[target] = Block(rows, lines, shade, columns, "mae_ha", "ensemble_mean")
    gap = 5.0
    height = 3.0 + sum(b.height for b in blocks.values()) + gap * (len(blocks) - 1) + 11.0
    fig = style.figure(style.DOUBLE, height)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, style.DOUBLE), ylim=(height, 0))
    ax.axis("off")
    top = 3.0
    for letter, (target, block) in zip("ab", blocks.items(), strict=False):
        title = f"({letter})  {w.label(target)}"
        block.draw(fig, ax, top, title, r"MAE relative to $(N, T)$ mean")
        top += block.height + gap
    note = (
        "ours: mean ± standard deviation over seeds, bold: best layer; published: grey, hollow. "
        r"$R^2_{N,T}$: within $(N, T)$ ensembles; their means score 0."
    )
    ax.text(3.0, height - 8.3, note, fontsize=6, color=style.INK, va="center")
    marked = tidy.loc[tidy["end"] == "†", "variant"].unique()
    style.footer(fig, info, tidy, "".join(f"†: {variant}" for variant in marked))
    return fig


def _with_variants(tidy: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `end`, what is added to the name of a layer that is not as described;
    tables that were recorded when there was one variant lack the column."""
    stated = tidy.get("variant", pd.Series("as_described", index=tidy.index))
    plain = stated.fillna("as_described") == "as_described"
    return tidy.assign(variant=stated, end=plain.map({True: "", False: "†"}))


@style.styled
def fig2(tidy: pd.DataFrame, info: Info, words: Mapping[str, Any]) -> Figure:
    """Predicted against reference energies, and the same relative to the ensemble means."""
    w, targets = Words(**words), list(tidy["target"].unique())
    fig = style.figure(style.DOUBLE, 158)
    colours = shades(sorted(tidy["n_molecules"].unique()))
    for column, target in enumerate(targets):
        # shuffled, so that no size hides another
        part = tidy[tidy["target"] == target].sample(frac=1.0, random_state=0)
        left = 15 + column * 77
        upper, lower = style.place(fig, left, 92, 62, 58), style.place(fig, left, 16, 62, 58)
        style.panel(upper, "ab"[column], w.label(target))
        style.panel(lower, "cd"[column], r"the same, relative to the $(N, T)$ mean")
        symbol, points = w.symbol(target), [colours[n] for n in part["n_molecules"]]
        both = part[["true_ha", "predicted_ha"]]
        _parity(upper, both, points, float(both.min(axis=None)), float(both.max(axis=None)))
        upper.set(xlabel=f"{symbol} reference (Ha)", ylabel=f"{symbol} predicted (Ha)")
        # how far both lie from what N and T alone tell, in mHa
        _deviations(lower, 1e3 * both.sub(part["ensemble_mean_ha"], axis=0), points)
        lower.set(
            xlabel=rf"{symbol} reference − $(N, T)$ mean (mHa)",
            ylabel=rf"{symbol} predicted − $(N, T)$ mean (mHa)",
        )
        _parity_notes(upper, lower, part)
    corner = ((6 + 77 * len(targets)) / style.DOUBLE, 0.96)
    tight: dict[str, Any] = {"handletextpad": 0.1, "borderaxespad": 0, "title_fontsize": 7}
    dots: dict[str, Any] = {"marker": "o", "ls": "", "ms": 4}
    handles = [Line2D([], [], color=c, label=f"{n}", **dots) for n, c in colours.items()]
    fig.legend(handles=handles, title="$N$", loc="upper left", bbox_to_anchor=corner, **tight)
    style.footer(fig, info, tidy, f"{w.label(tidy['layer'].iloc[0])}, test frames")
    return fig


def _parity(ax: Axes, both: pd.DataFrame, colours: list[Any], low: float, high: float) -> None:
    """Draw predicted against true values beside the diagonal."""
    true, predicted = both.to_numpy().T
    ax.scatter(true, predicted, s=9, c=colours, alpha=0.75, linewidths=0, zorder=2)
    pad = 0.04 * (high - low)
    ends = (low - pad, high + pad)
    ax.plot(ends, ends, color=style.INK, lw=0.7, zorder=1)
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    for side in (ax.xaxis, ax.yaxis):
        side.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _deviations(ax: Axes, both: pd.DataFrame, colours: list[Any]) -> None:
    """Draw deviations, each axis as long as its own values: the diagonal is steep or flat where the
    network varies more or less than the reference. A few wild predictions do not squeeze the rest:
    what lies outside is counted."""
    across = 1.15 * float(both["true_ha"].abs().max())
    up = max(across, 1.1 * float(both["predicted_ha"].abs().quantile(0.99)))
    shown = both["predicted_ha"].abs() <= up
    kept = [colour for colour, inside in zip(colours, shown, strict=True) if inside]
    _parity(ax, both[shown], kept, -across, across)
    # words stand above the points
    ax.set(ylim=(-up, 1.5 * up), aspect="auto")
    ax.axhline(0.0, color=style.GREY, lw=0.9, ls=(0, (4, 2)), zorder=1)
    outside = int((~shown).sum())
    if outside:
        words = f"{outside} of {len(both)} points outside"
        look: dict[str, Any] = {"fontsize": 6, "ha": "right", "color": style.GREY}
        ax.text(0.98, 0.02, words, transform=ax.transAxes, **look)


def _parity_notes(upper: Axes, lower: Axes, part: pd.DataFrame) -> None:
    true, predicted = part["true_ha"], part["predicted_ha"]

    def mae(guess: pd.Series) -> str:
        value = 1e3 * measure.mae(true, guess)
        return f"{value:.2g} mHa" if value < 100 else f"{value:.0f} mHa"

    def plain(value: float, digits: int) -> str:
        text = f"= {value:.{digits}f}" if value > -99.5 else "< -99"
        return text.replace("-", "−")

    def write(ax: Axes, text: str) -> None:
        ax.text(0.04, 0.97, text, transform=ax.transAxes, fontsize=7, va="top", linespacing=1.5)

    r2 = plain(measure.r2(true, predicted), 4)
    write(upper, f"$R^2$ {r2}\nMAE {mae(predicted)}")
    ensemble = [part[key] for key in ("seed", "n_molecules", "temperature_k")]
    within = plain(measure.r2_within(true, predicted, *ensemble), 2)
    mean = mae(part["ensemble_mean_ha"])
    write(lower, f"$R^2$ inside ensembles {within}\nMAE of the $(N, T)$ mean {mean}")


# --- beyond the paper -----------------------------------------------------------------------------


def _baseline_of(rows: pd.DataFrame) -> float:
    return float(rows.loc[rows["predictor"] == "ensemble_mean", "mae_ha"].mean())


@style.styled
def width_matched(tidy: pd.DataFrame, info: Info, words: Mapping[str, Any]) -> Figure:
    """MAE of the six layers at their own width and at one width: does the ranking survive?"""
    w = Words(**words)
    fig, panels = row_of_panels(tidy, 84, left=17, right=25, bottom=14, top=9, gap=38)
    for panel in panels:
        ax, rows = panel.ax, panel.rows
        ends = {}
        for layer in _layers(rows, w):
            own = rows[(rows["layer"] == layer) & (rows["predictor"] == "network")]
            groups = own.groupby("width", sort=False)["mae_ha"]
            mean, error = groups.mean(), groups.std(ddof=1).fillna(0.0)
            shade = colour(w, layer)
            ax.errorbar([0, 1], mean, yerr=error, fmt="o-", color=shade, capsize=2, ms=4.5)
            ends[w.label(layer)] = (float(mean["matched"]), shade)
        base, name = _baseline_of(rows), predictor(w, "ensemble_mean")
        baseline_line(ax, base, name)
        label = error_label(w, "test", "mae", "Ha", panel.value)
        ax.set(xlim=(-0.18, 1.05), ylabel=label)
        style.plain_log(ax)
        ax.set_xticks([0, 1], ["as the paper:\nown width", "lifted to\none width"])
        labels_at_the_right(ax, {**ends, name: (base, style.GREY)})
        panel.title(w)
    style.footer(fig, info, tidy, "bars: standard deviation over seeds")
    return fig


MOVES = {
    "none": ("as it is", "o", style.INK),
    "rotation": ("rotated", "D", style.BLUE),
    "shift": ("shifted", ">", style.VERMILLION),
    "mirror": ("mirrored", "s", style.ORANGE),
}


@style.styled
def symmetry_audit(tidy: pd.DataFrame, info: Info, words: Mapping[str, Any]) -> Figure:
    """Error of each trained network on the test set as it is, rotated, shifted and mirrored."""
    w = Words(**words)
    groups = {g: ", invariant" if g == "corrected" else "" for g in tidy["group"].unique()}
    names = [(g, x) for g in groups for x in _layers(tidy[tidy["group"] == g], w)]
    height = 32 + 6.2 * len(names)
    room = {"left": 31, "right": 5, "bottom": 20, "top": 9, "gap": 8}
    fig, panels = row_of_panels(tidy, height, **room)
    for panel in panels:
        ax = panel.ax
        mean = panel.rows.groupby(["group", "layer", "transformation"])["mae_ha"].mean()
        for i, place in enumerate(names):
            own = {move: mean[(*place, move)] for move in MOVES if (*place, move) in mean}
            if not own:
                continue
            ends = [min(own.values()), max(own.values())]
            ax.plot(ends, [i, i], color=style.PALE, lw=2.2, zorder=1)
            for move, error in own.items():
                label, marker, shade = MOVES[move]
                hollow = {"ms": 5.5, "mfc": "none", "mew": 1.0, "zorder": 4}
                solid = {"ms": 4.2, "mfc": shade, "mew": 0, "zorder": 3}
                look: dict[str, Any] = hollow if move == "none" else solid
                ax.plot(error, i, marker, color=shade, label=label if i == 0 else None, **look)
        first = next((i for i, (group, _) in enumerate(names) if group == "corrected"), None)
        if first:
            ax.axhline(first - 0.5, color=style.GREY, lw=0.5)
        ax.set(ylim=(len(names) - 0.4, -0.6), xlabel=f"test MAE of {w.symbol(panel.value)} (Ha)")
        style.plain_log(ax, "x")
        labels = [w.label(layer) + groups[group] for group, layer in names]
        ax.set_yticks(range(len(names)), labels if panel.letter == "a" else [])
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x", which="major")
        panel.title(w)
    joint_legend(fig, panels[0].ax, 0.55, 4.5)
    note = "mean over seeds; an exact symmetry puts all markers on one point"
    style.footer(fig, info, tidy, note)
    return fig


@style.styled
def grid(tidy: pd.DataFrame, info: Info, words: Mapping[str, Any]) -> Figure:
    """MAE of GATConv over the choices that the paper leaves unstated, the best cell first."""
    w, networks = Words(**words), tidy[tidy["predictor"] == "network"]
    keys = ["batch_size", "learning_rate", "channels", "activation"]
    cells = networks.groupby(keys)["mae_ha"].mean().sort_values().index.tolist()
    labels = [f"batch {b}, rate {r:g}, {c} channels, {a}" for b, r, c, a in cells]
    targets = list(tidy["target"].unique())
    lines, wide = 4.6 * len(cells), 116.0 / len(targets) - 8.0
    fig = style.figure(style.DOUBLE, 34.0 + lines)
    for k, target in enumerate(targets):
        ax = style.place(fig, 54.0 + k * 116.0 / len(targets), 18.0, wide, lines)
        rows = tidy[tidy["target"] == target]
        errors = dict(list(rows[rows["predictor"] == "network"].groupby(keys)["mae_ha"]))
        for lane, cell in enumerate(cells):
            values = errors.get(cell, ())
            ax.plot(values, [lane] * len(values), "o", color=style.BLUE, ms=4.5, mew=0)
        ax.axvline(_baseline_of(rows), color=style.GREY, lw=0.9, ls=(0, (4, 2)))
        ax.annotate(
            predictor(w, "ensemble_mean"),
            (_baseline_of(rows), 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 3),
            textcoords="offset points",
            ha="right",
            fontsize=6.5,
            color=style.GREY,
        )
        names_at_the_left(ax, labels if k == 0 else [""] * len(labels))
        largest = float(rows.loc[rows["predictor"] == "network", "mae_ha"].max())
        ax.set_xlim(0.0, 1.08 * max(largest, _baseline_of(rows)))
        ax.set_xlabel(error_label(w, "test", "mae", "Ha", target))
        style.panel(ax, "ab"[k], w.label(target))
    style.footer(fig, info, tidy, f"{w.label('gat')}; dashed: mean of the ensemble")
    return fig


#: how the layers' rows of the two figures below are placed, mm
_ROWS = {"left": 25.0, "right": 5.0, "top": 9.0, "gap": 8.0}


@style.styled
def search(tidy: pd.DataFrame, info: Info, words: Mapping[str, Any], **_: Any) -> Figure:
    """Validation error of every cell of the search, a row for each layer; ringed: the card's."""
    w = Words(**words)
    layers, rates = _layers(tidy, w), sorted(tidy["learning_rate"].unique())
    fig, panels = row_of_panels(tidy, 34.0 + 8.0 * len(layers), bottom=23.0, **_ROWS)
    looks, cells = shades(rates), ["learning_rate", "channels"]
    most = tidy["channels"].max()
    for panel in panels:
        ax = panel.ax
        for lane, layer in enumerate(layers):
            part = panel.rows[panel.rows["layer"] == layer]
            for (rate, channels), own in part.groupby(cells, dropna=False):
                # a layer without channels of its own has none that are fewer
                marker = "v" if channels < most else "o"
                ax.plot(own["error_ha"], [lane] * len(own), marker, color=looks[rate], mew=0)
            best = part.loc[part["chosen"].astype(bool), "error_ha"]
            ring: dict[str, Any] = {"mfc": "none", "mec": style.INK, "ms": 8.0, "mew": 0.9}
            ax.plot(best, [lane] * len(best), "o", **ring)
        _name_rows(ax, layers, w, panel.letter)
        ax.set_xlabel(error_label(w, "validation", "mae", "Ha", panel.value))
        style.plain_log(ax, "x")
        panel.title(w)
    dots = [Line2D([], [], color=looks[r], marker="o", ls="", label=f"rate {r:g}") for r in rates]
    place = (0.5, 4.5 * style.MM / fig.get_figheight())
    fig.legend(handles=dots, loc="lower center", ncol=len(dots), bbox_to_anchor=place)
    note = f"triangles: fewer than {most:g} channels; ringed: the card's choice"
    style.footer(fig, info, tidy, note)
    return fig


def _name_rows(ax: Axes, layers: list[str], words: Words, letter: str) -> None:
    """Name the rows of the first panel by the layers."""
    names_at_the_left(ax, [words.label(x) if letter == "a" else "" for x in layers])


#: regime of the table -> what it is called, its marker, and how far from the middle of a row
REGIMES = {
    "published": ("published", "D", -0.3),
    "random": ("random split", "o", -0.1),
    "elsewhere": ("the same networks on other trajectories", "^", 0.1),
    "unseen": ("trained for trajectories not seen", "s", 0.3),
}
#: regime and null model -> how it is drawn
NULLS: dict[tuple[str, str], Any] = {
    ("random", "trajectory_mean"): (0, (1, 1)),
    ("unseen", "ensemble_mean"): (0, (4, 2)),
    ("unseen", "n_linear"): "-",
}


@style.styled
def unseen(tidy: pd.DataFrame, info: Info, words: Mapping[str, Any], **_: Any) -> Figure:
    """MAE of six layers by random split and on trajectories that they have not learned from."""
    w = Words(**words)
    layers = _layers(tidy, w)
    fig, panels = row_of_panels(tidy, 45.0 + 10.0 * len(layers), bottom=34.0, **_ROWS)
    for panel in panels:
        ax, rows = panel.ax, panel.rows.set_index("predictor")
        for lane, layer in enumerate(layers):
            own = rows[rows["layer"] == layer]
            for regime, (_label, marker, aside) in REGIMES.items():
                part = own.loc[own["regime"] == regime, "mae_ha"]
                ours = part[part.index == "network"]
                face = "none" if regime == "published" else colour(w, layer)
                shade = style.INK if regime == "published" else face
                look: dict[str, Any] = {"fmt": marker, "color": shade, "mfc": face, "ms": 4.5}
                if len(ours):
                    mean_and_spread(ax, lane + aside, ours, lying=True, **look)
                rest = part[part.index == "random_features"]
                if len(rest):
                    ax.plot(rest.mean(), lane + aside, "x", color=style.GREY, ms=4.0, mew=1.0)
        for (regime, name), dash in NULLS.items():
            level = rows.loc[(rows["regime"] == regime) & (rows.index == name), "mae_ha"]
            if len(level):
                ax.axvline(level.mean(), color=style.GREY, lw=0.9, ls=dash, zorder=1)
        _name_rows(ax, layers, w, panel.letter)
        ax.set_xlabel(error_label(w, "test", "mae", "Ha", panel.value))
        style.plain_log(ax, "x")
        panel.title(w)
    place = (0.5, 4.5 * style.MM / fig.get_figheight())
    fig.legend(handles=_marks(w), loc="lower center", ncol=2, bbox_to_anchor=place, fontsize=6.5)
    style.footer(fig, info, tidy, "mean and standard deviation over seeds")
    return fig


def _marks(words: Words) -> list[Line2D]:
    """Return what the marks and lines of the figure `unseen` mean; colours stand for layers."""
    found = []
    for regime, (label, marker, _) in REGIMES.items():
        face = "none" if regime == "published" else style.INK
        look: dict[str, Any] = {"marker": marker, "mfc": face, "ls": "", "ms": 4.5}
        found.append(Line2D([], [], color=style.INK, label=label, **look))
    label = words.label("random_features")
    found.append(Line2D([], [], color=style.GREY, marker="x", ls="", ms=4.0, label=label))
    for (regime, name), dash in NULLS.items():
        label = f"{predictor(words, name)}, {'random split' if regime == 'random' else 'not seen'}"
        found.append(Line2D([], [], color=style.GREY, lw=0.9, ls=dash, label=label))
    return found


#: geometry -> what it is called and its colour
GEOMETRIES = {
    "classical": ("classical", style.BLUE),
    "centroid": ("centroid of a ring", style.GREEN),
    "bead": ("bead of a ring", style.VERMILLION),
}


@style.styled
def geometries(tidy: pd.DataFrame, info: Info, words: Mapping[str, Any], **_: Any) -> Figure:
    """Energies per molecule of each kind of geometry; |E| that published MAE / MAPE stand for."""
    w = Words(**words)
    layers = _layers(tidy, w)
    fig = style.figure(style.DOUBLE, 130.0)
    width, tall, low = 62.0, 38.0, 22.0
    for k, (value, own) in enumerate(tidy.groupby("target", sort=False)):
        target, left = str(value), 25.0 + k * (width + 14.0)
        ax = style.place(fig, left, low + tall + 20.0, width, tall)
        _per_molecule(ax, own[own["record"] == "frame"])
        ax.set_xlabel(f"{w.symbol(target)} of a molecule (mHa)")
        style.panel(ax, "ab"[k], w.label(target))
        ax.set_ylabel("frames (%)" if k == 0 else "")
        ax = style.place(fig, left, low, width, tall)
        names = _quotients(ax, own, layers, w)
        names_at_the_left(ax, names if k == 0 else [""] * len(names))
        ax.set_xlabel(f"MAE / MAPE, a mean of |{w.symbol(target)}| (Ha)")
        style.panel(ax, "cd"[k])
    joint_legend(fig, fig.axes[0], 0.5, 3.5)
    style.footer(
        fig,
        info,
        tidy,
        "diamonds: published, with rounding; bands: all frames; dots: GATConv trained on them",
    )
    return fig


def _per_molecule(ax: Axes, frames: pd.DataFrame) -> None:
    """Draw the shares of frames of each kind of geometry against the energy of a molecule."""
    energy = 1000.0 * frames["energy_ha"] / frames["n_molecules"]
    edges = np.linspace(energy.min(), energy.max(), 41).tolist()
    for kind, (label, shade) in GEOMETRIES.items():
        part = energy[frames["geometry"] == kind]
        if len(part):
            share = np.full(len(part), 100.0 / len(part))
            ax.hist(part, edges, weights=share, histtype="stepfilled", color=shade, alpha=0.25)
            ax.hist(part, edges, weights=share, histtype="step", color=shade, lw=0.9, label=label)


def _quotients(ax: Axes, rows: pd.DataFrame, layers: list[str], w: Words) -> list[str]:
    """Draw the published quotients over the range of |E| of each kind; return the rows' names."""
    told = rows[rows["record"] == "published"].set_index("layer")
    for lane, layer in enumerate(layers):
        row = told.loc[layer]
        ax.plot([row["low_ha"], row["high_ha"]], [lane, lane], color=style.INK, lw=1.2)
        ax.plot(row["energy_ha"], lane, "D", mfc="white", mec=style.INK, ms=4.0)
    names = [w.label(layer) for layer in layers]
    frames = rows[rows["record"] == "frame"]
    for kind, (label, shade) in GEOMETRIES.items():
        size = frames.loc[frames["geometry"] == kind, "energy_ha"].abs()
        if len(size):
            lane = len(names)
            ax.barh(lane, size.max() - size.min(), 0.6, size.min(), color=shade, alpha=0.35)
            ax.axvline(size.max(), color=shade, lw=0.7, ls=":")
            own = rows[(rows["record"] == "trained") & (rows["geometry"] == kind)]["energy_ha"]
            ax.plot(own, [lane] * len(own), "o", color=shade, mew=0, ms=3.0)
            names.append(label)
    ax.set_xlim(left=0.0)
    return names


# --- forces and dynamics --------------------------------------------------------------------------

#: training groups, whose labels and colours the card has
GROUPS = {"nequip": "forces", "pair": "forces_pair"}
#: how the force errors of atoms are marked
ELEMENTS = {"O": ("oxygen", "none"), "H": ("hydrogen", "full")}


def _trained(info: Info) -> dict[str, tuple[str, str]]:
    """Return label and colour of the potentials with forces."""
    looks = {name: info["looks"][group] for name, group in GROUPS.items()}
    return {name: (look["label"], named(look["colour"])) for name, look in looks.items()}


@style.styled
def forces(tidy: pd.DataFrame, info: Info) -> Figure:
    """Errors of forces (a) and energies (b); is the electron resolved, by its force (c), N (d)."""
    fig = style.figure(style.DOUBLE, 132.0)
    places = ((24, 82, 55, 40), (110, 82, 55, 40), (24, 16, 55, 45), (110, 16, 55, 45))
    axes = [style.place(fig, *place) for place in places]
    errors = tidy[tidy["record"] == "error"]
    total = errors[errors["target"] == "total"]
    looks = _looks(info, total)
    _force_errors(axes[0], total, {n: x for n, x in looks.items() if n != "ensemble_mean"})
    _energy_errors(axes[1], total, looks)
    _resolved_curve(axes[2], tidy)
    _resolved_sizes(axes[3], errors)
    style.footer(fig, info, tidy, "split by trajectory; bars: standard deviation over seeds")
    return fig


Looks = Mapping[str, tuple[str, str, str]]


def _looks(info: Info, total: pd.DataFrame) -> Looks:
    """Return label, colour and marker of the predictors of a table, in drawing order."""
    trained = _trained(info)
    looks = {
        "nequip": (*trained["nequip"], "o"),
        "exact_water": ("exact water,\nno electron", style.VERMILLION, "D"),
        "pair": (*trained["pair"], "s"),
        "ensemble_mean": (r"$(N, T)$ mean", style.GREY, "^"),
        "composition": ("composition,\nno forces", style.INK, "v"),
    }
    return {name: look for name, look in looks.items() if (total["predictor"] == name).any()}


def _errors(
    ax: Axes, total: pd.DataFrame, column: str, parts: Mapping[str, str], looks: Looks
) -> None:
    """Draw an error of every predictor in a row, on `parts` of the atoms, filled as these say."""
    for i, (name, (_, shade, marker)) in enumerate(looks.items()):
        for part, fill in parts.items():
            chosen = (total["predictor"] == name) & (total["name"] == part)
            look: dict[str, Any] = {"fmt": marker, "color": shade, "fillstyle": fill, "ms": 5}
            mean_and_spread(ax, i, total.loc[chosen, column], lying=True, **look)
    names_at_the_left(ax, [label for label, _, _ in looks.values()])
    style.plain_log(ax, "x")


def _force_errors(ax: Axes, total: pd.DataFrame, looks: Looks) -> None:
    parts = {element: fill for element, (_, fill) in ELEMENTS.items()}
    _errors(ax, total, "force_rmse_ev_per_a", parts, looks)
    for label, fill in ELEMENTS.values():
        ax.plot([], [], "o", color=style.INK, fillstyle=fill, ms=4.5, label=label)  # type: ignore[arg-type]
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, -0.02), handletextpad=0.2)
    ax.set_xlabel("RMSE of force components (eV/Å)")
    style.panel(ax, "a", "forces of the total energy")


def _energy_errors(ax: Axes, total: pd.DataFrame, looks: Looks) -> None:
    words = {"exact_water": "exact water,\n" r"$(N, T)$ mean $E_0$", "composition": "composition"}
    told = {name: (words.get(name, look[0]), *look[1:]) for name, look in looks.items()}
    _errors(ax, total, "energy_rmse_mev_per_atom", {"all": "full"}, told)
    ax.set_xlabel("RMSE of energies (meV/atom)")
    style.panel(ax, "b", r"total energy $V + E_0$")


#: (predictor, target) of the curves: label, colour, line style
CURVES = {
    ("exact_water", "total"): ("exact water, no electron", style.VERMILLION, (0, (4, 2))),
    ("nequip", "total"): (r"NequIP of $V + E_0$", style.BLUE, "-"),
    ("nequip", "electronic"): (r"NequIP of $E_0$ alone", style.SKY, "-"),
}


def _resolved_curve(ax: Axes, tidy: pd.DataFrame) -> None:
    rows = tidy[tidy["record"] == "curve"]
    # the groups of each training have means of their own: seeds are drawn side by side
    for (name, target), (label, shade, dashes) in CURVES.items():
        own = rows[(rows["predictor"] == name) & (rows["target"] == target)]
        for k, (_, part) in enumerate(own.groupby("seed")):
            part = part.sort_values("x")
            mark = "o" if name == "nequip" else None
            stroke: dict[str, Any] = {"ls": dashes, "marker": mark, "ms": 2.5, "lw": 1.0}
            x, y = part["x"], part["force_rmse_ev_per_a"]
            ax.plot(x, y, color=shade, label=label if k == 0 else None, **stroke)
    ax.set(
        xlabel=r"electron's force on the atom $|F_{E_0}|$ (eV/Å)",
        ylabel="RMSE of force components\n(eV/Å)",
    )
    style.plain_log(ax, "x")
    style.plain_log(ax, "y")
    ax.legend(loc="upper left", bbox_to_anchor=(-0.02, 1.02))
    style.panel(ax, "c", "better than no electron, and where?")


def _resolved_sizes(ax: Axes, errors: pd.DataFrame) -> None:
    sizes = sorted(int(n.split("=")[1]) for n in set(errors["name"]) if "n_molecules=" in n)
    states = [s for s in ("surface", "interior") if (errors["name"] == f"state={s}").any()]
    # where each part of the frames stands along the axis, and its mark
    ends = [len(sizes) + 0.5 + k for k in range(len(states))]
    places = {f"n_molecules={n}": (float(i), "o") for i, n in enumerate(sizes)}
    places |= {f"state={s}": (x, "s") for s, x in zip(states, ends, strict=True)}
    networks = errors[errors["predictor"] == "nequip"]
    for target, aside in (("total", 0.1), ("electronic", -0.1)):
        label, shade, _ = CURVES["nequip", target]
        own = networks[networks["target"] == target]
        for name, (x, marker) in places.items():
            values = own.loc[own["name"] == name, "resolved"]
            if len(values):
                mean_and_spread(ax, x + aside, values, fmt=marker, color=shade, ms=4.5)
        ax.plot([], [], "o", color=shade, ms=4, label=label)
    ax.axhline(0.0, color=style.VERMILLION, lw=1.0, ls=(0, (4, 2)))
    ax.axhline(1.0, color=style.INK, lw=0.5)
    ax.set_xticks([*range(len(sizes)), *ends], [*map(str, sizes), *states])
    for tick in ax.get_xticklabels()[len(sizes) :]:
        tick.set_rotation(25)
    low = min(-0.25, float(networks["resolved"].min()) - 0.1)
    ax.set_ylim(max(low, -3.0), 1.08)
    ax.set(
        xlim=(-0.5, len(sizes) + len(states)),
        xlabel="molecules $N$, and states of the electron",
        ylabel="share of the electron's\nforce resolved",
    )
    style.panel(ax, "d", "share resolved (1: all, 0: none)")


@style.styled
def anion_md(tidy: pd.DataFrame, info: Info) -> Figure:
    """Dynamics by learned forces and by the reference's: heat, energy, structure, the electron."""
    moved = {"reference": ("reference", style.INK)} | _trained(info)
    look = dynamics.Look(*({name: x[k] for name, x in moved.items()} for k in (0, 1)))
    height = 160.0
    fig = style.figure(style.DOUBLE, height)
    axes = [style.place(fig, x, y, 37, 32) for y in (116, 66, 16) for x in (17, 74, 130)]
    dynamics.temperature(axes[0], tidy, look)
    dynamics.conservation(axes[1], tidy, look)
    dynamics.step_times(axes[2], tidy, look)
    for ax, record, name, along in (
        (axes[3], "rdf", "O-O", ("distance O–O (Å)", "density (1/Å)")),
        (axes[4], "rdf", "O-H", ("distance O–H (Å)", "density (1/Å)")),
        (axes[5], "profile", "O", ("distance from the centre (Å)", "oxygen atoms (1/Å)")),
    ):
        dynamics.distribution(ax, tidy, look, name, record)
        dynamics.write_lines(ax, dynamics.errors_text(tidy, look, name, record))
        ax.set(xlabel=along[0], ylabel=along[1])
    dynamics.spectrum(axes[6], tidy, look)
    dynamics.write_lines(axes[6], dynamics.errors_text(tidy, look, "total", "vdos"))
    _on_path(axes[7], axes[8], tidy, look)
    titles = (
        *("temperature", "conserved energy", "time of one step"),
        *("O–O distances", "O–H distances", "profile"),
        *("vibrations", "the electron", "force error on the path"),
    )
    for letter, ax, title in zip("abcdefghi", axes, titles, strict=True):
        style.panel(ax, letter, title)
    names = look.present(tidy)
    for n in names:
        axes[0].plot([], [], color=look.colours[n], lw=2.0, label=look.labels[n])
    named = axes[0].get_legend_handles_labels()
    fig.legend(*named, loc="upper center", ncol=3, bbox_to_anchor=(0.5, 1.0 - 1.0 / height))
    counts = {n: dynamics.failures(tidy, n) for n in names}
    failed = ", ".join(f"{look.labels[n]} {k} of {m}" for n, (k, m) in counts.items())
    note = f"lines, bands: mean and range over replicas; replicas that failed: {failed}"
    style.footer(fig, info, tidy, note)
    return fig


def _on_path(left: Axes, right: Axes, tidy: pd.DataFrame, look: dynamics.Look) -> None:
    """Draw what the reference says of the frames on the way: E_0, and how wrong forces are."""
    name = "electronic_energy_ev"
    dynamics.on_path(left, tidy, look, name)
    left.set_ylabel(r"exact $E_0$ on the path (eV)")
    low, high = left.get_ylim()
    left.set_ylim(low, high + 0.35 * (high - low))
    dynamics.write_lines(left, dynamics.errors_text(tidy, look, name, "relabel", "eV off"))
    dynamics.on_path(right, tidy, look, "force_rmse_ev_per_a")
    right.set_ylabel("RMSE of force\ncomponents (eV/Å)")
    right.set_ylim(bottom=0.0)

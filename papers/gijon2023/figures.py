"""Figures of gijon2023 (water cluster anions): one function per artefact, from its tidy table.

Every function takes the tidy DataFrame that `gijon2023.tables` wrote and `info` (tier,
reference, card) and returns a matplotlib Figure at print size. Published values are drawn hollow or
grey, ours solid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gnnip.artefacts import dynamics_panels as dynamics
from gnnip.artefacts import style
from gnnip.artefacts.scene import Scene, rotation_to, vertex_normals

Info = Mapping[str, Any]

OXYGEN, HYDROGEN, BOND, ELECTRON = np.array(
    [[0.80, 0.22, 0.16], [0.93, 0.93, 0.95], [0.62, 0.66, 0.72], [0.12, 0.46, 0.86]]
)
HYDROGEN_BOND = 2.2  #: Å, the longest O...H that is drawn


@style.styled
def fig1(tidy: pd.DataFrame, info: Info) -> Figure:
    """Surface (a) and interior (b) state: the cluster and the excess electron's isosurface."""
    states = [s for s in ("surface", "interior") if (tidy["state"] == s).any()]
    views = {s: _View(tidy[tidy["state"] == s], s) for s in states}
    # one window, so one scale, for both panels; the page is as high as the clusters need
    half_x, half_y = (max(v.half[k] for v in views.values()) + 0.8 for k in (0, 1))
    half_x = max(half_x, half_y)
    bottom, top, panel = 10.0, 14.0, style.DOUBLE / 2 * half_y / half_x
    height = bottom + panel + top
    fig = style.figure(style.DOUBLE, height)
    for column, state in enumerate(("surface", "interior")):
        ax = fig.add_axes((0.5 * column, bottom / height, 0.5, panel / height))
        ax.axis("off")
        if state not in views:
            ax.text(0.5, 0.5, f"no {state} state in this data set", ha="center", color=style.GREY)
            continue
        view = views[state]
        image = view.render(half_x, half_y)
        ax.imshow(image, extent=(-half_x, half_x, -half_y, half_y), aspect="equal")
        p = view.properties
        left = 0.5 * column + 0.012
        title = f"({'ab'[column]})  {state} state"
        fig.text(left, 1 - 2 / height, title, va="top", fontsize=9, fontweight="bold")
        facts = (
            rf"(H$_2$O)$_{{{p['n_molecules']:.0f}}}^-$, {p['temperature_k']:.0f} K:  "
            rf"$E_0$ = ${p['energy_ha']:.3f}$ Ha,  $r_g$ = {p['gyration_radius_a']:.1f} Å"
        )
        fig.text(left, 1 - 7.5 / height, facts, va="top", fontsize=7.5)
        if column == 0:
            _scale_bar(ax, half_x, half_y)
    enclosed = next((v.properties["enclosed"] for v in views.values()), None)
    note = f"blue: surface that encloses {100 * enclosed:.0f} % of the electron" if enclosed else ""
    style.footer(fig, info, tidy, note)
    return fig


def _scale_bar(ax: Axes, half_width: float, half: float) -> None:
    """Draw 5 Å below the picture, where no atom can be."""
    x, y = -half_width * 0.97, -half - 0.3
    ax.plot([x, x + 5.0], [y, y], color=style.INK, lw=1.6, solid_capstyle="butt", clip_on=False)
    ax.text(x + 5.3, y, "5 Å", ha="left", va="center", fontsize=7)
    ax.set(xlim=(-half_width, half_width), ylim=(-half, half))


class _View:
    """One cluster turned so that its electron is seen."""

    def __init__(self, rows: pd.DataFrame, state: str) -> None:
        atoms = rows[rows["record"] == "atom"].sort_values("index")
        mesh = rows[rows["record"] == "vertex"].sort_values("index")
        faces = rows[rows["record"] == "triangle"].sort_values("index")
        named = rows[rows["record"] == "property"]
        self.properties = dict(zip(named["name"], named["value"].astype(float), strict=True))
        self.numbers = atoms["number"].to_numpy(dtype=int)
        xyz = atoms[["x_a", "y_a", "z_a"]].to_numpy(dtype=float)
        vertices = mesh[["x_a", "y_a", "z_a"]].to_numpy(dtype=float)
        self.triangles = faces[["a", "b", "c"]].to_numpy(dtype=int)
        middle = xyz.mean(axis=0)
        electron = vertices.mean(axis=0) - middle
        # a surface electron sits at the right, a little towards the viewer
        turn = (
            rotation_to(electron, np.array([1.0, 0.28, 0.35])) if state == "surface" else np.eye(3)
        )
        self.xyz = (xyz - middle) @ turn.T
        self.vertices = (vertices - middle) @ turn.T
        everything = np.concatenate([self.xyz, self.vertices])[:, :2]
        low, high = everything.min(axis=0), everything.max(axis=0)
        self.centre = tuple((low + high) / 2)
        self.half = (high - low) / 2
        self.state = state

    def render(self, half_width: float, half_height: float) -> np.ndarray:
        """Return the RGBA image of the window at about 300 dpi of the printed panel."""
        scale = 1004 / (2 * half_width)
        scene = Scene(self.centre, 2 * half_width, 2 * half_height, scale)
        palette = {8: OXYGEN, 1: HYDROGEN}
        radius = {8: 0.62, 1: 0.36}
        electron = self.vertices.mean(axis=0)
        reach = np.linalg.norm(self.vertices - electron, axis=1).max() + 1.0
        offset = self.xyz - electron
        # what would hide an interior electron is drawn as glass, whole molecules at a time
        hides = (offset[:, 2] > 0.0) & (np.hypot(offset[:, 0], offset[:, 1]) < reach)
        oxygens = np.flatnonzero(self.numbers == 8)
        for oxygen in oxygens:
            ghost = bool(self.state == "interior" and hides[oxygen])
            scene.sphere(self.xyz[oxygen], radius[8], palette[8], ghost)
            for h in (oxygen + 1, oxygen + 2):
                middle = 0.45 * self.xyz[oxygen] + 0.55 * self.xyz[h]
                scene.stick(self.xyz[oxygen], middle, 0.17, palette[8], ghost)
                scene.stick(middle, self.xyz[h], 0.17, palette[1], ghost)
                scene.sphere(self.xyz[h], radius[1], palette[1], ghost)
                others = oxygens[oxygens != oxygen]
                gap = np.linalg.norm(self.xyz[others] - self.xyz[h], axis=1)
                for partner in others[gap < HYDROGEN_BOND]:
                    faint = ghost or bool(self.state == "interior" and hides[partner])
                    scene.dashes(self.xyz[h], self.xyz[partner], 0.05, BOND, faint)
        normals = vertex_normals(self.vertices, self.triangles)
        sheets = scene.surface(self.vertices, normals, self.triangles)
        depth = self.xyz[:, 2]
        return scene.composite(
            sheets, ELECTRON, surface_alpha=0.36, fog=(float(depth.min()), float(depth.max()) - 2.0)
        )


# --- accuracy -------------------------------------------------------------------------------------

LAYERS = {
    "crystal": "CrystalConv",
    "gat": "GATConv",
    "gcs": "GCSConv",
    "ecc": "ECCConv",
    "agnn": "AGNNConv",
    "general": "GeneralConv",
}
COLOURS = {
    "crystal": style.VERMILLION,
    "gat": style.BLUE,
    "gcs": style.ORANGE,
    "ecc": style.PURPLE,
    "agnn": style.GREEN,
    "general": style.SKY,
}
TARGETS = {"atomic": r"atomic term $V$", "electronic": r"electronic term $E_0$"}
BASELINES = {
    "constant": "constant",
    "n_linear": r"linear in $N$",
    "ensemble_mean": r"$(N, T)$ mean",
}


def _targets(tidy: pd.DataFrame) -> list[str]:
    return [t for t in TARGETS if (tidy["target"] == t).any()]


def _figure(targets: list[str], height_mm: float) -> Figure:
    """Return a figure as wide as its panels need: one term alone is not stretched over the page."""
    return style.figure(style.DOUBLE if len(targets) > 1 else style.MIDDLE, height_mm)


def _axes(
    fig: Figure, columns: int, *, left: float, right: float, bottom: float, top: float, gap: float
) -> list[Axes]:
    """Return a row of axes with margins and gap in mm."""
    width, height = fig.get_figwidth() / style.MM, fig.get_figheight() / style.MM
    each = (width - left - right - gap * (columns - 1)) / columns
    return [
        fig.add_axes(
            (
                (left + i * (each + gap)) / width,
                bottom / height,
                each / width,
                (height - bottom - top) / height,
            )
        )
        for i in range(columns)
    ]


def _baseline_line(ax: Axes, value: float, label: str = r"$(N, T)$ mean") -> None:
    ax.axhline(value, color=style.GREY, lw=0.9, ls=(0, (4, 2)), zorder=1, label=label)


@style.styled
def table1(tidy: pd.DataFrame, info: Info) -> Figure:
    """Table 1: ours (mean and standard deviation over seeds) beside the published numbers.

    To the right of each row the MAE relative to the (N, T) mean: filled ours, hollow published.
    """
    targets = _targets(tidy)
    layers = [x for x in LAYERS if ((tidy["layer"] == x) & (tidy["source"] == "ours")).any()]
    n_rows = len(layers) + len(BASELINES)
    row, head, gap = 4.3, 13.5, 5.0
    height = 3.0 + len(targets) * (head + n_rows * row + 2.0) + gap * (len(targets) - 1) + 11.0
    fig = style.figure(style.DOUBLE, height)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, style.DOUBLE), ylim=(height, 0))
    ax.axis("off")
    top = 3.0
    for letter, target in zip("ab", targets, strict=False):
        part = tidy[tidy["target"] == target]
        _table_block(fig, ax, part, layers, top, row, head, f"({letter})  {TARGETS[target]}")
        top += head + n_rows * row + 2.0 + gap
    ax.text(
        3.0,
        height - 8.3,
        "ours: mean ± standard deviation over seeds, bold: best layer; published: grey, hollow. "
        r"$R^2_{N,T}$: within $(N, T)$ ensembles; their means score 0.",
        fontsize=6,
        color=style.INK,
        va="center",
    )
    style.footer(fig, info, tidy)
    return fig


def _table_block(
    fig: Figure,
    ax: Axes,
    part: pd.DataFrame,
    layers: list[str],
    top: float,
    row: float,
    head: float,
    title: str,
) -> None:
    squared = 3 if part["target"].iloc[0] == "atomic" else 5
    groups = {
        "mae_ha": (49.5, "MAE (mHa)", 1e3),
        "mse_ha2": (76.5, rf"MSE (10$^{{-{squared}}}$ Ha$^2$)", 10.0**squared),
        "mape_percent": (102.0, "MAPE (%)", 1.0),
    }
    single = {"r2": (125.5, r"$R^2$"), "r2_within": (136.5, r"$R^2_{N,T}$")}
    strip = (141.0, 166.0)
    ax.text(3.0, top + 2.2, title, fontsize=8, fontweight="bold", va="center")
    ax.plot([3, 167], [top + 5.0] * 2, color=style.INK, lw=0.8)
    ax.text(3.0, top + 10.0, "layer", fontsize=7, va="center")
    ax.text(35.5, top + 10.0, "weights", fontsize=7, va="center", ha="right")
    for x, label, _ in groups.values():
        ax.text(x + 2.5, top + 7.2, label, fontsize=7, ha="center", va="center")
        ax.text(x, top + 10.9, "ours", fontsize=6, ha="center", va="center")
        ax.text(
            x + 13.5, top + 10.9, "publ.", fontsize=6, ha="right", va="center", color=style.GREY
        )
        ax.plot([x - 9.0, x + 13.5], [top + 9.1] * 2, color=style.GREY, lw=0.4)
    for x, label in single.values():
        ax.text(x, top + 10.0, label, fontsize=7, ha="right", va="center")
    ax.plot([3, 167], [top + head - 0.7] * 2, color=style.INK, lw=0.5)
    ours = part[part["source"] == "ours"].groupby("layer")
    base = part[part["source"] == "baseline"].groupby("layer")
    known = part[part["source"] == "published"].set_index("layer")
    mean, spread = ours.mean(numeric_only=True), ours.std(ddof=1, numeric_only=True)
    base_mean = base.mean(numeric_only=True)
    lines = [(x, mean, spread) for x in layers]
    lines += [(x, base_mean, base.std(ddof=1, numeric_only=True)) for x in BASELINES]
    for i, (name, means, spreads) in enumerate(lines):
        y = top + head + (i + 0.5) * row
        is_layer = name in LAYERS
        if i % 2 == 0:
            ax.axhspan(
                y - row / 2, y + row / 2, xmin=3 / 170, xmax=167 / 170, color="#F6F6F6", lw=0
            )
        if i == len(layers):
            ax.plot([3, 167], [y - row / 2] * 2, color=style.GREY, lw=0.5)
        label = LAYERS.get(name, BASELINES.get(name, name))
        ax.text(3.0, y, label, fontsize=7, va="center", style="normal" if is_layer else "italic")
        if is_layer and np.isfinite(_at(means, name, "n_parameters")):
            weights = f"{_at(means, name, 'n_parameters'):,.0f}"
            ax.text(35.5, y, weights, fontsize=6.5, va="center", ha="right")
        for column, (x, _, scale) in groups.items():
            value = scale * _at(means, name, column)
            text = _with_spread(value, scale * _at(spreads, name, column))
            best = is_layer and _at(means, name, column) == mean.loc[layers, column].min()
            ax.text(
                x,
                y,
                text,
                fontsize=6.5,
                ha="center",
                va="center",
                fontweight="bold" if best else "normal",
            )
            if name in known.index and column in known:
                published = scale * _at(known, name, column)
                ax.text(
                    x + 13.5,
                    y,
                    f"{published:.4g}",
                    fontsize=6.5,
                    ha="right",
                    va="center",
                    color=style.GREY,
                )
        for column, (x, _) in single.items():
            value = _at(means, name, column)
            text = f"{value:.2f}" if value > -9.95 else f"{value:.0f}" if value > -99.5 else "< -99"
            ax.text(x, y, text.replace("-", "−"), fontsize=6.5, ha="right", va="center")
    ax.plot([3, 167], [top + head + len(lines) * row] * 2, color=style.INK, lw=0.8)
    _ratio_strip(fig, ax, strip, top, row, head, lines, known, base_mean)


def _ratio_strip(
    fig: Figure,
    ax: Axes,
    strip: tuple[float, float],
    top: float,
    row: float,
    head: float,
    lines: list[tuple[str, pd.DataFrame, pd.DataFrame]],
    known: pd.DataFrame,
    base_mean: pd.DataFrame,
) -> None:
    """Draw MAE over the MAE of the (N, T) mean on a logarithmic axis beside the rows."""
    unit = _at(base_mean, "ensemble_mean", "mae_ha")
    values = [_at(m, name, "mae_ha") / unit for name, m, _ in lines]
    if "mae_ha" in known:
        values += list(known["mae_ha"] / unit)
    low = 10 ** np.floor(np.log10(min([*values, 0.5])))
    high = 10 ** np.ceil(np.log10(max([*values, 2.0])))
    width, height = style.DOUBLE, fig.get_figheight() / style.MM
    box = fig.add_axes(
        (
            strip[0] / width,
            1.0 - (top + head + len(lines) * row) / height,
            (strip[1] - strip[0]) / width,
            len(lines) * row / height,
        )
    )
    box.set(xscale="log", xlim=(low, high), ylim=(len(lines), 0))
    box.patch.set_alpha(0.0)
    for side in ("left", "bottom", "top"):
        box.spines[side].set_visible(False)
    box.set_yticks([])
    box.xaxis.tick_top()
    box.tick_params(axis="x", which="both", labelsize=5.5, length=1.5, pad=0.5)
    box.axvline(1.0, color=style.GREY, lw=0.8, ls=(0, (4, 2)))
    for i, (name, means, spreads) in enumerate(lines):
        value = _at(means, name, "mae_ha") / unit
        if name in LAYERS:
            error = _at(spreads, name, "mae_ha") / unit
            if np.isfinite(error):
                ends = [max(value - error, low), value + error]
                box.plot(ends, [i + 0.5] * 2, color=COLOURS[name], lw=1.2)
            box.plot(value, i + 0.5, "o", color=COLOURS[name], ms=3.8)
            if name in known.index:
                published = _at(known, name, "mae_ha") / unit
                box.plot(
                    published, i + 0.5, "o", mfc="none", mec=style.INK, ms=3.8, mew=0.7, zorder=3
                )
        else:
            box.plot(value, i + 0.5, "|", color=style.INK, ms=6, mew=1.2)
    ax.text(
        sum(strip) / 2,
        top + 7.2,
        r"MAE relative to $(N, T)$ mean",
        fontsize=6,
        ha="center",
        va="center",
    )


def _at(table: pd.DataFrame, row: str, column: str) -> float:
    value: Any = table.at[row, column]
    return float(value)


def _with_spread(value: float, spread: float) -> str:
    """Return "0.0210 ± 0.0025", rounded to the digits that the spread leaves."""
    size = spread if np.isfinite(spread) and spread > 0 else abs(value) / 10
    if not np.isfinite(value) or size == 0:
        return f"{value:.3g}"
    # two digits of the spread when it begins with 1, else one
    digits = 1 if size / 10 ** np.floor(np.log10(size)) < 1.95 else 0
    decimals = int(np.clip(digits - np.floor(np.log10(size)), 0, 6))
    text = f"{value:.{decimals}f}"
    return f"{text} ± {spread:.{decimals}f}" if np.isfinite(spread) and spread > 0 else text


@style.styled
def fig2(tidy: pd.DataFrame, info: Info) -> Figure:
    """Predicted against reference energies, and the same relative to the ensemble means."""
    targets = _targets(tidy)
    fig = style.figure(style.DOUBLE, 158)
    sizes = sorted(tidy["n_molecules"].unique())
    colours = _size_colours(sizes)
    for column, target in enumerate(targets):
        part = tidy[tidy["target"] == target]
        left = (15 + column * 77) / style.DOUBLE
        upper = fig.add_axes((left, 92 / 158, 62 / style.DOUBLE, 58 / 158))
        lower = fig.add_axes((left, 16 / 158, 62 / style.DOUBLE, 58 / 158))
        style.panel(upper, "ab"[column], TARGETS[target])
        style.panel(lower, "cd"[column], r"the same, relative to the $(N, T)$ mean")
        symbol = "V" if target == "atomic" else "E_0"
        _parity(upper, part, "true_ha", "predicted_ha", colours, 1.0)
        upper.set(xlabel=rf"${symbol}$ reference (Ha)", ylabel=rf"${symbol}$ predicted (Ha)")
        # how far both lie from what N and T alone tell, in mHa
        deviation = part.assign(
            true=part["true_ha"] - part["ensemble_mean_ha"],
            predicted=part["predicted_ha"] - part["ensemble_mean_ha"],
        )
        _parity(lower, deviation, "true", "predicted", colours, 1e3)
        lower.axhline(0.0, color=style.GREY, lw=0.9, ls=(0, (4, 2)), zorder=1)
        lower.set(
            xlabel=rf"${symbol}$ reference − $(N, T)$ mean (mHa)",
            ylabel=rf"${symbol}$ predicted − $(N, T)$ mean (mHa)",
        )
        _parity_notes(upper, lower, part)
    _size_legend(fig, colours, (15 + 77 * len(targets) - 9) / style.DOUBLE)
    style.footer(fig, info, tidy, f"{LAYERS.get(str(tidy['layer'].iloc[0]), '')}, test frames")
    return fig


def _size_colours(sizes: list[int]) -> dict[int, Any]:
    import matplotlib as mpl

    shades = mpl.colormaps[style.ORDERED](np.linspace(0.0, 0.92, max(len(sizes), 2)))
    return dict(zip(sizes, shades, strict=False))


def _size_legend(fig: Figure, colours: dict[int, Any], x: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", ls="", color=c, ms=4, label=f"{n}") for n, c in colours.items()
    ]
    fig.legend(
        handles=handles,
        title="$N$",
        loc="upper left",
        bbox_to_anchor=(x, 0.96),
        handletextpad=0.1,
        borderaxespad=0,
        title_fontsize=7,
    )


def _parity(
    ax: Axes, rows: pd.DataFrame, x: str, y: str, colours: dict[int, Any], scale: float
) -> None:
    shuffled = rows.sample(frac=1.0, random_state=0)  # so that no size hides another
    ax.scatter(
        scale * shuffled[x],
        scale * shuffled[y],
        s=9,
        c=[colours[n] for n in shuffled["n_molecules"]],
        alpha=0.75,
        linewidths=0,
        zorder=2,
    )
    values = scale * rows[[x, y]].to_numpy()
    low, high = float(values.min()), float(values.max())
    if scale != 1.0:
        # a few wild predictions must not squeeze the rest: the window follows the reference
        reach = 1.6 * float(np.abs(scale * rows[x]).max())
        low, high = -reach, reach
        outside = int((np.abs(scale * rows[y]) > reach).sum())
        if outside:
            ax.text(
                0.98,
                0.02,
                f"{outside} of {len(rows)} points outside",
                transform=ax.transAxes,
                fontsize=6,
                ha="right",
                color=style.GREY,
            )
    pad = 0.04 * (high - low)
    ends = (low - pad, high + pad)
    ax.plot(ends, ends, color=style.INK, lw=0.7, zorder=1)
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    for side in (ax.xaxis, ax.yaxis):
        side.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _parity_notes(upper: Axes, lower: Axes, part: pd.DataFrame) -> None:
    true, predicted = part["true_ha"], part["predicted_ha"]
    base = part["ensemble_mean_ha"]

    def r2(guess: pd.Series, centre: pd.Series | float) -> float:
        return float(1.0 - ((true - guess) ** 2).sum() / ((true - centre) ** 2).sum())

    def mae(guess: pd.Series) -> str:
        value = 1e3 * (guess - true).abs().mean()
        return f"{value:.2g} mHa" if value < 100 else f"{value:.0f} mHa"

    def plain(value: float, digits: int) -> str:
        text = f"= {value:.{digits}f}" if value > -99.5 else "< -99"
        return text.replace("-", "−")

    place: dict[str, Any] = {"fontsize": 7, "va": "top", "linespacing": 1.5}
    upper.text(
        0.04,
        0.97,
        f"$R^2$ {plain(r2(predicted, float(true.mean())), 4)}\nMAE {mae(predicted)}",
        transform=upper.transAxes,
        **place,
    )
    own = part.groupby(["seed", "n_molecules", "temperature_k"])["true_ha"].transform("mean")
    count = part.groupby(["seed", "n_molecules", "temperature_k"])["true_ha"].transform("size")
    kept = count > 1
    spread = ((true - own)[kept] ** 2).sum()
    within = 1.0 - ((true - predicted)[kept] ** 2).sum() / spread if spread > 0 else float("nan")
    lower.text(
        0.04,
        0.97,
        f"$R^2$ inside ensembles {plain(within, 2)}\nMAE of the $(N, T)$ mean {mae(base)}",
        transform=lower.transAxes,
        **place,
    )


# --- timing ---------------------------------------------------------------------------------------

METHODS = {
    "solver": ("our solver, $V + E_0$", style.VERMILLION, "o"),
    "network": ("GATConv, one at a time", style.BLUE, "s"),
    "network_batched": ("GATConv, batched", style.SKY, "^"),
}


@style.styled
def fig3(tidy: pd.DataFrame, info: Info) -> Figure:
    """Evaluation time against N with fitted exponents; published scales as bands; the ratio."""
    fig = style.figure(style.DOUBLE, 82)
    left = fig.add_axes((15 / 170, 16 / 82, 92 / 170, 58 / 82))
    right = fig.add_axes((124 / 170, 16 / 82, 42 / 170, 58 / 82))
    sizes = np.array(sorted(tidy["n_molecules"].unique()), dtype=float)
    ends = np.array([sizes.min() / 1.12, sizes.max() * 1.12])
    for low, text in (
        (1.0, "published: solver, “seconds”"),
        (1e-3, "published: network, “milliseconds”"),
    ):
        left.axhspan(low, 10 * low, color="#EDEDED", lw=0, zorder=0)
        left.text(
            ends[1] / 1.03, 1.2 * low, text, fontsize=6.5, color=style.GREY, va="bottom", ha="right"
        )
    for method, (label, colour, marker) in METHODS.items():
        part = tidy[tidy["method"] == method]
        if part.empty:
            continue
        left.plot(
            part["n_molecules"], part["seconds"], marker, color=colour, ms=2.2, alpha=0.35, mew=0
        )
        median = part.groupby("n_molecules")["seconds"].median()
        if "exponent" in part and part["exponent"].notna().any():
            fit = part.iloc[0]
            half = (fit["exponent_high"] - fit["exponent_low"]) / 2
            label += rf"  ($N^{{{fit['exponent']:.2f} \pm {half:.2f}}}$)"
            left.plot(ends, fit["prefactor_s"] * ends ** fit["exponent"], color=colour, lw=0.9)
        left.plot(median.index, median, marker, color=colour, ms=4.5, label=label, mew=0)
    left.set(
        xscale="log",
        yscale="log",
        xlim=ends,
        xlabel="number of molecules $N$",
        ylabel="time per evaluation (s)",
    )
    low, high = float(tidy["seconds"].min()), float(tidy["seconds"].max())
    left.set_ylim(min(low / 2.5, 4e-4), max(high * 30, 4000.0))
    left.set_xticks(sizes, [f"{n:.0f}" for n in sizes])
    left.minorticks_off()
    left.legend(
        loc="upper left",
        title="line: fitted power of $N$, ± 95 % interval" if "exponent" in tidy else None,
        title_fontsize=6.5,
        alignment="left",
    )
    style.panel(left, "a", "time of one total energy")
    style.panel(right, "b", "solver over network")
    _ratio_panel(right, tidy, sizes, ends)
    hardware = str(tidy["hardware"].iloc[0]) if "hardware" in tidy else ""
    style.footer(fig, info, tidy, hardware)
    return fig


def _ratio_panel(ax: Axes, tidy: pd.DataFrame, sizes: np.ndarray, ends: np.ndarray) -> None:
    median = tidy.groupby(["method", "n_molecules"])["seconds"].median()
    top = 1000.0
    for method, (_, colour, marker) in METHODS.items():
        if method == "solver" or not {method, "solver"} <= set(tidy["method"]):
            continue
        ratio = (median["solver"] / median[method]).dropna()
        ax.plot(ratio.index, ratio, marker + "-", color=colour, ms=4.5, mew=0)
        top = max(top, float(ratio.max()))
    ax.axhline(1000.0, color=style.GREY, lw=0.9, ls=(0, (4, 2)))
    ax.text(
        ends[0] * 1.06, 1080.0, "published: about 1000", fontsize=6.5, color=style.GREY, va="bottom"
    )
    ax.axhline(1.0, color=style.INK, lw=0.6)
    ax.set(
        xscale="log",
        yscale="log",
        xlim=ends,
        ylim=(0.5, 4.0 * top),
        xlabel="$N$",
        ylabel="ratio of times",
    )
    shown = sizes[:: max(1, len(sizes) // 4)]
    ax.set_xticks(shown, [f"{n:.0f}" for n in shown])
    ax.minorticks_off()


# --- scans ----------------------------------------------------------------------------------------


@style.styled
def cutoff_scan(tidy: pd.DataFrame, info: Info) -> Figure:
    """MAE against the cutoff, every seed and the mean; neighbours per atom on the upper axis."""
    targets = _targets(tidy)
    fig = _figure(targets, 76)
    axes = _axes(fig, len(targets), left=17, right=5, bottom=15, top=21, gap=20)
    around = tidy.drop_duplicates("cutoff").set_index("cutoff")["neighbours"].sort_index()
    for letter, ax, target in zip("ab", axes, targets, strict=False):
        part = tidy[tidy["target"] == target]
        networks = part[part["predictor"] == "network"]
        ax.axvline(6.0, color=style.PALE, lw=5, zorder=0)
        _seeds_and_mean(ax, networks, "cutoff", style.BLUE, "GATConv")
        base = part[part["predictor"] == "ensemble_mean"]["mae_ha"].mean()
        _baseline_line(ax, base)
        ax.set(xlabel="cutoff (Bohr)", ylabel=f"test MAE of {_symbol(target)} (Ha)")
        ax.set_ylim(0, 1.18 * max(networks["mae_ha"].max(), base))
        ax.set_xticks(list(around.index))
        upper = ax.secondary_xaxis("top")
        upper.set_xticks(list(around.index), [f"{v:.1f}" for v in around])
        upper.tick_params(length=2, labelsize=6.5)
        upper.spines["top"].set_visible(True)
        upper.set_xlabel("neighbours per atom", fontsize=7, labelpad=2)
        ax.set_title(f"({letter})  {TARGETS[target]}", loc="left", pad=26)
        if letter == "a":
            ax.legend(loc="lower right")
    style.footer(fig, info, tidy, "grey band: the paper's choice; bars: standard deviation")
    return fig


def _symbol(target: str) -> str:
    return "$V$" if target == "atomic" else "$E_0$"


def _seeds_and_mean(
    ax: Axes, rows: pd.DataFrame, x: str, colour: str, label: str, marker: str = "o"
) -> None:
    aside = 0.03 * (rows[x].max() - rows[x].min())
    ax.plot(rows[x] + aside, rows["mae_ha"], marker, color=colour, ms=2.6, alpha=0.6, mew=0)
    groups = rows.groupby(x)["mae_ha"]
    mean, error = groups.mean(), groups.std(ddof=1).fillna(0.0)
    ax.errorbar(
        mean.index, mean, yerr=error, fmt=marker + "-", color=colour, ms=4.5, capsize=2, label=label
    )


@style.styled
def depth_scan(tidy: pd.DataFrame, info: Info) -> Figure:
    """MAE for every number of convolutions and dense layers; colour: relative to 2 + 2."""
    targets = _targets(tidy)
    networks = tidy[tidy["predictor"] == "network"]
    fig = _figure(targets, 72)
    axes = _axes(fig, len(targets), left=15, right=24, bottom=15, top=10, gap=22)
    columns = sorted(networks["n_dense"].unique())
    rows = sorted(networks["n_conv"].unique())
    image = None
    for letter, ax, target in zip("ab", axes, targets, strict=False):
        part = networks[networks["target"] == target]
        groups = part.groupby(["n_conv", "n_dense"])["mae_ha"]
        mean, spread = groups.mean(), groups.std(ddof=1)
        centre = float(mean.get((2, 2), mean.median()))
        change = np.array(
            [[100 * (mean.get((r, c), np.nan) / centre - 1) for c in columns] for r in rows]
        )
        image = ax.imshow(change, cmap="PuOr_r", vmin=-50, vmax=50, origin="lower", aspect="auto")
        for i, r in enumerate(rows):
            for j, c in enumerate(columns):
                if (r, c) not in mean.index:
                    continue
                bold = (r, c) == (2, 2)
                ax.text(
                    j,
                    i,
                    _with_spread(mean[r, c], spread[r, c]).replace(" ± ", "\n±"),
                    ha="center",
                    va="center",
                    fontsize=7,
                    fontweight="bold" if bold else "normal",
                    color="white" if abs(change[i, j]) > 36 else style.INK,
                )
        ax.set_xticks(range(len(columns)), [str(c) for c in columns])
        ax.set_yticks(range(len(rows)), [str(r) for r in rows])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set(xlabel="dense layers", ylabel="convolutions")
        base = tidy[(tidy["target"] == target) & (tidy["predictor"] == "ensemble_mean")]
        mean_only = rf"$(N, T)$ mean: {base['mae_ha'].mean():.2g}"
        style.panel(ax, letter, f"{TARGETS[target]}: MAE (Ha); {mean_only}")
    if image is not None:
        width = fig.get_figwidth() / style.MM
        place = fig.add_axes(((width - 19) / width, 15 / 72, 3 / width, 47 / 72))
        bar = fig.colorbar(image, cax=place, extend="both")
        bar.set_label("MAE relative to 2 + 2 (%)", fontsize=7)
        bar.outline.set_linewidth(0.4)
    style.footer(fig, info, tidy, "GATConv; bold: the paper's choice")
    return fig


@style.styled
def convergence(tidy: pd.DataFrame, info: Info) -> Figure:
    """Validation MAE against the epoch, mean and range over seeds; the published range shaded."""
    targets = _targets(tidy)
    fig = _figure(targets, 80)
    axes = _axes(fig, len(targets), left=17, right=22, bottom=15, top=9, gap=33)
    for letter, ax, target in zip("ab", axes, targets, strict=False):
        part = tidy[tidy["target"] == target]
        last = int(part["epoch"].max())
        ax.axvspan(100, 150, color="#EDEDED", lw=0, zorder=0)
        ends = {}
        for layer in [x for x in LAYERS if (part["layer"] == x).any()]:
            runs = part[part["layer"] == layer].pivot_table(
                index="epoch", columns="seed", values="validation_mae_ha"
            )
            smooth = runs.rolling(max(1, last // 30), min_periods=1).median()
            colour = COLOURS[layer]
            ax.fill_between(
                smooth.index, smooth.min(axis=1), smooth.max(axis=1), color=colour, alpha=0.18, lw=0
            )
            ax.plot(smooth.index, smooth.mean(axis=1), color=colour, lw=1.1)
            ends[layer] = float(smooth.mean(axis=1).iloc[-1])
        _baseline_line(ax, part["ensemble_mean_mae_ha"].mean())
        ends["ensemble_mean"] = float(part["ensemble_mean_mae_ha"].mean())
        ax.set(
            xlim=(0, last),
            xlabel="epoch",
            ylabel=f"validation MAE of {_symbol(target)} (Ha)",
        )
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        style.plain_log(ax)
        _labels_at_the_right(ax, ends)
        style.panel(ax, letter, TARGETS[target])
    style.footer(
        fig,
        info,
        tidy,
        "line and band: mean and range over seeds, running median; grey: 100–150 epochs",
    )
    return fig


def _labels_at_the_right(ax: Axes, ends: dict[str, float], least: float = 7.5) -> None:
    """Write each curve's name at its end, pushed apart so that names keep `least` points."""
    low, high = np.log(ax.get_ylim())
    height = ax.get_window_extent().height / ax.figure.dpi * 72.0
    order = sorted(ends, key=lambda name: ends[name])
    wanted = [(np.log(ends[name]) - low) / (high - low) * height for name in order]
    placed = list(wanted)
    for _ in range(200):
        for i in range(len(placed) - 1):
            overlap = least - (placed[i + 1] - placed[i])
            if overlap > 0:
                placed[i] -= overlap / 2
                placed[i + 1] += overlap / 2
    for name, y, own in zip(order, placed, wanted, strict=True):
        colour = COLOURS.get(name, style.GREY)
        ax.annotate(
            LAYERS.get(name, BASELINES.get(name, name)),
            (1.0, own / height),
            xycoords="axes fraction",
            xytext=(1.06, y / height),
            textcoords="axes fraction",
            fontsize=6.5,
            va="center",
            color=colour,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": colour, "shrinkA": 0, "shrinkB": 1},
        )


# --- beyond the paper -----------------------------------------------------------------------------


@style.styled
def width_matched(tidy: pd.DataFrame, info: Info) -> Figure:
    """MAE of the six layers at their own width and at one width: does the ranking survive?"""
    targets = _targets(tidy)
    fig = _figure(targets, 84)
    axes = _axes(fig, len(targets), left=17, right=25, bottom=14, top=9, gap=38)
    for letter, ax, target in zip("ab", axes, targets, strict=False):
        part = tidy[tidy["target"] == target]
        networks = part[part["predictor"] == "network"]
        groups = networks.groupby(["layer", "width"])["mae_ha"]
        mean, error = groups.mean().unstack(), groups.std(ddof=1).unstack().fillna(0.0)
        for layer in [x for x in LAYERS if x in mean.index]:
            ax.errorbar(
                [0, 1],
                mean.loc[layer, ["own", "matched"]],
                yerr=error.loc[layer, ["own", "matched"]],
                fmt="o-",
                color=COLOURS[layer],
                capsize=2,
                ms=4.5,
            )
        base = float(part[part["predictor"] == "ensemble_mean"]["mae_ha"].mean())
        _baseline_line(ax, base)
        ax.set(xlim=(-0.18, 1.05), ylabel=f"test MAE of {_symbol(target)} (Ha)")
        style.plain_log(ax)
        ax.set_xticks([0, 1], ["as the paper:\nown width", "lifted to\none width"])
        ends = {layer: float(mean.loc[layer, "matched"]) for layer in mean.index}
        _labels_at_the_right(ax, {**ends, "ensemble_mean": base})
        style.panel(ax, letter, TARGETS[target])
    style.footer(fig, info, tidy, "bars: standard deviation over seeds")
    return fig


SPLITS = {"random": "random\n(the paper's)", "trajectory": "by trajectory", "size": "by size"}


@style.styled
def splits(tidy: pd.DataFrame, info: Info) -> Figure:
    """MAE under three ways of holding out test frames, networks beside trivial baselines."""
    targets = _targets(tidy)
    fig = _figure(targets, 78)
    axes = _axes(fig, len(targets), left=17, right=5, bottom=20, top=9, gap=20)
    schemes = [s for s in SPLITS if (tidy["split"] == s).any()]
    layers = [x for x in LAYERS if (tidy["layer"] == x).any()]
    for letter, ax, target in zip("ab", axes, targets, strict=False):
        part = tidy[tidy["target"] == target]
        for i, scheme in enumerate(schemes):
            rows = part[part["split"] == scheme]
            for k, layer in enumerate(layers):
                own = rows[(rows["layer"] == layer) & (rows["predictor"] == "network")]["mae_ha"]
                x = i + 0.18 * (k - (len(layers) - 1) / 2)
                aside = [x + 0.05] * len(own)
                ax.plot(aside, own, "o", color=COLOURS[layer], ms=2.6, alpha=0.6, mew=0)
                ax.errorbar(
                    x,
                    own.mean(),
                    yerr=style.spread(own) if len(own) > 1 else None,
                    fmt="o",
                    color=COLOURS[layer],
                    ms=5,
                    capsize=2,
                    label=LAYERS[layer] if i == 0 else None,
                )
            for name, dash in (("ensemble_mean", "-"), ("n_linear", (0, (2, 1.5)))):
                if name == "ensemble_mean" and scheme == "size":
                    continue  # no training frame has the size: there is no mean
                value = rows[rows["predictor"] == name]["mae_ha"].mean()
                ax.plot(
                    [i - 0.36, i + 0.36],
                    [value] * 2,
                    color=style.GREY,
                    lw=1.2,
                    ls=dash,
                    zorder=1,
                    label=BASELINES[name] if i == 0 else None,
                )
        ax.set_xticks(range(len(schemes)), [SPLITS[s] for s in schemes])
        ax.set_xlim(-0.5, len(schemes) - 0.5)
        style.plain_log(ax)
        ax.set_ylabel(f"test MAE of {_symbol(target)} (Ha)")
        style.panel(ax, letter, TARGETS[target])
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="lower center", ncol=4, bbox_to_anchor=(0.5, 4.5 / 78))
    style.footer(fig, info, tidy, r"held-out sizes have no $(N, T)$ mean")
    return fig


MOVES = {
    "none": ("as it is", "o", style.INK),
    "rotation": ("rotated", "D", style.BLUE),
    "shift": ("shifted", ">", style.VERMILLION),
    "mirror": ("mirrored", "s", style.ORANGE),
}


@style.styled
def symmetry_audit(tidy: pd.DataFrame, info: Info) -> Figure:
    """Error of each trained network on the test set as it is, rotated, shifted and mirrored."""
    targets = _targets(tidy)
    names = [
        (group, layer)
        for group in ("table1", "corrected")
        for layer in LAYERS
        if ((tidy["group"] == group) & (tidy["layer"] == layer)).any()
    ]
    height = 32 + 6.2 * len(names)
    fig = _figure(targets, height)
    axes = _axes(fig, len(targets), left=31, right=5, bottom=20, top=9, gap=8)
    for letter, ax, target in zip("ab", axes, targets, strict=False):
        part = tidy[tidy["target"] == target]
        mean = part.groupby(["group", "layer", "transformation"])["mae_ha"].mean()
        for i, (group, layer) in enumerate(names):
            own = {m: mean.get((group, layer, m), np.nan) for m in MOVES}
            known = [v for v in own.values() if np.isfinite(v)]
            if not known:
                continue
            ax.plot([min(known), max(known)], [i, i], color=style.PALE, lw=2.2, zorder=1)
            for move, (label, marker, colour) in MOVES.items():
                if np.isfinite(own[move]):
                    ax.plot(
                        own[move],
                        i,
                        marker,
                        color=colour,
                        ms=5.5 if move == "none" else 4.2,
                        mfc="none" if move == "none" else colour,
                        mew=1.0 if move == "none" else 0,
                        label=label if i == 0 else None,
                        zorder=4 if move == "none" else 3,
                    )
        first = next((i for i, (group, _) in enumerate(names) if group == "corrected"), None)
        if first:
            ax.axhline(first - 0.5, color=style.GREY, lw=0.5)
        ax.set(ylim=(len(names) - 0.4, -0.6), xlabel=f"test MAE of {_symbol(target)} (Ha)")
        style.plain_log(ax, "x")
        labels = [LAYERS[x] + (", invariant" if g == "corrected" else "") for g, x in names]
        ax.set_yticks(range(len(names)), labels if letter == "a" else [])
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x", which="major")
        style.panel(ax, letter, TARGETS[target])
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="lower center", ncol=4, bbox_to_anchor=(0.55, 4.5 / height))
    style.footer(
        fig, info, tidy, "mean over seeds; an exact symmetry puts all markers on one point"
    )
    return fig


@style.styled
def grid(tidy: pd.DataFrame, info: Info) -> Figure:
    """MAE of GATConv over the choices that the paper leaves unstated."""
    targets = _targets(tidy)
    networks = tidy[tidy["predictor"] == "network"]
    fig = _figure(targets, 80)
    axes = _axes(fig, len(targets), left=17, right=5, bottom=24, top=9, gap=20)
    steps = sorted(set(zip(networks["batch_size"], networks["learning_rate"], strict=True)))
    channels = sorted(networks["channels"].unique())
    activations = sorted(networks["activation"].unique())
    shades = _size_colours(channels)
    markers = dict(zip(activations, "os^Dv", strict=False))
    for letter, ax, target in zip("ab", axes, targets, strict=False):
        part = networks[networks["target"] == target]
        n = len(channels) * len(activations)
        for i, (batch, rate) in enumerate(steps):
            for k, (width, activation) in enumerate((w, a) for w in channels for a in activations):
                chosen = (
                    (part["batch_size"] == batch)
                    & (part["learning_rate"] == rate)
                    & (part["channels"] == width)
                    & (part["activation"] == activation)
                )
                values = part[chosen]["mae_ha"]
                x = i + 0.7 * ((k + 0.5) / n - 0.5)
                ax.plot(
                    [x] * len(values),
                    values,
                    markers[activation],
                    color=shades[width],
                    ms=4.5,
                    mew=0,
                    label=f"{width} channels, {activation}" if i == 0 else None,
                )
        base = tidy[(tidy["target"] == target) & (tidy["predictor"] == "ensemble_mean")]
        _baseline_line(ax, float(base["mae_ha"].mean()))
        ax.set_xticks(range(len(steps)), [f"{batch}, {rate:g}" for batch, rate in steps])
        ax.set(xlim=(-0.5, len(steps) - 0.5), xlabel="batch size, learning rate")
        style.plain_log(ax)
        ax.set_ylabel(f"test MAE of {_symbol(target)} (Ha)")
        style.panel(ax, letter, TARGETS[target])
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="lower center", ncol=4, bbox_to_anchor=(0.5, 4.0 / 80))
    style.footer(fig, info, tidy, "GATConv")
    return fig


# --- forces and dynamics --------------------------------------------------------------------------

PREDICTORS = {
    "nequip": ("NequIP", style.BLUE, "o"),
    "exact_water": ("exact water,\nno electron", style.VERMILLION, "D"),
    "pair": ("pairs only", style.ORANGE, "s"),
    "ensemble_mean": (r"$(N, T)$ mean", style.GREY, "^"),
    "composition": ("composition,\nno forces", style.INK, "v"),
}
#: how the force errors of atoms are marked
ELEMENTS = {"O": ("oxygen", "none"), "H": ("hydrogen", "full")}


@style.styled
def forces(tidy: pd.DataFrame, info: Info) -> Figure:
    """Errors of forces (a) and energies (b); is the electron resolved, by its force (c), N (d)."""
    width, height = style.DOUBLE, 132.0
    fig = style.figure(width, height)
    places = ((24, 82, 55, 40), (110, 82, 55, 40), (24, 16, 55, 45), (110, 16, 55, 45))
    axes = [fig.add_axes((x / width, y / height, w / width, h / height)) for x, y, w, h in places]
    errors = tidy[tidy["record"] == "error"]
    total = errors[errors["target"] == "total"]
    _force_errors(axes[0], total)
    _energy_errors(axes[1], total)
    _resolved_curve(axes[2], tidy)
    _resolved_sizes(axes[3], errors)
    style.footer(fig, info, tidy, "split by trajectory; bars: standard deviation over seeds")
    return fig


def _force_errors(ax: Axes, total: pd.DataFrame) -> None:
    names = [n for n in PREDICTORS if n != "ensemble_mean" and (total["predictor"] == n).any()]
    for i, name in enumerate(names):
        _, colour, marker = PREDICTORS[name]
        for element, (_, fill) in ELEMENTS.items():
            chosen = (total["predictor"] == name) & (total["name"] == element)
            values = total.loc[chosen, "force_rmse_ev_per_a"]
            ax.errorbar(
                values.mean(),
                i,
                xerr=style.spread(values) if len(values) > 1 else None,
                fmt=marker,
                color=colour,
                fillstyle=fill,  # type: ignore[arg-type]
                ms=5,
                capsize=2,
            )
    for label, fill in ELEMENTS.values():
        ax.plot([], [], "o", color=style.INK, fillstyle=fill, ms=4.5, label=label)  # type: ignore[arg-type]
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, -0.02), handletextpad=0.2)
    _names_at_the_left(ax, names)
    ax.set_xlabel("RMSE of force components (eV/Å)")
    style.plain_log(ax, "x")
    style.panel(ax, "a", "forces of the total energy")


def _energy_errors(ax: Axes, total: pd.DataFrame) -> None:
    names = [n for n in PREDICTORS if (total["predictor"] == n).any()]
    rows = total[total["name"] == "all"]
    for i, name in enumerate(names):
        _, colour, marker = PREDICTORS[name]
        values = rows.loc[rows["predictor"] == name, "energy_rmse_mev_per_atom"]
        ax.errorbar(
            values.mean(),
            i,
            xerr=style.spread(values) if len(values) > 1 else None,
            fmt=marker,
            color=colour,
            ms=5,
            capsize=2,
        )
    words = {"exact_water": "exact water,\n" r"$(N, T)$ mean $E_0$", "composition": "composition"}
    _names_at_the_left(ax, names, words)
    ax.set_xlabel("RMSE of energies (meV/atom)")
    style.plain_log(ax, "x")
    style.panel(ax, "b", r"total energy $V + E_0$")


def _names_at_the_left(ax: Axes, names: list[str], words: Mapping[str, str] | None = None) -> None:
    labels = {n: PREDICTORS[n][0] for n in names} | dict(words or {})
    ax.set_yticks(range(len(names)), [labels[n] for n in names])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x", which="major")


#: (predictor, target) of the curves: label, colour, line style
CURVES = {
    ("exact_water", "total"): ("exact water, no electron", style.VERMILLION, (0, (4, 2))),
    ("nequip", "total"): (r"NequIP of $V + E_0$", style.BLUE, "-"),
    ("nequip", "electronic"): (r"NequIP of $E_0$ alone", style.SKY, "-"),
}


def _resolved_curve(ax: Axes, tidy: pd.DataFrame) -> None:
    rows = tidy[tidy["record"] == "curve"]
    # the groups of each training have means of their own: seeds are drawn side by side
    for (predictor, target), (label, colour, dashes) in CURVES.items():
        own = rows[(rows["predictor"] == predictor) & (rows["target"] == target)]
        for k, (_, part) in enumerate(own.groupby("seed")):
            part = part.sort_values("x")
            ax.plot(
                part["x"],
                part["force_rmse_ev_per_a"],
                color=colour,
                ls=dashes,
                marker="o" if predictor == "nequip" else None,
                ms=2.5,
                lw=1.0,
                label=label if k == 0 else None,
            )
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
    for (predictor, target), (label, colour, _) in CURVES.items():
        if predictor != "nequip":
            continue
        own = errors[(errors["predictor"] == predictor) & (errors["target"] == target)]
        aside = 0.1 if target == "total" else -0.1
        for i, n in enumerate(sizes):
            values = own.loc[own["name"] == f"n_molecules={n}", "resolved"]
            if len(values):
                _one_resolved(ax, i + aside, values, colour, "o")
        for k, state in enumerate(states):
            values = own.loc[own["name"] == f"state={state}", "resolved"]
            if len(values):
                _one_resolved(ax, len(sizes) + 0.5 + k + aside, values, colour, "s")
        ax.plot([], [], "o", color=colour, ms=4, label=label)
    ax.axhline(0.0, color=style.VERMILLION, lw=1.0, ls=(0, (4, 2)))
    ax.axhline(1.0, color=style.INK, lw=0.5)
    ends = [len(sizes) + 0.5 + k for k in range(len(states))]
    ax.set_xticks([*range(len(sizes)), *ends], [*map(str, sizes), *states])
    for tick in ax.get_xticklabels()[len(sizes) :]:
        tick.set_rotation(25)
    low = min(-0.25, float(errors.loc[errors["predictor"] == "nequip", "resolved"].min()) - 0.1)
    ax.set_ylim(max(low, -3.0), 1.08)
    ax.set(
        xlim=(-0.5, len(sizes) + len(states)),
        xlabel="molecules $N$, and states of the electron",
        ylabel="share of the electron's\nforce resolved",
    )
    style.panel(ax, "d", "share resolved (1: all, 0: none)")


def _one_resolved(ax: Axes, x: float, values: pd.Series, colour: str, marker: str) -> None:
    spread = style.spread(values) if len(values) > 1 else None
    ax.errorbar(x, values.mean(), yerr=spread, fmt=marker, color=colour, ms=4.5, capsize=2)


MOVED_BY = dynamics.Look(
    {"reference": "reference", "nequip": "NequIP", "pair": "pairs only"},
    {"reference": style.INK, "nequip": style.BLUE, "pair": style.ORANGE},
)


@style.styled
def anion_md(tidy: pd.DataFrame, info: Info) -> Figure:
    """Dynamics by learned forces and by the reference's: heat, energy, structure, the electron."""
    width, height = style.DOUBLE, 160.0
    fig = style.figure(width, height)
    axes = [
        fig.add_axes((x / width, y / height, 37 / width, 32 / height))
        for y in (116, 66, 16)
        for x in (17, 74, 130)
    ]
    dynamics.temperature(axes[0], tidy, MOVED_BY)
    dynamics.conservation(axes[1], tidy, MOVED_BY)
    _speed(axes[2], tidy)
    for ax, (record, name) in zip(
        axes[3:6], (("rdf", "O-O"), ("rdf", "O-H"), ("profile", "O")), strict=True
    ):
        dynamics.distribution(ax, tidy, MOVED_BY, name, record)
        dynamics.write_lines(ax, dynamics.errors_text(tidy, MOVED_BY, name, record))
    axes[3].set(xlabel="distance O–O (Å)", ylabel="density (1/Å)")
    axes[4].set(xlabel="distance O–H (Å)", ylabel="density (1/Å)")
    axes[5].set(xlabel="distance from the centre (Å)", ylabel="oxygen atoms (1/Å)")
    dynamics.spectrum(axes[6], tidy, MOVED_BY)
    dynamics.write_lines(axes[6], dynamics.errors_text(tidy, MOVED_BY, "total", "vdos"))
    dynamics.on_path(axes[7], tidy, MOVED_BY, "electronic_energy_ev")
    axes[7].set_ylabel(r"exact $E_0$ on the path (eV)")
    low, high = axes[7].get_ylim()
    axes[7].set_ylim(low, high + 0.35 * (high - low))
    shift = dynamics.errors_text(tidy, MOVED_BY, "electronic_energy_ev", "relabel", "eV off")
    dynamics.write_lines(axes[7], shift)
    dynamics.on_path(axes[8], tidy, MOVED_BY, "force_rmse_ev_per_a")
    axes[8].set_ylabel("RMSE of force\ncomponents (eV/Å)")
    axes[8].set_ylim(bottom=0.0)
    titles = (
        *("temperature", "conserved energy", "time of one step"),
        *("O–O distances", "O–H distances", "profile"),
        *("vibrations", "the electron", "force error on the path"),
    )
    for letter, ax, title in zip("abcdefghi", axes, titles, strict=True):
        style.panel(ax, letter, title)
    names = MOVED_BY.present(tidy)
    fig.legend(
        handles=[
            axes[0].plot([], [], color=MOVED_BY.colours[n], lw=2.0, label=MOVED_BY.labels[n])[0]
            for n in names
        ],
        loc="upper center",
        ncol=3,
        bbox_to_anchor=(0.5, 1.0 - 1.0 / height),
    )
    counts = {n: dynamics.failures(tidy, n) for n in names}
    failed = ", ".join(f"{MOVED_BY.labels[n]} {k} of {m}" for n, (k, m) in counts.items())
    note = f"lines, bands: mean and range over replicas; replicas that failed: {failed}"
    style.footer(fig, info, tidy, note)
    return fig


def _speed(ax: Axes, tidy: pd.DataFrame) -> None:
    """Draw the time of one step of one replica, alone and with all replicas in one batch."""
    names = MOVED_BY.present(tidy[tidy["record"] == "speed"])
    for i, name in enumerate(names):
        for how, marker in (("alone", "o"), ("batched", "^")):
            seconds = dynamics.seconds_per_step(tidy, name, how)
            if np.isfinite(seconds):
                ax.plot(1000.0 * seconds, i, marker, color=MOVED_BY.colours[name], ms=5, mew=0)
    for how, marker in (("alone", "o"), ("all at once", "^")):
        ax.plot([], [], marker, color=style.GREY, ms=4, label=how)
    ax.legend(loc="lower center", ncol=2, handletextpad=0.1, columnspacing=1.0)
    ax.set_yticks(range(len(names)), [MOVED_BY.labels[n] for n in names])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) + 0.2, -0.6)  # the last row is the legend's
    ax.grid(axis="x", which="major")
    ax.set_xlabel("ms per replica, one core")
    style.plain_log(ax, "x")

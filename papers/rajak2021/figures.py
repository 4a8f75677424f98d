"""Figures of rajak2021: one function per artefact, from its tidy table.

Every function takes the tidy DataFrame that `rajak2021.tables` wrote and `info` (tier,
reference, card) and returns a matplotlib Figure at print size. An arm of the ablation has the same
colour everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colors, patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gnnip.artefacts import dynamics_panels as dynamics
from gnnip.artefacts import error_panels as errors
from gnnip.artefacts import style
from gnnip.artefacts.reference_data_figure import reference_data
from gnnip.artefacts.scene import Scene

__all__ = [
    "ablation",
    "conservation",
    "fig2a",
    "fig2b",
    "fig3a",
    "fig3b",
    "fig3c",
    "reference_data",
    "sic_errors",
    "stability",
    "structure",
    "table1",
]

Info = Mapping[str, Any]

LABELS = {
    "reference": "reference",
    "nn2": "NN2",
    "nn3": "NN2 + NN3",
    "gnn": "GNN",
    "nn2_gnn": "NN2 + GNN",
    "decomposed": "NN2 + NN3 + GNN",
    "zbl_gnn": "ZBL + GNN",
    "smooth": "GNN with envelope",
    "nequip": "NequIP",
}
COLOURS = {
    "reference": style.INK,
    "nn2": style.PALE,
    "nn3": style.GREY,
    "gnn": style.VERMILLION,
    "nn2_gnn": style.ORANGE,
    "decomposed": style.BLUE,
    "zbl_gnn": style.PURPLE,
    "smooth": style.GREEN,
    "nequip": style.SKY,
}
ARMS = dynamics.Look(LABELS, COLOURS)
MATERIALS = {"sic": "SiC", "gese2": r"GeSe$_2$"}
ELEMENTS = {"Si": "#4C78A8", "C": "#3A3A3A", "Ge": "#4C78A8", "Se": "#E1A33B"}
RADII = {"Si": 0.55, "C": 0.38, "Ge": 0.6, "Se": 0.55}  #: of the drawn atoms, Angstrom


# --- errors ---------------------------------------------------------------------------------------


def _errors(tidy: pd.DataFrame, info: Info, materials: bool = False) -> Figure:
    """Draw train and test errors of every arm: ours, published, and what predicts nothing."""
    ours = tidy[tidy["source"] == "ours"]
    published = tidy[tidy["source"] == "published"]
    splits = sorted(set(ours["split"]))
    rows = []
    for material in dict.fromkeys(ours["material"]):
        for arm, split, subset in product(LABELS, splits, ("train", "test")):
            part = tidy[
                (tidy["material"] == material)
                & (tidy["arm"] == arm)
                & (tidy["split"] == split)
                & (tidy["subset"] == subset)
            ]
            if part.empty:
                continue
            name = LABELS[arm] + (f" ({split})" if len(splits) > 1 else "")
            if materials:
                name = f"{MATERIALS[material]}: {name}"
            elif split == splits[0]:  # the random one where there are two
                known = published[(published["arm"] == arm) & (published["subset"] == subset)]
                part = pd.concat([part, known]) if len(known) else part
            faces = (COLOURS[arm], style.INK) if subset == "test" else ("white", "white")
            rows.append(errors.Row(name, part, COLOURS[arm], *faces))
    legend = [
        errors.Mark("o", style.INK, style.INK, "test"),
        errors.Mark("o", style.INK, "white", "train"),
        *([] if materials else [errors.PUBLISHED]),
        errors.Mark("|", style.GREY, style.GREY, "mean of the ensemble, no forces"),
    ]
    measures = (errors.ENERGY_RMSE, errors.FORCE_RMSE)
    fig = errors.error_panels(rows, measures, legend, baseline="ensemble_mean", left=60.0, step=6.0)
    style.footer(fig, info, tidy, "energies: total energy divided by the number of atoms")
    return fig


@style.styled
def sic_errors(tidy: pd.DataFrame, info: Info) -> Figure:
    """Errors of the graph network on SiC."""
    return _errors(tidy, info)


@style.styled
def table1(tidy: pd.DataFrame, info: Info) -> Figure:
    """Errors on GeSe2 without and with the decomposition."""
    return _errors(tidy, info)


@style.styled
def ablation(tidy: pd.DataFrame, info: Info) -> Figure:
    """Errors of all arms on both materials."""
    return _errors(tidy, info, materials=True)


# --- learned local forces -------------------------------------------------------------------------


def _local_forces(tidy: pd.DataFrame, info: Info) -> Figure:
    """Draw the mean local force of each ordered pair of elements, one panel per pair."""
    pairs = sorted(
        {(c, n) for c, n in zip(tidy["centre"], tidy["neighbour"], strict=True)},
        key=lambda pair: (pair[0] == pair[1], pair),
    )
    height = 116.0
    fig = style.figure(style.DOUBLE, height)
    present = [arm for arm in LABELS if arm in set(tidy["arm"])]
    farthest = min(float(tidy["distance_a"].max()), 7.0)
    counted = tidy[tidy["counts"].astype(bool)]
    # every bin, so that lines break where there are no pairs
    middles = np.sort(tidy["distance_a"].unique())
    width = float(np.diff(middles).min()) if len(middles) > 1 else 1.0
    number = np.arange(round((middles[-1] - middles[0]) / width) + 1)
    places = middles[0] + width * number
    for k, (centre, neighbour) in enumerate(pairs):
        column, row = k % 2, k // 2
        ax = style.place(fig, 14.0 + 84.0 * column, 69.0 - 51.0 * row, 66.0, 34.0)
        of_pair = counted[(counted["centre"] == centre) & (counted["neighbour"] == neighbour)]
        for arm in present:
            part = of_pair[of_pair["arm"] == arm]
            grouped = part.groupby(((part["distance_a"] - middles[0]) / width).round().astype(int))
            force, spread = (
                grouped[f"directed_force_{name}ev_per_a"].mean().reindex(number)
                for name in ("", "std_")
            )
            low, high = force - spread, force + spread
            ax.fill_between(places, low, high, color=COLOURS[arm], alpha=0.12, lw=0)
            ax.plot(places, force, color=COLOURS[arm], lw=1.3)
        ax.axhline(0.0, color=style.INK, lw=0.5)
        ax.set_xlim(1.4, farthest)
        inside = of_pair[of_pair["distance_a"].between(1.4, farthest)]
        if len(inside):
            force = inside["directed_force_ev_per_a"]
            room = 0.15 * max(float(force.max() - force.min()), 1e-3)
            low = float((force - inside["directed_force_std_ev_per_a"]).quantile(0.02))
            high = float((force + inside["directed_force_std_ev_per_a"]).quantile(0.98))
            ax.set_ylim(min(low, float(force.min())) - room, max(high, float(force.max())) + room)
        style.panel(ax, "abcd"[k], f"{centre}–{neighbour}")
        ax.set(xlabel="distance (Å)", ylabel="local force (eV/Å)")
    _arm_legend(fig, present, height)
    note = "force on the first of the pair through the edge from the second; positive: repulsive; "
    style.footer(fig, info, tidy, note + "bands: standard deviation over pairs")
    return fig


@style.styled
def fig2a(tidy: pd.DataFrame, info: Info) -> Figure:
    """Learned local forces in SiC."""
    return _local_forces(tidy, info)


@style.styled
def fig3a(tidy: pd.DataFrame, info: Info) -> Figure:
    """Learned local forces in GeSe2."""
    return _local_forces(tidy, info)


# --- dynamics -------------------------------------------------------------------------------------


def _energies(ax: Axes, tidy: pd.DataFrame, arms: list[str]) -> None:
    """Draw the potential energy per atom of every replica from its start; a cross ends it."""
    series = tidy[(tidy["record"] == "series") & (tidy["name"] == "potential_energy_ev")]
    run = tidy[tidy["record"] == "run"].set_index(["potential", "replica", "name"])["value"]
    levels, ends = [], []
    if not arms:
        ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", va="center")
    for arm in arms:
        of_arm = series[series["potential"] == arm]
        for replica, part in of_arm.groupby("replica"):
            energy = 1000.0 * part["value"].to_numpy() / float(run[arm, replica, "n_atoms"])
            energy = energy - energy[0]
            time = part["x"].to_numpy() / 1000.0
            ax.plot(time, energy, color=COLOURS[arm], lw=0.7, alpha=0.85)
            if run[arm, replica, "failed"] > 0:
                ends.append((time[-1], energy[-1], COLOURS[arm]))
            levels += list(energy[: max(1, int(0.9 * len(energy)))])
    low, high = np.nanquantile(levels, (0.002, 0.995)) if levels else (0.0, 1.0)
    room = max(0.25 * (high - low), 0.5)
    low, high = low - room, high + room
    ax.set_ylim(low, high)
    # a collapse ends far away: its cross stands at the edge
    for time, energy, colour in ends:
        place = np.clip(energy, low, high)
        ax.plot(time, place, "x", color=colour, ms=5, mew=1.2, clip_on=False, zorder=4)
    ax.set_xlim(0.0, float(series["x"].max()) / 1000.0 or None)
    ax.set(xlabel="time (ps)", ylabel="potential energy\n(meV/atom, from the start)")


def _frame(tidy: pd.DataFrame, arm: str, failed: bool) -> tuple[pd.DataFrame, str] | None:
    """Return element, x, y, z of the last frame of the first replica of an arm that failed, or that
    did not, and the elements of the pair that its autopsy names; None without a frame."""
    frames = tidy[(tidy["record"] == "frame") & (tidy["potential"] == arm)]
    run = tidy[(tidy["record"] == "run") & (tidy["name"] == "failed") & (tidy["potential"] == arm)]
    wanted = set(run.loc[(run["value"] > 0) == failed, "replica"])
    chosen = sorted(wanted & set(frames["replica"]))
    if not chosen:
        return None
    part = frames[frames["replica"] == chosen[0]].sort_values("x")
    places = part["text"].str.split(expand=True).astype(float)
    frame = pd.DataFrame(
        {"element": part["name"].to_numpy(), **dict(zip("xyz", places.to_numpy().T, strict=True))}
    )
    autopsy = (tidy["record"] == "autopsy") & (tidy["name"] == "pair_ratio")
    own = autopsy & (tidy["potential"] == arm) & (tidy["replica"] == chosen[0])
    return frame, "".join(tidy.loc[own, "text"].iloc[:1])


def _draw_frame(ax: Axes, frame: pd.DataFrame, pair: str = "") -> None:
    """Draw atoms and bonds, seen along z; the nearest two atoms of the elements of `pair` (Se-Se)
    have a ring."""
    places = frame[["x", "y", "z"]].to_numpy()
    elements = frame["element"].tolist()
    low, high = places.min(axis=0) - 1.0, places.max(axis=0) + 1.0
    # a little turn, so that rows of a crystal do not hide each other
    turn = np.deg2rad([12.0, -16.0])
    about_x = np.array(
        [
            [1, 0, 0],
            [0, np.cos(turn[0]), -np.sin(turn[0])],
            [0, np.sin(turn[0]), np.cos(turn[0])],
        ]
    )
    about_y = np.array(
        [
            [np.cos(turn[1]), 0, np.sin(turn[1])],
            [0, 1, 0],
            [-np.sin(turn[1]), 0, np.cos(turn[1])],
        ]
    )
    middle = 0.5 * (low + high)
    turned = (places - middle) @ (about_x @ about_y).T
    half = np.abs(turned[:, :2]).max(axis=0) + 1.0
    scene = Scene((0.0, 0.0), 2 * half[0], 2 * half[1], 60.0)
    for element, place in zip(elements, turned, strict=True):
        rgb = np.array(colors.to_rgb(ELEMENTS.get(element, style.GREY)), dtype=np.float32)
        scene.sphere(place, RADII.get(element, 0.5), rgb)
    distance = np.linalg.norm(turned[:, None] - turned[None], axis=2)
    bond = np.array(colors.to_rgb("#B8B8B8"), dtype=np.float32)
    for i, j in zip(*np.nonzero(np.triu(distance < 2.75, 1)), strict=True):
        scene.stick(turned[i], turned[j], 0.13, bond)
    depth = turned[:, 2]
    image = scene.composite(fog=(float(depth.min()) - 4.0, float(depth.max()) - 1.0))
    ax.imshow(image, extent=(-half[0], half[0], -half[1], half[1]), interpolation="antialiased")
    if pair:
        first, last = (np.array(elements) == symbol for symbol in pair.split("-"))
        wanted = first[:, None] & last[None, :] & ~np.eye(len(elements), dtype=bool)
        distance = np.where(wanted, distance, np.inf)
        i, j = np.unravel_index(int(np.argmin(distance)), distance.shape)
        centre = 0.5 * (turned[i] + turned[j])[:2]
        ax.plot(*centre, "o", ms=17, mfc="none", mec=style.VERMILLION, mew=1.3)
        ax.annotate(
            f"{elements[i]}–{elements[j]}, {distance[i, j]:.2f} Å",
            centre,
            xytext=(11, 9),
            textcoords="offset points",
            fontsize=7,
            color=style.VERMILLION,
            fontweight="bold",
            path_effects=[patheffects.withStroke(linewidth=2.5, foreground="white")],
        )
    ax.set_anchor("N")
    ax.axis("off")


def _arm_legend(fig: Figure, arms: list[str], height: float) -> None:
    """Name the arms along the upper edge; eight of them fit into one or two rows."""
    strokes = {arm: ARMS.stroke(arm) for arm in arms}
    handles = [
        Line2D([], [], label=LABELS[arm], **stroke | {"lw": max(2.0, stroke["lw"])})
        for arm, stroke in strokes.items()
    ]
    fig.legend(
        handles=handles,
        loc="upper center",
        ncol=max(1, len(handles)) if len(handles) <= 5 else 4,
        bbox_to_anchor=(0.5, 1.0 - 1.0 / height),
    )


def _told(tidy: pd.DataFrame, arms: list[str]) -> str:
    """Return how many replicas of each arm failed, in words; of many arms those that did."""
    counts = {arm: dynamics.failures(tidy, arm) for arm in arms}
    named = {arm: pair for arm, pair in counts.items() if pair[0] or len(arms) <= 2}
    words = [f"{LABELS[arm]} {k} of {n}" for arm, (k, n) in named.items()]
    if len(named) < len(counts):
        words.append("no other" if named else "none")
    return ", ".join(words) or "none was run"


def _arms(tidy: pd.DataFrame, wanted: tuple[str, ...] = tuple(LABELS)) -> list[str]:
    return [arm for arm in wanted if arm in set(tidy["potential"])]


@style.styled
def fig2b(tidy: pd.DataFrame, info: Info) -> Figure:
    """Potential energy of SiC against time, and a structure at the end."""
    height = 70.0
    fig = style.figure(style.DOUBLE, height)
    arms = _arms(tidy, ("gnn",))
    ax = style.place(fig, 22.0, 16.0, 84.0, 42.0)
    _energies(ax, tidy, arms)
    style.panel(ax, "a", "every replica")
    found, failed = _frame(tidy, "gnn", failed=False), False
    if found is None:
        found, failed = _frame(tidy, "gnn", failed=True), True
    if found is not None:
        picture = style.place(fig, 112.0, 10.0, 54.0, 48.0)
        _draw_frame(picture, *found)
        style.panel(picture, "b", "first bad frame" if failed else "at the end")
    _arm_legend(fig, arms, height)
    style.footer(fig, info, tidy, f"crosses: failures; replicas that failed: {_told(tidy, arms)}")
    return fig


@style.styled
def fig3b(tidy: pd.DataFrame, info: Info) -> Figure:
    """Potential energy of GeSe2 against time without and with the decomposition."""
    height = 68.0
    fig = style.figure(style.DOUBLE, height)
    arms = _arms(tidy, ("gnn", "decomposed"))
    for k, arm in enumerate(arms):
        ax = style.place(fig, 22.0 + 84.0 * k, 16.0, 60.0, 38.0)
        _energies(ax, tidy, [arm])
        style.panel(ax, "ab"[k], LABELS[arm])
    _arm_legend(fig, arms, height)
    style.footer(fig, info, tidy, f"crosses: failures; replicas that failed: {_told(tidy, arms)}")
    return fig


@style.styled
def fig3c(tidy: pd.DataFrame, info: Info) -> Figure:
    """The collapse of GeSe2: a first bad frame, and the closest pair of every failure."""
    height = 82.0
    fig = style.figure(style.DOUBLE, height)
    arms = [arm for arm in _arms(tidy) if arm != "reference"]
    failed, lasting = (_frame(tidy, "gnn", failed=kind) for kind in (True, False))
    picture = style.place(fig, 6.0, 12.0, 62.0, 51.0)
    if failed is not None:
        _draw_frame(picture, *failed)
        style.panel(picture, "a", "GNN, first bad frame")
    elif lasting is not None:
        _draw_frame(picture, *lasting)
        style.panel(picture, "a", "GNN, at the end: no replica failed")
    else:
        picture.axis("off")
        known = "failed" if "gnn" in arms else "was run"
        picture.text(0.5, 0.5, f"no replica of the GNN {known}", ha="center", va="center")
        style.panel(picture, "a", "GNN")
    ax = style.place(fig, 88.0, 19.0, 78.0, 44.0)
    dynamics.autopsy(ax, tidy, ARMS)
    style.panel(ax, "b", "closest pair of each failure")
    _arm_legend(fig, arms, height)
    style.footer(fig, info, tidy, f"replicas that failed: {_told(tidy, arms)}")
    return fig


@style.styled
def stability(tidy: pd.DataFrame, info: Info) -> Figure:
    """Survival of all arms on both materials, and what the failures were."""
    present = [m for m in MATERIALS if m in set(tidy["material"])]
    height = 18.0 + 56.0 * len(present)
    fig = style.figure(style.DOUBLE, height)
    for row, material in enumerate(present):
        part = tidy[tidy["material"] == material]
        bottom = height - 14.0 - 56.0 * (row + 1) + 17.0
        left = style.place(fig, 16.0, bottom, 64.0, 34.0)
        dynamics.survival(left, part[part["potential"] != "reference"], ARMS)
        style.panel(left, "ac"[row], f"{MATERIALS[material]}: survival")
        right = style.place(fig, 98.0, bottom, 66.0, 34.0)
        dynamics.autopsy(right, part, ARMS)
        style.panel(right, "bd"[row], f"{MATERIALS[material]}: failures")
    arms = [arm for arm in _arms(tidy) if arm != "reference"]
    _arm_legend(fig, arms, height)
    style.footer(fig, info, tidy, "bands: 95 % of the share of replicas alive")
    return fig


@style.styled
def structure(tidy: pd.DataFrame, info: Info) -> Figure:
    """Distances, angles and vibrations of all arms beside the reference's, both materials."""
    # pairs are named from the heavier element on
    shown = {"sic": ("Si-C", "Si-C-Si"), "gese2": ("Se-Ge", "Se-Ge-Se")}
    present = [m for m in MATERIALS if m in set(tidy["material"])]
    height = 18.0 + 74.0 * len(present)
    fig = style.figure(style.DOUBLE, height)
    for row, material in enumerate(present):
        part = tidy[tidy["material"] == material]
        bottom = height - 14.0 - 74.0 * (row + 1) + 17.0
        axes = [style.place(fig, x, bottom, 38.0, 50.0) for x in (16.0, 73.0, 129.0)]
        pair, triplet = shown[material]
        dynamics.distribution(axes[0], part, ARMS, pair)
        axes[0].set(xlabel=f"distance {pair.replace('-', '–')} (Å)", ylabel="$g(r)$")
        dynamics.angles(axes[1], part, ARMS, triplet)
        dynamics.spectrum(axes[2], part, ARMS)
        for ax, (record, name) in zip(
            axes, (("rdf", pair), ("adf", triplet), ("vdos", "total")), strict=True
        ):
            lines = dynamics.errors_text(part, ARMS, name, record)
            top = part.loc[(part["record"] == record) & (part["name"] == name), "value"].max()
            if np.isfinite(top) and top > 0:
                # the words stand above the curves: a line of them is 3.1 of the 50 mm
                ax.set_ylim(0.0, 1.08 * top / (1.0 - 0.065 * len(lines)))
            dynamics.write_lines(ax, lines)
        for letter, ax, title in zip(
            "abcdef"[3 * row :], axes, ("distances", "angles", "vibrations"), strict=False
        ):
            style.panel(ax, letter, f"{MATERIALS[material]}: {title}")
    _arm_legend(fig, _arms(tidy), height)
    note = "per cent: distance from the reference's distribution"
    if "vdos" not in set(tidy.loc[tidy["potential"] == dynamics.REFERENCE, "record"]):
        note += "; the reference was not moved and has no vibrations"
    style.footer(fig, info, tidy, note)
    return fig


@style.styled
def conservation(tidy: pd.DataFrame, info: Info) -> Figure:
    """Energy fluctuation at constant energy against the time step, both materials."""
    present = [m for m in MATERIALS if m in set(tidy["material"])]
    height = 78.0
    fig = style.figure(style.DOUBLE, height)
    for k, material in enumerate(present):
        ax = style.place(fig, 20.0 + 80.0 * k, 16.0, 62.0, 48.0)
        dynamics.energy_order(ax, tidy[tidy["material"] == material], ARMS)
        style.panel(ax, "ab"[k], MATERIALS[material])
    _arm_legend(fig, _arms(tidy), height)
    style.footer(fig, info, tidy, "dashed: the square of the time step; numbers: fitted order")
    return fig

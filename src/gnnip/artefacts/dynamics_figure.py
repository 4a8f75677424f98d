"""Figures about the dynamics of several potentials, one for each view, and their conservation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import dynamics_panels as panels
from gnnip.artefacts import kinds, style
from gnnip.artefacts.looks import REFERENCE, Look, legend, look_of
from gnnip.artefacts.structure_picture import draw_frame, last_frame

Info = Mapping[str, Any]
#: bottom and height (mm) of a distribution, the differences from it and their sizes
_ROWS = ((51.0, 22.0), (26.0, 22.0), (0.0, 12.0))


@style.styled
def dynamics(tidy: pd.DataFrame, info: Info, options: kinds.Dynamics) -> Figure:
    """Draw the view of the dynamics that the options name."""
    view = {"energy": energy, "collapse": collapse, "survival": survival, "structure": structure}
    view["warning"] = warning
    return view[options.view](tidy, info, options)


def energy(tidy: pd.DataFrame, info: Info, options: kinds.Dynamics) -> Figure:
    """Potential energy against time: of one arm beside a structure at its end, or of several."""
    look = _look(tidy, info, options)
    arms = [arm for arm in _moved(tidy, look) if arm in (options.show or look.labels)]
    if len(options.show) == 1:
        fig = style.figure(style.DOUBLE, 70.0)
        ax = style.place(fig, 22.0, 16.0, 84.0, 42.0)
        _energies(ax, tidy, arms, look)
        style.panel(ax, "a", "every replica")
        # what most of them came to
        count, of = panels.failures(tidy, options.show[0])
        failed = 2 * count > of
        found = last_frame(tidy, options.show[0], failed=failed)
        if found is None:
            failed = not failed
            found = last_frame(tidy, options.show[0], failed=failed)
        if found is not None:
            picture = style.place(fig, 112.0, 10.0, 54.0, 48.0)
            draw_frame(picture, *found)
            title = "one that lived" if count else "at the end"
            style.panel(picture, "b", "first bad frame" if failed else title)
    else:
        lines = max(1, (len(arms) + 1) // 2)
        fig = style.figure(style.DOUBLE, 14.0 + 54.0 * lines)
        for k, arm in enumerate(arms):
            bottom = 16.0 + 54.0 * (lines - 1 - k // 2)
            ax = style.place(fig, 22.0 + 84.0 * (k % 2), bottom, 60.0, 38.0)
            _energies(ax, tidy, [arm], look)
            style.panel(ax, style.LETTERS[k], look.labels[arm])
    legend(fig, look, arms)
    told = _told(tidy, arms, look)
    style.footer(fig, info, tidy, f"crosses: failures; replicas that failed: {told}")
    return fig


def collapse(tidy: pd.DataFrame, info: Info, options: kinds.Dynamics) -> Figure:
    """A first bad frame, and how long every replica lived."""
    look = _look(tidy, info, options)
    arms = _moved(tidy, look)
    arm = options.show[0] if options.show else arms[0]
    label = look.labels[arm]
    fig = style.figure(style.DOUBLE, 78.0)
    failed, lasting = (last_frame(tidy, arm, failed=kind) for kind in (True, False))
    picture = style.place(fig, 4.0, 10.0, 56.0, 54.0)
    if failed is not None:
        draw_frame(picture, *failed)
        style.panel(picture, "a", f"{label}, first bad frame")
    elif lasting is not None:
        draw_frame(picture, *lasting)
        style.panel(picture, "a", f"{label}, at the end: no replica failed")
    else:
        picture.axis("off")
        known = "failed" if arm in arms else "was run"
        picture.text(0.5, 0.5, f"no replica of the {label} {known}", ha="center", va="center")
        style.panel(picture, "a", label)
    ax = style.place(fig, 96.0, 18.0, 68.0, 46.0)
    panels.lifelines(ax, tidy, look)
    style.panel(ax, "b", "every replica")
    told = _told(tidy, arms, look)
    style.footer(fig, info, tidy, f"marks: failures; replicas that failed: {told}")
    return fig


def survival(tidy: pd.DataFrame, info: Info, options: kinds.Dynamics) -> Figure:
    """How long every replica lived, and the share alive at the end."""
    look, parts = _look(tidy, info, options), _materials(tidy, options)
    tall = [6.5 * max(2, len(_moved(part, look))) for _, part in parts]
    height = 8.0 + sum(26.0 + t for t in tall)
    fig = style.figure(style.DOUBLE, height)
    bottom = height
    for row, ((start, part), lanes) in enumerate(zip(parts, tall, strict=True)):
        bottom -= 26.0 + lanes
        left = style.place(fig, 38.0, bottom + 14.0, 76.0, lanes)
        panels.lifelines(left, part, look)
        style.panel(left, style.LETTERS[2 * row], f"{start}every replica")
        right = style.place(fig, 122.0, bottom + 14.0, 40.0, lanes)
        panels.shares(right, part, look)
        style.panel(right, style.LETTERS[2 * row + 1], f"{start}survival")
    note = "marks: failures, by which criterion, and the closest pair; bars: 95 % intervals"
    style.footer(fig, info, tidy, note)
    return fig


def warning(tidy: pd.DataFrame, info: Info, options: kinds.Dynamics) -> Figure:
    """The spread over seeds along every replica, and how long before failures it warned."""
    look, parts = _look(tidy, info, options), _materials(tidy, options)
    height = 18.0 + 56.0 * len(parts)
    fig = style.figure(style.DOUBLE, height)
    for row, (start, part) in enumerate(parts):
        bottom = height - 14.0 - 56.0 * (row + 1) + 17.0
        left = style.place(fig, 18.0, bottom, 82.0, 34.0)
        panels.spreads(left, part, look)
        style.panel(left, style.LETTERS[2 * row], f"{start}largest spread of a force")
        right = style.place(fig, 124.0, bottom, 40.0, 34.0)
        panels.warnings(right, part, look)
        style.panel(right, style.LETTERS[2 * row + 1], "warning before failure")
    legend(fig, look, look.present(tidy))
    note = "line: largest spread in frames that no seed learned from; crosses: failures"
    style.footer(fig, info, tidy, note)
    return fig


def structure(tidy: pd.DataFrame, info: Info, options: kinds.Dynamics) -> Figure:
    """Distances, angles and vibrations of the reference, what all arms have else, and how much."""
    look, parts = _look(tidy, info, options), _materials(tidy, options)
    height = 18.0 + 98.0 * len(parts)
    fig = style.figure(style.DOUBLE, height)
    for row, (start, part) in enumerate(parts):
        bottom = height - 14.0 - 98.0 * (row + 1) + 17.0
        pair, triplet = _shown(part, "rdf"), _shown(part, "adf")
        shown = (("rdf", pair), ("adf", triplet), ("vdos", "total"))
        titles = ("distances", "angles", "vibrations")
        for column, ((record, name), title) in enumerate(zip(shown, titles, strict=True)):
            place = 19.0 + 54.0 * column
            axes = [style.place(fig, place, bottom + y, 38.0, h) for y, h in _ROWS]
            style.panel(axes[0], style.LETTERS[3 * row + column], f"{start}{title}")
            if not (part["record"] == record).any():
                for ax in axes:
                    ax.axis("off")
                axes[1].text(0.5, 0.5, "not measured", ha="center", va="center")
                continue
            panels.known(axes[0], part, look, name, record)
            panels.differences(axes[1], part, look, name, record)
            panels.error_marks(axes[2], part, look, name, record)
            _share_x(axes[:2], record, name)
            axes[1].set_ylabel("difference" if not column else "")
    legend(fig, look, look.present(tidy))
    note = "errors: distance from the reference; grey: of its halves"
    if "vdos" not in set(tidy.loc[tidy["potential"] == REFERENCE, "record"]):
        note += "; the reference was not moved and has no vibrations"
    style.footer(fig, info, tidy, note)
    return fig


@style.styled
def conservation(tidy: pd.DataFrame, info: Info, options: kinds.Conservation) -> Figure:
    """Energy fluctuation at constant energy against the time step, a panel for each measurement."""
    look, parts = _look(tidy, info, options), _materials(tidy, options)
    lines = (len(parts) + 1) // 2
    fig = style.figure(style.DOUBLE, 14.0 + 64.0 * lines)
    for k, (start, part) in enumerate(parts):
        bottom = 16.0 + 64.0 * (lines - 1 - k // 2)
        ax = style.place(fig, 20.0 + 80.0 * (k % 2), bottom, 62.0, 48.0)
        panels.energy_order(ax, part, look)
        style.panel(ax, style.LETTERS[k], start.removesuffix(": "))
    legend(fig, look, look.present(tidy))
    style.footer(fig, info, tidy, "dashed: the square of the time step; numbers: fitted order")
    return fig


# --- parts ----------------------------------------------------------------------------------------


def _look(tidy: pd.DataFrame, info: Info, options: kinds.OfArms) -> Look:
    return look_of(info, options.materials, set(tidy["potential"]))


def _moved(tidy: pd.DataFrame, look: Look) -> list[str]:
    """Return the arms of a table, without the reference."""
    return [name for name in look.present(tidy) if name != REFERENCE]


def _materials(tidy: pd.DataFrame, options: kinds.OfArms) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of each material, in the card's order, and what titles about them begin
    with; nothing where there is one only."""
    if "material" not in tidy:
        return [("", tidy)]
    known = list(dict.fromkeys(tidy["material"]))
    ordered = [m for m in options.materials if m in known] or known
    return [(f"{options.materials.get(m, m)}: ", tidy[tidy["material"] == m]) for m in ordered]


def _energies(ax: Axes, tidy: pd.DataFrame, arms: Sequence[str], look: Look) -> None:
    """Draw the potential energy per atom of every replica from its start; a cross ends it."""
    series = tidy[(tidy["record"] == "series") & (tidy["name"] == "potential_energy_ev")]
    levels, ends = [], []
    if not arms:
        ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", va="center")
    for arm in arms:
        colour, failed = look.colours[arm], panels.failed(tidy, arm)
        for replica, time, energy in panels.from_the_start(tidy, arm, "potential_energy_ev"):
            ax.plot(time, energy, color=colour, lw=0.7, alpha=0.85)
            if failed[replica] > 0:
                ends.append((time[-1], energy[-1], colour))
            # but for the last plunge of a collapse
            levels += list(np.nanquantile(energy, (0.02, 0.98)))
    low, high = (min(levels), max(levels)) if levels else (0.0, 1.0)
    room = max(0.1 * (high - low), 0.5)
    low, high = low - room, high + room
    ax.set_ylim(low, high)
    # a collapse ends far away: its cross stands at the edge
    cross: dict[str, Any] = {"ms": 5, "mew": 1.2, "clip_on": False, "zorder": 4}
    for time, last, colour in ends:
        ax.plot(time, np.clip(last, low, high), "x", color=colour, **cross)
    ax.set_xlim(0.0, float(series["x"].max()) / 1000.0 or None)
    ax.set(xlabel="time (ps)", ylabel="potential energy\n(meV/atom, from the start)")


def _shown(part: pd.DataFrame, record: str) -> str:
    """Return the first distribution of unlike elements, of any where there is none; empty where
    none was measured."""
    known = list(dict.fromkeys(part.loc[part["record"] == record, "name"]))
    unlike = [name for name in known if len(set(name.split("-"))) > 1]
    return str([*unlike, *known, ""][0])


def _share_x(axes: Sequence[Axes], record: str, name: str) -> None:
    """Give a distribution and the differences from it one axis, named below."""
    upper, lower = axes
    words = {
        "rdf": f"distance {name.replace('-', '–')} (Å)",
        "adf": f"angle {name.replace('-', '–')} (degrees)",
        "vdos": "frequency (THz)",
    }
    if record == "adf":
        upper.set_xlim(0.0, 180.0)
        upper.set_xticks([0, 60, 120, 180])
        lower.set_xticks([0, 60, 120, 180])
    lower.set_xlim(upper.get_xlim())
    upper.tick_params(labelbottom=False)
    lower.set_xlabel(words[record])


def _told(tidy: pd.DataFrame, arms: Sequence[str], look: Look) -> str:
    """Return how many replicas of each arm failed, in words; of many arms those that did."""
    counts = {arm: panels.failures(tidy, arm) for arm in arms}
    named = {arm: pair for arm, pair in counts.items() if pair[0] or len(arms) <= 2}
    words = [f"{look.labels[arm]} {k} of {n}" for arm, (k, n) in named.items()]
    if len(named) < len(counts):
        words.append("no other" if named else "none")
    return ", ".join(words) or "none was run"

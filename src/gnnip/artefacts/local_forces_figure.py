"""Figure of learned local forces: the mean of every ordered pair of elements, a panel each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import kinds, style
from gnnip.artefacts.looks import Look, legend, look_of

NEAREST, FARTHEST = 1.4, 7.0  #: distances that are drawn, Angstrom


@style.styled
def local_forces(tidy: pd.DataFrame, info: Mapping[str, Any], options: kinds.LocalForces) -> Figure:
    """Draw the mean local force of each ordered pair of elements, one panel per pair."""
    pairs = sorted(
        {(c, n) for c, n in zip(tidy["centre"], tidy["neighbour"], strict=True)},
        key=lambda pair: (pair[0] == pair[1], pair),
    )
    lines = (len(pairs) + 1) // 2
    fig = style.figure(style.DOUBLE, 14.0 + 51.0 * lines)
    look = look_of(info, options.materials)
    arms = look.present(tidy, "arm")
    farthest = min(float(tidy["distance_a"].max()), FARTHEST)
    counted = tidy[tidy["counts"].astype(bool)]
    middles = np.sort(tidy["distance_a"].unique())
    for k, (centre, neighbour) in enumerate(pairs):
        bottom = 18.0 + 51.0 * (lines - 1 - k // 2)
        ax = style.place(fig, 14.0 + 84.0 * (k % 2), bottom, 66.0, 34.0)
        own = counted[(counted["centre"] == centre) & (counted["neighbour"] == neighbour)]
        _curves(ax, own, arms, look, middles)
        ax.axhline(0.0, color=style.INK, lw=0.5)
        ax.set_xlim(NEAREST, farthest)
        _limits(ax, own[own["distance_a"].between(NEAREST, farthest)])
        style.panel(ax, chr(ord("a") + k), f"{centre}–{neighbour}")
        ax.set(xlabel="distance (Å)", ylabel="local force (eV/Å)")
    legend(fig, look, arms)
    note = "force on the first of the pair through the edge from the second; positive: repulsive; "
    style.footer(fig, info, tidy, note + "bands: standard deviation over pairs")
    return fig


def _curves(
    ax: Axes, own: pd.DataFrame, arms: Sequence[str], look: Look, middles: np.ndarray
) -> None:
    """Draw the mean of each arm with its band, broken where there are no pairs."""
    width = float(np.diff(middles).min()) if len(middles) > 1 else 1.0
    number = np.arange(round((middles[-1] - middles[0]) / width) + 1)
    places = middles[0] + width * number
    for arm in arms:
        part, colour = own[own["arm"] == arm], look.colours[arm]
        grouped = part.groupby(((part["distance_a"] - middles[0]) / width).round().astype(int))
        force, spread = (
            grouped[f"directed_force_{name}ev_per_a"].mean().reindex(number)
            for name in ("", "std_")
        )
        ax.fill_between(places, force - spread, force + spread, color=colour, alpha=0.12, lw=0)
        ax.plot(places, force, color=colour, lw=1.3)


def _limits(ax: Axes, inside: pd.DataFrame) -> None:
    """Let the axis hold the mean forces and most of their bands."""
    if inside.empty:
        return
    force, spread = inside["directed_force_ev_per_a"], inside["directed_force_std_ev_per_a"]
    room = 0.15 * max(float(force.max() - force.min()), 1e-3)
    low, high = float((force - spread).quantile(0.02)), float((force + spread).quantile(0.98))
    ax.set_ylim(min(low, float(force.min())) - room, max(high, float(force.max())) + room)

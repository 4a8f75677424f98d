"""Panels about the dynamics of several potentials, from `compare_dynamics`' tidy table.

Every function draws one panel into given axes. `Look` says in which order, colour and words
potentials appear; the reference is drawn first and widest, as what the others are held against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gnnip.figures import style

REFERENCE, NOISE_FLOOR = "reference", "noise_floor"


@dataclass(frozen=True)
class Look:
    """Label and colour of each potential, in drawing order; the reference's name is fixed."""

    labels: Mapping[str, str]
    colours: Mapping[str, str]

    def width(self, name: str) -> float:
        """Return the line width of a potential in points."""
        return 2.6 if name == REFERENCE else 1.1

    def present(self, rows: pd.DataFrame) -> list[str]:
        """Return the potentials that `rows` knows, in drawing order."""
        known = set(rows["potential"])
        return [name for name in self.labels if name in known]


def series(ax: Axes, tidy: pd.DataFrame, look: Look, name: str) -> None:
    """Draw a time series: the mean over replicas, and their range as a band."""
    rows = tidy[(tidy["record"] == "series") & (tidy["name"] == name)]
    for potential in look.present(rows):
        wide = rows[rows["potential"] == potential].pivot_table(
            index="x", columns="replica", values="value"
        )
        time = wide.index.to_numpy() / 1000.0
        low, high = wide.min(axis=1), wide.max(axis=1)
        colour = look.colours[potential]
        ax.fill_between(time, low, high, color=colour, alpha=0.15, lw=0)
        ax.plot(time, wide.mean(axis=1), color=colour, lw=0.6 * look.width(potential) + 0.3)
    ax.set_xlim(0.0, rows["x"].max() / 1000.0 or None)
    ax.set_xlabel("time (ps)")


def temperature(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw kinetic temperatures and the thermostat's."""
    series(ax, tidy, look, "temperature_k")
    run = tidy[(tidy["record"] == "run") & (tidy["name"] == "target_temperature_k")]
    if len(run):
        ax.axhline(run["value"].iloc[0], color=style.INK, lw=0.7, ls=(0, (4, 2)))
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel("kinetic temperature (K)")


def conservation(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw the conserved energy per atom of each replica against its start."""
    chosen = (tidy["record"] == "series") & (tidy["name"] == "conserved_energy_ev")
    run = tidy[(tidy["record"] == "run") & (tidy["name"] == "n_atoms")]
    atoms = run.set_index(["potential", "replica"])["value"]
    for potential in look.present(tidy[chosen]):
        rows = tidy[chosen & (tidy["potential"] == potential)]
        for replica, part in rows.groupby("replica"):
            energy = 1000.0 * part["value"].to_numpy() / atoms[potential, replica]
            ax.plot(
                part["x"] / 1000.0,
                energy - energy[0],
                color=look.colours[potential],
                lw=0.7,
                alpha=0.8,
            )
    ax.axhline(0.0, color=style.INK, lw=0.5)
    ax.set_xlim(0.0, tidy.loc[chosen, "x"].max() / 1000.0 or None)
    ax.set(xlabel="time (ps)", ylabel="conserved energy\n(meV/atom, from the start)")


def distribution(ax: Axes, tidy: pd.DataFrame, look: Look, name: str, record: str = "rdf") -> None:
    """Draw g(r), or a profile, of all potentials with their errors and the noise floor."""
    rows = tidy[(tidy["record"] == record) & (tidy["name"] == name)]
    for potential in look.present(rows):
        part = rows[rows["potential"] == potential]
        ax.plot(
            part["x"],
            part["value"],
            color=look.colours[potential],
            lw=look.width(potential),
            alpha=0.45 if potential == REFERENCE else 1.0,
        )
    if len(rows):
        # room above the curves for the errors in words
        ax.set_ylim(0.0, 1.3 * rows["value"].max() or None)
        ax.set_xlim(0.0, rows["x"].max())


def errors_text(
    tidy: pd.DataFrame, look: Look, name: str, record: str, unit: str = "%"
) -> list[tuple[str, str]]:
    """Return (line, colour) of every error of one distribution, the noise floor last."""
    rows = tidy[(tidy["record"] == f"{record}_error") & (tidy["name"] == name)]
    value = rows.set_index("potential")["value"]
    lines = [
        (f"{look.labels[p]}: {value[p]:.2g} {unit}", look.colours[p])
        for p in look.labels
        if p in value.index
    ]
    if NOISE_FLOOR in value.index:
        lines.append((f"noise floor: {value[NOISE_FLOOR]:.2g} {unit}", style.GREY))
    return lines


def write_lines(ax: Axes, lines: list[tuple[str, str]], x: float = 0.97, y: float = 0.97) -> None:
    """Write coloured lines below each other, flush right at (x, y) in units of the axes."""
    step = 8.6 / (ax.get_window_extent().height / ax.figure.dpi * 72.0)
    for i, (text, colour) in enumerate(lines):
        ax.text(
            x,
            y - i * step,
            text,
            transform=ax.transAxes,
            ha="right",
            va="top",
            fontsize=6.3,
            color=colour,
        )


def spectrum(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw vibrational densities of states against the wavenumber."""
    rows = tidy[tidy["record"] == "vdos"]
    # 1 THz is 33.35641 per centimetre
    for potential in look.present(rows):
        part = rows[rows["potential"] == potential]
        ax.plot(
            33.35641 * part["x"],
            part["value"],
            color=look.colours[potential],
            lw=look.width(potential),
            alpha=0.45 if potential == REFERENCE else 1.0,
        )
    power = rows.groupby("x")["value"].max()
    busy = power[power > 0.01 * power.max()].index if len(power) else []
    ax.set_xlim(0.0, 33.35641 * (max(busy) * 1.1 if len(busy) else 1.0))
    ax.set_ylim(0.0, (1.35 * power.max() if len(power) else None) or None)
    ax.set(xlabel="wavenumber (cm$^{-1}$)", ylabel="vibrational density\nof states (1/THz)")


def on_path(ax: Axes, tidy: pd.DataFrame, look: Look, name: str) -> None:
    """Draw what the reference says of frames along the way: mean and range over replicas."""
    rows = tidy[(tidy["record"] == "relabel") & (tidy["name"] == name)]
    for potential in look.present(rows):
        wide = rows[rows["potential"] == potential].pivot_table(
            index="x", columns="replica", values="value"
        )
        if wide.empty:
            continue
        time, colour = wide.index.to_numpy() / 1000.0, look.colours[potential]
        ax.fill_between(time, wide.min(axis=1), wide.max(axis=1), color=colour, alpha=0.15, lw=0)
        ax.plot(time, wide.mean(axis=1), color=colour, lw=0.5 * look.width(potential) + 0.6)
    ax.set_xlim(left=0.0)
    ax.set_xlabel("time (ps)")


def seconds_per_step(tidy: pd.DataFrame, name: str, how: str = "alone") -> float:
    """Return the seconds that a step of one replica took; NaN when it was not timed."""
    rows = tidy[(tidy["record"] == "speed") & (tidy["potential"] == name)]
    value = rows.loc[rows["name"] == f"{how}_seconds_per_step", "value"]
    return float(value.iloc[0]) if len(value) else float("nan")


def failures(tidy: pd.DataFrame, name: str) -> tuple[int, int]:
    """Return how many replicas of a potential failed, and how many there were."""
    rows = tidy[(tidy["record"] == "run") & (tidy["name"] == "failed")]
    values = rows.loc[rows["potential"] == name, "value"]
    return int(np.nansum(values)), len(values)

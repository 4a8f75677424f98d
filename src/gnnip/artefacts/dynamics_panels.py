"""Panels about the dynamics of several potentials, from the tidy tables of `compare_dynamics` and
`measure_conservation`.

Every function draws one panel into given axes. `Look` says in which order, colour and words
potentials appear; the reference is drawn first and widest, as what the others are held against.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gnnip.artefacts import style
from gnnip.artefacts.looks import REFERENCE as REFERENCE
from gnnip.artefacts.looks import Look as Look
from gnnip.artefacts.panels import names_at_the_left

NOISE_FLOOR = "noise_floor"


def _each(rows: pd.DataFrame, look: Look) -> Iterator[tuple[str, pd.DataFrame, str]]:
    """Yield name, rows and colour of every potential, in drawing order."""
    for name in look.present(rows):
        yield name, rows[rows["potential"] == name], look.colours[name]


def _over_replicas(ax: Axes, rows: pd.DataFrame, look: Look, factor: float, least: float) -> None:
    """Draw the mean over replicas against time, `factor` times as wide as the potential's curves
    and `least` points more, and the range of the replicas as a band."""
    for potential, part, colour in _each(rows, look):
        wide = part.pivot_table(index="x", columns="replica", values="value")
        if wide.empty:
            continue
        time = wide.index.to_numpy() / 1000.0
        ax.fill_between(time, wide.min(axis=1), wide.max(axis=1), color=colour, alpha=0.15, lw=0)
        ax.plot(time, wide.mean(axis=1), color=colour, lw=factor * look.width(potential) + least)
    ax.set_xlabel("time (ps)")


def temperature(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw kinetic temperatures, mean and range over replicas, and the thermostat's."""
    rows = tidy[(tidy["record"] == "series") & (tidy["name"] == "temperature_k")]
    _over_replicas(ax, rows, look, 0.6, 0.3)
    ax.set_xlim(0.0, rows["x"].max() / 1000.0 or None)
    run = tidy[(tidy["record"] == "run") & (tidy["name"] == "target_temperature_k")]
    if len(run):
        ax.axhline(run["value"].iloc[0], color=style.INK, lw=0.7, ls=(0, (4, 2)))
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel("kinetic temperature (K)")


def from_the_start(
    tidy: pd.DataFrame, potential: str, name: str
) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Yield replica, times (ps) and an energy of a potential's series above its first value,
    meV/atom."""
    own = tidy[tidy["potential"] == potential]
    atoms = own[(own["record"] == "run") & (own["name"] == "n_atoms")].set_index("replica")["value"]
    rows = own[(own["record"] == "series") & (own["name"] == name)]
    for replica, part in rows.groupby("replica"):
        energy = 1000.0 * part["value"].to_numpy() / float(atoms[replica])
        yield replica, part["x"].to_numpy() / 1000.0, energy - energy[0]


def conservation(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw the conserved energy per atom of each replica against its start."""
    name = "conserved_energy_ev"
    rows = tidy[(tidy["record"] == "series") & (tidy["name"] == name)]
    for potential, _, colour in _each(rows, look):
        for _, time, energy in from_the_start(tidy, potential, name):
            ax.plot(time, energy, color=colour, lw=0.7, alpha=0.8)
    ax.axhline(0.0, color=style.INK, lw=0.5)
    ax.set_xlim(0.0, rows["x"].max() / 1000.0 or None)
    ax.set(xlabel="time (ps)", ylabel="conserved energy\n(meV/atom, from the start)")


def survival(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw the share of replicas alive against time, with its 95 % band."""
    rows = tidy[tidy["record"] == "survival"]
    for potential, part, colour in _each(rows, look):
        wide = part.pivot_table(index="x", columns="name", values="value")
        time = wide.index.to_numpy() / 1000.0
        low, high = wide["survival_low"], wide["survival_high"]
        ax.fill_between(time, low, high, step="post", color=colour, alpha=0.15, lw=0)
        width = 0.6 * look.width(potential) + 0.6
        ax.step(time, wide["survival"], where="post", color=colour, lw=width)
    ax.set_xlim(0.0, rows["x"].max() / 1000.0 or None)
    ax.set_ylim(0.0, 1.05)
    ax.set(xlabel="time (ps)", ylabel="share of replicas alive")


def spreads(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw the largest spread of a force along each replica, where failures end it, and the limit
    of what frames that were not learned from have."""
    rows = tidy[tidy["record"] == "spread"]
    told = tidy[tidy["record"] == "warning"]
    failed = told[told["name"] == "failed_fs"].set_index(["potential", "replica"])["value"]
    for potential, part, colour in _each(rows, look):
        limit = told[(told["potential"] == potential) & (told["name"] == "limit_ev_per_a")]
        ax.axhline(float(limit["value"].iloc[0]), color=colour, lw=0.8, ls=(0, (4, 2)))
        for replica, one in part.groupby("replica"):
            finite = one[np.isfinite(one["value"])]
            ax.plot(finite["x"] / 1000.0, finite["value"], color=colour, lw=0.7, alpha=0.8)
            if (potential, replica) in failed.index and len(finite):
                end = finite.iloc[-1]
                ax.plot(end["x"] / 1000.0, end["value"], "x", color=colour, ms=4)
    ax.set(xlabel="time (ps)", ylabel="spread (eV/Å)")
    style.plain_log(ax)


def warnings(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw when each replica was flagged against when it failed; survivors along the right edge."""
    told = tidy[tidy["record"] == "warning"].dropna(subset=["replica"])
    told = told.set_index(["potential", "replica", "name"])["value"].unstack().reset_index()
    told = told.reindex(columns=["potential", "replica", "flagged_fs", "failed_fs"])
    failures = told.dropna(subset=["failed_fs"])
    if failures.empty:
        count = int(told["flagged_fs"].notna().sum())
        ax.axis("off")
        words = f"no replica failed,\n{count} of {len(told)} were flagged"
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes)
        return
    largest = float(failures["failed_fs"].max()) / 1000.0
    ax.plot([0.0, largest], [0.0, largest], color=style.GREY, lw=0.7)
    for _, part, colour in _each(failures, look):
        # never flagged: at the time of the failure
        flagged = part["flagged_fs"].fillna(part["failed_fs"]) / 1000.0
        ax.plot(part["failed_fs"] / 1000.0, flagged, "o", ms=3.5, color=colour)
    ax.set(xlabel="failed at (ps)", ylabel="flagged at (ps)")


#: marks of what becomes of replicas (`gnnip.md.KINDS`)
KIND_MARKERS = {
    "collapse": "o",
    "explosion": "^",
    "melting": "s",
    "non-finite": "X",
    "refused": "D",
}


def autopsy(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw each failure at its time and the distance of its closest pair: colour by potential, mark
    by kind, the pair in letters where it changes.
    """
    rows = tidy[tidy["record"] == "autopsy"]
    kinds, distances = (rows[rows["name"] == name] for name in ("kind", "pair_distance_a"))
    found = pd.merge(kinds, distances, on=["potential", "replica"], suffixes=("_kind", ""))
    seen, labelled = set(found["text_kind"]), set()
    above: dict[str, Any] = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
    for potential, own, colour in _each(found, look):
        for failure in own.to_dict("records"):
            place, pair = (failure["value_kind"] / 1000.0, failure["value"]), failure["text"]
            marker = KIND_MARKERS.get(failure["text_kind"], "P")
            ax.plot(*place, marker, color=colour, ms=4.5, mec="white", mew=0.4)
            # one name for all failures of a potential by one pair
            if (potential, pair) not in labelled:
                labelled.add((potential, pair))
                ax.annotate(pair, place, fontsize=6.3, color=colour, **above)
    for kind in (kind for kind in KIND_MARKERS if kind in seen):
        ax.plot([], [], KIND_MARKERS[kind], color=style.GREY, ms=4, label=kind)
    if seen:
        ax.legend(loc="best", handletextpad=0.1)
    else:
        ax.axis("off")
        ax.text(0.5, 0.5, "no replica failed", transform=ax.transAxes, ha="center", va="center")
    last, top = found["value_kind"].max() / 1000.0, found["value"].max()
    # room for the marks and the names of the pairs
    ax.set_xlim(0.0, 1.1 * last if last > 0 else 1.0)
    ax.set_ylim(0.0, 1.15 * top if top > 0 else 1.0)
    ax.set(xlabel="time of the failure (ps)", ylabel="closest pair (Å)")


def angles(ax: Axes, tidy: pd.DataFrame, look: Look, name: str) -> None:
    """Draw the distribution of one angle of all potentials, named end-centre-end."""
    distribution(ax, tidy, look, name, "adf")
    ax.set_xlim(0.0, 180.0)
    ax.set_xticks([0, 60, 120, 180])
    first, centre, last = name.split("-")
    ax.set(xlabel=f"angle {first}–{centre}–{last} (degrees)", ylabel="density (1/degree)")


def energy_order(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw the fluctuation of the energy against the time step: mean and range over replicas, a
    line of slope 2 beside them, and the fitted order of each potential in words.
    """
    rows = tidy[(tidy["record"] == "conservation") & (tidy["name"] == "fluctuation_mev_per_atom")]
    rows = rows.dropna(subset=["value"])
    # replicas have an exponent each, the mean and its interval stand once
    once = (tidy["record"] == "order") & (tidy["name"] != "exponent")
    order = tidy[once].set_index(["potential", "name"])["value"]
    lines = []
    for potential in look.present(tidy[tidy["record"] == "order"]):
        colour = look.colours[potential]
        by_step = rows[rows["potential"] == potential].groupby("x")["value"]
        if len(by_step):
            mean = by_step.mean()
            spread = [mean - by_step.min(), by_step.max() - mean]
            ax.errorbar(mean.index, mean, yerr=spread, fmt="o-", color=colour, ms=3.5, capsize=2)
        mean_order = float(order[potential, "exponent_mean"])
        half = 0.5 * (order[potential, "exponent_high"] - order[potential, "exponent_low"])
        text = f"{mean_order:.2f} ± {half:.2f}" if np.isfinite(half) else f"{mean_order:.2f}"
        known = text if np.isfinite(mean_order) else "failed"
        lines.append((f"{look.labels[potential]}: {known}", colour))
    ax.set_xscale("log")
    ax.set_yscale("log")
    if len(rows):
        steps = np.sort(rows["x"].unique())
        low = rows.groupby("x")["value"].min().iloc[0]
        guide = 0.5 * low * (steps / steps[0]) ** 2
        ax.plot(steps, guide, color=style.INK, lw=0.7, ls=(0, (4, 2)))
        ax.set_ylim(0.5 * guide[0], 30.0 * rows["value"].max())
        ax.set_xticks(steps, [f"{step:g}" for step in steps])
        ax.minorticks_off()
    write_lines(ax, lines)
    ax.set(xlabel="time step (fs)", ylabel="energy fluctuation\n(meV/atom)")


def distribution(ax: Axes, tidy: pd.DataFrame, look: Look, name: str, record: str = "rdf") -> None:
    """Draw g(r), or a profile, of all potentials with their errors and the noise floor."""
    rows = tidy[(tidy["record"] == record) & (tidy["name"] == name)]
    for potential, part, _ in _each(rows, look):
        ax.plot(part["x"], part["value"], **look.stroke(potential))
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
    known = [name for name in look.labels if name in value.index]
    lines = [(f"{look.labels[p]}: {value[p]:.2g} {unit}", look.colours[p]) for p in known]
    if NOISE_FLOOR in value.index:
        lines.append((f"noise floor: {value[NOISE_FLOOR]:.2g} {unit}", style.GREY))
    return lines


def write_lines(ax: Axes, lines: list[tuple[str, str]], x: float = 0.97, y: float = 0.97) -> None:
    """Write coloured lines below each other, flush right at (x, y) in units of the axes."""
    step = 8.6 / (ax.get_window_extent().height / ax.figure.dpi * 72.0)
    place: dict[str, Any] = {"transform": ax.transAxes, "ha": "right", "va": "top"}
    for i, (text, colour) in enumerate(lines):
        ax.text(x, y - i * step, text, fontsize=6.3, color=colour, **place)


def spectrum(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw vibrational densities of states against the wavenumber."""
    rows = tidy[tidy["record"] == "vdos"]
    # 1 THz is 33.35641 per centimetre
    for potential, part, _ in _each(rows, look):
        ax.plot(33.35641 * part["x"], part["value"], **look.stroke(potential))
    power = rows.groupby("x")["value"].max()
    busy = power[power > 0.01 * power.max()].index if len(power) else []
    ax.set_xlim(0.0, 33.35641 * (max(busy) * 1.1 if len(busy) else 1.0))
    ax.set_ylim(0.0, (1.35 * power.max() if len(power) else None) or None)
    ax.set(xlabel="wavenumber (cm$^{-1}$)", ylabel="vibrational density\nof states (1/THz)")


def on_path(ax: Axes, tidy: pd.DataFrame, look: Look, name: str) -> None:
    """Draw what the reference says of frames along the way: mean and range over replicas."""
    rows = tidy[(tidy["record"] == "relabel") & (tidy["name"] == name)]
    _over_replicas(ax, rows, look, 0.5, 0.6)
    ax.set_xlim(left=0.0)


def seconds_per_step(tidy: pd.DataFrame, name: str, how: str = "alone") -> float:
    """Return the seconds that a step of one replica took; NaN when it was not timed."""
    rows = tidy[(tidy["record"] == "speed") & (tidy["potential"] == name)]
    value = rows.loc[rows["name"] == f"{how}_seconds_per_step", "value"]
    return float(value.iloc[0]) if len(value) else float("nan")


def step_times(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw the time of one step of one replica, alone and with all replicas in one batch."""
    names = look.present(tidy[tidy["record"] == "speed"])
    for i, name in enumerate(names):
        for how, marker in (("alone", "o"), ("batched", "^")):
            time = seconds_per_step(tidy, name, how)
            if np.isfinite(time):
                ax.plot(1000.0 * time, i, marker, color=look.colours[name], ms=5, mew=0)
    for how, marker in (("alone", "o"), ("all at once", "^")):
        ax.plot([], [], marker, color=style.GREY, ms=4, label=how)
    ax.legend(loc="lower center", ncol=2, handletextpad=0.1, columnspacing=1.0)
    names_at_the_left(ax, [look.labels[n] for n in names], 0.2)  # the last row is the legend's
    ax.set_xlabel("ms per replica, one core")
    style.plain_log(ax, "x")


def failed(tidy: pd.DataFrame, name: str) -> pd.Series:
    """Return whether each replica of a potential failed (1) or not (0), by replica."""
    rows = tidy[(tidy["record"] == "run") & (tidy["name"] == "failed")]
    values: pd.Series = rows[rows["potential"] == name].set_index("replica")["value"]
    return values


def failures(tidy: pd.DataFrame, name: str) -> tuple[int, int]:
    """Return how many replicas of a potential failed, and how many there were."""
    values = failed(tidy, name)
    return int(np.nansum(values)), len(values)

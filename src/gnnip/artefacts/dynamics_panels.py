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
from matplotlib import patheffects
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


#: what replicas fail by, as the measurement tells them apart, and its mark
CRITERIA = {"limits": "o", "energy": "^", "structure": "s"}


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


def lifelines(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw a line for each replica of each potential until its first failure, pale after it, and a
    mark at the time of each failure, with the closest pair in words where atoms came too close."""
    run = tidy[tidy["record"] == "run"]
    names = [name for name in look.present(run) if name != REFERENCE]
    pairs = tidy[(tidy["record"] == "autopsy") & (tidy["name"] == "pair_distance_a")]
    longest = run.loc[run["name"] == "simulated_fs", "value"].max() / 1000.0
    seen = set()
    for lane, name in enumerate(names):
        own = run[run["potential"] == name].pivot_table(
            index="replica", columns="name", values="value", aggfunc="first"
        )
        colour = look.colours[name]
        told: dict[str, tuple[float, float, str]] = {}
        for rank, (replica, values) in enumerate(own.iterrows()):
            y = lane + 0.64 * ((rank + 0.5) / len(own) - 0.5)
            end = values["simulated_fs"] / 1000.0
            failures = _failures(values)
            first = min([*failures.values(), end])
            ax.plot([0.0, first], [y, y], color=colour, lw=0.9, solid_capstyle="butt")
            ax.plot([first, end], [y, y], color=colour, lw=0.9, alpha=0.25, solid_capstyle="butt")
            for criterion, time in failures.items():
                seen.add(criterion)
                mark: dict[str, Any] = {"ms": 3.6, "mec": "white", "mew": 0.3, "clip_on": False}
                ax.plot(time, y, CRITERIA[criterion], color=colour, zorder=3, **mark)
            close = pairs[(pairs["potential"] == name) & (pairs["replica"] == replica)]
            for text, distance in zip(close["text"], close["value"], strict=True):
                # one name for all failures of a potential by one pair
                told.setdefault(text, (first, y, f"{text}, {distance:.2f} Å"))
        if told:
            # several names in one line, beside the marks of all
            x = max(x for x, _, _ in told.values())
            y = sum(y for _, y, _ in told.values()) / len(told)
            left = x > 0.7 * longest
            place: dict[str, Any] = {"xytext": (-5 if left else 5, 0)}
            place |= {"textcoords": "offset points", "ha": "right" if left else "left"}
            halo = [patheffects.withStroke(linewidth=2.0, foreground="white")]
            ax.annotate(
                "; ".join(words for _, _, words in told.values()),
                (x, y),
                **place,
                va="center",
                fontsize=6.0,
                color=colour,
                path_effects=halo,
                zorder=4,
            )
    for criterion in (c for c in CRITERIA if c in seen):
        ax.plot([], [], CRITERIA[criterion], color=style.GREY, ms=3.6, label=criterion)
    if seen:
        above: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0)}
        ax.legend(ncol=len(seen), handletextpad=0.1, columnspacing=1.0, borderpad=0.1, **above)
    names_at_the_left(ax, [look.labels[name] for name in names])
    ax.set_xlim(0.0, longest if longest > 0 else 1.0)
    ax.set_xlabel("time (ps)")


def _failures(values: pd.Series) -> dict[str, float]:
    """Return the time (ps) of the failure by each criterion of a replica that failed by it."""
    times = {c: values.get(f"failed_by_{c}_fs", np.nan) / 1000.0 for c in CRITERIA}
    # tables from before energies and structures were judged
    if values["failed"] > 0:
        times["limits"] = values["simulated_fs"] / 1000.0
    return {c: float(time) for c, time in times.items() if np.isfinite(time)}


def shares(ax: Axes, tidy: pd.DataFrame, look: Look) -> None:
    """Draw the share of replicas alive at the end by each criterion, with its 95 % interval."""
    ends = tidy[tidy["record"].str.startswith("survival") & (tidy["potential"] != REFERENCE)]
    names = look.present(ends)
    records = {c: f"survival_by_{c}" for c in CRITERIA}
    if not ends["record"].isin(records.values()).any():
        records = {"limits": "survival"}
    for lane, name in enumerate(names):
        for rank, (criterion, record) in enumerate(records.items()):
            own = ends[(ends["potential"] == name) & (ends["record"] == record)]
            if own.empty:
                continue
            last = own[own["x"] == own["x"].max()].drop_duplicates("name", keep="last")
            value = last.set_index("name")["value"]
            y = lane + 0.5 * ((rank + 0.5) / len(records) - 0.5)
            share = float(value["survival"])
            low, high = float(value["survival_low"]), float(value["survival_high"])
            spread = [[max(share - low, 0.0)], [max(high - share, 0.0)]]
            bar: dict[str, Any] = {"color": look.colours[name], "ms": 4.0, "elinewidth": 1.0}
            ax.errorbar([share], [y], xerr=spread, fmt=CRITERIA[criterion], clip_on=False, **bar)
    names_at_the_left(ax, [""] * len(names))
    ax.set_xlim(0.0, 1.0)
    ax.set_xlabel("share alive at the end")


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
        ax.set_ylim(0.0, 1.5 * rows["value"].max() or None)
        ax.set_xlim(0.0, rows["x"].max())


def known(ax: Axes, tidy: pd.DataFrame, look: Look, name: str, record: str) -> None:
    """Draw a distribution of the reference, of all potentials where it has none."""
    rows = tidy[(tidy["record"] == record) & (tidy["name"] == name)]
    own = rows[rows["potential"] == REFERENCE]
    for potential, part, _ in _each(own if len(own) else rows, look):
        ax.plot(part["x"], part["value"], **look.stroke(potential))
    if len(rows):
        top = rows["value"].max() if own.empty else own["value"].max()
        busy = rows.loc[rows["value"] > 0.01 * top, "x"].max() if record == "vdos" else np.nan
        ax.set_xlim(0.0, 1.1 * busy if busy > 0 else rows["x"].max())
        ax.set_ylim(0.0, 1.1 * top if top > 0 else 1.0)
    units = {"rdf": "$g(r)$", "adf": "per degree", "vdos": "per THz"}
    ax.set_ylabel(units[record])


def differences(ax: Axes, tidy: pd.DataFrame, look: Look, name: str, record: str) -> None:
    """Draw each potential's distribution less the reference's."""
    rows = tidy[(tidy["record"] == record) & (tidy["name"] == name)]
    known = rows[rows["potential"] == REFERENCE].sort_values("x")
    if known.empty:
        ax.text(0.5, 0.5, "no reference", transform=ax.transAxes, ha="center", va="center")
        ax.set_yticks([])
        return
    for potential, part, _ in _each(rows, look):
        part = part.sort_values("x")
        if potential != REFERENCE and len(part):
            expected = np.interp(part["x"], known["x"], known["value"], right=np.nan)
            ax.plot(part["x"], part["value"] - expected, **look.stroke(potential))
    ax.axhline(0.0, color=style.INK, lw=0.5)


def error_marks(ax: Axes, tidy: pd.DataFrame, look: Look, name: str, record: str) -> None:
    """Draw the error of each potential in per cent, with the noise floor as a band."""
    rows = tidy[(tidy["record"] == f"{record}_error") & (tidy["name"] == name)]
    value = rows.set_index("potential")["value"]
    known = [p for p in look.labels if p in value.index and p != REFERENCE]
    for lane, potential in enumerate(known):
        ax.plot(value[potential], lane, "o", color=look.colours[potential], ms=4.5)
    if NOISE_FLOOR in value.index:
        ax.axvspan(0.0, value[NOISE_FLOOR], color=style.PALE, lw=0, zorder=0)
    if rows.empty:
        ax.axis("off")
        return
    ax.set_yticks([])
    ax.set_ylim(len(known) - 0.4, -0.6)
    top = max([*value, 1e-9])
    ax.set(xlim=(0.0, 1.1 * top), xlabel="error (%)")


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
    # what another potential has at zero, where atoms drift apart, would squeeze all bands
    own = rows[rows["potential"] == REFERENCE]
    power = (own if len(own) else rows).groupby("x")["value"].max()
    busy = power[power > 0.01 * power.max()].index if len(power) else []
    ax.set_xlim(0.0, 33.35641 * (max(busy) * 1.1 if len(busy) else 1.0))
    top = power.max() if len(power) else 0.0
    ax.set_ylim(0.0, 1.5 * top or None)
    over = rows.loc[rows["value"] > 1.5 * top] if top > 0 else rows.iloc[:0]
    for potential, part, colour in _each(over, look):
        words = f"{look.labels[potential]}: up to {part['value'].max():.2g}"
        place: dict[str, Any] = {"xytext": (5, -30), "textcoords": "offset points", "va": "top"}
        corner, of = (0.0, 1.0), "axes fraction"
        ax.annotate(words, corner, xycoords=of, fontsize=6.0, color=colour, **place)
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

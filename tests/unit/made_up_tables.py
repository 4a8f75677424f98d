"""Tables as measurements write them, made up from rules instead of trained potentials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from ase.data import chemical_symbols

from gnnip.datasets.arrays import FrameArrays
from gnnip.measurements.dynamics import COLUMNS

REPLICAS = 8
#: bins of local forces that hold fewer pairs than a card asks for
FEW_PAIRS = 19

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Failures:
    """Times (fs) of the replicas that fail, and their closest pair."""

    times: Sequence[float] = ()
    pair: str = ""


def dynamics_table(
    frames: FrameArrays,
    potentials: Mapping[str, Failures],
    pairs: Sequence[str],
    triplets: Sequence[str],
    duration: float,
) -> pd.DataFrame:
    """Return what `compare_dynamics` writes of potentials (group/cell/seed-0) whose reference did
    not move. Errors of distributions are 2, 3, ... %, the noise floor 1.5 %."""
    rows: list[Row] = []
    for number, (name, failures) in enumerate(potentials.items()):
        times, count = failures.times, len(failures.times)
        for replica in range(REPLICAS):
            life = times[replica] if replica < count else duration
            rows += _replica(name, replica, life, failures, frames, number)
        if count < REPLICAS:
            rows += _frame(name, count, frames, "")
        if count:
            rows += _frame(name, 0, frames, failures.pair)
        for time in sorted({0.0, *times, duration}):
            alive = sum(life > time for life in times) + REPLICAS - count
            for key, shift in (("survival", 0.0), ("survival_low", -0.2), ("survival_high", 0.2)):
                value = float(np.clip(alive / REPLICAS + shift, 0.0, 1.0))
                rows.append((name, "survival", key, None, time, value, ""))
        rows += _curves(name, pairs, triplets, 0.1 * number)
        for x in np.linspace(0.0, 40.0, 30):
            power = float(np.exp(-((x - 15.0 + 0.1 * number) ** 2) / 20.0))
            rows.append((name, "vdos", "total", None, x, power, ""))
    rows += _curves("reference", pairs, triplets, 0.0)
    errors = {name: 2.0 + number for number, name in enumerate(potentials)} | {"noise_floor": 1.5}
    for name, error in errors.items():
        rows += [(name, "rdf_error", pair, None, None, error, "") for pair in pairs]
        rows += [(name, "adf_error", triplet, None, None, error, "") for triplet in triplets]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _replica(
    name: str, replica: int, life: float, failures: Failures, frames: FrameArrays, number: int
) -> Iterator[Row]:
    atoms, failed, pair = float(frames.n_atoms[0]), replica < len(failures.times), failures.pair
    yield name, "run", "n_atoms", replica, None, atoms, ""
    yield name, "run", "simulated_fs", replica, None, life, ""
    yield name, "run", "failed", replica, None, float(failed), "too close" if failed else ""
    rng = np.random.default_rng(100 * number + replica)
    time = np.linspace(0.0, life, 40)
    level = 1e-3 * atoms * (20.0 * (1 - np.exp(-time / 200.0)) + 6.0 * rng.normal(size=40))
    if failed:
        level[-2:] -= 1e-3 * atoms * np.array([200.0, 3000.0])
    for key, values in (("potential_energy_ev", -900.0 + level), ("temperature_k", 1100.0 + level)):
        for t, value in zip(time, values, strict=True):
            yield name, "series", key, replica, t, value, ""
    if failed:
        distance = 1.2 + 0.02 * replica
        yield name, "autopsy", "kind", replica, life, life, "collapse"
        yield name, "autopsy", "pair_distance_a", replica, life, distance, pair
        yield name, "autopsy", "pair_ratio", replica, life, 0.55, pair
        yield name, "closest", pair, replica, life, distance, ""


def _frame(name: str, replica: int, frames: FrameArrays, pair: str) -> Iterator[Row]:
    """Yield the first frame of the data set; two atoms of `pair`, if given, 1.2 Å apart."""
    first = frames.subset(np.array([0]))
    places = np.array(first.positions, dtype=float)
    symbols = [chemical_symbols[z] for z in first.numbers]
    if pair:
        one, other = pair.split("-")
        i = symbols.index(one)
        j = next(k for k, symbol in enumerate(symbols) if symbol == other and k != i)
        places[j] = places[i] + [0.0, 1.2, 0.0]
    for atom, (symbol, place) in enumerate(zip(symbols, places, strict=True)):
        text = " ".join(f"{x:.4f}" for x in place)
        yield name, "frame", symbol, replica, float(atom), np.nan, text


def _curves(
    name: str, pairs: Sequence[str], triplets: Sequence[str], shift: float
) -> Iterator[Row]:
    for pair in pairs:
        for r in np.linspace(0.05, 5.95, 40):
            yield name, "rdf", pair, None, r, 5.0 * np.exp(-((r - 2.4 - shift) ** 2) / 0.1), ""
    for triplet in triplets:
        for angle in np.arange(2.0, 180.0, 4.0):
            density = 0.03 * np.exp(-((angle - 109.0 - 5 * shift) ** 2) / 300.0)
            yield name, "adf", triplet, None, angle, density, ""


def conservation_table(orders: Mapping[str, float], steps: Sequence[float]) -> pd.DataFrame:
    """Return what `measure_conservation` writes of potentials with errors of these orders."""
    rows: list[Row] = []
    for name, power in orders.items():
        for replica in range(4):
            for step in steps:
                value, drift = 0.1 * step**power * (1.0 + 0.1 * replica), 0.01 * step
                about = (name, "conservation")
                rows.append((*about, "fluctuation_mev_per_atom", replica, step, value, ""))
                signed = drift * (-1) ** replica
                rows.append((*about, "drift_mev_per_atom_ps", replica, step, signed, ""))
            rows.append((name, "order", "exponent", replica, None, power, ""))
        for key, shift in (("mean", 0.0), ("low", -0.1), ("high", 0.1)):
            rows.append((name, "order", f"exponent_{key}", None, None, power + shift, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def local_forces_table(
    groups: Sequence[str],
    elements: Sequence[str],
    force: Callable[[str, str, str, float], float],
    nearest: float = 1.5,
) -> pd.DataFrame:
    """Return what `tabulate_local_forces` writes of `force(group, centre, neighbour, r)`; the first
    bin is far below all others and has too few pairs to be trusted."""
    rows = [
        {
            **{"group": group, "cell": "all", "seed": 0},
            **{"centre": centre, "neighbour": neighbour, "distance_a": r},
            "n_pairs": 200 if k else FEW_PAIRS,
            "radial_force_ev_per_a": 2.0 * force(group, centre, neighbour, r),
            "radial_force_std_ev_per_a": 0.2,
            "directed_force_ev_per_a": force(group, centre, neighbour, r) if k else -50.0,
            "directed_force_std_ev_per_a": 0.1,
        }
        for group in groups
        for centre in elements
        for neighbour in elements
        for k, r in enumerate(np.arange(nearest - 0.05, 7.0, 0.1))
    ]
    return pd.DataFrame(rows)


def calibration_table(trainings: Sequence[tuple[str, str]], factor: float = 2.0) -> pd.DataFrame:
    """Return what the kind calibration writes of trainings (group, cell) whose errors are `factor`
    times the spread of three seeds."""
    from gnnip.measurements.ensembles import _rows

    parts = []
    rng = np.random.default_rng(0)
    for group, cell in trainings:
        spread = rng.uniform(0.1, 1.0, size=200)
        errors = np.abs(factor * spread * rng.normal(size=200))
        rows = [row for name in ("energy", "forces") for row in _rows(name, spread, errors, 100)]
        parts.append(pd.DataFrame(rows).assign(group=group, cell=cell, n_seeds=3))
    return pd.concat(parts, ignore_index=True)


def warnings_table(potentials: Mapping[str, Failures], duration: float) -> pd.DataFrame:
    """Return what the kind warnings writes: every failure is flagged 100 fs before, and of those
    that live the first one too."""
    rows: list[Row] = []
    for name, failures in potentials.items():
        rows.append((name, "warning", "limit_ev_per_a", None, None, 1.0, ""))
        for replica in range(REPLICAS):
            failed = failures.times[replica] if replica < len(failures.times) else None
            end = duration if failed is None else failed
            alarm = failed is not None or replica == len(failures.times)
            flagged = end - 100.0 if alarm else np.nan
            for x in np.linspace(0.0, end, 5):
                spread = 2.0 if x > flagged else 0.5
                rows.append((name, "spread", "forces", replica, x, spread, ""))
            rows.append((name, "warning", "flagged_fs", replica, None, flagged, ""))
            if failed is not None:
                rows.append((name, "warning", "failed_fs", replica, None, failed, ""))
                rows.append((name, "warning", "warning_fs", replica, None, failed - flagged, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))

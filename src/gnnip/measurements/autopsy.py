"""Do replicas that drift relax as the reference would, or fall into holes of the potential?

Frames along the way are labelled by the reference. Where its energy follows the potential's, what
happens is what the reference would have done too; where it stays or rises while the potential's
falls, the potential is wrong there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms

from gnnip import load_calculator
from gnnip.errors import GnnipError
from gnnip.md import Trajectory, read_trajectory
from gnnip.measurements.dynamics import COLUMNS
from gnnip.measurements.dynamics.rows import Row, row
from gnnip.measurements.kinds import Autopsy
from gnnip.measurements.selection import spread_evenly
from gnnip.measurements.sources import Sources
from gnnip.reference import make_calculator


def autopsy(sources: Sources, options: Autopsy) -> pd.DataFrame:
    """Return one tidy table of the replicas of each potential whose energy changed most.

    Columns potential, record, name, replica, x, value, text. By record:

    path : of each labelled frame, x its time (fs): potential_mev_per_atom and
        reference_mev_per_atom, energies above those of the replica's first labelled frame, and
        force_rmse_ev_per_a of the potential; NaN, with the reason as text, where the reference
        says nothing.
    change : of each replica by_potential and by_reference, the mean of the last quarter of its
        labelled frames less that of the first, meV/atom, and cause, whose text is
        none (neither energy changed by `least`), relaxation (they changed in the same direction,
        neither by more than twice the other), hole (they did not) or unknown (not labelled).
        Value: 1 for a hole, 0 for none and relaxation, NaN for unknown.
    """
    rows: list[Row] = []
    models = {training.name: training.model for training in sources.trainings}
    calculator = make_calculator(options.reference)
    for name, model in models.items():
        potential = load_calculator(model, device="cpu")
        replicas = read_trajectory(sources.trajectories[name])
        for t in _changed_most(replicas, options):
            print(f"{name}, replica {t.replica}")
            rows += _along(name, t, potential, calculator, options)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _changed_most(replicas: Sequence[Trajectory], options: Autopsy) -> list[Trajectory]:
    """Return the replicas whose mean energy per atom changed most from the first tenth of their
    time series, after the discarded time, to the last."""
    changes = []
    for t in replicas:
        late = np.asarray(t.series["time_fs"]) >= options.discard
        energy = np.asarray(t.series["potential_energy_ev"])[late] / len(t.atomic_numbers)
        usable = (t.time_fs >= options.discard).sum() > 1
        tenth = max(1, len(energy) // 10)
        if usable and len(energy) and np.isfinite(energy).all():
            changes.append((-abs(energy[-tenth:].mean() - energy[:tenth].mean()), t.replica, t))
    return [t for *_, t in sorted(changes, key=lambda entry: entry[:2])[: options.replicas]]


def _along(
    name: str, t: Trajectory, potential: Any, calculator: Any, options: Autopsy
) -> list[Row]:
    """Return the records path and change of one replica."""
    frames = spread_evenly(np.flatnonzero(t.time_fs >= options.discard), options.frames)
    n = len(t.atomic_numbers)
    found, texts = [], []
    for k in frames:
        positions = np.asarray(t.positions[k], dtype=np.float64)
        atoms = Atoms(numbers=t.atomic_numbers, positions=positions, cell=t.cell, pbc=t.pbc)
        atoms.calc = potential
        ours, forces, text = atoms.get_potential_energy(), atoms.get_forces(), ""
        try:
            calculator.calculate(atoms)
            theirs = float(calculator.results["energy"])
            rmse = float(np.sqrt(np.mean((forces - calculator.results["forces"]) ** 2)))
        except GnnipError as error:
            theirs, rmse, text = math.nan, math.nan, str(error)
        found.append((1000.0 * ours / n, 1000.0 * theirs / n, rmse))
        texts.append(text)
    values = np.array(found)
    # from the first frame that both have labelled
    known = np.flatnonzero(np.isfinite(values[:, 1]))
    values[:, :2] -= values[known[0] if len(known) else 0, :2]
    names = ("potential_mev_per_atom", "reference_mev_per_atom", "force_rmse_ev_per_a")
    rows = [
        row(name, "path", key, float(v), replica=t.replica, x=float(t.time_fs[k]), text=text)
        for k, line, text in zip(frames, values, texts, strict=True)
        for key, v in zip(names, line, strict=True)
    ]
    ours, theirs = (_change(values[known, column]) for column in (0, 1))
    text = cause(ours, theirs, options.least)
    value = {"hole": 1.0, "unknown": math.nan}.get(text, 0.0)
    return [
        *rows,
        row(name, "change", "by_potential", ours, replica=t.replica),
        row(name, "change", "by_reference", theirs, replica=t.replica),
        row(name, "change", "cause", value, replica=t.replica, text=text),
    ]


def _change(energies: np.ndarray) -> float:
    """Return the mean of the last quarter less that of the first; NaN for fewer than two."""
    quarter = max(1, len(energies) // 4)
    if len(energies) < 2:
        return math.nan
    return float(energies[-quarter:].mean() - energies[:quarter].mean())


def cause(by_potential: float, by_reference: float, least: float) -> str:
    """Return none, relaxation, hole or unknown, as `autopsy` says, for changes in meV/atom."""
    if not (math.isfinite(by_potential) and math.isfinite(by_reference)):
        return "unknown"
    if abs(by_potential) < least and abs(by_reference) < least:
        return "none"
    # the potential may also see nothing where the reference sees much
    larger = max(by_potential, by_reference, key=abs)
    smaller = min(by_potential, by_reference, key=abs)
    return "relaxation" if smaller / larger >= 0.5 else "hole"

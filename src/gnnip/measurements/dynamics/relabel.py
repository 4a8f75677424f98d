"""What the reference says of frames along the trajectories of all potentials."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms

from gnnip.errors import GnnipError
from gnnip.md import Trajectory
from gnnip.measurements.dynamics.motion import COLUMNS, REFERENCE, Motion
from gnnip.measurements.dynamics.options import Comparison
from gnnip.measurements.dynamics.rows import Row, row
from gnnip.measurements.dynamics.structure import NOISE_FLOOR
from gnnip.measurements.selection import spread_evenly
from gnnip.models.calculator import load_calculator
from gnnip.reference import make_calculator


def relabelled(
    name: str,
    replicas: Sequence[Trajectory],
    model: str | os.PathLike[str] | None,
    reference: str,
    wanted: Comparison,
) -> list[Row]:
    """Return the record relabel of one potential."""
    potential = None if model is None else load_calculator(model, device="cpu")
    names = list(wanted.observables.values())
    if potential is not None:
        names += ["force_rmse_ev_per_a", "energy_error_ev"]
    rows = []
    for t in replicas:
        calculator = make_calculator(reference)
        for k in spread_evenly(np.arange(len(t.time_fs)), wanted.relabel):
            positions = np.asarray(t.positions[k], dtype=np.float64)
            atoms = Atoms(numbers=t.atomic_numbers, positions=positions, cell=t.cell, pbc=t.pbc)
            text = ""
            try:
                values = _labels(atoms, calculator, potential, wanted.observables)
            except GnnipError as error:
                values, text = dict.fromkeys(names, math.nan), str(error)
            place: dict[str, Any] = {"replica": t.replica, "x": float(t.time_fs[k]), "text": text}
            rows += [row(name, "relabel", key, value, **place) for key, value in values.items()]
    return rows


def _labels(
    atoms: Atoms, calculator: Any, potential: Any, observables: Mapping[str, str]
) -> dict[str, float]:
    """Return the observables by their names, and the errors of the potential if there is one."""
    calculator.calculate(atoms)
    results = calculator.results
    values = {name: float(results[key]) for key, name in observables.items()}
    if potential is not None:
        copy = atoms.copy()
        copy.calc = potential
        energy, forces = float(copy.get_potential_energy()), np.asarray(copy.get_forces())
        square = np.mean((forces - results["forces"]) ** 2)
        values["force_rmse_ev_per_a"] = float(np.sqrt(square))
        values["energy_error_ev"] = energy - float(results["energy"])
    return values


def observable_errors(rows: Sequence[Row], motion: Motion, wanted: Comparison) -> list[Row]:
    """Return the record relabel_error: means along the paths against the reference's, whose repeats
    give the noise floor; `motion` is the reference's.
    """
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = table[(table["record"] == "relabel") & (table["x"] >= wanted.discard)]
    table = table.dropna(subset=["value"])
    found = []
    for name in wanted.observables.values():
        part = table[table["name"] == name]
        means = part.groupby("potential")["value"].mean()
        if REFERENCE not in means.index:
            continue
        found += [
            row(str(potential), "relabel_error", name, abs(float(mean - means[REFERENCE])))
            for potential, mean in means.items()
            if potential != REFERENCE
        ]
        own = part[part["potential"] == REFERENCE]
        half = own["replica"].map(motion.half)
        first, last = own.loc[half == 0, "value"], own.loc[half == 1, "value"]
        if len(first) and len(last):
            floor = abs(float(first.mean() - last.mean()))
            found.append(row(NOISE_FLOOR, "relabel_error", name, floor))
    return found

"""What a training leaves behind besides the weights: errors, predictions, history."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnip.datasets.arrays import FrameArrays
from gnnip.files import write_text

SUBSETS = ("train", "validation", "test")
#: metadata that come first in the table of predictions, where a data set has them
FIRST_COLUMNS = ("n_molecules", "temperature_k", "trajectory")


@dataclass(frozen=True)
class Labels:
    """Energies (g,) eV and, where they are trained on, forces (n, 3) eV/Angstrom and stresses
    (g, 3, 3) eV/Angstrom^3."""

    energy: NDArray[np.float64]
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None


def errors(
    labels: Labels,
    predicted: Mapping[str, NDArray[np.float64]],
    n_atoms: NDArray[np.int64],
    rows: Mapping[str, NDArray[np.int64]],
) -> dict[str, float | None]:
    """Return the errors of every subset under the names of `summary.json`.

    Energies: mean absolute error of the total energy (eV) and root mean square error of the energy
    per atom (meV). Forces: mean absolute and root mean square error over components, and the root
    mean square of the reference's components in the test subset, which is the error of predicting
    no force at all. Stresses alike. None where there are no labels or no frames.
    """
    found: dict[str, float | None] = {}
    difference = predicted["energy"] - labels.energy
    for name in SUBSETS:
        part = difference[rows[name]]
        found[f"{name}_mae_ev"] = _mean(np.abs(part))
        found[f"{name}_energy_rmse_mev_per_atom"] = _root_mean_square(
            1000.0 * part / n_atoms[rows[name]]
        )
    for name in SUBSETS:
        mae = rmse = None
        if labels.forces is not None:
            part = (predicted["forces"] - labels.forces)[_atoms(n_atoms, rows[name])]
            mae, rmse = _mean(np.abs(part)), _root_mean_square(part)
        found[f"{name}_force_mae_ev_per_a"], found[f"{name}_force_rmse_ev_per_a"] = mae, rmse
    found["force_rms_reference_ev_per_a"] = (
        None
        if labels.forces is None
        else _root_mean_square(labels.forces[_atoms(n_atoms, rows["test"])])
    )
    if labels.stress is not None:
        for name in SUBSETS:
            part = (predicted["stress"] - labels.stress)[rows[name]]
            found[f"{name}_stress_mae_ev_per_a3"] = _mean(np.abs(part))
            found[f"{name}_stress_rmse_ev_per_a3"] = _root_mean_square(part)
        found["stress_rms_reference_ev_per_a3"] = _root_mean_square(labels.stress[rows["test"]])
    return found


def write_history(path: Path, columns: list[str], history: list[dict[str, float]]) -> None:
    """Write one row per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in history:
        writer.writerow({k: v if k == "epoch" else f"{v:.8g}" for k, v in row.items()})
    write_text(path, text.getvalue())


def write_predictions(
    path: Path,
    subset: FrameArrays,
    used: NDArray[np.int64],
    rows: Mapping[str, NDArray[np.int64]],
    labels: Labels,
    predicted: Mapping[str, NDArray[np.float64]],
) -> None:
    """Write one row per validation and test frame: its number, its metadata, its energies (eV) and,
    with forces, its force errors over components and the reference's root mean square (eV/A).

    `subset` holds the frames `used` (their numbers in the data set) of all subsets.
    """
    columns = {
        "frame": used,
        "subset": np.repeat(
            np.array(SUBSETS), [len(rows[name]) for name in SUBSETS]
        ),  # the rows of `subset` are in this order
    }
    own = ("frame", "subset", "n_atoms", "energy_reference_ev", "energy_predicted_ev")
    described = [c for c in FIRST_COLUMNS if c in subset.metadata]
    described += [c for c in subset.metadata if c not in FIRST_COLUMNS and c not in own]
    for name in described:
        values = np.asarray(subset.metadata[name])
        if values.ndim == 1 and values.dtype.kind in "biufUS":
            columns[name] = values
    columns["n_atoms"] = subset.n_atoms
    columns["energy_reference_ev"] = _text(labels.energy)
    columns["energy_predicted_ev"] = _text(predicted["energy"])
    if labels.forces is not None:
        starts = subset.offsets[:-1]
        count = 3.0 * subset.n_atoms
        difference = predicted["forces"] - labels.forces

        def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.add.reduceat(values.sum(1), starts) / count

        columns["force_mae_ev_per_a"] = _text(mean(np.abs(difference)))
        columns["force_rmse_ev_per_a"] = _text(np.sqrt(mean(difference**2)))
        columns["force_rms_reference_ev_per_a"] = _text(np.sqrt(mean(labels.forces**2)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in np.concatenate([rows["validation"], rows["test"]]):
        writer.writerow([values[row] for values in columns.values()])
    write_text(path, text.getvalue())


def _text(values: NDArray[np.float64]) -> NDArray[np.str_]:
    return np.array([f"{v:.10g}" for v in values])


def _atoms(n_atoms: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    chosen = np.zeros(len(n_atoms), dtype=bool)
    chosen[rows] = True
    return np.repeat(chosen, n_atoms)


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if values.size else None


def _root_mean_square(values: NDArray[np.float64]) -> float | None:
    return float(np.sqrt(np.square(values).mean())) if values.size else None

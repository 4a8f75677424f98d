"""What a training leaves behind: weights, errors, predictions, history, summary."""

from __future__ import annotations

import csv
import io
import math
import resource
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnip.files import read_json, write_json, write_text
from gnnip.models import predict, save
from gnnip.models.trivial import WORDS, best_null_model
from gnnip.training.loop import Loop
from gnnip.training.problem import SUBSETS, Labels, Problem, Task
from gnnip.training.silence import silent_share
from gnnip.training.soundness import faults, late_change, validation_error

#: folder of the same training with half the epochs
HALF = "half"
#: metadata that come first in the table of predictions, where a data set has them
FIRST_COLUMNS = ("n_molecules", "temperature_k", "trajectory")


def write_results(folder: Path, problem: Problem, task: Task, loop: Loop, stopped: str) -> None:
    """Write the files of a training that ended for the reason `stopped`."""
    model, run, settings, forces = task.model, loop.run, loop.settings, loop.objective.forces
    task.trained.load_state_dict(run.best_weights)
    model.eval()
    model.training_record = {
        "term": problem.term,
        "model": model.architecture,
        "seed": settings.seed,
    }
    save(model, folder / "model")
    predicted = predict(
        model,
        task.store,
        batch_size=loop.evaluation_batch,
        forces=forces,
        stress=loop.objective.stress,
    )
    write_history(folder / "history.csv", run.history, forces)
    write_predictions(folder / "predictions.csv", problem, predicted)
    device, seconds = task.store.device, [row["seconds"] for row in run.history]
    summary: dict[str, Any] = {
        "model": model.architecture,
        "hyperparameters": asdict(model.hyperparameters),
        "term": problem.term,
        "settings": asdict(settings),
        "best_epoch": run.best_epoch,
        "epochs_run": run.epoch,
        "stopped": stopped,
        **_soundness(folder, problem, task, loop),
        **errors(problem.labels, predicted, problem.subset.n_atoms, problem.rows),
        "n_parameters": model.n_parameters,
        **{f"n_{name}": len(rows) for name, rows in problem.rows.items()},
        "mean_neighbours": task.store.mean_neighbours,
        "wall_s": run.wall_s,
        "seconds_per_epoch": float(np.median(seconds)) if seconds else None,
        "peak_memory_mb": _peak_memory_mb(device),
        "compiled": loop.compiled is not None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "resumed": run.resumed,
        "first_losses": run.first_losses,
        "identity": loop.identity,
    }
    if run.fit is not None:
        summary |= {"fitted": run.fit["complete"], "fit": run.fit["details"]}
    found = faults(summary)
    if found:
        loop.say(f"this training judges nothing: {'; '.join(found)}")
    write_json(folder / "summary.json", summary | {"faults": found})


def _soundness(folder: Path, problem: Problem, task: Task, loop: Loop) -> dict[str, Any]:
    """Return what `gnnip.training.soundness` judges a training by.

    The best epoch's validation error and its share of the best null model's (None before the first
    epoch was over); the share of silent units; the lucky epoch, 0 without one; how the error
    changed at the end; whether the schedule ends at zero; and the best error of the same training
    with half the epochs, where there is one.
    """
    run, rows, kind = loop.run, problem.rows, loop.settings.loss
    asked = rows["validation"]
    name, said = best_null_model(problem.subset, problem.labels.energy, rows["train"], asked)
    most = validation_error(_loss_of_null(problem, loop, said, asked), kind)
    lowest = validation_error(run.best_loss, kind) if run.best_epoch else None
    return {
        "validation_error": lowest,
        "null_model": WORDS[name],
        "share_of_null": None if lowest is None else lowest / most if most > 0.0 else math.inf,
        "silent_share": silent_share(
            task.model, task.store, loop.rows["validation"], loop.evaluation_batch
        ),
        "lucky_epoch": run.lucky_epoch if run.lucky_loss < run.best_loss else 0,
        "late_change": late_change(loop.errors()),
        "ends_at_zero": loop.schedule.ends_at_zero,
        "half_error": _half_error(folder, problem, task, loop),
    }


def _half_error(folder: Path, problem: Problem, task: Task, loop: Loop) -> float | None:
    """Return the best validation error of the same with half the epochs, if it is there."""
    file = folder / HALF / "summary.json"
    shorter = replace(loop.settings, epochs=max(1, loop.settings.epochs // 2))
    summary = read_json(file, dict) if file.exists() else {}
    if summary.get("identity") != problem.identity(task.model, shorter):
        return None
    error: float | None = summary["validation_error"]
    return error


def _loss_of_null(
    problem: Problem, loop: Loop, energies: NDArray[np.float64], asked: NDArray[np.int64]
) -> float:
    """Return the loss of a null model on the frames `asked`: its energies, and no forces."""
    labels, n_atoms = problem.labels, problem.subset.n_atoms
    differences = {"energy": energies - labels.energy[asked]}
    if labels.forces is not None:
        differences["forces"] = labels.forces[_atoms(n_atoms, asked)]
    if labels.stress is not None:
        differences["stress"] = labels.stress[asked]
    tensors = {name: torch.from_numpy(values) for name, values in differences.items()}
    return loop.objective.of_differences(tensors, torch.from_numpy(n_atoms[asked]))


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
    for name in SUBSETS:
        part = rows[name]
        energy = (predicted["energy"] - labels.energy)[part]
        found[f"{name}_mae_ev"] = _mean_absolute(energy)
        per_atom = 1000.0 * energy / n_atoms[part]
        found[f"{name}_energy_rmse_mev_per_atom"] = _root_mean_square(per_atom)
        force = np.zeros(0)
        if labels.forces is not None:
            atoms = _atoms(n_atoms, part)
            force = (predicted["forces"] - labels.forces)[atoms]
        found[f"{name}_force_mae_ev_per_a"] = _mean_absolute(force)
        found[f"{name}_force_rmse_ev_per_a"] = _root_mean_square(force)
        if labels.stress is not None:
            stress = (predicted["stress"] - labels.stress)[part]
            found[f"{name}_stress_mae_ev_per_a3"] = _mean_absolute(stress)
            found[f"{name}_stress_rmse_ev_per_a3"] = _root_mean_square(stress)
    truth = np.zeros(0) if labels.forces is None else labels.forces[_atoms(n_atoms, rows["test"])]
    found["force_rms_reference_ev_per_a"] = _root_mean_square(truth)
    if labels.stress is not None:
        found["stress_rms_reference_ev_per_a3"] = _root_mean_square(labels.stress[rows["test"]])
    return found


def write_history(path: Path, history: list[dict[str, float]], forces: bool) -> None:
    """Write one row per epoch, with force errors where forces were trained on."""
    columns = ["epoch", "train_loss", "validation_loss", "train_mae_ev", "validation_mae_ev"]
    if forces:
        columns += ["train_force_rmse_ev_per_a", "validation_force_rmse_ev_per_a"]
    columns += ["learning_rate", "seconds"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in history:
        writer.writerow({k: v if k == "epoch" else f"{v:.8g}" for k, v in row.items()})
    write_text(path, text.getvalue())


def write_predictions(
    path: Path, problem: Problem, predicted: Mapping[str, NDArray[np.float64]]
) -> None:
    """Write one row per validation and test frame: its number, its metadata, its energies (eV) and,
    with forces, its force errors over components and the reference's root mean square (eV/A)."""
    subset, rows, labels = problem.subset, problem.rows, problem.labels
    columns = {
        "frame": problem.frames,
        "subset": np.repeat(np.array(SUBSETS), [len(rows[name]) for name in SUBSETS]),
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


def _mean_absolute(values: NDArray[np.float64]) -> float | None:
    return float(np.abs(values).mean()) if values.size else None


def _root_mean_square(values: NDArray[np.float64]) -> float | None:
    return float(np.sqrt(np.square(values).mean())) if values.size else None


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

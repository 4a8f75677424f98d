"""Errors of potentials on frames with labels: energies, forces by element, stress, worst frames.

One tidy table, by record:

error : `name` is energy, forces, forces_{element} or stress; rmse, mae and largest error over its
    `n` numbers in `unit`, and `trivial`, the rmse of who knows no geometry: the fit of these
    frames' energies to their composition, no force, and the mean of these frames' stresses.
point : a number of the reference and its prediction, `element` of a force's atom.
frame : the frames with the largest errors, worst first: `frame`, `rmse` of the forces, where there
    are none of the energy, `energy_error` (meV/atom).

Energies are total energies over the number of atoms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.measurements.selection import spread_evenly

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.measurements.kinds import Evaluation
    from gnnip.measurements.sources import Sources

COLUMNS = (
    *("record", "name", "unit", "n", "rmse", "mae", "largest", "trivial"),
    *("frame", "element", "reference", "predicted", "energy_error"),
)
UNITS = {"energy": "meV/atom", "forces": "eV/A", "stress": "eV/A^3"}


def evaluate_trainings(sources: Sources, options: Evaluation) -> pd.DataFrame:
    """Return the table described above of each training on its test frames, with the columns group,
    cell and seed.

    DataError for predictions without test frames and elements that a potential does not know.
    """
    from gnnip.models import predict

    parts = []
    for one in sources.potentials():
        labels = labels_of(one.test, one.terms)
        found = predict(
            one.model,
            one.store,
            batch_size=options.batch_size,
            forces="forces" in labels,
            stress="stress" in labels,
        )
        table = evaluate(one.test, labels, found, one.frames, options)
        parts.append(table.assign(**one.about))
    return pd.concat(parts, ignore_index=True)


def labels_of(frames: FrameArrays, terms: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return energies (g,) eV and, where all terms have them, forces (n, 3) eV/A and stresses
    (g, 3, 3) eV/A^3."""
    found = {"energy": np.sum([frames.energy(term) for term in terms], axis=0)}
    if all(term in frames.forces for term in terms):
        found["forces"] = np.sum([frames.force(term) for term in terms], axis=0)
    crystals = frames.pbc is not None and bool(frames.pbc.all())
    if crystals and all(term in frames.stresses for term in terms):
        found["stress"] = np.sum([frames.stress(term) for term in terms], axis=0)
    return found


def evaluate(
    frames: FrameArrays,
    labels: dict[str, np.ndarray],
    found: dict[str, np.ndarray],
    numbers: np.ndarray,
    options: Evaluation,
) -> pd.DataFrame:
    """Return the table of one potential, of its predictions and the labels of frames, both in eV
    and Angstrom by the names energy, forces and stress; `numbers` (g,) are those of the frames."""
    rows = list(_errors(frames, labels, found))
    rows += _points(frames, labels, found, options.points)
    rows += _worst(frames, labels, found, numbers, options.worst)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _per_atom(frames: FrameArrays, values: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return values as they are told: energies in meV/atom."""
    return 1000.0 * values[name] / frames.n_atoms if name == "energy" else values[name]


def _errors(
    frames: FrameArrays, labels: dict[str, np.ndarray], found: dict[str, np.ndarray]
) -> Iterator[dict[str, Any]]:
    from ase.data import chemical_symbols

    from gnnip.models.trivial import null_energies

    known = np.arange(frames.n_frames)
    composition = null_energies(frames, labels["energy"], known, known)["composition"]
    trivial = {
        "energy": composition,
        "forces": np.zeros((len(frames.numbers), 3)),
        "stress": np.mean(labels["stress"], axis=0) if "stress" in labels else np.zeros(()),
    }
    for name in labels:
        true = _per_atom(frames, labels, name)
        guess = _per_atom(frames, found, name)
        nothing = np.broadcast_to(_per_atom(frames, trivial, name), true.shape)
        chosen: dict[str, Any] = {name: slice(None)}
        elements = np.unique(frames.numbers)
        for z in elements if name == "forces" and len(elements) > 1 else ():
            chosen[f"forces_{chemical_symbols[int(z)]}"] = frames.numbers == z
        for part, which in chosen.items():
            error = np.abs(guess - true)[which]
            yield {
                "record": "error",
                "name": part,
                "unit": UNITS[name],
                "n": error.size,
                "rmse": float(np.sqrt(np.square(error).mean())),
                "mae": float(error.mean()),
                "largest": float(error.max()),
                "trivial": float(np.sqrt(np.square((nothing - true)[which]).mean())),
            }


def _points(
    frames: FrameArrays, labels: dict[str, np.ndarray], found: dict[str, np.ndarray], most: int
) -> Iterator[dict[str, Any]]:
    from ase.data import chemical_symbols

    for name in labels:
        true, guess = (_per_atom(frames, part, name).ravel() for part in (labels, found))
        for k in spread_evenly(np.arange(true.size), min(most, true.size)):
            row = {"record": "point", "name": name, "unit": UNITS[name]}
            if name == "forces":
                row["element"] = str(chemical_symbols[int(frames.numbers[k // 3])])
            pair = {"reference": true[k], "predicted": guess[k]}
            yield row | {key: float(f"{value:.7g}") for key, value in pair.items()}


def _worst(
    frames: FrameArrays,
    labels: dict[str, np.ndarray],
    found: dict[str, np.ndarray],
    numbers: np.ndarray,
    most: int,
) -> Iterator[dict[str, Any]]:
    energy = _per_atom(frames, found, "energy") - _per_atom(frames, labels, "energy")
    size, name = np.abs(energy), "energy"
    if "forces" in labels:
        squares = np.square(found["forces"] - labels["forces"]).mean(axis=1)
        size = np.sqrt(np.add.reduceat(squares, frames.offsets[:-1]) / frames.n_atoms)
        name = "forces"
    for k in np.argsort(-size, kind="stable")[:most]:
        yield {
            "record": "frame",
            "name": name,
            "unit": UNITS[name],
            "rmse": float(size[k]),
            "frame": int(numbers[k]),
            "energy_error": float(energy[k]),
        }

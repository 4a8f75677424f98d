"""Recompute a random sample of a data set's labels with the reference that made them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gnnip.datasets import engine_sets
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.references import OWN_MODELS
from gnnip.datasets.store import FORCE_RESOLUTION, read_frames
from gnnip.errors import DataError, nearest
from gnnip.reference.engines import EngineError, make_engine

#: unit -> suffix of column names
_SUFFIXES = {
    "Hartree": "hartree",
    "eV": "ev",
    "Hartree/Bohr": "hartree_per_bohr",
    "eV/Angstrom": "ev_per_a",
}


def verify_labels(
    path: str | os.PathLike[str],
    n: int,
    seed: int,
    *,
    accuracy: float | None = None,
    energy_tolerance: float | None = None,
    force_tolerance: float | None = None,
) -> pd.DataFrame:
    """Recompute `n` random frames of a data set from their stored positions and compare the labels.

    The attribute `labeller` names the reference, `label_accuracy_<unit>` how exact the labels are.
    `accuracy` (in the set's unit of energy) is that of the recomputation, by default ten times
    finer than the labels, so that the labels' own error is tested too. Tolerances are absolute:
    energies to the labels' accuracy, force components to five times as much, and no finer than
    forces are stored.

    Labels of a program that no pip installs (CP2K) are compared where it is found; elsewhere the
    table has one row without numbers whose `note` says so.

    Returns one row per frame and term: frame, n_atoms, term, energy_stored_<unit>,
    energy_recomputed_<unit>, energy_error_<unit>, force_error_<unit> (largest component), with
    units as ev and ev_per_a or hartree and hartree_per_bohr.

    Raises DataError for an unknown labeller or unit, no stated accuracy, or labels beyond the
    tolerance.
    """
    frames = read_frames(path)
    energy, force, stated = _units_and_accuracy(frames, path)
    missing = _missing_program(frames)
    if missing:
        return pd.DataFrame([{"frame": np.nan, "note": f"not verified: {missing}"}])
    accuracy = max(0.1 * stated, 1e-7) if accuracy is None else accuracy
    energy_tolerance = stated if energy_tolerance is None else energy_tolerance
    if force_tolerance is None:
        force_tolerance = max(5.0 * energy_tolerance, FORCE_RESOLUTION)
    chosen = np.sort(np.random.default_rng(seed).permutation(frames.n_frames)[:n])
    rows = [row for i in chosen for row in _compare(frames, int(i), accuracy, energy, force)]
    table = pd.DataFrame(rows)
    wrong = table[
        (table[f"energy_error_{energy}"].abs() > energy_tolerance)
        | (table[f"force_error_{force}"] > force_tolerance)
    ]
    if len(wrong):
        worst = wrong.iloc[0]
        raise DataError(
            f"{Path(path).name}: {len(wrong)} of {len(table)} labels differ from the reference, "
            f"first the '{worst['term']}' term of frame {worst['frame']} by "
            f"{worst[f'energy_error_{energy}']:.1e} {frames.units['energies']} and "
            f"{worst[f'force_error_{force}']:.1e} {frames.units['forces']}; label the set again."
        )
    return table


def _units_and_accuracy(
    frames: FrameArrays, path: str | os.PathLike[str]
) -> tuple[str, str, float]:
    """Return the suffixes of energies and forces and the stated accuracy of the energies."""
    name, known = str(frames.attributes.get("labeller", "")), [*OWN_MODELS, engine_sets.LABELLER]
    if name not in known:
        raise DataError(f"{path} names an unknown labeller ('{name}'){nearest(name, known)}.")
    units = [frames.units.get(quantity, "") for quantity in ("energies", "forces")]
    for unit in units:
        if unit not in _SUFFIXES:
            raise DataError(f"{path} has the unit '{unit}'{nearest(unit, _SUFFIXES)}.")
    energy, force = (_SUFFIXES[unit] for unit in units)
    stated = frames.attributes.get(f"label_accuracy_{energy}")
    if stated is None:
        raise DataError(f"{path} does not say how exact its labels are (label_accuracy_{energy}).")
    return energy, force, float(stated)


def _compare(
    frames: FrameArrays, frame: int, accuracy: float, energy: str, force: str
) -> list[dict[str, Any]]:
    """Return one row per term of a frame, its labels computed again."""
    fresh = _label_again(frames, frame, accuracy)
    part = frames.atom_slice(frame)
    rows = []
    for term in frames.terms:
        stored, again = float(frames.energies[term][frame]), float(fresh[f"energy_{term}"])
        force_error = np.nan
        if term in frames.forces:
            difference = frames.forces[term][part] - fresh[f"forces_{term}"]
            force_error = float(np.abs(difference).max())
        rows.append(
            {
                "frame": frame,
                "n_atoms": int(frames.n_atoms[frame]),
                "term": term,
                f"energy_stored_{energy}": stored,
                f"energy_recomputed_{energy}": again,
                f"energy_error_{energy}": stored - again,
                f"force_error_{force}": force_error,
            }
        )
    return rows


def _label_again(frames: FrameArrays, frame: int, accuracy: float) -> Mapping[str, Any]:
    """Return energy_<term> and forces_<term> in the units of the data set."""
    labeller = str(frames.attributes["labeller"])
    if labeller == engine_sets.LABELLER:
        return engine_sets.label_again(frames, frame)
    sampler = import_module(f"gnnip.sampling.{labeller}")
    positions, numbers, cell, _ = frames.structure(frame)
    if labeller == "water_anion":
        return sampler.label(positions, accuracy)
    return sampler.label_again(positions, numbers, *(() if cell is None else (cell,)))


def _missing_program(frames: FrameArrays) -> str:
    """Return why the labels' program cannot be asked here; nothing for what pip installs."""
    if "engine" not in frames.attributes:
        return ""
    engine = make_engine(str(frames.attributes["engine"]))
    try:
        engine.version()
    except EngineError as error:
        if not engine.from_pip:
            return str(error)
        raise
    return ""

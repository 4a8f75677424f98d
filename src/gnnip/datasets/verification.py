"""Recompute a random sample of a data set's labels with the reference that made them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.store import FORCE_RESOLUTION, read_frames
from gnnip.errors import DataError, nearest

#: relabel(frames, frame, accuracy) -> energy_<term>, forces_<term> in the units of the data set
Relabeller = Callable[[FrameArrays, int, float], Mapping[str, Any]]


def _water_anion(frames: FrameArrays, frame: int, accuracy: float) -> Mapping[str, Any]:
    from gnnip.sampling import water_anion

    return water_anion.label(
        frames.positions[frames.atom_slice(frame)].astype(np.float64), accuracy
    )


def _point_charges(frames: FrameArrays, frame: int, accuracy: float) -> Mapping[str, Any]:
    from gnnip.sampling import point_charges

    part = frames.atom_slice(frame)
    positions = frames.positions[part].astype(np.float64)
    return point_charges.label_again(positions, frames.numbers[part])


def _au_mgo(frames: FrameArrays, frame: int, accuracy: float) -> Mapping[str, Any]:
    from gnnip.sampling import au_mgo

    part = frames.atom_slice(frame)
    assert frames.cells is not None
    positions = frames.positions[part].astype(np.float64)
    return au_mgo.label_again(positions, frames.numbers[part], frames.cells[frame])


def _engine(frames: FrameArrays, frame: int, accuracy: float) -> Mapping[str, Any]:
    from gnnip.datasets import engine_sets

    return engine_sets.label_again(frames, frame)


#: by the attribute `labeller` of the data set
LABELLERS: dict[str, Relabeller] = {
    "water_anion": _water_anion,
    "point_charges": _point_charges,
    "au_mgo": _au_mgo,
    "engine": _engine,
}

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

    Returns
    -------
    One row per frame and term: frame, n_atoms, term, energy_stored_<unit>,
    energy_recomputed_<unit>, energy_error_<unit>, force_error_<unit> (largest component), with
    units as ev and ev_per_a or hartree and hartree_per_bohr.

    Raises
    ------
    DataError : an unknown labeller or unit, no stated accuracy, labels beyond the tolerance.
    """
    frames = read_frames(path)
    name = str(frames.attributes.get("labeller", ""))
    if name not in LABELLERS:
        raise DataError(f"{path} names no known labeller ('{name}'){nearest(name, LABELLERS)}.")
    energy_unit, force_unit = (frames.units.get(q, "") for q in ("energies", "forces"))
    for unit in (energy_unit, force_unit):
        if unit not in _SUFFIXES:
            raise DataError(f"{path} has the unit '{unit}'{nearest(unit, _SUFFIXES)}.")
    energy, force = _SUFFIXES[energy_unit], _SUFFIXES[force_unit]
    stated = frames.attributes.get(f"label_accuracy_{energy}")
    if stated is None:
        raise DataError(f"{path} does not say how exact its labels are (label_accuracy_{energy}).")
    missing = _missing_program(frames)
    if missing:
        return pd.DataFrame([{"frame": np.nan, "note": f"not verified: {missing}"}])
    accuracy = max(0.1 * float(stated), 1e-7) if accuracy is None else accuracy
    energy_tolerance = float(stated) if energy_tolerance is None else energy_tolerance
    if force_tolerance is None:
        force_tolerance = max(5.0 * energy_tolerance, FORCE_RESOLUTION)
    rng = np.random.default_rng(seed)
    rows = []
    for frame in np.sort(rng.permutation(frames.n_frames)[:n]):
        part = frames.atom_slice(int(frame))
        fresh = LABELLERS[name](frames, int(frame), accuracy)
        for term in frames.terms:
            stored = float(frames.energies[term][frame])
            force_error = (
                float(np.abs(frames.forces[term][part] - fresh[f"forces_{term}"]).max())
                if term in frames.forces
                else np.nan
            )
            rows.append(
                {
                    "frame": int(frame),
                    "n_atoms": int(frames.n_atoms[frame]),
                    "term": term,
                    f"energy_stored_{energy}": stored,
                    f"energy_recomputed_{energy}": float(fresh[f"energy_{term}"]),
                    f"energy_error_{energy}": stored - float(fresh[f"energy_{term}"]),
                    f"force_error_{force}": force_error,
                }
            )
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
            f"{worst[f'energy_error_{energy}']:.1e} {energy_unit} and "
            f"{worst[f'force_error_{force}']:.1e} {force_unit}; label the set again."
        )
    return table


def _missing_program(frames: FrameArrays) -> str:
    """Return why the labels' program cannot be asked here; nothing for what pip installs."""
    if "engine" not in frames.attributes:
        return ""
    from gnnip.reference.engines import EngineError, make_engine

    engine = make_engine(str(frames.attributes["engine"]))
    try:
        engine.version()
    except EngineError as error:
        if not engine.from_pip:
            return str(error)
        raise
    return ""

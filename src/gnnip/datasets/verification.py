"""Recompute a random sample of an archive's labels with the reference that made them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gnnip.datasets.store import read_frames
from gnnip.errors import DataError, nearest
from gnnip.sampling import water_anion

#: label(positions, accuracy) -> energy_<term>, forces_<term>, in the units of the archive
Labeller = Callable[..., dict[str, Any]]

LABELLERS: dict[str, Labeller] = {"water_anion": water_anion.label}


def verify_labels(
    path: str | os.PathLike[str],
    n: int,
    seed: int,
    *,
    accuracy: float | None = None,
    energy_tolerance: float | None = None,
    force_tolerance: float | None = None,
) -> pd.DataFrame:
    """Recompute `n` random frames of an archive from their stored positions and compare the labels.

    The archive's attribute `labeller` names the reference. `accuracy` (Hartree) is that of the
    recomputation, by default ten times that of the labels: a finer grid and wider walls, so that
    the labels' own error is tested too. Tolerances are absolute, in the archive's units: energies
    1e-5 Hartree (or the labels' accuracy where that is lower), force components five times as much
    per Bohr. Returns one row per frame and term: frame, n_molecules, term, energy_stored_hartree,
    energy_recomputed_hartree, energy_error_hartree, force_error_hartree_per_bohr (largest
    component).

    Raises DataError for an unknown labeller and for labels beyond the tolerance.
    """
    frames = read_frames(path)
    name = str(frames.attributes.get("labeller", ""))
    if name not in LABELLERS:
        raise DataError(f"{path} names no known labeller ('{name}'){nearest(name, LABELLERS)}.")
    label_accuracy = float(frames.attributes.get("label_accuracy_hartree", 1e-5))
    accuracy = max(0.1 * label_accuracy, 1e-7) if accuracy is None else accuracy
    energy_tolerance = max(1e-5, label_accuracy) if energy_tolerance is None else energy_tolerance
    force_tolerance = 5.0 * energy_tolerance if force_tolerance is None else force_tolerance
    rng = np.random.default_rng(seed)
    rows = []
    for frame in np.sort(rng.permutation(frames.n_frames)[:n]):
        part = frames.atoms(int(frame))
        fresh = LABELLERS[name](frames.positions[part].astype(np.float64), accuracy)
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
                    "n_molecules": int(frames.column("n_molecules")[frame]),
                    "term": term,
                    "energy_stored_hartree": stored,
                    "energy_recomputed_hartree": float(fresh[f"energy_{term}"]),
                    "energy_error_hartree": stored - float(fresh[f"energy_{term}"]),
                    "force_error_hartree_per_bohr": force_error,
                }
            )
    table = pd.DataFrame(rows)
    wrong = table[
        (table["energy_error_hartree"].abs() > energy_tolerance)
        | (table["force_error_hartree_per_bohr"] > force_tolerance)
    ]
    if len(wrong):
        worst = wrong.iloc[0]
        raise DataError(
            f"{Path(path).name}: {len(wrong)} of {len(table)} labels differ from the reference, "
            f"first the '{worst['term']}' term of frame {worst['frame']} by "
            f"{worst['energy_error_hartree']:.1e} Ha and "
            f"{worst['force_error_hartree_per_bohr']:.1e} Ha/Bohr; label the set again."
        )
    return table

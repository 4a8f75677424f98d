"""What trained potentials say of frames that none of them was trained on, by whatever labels.

Labels of two references have different zeros of energy. An energy is therefore told per frame and
compared, later, about the mean of the frames of one composition; a force is compared as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from gnnip.measurements.kinds import OtherFrames
    from gnnip.measurements.sources import Sources


def predict_other_frames(sources: Sources, options: OtherFrames) -> pd.DataFrame:
    """Evaluate trained potentials on all frames of the measurement's data sets.

    One row per training and frame: group, cell, seed, dataset, frame, trajectory, composition (such
    as H4O2), n_atoms, energy_ev, energy_reference_ev, and where forces are known
    force_rmse_ev_per_a and force_rms_reference_ev_per_a, over the components of the frame; else
    NaN.

    DataError for elements that a potential was not trained on.
    """
    from gnnip.measurements.selection import atoms_of
    from gnnip.models import predict

    parts = []
    for one in sources.potentials():
        known = bool(one.test.forces)
        found = predict(one.model, one.store, batch_size=options.batch_size, forces=known)
        formulas = [atoms_of(one.test, k).get_chemical_formula() for k in range(one.test.n_frames)]
        names = one.test.metadata.get("trajectory", one.frames)
        columns = {
            **one.about,
            "dataset": one.about.get("dataset", next(iter(sources.datasets))),
            "frame": one.frames,
            "trajectory": names,
            "composition": formulas,
            "n_atoms": one.test.n_atoms,
            "energy_ev": found["energy"],
            "energy_reference_ev": np.sum([one.test.energy(t) for t in one.terms], axis=0),
            "force_rmse_ev_per_a": np.nan,
            "force_rms_reference_ev_per_a": np.nan,
        }
        if known:
            true = np.sum([one.test.force(term) for term in one.terms], axis=0)
            for column, values in (("rmse", found["forces"] - true), ("rms_reference", true)):
                squares = np.square(values).mean(axis=1)
                sums = np.add.reduceat(squares, one.test.offsets[:-1])
                columns[f"force_{column}_ev_per_a"] = np.sqrt(sums / one.test.n_atoms)
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)

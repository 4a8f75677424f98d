"""What a trained potential says of the two unit charges of kang2024's toy structures.

For every test structure: the force on the +1e along the line to the -1e, the energy that the
potential gives to the +1e alone, and over how many edges the two charges are connected.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gnnip.artefacts.inputs import training_of
from gnnip.measurements.trained import trained_potentials

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays

TERM = "coulomb"
COLUMNS = ("distance_a", "kept_fraction", "configuration", "medium")


def probe_charges(
    dataset: str | os.PathLike[str],
    models: Sequence[str | os.PathLike[str]],
    predictions: Sequence[str | os.PathLike[str]],
    *,
    batch_size: int = 16,
    device: str = "cpu",
) -> pd.DataFrame:
    """Evaluate trained potentials on their test frames.

    Parameters
    ----------
    dataset : the point charges; the +1e is the first particle of every structure and the -1e, where
        there is one, the second, a distance along z above it.
    models, predictions : model.safetensors and predictions.csv of the same trainings, in folders
        .../{group}/{cell}/seed-{seed}/.

    Returns
    -------
    One row per training and test frame: group, cell, seed, frame, distance_a, kept_fraction,
    configuration, medium, hops (edges on the shortest path between the unit charges within the
    potential's cutoff; NaN where there is none or no -1e), force_z_ev_per_a,
    force_z_reference_ev_per_a, atomic_energy_ev (of the +1e, NaN for a potential without atomic
    energies).

    Raises
    ------
    DataError : folders that name no training, predictions without test frames.
    """
    import torch

    from gnnip.datasets.store import load_arrays
    from gnnip.models import evaluate

    about = [training_of(path) for path in models]
    arrays = load_arrays(dataset)
    parts = []
    hops: dict[tuple[float, bytes], np.ndarray] = {}
    for training, one in zip(
        about, trained_potentials(arrays, models, predictions, device), strict=True
    ):
        model, frames, test = one.model, one.frames, one.test
        if (model.cutoff, frames.tobytes()) not in hops:
            hops[model.cutoff, frames.tobytes()] = hops_between_charges(test, model.cutoff)
        forces, energies = [], []
        for batch in one.store.batches(torch.arange(test.n_frames), batch_size):
            output = evaluate(model, batch, forces=True)
            first = batch.offsets[:-1]
            forces.append(output["forces"][first, 2].double().cpu().numpy())
            atomic = output.get("atomic_energies")
            nothing = torch.full((batch.n_graphs,), torch.nan)
            own = nothing if atomic is None else atomic[first]
            energies.append(own.double().cpu().numpy())
        parts.append(
            pd.DataFrame(
                {
                    **training,
                    "frame": frames,
                    **{column: test.column(column) for column in COLUMNS},
                    "hops": hops[model.cutoff, frames.tobytes()],
                    "force_z_ev_per_a": np.concatenate(forces),
                    "force_z_reference_ev_per_a": test.force(TERM)[test.offsets[:-1], 2],
                    "atomic_energy_ev": np.concatenate(energies),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def hops_between_charges(frames: FrameArrays, cutoff: float) -> np.ndarray:
    """Return the edges on the shortest path from particle 0 to particle 1 of each frame (frames,).

    Edges join particles closer than `cutoff` (Angstrom). NaN where no path exists and for
    configuration II, which has no -1e.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra
    from scipy.spatial import cKDTree

    found = np.full(frames.n_frames, np.nan)
    below = np.nextafter(cutoff, 0.0)  # a graph has no edge of exactly the cutoff
    for frame in np.flatnonzero(frames.column("configuration") == "I"):
        points = frames.positions[frames.atom_slice(int(frame))]
        i, j = cKDTree(points).query_pairs(below, output_type="ndarray").T
        graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(points),) * 2)
        steps = dijkstra(graph, directed=False, indices=0, unweighted=True)[1]
        found[frame] = steps if np.isfinite(steps) else np.nan
    return found

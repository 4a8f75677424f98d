"""What a trained potential says of the two unit charges of kang2024's toy structures.

For every test structure: the force on the +1e along the line to the -1e, the energy that the
potential gives to the +1e alone, and over how many edges the two charges are connected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.measurements.kinds import ChargeProbe
    from gnnip.measurements.sources import Sources, Trained

TERM = "coulomb"
COLUMNS = ("distance_a", "kept_fraction", "configuration", "medium")


def probe_charges(sources: Sources, options: ChargeProbe) -> pd.DataFrame:
    """Evaluate trained potentials on their test frames of point charges.

    The +1e is the first particle of every structure and the -1e, where there is one, the second, a
    distance along z above it.

    One row per training and test frame: group, cell, seed, (dataset,) frame, distance_a,
    kept_fraction, configuration, medium, hops (edges on the shortest path between the unit charges
    within the potential's cutoff; NaN where there is none or no -1e), force_z_ev_per_a,
    force_z_reference_ev_per_a, atomic_energy_ev (of the +1e, NaN for a potential without atomic
    energies).

    DataError for predictions without test frames.
    """
    parts = []
    hops: dict[tuple[object, ...], np.ndarray] = {}
    for one in sources.potentials():
        key = (one.about.get("dataset"), one.model.cutoff, one.frames.tobytes())
        if key not in hops:
            hops[key] = hops_between_charges(one.test, one.model.cutoff)
        force, energy = _of_charge(one, options.batch_size)
        columns = {
            **one.about,
            "frame": one.frames,
            **{column: one.test.column(column) for column in COLUMNS},
            "hops": hops[key],
            "force_z_ev_per_a": force,
            "force_z_reference_ev_per_a": one.test.force(TERM)[one.test.offsets[:-1], 2],
            "atomic_energy_ev": energy,
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _of_charge(one: Trained, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the force along z (frames,) on the +1e, eV/Angstrom, and its atomic energy, eV."""
    import torch

    from gnnip.models import evaluate

    forces, energies = [], []
    for batch in one.store.batches(torch.arange(one.test.n_frames), batch_size):
        output = evaluate(one.model, batch, forces=True)
        first = batch.offsets[:-1]
        forces.append(output["forces"][first, 2].double().cpu().numpy())
        atomic = output.get("atomic_energies")
        own = torch.full((batch.n_graphs,), torch.nan) if atomic is None else atomic[first]
        energies.append(own.double().cpu().numpy())
    return np.concatenate(forces), np.concatenate(energies)


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
        points = frames.positions[frames.atoms(int(frame))]
        i, j = cKDTree(points).query_pairs(below, output_type="ndarray").T
        graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(points),) * 2)
        steps = dijkstra(graph, directed=False, indices=0, unweighted=True)[1]
        found[frame] = steps if np.isfinite(steps) else np.nan
    return found

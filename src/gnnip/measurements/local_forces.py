"""Learned local forces: how a potential divides the force on an atom among its neighbours.

A step of a card: `tabulate_local_forces` bins them by distance for every trained potential.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gnnip.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from gnnip.graphs import GraphBatch
    from gnnip.models.contract import Potential

#: relative difference between a force and the sum of its local forces that is put down to rounding
_ROUNDING = {"torch.float32": 1e-3, "torch.float64": 1e-9}


@dataclass(frozen=True)
class LocalForces:
    """The local forces of a batch, one row per directed edge (E of them).

    Attributes
    ----------
    centre, neighbour : (E,) atoms i, on which the force acts, and j, from which it comes.
    numbers : (E, 2) atomic numbers of i and j.
    distance : (E,) Angstrom.
    force : (E, 3) F_ij, eV/Angstrom.
    radial : (E,) F_ij along (r_i - r_j) / r_ij, eV/Angstrom; positive is repulsive.
    directed : (E,) the part of `radial` that comes through the edge j -> i alone; that of the
        reverse edge is the rest.
    total : (n, 3) forces on the atoms, eV/Angstrom.
    """

    centre: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    numbers: NDArray[np.int64]
    distance: NDArray[np.float64]
    force: NDArray[np.float64]
    radial: NDArray[np.float64]
    directed: NDArray[np.float64]
    total: NDArray[np.float64]

    def table(self) -> pd.DataFrame:
        """Return columns centre, neighbour (chemical symbols), distance_a, radial_force_ev_per_a
        and directed_force_ev_per_a."""
        from ase.data import chemical_symbols

        symbols = np.array(chemical_symbols)
        return pd.DataFrame(
            {
                "centre": symbols[self.numbers[:, 0]],
                "neighbour": symbols[self.numbers[:, 1]],
                "distance_a": self.distance,
                "radial_force_ev_per_a": self.radial,
                "directed_force_ev_per_a": self.directed,
            }
        )


def local_forces(model: Potential, batch: GraphBatch) -> LocalForces:
    """Differentiate the energy by the vector of every directed edge.

    With g_ij = dE/dv_ij, v_ij = r_j - r_i the vector of the edge j -> i, the chain rule makes
    F_i = sum_j F_ij, where F_ij = g_ij - g_ji. So F_ij = -F_ji, and of a directed network, in which
    the two edges of a pair have features of their own, both are counted. Of a potential that
    evaluates each pair once, only the combination has a meaning, not `directed`.

    Rajak et al. (2021), figures 2a and 3a, print F_i = sum_j F_ij and say no more; there Si-C
    differs from C-Si, so that theirs is `directed`.

    Parameters
    ----------
    batch : in the precision of the model, with all pairs within its cutoff, each with its reverse.

    Raises
    ------
    DataError : a graph without reverse edges, or a potential that does not depend on positions
        through the vectors of edges alone, which has no local forces.
    """
    import torch

    from gnnip.models import evaluate
    from gnnip.models.contract import frozen_parameters

    graph = batch.adjacency
    if not graph.symmetric:
        raise DataError("Local forces need a graph in which every edge has its reverse.")
    total = evaluate(model, batch, forces=True)["forces"]
    # a shift of its own for every edge is a displacement of that edge's vector
    shift = batch.edge_shift
    shift = batch.positions.new_zeros(graph.n_edges, 3) if shift is None else shift.detach()
    shift = shift.clone().requires_grad_()
    varied = replace(
        batch, positions=batch.positions.detach(), edge_shift=shift, lengths=None, extras={}
    )
    with torch.enable_grad(), frozen_parameters(model):
        energy = model(varied)["energy"].sum()
        gradient = torch.zeros_like(shift)
        if energy.requires_grad:
            (gradient,) = torch.autograd.grad(energy, [shift], materialize_grads=True)
    force = gradient - gradient.index_select(0, graph.by_source)
    summed = torch.zeros_like(total).index_add(0, graph.target, force)
    allowed = _ROUNDING[str(total.dtype)] * (1.0 + float(force.abs().sum(0).max()))
    difference = float((summed - total).abs().max()) if total.numel() else 0.0
    if difference > allowed:
        raise DataError(
            f"The local forces of the potential '{model.architecture}' do not add up to its forces "
            f"(by {difference:.1e} eV/Angstrom): its energy depends on positions otherwise than "
            "through the edges of the graph, so it has none."
        )
    with torch.no_grad():
        vectors = replace(batch, lengths=None).edge_vectors()
        distance = vectors.square().sum(1).sqrt()
        away = -vectors / distance[:, None]

    def array(values: Tensor) -> NDArray[np.float64]:
        return values.detach().double().cpu().numpy()

    ends = torch.stack([graph.target, graph.source], dim=1)
    numbers = batch.atomic_numbers[ends.reshape(-1)].reshape(-1, 2)
    return LocalForces(
        centre=graph.target.cpu().numpy(),
        neighbour=graph.source.cpu().numpy(),
        numbers=numbers.cpu().numpy(),
        distance=array(distance),
        force=array(force),
        radial=array((force * away).sum(1)),
        directed=array((gradient * away).sum(1)),
        total=array(total),
    )


#: values of one bin of `tabulate_local_forces` and what they are made of
_BINNED = {
    "radial_force": "radial_force_ev_per_a",
    "directed_force": "directed_force_ev_per_a",
}


def tabulate_local_forces(
    dataset: str | os.PathLike[str],
    models: Sequence[str | os.PathLike[str]],
    predictions: Sequence[str | os.PathLike[str]],
    *,
    device: str = "cpu",
    max_frames: int = 20,
    bin_width: float = 0.1,
) -> pd.DataFrame:
    """Return the local forces of trained potentials on their test frames, binned by distance.

    Parameters
    ----------
    predictions : predictions.csv of each model, which name its test frames.
    max_frames : most frames per model, drawn evenly.
    bin_width : Angstrom.

    Returns
    -------
    Columns group, cell, seed, centre, neighbour (elements, ordered), distance_a (middle of the
    bin), n_pairs, and mean and standard deviation over pairs of `LocalForces.radial` and
    `LocalForces.directed`: radial_force_ev_per_a, radial_force_std_ev_per_a, directed_...

    Raises
    ------
    DataError : a potential without local forces, predictions without test frames.
    """
    import torch

    from gnnip.artefacts.inputs import training_of
    from gnnip.datasets.store import load_arrays
    from gnnip.measurements.trained import trained_potentials

    about = [training_of(path) for path in models]
    arrays = load_arrays(dataset)
    found = trained_potentials(arrays, models, predictions, device, max_frames)
    tables = []
    for facts, one in zip(about, found, strict=True):
        parts = []
        for frame in range(one.test.n_frames):
            batch = one.store.batch(torch.tensor([frame]))
            parts.append(local_forces(one.model, batch).table())
        pairs = pd.concat(parts, ignore_index=True)
        pairs["distance_a"] = (np.floor(pairs["distance_a"] / bin_width) + 0.5) * bin_width
        grouped = pairs.groupby(["centre", "neighbour", "distance_a"])
        binned = grouped.size().rename("n_pairs").to_frame()
        for name, column in _BINNED.items():
            binned[f"{name}_ev_per_a"] = grouped[column].mean()
            binned[f"{name}_std_ev_per_a"] = grouped[column].std(ddof=0)
        binned = binned.reset_index()
        for position, (key, value) in enumerate(facts.items()):
            binned.insert(position, key, value)
        tables.append(binned)
    return pd.concat(tables, ignore_index=True)

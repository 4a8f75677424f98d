"""Learned local forces: how a potential divides the force on an atom among its neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gnnip.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from gnnip.graphs import GraphBatch
    from gnnip.measurements.kinds import LocalForces as Options
    from gnnip.measurements.sources import Sources
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

    graph = batch.adjacency
    if not graph.symmetric:
        raise DataError("Local forces need a graph in which every edge has its reverse.")
    total = evaluate(model, batch, forces=True)["forces"]
    gradient = _edge_gradient(model, batch)
    force = gradient - gradient.index_select(0, graph.by_source)
    _check_sum(model, batch, force, total)
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


def _edge_gradient(model: Potential, batch: GraphBatch) -> Tensor:
    """Return dE/dv_ij of every edge (E, 3), eV/Angstrom."""
    import torch

    from gnnip.models.contract import frozen_parameters

    # a shift of its own for every edge is a displacement of that edge's vector
    shift = batch.edge_shift
    shift = batch.positions.new_zeros(batch.adjacency.n_edges, 3) if shift is None else shift
    shift = shift.detach().clone().requires_grad_()
    varied = replace(
        batch, positions=batch.positions.detach(), edge_shift=shift, lengths=None, extras={}
    )
    with torch.enable_grad(), frozen_parameters(model):
        energy = model(varied)["energy"].sum()
        if not energy.requires_grad:
            return torch.zeros_like(shift)
        (gradient,) = torch.autograd.grad(energy, [shift], materialize_grads=True)
    return gradient


def _check_sum(model: Potential, batch: GraphBatch, force: Tensor, total: Tensor) -> None:
    import torch

    summed = torch.zeros_like(total).index_add(0, batch.adjacency.target, force)
    allowed = _ROUNDING[str(total.dtype)] * (1.0 + float(force.abs().sum(0).max()))
    difference = float((summed - total).abs().max()) if total.numel() else 0.0
    if difference > allowed:
        raise DataError(
            f"The local forces of the potential '{model.architecture}' do not add up to its forces "
            f"(by {difference:.1e} eV/Angstrom): its energy depends on positions otherwise than "
            "through the edges of the graph, so it has none."
        )


def tabulate_local_forces(sources: Sources, options: Options) -> pd.DataFrame:
    """Return the local forces of trained potentials on their test frames, binned by distance.

    Columns group, cell, seed, (dataset,) centre, neighbour (elements, ordered), distance_a (middle
    of the bin), n_pairs, and mean and standard deviation over pairs of `LocalForces.radial` and
    `LocalForces.directed`: radial_force_ev_per_a, radial_force_std_ev_per_a, directed_...

    DataError for a potential without local forces and predictions without test frames.
    """
    import torch

    tables = []
    for one in sources.potentials(options.max_frames):
        batches = one.store.batches(torch.arange(one.test.n_frames), 1)
        parts = [local_forces(one.model, batch).table() for batch in batches]
        pairs = pd.concat(parts, ignore_index=True)
        bins = np.floor(pairs["distance_a"] / options.bin_width) + 0.5
        pairs["distance_a"] = bins * options.bin_width
        grouped = pairs.groupby(["centre", "neighbour", "distance_a"])
        binned = grouped.size().rename("n_pairs").to_frame()
        for name in ("radial_force", "directed_force"):
            values = grouped[f"{name}_ev_per_a"]
            binned[f"{name}_ev_per_a"] = values.mean()
            binned[f"{name}_std_ev_per_a"] = values.std(ddof=0)
        binned = binned.reset_index()
        about = pd.DataFrame(dict(one.about), index=binned.index)
        tables.append(pd.concat([about, binned], axis=1))
    return pd.concat(tables, ignore_index=True)

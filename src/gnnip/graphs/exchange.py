"""Batches to and from torch-geometric, which is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gnnip.errors import DataError, StructureError
from gnnip.geometry import faults
from gnnip.graphs.adjacency import Adjacency
from gnnip.graphs.batch import GraphBatch, reverse_edges

if TYPE_CHECKING:
    from torch_geometric.data import Batch

#: labels and numbers of structures that travel along, under the same names
_PER_GRAPH = ("cell", "energy", "stress", "frame")


def to_torch_geometric(batch: GraphBatch) -> Batch:
    """Return a batch as torch-geometric holds one, differentiable, on the same device.

    It has pos (n, 3), z (n,), edge_index (2, E) from source to target, batch (n,), ptr (g+1,);
    edge_shift (E, 3) and cell (g, 3, 3) of periodic structures; energy, forces, stress and frame
    where there are any; Angstrom and eV. The vector of an edge is
    ``pos[edge_index[0]] + edge_shift - pos[edge_index[1]]``.
    """
    from torch_geometric.data import Batch, Data

    edge_offsets = batch.adjacency.offsets.index_select(0, batch.offsets)
    parts = []
    for k in range(batch.n_graphs):
        atoms = slice(int(batch.offsets[k]), int(batch.offsets[k + 1]))
        edges = slice(int(edge_offsets[k]), int(edge_offsets[k + 1]))
        values: dict[str, Tensor | None] = {
            "pos": batch.positions[atoms],
            "z": batch.atomic_numbers[atoms],
            "edge_index": batch.edge_index[:, edges] - atoms.start,
            "edge_shift": None if batch.edge_shift is None else batch.edge_shift[edges],
            "forces": None if batch.forces is None else batch.forces[atoms],
        }
        for name in _PER_GRAPH:
            value = getattr(batch, name)
            values[name] = None if value is None else value[k : k + 1]
        parts.append(Data(**{name: v for name, v in values.items() if v is not None}))
    return Batch.from_data_list(parts)


def from_torch_geometric(data: Batch, cutoff: float | None = None) -> GraphBatch:
    """Return a `GraphBatch` of a batch with the names of `to_torch_geometric`; edges in any order.

    cutoff : Angstrom; if given, the edges are all pairs closer than this.

    Raises
    ------
    DataError : pos, z, edge_index, batch or ptr is missing, of another shape or type, or edges are
        not between atoms of one structure.
    StructureError : what `gnnip.geometry.faults` names; of cells where `pbc` (g, 3) comes along.
    """
    missing = [n for n in ("pos", "z", "edge_index", "batch", "ptr") if n not in data]
    if missing:
        raise DataError(f"The torch-geometric batch has no {', '.join(missing)}.")
    _check(data)
    adjacency, order = Adjacency.from_edge_index(data.edge_index, len(data.pos))
    shift = getattr(data, "edge_shift", None)
    shift = None if shift is None else shift.index_select(0, order)
    more: dict[str, Any] = {name: getattr(data, name, None) for name in (*_PER_GRAPH, "forces")}
    edge_index = torch.stack([adjacency.source, adjacency.target])
    return GraphBatch(
        positions=data.pos,
        atomic_numbers=data.z.long(),
        edge_index=edge_index,
        batch=data.batch,
        n_graphs=len(data.ptr) - 1,
        offsets=data.ptr,
        adjacency=_with_reverse(adjacency, edge_index, shift),
        edge_shift=shift,
        cutoff=cutoff,
        **more,
    )


def _check(data: Batch) -> None:
    """Raise DataError for parts that do not fit together, StructureError for a bad structure."""
    n, bounds = len(data.pos), data.ptr.cpu().numpy()
    n_graphs, n_edges = len(bounds) - 1, data.edge_index.shape[-1] if data.edge_index.ndim else 0
    shapes = {"pos": (n, 3), "z": (n,), "edge_index": (2, n_edges), "batch": (n,)}
    shapes |= {"edge_shift": (n_edges, 3), "forces": (n, 3), "cell": (n_graphs, 3, 3)}
    for name, shape in shapes.items():
        part = getattr(data, name, None)
        if part is None:
            continue
        if tuple(part.shape) != shape:
            raise DataError(
                f"{name} of the torch-geometric batch has the shape {tuple(part.shape)} where "
                f"{shape} is expected."
            )
        whole = name in ("z", "edge_index", "batch")
        if part.dtype == torch.bool or part.is_floating_point() == whole or part.is_complex():
            kind = "whole numbers" if whole else "real numbers"
            raise DataError(f"{name} of the torch-geometric batch holds {part.dtype}, not {kind}.")
    owner = np.repeat(np.arange(n_graphs), np.diff(bounds))
    if not np.array_equal(owner, data.batch.cpu().numpy()):
        raise DataError("batch and ptr of the torch-geometric batch do not say the same.")
    edges = data.edge_index.cpu().numpy()
    outside = (edges < 0) | (edges >= n)
    if outside.any():
        raise DataError(f"edge_index names atom {edges[outside][0]}, and there are {n}.")
    if (owner[edges[0]] != owner[edges[1]]).any():
        raise DataError("edge_index joins atoms of two structures.")
    cells, pbc = (getattr(data, name, None) for name in ("cell", "pbc"))
    if cells is None or pbc is None:
        cells = pbc = None
    bad = faults(
        data.pos.detach().cpu().numpy(),
        data.z.cpu().numpy(),
        bounds,
        None if cells is None else cells.detach().cpu().numpy(),
        None if pbc is None else pbc.cpu().numpy().reshape(-1, 3),
        coinciding=True,
    )
    for k, sentence in bad.items():
        raise StructureError(f"Structure {k}: {sentence}")


def _with_reverse(graph: Adjacency, edge_index: Tensor, shift: Tensor | None) -> Adjacency:
    """Return the same edges with the reverse of each, where every edge has one."""
    shifts = torch.zeros(graph.n_edges, 3) if shift is None else shift.detach()
    found = reverse_edges(edge_index.cpu().numpy(), shifts.cpu().double().numpy())
    reverse = torch.as_tensor(found, device=graph.source.device)
    turned = torch.equal(edge_index.flip(0).index_select(1, reverse), edge_index)
    if not turned or not torch.equal(-shifts[reverse.to(shifts.device)], shifts):
        return graph
    return Adjacency(
        graph.source, graph.target, graph.offsets, reverse, graph.offsets, symmetric=True
    )

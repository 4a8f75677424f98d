"""Structures as graphs: neighbour lists, batches on a device, sparse sums over edges."""

from gnnip.graphs.adjacency import Adjacency
from gnnip.graphs.batch import GraphBatch, GraphStore
from gnnip.graphs.exchange import from_torch_geometric, to_torch_geometric
from gnnip.graphs.neighbours import neighbour_list

__all__ = [
    "Adjacency",
    "GraphBatch",
    "GraphStore",
    "from_torch_geometric",
    "neighbour_list",
    "to_torch_geometric",
]

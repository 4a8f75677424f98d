"""Structures as graphs: neighbour lists, batches on a device, sparse sums over edges."""

from gnnip.graphs.adjacency import Adjacency
from gnnip.graphs.batch import GraphBatch
from gnnip.graphs.neighbours import neighbour_list
from gnnip.graphs.store import GraphStore

__all__ = ["Adjacency", "GraphBatch", "GraphStore", "neighbour_list"]

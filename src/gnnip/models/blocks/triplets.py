"""Pairs of edges with one centre."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnip.graphs import Adjacency


def triplets(graph: Adjacency) -> tuple[Tensor, Tensor]:
    """Return all ordered pairs of different edges that end at the same atom, (T,) and (T,)."""
    others = (graph.degree - 1).index_select(0, graph.target)
    edges = torch.arange(graph.n_edges, device=others.device)
    first = torch.repeat_interleave(edges, others)
    begins = others.cumsum(0) - others
    number = torch.arange(len(first), device=others.device) - begins.index_select(0, first)
    begin_of_atom = graph.offsets.index_select(0, graph.target.index_select(0, first))
    second = begin_of_atom + number
    return first, second + (second >= first).long()

"""The layers against those of torch-geometric, where the two packages compute the same."""

import pytest
import torch
from torch import nn
from torch_geometric.nn import AGNNConv as TheirAGNNConv
from torch_geometric.nn import CGConv, GraphConv, NNConv
from torch_geometric.nn import GATConv as TheirGATConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from gnnip.graphs import Adjacency
from gnnip.models.spektral import (
    LEAKY_SLOPE,
    AGNNConv,
    CrystalConv,
    ECCConv,
    GATConv,
    GCSConv,
    normalise_adjacency,
)

IN, OUT = 4, 6


def gat(heads, concat):
    ours = GATConv(IN, OUT, heads, concat)
    theirs = TheirGATConv(IN, OUT, heads, concat, negative_slope=LEAKY_SLOPE)
    weights = {
        "lin.weight": ours.kernel.permute(1, 2, 0).reshape(heads * OUT, IN),
        "att_dst": ours.attn_kernel_self[..., 0].T[None],
        "att_src": ours.attn_kernel_neigh[..., 0].T[None],
        "bias": ours.bias,
    }
    return ours, theirs, weights


def ecc():
    ours, filters = ECCConv(IN, OUT, edge_channels=2), nn.Linear(2, IN * OUT)
    weights = {
        "nn.weight": ours.FGN_out.kernel.T,
        "nn.bias": ours.FGN_out.bias,
        "lin.weight": ours.root_kernel.T,
        "bias": ours.bias,
    }
    return ours, NNConv(IN, OUT, filters), weights


def gcs():
    ours = GCSConv(IN, OUT)
    weights = {
        "lin_rel.weight": ours.kernel_1.T,
        "lin_rel.bias": ours.bias,
        "lin_root.weight": ours.kernel_2.T,
    }
    return ours, GraphConv(IN, OUT), weights


def crystal():
    ours = CrystalConv(IN, "softplus", edge_channels=2)  # theirs is the paper's
    weights = {
        f"lin_{name}.{what}": value
        for name, dense in (("f", ours.dense_f), ("s", ours.dense_s))
        for what, value in (("weight", dense.kernel.T), ("bias", dense.bias))
    }
    return ours, CGConv(IN, 2), weights


def agnn():
    ours = AGNNConv()
    return ours, TheirAGNNConv(add_self_loops=False), {"beta": ours.beta}


PAIRS = {
    "gat": lambda: gat(1, True),
    "gat_heads": lambda: gat(3, True),
    "gat_mean": lambda: gat(2, False),
    "ecc": ecc,
    "gcs": gcs,
    "crystal": crystal,
    "agnn": agnn,
}


@pytest.mark.parametrize("name", PAIRS)
def test_outputs_are_the_same_with_the_same_weights(name):
    generator = torch.Generator().manual_seed(0)
    pairs = torch.triu_indices(9, 9, 1)
    pairs = pairs[:, torch.rand(pairs.shape[1], generator=generator) < 0.5]
    edge_index = torch.cat([pairs, pairs.flip(0)], dim=1)
    x = torch.randn(9, IN, dtype=torch.float64, generator=generator)
    attr = torch.rand(edge_index.shape[1], 2, dtype=torch.float64, generator=generator)
    torch.manual_seed(1)
    ours, theirs, weights = PAIRS[name]()
    with torch.no_grad():
        for value in weights.values():  # a bias of zero would not tell
            value.add_(0.3 * torch.randn_like(value))
    ours, theirs = ours.double().eval(), theirs.double().eval()
    theirs.load_state_dict(weights)
    graph, order = Adjacency.from_edge_index(edge_index, len(x))
    normal = normalise_adjacency(graph, torch.float64)
    _, edge_weight = gcn_norm(edge_index, None, len(x), add_self_loops=False, dtype=torch.float64)
    assert (normal - edge_weight[order]).abs().max() < 1e-15
    more = (attr,) if name in ("ecc", "crystal") else (edge_weight,) if name == "gcs" else ()
    with torch.no_grad():
        found = ours(x, graph, normal, attr[order])
        expected = theirs(x, edge_index, *more)
    assert found.shape == expected.shape
    # Keras adds 1e-9 to the sum of a softmax, torch-geometric 1e-16
    close = 1e-8 if name.startswith(("gat", "agnn")) else 1e-12
    assert (found - expected).abs().max() < close * max(1.0, expected.abs().max().item())

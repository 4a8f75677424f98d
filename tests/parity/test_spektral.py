"""The six layers against the outputs of Spektral 1.3.1 (arrays outside the repository)."""

import numpy as np
import pytest
import torch

from gnnip.graphs import Adjacency
from gnnip.models.spektral import (
    AGNNConv,
    CrystalConv,
    ECCConv,
    GATConv,
    GCSConv,
    GeneralConv,
    load_spektral_weights,
    normalise_adjacency,
)

LAYERS = {
    "crystal": lambda: CrystalConv(4),
    "gat": lambda: GATConv(4, 8),
    "gat2concat": lambda: GATConv(4, 8, attn_heads=2, concat_heads=True, activation="relu"),
    "gat2mean": lambda: GATConv(4, 8, attn_heads=2, concat_heads=False),
    "gcs_norm": lambda: GCSConv(4, 8),
    "gcs_raw": lambda: GCSConv(4, 8),
    "ecc": lambda: ECCConv(4, 8),
    "ecc_net": lambda: ECCConv(4, 8, kernel_network=[16]),
    "agnn": lambda: AGNNConv(),
    "general": lambda: GeneralConv(4, 8),
}


@pytest.fixture
def arrays(shared):
    path = shared / "oracles" / "spektral_layers.npz"
    return np.load(path, allow_pickle=False)


@pytest.mark.parametrize("tag", LAYERS)
def test_layer(arrays, tag):
    def tensor(what):
        return torch.from_numpy(arrays[f"{tag}.{what}"])

    layer = LAYERS[tag]()
    names = [str(n) for n in arrays[f"{tag}.weight_names"]]
    load_spektral_weights(layer, {n: arrays[f"{tag}.weight.{n}"] for n in names})
    layer.eval()
    edge_attr = tensor("e") if f"{tag}.e" in arrays else None
    edge_index = tensor("edge_index")
    with torch.no_grad():
        output = layer(tensor("x"), edge_index, tensor("adjacency"), edge_attr)
        # the order of the edges does not matter
        shuffle = torch.randperm(edge_index.shape[1], generator=torch.Generator().manual_seed(0))
        shuffled = layer(
            tensor("x"),
            edge_index[:, shuffle],
            tensor("adjacency")[shuffle],
            None if edge_attr is None else edge_attr[shuffle],
        )
    expected = tensor("output")
    assert output.shape == expected.shape
    assert (output - expected).abs().max() < 1e-12 * max(1.0, expected.abs().max().item())
    assert (shuffled - expected).abs().max() < 1e-12 * max(1.0, expected.abs().max().item())


def test_normalised_adjacency(arrays):
    edge_index = torch.from_numpy(arrays["gcs_norm.edge_index"])
    graph, order = Adjacency.from_edge_index(edge_index, 12)
    values = normalise_adjacency(graph, torch.float64)
    expected = torch.from_numpy(arrays["gcs_norm.adjacency"])[order]
    assert (values - expected).abs().max() < 1e-15

"""The fast layers against their plain forms, first and second derivatives, and Keras' habits."""

import numpy as np
import pytest
import torch
from plain_layers import PLAIN

from gnnip.errors import CheckpointError, ConfigError
from gnnip.models.spektral import (
    AGNNConv,
    BatchNorm,
    CrystalConv,
    ECCConv,
    GATConv,
    GCSConv,
    GeneralConv,
    _GatedSum,
    glorot_uniform,
    load_spektral_weights,
)

CASES = {
    "crystal": (lambda w: CrystalConv(w, edge_channels=2), 6),
    "crystal_tanh": (lambda w: CrystalConv(w, "tanh", edge_channels=2), 6),
    "crystal_wide": (lambda w: CrystalConv(w, "tanh", edge_channels=2), 20),
    "gat_widens": (lambda w: GATConv(w, 9, activation="tanh"), 4),
    "gat_narrows": (lambda w: GATConv(w, 3), 6),
    "gat_heads": (lambda w: GATConv(w, 5, attn_heads=3), 4),
    "gat_mean": (lambda w: GATConv(w, 5, attn_heads=2, concat_heads=False), 4),
    "gcs_widens": (lambda w: GCSConv(w, 9, "relu"), 4),
    "gcs_narrows": (lambda w: GCSConv(w, 3), 6),
    "ecc": (lambda w: ECCConv(w, 5, edge_channels=2), 4),
    "ecc_net": (lambda w: ECCConv(w, 5, [7, 6], edge_channels=2), 4),
    "agnn": (lambda w: AGNNConv(), 5),
    "general": (lambda w: GeneralConv(w, 7), 4),
}


@pytest.fixture
def graph():
    generator = torch.Generator().manual_seed(1)
    n = 11
    edge_index = torch.randint(0, n - 1, (2, 40), generator=generator)  # the last node is alone
    edge_index = edge_index[:, edge_index[0] != edge_index[1]].unique(dim=1)
    m = edge_index.shape[1]
    weight = torch.rand(m, dtype=torch.float64, generator=generator)
    attr = torch.rand(m, 2, dtype=torch.float64, generator=generator)
    return n, edge_index[:, torch.randperm(m, generator=generator)], weight, attr


def make(case):
    torch.manual_seed(2)
    maker, width = CASES[case]
    layer = maker(width).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    for name, value in layer.named_buffers():
        value.copy_(torch.rand_like(value) + (0.5 if "variance" in name else 0.0))
    return layer, width


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_fast_equals_plain(graph, case, training, monkeypatch):
    monkeypatch.setattr(_GatedSum, "PIECE", 200)  # several pieces
    n, edge_index, weight, attr = graph
    layer, width = make(case)
    layer.train(training)
    if isinstance(layer, GATConv):
        layer.dropout_rate = 0.0
    plain = PLAIN[type(layer).__name__](layer)
    x = torch.randn(n, width, dtype=torch.float64, requires_grad=True)
    weight.requires_grad_(isinstance(layer, GCSConv))
    attr.requires_grad_(layer.uses_edge_attr)
    inputs = [t for t in (x, weight, attr, *layer.parameters()) if t.requires_grad]

    output = layer(x, edge_index, weight, attr)  # one derivative alone takes a path of its own
    results = []
    alone = torch.autograd.grad(output.square().sum(), inputs)
    expected = torch.autograd.grad(plain(x, edge_index, weight, attr).square().sum(), inputs)
    for ours, theirs in zip(alone, expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-10 * max(1.0, theirs.abs().max().item())
    for function in (plain, layer):
        output = function(x, edge_index, weight, attr)
        probe = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view_as(output)
        first = torch.autograd.grad((output * probe).sum(), inputs, create_graph=True)
        size = sum(g.square().sum() for g in first)
        if size.requires_grad:
            second = torch.autograd.grad(size, inputs, materialize_grads=True)
        else:
            second = ()
        results.append((output, *first, *second))
    for expected, ours in zip(*results, strict=True):
        scale = max(1.0, expected.abs().max().item())
        assert (ours - expected).abs().max() < 1e-10 * scale


@pytest.mark.parametrize("case", CASES)
def test_single_precision_takes_the_same_path(graph, case):
    n, edge_index, weight, attr = graph
    layer, width = make(case)
    layer.eval()
    x = torch.randn(n, width, dtype=torch.float64)
    expected = layer(x, edge_index, weight, attr)
    ours = layer.float()(x.float(), edge_index, weight.float(), attr.float())
    assert ours.dtype == torch.float32
    assert (ours - expected).abs().max() < 1e-4 * max(1.0, expected.abs().max().item())


def test_isolated_node(graph):
    n, edge_index, _, attr = graph
    x = torch.randn(n, 5, dtype=torch.float64)
    assert (AGNNConv()(x, edge_index)[-1] == 0).all()
    crystal = CrystalConv(5, edge_channels=2).double()
    assert torch.equal(crystal(x, edge_index, None, attr)[-1], x[-1])


def test_gat_drops_self_loops_and_adds_one(graph):
    n, edge_index, _, _ = graph
    layer, width = make("gat_heads")
    layer.eval()
    x = torch.randn(n, width, dtype=torch.float64)
    loops = torch.tensor([[0, 0, 3], [0, 0, 3]])
    with_loops = torch.cat([edge_index, loops], dim=1)
    assert torch.allclose(layer(x, with_loops), layer(x, edge_index), atol=1e-14)


def test_gat_dropout_acts_on_attention_in_training_only(graph):
    n, edge_index, _, _ = graph
    layer, width = make("gat_widens")
    x = torch.randn(n, width, dtype=torch.float64)
    assert layer.dropout_rate == 0.5
    layer.train()
    a, b = layer(x, edge_index), layer(x, edge_index)
    assert not torch.equal(a, b)
    layer.eval()
    assert torch.equal(layer(x, edge_index), layer(x, edge_index))
    # inverted dropout: the mean over masks is the value without, up to the activation
    layer.activation = lambda t: t
    without = layer(x, edge_index)
    layer.train()
    mean = torch.stack([layer(x, edge_index) for _ in range(1000)]).mean(0)
    assert (mean - without).abs().max() < 0.3


def test_batch_norm_moves_as_keras_does():
    norm = BatchNorm(3).double()
    x = torch.randn(8, 3, dtype=torch.float64) * 2 + 1
    norm.train()
    y = norm(x)
    assert torch.allclose(y.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(norm.moving_mean, 0.01 * x.mean(0), atol=1e-12)
    expected = 0.99 + 0.01 * x.var(0, correction=0)
    assert torch.allclose(norm.moving_variance, expected, atol=1e-12)


def test_glorot_limits_are_those_of_keras():
    torch.manual_seed(0)
    matrix, kernel = glorot_uniform(200, 100), glorot_uniform(64, 2, 32)
    assert matrix.abs().max().item() == pytest.approx((6 / 300) ** 0.5, rel=1e-2)
    # Keras counts the first axis of a rank-3 kernel as a receptive field
    assert kernel.abs().max().item() == pytest.approx((6 / (64 * 34)) ** 0.5, rel=1e-2)


def test_defaults_that_bite():
    assert GATConv(4, 8).dropout_rate == 0.5
    assert GeneralConv(4).bias.shape == (256,)
    assert AGNNConv().beta.tolist() == [1.0]
    assert CrystalConv(4).dense_s.activation(torch.tensor(-2.0)) == -2.0
    assert GeneralConv(4, 4).prelu_alpha.tolist() == [0.0] * 4


def test_weights_that_do_not_fit():
    good = {"kernel_1": np.zeros((4, 8)), "kernel_2": np.zeros((4, 8)), "bias": np.zeros(8)}
    load_spektral_weights(GCSConv(4, 8), good)
    with pytest.raises(CheckpointError, match=r"'bias' of GCSConv is missing"):
        load_spektral_weights(GCSConv(4, 8), {k: v for k, v in good.items() if k != "bias"})
    with pytest.raises(CheckpointError, match=r"no weight 'kernal_1'.*kernel_1"):
        load_spektral_weights(GCSConv(4, 8), good | {"kernal_1": np.zeros(1)})
    with pytest.raises(CheckpointError, match=r"shape \(4, 8\), \(4, 7\) is expected"):
        load_spektral_weights(GCSConv(4, 7), good)


def test_bad_arguments(graph):
    n, edge_index, _, _ = graph
    with pytest.raises(ConfigError, match="did you mean 'relu'"):
        GATConv(4, 8, activation="rellu")
    with pytest.raises(ConfigError, match="needs edge features"):
        ECCConv(4, 8)(torch.zeros(n, 4), edge_index)

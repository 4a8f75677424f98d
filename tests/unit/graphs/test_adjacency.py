"""Edge sums against dense matrices, with first and second derivatives."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gnnip.graphs.adjacency import Adjacency, sum_segments


@pytest.fixture
def graph():
    generator = torch.Generator().manual_seed(0)
    # directed, unsorted, node 4 isolated, one edge twice, one self loop
    edge_index = torch.randint(0, 4, (2, 9), generator=generator)
    edge_index = torch.cat([edge_index, edge_index[:, :1], torch.tensor([[5, 2], [5, 5]])], dim=1)
    adjacency, order = Adjacency.from_edge_index(edge_index, 6)
    return adjacency, order, edge_index


def dense(adjacency, weights):
    matrix = torch.zeros(adjacency.n_nodes, adjacency.n_nodes, dtype=weights.dtype)
    return matrix.index_put((adjacency.target, adjacency.source), weights, accumulate=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 4, 8, 11])
def test_values(graph, dtype, width):
    adjacency, order, edge_index = graph
    assert torch.equal(edge_index[0][order], adjacency.source)
    assert torch.equal(edge_index[1][order], adjacency.target)
    x, y = torch.randn(2, 6, width, dtype=dtype)
    w = torch.randn(adjacency.n_edges, dtype=dtype)
    messages = torch.randn(adjacency.n_edges, width, dtype=dtype)
    close = {"atol": 1e-5 if dtype == torch.float32 else 1e-12, "rtol": 0}
    assert torch.allclose(adjacency.sum_neighbours(x, w), dense(adjacency, w) @ x, **close)
    assert torch.allclose(
        adjacency.sum_neighbours(x), dense(adjacency, torch.ones_like(w)) @ x, **close
    )
    assert torch.equal(adjacency.from_source(x), x[adjacency.source])
    assert torch.equal(adjacency.from_target(x), x[adjacency.target])
    expected = torch.zeros(6, width, dtype=dtype).index_add(0, adjacency.target, messages)
    assert torch.allclose(adjacency.sum_messages(messages), expected, **close)
    assert torch.allclose(adjacency.sum_messages(messages[:, 0]), expected[:, 0], **close)
    expected = (x[adjacency.target] * y[adjacency.source]).sum(1)
    assert torch.allclose(adjacency.dot(x, y), expected, **close)
    turned = adjacency.transposed
    assert torch.equal(turned.source, adjacency.target[adjacency.by_source])
    assert torch.allclose(
        turned.sum_neighbours(x, w[adjacency.by_source]), dense(adjacency, w).T @ x, **close
    )


def test_first_and_second_derivatives(graph):
    adjacency, _, _ = graph
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    w = torch.randn(adjacency.n_edges, dtype=torch.float64, requires_grad=True)
    m = torch.randn(adjacency.n_edges, 2, dtype=torch.float64, requires_grad=True)
    for function, inputs in [
        (adjacency.sum_neighbours, (x, w)),
        (adjacency.dot, (x, y)),
        (adjacency.from_source, (x,)),
        (adjacency.from_target, (x,)),
        (adjacency.sum_messages, (m,)),
    ]:
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)


def test_softmax(graph):
    adjacency, _, _ = graph
    logits = torch.randn(adjacency.n_edges, dtype=torch.float64, requires_grad=True)
    own = torch.randn(6, dtype=torch.float64, requires_grad=True)
    alpha, self_alpha = adjacency.softmax(logits, own)
    total = adjacency.sum_messages(alpha) + self_alpha
    assert torch.allclose(total, torch.ones(6, dtype=torch.float64), atol=2e-9)
    assert self_alpha[4].item() == pytest.approx(1.0, abs=2e-9)  # isolated node
    alpha, nothing = adjacency.softmax(logits * 300)
    assert nothing is None
    assert torch.isfinite(alpha).all()
    assert adjacency.sum_messages(alpha)[4] == 0
    assert gradcheck(lambda a, b: torch.cat(adjacency.softmax(a, b)), (logits, own), atol=1e-7)
    assert gradgradcheck(lambda a, b: torch.cat(adjacency.softmax(a, b)), (logits, own), atol=1e-6)


def test_no_edges_at_all():
    adjacency, _ = Adjacency.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 3)
    x = torch.randn(3, 4, requires_grad=True)
    w = torch.zeros(0, requires_grad=True)
    adjacency.sum_neighbours(x, w).sum().backward()
    assert x.grad.abs().sum() == 0
    assert adjacency.dot(x, x).shape == (0,)


@pytest.mark.parametrize("copies", [1, 3])
def test_a_small_cell_has_more_edges_than_pairs(copies):
    pairs = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 1]]).repeat(1, copies)
    adjacency, _ = Adjacency.from_edge_index(pairs, 2)
    a, b = torch.randn(2, 2, 5)
    expected = (a[adjacency.target] * b[adjacency.source]).sum(1)
    assert torch.allclose(adjacency.dot(a, b), expected)


def test_sum_segments():
    x = torch.arange(6.0)[:, None].expand(6, 2)
    segment = torch.tensor([0, 0, 0, 1, 1, 2])
    total = sum_segments(x, segment, torch.tensor([0, 3, 5, 6]))
    assert total[:, 0].tolist() == [3.0, 7.0, 5.0]

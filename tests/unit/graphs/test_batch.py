"""Batches: what is cut out of a store is what each structure gives alone."""

import numpy as np
import pytest
import torch

from gnnip.errors import DataError
from gnnip.graphs import (
    GraphBatch,
    GraphStore,
    from_torch_geometric,
    neighbour_list,
    to_torch_geometric,
)
from gnnip.models import build, evaluate


def structures(periodic=False, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for n in (5, 9, 1, 7):
        s = {"positions": rng.uniform(0, 5, (n, 3)), "numbers": rng.choice([1, 8], n)}
        if periodic:
            s |= {"cell": np.diag([4.0, 5.0, 4.5]) + 0.3, "pbc": True}
        made.append(s)
    return made


@pytest.mark.parametrize("periodic", [False, True])
def test_batch_holds_each_structure(periodic):
    frames = structures(periodic)
    store = GraphStore.from_structures(frames, 3.0, dtype=torch.float64)
    chosen = [3, 0, 2, 1, 0]
    batch = store.batch(torch.tensor(chosen))
    assert batch.n_graphs == 5
    assert batch.frame.tolist() == chosen
    edge_start = 0
    for k, frame in enumerate(chosen):
        s = frames[frame]
        a, b = batch.offsets[k], batch.offsets[k + 1]
        assert np.array_equal(batch.positions[a:b], s["positions"])
        assert np.array_equal(batch.atomic_numbers[a:b], s["numbers"])
        assert (batch.batch[a:b] == k).all()
        edge_index, shift = neighbour_list(s["positions"], 3.0, s.get("cell"), s.get("pbc"))
        part = slice(edge_start, edge_start + edge_index.shape[1])
        assert np.array_equal(batch.edge_index[:, part] - a, edge_index)
        if periodic:
            assert np.allclose(batch.edge_shift[part], shift, atol=1e-15)
            assert np.array_equal(batch.cell[k], s["cell"])
        edge_start += edge_index.shape[1]
    assert edge_start == batch.edge_index.shape[1]


@pytest.mark.parametrize("periodic", [False, True])
def test_reverse_edges_and_lengths(periodic):
    batch = GraphBatch.from_structures(structures(periodic), 3.5, dtype=torch.float64)
    reverse = batch.adjacency.by_source
    vectors = batch.edge_vectors()
    assert torch.equal(batch.edge_index[0][reverse], batch.edge_index[1])
    assert torch.allclose(vectors[reverse], -vectors, atol=1e-12)
    assert torch.equal(reverse[reverse], torch.arange(len(reverse)))
    assert torch.allclose(batch.edge_lengths(), vectors.norm(dim=1), atol=1e-12)
    assert batch.lengths.max() < 3.5


def test_stored_lengths_are_not_used_once_positions_vary():
    batch = GraphBatch.from_structures(structures(), 3.0, dtype=torch.float64)
    batch.positions.requires_grad_(True)
    (gradient,) = torch.autograd.grad(batch.edge_lengths().sum(), batch.positions)
    assert gradient.abs().max() > 0


def test_labels_travel_with_their_structure():
    frames = structures()
    counts = [len(f["numbers"]) for f in frames]
    forces = np.random.default_rng(3).normal(size=(sum(counts), 3))
    store = GraphStore.from_flat(
        np.concatenate([f["positions"] for f in frames]),
        np.concatenate([f["numbers"] for f in frames]),
        np.concatenate([[0], np.cumsum(counts)]),
        3.0,
        energies=[10.0, 20.0, 30.0, 40.0],
        forces=forces,
        frames=[100, 101, 102, 103],
        dtype=torch.float64,
    )
    batch = store.batch(torch.tensor([1, 3]))
    assert batch.energy.tolist() == [20.0, 40.0]
    assert batch.frame.tolist() == [101, 103]
    assert np.array_equal(batch.forces, np.concatenate([forces[5:14], forces[15:22]]))
    assert [b.n_graphs for b in store.batches(torch.arange(4), 3)] == [3, 1]


def test_mixed_open_and_periodic_structures():
    frames = structures(True)[:1] + structures(False)[:1]
    batch = GraphBatch.from_structures(frames, 3.0, dtype=torch.float64)
    alone = [GraphBatch.from_structures([f], 3.0, dtype=torch.float64) for f in frames]
    assert torch.equal(batch.edge_lengths(), torch.cat([a.edge_lengths() for a in alone]))


def test_nothing_to_batch():
    with pytest.raises(DataError, match="at least one"):
        GraphStore.from_structures([], 3.0)


@pytest.mark.parametrize("periodic", [False, True])
def test_to_torch_geometric_and_back(periodic):
    batch = GraphBatch.from_structures(structures(periodic), 3.0, dtype=torch.float64)
    batch.energy = torch.arange(4.0, dtype=torch.float64)
    batch.forces = torch.rand_like(batch.positions)
    theirs = to_torch_geometric(batch)
    assert torch.equal(theirs.edge_index, batch.edge_index)
    j, i = theirs.edge_index
    vectors = theirs.pos[j] - theirs.pos[i] + (theirs.edge_shift if periodic else 0.0)
    assert torch.allclose(vectors, batch.edge_vectors())
    assert theirs.ptr.tolist() == batch.offsets.tolist()
    third = theirs.to_data_list()[3]
    assert third.edge_index.max() < third.num_nodes == 7
    assert (third.cell.shape == (1, 3, 3)) if periodic else ("cell" not in third)
    # back, from edges in any order
    order = torch.randperm(batch.edge_index.shape[1])
    theirs.edge_index = theirs.edge_index[:, order]
    if periodic:
        theirs.edge_shift = theirs.edge_shift[order]
    ours = from_torch_geometric(theirs, cutoff=3.0)
    assert ours.adjacency.symmetric
    assert ours.cutoff == 3.0
    for name in ("positions", "atomic_numbers", "batch", "offsets", "energy", "forces", "cell"):
        expected, found = getattr(batch, name), getattr(ours, name)
        assert (found is None) if expected is None else torch.equal(found, expected)
    assert torch.equal(ours.edge_index[1], batch.edge_index[1])
    model = build("nequip", species=(1, 8), cutoff=3.0, channels=2, layers=2).double()
    found, expected = (evaluate(model, b, forces=True, stress=periodic) for b in (ours, batch))
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-12)


def test_a_torch_geometric_batch_may_lack_reverse_edges_but_not_atoms():
    theirs = to_torch_geometric(GraphBatch.from_structures(structures(), 3.0))
    theirs.edge_index = theirs.edge_index[:, theirs.edge_index[0] < theirs.edge_index[1]]
    assert not from_torch_geometric(theirs).adjacency.symmetric
    del theirs.z
    with pytest.raises(DataError, match="has no z"):
        from_torch_geometric(theirs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pos": torch.zeros(3, 2)}, r"pos .* shape \(3, 2\) where \(3, 3\)"),
        ({"pos": torch.zeros(3, 3, dtype=torch.int64)}, "pos .* torch.int64, not real numbers"),
        ({"z": torch.tensor([8, 1])}, r"z .* shape \(2,\) where \(3,\)"),
        ({"z": torch.tensor([8.0, 1.7, 8.0])}, "z .* torch.float32, not whole numbers"),
        ({"z": torch.tensor([True, True, True])}, "z .* torch.bool, not whole numbers"),
        (
            {"edge_index": torch.tensor([[0, 9], [1, 0]])},
            "edge_index names atom 9, and there are 3",
        ),
        ({"edge_index": torch.tensor([[0, -1], [1, 0]])}, "edge_index names atom -1"),
        ({"edge_index": torch.tensor([[0, 2], [1, 0]])}, "joins atoms of two structures"),
        ({"edge_index": torch.tensor([0, 1])}, "edge_index .* shape"),
        ({"edge_index": torch.tensor([[0.0, 1], [1, 0]])}, "torch.float32, not whole numbers"),
        ({"batch": torch.tensor([0, 1, 1])}, "batch and ptr .* do not say the same"),
        ({"edge_shift": torch.zeros(5, 3)}, r"edge_shift .* shape \(5, 3\) where \(2, 3\)"),
        ({"cell": torch.eye(3)}, r"cell .* where \(2, 3, 3\)"),
        ({"pos": torch.zeros(3, 3)}, "Structure 0: Atoms 0 and 1 are at one point"),
    ],
)
def test_batches_of_others_that_do_not_fit(change, said):
    water = {"positions": [[0.0, 0, 0], [1.0, 0, 0]], "numbers": [8, 1]}
    lone = {"positions": [[0.0, 0, 0]], "numbers": [8]}
    theirs = to_torch_geometric(GraphBatch.from_structures([water, lone], 2.0))
    assert from_torch_geometric(theirs).edge_index.shape == (2, 2)
    for name, value in change.items():
        theirs[name] = value
    with pytest.raises(DataError, match=said):
        from_torch_geometric(theirs)

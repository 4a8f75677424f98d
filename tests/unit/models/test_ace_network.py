"""Graph networks on ACE descriptors against dense matrices; condensed graphs against whole ones."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import ConfigError, DataError
from gnnip.graphs import GraphBatch, GraphStore
from gnnip.models import build, evaluate
from gnnip.models.blocks.radial import polynomial_envelope
from gnnip.models.fitting import TrainingFrames
from gnnip.training import Settings, train

SPECIES = (8, 72)
CODED = {"degree": 3, "edges": "ones", "pooling": "mean", "standardise": False, "scale": 1.0}
VARIANTS = {
    "as_coded": CODED | {"graph_cutoff": 0.5, "self_loops": 2.0},
    "as_described": CODED | {"graph_cutoff": 2.6, "self_loops": 0.0},
    "first_images": CODED | {"graph_cutoff": 4.5, "images": "first", "self_loops": 2.0},
    "corrected": {"graph_cutoff": 3.0},
}


def crystals(n_frames):
    """Return oxide crystals of 16 atoms in random order, as flat frames with made-up energies."""
    rng = np.random.default_rng(2)
    positions, numbers = [], []
    for _ in range(n_frames):
        atoms = bulk("HfO", "rocksalt", a=4.6, cubic=True) * (2, 1, 1)
        atoms.rattle(0.2, rng=rng)
        order = rng.permutation(16)
        positions.append(atoms.positions[order])
        numbers.append(atoms.numbers[order])
    return FrameArrays(
        np.concatenate(positions),
        np.concatenate(numbers),
        np.arange(n_frames + 1) * 16,
        {"total": rng.normal(size=n_frames)},
        cells=np.tile(np.diag([9.2, 4.6, 4.6]), (n_frames, 1, 1)),
        pbc=np.ones((n_frames, 3), dtype=bool),
    )


def store_of(frames, cutoff=5.0):
    energies = frames.energies["total"]
    return GraphStore.from_frames(frames, cutoff, energies=energies, dtype=torch.float64)


def network(**options):
    torch.manual_seed(0)
    options = {"species": SPECIES, "widths": (6, 5)} | options
    model = build("ace_network", **options).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def dense_adjacency(batch, options):
    """Return A, the sum of the weights of all images of a pair, from loops over them."""
    x, cell, n = batch.positions, batch.cell[0], len(batch.positions)
    cutoff, first = options["graph_cutoff"], options.get("images") == "first"
    found = torch.zeros(n, n, dtype=torch.float64)
    shifts = torch.cartesian_prod(*[torch.arange(-3.0, 4.0).double()] * 3)
    if first:
        shifts = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()
    for i in range(n):
        for j in range(i + 1 if first else 0, n):
            for r in torch.linalg.norm(x[i] + shifts @ cell - x[j], dim=1):
                if 0 < r < cutoff:
                    smooth = options.get("edges") != "ones"
                    found[i, j] += polynomial_envelope(r, cutoff) if smooth else 1.0
    return found + found.T if first else found


@pytest.mark.parametrize("variant", VARIANTS)
def test_energies_are_those_of_dense_matrices(variant):
    options = VARIANTS[variant]
    model = network(**options)
    batch = store_of(crystals(1)).batch(torch.tensor([0]))
    matrix = dense_adjacency(batch, options)
    assert bool(matrix.any()) == (variant != "as_coded")  # the published graph has no edges
    matrix += options.get("self_loops", 1.0) * torch.eye(16)
    root = torch.diag(matrix.sum(1).rsqrt())
    kinds = (batch.atomic_numbers == 72).long()
    h = model.descriptors.by_kind(model.descriptors(batch, kinds), kinds)
    for layer, bend in zip(model.convolutions, (torch.tanh, lambda x: x), strict=True):
        h = bend(root @ matrix @ root @ h @ layer.weight.T + layer.bias)
    pooled = h.mean(0) if options.get("pooling") == "mean" else h.sum(0)
    atoms = 1 if options.get("pooling") == "mean" else 16
    expected = pooled @ model.head.weight[0] + atoms * model.head.bias[0]
    assert float(model(batch)["energy"]) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
def test_condensed_graphs_give_the_same_energies(variant):
    model, store = network(**VARIANTS[variant]), store_of(crystals(3))
    condensed = model.condense(store)
    rows = torch.tensor([2, 0])
    expected = model(store.batch(rows))["energy"]
    found = evaluate(model, condensed.batch(rows))["energy"]
    assert torch.allclose(found, expected, rtol=1e-12)
    assert condensed.mean_neighbours < store.mean_neighbours
    assert (condensed.mean_neighbours == 0) == (variant == "as_coded")


def test_a_condensed_store_has_the_edges_of_a_new_one():
    frames = crystals(3)
    condensed = store_of(frames).condensed(3.0, names=torch.arange(48))
    rows = torch.tensor([2, 0])
    found, expected = condensed.batch(rows), store_of(frames, 3.0).batch(rows)
    assert found.extras["names"].tolist() == [*range(32, 48), *range(16)]
    assert torch.equal(found.edge_index, expected.edge_index)
    assert torch.allclose(found.edge_shift, expected.edge_shift)
    for name in ("source", "target", "offsets", "by_source", "source_offsets"):
        assert torch.equal(getattr(found.adjacency, name), getattr(expected.adjacency, name)), name


def test_atoms_without_edges_and_self_loops_receive_nothing():
    model = network(graph_cutoff=0.5, self_loops=0.0, pooling="sum")
    one, two = (
        GraphBatch.from_structures([{"positions": x, "numbers": [8, 72]}], 5.0, dtype=torch.float64)
        for x in ([[0, 0, 0], [2.0, 0, 0]], [[0, 0, 0], [2.5, 0, 0]])
    )
    assert float(model(one)["energy"]) == float(model(two)["energy"])


def test_descriptors_are_standardised_for_each_kind():
    frames, model = crystals(6), network(degree=4, standardise=True)
    store = store_of(frames)
    report = model.fit(TrainingFrames(store, torch.arange(4), torch.arange(4, 6)))
    assert not report.complete
    batch = store.batch(torch.arange(4))
    kinds = model.kinds(batch)
    found = (model.inputs(batch, kinds) - model.mean[kinds]) * model.inverse_deviation
    n = model.descriptors.functions
    for kind in (0, 1):
        own = found[kinds == kind]
        assert own.mean(0).abs().max() < 1e-8
        assert torch.allclose(
            own[:, kind * n : (kind + 1) * n].std(0, correction=0), torch.ones(n).double()
        )
        assert not own[:, (1 - kind) * n : (2 - kind) * n].any()


@pytest.mark.parametrize("weights", [{}, {"force_weight": 1.0}])
def test_training_on_condensed_graphs_is_training_on_whole_ones(tmp_path, monkeypatch, weights):
    frames = crystals(8)
    frames.forces["total"] = np.zeros_like(frames.positions)
    split = {"train": np.arange(5), "validation": np.arange(5, 7), "test": np.arange(7, 8)}
    how = Settings(loss="mse", epochs=3, dtype="float64", batch_size=2, **weights)
    options = {"species": SPECIES, "degree": 3, "widths": (4, 4)}
    cls, asked = type(network()), []
    condense = cls.condense

    def watched(self, store):
        asked.append(len(store))
        return condense(self, store)

    monkeypatch.setattr(cls, "condense", watched)
    one = train("ace_network", options, frames, "total", split, how, tmp_path / "1", lambda _: None)
    assert bool(asked) == (not weights)  # descriptors have derivatives where forces are trained on
    monkeypatch.setattr(cls, "condense", lambda self, store: store)
    two = train("ace_network", options, frames, "total", split, how, tmp_path / "2", lambda _: None)
    assert one["test_mae_ev"] == pytest.approx(two["test_mae_ev"], rel=1e-9)
    assert one["test_mae_ev"] < 1e3


def test_from_zero_or_from_the_composition():
    from gnnip.testing.contract import STATISTICS

    for shift, expected in {"composition": [-4.25, 0.0], "none": [0.0, 0.0]}.items():
        model = network(shift=shift, scale=0.5)
        model.calibrate(STATISTICS)
        assert model.species_energies.tolist() == expected
        assert float(model.scale) == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 1}, "'ace_network': degree 1 admits no function of body order 3"),
        ({"graph_cutoff": 6.0}, "graph_cutoff is 6, it must not exceed the cutoff"),
        ({"last_activation": "tan"}, "no activation 'tan', did you mean 'tanh'"),
        ({"self_loops": -1.0}, "self_loops is -1.0, it must not be negative"),
        ({"scale": 0.0}, "scale is 0.0, it must be positive or null"),
        ({"widths": ()}, "widths"),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ConfigError, match=message):
        network(**options)


def test_an_element_without_a_channel():
    with pytest.raises(DataError, match=r"atomic numbers \[8\], not for \[72\]"):
        network(species=(8,))(store_of(crystals(1)).batch(torch.tensor([0])))

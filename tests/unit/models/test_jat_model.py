"""JAT: kernels against torch operations, the defect of its heads, and what it refuses."""

import numpy as np
import pytest
import torch

from gnnip.errors import CheckpointError, ConfigError, DataError
from gnnip.graphs import GraphBatch
from gnnip.models import build, evaluate
from gnnip.models.jat import attention
from gnnip.models.jat.published import jat_from_arrays, main, read_published

needs_kernels = pytest.mark.skipif(
    not attention.available(torch.zeros(1)), reason="no C++ compiler"
)


def cluster(n=20, seed=0, cell=None):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)[:n]
    structure = {
        "positions": 1.5 * grid + rng.normal(0, 0.2, (n, 3)),
        "numbers": rng.choice([1, 6, 8], n),
    }
    return structure if cell is None else structure | {"cell": cell * np.eye(3), "pbc": True}


def batch_of(*structures, cutoff=3.0, dtype=torch.float64):
    return GraphBatch.from_structures(structures, cutoff, dtype=dtype)


def small(**options):
    torch.manual_seed(0)
    defaults = {"species": (1, 6, 8), "cutoff": 3.0, "layers": 2, "width": 8}
    return build("jat", **defaults | options).double()


class TestKernels:
    @staticmethod
    def problem(width, heads, dtype):
        torch.manual_seed(1)
        batch = batch_of(cluster(), cluster(9, 1), dtype=dtype)
        n = batch.positions.shape[0]
        shapes = (n, width), (n, width), (width, heads)
        arguments = [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]
        return batch.adjacency, arguments

    @needs_kernels
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize(("width", "heads"), [(48, 1), (10, 2), (64, 4)])
    def test_values_and_two_orders_of_derivatives(self, width, heads, dtype):
        graph, arguments = self.problem(width, heads, dtype)
        found = []
        for form in (attention.plain_logits, attention.fused_logits):
            logits = form(*arguments, graph)
            first = torch.autograd.grad(logits.square().sum(), arguments[:2], create_graph=True)
            loss = logits.sin().sum() + sum(f.square().sum() for f in first)
            found.append([logits, *first, *torch.autograd.grad(loss, arguments)])
        for plain, fused in zip(*found, strict=True):
            error = (plain - fused).abs().max() / plain.abs().max()
            assert error < (1e-12 if dtype == torch.float64 else 1e-5)

    @needs_kernels
    def test_a_third_derivative_and_that_of_the_gradient_of_the_weights(self):
        graph, arguments = self.problem(8, 2, torch.float64)

        def function(q, k, a):
            return attention.fused_logits(q, k, a, graph).square().sum()

        found = torch.autograd.functional.hvp(function, tuple(arguments), tuple(arguments))[1]
        expected = torch.autograd.functional.hvp(
            lambda q, k, a: attention.plain_logits(q, k, a, graph).square().sum(),
            tuple(arguments),
            tuple(arguments),
        )[1]
        for a, b in zip(found, expected, strict=True):
            assert torch.allclose(a, b, rtol=1e-10)

    @staticmethod
    def softmax_problem(heads, enveloped):
        torch.manual_seed(2)
        graph = batch_of(cluster(), cluster(9, 1)).adjacency
        shapes = [(graph.n_edges, heads), (29, heads), (graph.n_edges,)]
        arguments = [torch.rand(shape).double().requires_grad_() for shape in shapes]
        return graph, arguments if enveloped else arguments[:2]

    @needs_kernels
    @pytest.mark.parametrize("enveloped", [True, False])
    @pytest.mark.parametrize("heads", [1, 3])
    def test_three_orders_of_derivatives_of_the_softmax(self, heads, enveloped):
        graph, arguments = self.softmax_problem(heads, enveloped)
        envelope = arguments[2] if enveloped else None
        found = []
        for form in (attention.plain_softmax, attention.fused_softmax):
            alpha, own = form(4.0 * arguments[0], arguments[1], envelope, graph)
            parts = [alpha, own]
            for _ in range(3):
                total = sum((part.sin() * (k + 1)).sum() for k, part in enumerate(parts[-2:]))
                keep = len(parts) < 2 + 2 * len(arguments)
                parts += torch.autograd.grad(total, arguments, create_graph=keep)
            found.append(parts)
        for plain, fused in zip(*found, strict=True):
            assert torch.allclose(plain, fused, rtol=1e-9, atol=1e-11)

    @needs_kernels
    def test_a_softmax_of_extreme_logits_and_of_zero_weights(self):
        graph, (logits, own, envelope) = self.softmax_problem(1, True)
        logits = logits.detach() * 1e4
        for weights in (envelope.detach(), torch.zeros_like(envelope)):
            found = attention.fused_softmax(logits, own, weights, graph)
            expected = attention.plain_softmax(logits, own, weights, graph)
            for a, b in zip(found, expected, strict=True):
                assert torch.allclose(a, b, equal_nan=True)

    @needs_kernels
    def test_extreme_and_missing_numbers(self):
        graph, (query, key, weights) = self.problem(8, 1, torch.float64)
        large = attention.fused_logits(1e4 * query, key, weights, graph)
        assert torch.allclose(large, attention.plain_logits(1e4 * query, key, weights, graph))
        missing = torch.full_like(query, float("nan"))
        assert attention.fused_logits(missing, key, weights, graph).isnan().all()

    @needs_kernels
    @pytest.mark.parametrize("variant", ["as_coded", "corrected"])
    def test_gradients_of_a_loss_on_forces(self, variant, monkeypatch):
        model = small(variant=variant, heads=2)
        batch = batch_of(cluster(), cluster(26, 1, cell=6.5))
        found = []
        for kernels in (True, False):
            if not kernels:
                monkeypatch.setattr(attention, "available", lambda _: False)
            output = evaluate(model, batch, forces=True, create_graph=True)
            loss = output["forces"].square().sum() + output["energy"].square().sum()
            found.append(torch.autograd.grad(loss, list(model.parameters())))
        for a, b in zip(*found, strict=True):
            assert (a - b).abs().max() <= 1e-9 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("heads", [2, 4])
def test_as_coded_the_order_of_atoms_changes_the_energy_and_corrected_it_does_not(heads):
    structure = cluster()
    order = np.random.default_rng(2).permutation(20)
    mixed = {name: value[order] for name, value in structure.items()}
    change = {}
    for variant in ("as_coded", "as_described", "corrected"):
        energy = small(variant=variant, heads=heads)(batch_of(structure, mixed))["energy"]
        change[variant] = float((energy[0] - energy[1]).abs().detach())
    assert change["as_coded"] > 1e-4
    assert max(change["as_described"], change["corrected"]) < 1e-9


def test_with_one_head_as_coded_is_as_described():
    batch = batch_of(cluster(26, cell=6.5))
    energies = [
        small(variant=variant)(batch)["energy"].item() for variant in ("as_coded", "as_described")
    ]
    assert energies[0] == energies[1]


@pytest.mark.parametrize("variant", ["as_described", "corrected"])
def test_attention_weights_are_shares_of_what_an_atom_receives(variant):
    batch, model = batch_of(cluster(26, cell=6.5)), small(variant=variant, heads=2)
    layers = model.attention(batch)
    assert [a.shape for a in layers] == [(batch.adjacency.n_edges, 2)] * 2
    for alpha in layers:
        received = torch.zeros(26, 2, dtype=alpha.dtype)
        received.index_add_(0, batch.adjacency.target, alpha)
        assert (alpha >= 0).all()
        assert (received > 0).all()
        assert (received < 1).all()  # the rest is the atom's own


@pytest.mark.parametrize(
    ("variant", "offsets", "stands"),
    [
        ("corrected", None, True),
        ("corrected", False, False),
        ("as_coded", None, False),
        ("as_coded", True, True),
    ],
)
def test_it_stands_on_the_energies_of_the_elements_or_not(variant, offsets, stands):
    from gnnip.models.contract import TargetStatistics

    statistics = TargetStatistics(0.0, 1.0, {1: -13.0, 6: -1030.0, 8: -2040.0}, 1.0, 0.5, 10.0)
    structure = cluster()
    expected = sum(statistics.species_energies[z] for z in structure["numbers"].tolist())
    model = small(variant=variant, offsets=offsets)
    before = model(batch_of(structure))["energy"].item()
    model.calibrate(statistics)
    after = model(batch_of(structure))["energy"].item()
    assert after == pytest.approx(expected + 0.5 * before if stands else before)


class TestRefused:
    def test_an_element_that_the_embedding_lacks(self):
        with pytest.raises(DataError, match=r"\[1, 6, 8\], not for \[7\]; list them in 'species'"):
            small()(batch_of(cluster() | {"numbers": np.full(20, 7)}))

    def test_more_neighbours_than_the_padding_holds(self):
        model = small(variant="as_coded", max_neighbours=8)
        structures = cluster(8), cluster()
        counts = batch_of(*structures).adjacency.degree + 1
        assert counts[:8].sum() <= 64
        with pytest.raises(
            DataError, match=r"20 atoms has \d+ pairs .* holds 8 per atom"
        ) as caught:
            model(batch_of(*structures))
        enough = int(str(caught.value).rsplit(maxsplit=1)[-1].rstrip("."))
        assert (enough - 1) * 20 < int(counts[8:].sum()) <= enough * 20
        small(variant="as_coded", max_neighbours=enough)(batch_of(*structures))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"heads": 0}, "heads is 0"),
            ({"max_neighbours": 9}, "belongs to the variant 'as_coded'"),
            ({"variant": "as_codet"}, "did you mean 'as_coded'"),
            ({"cutoff": -1.0}, "cutoff is -1.0 Angstrom"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(ConfigError, match=message):
            small(**options)


class TestPublishedWeights:
    @pytest.fixture
    def arrays(self):
        """Arrays of a network with two heads of width 4 and two layers."""
        rng = np.random.default_rng(0)
        core = {"LayerNorm_0.scale": (64,), "LayerNorm_0.bias": (64,)}
        for n, shape in enumerate([(8, 64), (64, 32), (32, 16), (16, 16), (16, 1)]):
            core[f"Dense_{n}.kernel"] = shape
            if n < 4:
                core |= {f"LayerNorm_{n}.{kind}": (shape[1],) for kind in ("scale", "bias")}
        for layer, heads in ((0, 1), (1, 2)):
            place = f"jat_layers_{layer}"
            core |= {f"{place}.DenseGeneral_{n}.kernel": (heads, 4, 2, 4) for n in (0, 1)}
            core[f"{place}.DenseGeneral_2.kernel"] = (2, 5, 2, 1)
        core |= {f"jat_layers_0.LayerNorm_0.{kind}": (4,) for kind in ("scale", "bias")}
        shapes = {f"param.core_model.{name}": shape for name, shape in core.items()}
        shapes |= {
            "param.embed.embedding": (4, 4),
            "param.denormalizer.kernel": (1, 1),
            "param.denormalizer.bias": (1,),
        }
        found = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        return found | {"cutoff": 3.0, "max_neighbors": 20}

    def test_they_become_a_potential(self, arrays):
        model = jat_from_arrays(arrays)
        assert model.species == (6, 1, 7, 8)
        assert model.hyperparameters.heads == 2
        assert torch.isfinite(model(batch_of(cluster()))["energy"]).all()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"param.embed.embedding": np.zeros((4, 5))}, r"embedding' has the shape \(4, 5\)"),
            ({"elements": np.array(["C", "H"])}, r"has the shape \(4, 4\), but \(2, 4\) follows"),
            ({"elements": np.array(["C", "Hx", "N", "O"])}, "'Hx' is not a chemical element"),
            (
                {"param.core_model.jat_layers_1.DenseGeneral_1.kernel": np.zeros((2, 4, 2, 3))},
                "take all arrays from one checkpoint",
            ),
            (
                {"param.core_model.jat_layers_0.DenseGeneral_0.kernel": np.zeros((4, 4))},
                "four axes are expected",
            ),
            ({"param.core_model.Dense_2.kernel": None}, "Dense_2.kernel' is missing"),
            ({"cutoff": None}, "'cutoff' is missing"),
            ({"param.extra.kernel": np.zeros(1)}, "extra.kernel' belongs to none of the 2 layers"),
        ],
    )
    def test_others_are_one_sentence(self, arrays, change, message, tmp_path, capsys):
        changed = {k: v for k, v in (arrays | change).items() if v is not None}
        np.savez(tmp_path / "arrays.npz", **changed)
        with pytest.raises(CheckpointError, match=message):
            read_published(tmp_path / "arrays.npz")
        status = main([str(tmp_path / "arrays.npz"), "--output", str(tmp_path / "model")])
        said = capsys.readouterr().err.strip()
        assert status == 2
        assert said.startswith("error: ")
        assert "\n" not in said
        assert not (tmp_path / "model.json").exists()

    def test_another_file(self, tmp_path):
        (tmp_path / "arrays.npz").write_text("weights")
        with pytest.raises(CheckpointError, match="not an archive of arrays"):
            read_published(tmp_path / "arrays.npz")

"""NequIP: couplings, radial functions, the two forms of the convolution, settings and errors."""

import itertools
import math
import subprocess

import numpy as np
import pytest
import torch
from e3nn import o3
from e3nn.math import normalize2mom

from gnnip.errors import CheckpointError, ConfigError, DataError
from gnnip.graphs import GraphBatch
from gnnip.graphs.adjacency import Adjacency
from gnnip.models import build, evaluate
from gnnip.models.blocks import activations, harmonics, radial
from gnnip.models.blocks import build as compiler
from gnnip.models.contract import TargetStatistics
from gnnip.models.nequip import convolution, load_sevennet_state
from gnnip.models.nequip.coupling import Coupling, edge_irreps, layer_irreps, name

needs_kernels = pytest.mark.skipif(
    compiler.library(convolution.SOURCE) is None, reason="no C++ compiler"
)


def structure(n=12, seed=0):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3), -1).reshape(-1, 3)[:n]
    return {"positions": 1.7 * grid + 0.3 * rng.random((n, 3)), "numbers": rng.choice([1, 8], n)}


def batch_of(*structures, cutoff=4.0, dtype=torch.float64):
    return GraphBatch.from_structures(list(structures), cutoff, dtype=dtype)


def small(**options):
    torch.manual_seed(1)
    given = {"species": (1, 8), "cutoff": 4.0, "channels": 4, "layers": 2, "denominator": 6.0}
    return build("nequip", **(given | {"radial_hidden": (8,)} | options)).double()


def problem(
    lmax, parity, layer, *, channels=3, hidden=5, nodes=6, pairs=40, both=True, dtype=torch.float64
):
    torch.manual_seed(0)
    irreps = layer_irreps(3, lmax, lmax, parity)
    coupling = Coupling(irreps[layer], edge_irreps(lmax, parity), irreps[layer + 1])
    centre = torch.randint(0, nodes, (pairs,)).sort()[0]
    where = convolution.Pairs(centre, torch.randint(0, nodes, (pairs,)), both, nodes)

    def draw(*shape):
        return torch.randn(*shape, dtype=dtype, requires_grad=True)

    arguments = (
        draw(nodes, coupling.components, channels),
        draw(pairs, coupling.n_harmonics),
        draw(pairs, hidden),
        draw(hidden, len(coupling.paths) * channels),
    )
    return convolution.Tables(coupling), where, arguments


class TestCouplings:
    def test_irreps_of_the_layers(self):
        found = layer_irreps(4, 1, 1, True)
        assert [[name(i) for i in layer] for layer in found] == [
            ["0e"],
            ["0e", "1o"],
            ["0e", "1o", "1e"],
            ["0o", "0e", "1o", "1e"],
            ["0e"],
        ]

    def test_without_parity_everything_is_even(self):
        assert all(p == 1 for layer in layer_irreps(3, 2, 2, False) for _, p in layer)

    def test_rows_of_a_node_are_each_used_once(self):
        coupling = problem(2, True, 1)[0].coupling
        rows = [
            coupling.row(path, k)
            for path in coupling.paths
            for k in range(2 * coupling.outputs[path.target][0] + 1)
        ]
        assert sorted(rows) == list(range(coupling.rows))

    @pytest.mark.parametrize(
        ("lmax", "channels", "layers", "parity", "expected"),
        # counted in SevenNet for four species
        [
            (3, 32, 5, True, 835_736),
            (3, 32, 5, False, 525_464),
            (2, 16, 4, True, 111_056),
            (2, 16, 4, False, 85_200),
        ],
    )
    def test_number_of_parameters(self, lmax, channels, layers, parity, expected):
        model = build(
            "nequip",
            species=(8, 12, 13, 79),
            lmax=lmax,
            channels=channels,
            layers=layers,
            parity=parity,
        )
        assert model.n_parameters == expected


class TestRadial:
    @pytest.mark.parametrize("lmax", range(5))
    def test_harmonics_are_those_of_e3nn(self, lmax):
        directions = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=1)
        expected = o3.spherical_harmonics(list(range(lmax + 1)), directions, True, "component")
        assert torch.allclose(harmonics.spherical_harmonics(directions, lmax), expected, atol=1e-12)

    def test_couplings_are_those_of_e3nn(self):
        degrees = [
            (l1, l2, l3)
            for l1, l2 in itertools.product(range(4), repeat=2)
            for l3 in range(abs(l1 - l2), l1 + l2 + 1)
        ]
        for three in degrees:
            expected = o3.wigner_3j(*three, dtype=torch.float64).numpy()
            assert harmonics.wigner_3j(*three) == pytest.approx(expected, abs=1e-14), three

    def test_gains_are_those_of_e3nn(self):
        assert normalize2mom(torch.nn.functional.silu).cst == pytest.approx(
            activations.SILU_GAIN, rel=1e-14
        )
        assert normalize2mom(torch.tanh).cst == pytest.approx(activations.TANH_GAIN, rel=1e-14)

    def test_bessel_functions_start_as_standing_waves(self):
        basis = radial.BesselBasis(5.0, 3, True)
        r = torch.tensor([1.25])
        expected = [2 / 5 * math.sin(n * math.pi / 4) / 1.25 for n in (1, 2, 3)]
        assert basis(r)[0].tolist() == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(
        ("function", "shape"), [(radial.polynomial_cutoff, 6), (radial.xplor_cutoff, 3.0)]
    )
    def test_cutoff_functions_end_smoothly(self, function, shape):
        r = torch.tensor([1e-3, 2.9, 4.999999, 5.0, 5.5], dtype=torch.float64, requires_grad=True)
        value = function(r, 5.0, shape)
        (slope,) = torch.autograd.grad(value.sum(), r)
        assert value[0].item() == pytest.approx(1.0, abs=1e-9)
        assert value[2:].abs().max() < 1e-9
        assert slope[2:].abs().max() < 1e-5

    def test_both_forms_of_the_polynomial_and_of_the_bessel_functions_agree(self):
        r = torch.linspace(0.5, 4.99, 20, dtype=torch.float64)
        forms = radial.polynomial_cutoff(r, 5.0, 6), radial.polynomial_envelope(r, 5.0, 6)
        assert torch.allclose(*forms, atol=1e-14)
        waves = radial.BesselBasis(5.0, 3, True).double()(r) * math.sqrt(5.0 / 2.0)
        assert torch.allclose(radial.bessel(r, 5.0, 3), waves, atol=1e-6)

    def test_xplor_is_one_below_its_onset(self):
        assert radial.xplor_cutoff(torch.tensor([2.9, 3.1]), 5.0, 3.0).tolist() == [
            1.0,
            pytest.approx(0.991, abs=5e-3),
        ]


@needs_kernels
class TestKernels:
    @pytest.mark.parametrize("both", [True, False])
    @pytest.mark.parametrize(
        ("lmax", "parity", "layer"), [(1, True, 0), (2, True, 1), (3, False, 1), (2, True, 2)]
    )
    def test_value_and_two_derivatives_equal_the_dense_form(self, lmax, parity, layer, both):
        tables, pairs, arguments = problem(lmax, parity, layer, both=both, pairs=101)
        found = {}
        for form in (convolution.dense, convolution.fused):
            torch.manual_seed(2)
            out = form(tables, pairs, *arguments)
            g = torch.randn_like(out, requires_grad=True)
            first = torch.autograd.grad(out, arguments, g, retain_graph=True)
            part = torch.autograd.grad(out, arguments[:3], g, create_graph=True)
            mixed = sum((f * torch.randn_like(f)).sum() for f in part)
            found[form] = [out, *first, *torch.autograd.grad(mixed, (*arguments, g))]
        for expected, value in zip(*found.values(), strict=True):
            assert torch.allclose(value, expected, rtol=1e-11, atol=1e-11)

    def test_numerical_derivatives(self):
        tables, pairs, arguments = problem(1, True, 1, channels=2, hidden=2, nodes=3, pairs=4)

        def function(*given):
            return convolution.fused(tables, pairs, *given)

        assert torch.autograd.gradcheck(function, arguments)
        assert torch.autograd.gradgradcheck(function, arguments)

    def test_third_derivatives_fall_back_to_the_dense_form(self):
        tables, pairs, arguments = problem(1, True, 1, channels=1, hidden=1, nodes=2, pairs=2)
        values = []
        for form in (convolution.dense, convolution.fused):
            x, hidden = arguments[0], arguments[2]
            out = form(tables, pairs, *arguments).pow(3).sum()
            (first,) = torch.autograd.grad(out, x, create_graph=True)
            (second,) = torch.autograd.grad(first.square().sum(), hidden, create_graph=True)
            values.append(torch.autograd.grad(second.square().sum(), x)[0])
        assert torch.allclose(values[1], values[0], rtol=1e-10)

    def test_the_number_of_threads_does_not_matter(self):
        tables, pairs, arguments = problem(2, True, 1, pairs=300)
        results = []
        before = torch.get_num_threads()
        try:
            for threads in (1, 2, 4):
                torch.set_num_threads(threads)
                out = convolution.fused(tables, pairs, *arguments)
                results.append([out, *torch.autograd.grad(out.square().sum(), arguments)])
        finally:
            torch.set_num_threads(before)
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                assert torch.allclose(a, b, rtol=1e-11, atol=1e-11)

    def test_repeats_are_equal_to_the_last_bit(self):
        tables, pairs, arguments = problem(2, True, 1, pairs=300, dtype=torch.float32)
        runs = [convolution.fused(tables, pairs, *arguments) for _ in range(3)]
        assert torch.equal(runs[0], runs[1])
        assert torch.equal(runs[0], runs[2])

    def test_single_precision(self):
        tables, pairs, arguments = problem(2, True, 1, dtype=torch.float32)
        wide = [a.double() for a in arguments]
        expected = convolution.dense(tables, pairs, *wide)
        found = convolution.fused(tables, pairs, *arguments)
        assert torch.allclose(
            found.double(), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item()
        )

    def test_no_pairs(self):
        tables, pairs, arguments = problem(2, True, 1, pairs=0)
        out = convolution.fused(tables, pairs, *arguments)
        assert out.abs().max() == 0
        assert all(g.abs().sum() == 0 for g in torch.autograd.grad(out.sum(), arguments))


class TestCompiler:
    @pytest.fixture(autouse=True)
    def forget(self):
        compiler.library.cache_clear()
        yield
        compiler.library.cache_clear()

    def test_the_dense_form_can_be_chosen(self, monkeypatch):
        monkeypatch.setenv("GNNIP_KERNELS", "off")
        assert compiler.library(convolution.SOURCE) is None
        assert torch.isfinite(small()(batch_of(structure()))["energy"]).all()

    def test_without_a_compiler_a_warning_and_the_dense_form(self, monkeypatch):
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setattr(compiler.shutil, "which", lambda _: None)
        with pytest.warns(UserWarning, match="install g\\+\\+"):
            assert compiler.library(convolution.SOURCE) is None

    def test_a_failing_compiler_is_named(self, monkeypatch, tmp_path):
        def fail(command, **_):
            raise subprocess.CalledProcessError(1, command, stderr="error: no space left on device")

        monkeypatch.setenv("CXX", "g++")
        monkeypatch.setenv("GNNIP_CACHE", str(tmp_path))
        monkeypatch.setattr(compiler.subprocess, "run", fail)
        with pytest.warns(UserWarning, match="no space left"):
            assert compiler.library(convolution.SOURCE) is None


class TestModel:
    @pytest.mark.parametrize("parity", [True, False])
    def test_forms_agree_in_energy_and_forces(self, parity, monkeypatch):
        model, batch = (
            small(parity=parity, lmax=2, layers=3),
            batch_of(structure(), structure(9, 1)),
        )
        fast = evaluate(model, batch, forces=True)
        monkeypatch.setattr(convolution, "available", lambda *_: False)
        slow = evaluate(model, batch, forces=True)
        for key in ("energy", "forces"):
            assert torch.allclose(fast[key], slow[key], rtol=1e-10, atol=1e-10)

    def test_only_parity_tells_mirror_images_apart(self):
        chiral = structure(7, 5)
        mirrored = chiral | {"positions": chiral["positions"] * [-1.0, 1.0, 1.0]}
        batch = batch_of(chiral, mirrored)
        with torch.no_grad():
            a, b = small(parity=True, layers=3, denominator=1.0)(batch)["energy"]
            c, d = small(parity=False, layers=3, denominator=1.0)(batch)["energy"]
        assert abs(a - b) < 1e-9
        assert abs(c - d) > 1e-6

    def test_a_graph_without_known_reverse_edges(self):
        model, batch = small(), batch_of(structure())
        expected = model(batch)["energy"]
        batch.adjacency, _ = Adjacency.from_edge_index(batch.edge_index, len(batch.positions))
        assert not batch.adjacency.symmetric
        assert torch.allclose(model(batch)["energy"], expected, rtol=1e-12)

    def test_gradient_of_a_force_loss(self):
        model, batch = small(layers=3), batch_of(structure(8))

        def loss():
            found = evaluate(model, batch, forces=True, create_graph=True)
            return found["forces"].square().sum() + found["energy"].square().sum()

        parameters = [p for p in model.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss(), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            index = int(gradient.abs().argmax())
            flat, values = parameter.data.view(-1), []
            for step in (-1e-5, 1e-5):
                flat[index] += step
                values.append(loss().item())
                flat[index] -= step
            slope = (values[1] - values[0]) / 2e-5
            assert slope == pytest.approx(gradient.reshape(-1)[index].item(), rel=2e-5, abs=1e-6)

    def test_backward_into_positions_too(self):
        model, batch = small(), batch_of(structure(6))
        positions = batch.positions.clone().requires_grad_()
        batch.positions, batch.lengths = positions, None
        (slope,) = torch.autograd.grad(model(batch)["energy"].sum(), positions, create_graph=True)
        slope.square().sum().backward()
        step = 1e-5
        values = []
        for sign in (-1, 1):
            moved = positions.detach().clone()
            moved[0, 0] += sign * step
            batch.positions = moved.requires_grad_()
            (s,) = torch.autograd.grad(model(batch)["energy"].sum(), batch.positions)
            values.append(s.square().sum().item())
        assert positions.grad[0, 0].item() == pytest.approx(
            (values[1] - values[0]) / (2 * step), rel=1e-5
        )

    def test_calibration_sets_what_was_left_open(self):
        statistics = TargetStatistics(-10.0, 2.0, {1: -1.5, 8: -4.0}, 0.3, 0.7, 16.0)
        model = small(denominator=None, sqrt_denominator=True)
        model.calibrate(statistics)
        assert model.denominators.tolist() == [4.0, 4.0]
        assert model.shift.tolist() == [-1.5, -4.0]
        assert model.scale.tolist() == pytest.approx([0.7, 0.7])
        fixed = small(denominator=3.0, scale=2.0, reference_energies=(0.5, 0.25))
        fixed.calibrate(statistics)
        assert fixed.denominators.tolist() == [3.0, 3.0]
        assert fixed.shift.tolist() == [0.5, 0.25]
        assert fixed.scale.tolist() == [2.0, 2.0]

    def test_shift_and_scale_can_be_trained(self):
        trained = {
            n for n, _ in small(train_shift_scale=True, train_denominator=True).named_parameters()
        }
        assert {"shift", "scale", "denominators"} <= trained
        assert not {"shift", "scale", "denominators"} & {n for n, _ in small().named_parameters()}

    def test_self_connections_differ(self):
        batch = batch_of(structure())
        energies = [
            small(self_connection=kind)(batch)["energy"].item()
            for kind in ("nequip", "linear", "none")
        ]
        assert len(set(energies)) == 3


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"species": ()}, "distinct atomic numbers"),
            ({"species": (1, 1)}, "distinct atomic numbers"),
            ({"cutoff": 0.0}, "cutoff is 0.0"),
            ({"lmax": 9}, "lmax is 9"),
            ({"channels": 0}, "channels is 0"),
            ({"cutoff_function": "xplor"}, "cutoff_onset"),
            ({"self_connection": "nequp"}, "did you mean 'nequip'"),
            ({"denominator": 0.0}, "denominator is 0.0"),
            ({"reference_energies": (1.0,)}, "one energy for each"),
            ({"radial_hidden": ()}, r"radial_hidden is \[\]"),
            ({"chanels": 4}, "did you mean 'channels'"),
        ],
    )
    def test_settings(self, options, message):
        with pytest.raises(ConfigError, match=message):
            small(**options)

    def test_unknown_species(self):
        with pytest.raises(DataError, match=r"nothing of \[6\]"):
            small()(batch_of(structure() | {"numbers": np.full(12, 6)}))

    def test_sevennet_weights_that_do_not_fit(self):
        state = {"onehot_to_feature_x.linear.weight": torch.zeros(8)}
        with pytest.raises(CheckpointError, match="lack 'edge_embedding"):
            load_sevennet_state(small(), state)
        state["edge_embedding.basis_function.coeffs"] = torch.zeros(3)
        with pytest.raises(CheckpointError, match="hold 3 numbers, but these settings need 8"):
            load_sevennet_state(small(), state)


def test_activation_of_the_radial_network_and_its_derivatives():
    x = torch.linspace(-6.0, 6.0, 25, dtype=torch.float64)[:, None].requires_grad_()
    own = activations.silu
    assert torch.equal(own(x), torch.nn.functional.silu(x))
    assert torch.autograd.gradcheck(own, x)
    assert torch.autograd.gradgradcheck(own, x)
    network = radial.RadialNetwork((1, 3)).double()
    assert torch.allclose(network(x), network(x, traceable=True), atol=1e-15)

"""NeuralIL: radial functions and power spectrum against definitions and published values."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import eval_legendre, spherical_jn

from gnnip.errors import ConfigError, DataError
from gnnip.graphs import GraphBatch
from gnnip.models import build
from gnnip.models.blocks.spherical_bessel import SphericalBesselBasis, bessel_roots

CUTOFF, N_MAX = 3.5, 4


@pytest.fixture(scope="module")
def basis():
    return SphericalBesselBasis(CUTOFF, N_MAX)


def structure():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = 1.8 * grid + rng.normal(0, 0.2, (8, 3))
    return {"positions": positions, "numbers": np.array([6, 1, 1, 8, 1, 6, 8, 1])}


def test_the_roots_are_all_there():
    for degree in range(6):
        roots = bessel_roots(degree, 6)
        assert np.abs(spherical_jn(degree, roots)).max() < 1e-13
        signs = np.sign(spherical_jn(degree, np.linspace(1e-3, roots[-1] + 0.1, 4000)))
        assert (np.diff(signs) != 0).sum() == 6


def test_functions_of_a_degree_are_orthonormal_and_end_smoothly(basis):
    r = torch.linspace(1e-4, CUTOFF, 20001, dtype=torch.float64)
    values = basis(r).numpy()
    start = 0
    for count in basis.counts:
        block = values[:, start : start + count]
        overlap = np.trapezoid(block[:, :, None] * block[:, None] * r.numpy()[:, None, None] ** 2,
                               r.numpy(), axis=0)  # fmt: skip
        assert np.abs(overlap - np.eye(count)).max() < 1e-6
        start += count
    edge = torch.full((), CUTOFF, dtype=torch.float64)
    derivatives = torch.func.jacfwd(torch.func.jacfwd(lambda r: basis(r[None])[0]))
    slopes = torch.func.jacfwd(lambda r: basis(r[None])[0])
    for order in (basis(edge[None])[0], slopes(edge), derivatives(edge)):
        assert order.abs().max() < 1e-10


def test_the_power_spectrum_is_the_sum_over_pairs_of_neighbours(basis):
    """sum_jk g_nl(r_j) g_nl(r_k) (2l+1)/4pi P_l(cos), as the published code has it."""
    given = structure()
    model = build("neuralil", species=(1, 6, 8)).double()
    batch = GraphBatch.from_structures([given], CUTOFF, dtype=torch.float64)
    kinds = model.kinds(batch)
    found = model.descriptors(batch, kinds).numpy()
    positions, kinds = given["positions"], kinds.numpy()
    for centre in range(8):
        vectors = np.delete(positions, centre, 0) - positions[centre]
        others = np.delete(kinds, centre)
        near = np.linalg.norm(vectors, axis=1) < CUTOFF
        vectors, others = vectors[near], others[near]
        r = np.linalg.norm(vectors, axis=1)
        g = basis(torch.as_tensor(r)).numpy()
        cosines = np.clip(vectors @ vectors.T / np.outer(r, r), -1, 1)
        degrees = np.repeat(np.arange(N_MAX + 1), basis.counts)
        expected = [
            [
                np.einsum("j,k,jk->", g[others == a, f], g[others == b, f],
                          eval_legendre(degree, cosines)[np.ix_(others == a, others == b)])
                * (2 * degree + 1) / (4 * np.pi)
                for f, degree in enumerate(degrees)
            ]
            for a, b in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
        ]  # fmt: skip
        assert np.abs(found[centre] - np.ravel(expected)).max() < 1e-10


def test_the_power_spectrum_has_its_published_values():
    """The five atoms that ship with the authors' implementation (github.com/harharkh/sb_desc)."""
    positions = [
        [0.0, 0.0, 0.0],
        [1.3681827, -1.3103517, -1.3131874],
        [-1.5151760, 1.3360077, -1.3477119],
        [-1.3989598, -1.2973683, 1.3679189],
        [1.2279369, 1.3400378, 1.4797429],
    ]
    # fmt: off
    expected = [
        0.031871, 0.138079, 0.000416, 0.099814, 0.000514, 0.002641, 0.000580, 0.002311, 0.001099,
        0.654837, 0.106035, 0.003456, 0.005239, 0.367765, 0.483945,
    ]
    # fmt: on
    model = build("neuralil", species=(14,), cutoff=3.7711).double()
    given = {"positions": np.array(positions), "numbers": np.full(5, 14)}
    batch = GraphBatch.from_structures([given], 3.7711, dtype=torch.float64)
    found = model.descriptors(batch, model.kinds(batch))[0].numpy()
    assert np.abs(np.sort(found) - np.sort(expected)).max() < 6e-7


def test_it_has_the_numbers_of_the_published_network():
    """150 descriptors of four elements and an embedding of 2, in a network 64-32-16-16-16."""
    model = build("neuralil", species=(6, 1, 7, 8))
    widths = [152, 64, 32, 16, 16, 16, 1, 1]
    linear = sum(a * b + b for a, b in pairwise(widths))
    assert model.n_parameters == linear + 2 * (32 + 16 + 16 + 16) + 4 * 2


def test_short_distances_keep_their_digits_in_single_precision(basis):
    r = torch.tensor([0.05, 0.2, 1.0], dtype=torch.float64)
    assert (basis(r.float()) - basis(r)).abs().max() < 1e-5


def test_what_it_refuses():
    with pytest.raises(ConfigError, match="n_max is 9, it must be from 0 to 8"):
        build("neuralil", species=(1, 8), n_max=9)
    model = build("neuralil", species=(1, 8))
    batch = GraphBatch.from_structures([structure()], CUTOFF)
    with pytest.raises(DataError, match=r"not for \[6\]"):
        model(batch)

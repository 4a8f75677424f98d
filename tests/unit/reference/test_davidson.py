"""Davidson's method against dense diagonalisation."""

from __future__ import annotations

import numpy as np
import pytest

from gnnip.reference.davidson import Workspace, lowest


def problem(seed: int = 0, n: int = 300):
    rng = np.random.default_rng(seed)
    kinetic = np.sort(rng.uniform(0.0, 3.0, n))
    low = rng.normal(size=(n, 6)) * np.exp(-kinetic)[:, None]
    H = np.diag(kinetic) - 0.05 * low @ low.T
    return kinetic, H, rng


def run(kinetic, H, start, tolerances, **options):
    def apply(x, out):
        out[:] = H @ x

    options = {"max_applications": 200, "workspace": Workspace(kinetic.dtype)} | options
    return lowest(apply, kinetic, start, tolerances=tolerances, **options)


@pytest.mark.parametrize("size", [6, 14])
@pytest.mark.parametrize("roots", [1, 2])
def test_lowest_roots_equal_dense_ones(roots: int, size: int) -> None:
    kinetic, H, rng = problem()
    exact, vectors = np.linalg.eigh(H)
    start = list(rng.normal(size=(roots + 1, len(H))) / (kinetic + 0.1))
    found = run(kinetic, H, start, [1e-8] * roots, size=size)
    assert found.converged
    np.testing.assert_allclose(found.values, exact[:roots], atol=1e-12)
    for k in range(roots):
        assert abs(found.vectors[k] @ vectors[:, k]) == pytest.approx(1.0, abs=1e-10)
        r = H @ found.vectors[k] - found.values[k] * found.vectors[k]
        assert np.linalg.norm(r) < 1.1e-8


def test_exact_start_needs_one_product() -> None:
    kinetic, H, _ = problem()
    found = run(kinetic, H, [np.linalg.eigh(H)[1][:, 0]], [1e-8])
    assert found.applications == 1
    assert found.converged


def test_too_few_products_are_reported() -> None:
    kinetic, H, rng = problem()
    found = run(kinetic, H, [rng.normal(size=len(H))], [1e-10], max_applications=4)
    assert not found.converged
    assert found.applications == 4


def test_unreachable_tolerance_ends_without_success() -> None:
    kinetic, H, rng = problem(n=12)
    found = run(kinetic, H, [rng.normal(size=12)], [1e-30])
    assert not found.converged
    assert found.values[0] == pytest.approx(np.linalg.eigvalsh(H)[0], abs=1e-12)


def test_dependent_start_vectors_do_no_harm() -> None:
    kinetic, H, rng = problem()
    v = rng.normal(size=len(H))
    found = run(kinetic, H, [v, 2.0 * v, np.zeros_like(v)], [1e-8])
    assert found.converged
    assert found.values[0] == pytest.approx(np.linalg.eigvalsh(H)[0], abs=1e-12)


def test_single_precision_reaches_its_digits() -> None:
    kinetic, H, rng = problem()
    start = [rng.normal(size=len(H)).astype(np.float32)]
    found = run(kinetic.astype(np.float32), H.astype(np.float32), start, [1e-4])
    assert found.converged
    assert found.values[0] == pytest.approx(np.linalg.eigvalsh(H)[0], abs=1e-5)

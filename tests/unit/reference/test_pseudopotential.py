"""The potential on the grid and its forces against exact error functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import erf
from slopes import force

from gnnip.reference import pseudopotential as pp
from gnnip.reference.spcf import CHARGE_O


def exact_potential(positions: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the potential (p,) at points (p, 3) of the exact error functions."""
    total = np.zeros(len(points))
    for i, x in enumerate(positions):
        # V is even and smooth in r: at the nucleus the limit is reached long before 1e-6 Bohr
        r = np.maximum(np.linalg.norm(points - x, axis=1), 1e-6)
        q, a1, b1, b2, b3 = pp.PARAMETERS[min(i % 3, 1)]
        total += (-q * erf(a1 * r) + b1 * (erf(b2 * r) - erf(b3 * r))) / r
        if i % 3 == 0:
            total -= 0.5 * pp.POLARISABILITY / (r**2 + pp.POLARISATION_RADIUS**2) ** 2
    return total


def setup(positions: np.ndarray, spacing: float = 1.9, margin: float = 13.0):
    origin = positions.min(axis=0) - margin + 0.1234
    shape = tuple(np.ceil((np.ptp(positions, axis=0) + 2 * margin) / spacing).astype(int))
    points = origin + spacing * np.indices(shape).reshape(3, -1).T
    return origin, spacing, shape, points


def test_values_at_the_nuclei() -> None:
    # lim erf(a r)/r = 2 a / sqrt(pi); the numbers are those of the parametrisation
    far = np.array([[0.0, 0, 0], [1e9, 0, 0], [0, 1e9, 0]])
    assert exact_potential(far, np.zeros((1, 3)))[0] == pytest.approx(0.938788, abs=1e-6)
    far = np.array([[1e9, 0.0, 0], [0, 0, 0], [0, 1e9, 0]])
    assert exact_potential(far, np.zeros((1, 3)))[0] == pytest.approx(-0.321588, abs=1e-6)


def test_neutral_molecule_has_no_monopole(cavity_cluster) -> None:
    direction = np.array([0.6, 0.0, 0.8])
    v = [exact_potential(cavity_cluster[:3], direction[None] * r)[0] for r in (400.0, 800.0)]
    assert v[0] / v[1] == pytest.approx(4.0, rel=0.05)  # a dipole, not a charge


@pytest.mark.parametrize(("kind", "error"), [(np.float64, 1e-9), (np.float32, 2e-6)])
def test_grid_potential_equals_exact_error_functions(cavity_cluster, kind, error) -> None:
    origin, spacing, shape, points = setup(cavity_cluster)
    V = np.zeros(shape, kind)
    pp.potential(V, origin, spacing, cavity_cluster)
    chosen = np.random.default_rng(0).choice(V.size, 3000, replace=False)
    exact = exact_potential(cavity_cluster, points[chosen])
    assert np.abs(V.ravel()[chosen] - exact).max() < error
    assert np.ptp(exact) > 0.3  # cores and wells are among the points


def test_grid_point_on_a_nucleus(cavity_cluster) -> None:
    V = np.zeros((3, 3, 3))
    pp.potential(V, cavity_cluster[4] - 1.5, 1.5, cavity_cluster)
    exact = exact_potential(cavity_cluster, cavity_cluster[4:5])[0]
    assert V[1, 1, 1] == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize(("kind", "error"), [(np.float64, 2e-9), (np.float32, 1e-6)])
def test_forces_are_the_gradient_of_the_mean_potential(cavity_cluster, kind, error) -> None:
    origin, spacing, shape, points = setup(cavity_cluster)
    density = np.exp(-((points - cavity_cluster.mean(axis=0)) ** 2).sum(axis=1) / 40.0)
    density /= density.sum()
    forces = pp.forces_of_density(
        density.reshape(shape).astype(kind), origin, spacing, cavity_cluster
    )
    near = density > 1e-12

    def mean(x):
        return exact_potential(x, points[near]) @ density[near]

    for atom, axis in ((0, 0), (1, 2), (30, 1), (47, 0)):
        expected = force(mean, cavity_cluster, atom, axis, 1e-3)
        assert forces[atom, axis] == pytest.approx(expected, abs=error + 2e-8)


def test_far_force_is_coulomb_plus_polarisation() -> None:
    distance = 90.0
    positions = np.array([[0.0, 0, 0], [1e7, 0, 0], [-1e7, 0, 0]])
    density = np.ones((1, 1, 1))
    force = pp.forces_of_density(density, np.array([0.0, 0.0, distance]), 1.0, positions)[0]
    expected = (
        CHARGE_O / distance**2
        + 2 * pp.POLARISABILITY * distance / (distance**2 + pp.POLARISATION_RADIUS**2) ** 3
    )
    np.testing.assert_allclose(force, [0.0, 0.0, expected], atol=1e-12)


def test_tables_join_the_far_formula_smoothly() -> None:
    table = pp.tables(False)
    for species, a in ((0, 0.4), (1, 0.35)):
        last = table.potential[species, -1]
        value = sum(c * 0.5**k for k, c in enumerate(last))
        assert abs(value) < 1e-10
        assert math.erfc(a * table.radius[species]) < 1e-8

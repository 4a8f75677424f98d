"""The excess electron: analytic levels, convergence, forces, symmetries, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal
from scipy.spatial.transform import Rotation
from slopes import force

from gnnip.errors import ConfigError, ConvergenceError, StructureError
from gnnip.reference import electron
from gnnip.reference.electron import ElectronSolver
from gnnip.reference.spcf import R0

ONE = R0 * np.array([[0.0, 0, 0], [1, 0, 0], [-1 / 3, np.sqrt(8) / 3, 0]])


@pytest.fixture(scope="module")
def state(cavity_cluster):
    return ElectronSolver(1e-5).solve(cavity_cluster, gap=True)


def distances(V, origin, spacing, centre):
    """Return the distance of every grid point from `centre`."""
    grid = origin[:, None, None, None] + spacing * np.indices(V.shape)
    return np.sqrt(((grid - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0))


def model(monkeypatch, potential):
    """Replace the water potential by a function of the distance from the atoms' centroid."""

    def write(V, origin, spacing, positions, **_):
        V[:] = potential(distances(V, origin, spacing, positions.mean(axis=0)))

    monkeypatch.setattr(electron, "potential", write)


def test_sine_matrix_is_its_own_inverse() -> None:
    S = electron.sine_matrix(37)
    np.testing.assert_allclose(S @ S, np.eye(37), atol=1e-14)


def test_empty_box_has_the_levels_of_a_particle_in_a_box(monkeypatch) -> None:
    model(monkeypatch, lambda r: 0.0 * r)
    state = ElectronSolver(1e-6, margin=10.0, residual=1e-9).solve(ONE, gap=True, forces=False)
    L = state.grid.lengths
    expected = 0.5 * np.pi**2 * (1 / L**2).sum()
    assert state.energy == pytest.approx(expected, abs=1e-12)
    assert state.gap == pytest.approx(1.5 * np.pi**2 / L.max() ** 2, abs=1e-9)
    assert not state.bound


def test_harmonic_oscillator(monkeypatch) -> None:
    depth, omega = 2.0, 0.25
    model(monkeypatch, lambda r: 0.5 * omega**2 * r**2 - depth)
    solver = ElectronSolver(1e-6, spacing=1.0, margin=11.0, residual=1e-7)
    state = solver.solve(ONE, gap=True, forces=False)
    assert state.energy == pytest.approx(1.5 * omega - depth, abs=1e-9)
    assert state.gap == pytest.approx(omega, abs=1e-7)
    assert state.gyration_radius == pytest.approx(np.sqrt(1.5 / omega), abs=1e-5)
    np.testing.assert_allclose(state.centre, ONE.mean(axis=0), atol=1e-5)


def gaussian_well(monkeypatch, depth, dr, n):
    """Take a Gaussian well as the potential and return its lowest level, from the radial equation
    on a fine grid of its own."""

    def well(r):
        return -depth * np.exp(-((r / 5.0) ** 2))

    model(monkeypatch, well)
    off = np.full(n - 2, -0.5 / dr**2)
    diagonal = 1 / dr**2 + well(dr * np.arange(1, n))
    return eigh_tridiagonal(diagonal, off, select="i", select_range=(0, 0))[0][0]


def test_spherical_well_and_the_box_that_it_needs(monkeypatch) -> None:
    exact = gaussian_well(monkeypatch, 0.12, dr=0.02, n=4000)
    assert -0.02 < exact < -0.005  # weakly bound: the tail is long
    for accuracy in (1e-4, 1e-5):
        state = ElectronSolver(accuracy).solve(ONE, forces=False)
        assert state.boundary_error < 0.5 * accuracy
        assert 0.0 <= state.energy - exact < 0.5 * accuracy
        assert state.energy - exact == pytest.approx(state.boundary_error, rel=0.5, abs=1e-6)


@pytest.mark.slow
def test_a_state_whose_tail_passes_the_usual_margin_gets_a_box_that_holds_it(monkeypatch) -> None:
    exact = gaussian_well(monkeypatch, 0.067, dr=0.05, n=8000)
    state = ElectronSolver(1e-5).solve(ONE, forces=False)
    assert state.grid.lengths.max() > 2 * electron.LARGEST_MARGIN + 10.0
    assert state.energy == pytest.approx(exact, abs=1e-5)
    with pytest.raises(ConvergenceError, match="too weakly for an accuracy of 1e-06"):
        ElectronSolver(1e-6).solve(ONE, forces=False)


def test_finer_grid_and_larger_box_change_little(cavity_cluster, state) -> None:
    fine = ElectronSolver(1e-6, spacing=0.7, margin=None).solve(cavity_cluster)
    assert state.energy == pytest.approx(fine.energy, abs=1e-5)
    margins = 8.0 + max(
        np.abs(state.grid.origin - cavity_cluster.min(axis=0)).max(),
        np.abs(
            state.grid.origin - state.grid.spacing + state.grid.lengths - cavity_cluster.max(axis=0)
        ).max(),
    )
    wide = ElectronSolver(1e-5, margin=margins).solve(cavity_cluster)
    assert state.energy == pytest.approx(wide.energy, abs=1e-5)
    coarse = ElectronSolver(1e-4).solve(cavity_cluster)
    assert coarse.energy == pytest.approx(fine.energy, abs=1e-4)


def test_box_of_an_interior_electron_is_smaller_than_the_cluster(large_cavity_cluster) -> None:
    x = large_cavity_cluster
    state = ElectronSolver(1e-5).solve(x)
    assert (state.grid.lengths < np.ptp(x, axis=0) - 4.0).all()
    whole = ElectronSolver(1e-5, margin=12.0).solve(x)
    assert (whole.grid.lengths > np.ptp(x, axis=0)).all()
    assert state.energy == pytest.approx(whole.energy, abs=1e-5)
    np.testing.assert_allclose(state.forces, whole.forces, atol=3e-5)


def test_second_well_keeps_the_box_whole(monkeypatch) -> None:
    # two Gaussian wells of nearly equal depth 50 Bohr apart: the lower one must be found
    def write(V, origin, spacing, positions, **_):
        V[:] = 0.0
        for depth, centre in ((-0.300, -25.0), (-0.303, 25.0)):
            r = distances(V, origin, spacing, [centre, 0.0, 0.0])
            V += depth * np.exp(-(r**2) / 16.0)

    monkeypatch.setattr(electron, "potential", write)
    x = np.concatenate([ONE - np.array([25.0, 0, 0]), ONE + np.array([25.0, 0, 0])])
    state = ElectronSolver(1e-4).solve(x, forces=False)
    assert state.centre[0] == pytest.approx(25.0, abs=0.5)
    assert state.grid.lengths[0] > 50.0


def test_forces_are_minus_the_gradient(cavity_cluster) -> None:
    solver = ElectronSolver(1e-6, spacing=1.4, residual=1e-7)
    state = solver.solve(cavity_cluster)

    def energy(x):
        return solver.solve(x, guess=state, fixed_grid=True, forces=False).energy

    for atom, axis in ((0, 0), (1, 1), (16, 2), (40, 0)):
        expected = force(energy, cavity_cluster, atom, axis, 5e-3)
        assert state.forces[atom, axis] == pytest.approx(expected, abs=2e-6)


def test_forces_with_confinement(cavity_cluster) -> None:
    solver = ElectronSolver(1e-6, spacing=1.6, residual=1e-7)
    confinement = (0.03, 4.0)
    state = solver.solve(cavity_cluster, confinement=confinement)
    free = solver.solve(cavity_cluster, forces=False)
    assert state.energy > free.energy + 1e-3
    assert state.gyration_radius < free.gyration_radius

    def energy(x):
        held = {"guess": state, "fixed_grid": True, "confinement": confinement}
        return solver.solve(x, forces=False, **held).energy

    for atom, axis in ((0, 0), (16, 2)):
        # the kink of the confinement at its radius limits the difference quotient, not the force
        expected = force(energy, cavity_cluster, atom, axis, 5e-3)
        assert state.forces[atom, axis] == pytest.approx(expected, abs=5e-6)


def test_no_net_force_in_a_converged_box(cavity_cluster, state) -> None:
    assert np.abs(state.forces.sum(axis=0)).max() < 5e-5
    assert np.abs(state.forces).max() > 1e-3


def test_translation_and_rotation(cavity_cluster, state) -> None:
    solver = ElectronSolver(1e-5)
    moved = solver.solve(cavity_cluster + np.array([3.3, -71.7, 900.1]))
    assert moved.energy == pytest.approx(state.energy, abs=1e-7)
    np.testing.assert_allclose(moved.forces, state.forces, atol=1e-5)
    R = Rotation.random(random_state=8).as_matrix()
    turned = solver.solve(cavity_cluster @ R.T)
    assert turned.energy == pytest.approx(state.energy, abs=1e-5)
    np.testing.assert_allclose(turned.forces, state.forces @ R.T, atol=3e-5)
    np.testing.assert_allclose(turned.centre, R @ state.centre, atol=2e-2)


def test_density_is_normalised_and_gives_the_moments(cavity_cluster, state) -> None:
    origin, spacing, density = ElectronSolver().density(state)
    assert density.sum() * spacing**3 == pytest.approx(1.0, abs=1e-12)
    points = origin + spacing * np.indices(density.shape).reshape(3, -1).T
    weight = density.ravel() * spacing**3
    centre = weight @ points
    np.testing.assert_allclose(centre, state.centre, atol=1e-9)
    radius = np.sqrt(weight @ ((points - centre) ** 2).sum(axis=1))
    assert radius == pytest.approx(state.gyration_radius, abs=1e-9)


def test_warm_start_gives_the_same_state_for_fewer_products(cavity_cluster) -> None:
    solver = ElectronSolver(1e-4)
    first = solver.solve(cavity_cluster)
    x = cavity_cluster + np.random.default_rng(0).normal(scale=0.02, size=cavity_cluster.shape)
    cold, warm = solver.solve(x), solver.solve(x, guess=first)
    fixed = solver.solve(x, guess=first, fixed_grid=True)
    assert fixed.grid is first.grid
    assert warm.energy == pytest.approx(cold.energy, abs=5e-5)
    assert fixed.energy == pytest.approx(cold.energy, abs=5e-5)
    assert fixed.applications < cold.applications


def test_fixed_grid_is_left_when_the_cluster_moves_away(cavity_cluster) -> None:
    for solver in (ElectronSolver(1e-4), ElectronSolver(1e-4, margin=14.0)):
        first = solver.solve(cavity_cluster)
        x = cavity_cluster + np.array([15.0, 0.0, 0.0])
        moved = solver.solve(x, guess=first, fixed_grid=True)
        assert moved.grid is not first.grid
        assert moved.energy == pytest.approx(first.energy, abs=1e-4)


def test_single_precision_agrees(cavity_cluster) -> None:
    double = ElectronSolver(1e-4).solve(cavity_cluster)
    single = ElectronSolver(1e-4, precision="single").solve(cavity_cluster)
    assert single.energy == pytest.approx(double.energy, abs=5e-6)
    np.testing.assert_allclose(single.forces, double.forces, atol=2e-5)
    assert single.forces.dtype == np.float64


def test_solver_gives_the_same_numbers_again(cavity_cluster) -> None:
    solver = ElectronSolver(1e-4)
    first = solver.solve(cavity_cluster)
    solver.solve(cavity_cluster[:30])
    again = solver.solve(cavity_cluster)
    assert again.energy == first.energy
    np.testing.assert_array_equal(again.forces, first.forces)
    np.testing.assert_array_equal(again.coefficients, first.coefficients)


def test_a_molecule_binds_no_electron() -> None:
    state = ElectronSolver(1e-4).solve(ONE)
    assert not state.bound
    assert state.energy > 0.0


def test_too_few_products_raise(cavity_cluster) -> None:
    with pytest.raises(ConvergenceError, match="max_applications"):
        ElectronSolver(1e-4, max_applications=3).solve(cavity_cluster)


def test_a_molecule_gone_far_is_refused() -> None:
    x = np.concatenate([ONE, ONE + 3000.0])
    with pytest.raises(StructureError, match="has a molecule left it"):
        ElectronSolver(1e-4).solve(x)


@pytest.mark.parametrize("positions", [np.zeros((0, 3)), np.zeros((2, 3)), ONE * np.nan])
def test_bad_positions_are_refused(positions) -> None:
    with pytest.raises(StructureError):
        ElectronSolver().solve(positions)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"accuracy": 0.0}, "accuracy"),
        ({"accuracy": float("nan")}, "accuracy"),
        ({"spacing": 9.0}, "spacing"),
        ({"margin": -1.0}, "margin"),
        ({"residual": 0.0}, "residual"),
        ({"precision": "half"}, "precision"),
    ],
)
def test_bad_settings_are_named(settings, name) -> None:
    with pytest.raises(ConfigError, match=name):
        ElectronSolver(**settings)

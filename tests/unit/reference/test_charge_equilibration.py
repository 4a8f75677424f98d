"""Gaussian charges and their equilibration: known sums, an independent Ewald sum, derivatives."""

from __future__ import annotations

import itertools
from dataclasses import replace

import ase
import numpy as np
import pytest
from scipy.special import erfc
from slopes import force

import gnnip.reference
from gnnip.errors import ConfigError, DataError, StructureError
from gnnip.reference import charge_equilibration as ce
from gnnip.units import COULOMB_CONSTANT

CELL = np.array([[6.0, 0.0, 0.0], [1.0, 7.0, 0.0], [0.0, 0.5, 8.0]])


@pytest.fixture(scope="module")
def parameters() -> ce.Parameters:
    """Three elements, everything at random."""
    rng = np.random.default_rng(2)
    tables = rng.normal(size=(3, 3, 3, 6))
    return ce.Parameters(
        numbers=np.array([8, 12, 79]),
        energy=rng.normal(size=3),
        width=np.array([0.7, 1.2, 1.3]),
        hardness=rng.uniform(1.0, 5.0, 3),
        electronegativity=3.0 * rng.normal(size=3),
        potential=rng.normal(size=3),
        stiffness=rng.normal(size=3),
        pair_energy=tables[0] + tables[0].transpose(1, 0, 2),
        pair_electronegativity=tables[1],
        pair_potential=tables[2],
        centres=np.linspace(1.5, 4.5, 6),
        spread=0.6,
        cutoff=5.0,
    )


@pytest.fixture(scope="module")
def structure():
    """Twelve atoms in a skew cell: numbers and positions."""
    rng = np.random.default_rng(1)
    grid = np.array(list(itertools.product([0, 2.5], [0, 2.4], [0, 2.2, 4.6])))
    return rng.permutation([8] * 5 + [12] * 5 + [79] * 2), grid + rng.normal(0, 0.1, (12, 3))


def ewald(positions, charges, cell, alpha=0.4, reach=5):
    """Energy of point charges: the textbook sum, split into real and reciprocal space."""
    shifts = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    vectors = positions[:, None] - positions[None]
    energy = -alpha / np.sqrt(np.pi) * (charges**2).sum()
    for shift in shifts @ cell:
        r = np.linalg.norm(vectors + shift, axis=-1)
        r[r == 0] = np.inf
        energy += 0.5 * (np.outer(charges, charges) * erfc(alpha * r) / r).sum()
    for g in shifts[np.abs(shifts).any(axis=1)] @ (2 * np.pi * np.linalg.inv(cell).T):
        square = g @ g
        total = np.abs((charges * np.exp(1j * positions @ g)).sum()) ** 2
        weight = np.exp(-square / (4 * alpha**2)) / square
        energy += 2 * np.pi / np.linalg.det(cell) * weight * total
    return COULOMB_CONSTANT * energy


def test_rock_salt_has_its_madelung_constant():
    side, width = 2.82, 0.35
    grid = np.array(list(itertools.product(range(2), repeat=3)))
    charges = 1.0 - 2.0 * (grid.sum(axis=1) % 2)
    total = ce.GaussianSum(side * grid, 2 * side * np.eye(3), np.full(8, width)).matrix()
    alone = COULOMB_CONSTANT / (width * np.sqrt(np.pi))  # a Gaussian with itself
    madelung = -(charges @ total @ charges / 8 - alone) * side / COULOMB_CONSTANT
    assert madelung == pytest.approx(1.7475645946, abs=1e-7)


def test_an_independent_ewald_sum_agrees():
    rng = np.random.default_rng(7)
    positions = np.array([[0, 0, 0], [2.4, 0.3, 0.2], [0.5, 3.1, 4.0], [3.0, 3.3, 2.2]])
    charges = rng.normal(size=4)
    charges -= charges.mean()
    widths = np.array([0.5, 0.7, 0.6, 0.9])
    expected = ewald(positions, charges, CELL)
    expected += COULOMB_CONSTANT * (charges**2 / (2 * widths * np.sqrt(np.pi))).sum()
    # where Gaussians overlap they feel less than points do
    wide = np.sqrt(2 * (widths[:, None] ** 2 + widths**2))
    for shift in np.array(list(itertools.product(range(-2, 3), repeat=3))) @ CELL:
        r = np.linalg.norm(positions[:, None] - positions[None] + shift, axis=-1)
        r[r == 0] = np.inf
        missing = np.outer(charges, charges) * erfc(r / wide) / r
        expected -= 0.5 * COULOMB_CONSTANT * missing.sum()
    matrix = ce.GaussianSum(positions, CELL, widths).matrix()
    assert 0.5 * charges @ matrix @ charges == pytest.approx(expected, abs=1e-7)


def test_derivatives_of_the_matrix(structure):
    _, positions = structure
    widths = np.linspace(0.6, 1.2, 12)
    gradient = ce.GaussianSum(positions, CELL, widths).matrix_gradient()
    step = np.zeros_like(positions)
    step[3, 1] = 1e-4
    up, down = (ce.GaussianSum(positions + s, CELL, widths).matrix() for s in (step, -step))
    numerical = (up - down)[3] / 2e-4
    np.testing.assert_allclose(gradient[3, :, 1], numerical, atol=1e-6)
    one, two = np.random.default_rng(0).normal(size=(2, 12))
    forces = ce.GaussianSum(positions, CELL, widths).forces(one, two)
    assert forces[3, 1] == pytest.approx(-(one @ (up - down) @ two) / 2e-4, abs=1e-5)


def test_forces_are_minus_the_gradient(parameters, structure):
    numbers, positions = structure
    forces = ce.evaluate(parameters, numbers, positions, CELL).forces

    def energy(x):
        return ce.evaluate(parameters, numbers, x, CELL).energy

    for atom, axis in ((0, 0), (5, 1), (7, 2), (11, 2)):
        expected = force(energy, positions, atom, axis, 1e-4)
        assert forces[atom, axis] == pytest.approx(expected, abs=1e-5)
    assert np.abs(forces.sum(axis=0)).max() < 1e-9


def test_charges_are_stationary_and_neutral(parameters, structure):
    numbers, positions = structure
    found = ce.evaluate(parameters, numbers, positions, CELL)
    q = found.charges
    assert abs(q.sum()) < 1e-10
    assert np.abs(q).max() > 0.05
    kind = parameters.species(numbers)
    pairs = ce.neighbours(positions, CELL, parameters.cutoff)
    values, _ = ce.radial_functions(
        pairs.distances, parameters.centres, parameters.spread, parameters.cutoff
    )
    chi = parameters.electronegativity[kind].copy()
    for i, j, value in zip(pairs.i, pairs.j, values, strict=True):
        chi[i] += parameters.pair_electronegativity[kind[i], kind[j]] @ value
    matrix = ce.GaussianSum(positions, CELL, parameters.width[kind]).matrix()
    matrix += np.diag(parameters.hardness[kind])

    def cost(charges):
        return chi @ charges + 0.5 * charges @ matrix @ charges

    np.testing.assert_allclose(chi + matrix @ q, found.level, atol=1e-9)
    rng = np.random.default_rng(3)
    for _ in range(5):
        other = rng.normal(0, 0.01, len(q))
        assert cost(q + other - other.mean()) > cost(q)


def test_shifts_images_and_the_order_of_atoms_change_nothing(parameters, structure):
    numbers, positions = structure
    first = ce.evaluate(parameters, numbers, positions, CELL)
    order = np.random.default_rng(5).permutation(12)
    moved = positions + np.array([0.3, -1.7, 9.1])
    moved[4] += 2 * CELL[0] - CELL[2]
    second = ce.evaluate(parameters, numbers[order], moved[order], CELL)
    assert second.energy == pytest.approx(first.energy, abs=1e-8)
    np.testing.assert_allclose(second.forces, first.forces[order], atol=1e-8)
    np.testing.assert_allclose(second.charges, first.charges[order], atol=1e-9)


def test_a_supercell_is_twice_the_cell(parameters, structure):
    numbers, positions = structure
    one = ce.evaluate(parameters, numbers, positions, CELL)
    two = ce.evaluate(
        parameters,
        np.tile(numbers, 2),
        np.concatenate([positions, positions + CELL[1]]),
        CELL * [[1], [2], [1]],
    )
    assert two.energy == pytest.approx(2 * one.energy, abs=1e-7)
    np.testing.assert_allclose(two.forces, np.tile(one.forces, (2, 1)), atol=1e-7)
    np.testing.assert_allclose(two.charges, np.tile(one.charges, 2), atol=1e-8)


def test_radial_functions_end_smoothly():
    r = np.array([4.999, 5.0, 5.5])
    values, slopes = ce.radial_functions(r, np.array([1.5, 4.5]), 0.6, 5.0)
    assert np.abs(values).max() < 1e-9
    assert np.abs(slopes).max() < 1e-5
    assert not values[1:].any()


def test_parameters_survive_the_file(parameters, structure, tmp_path):
    ce.write_parameters(tmp_path / "p.yaml", replace(parameters, made={"by": "hand"}))
    back = ce.read_parameters(tmp_path / "p.yaml")
    assert back.made == {"by": "hand"}
    one, two = (ce.evaluate(p, *structure, CELL).energy for p in (parameters, back))
    assert two == pytest.approx(one, abs=1e-6)
    (tmp_path / "p.yaml").write_text("elements: {}\n")
    with pytest.raises(DataError, match=r"p.yaml holds no parameters .*fit_charge_equilibration"):
        ce.read_parameters(tmp_path / "p.yaml")


def test_another_fit_is_not_taken_for_the_shipped_one(monkeypatch):
    assert {8, 12, 13, 79} == set(ce.shipped_parameters().numbers)
    monkeypatch.setattr(ce, "SHIPPED_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"has changed .*SHIPPED_SHA256"):
        ce.shipped_parameters.__wrapped__()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numbers": [6] * 12}, "no parameters for the atomic number 6"),
        ({"positions": np.zeros((12, 2))}, r"shape \(12, 2\) do not fit 12 atoms"),
        ({"positions": np.full((12, 3), np.nan)}, "not finite"),
        ({"positions": np.zeros((12, 3))}, "apart; move one"),
        ({"cell": np.zeros((3, 3))}, "no volume"),
    ],
)
def test_bad_structures_are_named(parameters, structure, change, message):
    given = {"numbers": structure[0], "positions": structure[1], "cell": CELL, **change}
    with pytest.raises(StructureError, match=message):
        ce.evaluate(parameters, **given)


def test_the_calculator():
    rock = ase.Atoms("MgO", positions=[[0, 0, 0], [2.13, 0, 0]], cell=[4.26, 4.26, 9.0], pbc=True)
    rock.calc = gnnip.reference.make_calculator("au_mgo accuracy=1e-9")
    assert rock.calc.accuracy == 1e-9
    found = ce.evaluate(ce.shipped_parameters(), rock.numbers, rock.positions, rock.cell[:])
    assert rock.get_potential_energy() == pytest.approx(found.energy, abs=1e-5)
    np.testing.assert_allclose(rock.get_charges(), found.charges, atol=1e-5)
    assert rock.get_forces().shape == (2, 3)
    assert gnnip.reference.calculator_module("au_mgo") == "gnnip.reference.calculators"
    rock.pbc = [True, True, False]
    with pytest.raises(StructureError, match="not periodic in all three"):
        rock.get_potential_energy()
    with pytest.raises(ConfigError, match="between 0 and 1"):
        gnnip.reference.make_calculator("au_mgo accuracy=2")

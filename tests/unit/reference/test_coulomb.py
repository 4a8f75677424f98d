"""Coulomb sums against hand-made numbers, finite differences and an independent sum."""

import numpy as np
import pytest
from slopes import force

from gnnip.errors import StructureError
from gnnip.reference import coulomb
from gnnip.units import COULOMB_CONSTANT


@pytest.fixture
def ions():
    rng = np.random.default_rng(4)
    side = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)[:40]
    return 2.0 * side + rng.uniform(-0.4, 0.4, (40, 3)), rng.choice([1, -1, 0.5, -0.5], 40)


def test_two_charges_by_hand():
    positions = [[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]]
    energy, forces = coulomb.energy_and_forces(positions, [1.0, -0.5])
    # r = 5: E = 14.399645 * (-0.5) / 5, |F| = |E| / 5, towards each other
    assert energy == pytest.approx(-1.4399645, rel=1e-14)
    pull = 1.4399645 / 5 * np.array([0.0, 0.6, 0.8])
    np.testing.assert_allclose(forces, [pull, -pull], rtol=1e-14)
    halves = coulomb._sums(*coulomb.check_charges(positions, [1.0, -0.5]))[0]
    np.testing.assert_allclose(halves, [-0.71998225] * 2, rtol=1e-14)


def test_rock_salt_cluster_approaches_the_madelung_constant():
    # a neutral cube of 8x8x8 ions at unit spacing: the energy of an inner ion, in pairs, is close
    # to that of the infinite crystal
    side = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1).reshape(-1, 3)
    charges = 1.0 - 2.0 * (side.sum(axis=1) % 2)
    middle = int(np.flatnonzero((side == 3).all(axis=1))[0])
    energies, _ = coulomb._sums(*coulomb.check_charges(side, charges))
    madelung = -2 * energies[middle] / COULOMB_CONSTANT
    assert madelung == pytest.approx(1.747565, rel=0.05)


def test_forces_are_minus_the_gradient(ions):
    positions, charges = ions
    forces = coulomb.energy_and_forces(positions, charges)[1]

    def energy(x):
        return coulomb.energy_and_forces(x, charges)[0]

    for atom, axis in ((0, 0), (17, 1), (39, 2)):
        expected = force(energy, positions, atom, axis, 1e-4)
        assert forces[atom, axis] == pytest.approx(expected, abs=1e-6)


def test_newtons_third_law_and_no_torque(ions):
    positions, charges = ions
    energy, forces = coulomb.energy_and_forces(positions, charges)
    assert np.abs(forces.sum(axis=0)).max() < 1e-12
    assert np.abs(np.cross(positions, forces).sum(axis=0)).max() < 1e-11
    assert coulomb._sums(positions, charges)[0].sum() == pytest.approx(energy, abs=1e-11)


def test_large_systems_go_by_blocks(monkeypatch, ions):
    positions, charges = ions
    whole = coulomb.energy_and_forces(positions, charges)
    monkeypatch.setattr(coulomb, "_BLOCK", 7)
    pieces = coulomb.energy_and_forces(positions, charges)
    assert pieces[0] == pytest.approx(whole[0], rel=1e-13)
    np.testing.assert_allclose(pieces[1], whole[1], atol=1e-13)


def test_direct_sum_agrees(ions):
    energy, forces = coulomb.energy_and_forces(*ions)
    again, pulls = coulomb.direct_sum(*ions)
    assert energy == pytest.approx(again, abs=1e-11)
    np.testing.assert_allclose(forces, pulls, atol=1e-12)


def test_one_charge_alone_feels_nothing():
    energy, forces = coulomb.energy_and_forces([[1.0, 2.0, 3.0]], [1.0])
    assert energy == 0.0
    assert not forces.any()
    assert coulomb.direct_sum([[1.0, 2.0, 3.0]], [1.0])[0] == 0.0


@pytest.mark.parametrize(
    ("positions", "charges", "message"),
    [
        (np.zeros((0, 3)), [], "has no particles"),
        ([[0, 0, 0]], [1.0, 2.0], r"shape \(1, 3\) and charges of shape \(2,\)"),
        ([[0, 0]], [1.0], r"give \(n, 3\) and \(n,\)"),
        ([[0, 0, 0], [1, np.nan, 0]], [1, 1], "position of particle 1 is not finite"),
        ([[0, 0, 0], [1, 0, 0]], [1, np.inf], "charge of particle 1 is not finite"),
        ([[0, 0, 0], [3, 0, 0], [3, 0, 0]], [1, 1, 1], "Particles 1 and 2 are 0.0e"),
    ],
)
def test_bad_input_is_named(positions, charges, message):
    with pytest.raises(StructureError, match=message):
        coulomb.energy_and_forces(positions, charges)


def test_coincident_charges_in_a_later_block(monkeypatch):
    monkeypatch.setattr(coulomb, "_BLOCK", 2)
    positions = np.arange(5)[:, None] * np.ones(3)
    positions[4] = positions[3]
    with pytest.raises(StructureError, match="Particles 3 and 4"):
        coulomb.energy_and_forces(positions, np.ones(5))

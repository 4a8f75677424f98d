"""V_SPC/F: limits that can be written down, forces, symmetries, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from slopes import force

from gnnip.errors import StructureError
from gnnip.reference import spcf

WATER = np.array([8, 1, 1])


def molecule(r1=spcf.R0, r2=spcf.R0, angle=109.47) -> np.ndarray:
    a = math.radians(angle)
    return np.array([[0, 0, 0], [r1, 0, 0], [r2 * math.cos(a), r2 * math.sin(a), 0]])


def cluster(n: int, seed: int = 0) -> np.ndarray:
    """n distorted molecules on a jittered lattice, 5.5 Bohr apart."""
    rng = np.random.default_rng(seed)
    side = math.ceil(n ** (1 / 3))
    sites = np.indices((side,) * 3).reshape(3, -1).T[:n] * 5.5
    out = [
        molecule() @ Rotation.random(random_state=100 * seed + i).as_matrix() + site
        for i, site in enumerate(sites)
    ]
    x = np.concatenate(out)
    return x + rng.normal(scale=0.03, size=x.shape)


def test_relaxed_molecule_is_the_zero_of_energy() -> None:
    energy, forces = spcf.energy_and_forces(molecule())
    assert abs(energy) < 1e-15
    assert np.abs(forces).max() < 1e-12


def test_one_stretched_bond_follows_the_formula() -> None:
    a = 0.1
    x = molecule(r1=spcf.R0 + a)
    c = np.linalg.norm(x[2] - x[1]) - spcf.H0
    expected = spcf.K_STRETCH * a * a + spcf.K_HH * c * c + spcf.K_CROSS * a * c
    assert spcf.energy_and_forces(x)[0] == pytest.approx(expected, abs=1e-14)


def test_far_molecules_feel_their_dipoles_only() -> None:
    distance = 400.0
    one = molecule()
    two = one + np.array([0.0, 0.0, distance])
    charges = np.array([spcf.CHARGE_O, spcf.CHARGE_H, spcf.CHARGE_H])
    dipole = charges @ one
    expected = dipole @ dipole / distance**3  # both perpendicular to the axis
    energy, _ = spcf.energy_and_forces(np.concatenate([one, two]))
    assert energy == pytest.approx(expected, rel=1e-3)


def test_forces_are_minus_the_gradient() -> None:
    x = cluster(7)
    _, forces = spcf.energy_and_forces(x)
    for atom, axis in ((0, 0), (4, 1), (11, 2), (18, 0)):
        expected = force(lambda y: spcf.energy_and_forces(y)[0], x, atom, axis, 1e-4)
        assert forces[atom, axis] == pytest.approx(expected, abs=2e-9)


def test_no_net_force_and_no_net_torque() -> None:
    x = cluster(9)
    _, forces = spcf.energy_and_forces(x)
    assert np.abs(forces.sum(axis=0)).max() < 1e-13
    assert np.abs(np.cross(x, forces).sum(axis=0)).max() < 1e-12


def test_rotation_and_exchange_of_molecules() -> None:
    x = cluster(6)
    energy, forces = spcf.energy_and_forces(x)
    R = Rotation.random(random_state=3).as_matrix()
    e, f = spcf.energy_and_forces(x @ R.T + 7.0)
    assert e == pytest.approx(energy, abs=1e-12)
    np.testing.assert_allclose(f, forces @ R.T, atol=1e-12)
    order = np.arange(18).reshape(6, 3)[::-1].ravel()
    e, f = spcf.energy_and_forces(x[order])
    assert e == pytest.approx(energy, abs=1e-12)
    np.testing.assert_allclose(f, forces[order], atol=1e-12)


@pytest.mark.parametrize(
    ("positions", "numbers", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0), "no atoms"),
        (molecule(), [1, 8, 1], "atom 0 has atomic number 1"),
        (molecule(), [8, 1, 6], "atom 2 has atomic number 6"),
        (np.tile(molecule(), (2, 1))[:5], [8, 1, 1, 8, 1], "whole number"),
        (np.tile(molecule(), (2, 1)), [8, 1, 1, 8, 1, 1], "atoms 0 and 3 are 0 Bohr apart"),
        (molecule() * np.nan, WATER, "not finite"),
        (molecule(), [8, 1], "do not describe one structure"),
    ],
)
def test_what_is_not_water_is_refused(positions, numbers, message) -> None:
    with pytest.raises(StructureError, match=message):
        spcf.check_water(positions, numbers)


def test_good_water_passes() -> None:
    spcf.check_water(cluster(3), np.tile(WATER, 3))


@pytest.mark.parametrize("positions", [np.zeros((0, 3)), np.zeros((4, 3)), np.full((3, 3), np.inf)])
def test_energy_refuses_wrong_shapes_and_infinities(positions) -> None:
    with pytest.raises(StructureError):
        spcf.energy_and_forces(positions)

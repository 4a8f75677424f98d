"""Rings against exact quantum energies, and rings contracted to fewer beads."""

import numpy as np
import pytest

from gnnip.errors import ConfigError
from gnnip.reference import spcf
from gnnip.sampling import clusters, langevin, path_integrals
from gnnip.sampling.atomic_units import FEMTOSECOND, KELVIN

WATER = np.array(
    [
        [0.0, 0.0, 0.0],
        [0.5 * spcf.H0, np.sqrt(spcf.R0**2 - 0.25 * spcf.H0**2), 0.0],
        [-0.5 * spcf.H0, np.sqrt(spcf.R0**2 - 0.25 * spcf.H0**2), 0.0],
    ]
)


def vibrations(positions):
    return spcf.of_beads("intramolecular", positions)[1]


def test_parts_of_the_beads_are_those_of_each_cluster():
    rng = np.random.default_rng(1)
    ring = clusters.random_cluster(5, rng) + 0.05 * rng.normal(size=(4, 15, 3))
    parts = [spcf.of_beads(part, ring) for part in ("intramolecular", "intermolecular")]
    energies, forces = (sum(quantity) for quantity in zip(*parts, strict=True))
    for b, x in enumerate(ring):
        energy, force = spcf.energy_and_forces(x)
        assert energies[b] == pytest.approx(energy, rel=1e-13)
        np.testing.assert_allclose(forces[b], force, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("beads", [4, 5, 12])
def test_contracted_ring_has_the_lowest_modes(beads):
    rng = np.random.default_rng(2)
    ring = rng.normal(size=(beads, 3))
    np.testing.assert_allclose(path_integrals.contraction(beads, beads), np.eye(beads), atol=1e-12)
    np.testing.assert_allclose(path_integrals.contraction(beads, 1) @ ring, [ring.mean(axis=0)])
    # a smooth ring, one wave around, keeps its shape: points of the same curve
    around = np.arange(beads) * 2 * np.pi / beads
    fewer = np.arange(3) * 2 * np.pi / 3
    curve = np.stack([np.cos(around), np.sin(around)], axis=1)
    expected = np.stack([np.cos(fewer), np.sin(fewer)], axis=1)
    found = path_integrals.contraction(beads, 3) @ curve
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_contracted_forces_are_the_slope_of_the_contracted_potential():
    rng = np.random.default_rng(3)
    ring, beads, few = rng.normal(size=(8, 2, 3)), 8, 3
    T = path_integrals.contraction(beads, few)

    def potential(x):
        return beads / few * np.sum(np.tensordot(T, x, 1) ** 4)

    fewer = -4.0 * np.tensordot(T, ring, 1) ** 3
    forces = np.tensordot(T.T * (beads / few), fewer, 1)
    for index in ((0, 0, 0), (5, 1, 2)):
        step = np.zeros_like(ring)
        step[index] = 1e-5
        slope = (potential(ring + step) - potential(ring - step)) / 2e-5
        assert forces[index] == pytest.approx(-slope, rel=1e-6)


@pytest.mark.parametrize("contracted", [0, 2, 9])
def test_rings_that_cannot_be_contracted_are_refused(contracted):
    with pytest.raises(ConfigError, match="odd number below 8, or 8"):
        path_integrals.contraction(8, contracted)


def test_harmonic_energies_of_one_molecule():
    found = path_integrals.harmonic_frequencies(WATER, clusters.masses(1), vibrations)
    # of the symmetric bend and stretch and the asymmetric stretch, by Wilson's G and F matrices
    m_o, m_h = clusters.masses(1)[:2]
    angle = 2 * np.arcsin(0.5 * spcf.H0 / spcf.R0)
    sine, cosine = np.sin(angle / 2), np.cos(angle)
    asymmetric = (2 * spcf.K_STRETCH - spcf.K_BONDS) * (1 / m_h + (1 - cosine) / m_o)
    # coordinates: (r1 + r2)/sqrt(2) and h
    G = np.array([[1 / m_h + (1 + cosine) / m_o, np.sqrt(2) * sine / m_h],
                  [np.sqrt(2) * sine / m_h, 2 / m_h]])  # fmt: skip
    F = np.array([[2 * spcf.K_STRETCH + spcf.K_BONDS, np.sqrt(2) * spcf.K_CROSS],
                  [np.sqrt(2) * spcf.K_CROSS, 2 * spcf.K_HH]])  # fmt: skip
    expected = np.sqrt([*np.linalg.eigvals(G @ F), asymmetric])
    np.testing.assert_allclose(found, np.sort(expected), rtol=1e-5)
    w = np.sort(expected)
    exact = path_integrals.harmonic_potential(w, 300.0, None)
    assert exact == pytest.approx(0.25 * w.sum(), rel=1e-3)
    assert path_integrals.harmonic_potential(w, 300.0, 4096) == pytest.approx(exact, rel=1e-4)
    assert path_integrals.harmonic_potential(w, 300.0, 1) == pytest.approx(1.5 * 300.0 * KELVIN)


@pytest.mark.slow
def test_a_flexible_molecule_has_its_quantum_energy():
    # copies that do not meet; cold, so that rotation hardly stretches the bonds: translation and
    # rotation are classical and have 3 kT
    temperature, beads, copies = 60.0, 320, 6
    masses = clusters.masses(copies)
    dynamics = langevin.Langevin(
        masses, 0.5 * FEMTOSECOND, 1.0 / (20 * FEMTOSECOND), temperature, beads
    )
    rng = np.random.default_rng(4)
    x = np.repeat(np.tile(WATER, (copies, 1))[None], beads, axis=0)
    p = langevin.maxwell_momenta(masses, temperature, beads, rng)
    f, energies = vibrations(x), []
    for step in range(1400):
        x, p, f, _ = dynamics.advance(x, p, f, vibrations, rng)
        if step >= 300 and step % 4 == 0:
            potential = spcf.of_beads("intramolecular", x)[0].mean()
            kinetic = path_integrals.kinetic_energies(x, f, masses, temperature)
            energies.append((potential + np.array(kinetic)) / copies)
    virial, primitive = np.mean(energies, axis=0)
    w = path_integrals.harmonic_frequencies(WATER, clusters.masses(1), vibrations)
    exact = 2.0 * path_integrals.harmonic_potential(w, temperature, None) + 3 * temperature * KELVIN
    # 320 beads lack 0.9 % of it
    assert virial == pytest.approx(exact, rel=0.02)
    assert primitive == pytest.approx(virial, rel=0.03)


def test_wrong_number_of_beads_is_noticed():
    # the test above can fail: an eighth of the beads lacks a quarter of the energy
    w = path_integrals.harmonic_frequencies(WATER, clusters.masses(1), vibrations)
    exact, coarse = (path_integrals.harmonic_potential(w, 60.0, beads) for beads in (None, 20))
    assert coarse < 0.75 * exact

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from gnnip.errors import StructureError
from gnnip.reference import spcf
from gnnip.sampling import atomic_units, clusters


def test_atomic_units_are_those_of_the_project():
    from gnnip import units

    assert pytest.approx(units.KB_HARTREE, rel=1e-6) == atomic_units.KELVIN
    assert atomic_units.FEMTOSECOND == units.FS_ATOMIC
    assert atomic_units.ATOMIC_MASS == units.AMU_ELECTRON_MASSES
    assert pytest.approx(1.0 / units.BOHR, rel=1e-9) == atomic_units.ANGSTROM


@pytest.mark.parametrize("n", [1, 2, 20, 100])
def test_random_cluster_is_a_drop_of_separate_water_molecules(n):
    positions = clusters.random_cluster(n, np.random.default_rng(1))
    assert positions.shape == (3 * n, 3)
    spcf.check_water(positions, np.tile([8, 1, 1], n))
    bonds = np.linalg.norm(positions[1::3] - positions[::3], axis=1)
    np.testing.assert_allclose(bonds, spcf.R0, rtol=1e-5)
    np.testing.assert_allclose(clusters.centre_of_mass(positions), 0, atol=1e-10)
    if n > 1:
        assert pdist(positions[::3]).min() > 2.5 * atomic_units.ANGSTROM
    if n == 100:  # a sphere at 1 g/cm^3 has R = 16.9 Bohr
        assert clusters.radius(positions) == pytest.approx(16.9, rel=0.1)


def test_orientations_are_isotropic():
    positions = clusters.random_cluster(300, np.random.default_rng(2))
    dipole = positions[1::3] + positions[2::3] - 2 * positions[::3]
    dipole /= np.linalg.norm(dipole, axis=1)[:, None]
    # the mean of a component has a standard deviation of 1/sqrt(3 n)
    assert np.abs(dipole.mean(axis=0)).max() < 4 / np.sqrt(900)
    np.testing.assert_allclose((dipole**2).mean(axis=0), 1 / 3, atol=0.08)


def test_random_cluster_depends_on_the_generator_only():
    one, two, three = (clusters.random_cluster(8, np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, three)


def test_no_molecule_is_an_error():
    with pytest.raises(StructureError, match="at least 1 molecule, not 0"):
        clusters.random_cluster(0, np.random.default_rng(0))


def test_quench_lowers_the_energy_to_a_relaxed_cluster():
    start = clusters.random_cluster(20, np.random.default_rng(3))
    found = clusters.quench(start, spcf.energy_and_forces, 200)
    energy, forces = spcf.energy_and_forces(found)
    assert energy / 20 < -0.013
    assert np.abs(forces).max() < 0.01


def test_fragments_find_an_evaporated_molecule():
    positions = clusters.quench(
        clusters.random_cluster(12, np.random.default_rng(4)), spcf.energy_and_forces, 100
    )
    assert clusters.fragments(positions) == [12]
    positions[6:9] += 60.0
    assert clusters.fragments(positions) == [11, 1]

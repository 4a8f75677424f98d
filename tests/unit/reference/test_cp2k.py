"""CP2K against what is known of it: its input, and where it is installed the labels."""

import shutil

import numpy as np
import pytest
from ase.build import bulk
from slopes import force_of_atoms

from gnnip.reference import cp2k
from gnnip.reference.engines import evaluate, make_engine, running
from gnnip.units import HARTREE

where_installed = pytest.mark.skipif(
    not any(shutil.which(name) for name in cp2k.PROGRAMS), reason="CP2K is not on the PATH"
)
SMALL = "cp2k basis=SZV-MOLOPT-SR-GTH cutoff=200 convergence=1e-5"


def carbide(seed=1, lattice=4.38):
    atoms = bulk("SiC", "zincblende", a=lattice, cubic=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def test_the_input_names_basis_and_pseudopotential_of_every_element():
    text = make_engine("cp2k valence=Mg2 electronic_temperature=500").input({"O", "Mg"})
    assert "&KIND Mg\n      BASIS_SET DZVP-MOLOPT-SR-GTH-q2\n      POTENTIAL GTH-PBE-q2\n" in text
    assert "&KIND O\n      BASIS_SET DZVP-MOLOPT-SR-GTH\n      POTENTIAL GTH-PBE\n" in text
    assert "ELECTRONIC_TEMPERATURE [K] 500\n" in text
    assert "KPOINTS" not in text
    plain = make_engine("cp2k kpoints=2").input({"Si"})
    assert "SCHEME MONKHORST-PACK 2 2 2" in plain
    assert "SMEAR" not in plain
    # orbitals of several k-points cannot be carried on
    assert "EXTRAPOLATION USE_GUESS" in plain


@where_installed
@pytest.mark.slow
def test_forces_are_derivatives_of_the_energy():
    atoms = carbide()
    with running(make_engine(f"{SMALL} convergence=1e-7")) as calculator:
        energy, forces, stress = evaluate(calculator, atoms, stress=True)
        expected = force_of_atoms(lambda a: evaluate(calculator, a).energy, atoms, 2, 1, 0.01)
    # four formula units of SiC; -37.69 Hartree for a similar cell and grid
    assert energy / HARTREE == pytest.approx(-37.7, abs=0.3)
    assert forces[2, 1] == pytest.approx(expected, abs=2e-3)
    assert 0.5 < np.abs(forces).max() < 10
    assert stress.shape == (3, 3)


@where_installed
@pytest.mark.slow
def test_a_label_does_not_depend_on_the_frames_before():
    last = carbide(seed=4)
    with running(make_engine(SMALL)) as calculator:
        along = [carbide(lattice=4.45), *(carbide(seed=s) for s in (2, 3)), last]
        *_, found = (evaluate(calculator, atoms, stress=True) for atoms in along)
    with running(make_engine(SMALL)) as calculator:
        alone = evaluate(calculator, last, stress=True)
    assert found.energy == pytest.approx(alone.energy, abs=0.2e-3 * len(last))
    np.testing.assert_allclose(found.forces, alone.forces, rtol=0, atol=5e-3)
    np.testing.assert_allclose(found.stress, alone.stress, rtol=0, atol=1e-4)


@where_installed
@pytest.mark.slow
def test_the_lattice_constant_of_silicon_carbide():
    """DZVP and 2 x 2 x 2 k-points; SZV, a minimal basis, is 2.2 % too large."""
    constants = np.array([4.30, 4.38, 4.46])
    with running(make_engine("cp2k cutoff=250 convergence=1e-5 kpoints=2")) as calculator:
        energies = [
            evaluate(calculator, bulk("SiC", "zincblende", a=a, cubic=True)).energy
            for a in constants
        ]
    curvature, slope, _ = np.polyfit(constants - 4.38, energies, 2)
    assert 1 - 0.5 * slope / curvature / 4.38 == pytest.approx(1, abs=0.01)

import ase.units
import pytest

from gnnip import units


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (units.BOHR, ase.units.Bohr),
        (units.HARTREE, ase.units.Hartree),
        (units.KB, ase.units.kB),
        (units.KCAL_PER_MOL, ase.units.kcal / ase.units.mol),
        (units.KJ_PER_MOL, ase.units.kJ / ase.units.mol),
        (units.AMU_A2_PER_FS2, 1.0 / ase.units.fs**2),
        (units.KB_HARTREE, ase.units.kB / ase.units.Hartree),
    ],
)
def test_factors_are_those_of_ase(ours, theirs):
    assert ours == pytest.approx(theirs, rel=1e-15)

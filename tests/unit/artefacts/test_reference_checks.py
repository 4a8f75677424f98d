"""The checks of engines against known values, on cases whose answers are known."""

import numpy as np
import pytest
from ase.build import bulk, molecule

from gnnip.artefacts import reference_checks as checks
from gnnip.errors import DataError
from gnnip.reference.engines import make_engine
from gnnip.sampling import sic


def test_the_lattice_constant_of_copper():
    calculator = make_engine("ase:emt").calculator()
    a, modulus = checks.equation_of_state(
        lambda a: bulk("Cu", a=a, cubic=True), (3.50, 3.55, 3.60, 3.65, 3.70), calculator
    )
    # those of the potential, as published with it
    assert a == pytest.approx(3.59, abs=0.01)
    assert modulus == pytest.approx(135, abs=15)
    with pytest.raises(DataError, match=r"lowest at the end of the constants, 3\.6 Å; widen"):
        checks.equation_of_state(
            lambda a: bulk("Cu", a=a, cubic=True), (3.60, 3.65, 3.70, 3.75), calculator
        )


@pytest.mark.parametrize("nearest", [0.8, 2.0])
def test_two_molecules_at_a_distance(nearest):
    water = molecule("H2O")
    two = checks.molecules_apart(water, nearest)
    distances = two.get_all_distances()
    assert distances[:3, 3:].min() == pytest.approx(nearest)
    assert distances[3:, 3:] == pytest.approx(distances[:3, :3])
    assert two.positions[3:, 0].mean() > water.positions[:, 0].mean()


def test_structure_of_an_archive(cold_crystal):
    found = checks.archive(cold_crystal)
    assert [check.system for check in found[::3]] == [
        "sic crystal 30 K (3 frames)",
        "sic crystal 60 K (3 frames)",
    ]
    # the peak, the neighbours and the closest pair of a crystal that is hardly moved
    length = sic.LATTICE * 3**0.5 / 4
    assert [check.found for check in found[:3]] == pytest.approx([length, 4.0, length], abs=0.06)
    lines = checks.table(found).splitlines()
    assert len(lines) == 2 + len(found)
    assert "| Si-C first peak |" in lines[2]


def test_numbers_without_a_known_value_have_no_deviation():
    rows = [
        checks.Check("a", "b", "Å", "e", 2.02, 2.0),
        checks.Check("a", "c", "", "e", 1.0, np.nan),
    ]
    first, second = checks.table(rows).splitlines()[2:]
    assert first == "| a | b | e | 2.02 Å | 2 Å | +1.0 % |"
    assert second == "| a | c | e | 1 |  |  |"

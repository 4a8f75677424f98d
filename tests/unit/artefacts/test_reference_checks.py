"""The checks of engines against known values, on cases whose answers are known."""

import numpy as np
import pytest
from ase.build import bulk, molecule

from gnnip.artefacts import reference_checks as checks
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.store import write_frames
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
    assert [check.system for check in found[::4]] == [
        "sic crystal 30 K (3 frames)",
        "sic crystal 60 K (3 frames)",
    ]
    # the peak, the neighbours and the closest pair of a crystal that is hardly moved
    length = sic.LATTICE * 3**0.5 / 4
    assert found[3].quantity == "density"
    assert found[3].found == pytest.approx(
        3.17, abs=0.02
    )  # 4 SiC in a cube of the lattice constant
    assert [check.found for check in found[:3]] == pytest.approx([length, 4.0, length], abs=0.06)
    lines = checks.table(found).splitlines()
    assert len(lines) == 2 + len(found)
    assert "| Si-C first peak |" in lines[2]


def test_pairs_that_should_stay_apart_are_counted_glass_by_glass(tmp_path):
    cubes = [bulk("HfO2", "fluorite", a=5.1, cubic=True) for _ in range(3)]
    oxygen = np.flatnonzero(cubes[0].numbers == 8)
    # a peroxide in both frames of one glass, none in the other
    for cube in cubes[:2]:
        cube.set_distance(*oxygen[:2], 1.45, fix=0, mic=True)
    frames = FrameArrays(
        np.concatenate([cube.positions for cube in cubes]),
        np.tile(cubes[0].numbers, 3),
        np.arange(0, 37, 12),
        {"total": np.zeros(3)},
        {"total": np.zeros((36, 3))},
        metadata={"trajectory": np.array(["hfo2-r0", "hfo2-r0", "hfo2-r1"])},
        cells=np.stack([cube.cell.array for cube in cubes]),
        pbc=np.ones((3, 3), bool),
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )
    write_frames(tmp_path / "hfo2.h5", frames, attributes={})
    found = {(c.system[5:12], c.quantity): c.found for c in checks.archive(tmp_path / "hfo2.h5")}
    assert found["hfo2-r0", "pairs O-O below 1.6 Å"] == 1.0
    assert found["hfo2-r1", "pairs O-O below 1.6 Å"] == 0.0
    assert found["hfo2-r0", "shortest O-O"] == pytest.approx(1.45, abs=1e-5)
    assert found["hfo2-r1", "shortest O-O"] == pytest.approx(2.55, abs=1e-5)
    assert found["hfo2-r1", "O around Hf within 2.8 Å"] == 8.0


def test_numbers_without_a_known_value_have_no_deviation():
    rows = [
        checks.Check("a", "b", "Å", "e", 2.02, 2.0),
        checks.Check("a", "c", "", "e", 1.0, np.nan),
    ]
    first, second = checks.table(rows).splitlines()[2:]
    assert first == "| a | b | e | 2.02 Å | 2 Å | +1.0 % |"
    assert second == "| a | c | e | 1 |  |  |"

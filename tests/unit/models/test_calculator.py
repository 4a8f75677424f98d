"""Trained potentials as ASE calculators."""

import ase.data
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

import gnnip
from gnnip.errors import DataError, StructureError
from gnnip.models import build, save
from gnnip.models.elements import ATOMIC_MASSES


@pytest.fixture
def calculator(tmp_path):
    model = build("spektral", layer="gat", channels=8, features="invariant").double()
    model.species = (1, 8)
    save(model, tmp_path / "model")
    return gnnip.load_calculator(tmp_path, device="cpu")


def test_energy_and_forces(calculator):
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    atoms.calc = calculator
    forces = atoms.get_forces()
    assert forces.shape == (3, 3)
    assert calculator.results["energy"] == calculator.results["free_energy"]
    values = []
    for step in (-1e-4, 1e-4):
        moved = atoms.copy()
        moved.positions[0, 1] += step
        moved.calc = calculator
        values.append(moved.get_potential_energy())
    assert forces[0, 1] == pytest.approx(-(values[1] - values[0]) / 2e-4, abs=1e-6)


def test_stress_of_a_periodic_structure(calculator):
    atoms = molecule("H2O", cell=[4.0, 4.1, 4.2], pbc=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = calculator
    stress = atoms.get_stress()
    values = []
    for size in (-1e-5, 1e-5):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ np.diag([1 + size, 1, 1]), scale_atoms=True)
        strained.calc = calculator
        values.append(strained.get_potential_energy())
    slope = (values[1] - values[0]) / 2e-5 / atoms.get_volume()
    assert stress[0] == pytest.approx(slope, abs=1e-7)


def test_bad_structures(calculator):
    water = molecule("H2O")
    broken = water.copy()
    broken.positions[1] = np.nan
    for atoms, error, message in (
        (Atoms(), StructureError, "no atoms"),
        (molecule("CH4"), DataError, r"knows nothing of \[6\]"),
        (broken, StructureError, "atom 1 is not finite"),
        (Atoms("OO", np.zeros((2, 3))), StructureError, "at one point"),
    ):
        atoms.calc = calculator
        with pytest.raises(error, match=message):
            atoms.get_potential_energy()
    water.calc = calculator
    with pytest.raises(StructureError, match="periodic in all three"):
        water.get_stress()


def test_masses_are_those_of_ase():
    assert np.allclose(ATOMIC_MASSES, ase.data.atomic_masses, atol=1e-6)

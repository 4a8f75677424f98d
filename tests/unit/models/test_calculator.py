"""Trained potentials as ASE calculators."""

import copy
import pickle

import ase.data
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.filters import FrechetCellFilter
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS

import gnnip
from gnnip.errors import CheckpointError, DataError, StructureError
from gnnip.models import build, save
from gnnip.models.calculator import PotentialCalculator
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


class Counted:
    """Counts the evaluations of a calculator's model."""

    def __init__(self, calculator):
        self.count = 0
        forward = calculator.model.forward

        def counting(batch):
            self.count += 1
            return forward(batch)

        calculator.model.forward = counting


@pytest.fixture
def copper():
    """A crystal and a calculator of an untrained pair potential that holds it together."""
    torch.manual_seed(1)
    model = build("pair", species=[29], cutoff=4.0).double()
    with torch.no_grad():
        model.coefficients.normal_(std=0.02)
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.02, seed=1)
    atoms.calc = PotentialCalculator(model)
    return atoms


def test_a_step_of_a_cell_relaxation_is_one_evaluation(copper):
    counted, steps = Counted(copper.calc), []
    optimiser = BFGS(FrechetCellFilter(copper), logfile=None)
    optimiser.attach(lambda: steps.append(copper.get_potential_energy()))
    optimiser.run(fmax=1e-9, steps=6)
    assert len(steps) == 7
    assert counted.count == 7


def test_a_step_at_constant_pressure_is_one_evaluation(copper):
    atoms = copper.repeat((2, 1, 1))
    atoms.calc = copper.calc
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    counted = Counted(atoms.calc)
    moved = IsotropicMTKNPT(
        atoms,
        timestep=1.0 * units.fs,
        temperature_K=300,
        pressure_au=0.0,
        tdamp=100.0 * units.fs,
        pdamp=100.0 * units.fs,
        logfile=None,
    )
    moved.run(1)
    before = counted.count
    volume = atoms.get_volume()
    moved.run(10)
    assert counted.count - before == 10
    assert atoms.get_volume() != volume


@pytest.mark.parametrize("name", ["nequip", "jat", "ace", "pair", "graph_network"])
def test_copies_and_pickles_give_the_same(name):
    torch.manual_seed(0)
    model = build(name, species=[29, 79], **{"cutoff": 4.0})
    with torch.no_grad():
        for weights in model.parameters():
            weights.normal_(std=0.3)
    atoms = bulk("Cu", cubic=True)
    atoms.numbers[0] = 79
    atoms.rattle(0.05, seed=2)
    calculator = PotentialCalculator(model)
    atoms.calc = calculator
    wanted = atoms.get_forces()
    for other in (pickle.loads(pickle.dumps(calculator)), copy.deepcopy(calculator)):
        again = atoms.copy()
        again.calc = other
        np.testing.assert_array_equal(again.get_forces(), wanted)
        assert other.model is not calculator.model


def test_precision_and_threads(tmp_path):
    model = build("pair", species=[29], cutoff=4.0)
    save(model, tmp_path / "model")
    before = torch.get_num_threads()
    calculator = gnnip.load_calculator(tmp_path, "cpu", dtype="float64", threads=before + 1)
    assert calculator.model.dtype == torch.float64
    seen = []
    forward = calculator.model.forward
    calculator.model.forward = lambda batch: (seen.append(torch.get_num_threads()), forward(batch))[
        1
    ]
    atoms = bulk("Cu", cubic=True)
    atoms.calc = calculator
    atoms.get_potential_energy()
    assert (seen, torch.get_num_threads()) == ([before + 1], before)
    with pytest.raises(DataError, match="float32 or float64"):
        gnnip.load_calculator(tmp_path, "cpu", dtype="half")


@pytest.fixture
def seeds(tmp_path):
    """Three pair potentials of different weights, saved as seeds of one training."""
    for seed in range(3):
        torch.manual_seed(seed)
        model = build("pair", species=[29], cutoff=4.0).double()
        with torch.no_grad():
            model.coefficients.normal_()
        save(model, tmp_path / f"trainings/pair/all/seed-{seed}/model")
    return tmp_path


def test_an_ensemble_tells_mean_and_spread(seeds):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=2)
    energies, forces = [], []
    for seed in range(3):
        alone = atoms.copy()
        alone.calc = gnnip.load_calculator(seeds / f"trainings/pair/all/seed-{seed}", "cpu")
        energies.append(alone.get_potential_energy())
        forces.append(alone.get_forces())
    atoms.calc = gnnip.load_calculator(seeds, "cpu")
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies))
    np.testing.assert_allclose(atoms.get_forces(), np.mean(forces, axis=0), atol=1e-12)
    assert atoms.calc.results["energy_spread"] == pytest.approx(np.std(energies, ddof=1))
    squares = np.square(np.std(forces, axis=0, ddof=1)).sum(axis=1)
    np.testing.assert_allclose(atoms.calc.results["forces_spread"], np.sqrt(squares))
    assert atoms.get_stress().shape == (6,)
    first = gnnip.load_calculator(seeds, "cpu", ensemble=False)
    assert "energy_spread" not in first.implemented_properties
    with pytest.raises(DataError, match="two potentials at least"):
        gnnip.load_calculator(seeds / "trainings/pair/all/seed-0", "cpu", ensemble=True)


def test_a_folder_of_several_models_is_refused(seeds):
    save(build("pair", species=[29]), seeds / "trainings/other/all/seed-0/model")
    with pytest.raises(CheckpointError, match=r"several potentials; choose one of .*other"):
        gnnip.load_calculator(seeds, "cpu")

"""The ASE calculators: units, results, warm start, refusals."""

from __future__ import annotations

import subprocess
import sys

import ase
import numpy as np
import pytest
from ase.calculators.mixing import SumCalculator

import gnnip.reference
from gnnip.errors import ConfigError, ConvergenceError, StructureError
from gnnip.reference import spcf
from gnnip.reference.electron import ElectronSolver
from gnnip.units import BOHR, HARTREE


@pytest.fixture
def atoms(cavity_cluster) -> ase.Atoms:
    n = len(cavity_cluster) // 3
    return ase.Atoms(numbers=[8, 1, 1] * n, positions=cavity_cluster * BOHR)


def test_spcf_in_electronvolts(atoms, cavity_cluster) -> None:
    atoms.calc = gnnip.reference.SPCF()
    energy, forces = spcf.energy_and_forces(cavity_cluster)
    assert atoms.get_potential_energy() == pytest.approx(energy * HARTREE, abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), forces * HARTREE / BOHR, atol=1e-9)
    assert atoms.calc.results["energy_hartree"] == pytest.approx(energy, abs=1e-11)


def test_electron_results_and_their_units(atoms, cavity_cluster) -> None:
    atoms.calc = gnnip.reference.TuriBorgis(accuracy_hartree=1e-4, gap=True)
    state = ElectronSolver(1e-4).solve(cavity_cluster, gap=True)
    assert atoms.get_potential_energy() == pytest.approx(state.energy * HARTREE, abs=1e-6)
    results = atoms.calc.results
    assert results["energy_hartree"] == pytest.approx(state.energy, abs=1e-7)
    assert results["gyration_radius"] == pytest.approx(state.gyration_radius * BOHR, abs=1e-5)
    np.testing.assert_allclose(results["centre"], state.centre * BOHR, atol=1e-4)
    assert results["gap_hartree"] == pytest.approx(state.gap, abs=1e-6)
    assert results["converged"] is True
    np.testing.assert_allclose(results["forces"], state.forces * HARTREE / BOHR, atol=1e-4)


def test_gap_is_none_unless_asked_for(atoms) -> None:
    atoms.calc = gnnip.reference.TuriBorgis()
    atoms.get_potential_energy()
    assert atoms.calc.results["gap_hartree"] is None


def test_a_small_move_starts_from_the_last_state(atoms, monkeypatch) -> None:
    atoms.calc = gnnip.reference.TuriBorgis()
    guesses = []
    solve = atoms.calc.solver.solve

    def spy(positions, **options):
        guesses.append(options["guess"] is not None)
        return solve(positions, **options)

    monkeypatch.setattr(atoms.calc.solver, "solve", spy)
    atoms.get_potential_energy()
    atoms.positions[0, 0] += 0.01
    atoms.get_potential_energy()
    atoms.positions[:, 0] += 2.0
    atoms.get_potential_energy()
    assert guesses == [False, True, False]


def test_the_terms_add_up(atoms) -> None:
    parts = [gnnip.reference.SPCF(), gnnip.reference.TuriBorgis()]
    energies = []
    for part in parts:
        atoms.calc = part
        energies.append(atoms.get_potential_energy())
    atoms.calc = SumCalculator([gnnip.reference.SPCF(), gnnip.reference.TuriBorgis()])
    assert atoms.get_potential_energy() == pytest.approx(sum(energies), abs=1e-9)


@pytest.mark.parametrize("name", ["SPCF", "TuriBorgis"])
def test_other_structures_are_refused(atoms, name) -> None:
    calculator = getattr(gnnip.reference, name)
    for bad, message in (
        (ase.Atoms(), "no atoms"),
        (ase.Atoms("H2O", positions=np.eye(3)), "atom 0 has atomic number 1"),
        (ase.Atoms("OH2", positions=np.eye(3), cell=[9, 9, 9], pbc=True), "periodic"),
        (ase.Atoms("OH2", positions=np.zeros((3, 3))), "Bohr apart"),
    ):
        bad.calc = calculator()
        with pytest.raises(StructureError, match=message):
            bad.get_potential_energy()


def test_unbound_electron_is_an_error_not_a_number() -> None:
    atoms = ase.Atoms("OH2", positions=[[0, 0, 0], [1, 0, 0], [-0.33, 0.94, 0]])
    atoms.calc = gnnip.reference.TuriBorgis()
    with pytest.raises(ConvergenceError, match="do not bind an electron"):
        atoms.get_potential_energy()


def test_import_is_light() -> None:
    code = (
        "import sys, gnnip.reference, gnnip.reference.electron;"
        "assert not {'torch', 'ase'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Coulomb"):
        _ = gnnip.reference.Coulomb


def test_forces_match_differences_of_successive_energies(atoms) -> None:
    atoms.calc = SumCalculator([gnnip.reference.SPCF(), gnnip.reference.TuriBorgis(1e-4)])
    forces = atoms.get_forces()
    for atom, axis in ((0, 0), (17, 2), (40, 1)):
        energies = []
        for step in (0.005, -0.01):
            atoms.positions[atom, axis] += step
            energies.append(atoms.get_potential_energy())
        atoms.positions[atom, axis] += 0.005
        difference = -(energies[0] - energies[1]) / 0.01
        assert forces[atom, axis] == pytest.approx(difference, abs=2e-3)


def test_the_anion_is_the_sum_of_its_terms(atoms) -> None:
    anion = gnnip.reference.make_calculator("water_anion accuracy_hartree=1e-3")
    assert isinstance(anion, gnnip.reference.WaterAnion)
    water, electron = gnnip.reference.SPCF(), gnnip.reference.TuriBorgis(accuracy_hartree=1e-3)
    for calculator in (anion, water, electron):
        calculator.calculate(atoms)
    found = anion.results
    assert found["atomic_energy"] == water.results["energy"]
    assert found["electronic_energy"] == electron.results["energy"]
    assert found["energy"] == water.results["energy"] + electron.results["energy"]
    assert found["gyration_radius"] == electron.results["gyration_radius"]
    np.testing.assert_array_equal(
        found["forces"], water.results["forces"] + electron.results["forces"]
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("water_anoin", "no reference 'water_anoin', did you mean 'water_anion'"),
        ("", "no reference ''"),
        ("water_anion accuracy_hartree", "'accuracy_hartree' in the reference .* is not a setting"),
        ("water_anion acuracy=1e-3", "has a wrong setting"),
        ("water_anion accuracy_hartree=3", "accuracy 3.0 Hartree is outside the range"),
    ],
)
def test_wrong_references_are_one_sentence(text, words) -> None:
    with pytest.raises(ConfigError, match=words):
        gnnip.reference.make_calculator(text)

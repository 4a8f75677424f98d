"""Structures that no training set has, against sums over pairs that are written out."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from own_potential import Spring

from gnnip import md
from gnnip.errors import DataError
from gnnip.graphs import GraphStore, neighbour_list
from gnnip.models.calculator import PotentialCalculator
from gnnip.models.contract import predict

CUTOFF = 3.0
TWO = np.array([[0.1, 0.2, 0.3], [1.4, 0.5, 0.1]])
SKEWED = np.array([[2.0, 0, 0], [800.0, 2.5, 0], [0, -500.0, 2.2]])


def spring(dtype=torch.float32):
    model = Spring(Spring.Hyperparameters(CUTOFF, "fourth")).to(dtype)
    model.species = (8,)
    return model.eval()


def written_out(points, cell, pbc, reduced=None):
    """E = 1/4 sum (cutoff - r)^4 over i and all images of j, forces (n, 3), volume x stress."""
    lattice = np.zeros((3, 3)) if cell is None else cell
    lattice = lattice if reduced is None else reduced
    points = np.array(points, dtype=np.float64)
    if np.any(pbc):  # into the first cell, and far enough around it
        full = np.where(
            np.linalg.norm(lattice, axis=1, keepdims=True) > 0, lattice, 1e9 * np.eye(3)
        )
        points = points - np.where(pbc, np.floor(points @ np.linalg.inv(full)), 0.0) @ full
    reach = [range(-9, 10) if p else (0,) for p in np.broadcast_to(pbc, 3)]
    energy, forces, virial = 0.0, np.zeros_like(points), np.zeros((3, 3))
    for i, j in itertools.product(range(len(points)), repeat=2):
        for image in itertools.product(*reach):
            d = points[j] + np.array(image) @ lattice - points[i]
            r = np.linalg.norm(d)
            if (i != j or any(image)) and r < CUTOFF:
                energy += 0.25 * (CUTOFF - r) ** 4
                pull = -((CUTOFF - r) ** 3) * d / r
                forces[i] += 2.0 * pull
                virial += np.outer(pull, d)
    return energy, forces, virial


FAR = np.array([3e5, -1e6, 2e6])
#: positions, cell, pbc, and short vectors of the same lattice where those of the cell are long
CASES = {
    "lone_atom": (TWO[:1], None, False, None),
    "dimer_beyond_the_cutoff": (TWO * [[1, 1, 1], [4, 1, 1]], None, False, None),
    "one_atom_far_away": (np.vstack([TWO, [1e6, 0, 0]]), None, False, None),
    "two_molecules_far_apart": (np.vstack([TWO, TWO + FAR]), None, False, None),
    "molecule_far_from_the_origin": (TWO + 1e7, None, False, None),
    "wire_in_a_wide_box": (TWO, np.diag([2.2, 2000.0, 2000.0]), True, None),
    "wire_with_two_zero_vectors": (TWO, np.diag([0.0, 2.2, 0.0]), [0, 1, 0], None),
    "slab_with_an_atom_far_above": (
        np.vstack([TWO, [0, 0, 3e6]]),
        np.diag([3.0, 2.9, 0]),
        [1, 1, 0],
        None,
    ),
    "slab_whose_open_vector_lies_in_it": (
        TWO,
        np.array([[3.0, 0, 0], [0, 3.0, 0], [3, 3, 0]]),
        [1, 1, 0],
        np.diag([3.0, 3, 0]),
    ),
    "unwrapped_by_1e5": (
        TWO + np.array([[40_000, -30_000, 0], [-20_000, 7, 50_000]]) * [2.5, 2.6, 2.7],
        np.diag([2.5, 2.6, 2.7]),
        True,
        None,
    ),
    "left_handed": (TWO, np.array([[0, 2.6, 0.2], [2.5, 0, 0], [0, 0.3, 2.7]]), True, None),
    "tiny_cell": (TWO[:1], 0.9 * np.eye(3), True, None),
    "skewed_a_thousandfold": (
        TWO,
        SKEWED,
        True,
        np.array([[2.0, 0, 0], [0, 2.5, 0], [0, 0, 2.2]]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_energy_forces_and_stress_are_the_sum(name):
    points, cell, pbc, short = CASES[name]
    energy, forces, virial = written_out(points, cell, pbc, short)
    atoms = Atoms(f"O{len(points)}", points, cell=cell, pbc=pbc)
    atoms.calc = PotentialCalculator(spring())
    size = 3e-6 * max(1.0, energy)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=size)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=20 * size)
    assert atoms.get_potential_energies().sum() == pytest.approx(energy, abs=size)
    if np.all(pbc):
        stress = virial / atoms.get_volume()
        found = atoms.get_stress(voigt=False)
        np.testing.assert_allclose(found, stress, atol=20 * size / atoms.get_volume())
    # dynamics take the same differences, however far their atoms have gone
    state = md.from_atoms([atoms], temperature=0.0, seeds=[0], fixed_momentum=False)
    criteria = md.Criteria(distance_factor=None)
    run = md.Simulation(
        spring(), state, md.VelocityVerlet(1e-6), criteria=criteria, frame_every=None
    ).run(1)
    np.testing.assert_allclose(run.final[0].forces.numpy(), forces, atol=20 * size)
    assert float(run.final[0].energy[0]) == pytest.approx(energy, abs=size)


@pytest.mark.parametrize("name", CASES)
def test_both_engines_find_the_same_pairs(name):
    points, cell, pbc, _ = CASES[name]
    index, shift = neighbour_list(points, CUTOFF, cell, pbc)
    again, moved = neighbour_list(points, CUTOFF, cell, pbc, engine="numpy")
    assert np.array_equal(index, again)
    assert (shift is None and moved is None) or np.allclose(shift, moved)


def test_stress_is_of_crystals_alone():
    one = {"positions": TWO, "numbers": [8, 8]}
    crystal = one | {"cell": 4.0 * np.eye(3), "pbc": True}
    slabs = [one, one | {"cell": np.diag([4.0, 4, 0]), "pbc": [1, 1, 0]}]
    slabs.append(one | {"cell": 4.0 * np.eye(3), "pbc": [1, 1, 0]})
    model = spring()
    assert predict(model, GraphStore.from_structures([crystal], CUTOFF), stress=True)[
        "stress"
    ].any()
    for other in slabs:
        store = GraphStore.from_structures([crystal, other], CUTOFF)
        with pytest.raises(DataError, match="periodic in all three"):
            predict(model, store, stress=True)
        found = predict(model, store, torch.tensor([0]), stress=True)["stress"]
        assert np.isfinite(found).all()


def test_one_evaluation_a_step():
    """Of a cell relaxation, and of dynamics at constant pressure."""
    from ase import units
    from ase.filters import FrechetCellFilter
    from ase.md.npt import NPT
    from ase.optimize import BFGS

    calculator = PotentialCalculator(spring(torch.float64))
    counted, calculate = [], calculator.calculate

    def counting(*arguments, **options):
        counted.append(1)
        calculate(*arguments, **options)

    calculator.calculate = counting
    atoms = Atoms("O2", TWO, cell=3.5 * np.eye(3), pbc=True, calculator=calculator)
    relaxation = BFGS(FrechetCellFilter(atoms), logfile=None)
    relaxation.run(fmax=1e-9, steps=5)
    assert len(counted) == relaxation.nsteps + 1
    atoms = Atoms("O2", TWO, cell=3.5 * np.eye(3), pbc=True, calculator=calculator)
    counted.clear()
    NPT(atoms, 0.5 * units.fs, temperature_K=300, externalstress=0.0, ttime=20, pfactor=1e3).run(5)
    assert len(counted) <= 6

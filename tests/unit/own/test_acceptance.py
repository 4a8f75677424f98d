"""200 frames, one command, a potential that knows the crystal: for a model of the library, and for
one from a file of the user's own."""

from __future__ import annotations

import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import calculate_eos
from ase.units import GPa, _amu, _e
from made_up_frames import EMBEDDED, copper

from gnnip import load_calculator
from gnnip.__main__ import main
from gnnip.own.page import dynamics_facts
from gnnip.own.run import Run

#: two cores for five minutes
SECONDS = 600.0


def crystal(calculator) -> dict[str, float]:
    """Return lattice constant (A), bulk modulus (GPa) and highest frequency (THz) of copper."""
    unit = bulk("Cu", cubic=True)
    unit.calc = calculator
    volume, _, modulus = calculate_eos(unit, npoints=7, eps=0.02).fit()
    lattice = volume ** (1 / 3)
    return {
        "lattice": lattice,
        "modulus": modulus / GPa,
        "frequency": highest_frequency(calculator, lattice),
    }


def highest_frequency(calculator, lattice: float, n: int = 3, step: float = 0.01) -> float:
    """Return the highest frequency at the wave vectors that fit into n x n x n primitive cells."""
    atoms = bulk("Cu", a=lattice) * (n, n, n)
    atoms.calc = calculator
    rows = []
    for axis in range(3):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[0, axis] += sign * step
            moved.calc = calculator
            forces.append(moved.get_forces().copy())
        rows.append((forces[1] - forces[0]) / (2 * step))
    constants = np.array(rows).transpose(1, 0, 2)  # atoms, axis, axis
    waves = np.stack(np.meshgrid(*[np.arange(n) / n] * 3), -1).reshape(-1, 3)
    waves = 2 * np.pi * waves @ bulk("Cu", a=lattice).cell.reciprocal()
    phases = np.exp(1j * waves @ (atoms.positions - atoms.positions[0]).T)
    matrices = np.einsum("qn,nij->qij", phases, constants) / atoms.get_masses()[0]
    highest = np.linalg.eigvalsh((matrices + matrices.conj().transpose(0, 2, 1)) / 2).max()
    return float(np.sqrt(highest * _e / _amu) * 1e10 / (2 * np.pi) / 1e12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        ["nequip", "--set", "layers=1", "--set", "lmax=1", "--set", "channels=8"],
        ["own_embedded:Embedded", "--epochs", "300"],
    ],
    ids=["nequip", "own"],
)
def test_from_frames_to_a_crystal(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(EMBEDDED.strip().splitlines()) <= 33
    Path("own_embedded.py").write_text(EMBEDDED, encoding="utf-8")
    ase.io.write("copper.xyz", copper(10, 20, (2, 2, 1)), format="extxyz")
    begun = time.process_time()
    more = ["--cutoff", "5.5", "--md", "1", "-o", "run", "--device", "cpu", "--threads", "1"]
    assert main(["train", "copper.xyz", "--model", *model, *more]) == 0
    assert time.process_time() - begun < SECONDS
    (facts,) = dynamics_facts(Run.read(Path("run")))
    assert facts["survived"] == facts["replicas"]
    assert facts["largest_drift"] < 0.1
    (weights,) = Path("run").glob("trainings/*/all/seed-0")
    found, wanted = crystal(load_calculator(weights, device="cpu")), crystal(EMT())
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=0.03), name
    assert Path("run/index.html").exists()

"""V_SPC/F and E_0 against published and independent numbers kept outside the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gnnip.reference import spcf
from gnnip.reference.electron import ElectronSolver


def load(shared: Path, name: str) -> dict[str, np.ndarray]:
    path = shared / "oracles" / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


@pytest.mark.parametrize("n", [5, 20, 100])
def test_spcf_equals_the_published_program(shared, n: int) -> None:
    data = load(shared, "spcf.npz")
    x = data[f"n{n}_positions"]
    spcf.check_water(x, data[f"n{n}_numbers"])
    energy, forces = spcf.energy_and_forces(x)
    assert energy == pytest.approx(float(data[f"n{n}_energy"]), abs=1e-12)
    np.testing.assert_allclose(forces, data[f"n{n}_forces"], atol=1e-13)


@pytest.mark.parametrize("name", ["n47_int150", "n47_surf200"])
@pytest.mark.parametrize("accuracy", [1e-4, 1e-5, 1e-6])
def test_electron_equals_two_independent_solvers(shared, name: str, accuracy: float) -> None:
    data = load(shared, "electron.npz")
    x = data[f"{name}_positions"]
    state = ElectronSolver(accuracy).solve(x)
    assert state.energy == pytest.approx(float(data[f"{name}_E0"]), abs=accuracy)
    # the finite differences are themselves good to 1e-7
    assert state.energy == pytest.approx(float(data[f"{name}_E0_fd"]), abs=accuracy + 1e-7)
    np.testing.assert_allclose(state.forces, data[f"{name}_forces"], atol=accuracy + 1e-6)
    np.testing.assert_allclose(state.centre, data[f"{name}_electron_center"], atol=0.02)
    assert state.gyration_radius == pytest.approx(float(data[f"{name}_electron_rg"]), abs=0.05)
    assert spcf.energy_and_forces(x)[0] == pytest.approx(float(data[f"{name}_V_spcf"]), abs=1e-10)

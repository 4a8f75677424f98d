"""JAT against the published code's energies, forces and features, with its trained weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gnnip import load_calculator
from gnnip.graphs import GraphBatch
from gnnip.models.contract import evaluate
from gnnip.models.jat import attention
from gnnip.models.jat.published import jat_from_arrays, main

FOLDER = Path(__file__).parents[2].parent / "shared" / "oracles"
NUMBERS = np.array([6, 1, 7, 8])


def oracle(name):
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"the parity arrays {path.name} are not there")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture(params=["plain", "fused"])
def form(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(attention, "available", lambda _: False)
    elif not attention.available(torch.zeros(1)):
        pytest.skip("no compiler")


def frame(arrays, number):
    structure = {
        "positions": arrays[f"frame{number}.positions"],
        "numbers": NUMBERS[arrays["types"]],
    }
    return structure | {"cell": arrays["cell"], "pbc": True}


@pytest.mark.usefixtures("form")
def test_the_trained_network_as_a_batch():
    arrays = oracle("jat_ean")
    model = jat_from_arrays(arrays)
    batch = GraphBatch.from_structures(
        [frame(arrays, 0), frame(arrays, 1)], 5.0, dtype=torch.float64
    )
    found = evaluate(model, batch, forces=True)
    for number in (0, 1):
        here = (batch.batch == number).numpy()
        expected = {name: arrays[f"frame{number}.{name}"] for name in ("energy", "forces")}
        assert abs(found["energy"][number].item() - expected["energy"]) < 1e-8
        assert np.abs(found["forces"].numpy()[here] - expected["forces"]).max() < 1e-8
        atomic = arrays[f"frame{number}.atomic_energies"]
        assert np.abs(found["atomic_energies"].numpy()[here] - atomic).max() < 1e-9


def test_the_command_writes_a_potential_that_calculates(tmp_path, capsys):
    import ase

    arrays = oracle("jat_ean")
    assert main([str(FOLDER / "jat_ean.npz"), "--output", str(tmp_path / "model")]) == 0
    assert "39529 parameters" in capsys.readouterr().out
    atoms = ase.Atoms(**frame(arrays, 0))
    atoms.calc = load_calculator(tmp_path / "model.safetensors")
    assert np.abs(atoms.get_forces() - arrays["frame0.forces"]).max() < 1e-8
    assert atoms.get_potential_energy() == pytest.approx(arrays["frame0.energy"], abs=1e-8)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("padding", ["", "other_"])
def test_two_heads_as_coded_depend_on_the_padding(padding):
    arrays = oracle("jat_multihead")
    most = arrays[f"{padding}max_neighbors"]
    model = jat_from_arrays(arrays | {"max_neighbors": most})
    structure = {"positions": arrays["positions"], "numbers": NUMBERS[arrays["types"]]}
    batch = GraphBatch.from_structures(2 * [structure], model.cutoff, dtype=torch.float64)
    found = evaluate(model, batch, forces=True)
    keys = ("other_padding_energy", "other_padding_forces") if padding else ("energy", "forces")
    energy, forces = (arrays[key] for key in keys)
    assert np.abs(found["energy"].numpy() - energy).max() < 1e-8
    assert np.abs(found["forces"].numpy() - np.tile(forces, (2, 1))).max() < 1e-8

"""NequIP against SevenNet's own energies, forces, stress and features, with SevenNet's weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gnnip.graphs import GraphBatch
from gnnip.models.contract import evaluate
from gnnip.models.nequip import NequIP, NequIPHyperparameters, convolution, load_sevennet_state

FILES = ["nequip_l1_parity", "nequip_l2_parity", "nequip_l1_parity_4layers"]
NUMBERS = np.array([1, 6, 7, 8])


@pytest.fixture(params=FILES)
def arrays(request):
    path = Path(__file__).parents[2].parent / "shared" / "oracles" / f"{request.param}.npz"
    if not path.exists():
        pytest.skip(f"the parity arrays {path.name} are not there")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture
def model(arrays):
    config = json.loads(str(arrays["config_json"]))
    options = NequIPHyperparameters(
        species=tuple(int(z) for z in NUMBERS),
        cutoff=config["cutoff"],
        layers=config["n_layers"],
        lmax=config["lmax"],
        channels=config["channels"],
        parity=config["parity"],
        self_connection=config["self_connection"],
        radial_hidden=tuple(config["radial_hidden"]),
    )
    state = {k.removeprefix("state."): v for k, v in arrays.items() if k.startswith("state.")}
    return load_sevennet_state(NequIP(options).double(), state)


def structure(arrays, kind):
    given = {"positions": arrays[f"{kind}.positions"], "numbers": NUMBERS[arrays[f"{kind}.species"]]}
    if kind == "periodic":
        given |= {"cell": arrays[f"{kind}.cell"], "pbc": arrays[f"{kind}.pbc"]}
    return GraphBatch.from_structures([given], 5.0, dtype=torch.float64)


@pytest.mark.parametrize("form", ["dense", "fused"])
@pytest.mark.parametrize("kind", ["open", "periodic"])
def test_energy_forces_stress(model, arrays, kind, form, monkeypatch):
    if form == "dense":
        monkeypatch.setattr(convolution, "available", lambda *_: False)
    elif convolution.build.library() is None:
        pytest.skip("no compiler")
    found = evaluate(model, structure(arrays, kind), forces=True, stress=kind == "periodic")
    assert np.allclose(found["energy"], arrays[f"{kind}.energy"], rtol=1e-9, atol=1e-9)
    assert np.allclose(found["atomic_energies"], arrays[f"{kind}.atomic_energies"], rtol=1e-9, atol=1e-9)
    assert np.allclose(found["forces"], arrays[f"{kind}.forces"], rtol=1e-9, atol=1e-9)
    if kind == "periodic":
        # SevenNet's order is xx, yy, zz, xy, yz, zx and its sign the opposite of ASE's
        voigt = found["stress"][0][[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]]
        assert np.allclose(-voigt, arrays["periodic.stress"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["open", "periodic"])
def test_features_after_each_block(model, arrays, kind):
    batch = structure(arrays, kind)
    with torch.no_grad():
        found = model.features(batch, model.species_index(batch.atomic_numbers))
    names = ["embedding", *(f"block{k}" for k in range(len(model.layers)))]
    for name, value, irreps in zip(names, found, model.irreps, strict=True):
        parts = value.split([2 * degree + 1 for degree, _ in irreps], dim=1)
        flat = torch.cat([part.transpose(1, 2).flatten(1) for part in parts], dim=1)
        assert np.allclose(flat, arrays[f"{kind}.features.{name}"], rtol=1e-9, atol=1e-9), name

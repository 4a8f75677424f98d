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
    given = {
        "positions": arrays[f"{kind}.positions"],
        "numbers": NUMBERS[arrays[f"{kind}.species"]],
    }
    if kind == "periodic":
        given |= {"cell": arrays[f"{kind}.cell"], "pbc": arrays[f"{kind}.pbc"]}
    return GraphBatch.from_structures([given], 5.0, dtype=torch.float64)


@pytest.mark.parametrize("form", ["dense", "fused"])
@pytest.mark.parametrize("kind", ["open", "periodic"])
def test_energy_forces_stress(model, arrays, kind, form, monkeypatch):
    if form == "dense":
        monkeypatch.setattr(convolution, "available", lambda *_: False)
    elif convolution.build.library(convolution.SOURCE) is None:
        pytest.skip("no compiler")
    found = evaluate(model, structure(arrays, kind), forces=True, stress=kind == "periodic")
    assert np.allclose(found["energy"], arrays[f"{kind}.energy"], rtol=1e-9, atol=1e-9)
    assert np.allclose(
        found["atomic_energies"], arrays[f"{kind}.atomic_energies"], rtol=1e-9, atol=1e-9
    )
    assert np.allclose(found["forces"], arrays[f"{kind}.forces"], rtol=1e-9, atol=1e-9)
    if kind == "periodic":
        # SevenNet's order is xx, yy, zz, xy, yz, zx and its sign the opposite of ASE's
        voigt = found["stress"][0][[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]]
        assert np.allclose(-voigt, arrays["periodic.stress"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["open", "periodic"])
def test_features_after_each_block(model, arrays, kind):
    batch = structure(arrays, kind)
    with torch.no_grad():
        found = model.features(batch, model.kinds(batch))
    names = ["embedding", *(f"block{k}" for k in range(len(model.layers)))]
    for name, value, irreps in zip(names, found, model.irreps, strict=True):
        parts = value.split([2 * degree + 1 for degree, _ in irreps], dim=1)
        flat = torch.cat([part.transpose(1, 2).flatten(1) for part in parts], dim=1)
        assert np.allclose(flat, arrays[f"{kind}.features.{name}"], rtol=1e-9, atol=1e-9), name


PACKAGE_CASES = {
    "lmax3_even_linear": {
        "lmax": 3,
        "parity": False,
        "self_connection": "linear",
        "layers": 3,
        "channels": 4,
    },
    "lmax2_parity_xplor": {
        "cutoff_function": "xplor",
        "cutoff_onset": 3.5,
        "layers": 3,
        "channels": 8,
    },
    "lmax3_parity": {"lmax": 3, "layers": 2, "channels": 16, "radial_hidden": (20, 12)},
    "edge2_node1_species": {
        "lmax_edge": 2,
        "lmax_node": 1,
        "lmax": 2,
        "layers": 3,
        "channels": 4,
        "reference_energies": (-1.0, 0.5, 2.0, 0.25),
    },
    "lmax0": {"lmax": 0, "layers": 2, "channels": 6},
}


@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("case", PACKAGE_CASES)
@pytest.mark.usefixtures("double_precision")
def test_other_settings_against_the_installed_package(case):
    """Random weights of PyPI sevenn, where that package is installed (it is GPL: never a
    dependency)."""
    sevenn = pytest.importorskip("sevenn._const", reason="the peer package sevenn is not installed")
    from sevenn.model_build import build_E3_equivariant_model

    options = NequIPHyperparameters(
        **{
            "species": (1, 6, 7, 8),
            "denominator": 5.5,
            "scale": 1.7,
            "n_radial": 6,
            **PACKAGE_CASES[case],
        }
    )
    function: dict = {"cutoff_function_name": "poly_cut", "poly_cut_p_value": options.cutoff_power}
    if options.cutoff_function == "xplor":
        function = {"cutoff_function_name": "XPLOR", "cutoff_on": options.cutoff_onset}
    config = {
        **sevenn.DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG,
        "cutoff": options.cutoff,
        "channel": options.channels,
        "lmax": options.lmax,
        "lmax_edge": -1 if options.lmax_edge is None else options.lmax_edge,
        "lmax_node": -1 if options.lmax_node is None else options.lmax_node,
        "is_parity": options.parity,
        "num_convolution_layer": options.layers,
        "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": options.n_radial},
        "cutoff_function": function,
        "weight_nn_hidden_neurons": list(options.radial_hidden),
        "conv_denominator": options.denominator,
        "self_connection_type": options.self_connection,
        "_number_of_species": 4,
        "_type_map": {1: 0, 6: 1, 7: 2, 8: 3},
        "shift": list(options.reference_energies or (-0.3,)),
        "scale": options.scale,
    }
    torch.manual_seed(3)
    peer = build_E3_equivariant_model(config).double()
    mine = load_sevennet_state(NequIP(options).double(), peer.state_dict())
    rng = np.random.default_rng(7)
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3), axis=-1).reshape(-1, 3)[:20]
    given = {
        "positions": 1.9 * grid + 0.3 * rng.random((20, 3)),
        "numbers": rng.choice(NUMBERS, 20),
    }
    batch = GraphBatch.from_structures([given], options.cutoff, dtype=torch.float64)
    found = evaluate(mine, batch, forces=True)

    vectors = batch.edge_vectors().detach().requires_grad_(True)
    data = {
        "x": batch.atomic_numbers,
        "atomic_numbers": batch.atomic_numbers,
        "edge_index": batch.edge_index.flip(0),
        "edge_vec": vectors,
        "edge_length": vectors.norm(dim=1),
        "batch": batch.batch,
        "num_atoms": batch.n_atoms,
        "cell_volume": torch.ones(1, dtype=torch.float64),
    }

    def widen(module, arguments, output):  # the package's one-hot code is single precision
        return {k: v.double() if k in ("x", "node_attr") else v for k, v in output.items()}

    peer.onehot_idx_to_onehot.register_forward_hook(widen)
    expected = peer.eval()(data)
    assert np.allclose(
        found["energy"], expected["inferred_total_energy"].detach(), rtol=1e-9, atol=1e-9
    )
    assert np.allclose(found["forces"], expected["inferred_force"].detach(), rtol=1e-9, atol=1e-9)
    assert found["forces"].abs().max() > 1e-3

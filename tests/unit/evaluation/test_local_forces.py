"""Local forces of every registered potential add up to its forces, or are refused."""

import numpy as np
import pytest
import torch

from gnnip.errors import DataError
from gnnip.evaluation.local_forces import local_forces
from gnnip.graphs import GraphBatch
from gnnip.models import build, names

SPECIES = {"species": (6, 14)}
SMALL = {
    "pair": SPECIES,
    "pair_network": SPECIES | {"hidden": (8,)},
    "triplet_network": SPECIES | {"hidden": (8,)},
    "graph_network": SPECIES | {"channels": 4, "cutoff": 4.5, "rounds": 2},
    "zbl": SPECIES | {"cutoff": 3.0},
    "nequip": SPECIES | {"channels": 2, "layers": 2, "lmax": 1, "cutoff": 3.5},
    "spektral": {"features": "invariant", "elements": (6, 14), "channels": 4, "layer": "gcs"},
    "coulomb": SPECIES,
    "constant": {},
    "composition": {},
    "sum": {
        "terms": [
            {"model": "zbl", "hyperparameters": SPECIES},
            {"model": "triplet_network", "hyperparameters": SPECIES},
            {"model": "pair", "hyperparameters": SPECIES | {"cutoff": 4.0}},
        ]
    },
}
ACT_AT_A_DISTANCE = {"coulomb"}


def model_of(name, **changes):
    torch.manual_seed(0)
    model = build(name, **(SMALL[name] | changes)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def crystal(seed=0, periodic=True):
    from ase.build import bulk

    atoms = bulk("SiC", "zincblende", a=4.38, cubic=True)
    atoms.rattle(0.1, seed=seed)
    structure = {"positions": atoms.positions, "numbers": atoms.numbers}
    return structure | ({"cell": atoms.cell.array, "pbc": (True,) * 3} if periodic else {})


def batch_of(model, *structures, dtype=torch.float64):
    return GraphBatch.from_structures(list(structures), model.cutoff, dtype=dtype)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("name", names())
def test_they_add_up_to_the_forces(name, periodic):
    model = model_of(name)
    structures = [crystal(seed, periodic) for seed in (0, 1)]
    if name in ACT_AT_A_DISTANCE:
        with pytest.raises(DataError):
            local_forces(model, batch_of(model, *structures))
        return
    batch = batch_of(model, *structures)
    found = local_forces(model, batch)
    summed = np.zeros_like(found.total)
    np.add.at(summed, found.centre, found.force)
    assert np.abs(summed - found.total).max() < 1e-8
    if name not in ("constant", "composition"):
        assert np.abs(found.total).max() > 1e-3
    # antisymmetric, and the projection is shared by the two directions
    reverse = batch.adjacency.by_source.numpy()
    assert np.abs(found.force + found.force[reverse]).max(initial=0.0) < 1e-12
    assert np.allclose(found.radial, found.directed + found.directed[reverse], atol=1e-12)


def test_single_precision_and_raw_coordinates():
    model = model_of("graph_network").float()
    local_forces(model, batch_of(model, crystal(), dtype=torch.float32))
    raw = model_of("spektral", features="raw")
    with pytest.raises(DataError, match="do not add up"):
        local_forces(raw, batch_of(raw, crystal(periodic=False)))


def test_a_repulsive_pair():
    """Of a pair potential the local force is the derivative of the pair's energy."""
    model = build("zbl", species=(6, 14), cutoff=3.0).double()
    pair = {"positions": np.array([[0, 0, 0], [0.6, 0.8, 0]]), "numbers": np.array([6, 14])}
    found = local_forces(model, batch_of(model, pair))
    step = 1e-5
    energies = [
        float(
            model(batch_of(model, pair | {"positions": pair["positions"] * (1 + side)}))["energy"]
        )
        for side in (step, -step)
    ]
    slope = (energies[0] - energies[1]) / (2 * step)
    assert np.allclose(found.radial, -slope, rtol=1e-6)
    assert (found.radial > 0).all()
    table = found.table()
    assert table.centre.tolist() == ["C", "Si"]
    assert table.neighbour.tolist() == ["Si", "C"]
    assert np.allclose(table.distance_a, 1.0)

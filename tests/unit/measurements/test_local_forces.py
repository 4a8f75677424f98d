"""Local forces of every registered potential add up to its forces, or are refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_trainings import crystals, frames_of, sources, training

from gnnip.errors import DataError
from gnnip.graphs import GraphBatch
from gnnip.measurements.kinds import LocalForces as Options
from gnnip.measurements.local_forces import local_forces, tabulate_local_forces
from gnnip.models import build, load, names

SPECIES = {"species": (6, 14)}
SMALL = {
    "pair": SPECIES,
    "pair_network": SPECIES | {"hidden": (8,)},
    "triplet_network": SPECIES | {"hidden": (8,)},
    "graph_network": SPECIES | {"channels": 4, "cutoff": 4.5, "rounds": 2},
    "zbl": SPECIES | {"cutoff": 3.0},
    "nequip": SPECIES | {"channels": 2, "layers": 2, "lmax": 1, "cutoff": 3.5},
    "spektral": {"features": "invariant", "elements": (6, 14), "channels": 4, "layer": "gcs"},
    "random_features": {
        "features": "invariant",
        "elements": (6, 14),
        "channels": 4,
        "layer": "gcs",
    },
    "torch_geometric": SPECIES | {"cutoff": 3.5, "options": {"hidden_channels": 4}},
    "coulomb": SPECIES,
    "ace": SPECIES | {"cutoff": 4.0, "degree": 4},
    "ace_network": SPECIES | {"cutoff": 4.0, "widths": (4, 4)},
    "jat": SPECIES | {"cutoff": 4.0, "layers": 2, "width": 4},
    "neuralil": SPECIES | {"hidden": (4, 4)},
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


def structure_of(atoms, periodic=True):
    structure = {"positions": atoms.positions, "numbers": atoms.numbers}
    return structure | ({"cell": atoms.cell.array, "pbc": atoms.pbc} if periodic else {})


def batch_of(model, *structures, dtype=torch.float64):
    return GraphBatch.from_structures(list(structures), model.cutoff, dtype=dtype)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("name", names())
def test_they_add_up_to_the_forces(name, periodic):
    model = model_of(name)
    structures = [structure_of(atoms, periodic) for atoms in crystals(2)]
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
    (atoms,) = crystals(1)
    model = model_of("graph_network").float()
    local_forces(model, batch_of(model, structure_of(atoms), dtype=torch.float32))
    raw = model_of("spektral", features="raw")
    with pytest.raises(DataError, match="do not add up"):
        local_forces(raw, batch_of(raw, structure_of(atoms, periodic=False)))


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


# --- the measurement ----------------------------------------------------------------------------


def measured(folder, *models, **options):
    """Measure potentials on four of five crystals; return the table and the sources."""
    trainings = [
        training(folder, model, [1, 2, 3, 4], "a", seed) for seed, model in enumerate(models)
    ]
    found = sources(folder, trainings, frames=frames_of(crystals(5), total=np.zeros(5)))
    return tabulate_local_forces(found, Options(**options)), found


def pairs_of(found, seed, frames):
    """All pairs of the frames, one row each."""
    model, atoms = load(found.trainings[seed].model), crystals(5)
    batches = [batch_of(model, structure_of(atoms[f]), dtype=model.dtype) for f in frames]
    tables = [local_forces(model, batch).table() for batch in batches]
    return pd.concat(tables, ignore_index=True)


def test_bins_hold_all_pairs_of_the_test_frames(tmp_path):
    found, run = measured(tmp_path, model_of("graph_network"), model_of("zbl"), bin_width=0.25)
    assert list(found.columns) == [
        "group", "cell", "seed", "centre", "neighbour", "distance_a", "n_pairs",
        "radial_force_ev_per_a", "radial_force_std_ev_per_a",
        "directed_force_ev_per_a", "directed_force_std_ev_per_a",
    ]  # fmt: skip
    assert set(found["group"]) == {"a"}
    assert set(found["cell"]) == {"all"}
    middles = found["distance_a"] / 0.25 - 0.5
    np.testing.assert_allclose(middles, middles.round(), atol=1e-9)
    for seed in (0, 1):
        pairs = pairs_of(run, seed, [1, 2, 3, 4])
        table = found[found["seed"] == seed]
        assert table["n_pairs"].sum() == len(pairs)
        for (centre, neighbour), own in pairs.groupby(["centre", "neighbour"]):
            part = table[(table["centre"] == centre) & (table["neighbour"] == neighbour)]
            assert part["n_pairs"].sum() == len(own)
            share = part["n_pairs"] / len(own)
            for name in ("radial_force", "directed_force"):
                mean, spread = (part[f"{name}_{unit}"] for unit in ("ev_per_a", "std_ev_per_a"))
                values = own[f"{name}_ev_per_a"]
                scale = float(values.abs().max())
                assert (share * mean).sum() == pytest.approx(values.mean(), abs=1e-6 * scale)
                square = (share * (mean**2 + spread**2)).sum()
                assert square == pytest.approx((values**2).mean(), rel=1e-5)
            near = own[own["distance_a"].between(2.0, 2.25)]
            one = part[np.isclose(part["distance_a"], 2.125)]
            assert one["n_pairs"].sum() == len(near)


def test_frames_are_thinned_out_evenly(tmp_path):
    found, run = measured(tmp_path, model_of("zbl"), max_frames=2)
    assert found["n_pairs"].sum() == len(pairs_of(run, 0, [1, 4]))


def test_what_has_no_local_forces_is_refused(tmp_path):
    with pytest.raises(DataError, match="do not add up to its forces"):
        measured(tmp_path, model_of("spektral", features="raw", channels=16))

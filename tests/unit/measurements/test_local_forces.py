"""Local forces of every registered potential add up to its forces, or are refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.store import load_arrays, write_frames
from gnnip.errors import DataError
from gnnip.graphs import GraphBatch
from gnnip.measurements.local_forces import local_forces, tabulate_local_forces
from gnnip.models import build, names, save

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


# --- the step -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data set of five crystals and three potentials with their predictions, as trainings leave
    them."""
    folder = tmp_path_factory.mktemp("run")
    frames = [crystal(seed) for seed in range(5)]
    n = len(frames[0]["numbers"])
    arrays = FrameArrays(
        positions=np.concatenate([frame["positions"] for frame in frames]),
        numbers=np.concatenate([frame["numbers"] for frame in frames]),
        offsets=np.arange(6) * n,
        energies={"total": np.zeros(5)},
        forces={"total": np.zeros((5 * n, 3))},
        metadata={"temperature_k": np.full(5, 300.0)},
        cells=np.stack([frame["cell"] for frame in frames]),
        pbc=np.ones((5, 3), dtype=bool),
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )
    write_frames(folder / "sic.h5", arrays, attributes={})
    files = {}
    for group, seed, name in (("a", 0, "graph_network"), ("a", 1, "zbl"), ("raw", 0, "spektral")):
        place = folder / group / "all" / f"seed-{seed}"
        place.mkdir(parents=True)
        changes = {"features": "raw", "channels": 16} if group == "raw" else {}
        save(model_of(name, **changes), place / "model")
        subset = ["validation", "test", "test", "test", "test"]
        table = pd.DataFrame({"frame": range(5), "subset": subset})
        table.to_csv(place / "predictions.csv", index=False)
        files[group, seed] = (place / "model.safetensors", place / "predictions.csv")
    return folder / "sic.h5", files


def pairs_of(dataset, model_file, frames):
    """All pairs of the frames, one row each."""
    from gnnip.models import load

    model, arrays = load(model_file), load_arrays(dataset)
    parts = []
    for frame in frames:
        atoms = arrays.atom_slice(frame)
        structure = {
            "positions": arrays.positions[atoms],
            "numbers": arrays.numbers[atoms],
            "cell": arrays.cells[frame],
            "pbc": (True,) * 3,
        }
        parts.append(local_forces(model, batch_of(model, structure, dtype=model.dtype)).table())
    return pd.concat(parts, ignore_index=True)


def test_bins_hold_all_pairs_of_the_test_frames(trained):
    dataset, files = trained
    models, predictions = zip(files["a", 0], files["a", 1], strict=True)
    found = tabulate_local_forces(dataset, models, predictions, bin_width=0.25)
    assert list(found.columns) == [
        "group", "cell", "seed", "centre", "neighbour", "distance_a", "n_pairs",
        "radial_force_ev_per_a", "radial_force_std_ev_per_a",
        "directed_force_ev_per_a", "directed_force_std_ev_per_a",
    ]  # fmt: skip
    assert set(found["group"]) == {"a"}
    assert set(found["cell"]) == {"all"}
    middles = found["distance_a"] / 0.25 - 0.5
    np.testing.assert_allclose(middles, middles.round(), atol=1e-9)
    for seed, model in enumerate(models):
        pairs = pairs_of(dataset, model, [1, 2, 3, 4])
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


def test_frames_are_thinned_out_evenly(trained):
    dataset, files = trained
    model, predictions = files["a", 1]
    found = tabulate_local_forces(dataset, [model], [predictions], max_frames=2)
    assert found["n_pairs"].sum() == len(pairs_of(dataset, model, [1, 4]))


def test_what_has_no_local_forces_or_no_test_frames_is_refused(trained, tmp_path):
    dataset, files = trained
    model, predictions = files["raw", 0]
    with pytest.raises(DataError, match="do not add up to its forces"):
        tabulate_local_forces(dataset, [model], [predictions])
    empty = tmp_path / "predictions.csv"
    table = pd.read_csv(predictions)
    table[table["subset"] == "validation"].to_csv(empty, index=False)
    with pytest.raises(DataError, match="holds no test frames"):
        tabulate_local_forces(dataset, [files["a", 0][0]], [empty])

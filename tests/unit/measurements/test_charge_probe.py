"""The probe on a potential whose answer is known: the exact Coulomb sum."""

import numpy as np
import pandas as pd
import pytest

from gnnip.datasets.assembly import draw_structures
from gnnip.datasets.store import load_arrays
from gnnip.errors import DataError
from gnnip.measurements.charge_probe import hops_between_charges, probe_charges
from gnnip.models import build, save
from kang2024.tables import coulomb_force, differences

PLAN = {"distances": [4, 6, 9], "train_draws": 1, "test_draws": 2, "width": 4.0, "margin": 2.0}
EXACT = {"species": (11, 17, 3, 9), "charges": (1.0, -1.0, 0.5, -0.5), "trainable": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    data = draw_structures("point_charges", PLAN, folder / "charges.h5")
    place = folder / "trainings" / "given_charges" / "all" / "seed-0"
    place.mkdir(parents=True)
    save(build("coulomb", **EXACT).double(), place / "model")
    arrays = load_arrays(data)
    test = np.flatnonzero(arrays.column("purpose") == "test")
    pd.DataFrame({"frame": test, "subset": "test"}).to_csv(place / "predictions.csv", index=False)
    return data, place


def test_the_exact_sum_gives_the_exact_difference(run):
    data, place = run
    probe = probe_charges(data, [place / "model.safetensors"], [place / "predictions.csv"])
    assert set(probe["group"]) == {"given_charges"}
    table = differences(probe)
    assert len(table) == 3 * 2
    ideal = coulomb_force(table["distance_a"])
    assert table["force_difference_ev_per_a"].to_numpy() == pytest.approx(ideal, abs=1e-5)
    assert table["force_difference_reference_ev_per_a"].to_numpy() == pytest.approx(ideal, abs=1e-5)
    # half of the pair's energy belongs to either charge
    half = -0.5 * table["coulomb_energy_ev"]
    assert table["energy_difference_ev"].to_numpy() == pytest.approx(half, abs=1e-5)


def test_hops(run):
    arrays = load_arrays(run[0])
    hops = hops_between_charges(arrays, 5.0)
    first = arrays.column("configuration") == "I"
    distance = arrays.column("distance_a")
    assert np.isnan(hops[~first]).all()
    assert (hops[first & (distance == 4)] == 1).all()
    assert (hops[first & (distance == 6)] == 2).all()
    # at exactly the cutoff there is no edge
    at = hops_between_charges(arrays, 4.0)[first & (distance == 4)]
    assert (at > 1).all()
    assert np.isnan(hops_between_charges(arrays, 0.5)).all()


def test_a_training_without_test_frames_is_refused(run, tmp_path):
    data, place = run
    empty = tmp_path / "predictions.csv"
    pd.DataFrame({"frame": [0], "subset": ["validation"]}).to_csv(empty, index=False)
    with pytest.raises(DataError, match="holds no test frames"):
        probe_charges(data, [place / "model.safetensors"], [empty])
    with pytest.raises(DataError, match="seed-<n>"):
        probe_charges(data, [tmp_path / "model.safetensors"], [empty])

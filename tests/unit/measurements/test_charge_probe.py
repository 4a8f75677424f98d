"""The probe on a potential whose answer is known: the exact Coulomb sum."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_trainings import training

from gnnip.artefacts.force_against_distance import difference
from gnnip.artefacts.laws import exact_column, value_column
from gnnip.datasets.arrays import load_arrays
from gnnip.datasets.assembly import draw_structures
from gnnip.measurements.charge_probe import hops_between_charges, probe_charges
from gnnip.measurements.kinds import ChargeProbe
from gnnip.measurements.sources import Sources
from gnnip.models import build
from kang2024.tables import FORCE

PLAN = {"distances": [4, 6, 9], "train_draws": 1, "test_draws": 2, "width": 4.0, "margin": 2.0}
EXACT = {"species": (11, 17, 3, 9), "charges": (1.0, -1.0, 0.5, -0.5), "trainable": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    data = draw_structures("point_charges", PLAN, folder / "charges.h5")
    test = np.flatnonzero(load_arrays(data).column("purpose") == "test")
    given = training(folder, build("coulomb", **EXACT).double(), test, "given_charges")
    return Sources({"frames": data}, [given])


def test_the_exact_sum_gives_the_exact_difference(run):
    probe = probe_charges(run, ChargeProbe())
    assert set(probe["group"]) == {"given_charges"}
    energy = {"quantity": "energy_difference", "unit": "eV", "exact": "coulomb_energy"}
    for options, share in (
        (FORCE, 1.0),
        (replace(FORCE, value="force_z_reference_ev_per_a"), 1.0),
        # half of the pair's energy belongs to either charge
        (replace(FORCE, value="atomic_energy_ev", **energy), -0.5),
    ):
        table = difference(probe, "charge_probe", options)
        assert len(table) == 3 * 2
        exact = share * table[exact_column(options)]
        assert table[value_column(options)].to_numpy() == pytest.approx(exact, abs=1e-5)


def test_hops(run):
    arrays = run.arrays()
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

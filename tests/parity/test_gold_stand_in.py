"""The stand-in for gold on MgO beside the published frames that it was fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gnnip.datasets import fit_charge_equilibration as fitting
from gnnip.reference import charge_equilibration
from gnnip.sampling import au_mgo


@pytest.fixture(scope="module")
def structures(shared: Path) -> list[fitting.Structure]:
    folder = shared / "data/au_mgo"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return fitting.read_structures(folder)


@pytest.fixture(scope="module")
def found(structures):
    return fitting.predict(charge_equilibration.shipped_parameters(), structures)


def test_the_frames_are_what_they_are_said_to_be(structures):
    kinds = [(s.held, s.doped, s.wetting) for s in structures]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        (False, False, False): 4,
        (False, False, True): 4,
        (False, True, False): 7,
        (False, True, True): 4,
        (True, False, False): 1,
        (True, False, True): 1,
        (True, True, False): 1,
    }


def test_doping_removes_the_cost_of_wetting(structures, found):
    table = fitting.differences(structures, found).set_index("quantity")
    relaxed = table.loc["E(wetting) - E(non-wetting), undoped, relaxed"]
    assert relaxed["published"] == pytest.approx(934.82, abs=0.01)
    assert relaxed["ours"] == pytest.approx(relaxed["published"], abs=20.0)
    doped = table.loc["E(wetting) - E(non-wetting), doped, mean of displaced frames"]
    assert doped["ours"] == pytest.approx(doped["published"], abs=50.0)
    for what in ("non-wetting", "wetting"):
        undoped, charged = (table.loc[f"charge of Au2, {s}, {what}"] for s in ("undoped", "doped"))
        published, ours = (charged[k] - undoped[k] for k in ("published", "ours"))
        assert published < -0.1
        assert ours == pytest.approx(published, abs=0.1)


def test_forces_and_charges_follow_the_published_ones(structures, found):
    table = fitting.errors(structures, found)
    forces = table[table["quantity"] == "force"].set_index("of")
    assert (forces["rmse"] < 0.5 * forces["published"]).all()
    assert (forces["correlation"] > 0.9).all()
    charges = table[table["quantity"] == "charge"].set_index("of")
    assert (charges.loc[["O", "Mg", "Au"], "correlation"] > 0.9).all()


def test_our_crystal_and_dimers_are_the_published_ones(structures):
    for s in structures:
        if not s.held:
            continue
        support, configuration = au_mgo.SUPPORTS[s.doped], au_mgo.CONFIGURATIONS[s.wetting]
        height, length = au_mgo.relaxed(support, configuration)
        gold = s.positions[s.numbers == fitting.GOLD]
        slab = s.positions[s.numbers != fitting.GOLD]
        # theirs hangs below the slab
        assert slab[:, 2].min() - gold[:, 2].max() == pytest.approx(height, abs=0.06)
        assert np.linalg.norm(gold[1] - gold[0]) == pytest.approx(length, abs=0.03)
        ours = au_mgo.slab(support)
        np.testing.assert_allclose(np.diag(s.cell), np.diag(ours.cell), atol=2e-3)
        assert np.ptp(slab[:, 2]) == pytest.approx(np.ptp(ours.positions[:, 2]), abs=1e-3)
        # aluminium in the same layer, counted from the gold
        depth = s.positions[s.numbers == fitting.ALUMINIUM, 2] - slab[:, 2].min()
        our_depth = (
            ours.positions[:, 2].max() - ours.positions[ours.numbers == fitting.ALUMINIUM, 2]
        )
        np.testing.assert_allclose(depth, our_depth, atol=1e-3)

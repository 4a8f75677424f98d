import numpy as np
import pandas as pd
import pytest
from kang2024 import tables as paper
from kang2024_run import make_run, perfect, short_sighted

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.tables import COLUMNS
from gnnip.errors import DataError
from gnnip.units import COULOMB_CONSTANT


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    rules = {"perfect": perfect, "short": short_sighted}
    return {name: make_run(tmp_path_factory.mktemp(name), rule) for name, rule in rules.items()}


@pytest.fixture(scope="module")
def tables(runs):
    """(tidy, metrics) of every artefact of both runs."""
    return {
        run: {
            name: getattr(paper, name)(inputs)
            for name in inputs.card["artefacts"]
            if name != "reference_data"  # has a test of its own
        }
        for run, inputs in runs.items()
    }


def verdict(tables, run, claim):
    return paper.CLAIMS[claim]({name: pair[1] for name, pair in tables[run].items()})


def test_metrics_have_the_agreed_columns(tables):
    for name, (tidy, metrics) in tables["perfect"].items():
        assert tuple(metrics.columns) == COLUMNS
        assert len(metrics), name
        assert len(tidy), name
        assert set(metrics["artefact"]) == {name}
        assert np.isfinite(metrics["value"]).all(), name


def test_every_published_quantity_is_measured_in_its_unit_by_every_seed(runs, tables):
    for block in runs["perfect"].card["published"]:
        metrics = tables["perfect"][block["artefact"]][1]
        for quantity in block["values"]:
            rows = metrics[metrics["quantity"] == quantity]
            assert sorted(rows["seed"]) == [0, 1, 2], quantity
            assert set(rows["unit"]) == {block["unit"]}


def test_published_forces_are_those_of_the_law(runs):
    for block in runs["perfect"].card["published"]:
        if block["artefact"] in ("fig1b", "fig1c"):
            for quantity, value in block["values"].items():
                d = float(quantity.removeprefix("force_difference_d"))
                assert value == pytest.approx(COULOMB_CONSTANT / d**2, abs=6e-5)


def test_a_perfect_potential_fulfils_the_claims_on_forces(tables):
    for claim in ("interpolates", "extrapolates", "sparse_media_fail", "reasonable_model_size"):
        assert verdict(tables, "perfect", claim).holds is True, claim
    share = tables["perfect"]["fig1b"][1]
    share = share[share["quantity"] == "force_difference_share_d9"]["value"]
    assert share.to_numpy() == pytest.approx(1.0, abs=0.05)


def test_a_local_potential_does_not(tables):
    assert verdict(tables, "short", "interpolates").holds is False
    assert (
        "off by more than a tenth at d = 5, 7, 9, 11"
        in verdict(tables, "short", "interpolates").reason
    )
    assert verdict(tables, "short", "extrapolates").holds is False
    assert verdict(tables, "short", "reasonable_model_size").holds is False
    # no force in the full medium either: the thin one shows nothing
    assert verdict(tables, "short", "sparse_media_fail").holds is None


def test_the_unseen_error_is_beside_that_of_no_force(tables):
    metrics = tables["short"]["fig1c"][1]
    row = metrics[metrics["quantity"] == "force_difference_rmse_unseen"].iloc[0]
    assert row["value"] == pytest.approx(row["baseline"], rel=0.05)
    ideal = COULOMB_CONSTANT / np.arange(9.0, 13.0) ** 2
    assert row["baseline"] == pytest.approx(np.sqrt(np.mean(ideal**2)))


def test_atomic_energies(tables):
    assert verdict(tables, "perfect", "atomic_energy_small").holds is True
    assert verdict(tables, "perfect", "atomic_energy_spread_small").holds is True
    assert verdict(tables, "perfect", "models_agree").holds is True
    metrics = tables["perfect"]["fig1d"][1].copy()
    large = metrics["quantity"].str.startswith("energy_difference_share")
    metrics.loc[large, "value"] = -0.8
    result = paper.atomic_energy_small({"fig1d": metrics, "fig1e": tables["perfect"]["fig1e"][1]})
    assert result.holds is False
    metrics.loc[metrics["quantity"].str.match(r"energy_difference_d"), "value"] += 0.5
    assert paper.models_agree({"fig1d": metrics, "fig1e": tables["perfect"]["fig1e"][1]}).holds is (
        False
    )


def test_errors_are_those_of_the_predictions(tables):
    tidy, metrics = tables["perfect"]["toy_errors"]
    ours = metrics[metrics["quantity"] == "interpolation_test_energy_mae"]
    assert ours["value"].to_numpy() == pytest.approx(10.0)  # 0.01 eV a particle
    forces = metrics[metrics["quantity"] == "interpolation_test_force_rmse"]
    assert forces["value"].to_numpy() == pytest.approx(0.02)
    assert (forces["baseline"] > 0.5).all()
    assert set(tidy["source"]) == {"ours", "composition", "published"}


def test_receptive_field_tells_how_far_each_network_feels(runs, tables):
    metrics = tables["short"]["receptive_field"][1]
    felt = metrics[metrics["quantity"] == "layers_2_felt_up_to"]["value"]
    assert felt.max() <= 12.0
    tidy = tables["perfect"]["receptive_field"][0]
    assert sorted(tidy["layers"].unique()) == [1, 2, 3, 4, 5]
    assert (tidy["force_reach_a"] == 10.0 * tidy["layers"]).all()


def test_dilution_counts_paths(tables):
    tidy, metrics = tables["perfect"]["dilution"]
    value = metrics.set_index("quantity")["value"]
    assert value["kept_0_connected"] == 0.0
    assert value["kept_100_connected"] == 1.0
    assert value["kept_0_share_unconnected"] == pytest.approx(0.0, abs=0.05)
    assert tidy.loc[tidy["kept_fraction"] == 0.0, "hops"].dropna().eq(1).all()  # only d < cutoff


def test_configurations_shown(tables):
    tidy, metrics = tables["perfect"]["fig1a"]
    assert set(tidy["configuration"]) == {"I", "II"}
    one, two = (tidy[tidy["configuration"] == c] for c in ("I", "II"))
    assert len(one) == len(two) + 1 == metrics["value"].item()
    assert set(one["charge_e"]) - set(two["charge_e"]) == {-1.0}
    assert set(tidy["distance_a"]) == {8.0}


def test_a_probe_of_half_a_run_is_refused(runs, tmp_path):
    inputs = runs["perfect"]
    probe = pd.read_csv(inputs.root / "steps" / "charge_probe.csv")
    steps = tmp_path / "quick" / "kang2024" / "steps"
    steps.mkdir(parents=True)
    probe[probe["configuration"] == "I"].to_csv(steps / "charge_probe.csv", index=False)
    with pytest.raises(DataError, match="lacks one of the two configurations"):
        paper.fig1b(Inputs(steps.parent, inputs.card, "quick"))
    probe[probe["group"] != "dilution"].to_csv(steps / "charge_probe.csv", index=False)
    with pytest.raises(DataError, match="does not fit the group 'dilution'"):
        paper.dilution(Inputs(steps.parent, inputs.card, "quick"))

import shutil

import numpy as np
import pandas as pd
import pytest

from gijon2023 import tables as paper
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.tables import COLUMNS
from gnnip.errors import DataError
from gnnip.units import HARTREE


@pytest.fixture(scope="module")
def tables(made_up_run):
    """(tidy, metrics) of every artefact of the card."""
    return {
        name: getattr(paper, name)(made_up_run.inputs)
        for name in made_up_run.inputs.card["artefacts"]
    }


@pytest.fixture
def metrics(tables):
    return {name: pair[1] for name, pair in tables.items()}


def table_of(values):
    """Metrics of table 1 from {quantity: value or list over seeds}."""
    rows = [
        {"quantity": q, "variant": "as_described", "value": v, "seed": i}
        for q, many in values.items()
        for i, v in enumerate(np.atleast_1d(many))
    ]
    return pd.DataFrame(rows)


def test_metrics_have_the_agreed_columns(metrics):
    for name, table in metrics.items():
        assert tuple(table.columns) == COLUMNS
        assert len(table), name
        assert set(table["artefact"]) == {name}
        assert np.isfinite(table["value"]).all(), name
        assert set(table["reference"]) == {"exact"}


def test_every_published_quantity_is_measured_in_its_unit(made_up_run, metrics):
    for block in made_up_run.inputs.card["published"]:
        table = metrics[block["artefact"]]
        for quantity in block["values"]:
            rows = table[table["quantity"] == quantity]
            assert len(rows), quantity
            assert set(rows["unit"]) == {block["unit"]}
            assert set(rows["variant"]) == {"as_described"}


def test_every_claim_of_the_card_has_a_test_and_the_other_way_round(made_up_run, metrics):
    assert set(paper.CLAIMS) == set(made_up_run.inputs.card["claims"])
    for name, claim in paper.CLAIMS.items():
        needed = made_up_run.inputs.card["claims"][name]["artefacts"]
        result = claim({artefact: metrics[artefact] for artefact in needed})
        assert result.holds in (True, False, None)
        assert result.reason


def test_table1_errors_are_those_of_the_predictions(made_up_run, tables):
    tidy, metrics = tables["table1"]
    raw = made_up_run.inputs.predictions("table1")
    own = raw[
        (raw["layer"] == "gcs")
        & (raw["target"] == "electronic")
        & (raw["seed"] == 1)
        & (raw["subset"] == "test")
    ]
    error = (own["energy_predicted_ev"] - own["energy_reference_ev"]).abs() / HARTREE
    row = metrics[(metrics["quantity"] == "gcs_electronic_mae") & (metrics["seed"] == 1)]
    assert row["value"].item() == pytest.approx(error.mean())
    ours = tidy[(tidy["source"] == "ours") & (tidy["layer"] == "gcs")]
    assert ours.loc[(ours["target"] == "electronic") & (ours["seed"] == 1), "mae_ha"].item() == (
        pytest.approx(error.mean())
    )
    published = tidy[(tidy["source"] == "published") & (tidy["layer"] == "gat")]
    assert sorted(published["mape_percent"]) == [1.6, 7.6]


def test_baseline_is_the_ensemble_mean_of_the_training_frames(made_up_run, tables):
    frames = made_up_run.inputs.frames().set_index("frame", drop=False)
    train = made_up_run.inputs.training_frames("table1", {"layer": "gat", "target": "atomic"}, 0)
    raw = made_up_run.inputs.predictions("table1")
    test = raw[
        (raw["layer"] == "gat")
        & (raw["target"] == "atomic")
        & (raw["seed"] == 0)
        & (raw["subset"] == "test")
    ]
    means = frames.loc[train].groupby(["n_molecules", "temperature_k"])["energy_atomic_ev"].mean()
    known = pd.MultiIndex.from_frame(test[["n_molecules", "temperature_k"]])
    guess = means.reindex(known).to_numpy()
    inside = np.isfinite(guess)
    assert inside.mean() > 0.9
    error = np.abs(guess - test["energy_reference_ev"].to_numpy())[inside]
    tidy = tables["fig2"][0]
    rows = tidy[(tidy["target"] == "atomic") & (tidy["seed"] == 0)]
    ours = np.abs(rows["ensemble_mean_ha"] - rows["true_ha"]).to_numpy()[inside] * HARTREE
    np.testing.assert_allclose(ours, error, rtol=1e-8)


def test_held_out_sizes_fall_back_to_the_line_in_n(tables):
    tidy = tables["splits"][0]
    rows = tidy[tidy["split"] == "size"].pivot_table(
        index=["layer", "target", "seed"], columns="predictor", values="mae_ha"
    )
    np.testing.assert_allclose(rows["ensemble_mean"], rows["n_linear"])
    random = tidy[(tidy["split"] == "random") & (tidy["target"] == "atomic")]
    mean = random.groupby("predictor")["mae_ha"].mean()
    assert mean["ensemble_mean"] < mean["n_linear"] < mean["constant"]


def test_training_frames_in_the_test_set_are_refused(made_up_run, tmp_path):
    root = tmp_path / "paper" / "gijon2023"
    shutil.copytree(made_up_run.inputs.root.parent, tmp_path / "paper")
    file = root / "trainings/table1/layer-gat_target-atomic/seed-0/predictions.csv"
    table = pd.read_csv(file)
    train = made_up_run.inputs.training_frames("table1", {"layer": "gat", "target": "atomic"}, 0)
    table.loc[table.index[-1], "frame"] = train[0]
    table.to_csv(file, index=False)
    with pytest.raises(DataError, match="tests on 1 training frames"):
        paper.table1(Inputs(root, made_up_run.inputs.card, "paper"))


def test_predictions_without_test_frames_are_refused():
    table = pd.DataFrame({"subset": ["validation"], "energy_reference_ev": [1.0]})
    with pytest.raises(DataError, match="no test frames"):
        paper._frames(table)


def test_mean_neighbours_of_known_structures():
    class Chain:
        positions = np.array([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0], [9.0, 0, 0], [10.0, 0, 0]])
        offsets = np.array([0, 3, 5])

    # 1.1 Å is 2.079 Bohr: in the chain of three 4 directed pairs, in the pair 2, over 5 atoms
    assert paper.mean_neighbours(Chain(), [2.079, 0.1]) == {2.079: 6 / 5, 0.1: 0.0}


def test_fig3_fits_what_was_put_in(tables):
    tidy, metrics = tables["fig3"]
    value = metrics.set_index("quantity")["value"]
    assert value["numerical_exponent"] == pytest.approx(1.7, abs=0.05)
    assert value["numerical_exponent_low"] < 1.7 < value["numerical_exponent_high"]
    assert value["gnn_batched_exponent"] == pytest.approx(1.0, abs=0.05)
    per_size = tidy.groupby(["method", "n_molecules"])["seconds"].median()
    ratio = per_size["solver"] / per_size["network"]
    assert value["speed_ratio"] == pytest.approx(np.exp(np.log(ratio).mean()))
    assert value["gnn_time"] == pytest.approx(1e3 * np.exp(np.log(per_size["network"]).mean()))


def test_plateau_of_known_curves():
    epochs = pd.Series(np.arange(1, 151))
    flat = pd.Series(np.where(epochs < 60, 5.0, 1.0))
    epoch, gain, length = paper._plateau(epochs, flat)
    assert 60 <= epoch <= 66  # the smoothing may delay it
    assert gain == 0.0
    assert length == 150
    falling = pd.Series(2.0 ** (-epochs / 25.0))
    epoch, gain, _ = paper._plateau(epochs, falling)
    assert epoch > 140
    assert gain == pytest.approx(75.0, abs=2.0)


def test_forces_of_the_artefact_are_those_of_the_audit(made_up_run, tables):
    tidy, metrics = tables["forces"]
    value = metrics.groupby("quantity")["value"].mean()
    assert value["nequip_force_rmse"] == pytest.approx(0.06, rel=0.05)
    assert value["pair_force_rmse_oxygen"] == pytest.approx(0.3, rel=0.05)
    assert value["electron_force_rms"] == pytest.approx(0.1, rel=0.05)
    # 1 - (0.06 / 0.1)^2, and for the electron alone 1 - (0.03 / 0.1)^2
    assert value["nequip_electron_resolved"] == pytest.approx(0.64, abs=0.03)
    assert value["nequip_electronic_electron_resolved"] == pytest.approx(0.91, abs=0.02)
    assert value["pair_electron_resolved"] < 0
    beside = metrics[metrics["quantity"] == "nequip_electron_resolved"]
    assert beside["baseline"].tolist() == pytest.approx([0.0] * len(beside), abs=1e-9)
    # who has no forces errs by all of them
    still = tidy[(tidy["predictor"] == "composition") & (tidy["name"] == "all")]
    assert (still["force_r2"] == 0).all()
    assert set(tidy["predictor"]) == {
        *("nequip", "pair", "exact_water", "composition", "ensemble_mean")
    }


def test_energy_baselines_of_the_forces_know_no_geometry(made_up_run, tables):
    tidy, _ = tables["forces"]
    whole = tidy[(tidy["record"] == "error") & (tidy["name"] == "all")]
    total = whole[whole["target"] == "total"].groupby("predictor")["energy_rmse_mev_per_atom"]
    assert total.mean()["nequip"] < total.mean()["ensemble_mean"] < total.mean()["composition"]
    frames = made_up_run.inputs.frames().set_index("frame")
    rows = made_up_run.inputs.predictions("forces")
    own = rows[(rows["subset"] == "test") & (rows["seed"] == 0)].set_index("frame")
    energy = frames.loc[own.index, ["energy_atomic_ev", "energy_electronic_ev"]].sum(axis=1)
    np.testing.assert_allclose(energy, own["energy_reference_ev"])


def test_dynamics_are_held_against_the_reference_and_its_noise(tables):
    tidy, metrics = tables["anion_md"]
    assert set(tidy["potential"]) == {"reference", "nequip", "pair", "noise_floor"}
    rows = metrics.set_index("quantity")
    assert rows.loc["nequip_survival", "value"] == rows.loc["nequip_survival", "baseline"] == 100
    assert rows.loc["pair_survival", "value"] == 0
    assert rows.loc["nequip_temperature", "value"] == pytest.approx(101.5)
    assert rows.loc["nequip_energy_drift", "value"] == pytest.approx(0.1)
    for quantity in ("rdf_oo_error", "rdf_oh_error", "profile_o_error", "vdos_error"):
        assert rows.loc[f"nequip_{quantity}", "value"] == 6
        assert rows.loc[f"nequip_{quantity}", "baseline"] == 5
        assert f"pair_{quantity}" not in rows.index  # no frame of it is late enough
    # a step of the reference takes half of one of the network, which a batch makes up for
    assert rows.loc["nequip_speed_ratio", "value"] == pytest.approx(0.5)
    assert rows.loc["nequip_batched_speed_ratio", "value"] == pytest.approx(1.0)
    assert rows.loc["nequip_force_rmse_on_path", "value"] == pytest.approx(0.05)
    assert rows.loc["nequip_electronic_energy_shift", "value"] == pytest.approx(0.12)
    assert rows.loc["nequip_electronic_energy_shift", "baseline"] == pytest.approx(0.10)


# --- claims on hand-made tables -------------------------------------------------------------------


@pytest.fixture
def published(made_up_run):
    """The paper's own table as metrics: the claims must hold on it."""
    values = {}
    for block in made_up_run.inputs.card["published"]:
        if block["artefact"] == "table1":
            values |= block["values"]
    return values


@pytest.mark.parametrize("claim", ["gat_best", "only_gat_and_gcs_acceptable", "atomic_easier"])
def test_claims_hold_on_the_published_table(published, claim):
    assert paper.CLAIMS[claim]({"table1": table_of(published)}).holds is True


def test_gat_best_fails_when_another_layer_wins_one_term(published):
    result = paper.gat_best({"table1": table_of(published | {"gcs_electronic_mae": 0.004})})
    assert result.holds is False
    assert "gcs on the electronic term" in result.reason


def test_gat_best_says_when_the_lead_is_within_the_spread(published):
    close = {"gat_electronic_mae": [0.004, 0.006], "gcs_electronic_mae": [0.005, 0.0055]}
    result = paper.gat_best({"table1": table_of(published | close)})
    assert result.holds is True
    assert "gcs (electronic) lies within" in result.reason


def test_acceptable_fails_when_a_third_layer_qualifies(published):
    values = published | {"general_electronic_mape": 14.0}
    result = paper.only_gat_and_gcs_acceptable({"table1": table_of(values)})
    assert result.holds is False
    assert result.measured == "acceptable: gat, gcs, general"


def test_claims_of_table1_are_undecided_without_all_layers(published):
    some = {q: v for q, v in published.items() if not q.startswith("ecc")}
    assert paper.gat_best({"table1": table_of(some)}).holds is None
    assert paper.only_gat_and_gcs_acceptable({"table1": table_of(some)}).holds is None


def scan(errors):
    return {
        f"cutoff_{c}_{t}_mae": [0.99 * e, e, 1.01 * e]
        for t in ("atomic", "electronic")
        for c, e in errors.items()
    }


@pytest.mark.parametrize(
    ("errors", "holds", "words"),
    [
        ({4: 3.0, 5: 2.0, 6: 1.0, 7: 1.0, 8: 0.97}, True, "smaller one is worse"),
        ({4: 3.0, 5: 1.0, 6: 1.0, 7: 1.0, 8: 1.0}, False, "already at 5 Bohr"),
        ({4: 3.0, 5: 2.0, 6: 1.0, 7: 0.7, 8: 0.7}, False, "cutoff of 7 Bohr"),
        ({4: 3.0, 6: 1.0}, None, "larger cutoff"),
    ],
)
def test_cutoff_claim(errors, holds, words):
    result = paper.cutoff_6_suffices({"cutoff_scan": table_of(scan(errors))})
    assert result.holds is holds
    assert words in result.reason


def test_cutoff_claim_ignores_gains_within_the_noise():
    noisy = scan({4: 3.0, 5: 2.0, 6: 1.0, 7: 1.0})
    noisy["cutoff_7_atomic_mae"] = [0.4, 1.2, 0.8]  # 20 % lower on average, but by chance
    assert paper.cutoff_6_suffices({"cutoff_scan": table_of(noisy)}).holds is True


def test_depth_claim():
    base = {"conv_2_dense_2_atomic_mae": [1.0, 1.01], "conv_3_dense_2_atomic_mae": [0.95, 0.96]}
    assert paper.two_and_two_layers_suffice({"depth_scan": table_of(base)}).holds is True
    better = base | {"conv_3_dense_3_atomic_mae": [0.5, 0.51]}
    result = paper.two_and_two_layers_suffice({"depth_scan": table_of(better)})
    assert result.holds is False
    assert "3 + 3 (atomic)" in result.measured
    alone = {"conv_2_dense_2_atomic_mae": 1.0, "conv_1_dense_2_atomic_mae": 2.0}
    assert paper.two_and_two_layers_suffice({"depth_scan": table_of(alone)}).holds is None


def test_convergence_claim():
    def run(epochs, gain, epoch):
        values = {
            "gat_atomic_epochs": epochs,
            "gat_atomic_late_gain": gain,
            "gat_atomic_converged_epoch": epoch,
        }
        return paper.converges_in_100_to_150_epochs({"convergence": table_of(values)}).holds

    assert run(150, 3.0, 90) is True
    assert run(150, 30.0, 140) is False
    assert run(30, 1.0, 20) is None
    assert run(400, 1.0, 120) is True
    assert run(400, 1.0, 300) is False


def test_exponent_and_speed_claims():
    def fig3(**values):
        return {"fig3": table_of(values)}

    good = {"numerical_exponent": 1.9, "numerical_exponent_low": 1.8, "numerical_exponent_high": 2}
    assert paper.numerical_quadratic(fig3(**good)).holds is True
    assert paper.numerical_quadratic(fig3(**(good | {"numerical_exponent": 1.5}))).holds is False
    wide = good | {"numerical_exponent_low": 0.5, "numerical_exponent_high": 3.0}
    assert paper.numerical_quadratic(fig3(**wide)).holds is None
    assert paper.numerical_quadratic(fig3(gnn_exponent=1.0)).holds is None
    linear = {"gnn_exponent": 0.4, "gnn_exponent_low": 0.3, "gnn_exponent_high": 0.5}
    result = paper.gnn_linear(fig3(**linear, gnn_batched_exponent=1.02))
    assert result.holds is False
    assert "1.02" in result.reason
    assert paper.gnn_thousand_times_faster(fig3(speed_ratio=400.0)).holds is True
    assert paper.gnn_thousand_times_faster(fig3(speed_ratio=60.0)).holds is False
    assert paper.gnn_thousand_times_faster(fig3(gnn_time=1.0)).holds is None

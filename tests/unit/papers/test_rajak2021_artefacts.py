import numpy as np
import pandas as pd
import pytest
from gnnip.config.cards import ResolvedCard
from rajak2021_run import AS_TOLD, OPPOSITE, REPLICAS, UNDECIDED, inputs_of, make_run

from gnnip.artefacts.potential_errors import error_metrics, potential_errors
from gnnip.artefacts.tables import COLUMNS
from gnnip.verdicts import judge as verdicts
from rajak2021 import tables as paper

ERRORS = ("sic_errors", "table1", "ablation")
RULES = {"as_told": AS_TOLD, "opposite": OPPOSITE, "undecided": UNDECIDED}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {name: make_run(tmp_path_factory.mktemp(name), rule) for name, rule in RULES.items()}


@pytest.fixture(scope="module")
def tables(runs):
    """(tidy, metrics) of every artefact of every run; of some the claims alone are asked."""
    wanted = {
        run: {n for claim in inputs.card["claims"].values() for n in claim["artefacts"]}
        for run, inputs in runs.items()
    }
    # data sets have a test of their own
    wanted["as_told"] = set(runs["as_told"].card["artefacts"]) - {"reference_data"}
    return {
        run: {name: getattr(paper, name)(inputs_of(runs[run], name)) for name in sorted(names)}
        for run, names in wanted.items()
    }


def metrics_of(tables, run):
    return {name: pair[1] for name, pair in tables[run].items()}


def values(metrics):
    """Mean over seeds by quantity."""
    return metrics.groupby("quantity")["value"].mean()


# --- tables ---------------------------------------------------------------------------------------


def test_metrics_have_the_agreed_columns(tables):
    for name, (tidy, metrics) in tables["as_told"].items():
        assert tuple(metrics.columns) == COLUMNS
        assert len(metrics), name
        assert len(tidy), name
        assert set(metrics["artefact"]) == {name}
        assert set(metrics["reference"]) == {"xtb"}
        assert set(metrics["variant"]) <= {"as_described", "corrected", "by_trajectory"}
        assert np.isfinite(metrics["value"]).all(), name
        keys = metrics[["quantity", "variant", "seed"]]
        assert not keys.duplicated().any(), name


def test_every_published_quantity_is_measured_in_its_unit_by_every_seed(runs, tables):
    for block in runs["as_told"].card["published"]:
        metrics = tables["as_told"][block["artefact"]][1]
        for quantity in block["values"]:
            rows = metrics[metrics["quantity"] == quantity]
            # GeSe2 is divided in two ways, SiC by trajectory alone
            also = ["by_trajectory"] if block["artefact"] == "table1" else []
            assert sorted(set(rows["variant"])) == ["as_described", *also]
            for _, own in rows.groupby("variant"):
                assert sorted(own["seed"]) == [0, 1, 2], quantity
            assert set(rows["unit"]) == {block["unit"]}
            assert np.isfinite(rows["baseline"]).all()


def test_verdicts_find_all_of_them(runs, tables):
    card = ResolvedCard.model_validate(runs["as_told"].card)
    found = verdicts.judge(card, metrics_of(tables, "as_told"))
    assert not [v.quantity for v in found if v.verdict == verdicts.NOT_RUN]
    numbers = [v for v in found if v.unit != "claim"]
    assert {v.verdict for v in numbers} == {verdicts.NOT_COMPARABLE}
    assert all("xTB" in v.reason for v in numbers)


def test_errors_are_those_of_the_predictions_and_of_the_summaries(tables):
    for name in ("sic_errors", "table1"):
        value = values(tables["as_told"][name][1])
        assert value["gnn_test_energy_rmse"] == pytest.approx(4.0)
        assert value["gnn_test_energy_mae"] == pytest.approx(4.0)
        assert value["gnn_test_force_rmse"] == pytest.approx(0.4)
        # predictions of training frames are not kept
        assert value["gnn_train_energy_rmse"] == pytest.approx(3.2)
        assert value["gnn_train_force_rmse"] == pytest.approx(0.32)
        assert "gnn_train_energy_mae" not in value
    assert value["decomposed_validation_energy_rmse"] == pytest.approx(2.0)


def test_tidy_errors_hold_ours_the_published_and_the_trivial(tables):
    for name in ERRORS:
        tidy, _ = tables["as_told"][name]
        sources = {"ours", "composition", "ensemble_mean"}
        assert set(tidy["source"]) == sources | (set() if name == "ablation" else {"published"})
        assert set(tidy["subset"]) == {"train", "validation", "test"}
        ours = tidy[tidy["source"] == "ours"]
        splits = {
            (m, arm): sorted(set(part["split"]))
            for (m, arm), part in ours.groupby(["material", "arm"])
        }
        both = ("nn2", "nn3", "gnn", "decomposed")
        for (material, arm), found in splits.items():
            random = ["random"] if material == "gese2" else []
            by_trajectory = ["trajectory"] if material == "sic" or arm in both else []
            assert found == random + by_trajectory, (material, arm)
        assert (ours["n_parameters"] == 1000).all()
        one = ours[(ours["seed"] == 0) & (ours["arm"] == "gnn")]
        counts = one.drop_duplicates(["material", "subset"])
        assert counts.groupby("material")["n_frames"].sum().isin([340, 336]).all()
    published = tables["as_told"]["table1"][0].query("source == 'published'")
    known = published.set_index(["arm", "subset"])["energy_rmse_mev_per_atom"].dropna()
    assert known["decomposed", "train"] == 1.06
    assert len(published) == 8


def test_the_ablation_tells_arms_and_materials_apart(runs, tables):
    tidy, metrics = tables["as_told"]["ablation"]
    assert set(tidy["arm"]) == set(paper.ARMS)
    assert set(tidy["material"]) == set(paper.MATERIALS)
    value = values(metrics)
    for group in runs["as_told"].card["trainings"]:
        assert f"{group}_test_energy_rmse" in value
    corrected = metrics.loc[metrics["variant"] == "corrected", "quantity"]
    assert all("_smooth_" in q or "_nequip_" in q for q in corrected)
    assert len(corrected)


# --- the baseline ---------------------------------------------------------------------------------


def test_the_mean_of_the_ensemble_is_that_of_the_training_frames(runs):
    inputs = runs["as_told"]
    found = potential_errors(inputs, "sic_gnn", "total", paper.ENSEMBLE, train=True)
    arrays = inputs.arrays("sic")
    train = inputs.training_frames("sic_gnn", {}, 0)
    energy = arrays.energy("total") * 1000.0 / arrays.n_atoms
    kinds = [tuple(pair) for pair in zip(*map(arrays.column, paper.ENSEMBLE), strict=True)]
    means = {kind: np.mean([energy[i] for i in train if kinds[i] == kind]) for kind in set(kinds)}
    predictions = pd.read_csv(next(inputs.cells("sic_gnn"))[2] / "predictions.csv")
    test = predictions.loc[predictions["subset"] == "test", "frame"]
    mean = found[(found["source"] == "ensemble_mean") & (found["seed"] == 0)]
    mean = mean.set_index("subset")
    for subset, frames in (("test", test), ("train", train)):
        off = [energy[i] - means[kinds[i]] for i in frames]
        assert mean.loc[subset, "energy_rmse_mev_per_atom"] == pytest.approx(
            np.sqrt(np.mean(np.square(off)))
        )
        atoms = np.concatenate([arrays.force("total")[arrays.atom_slice(i)] for i in frames])
        rms = np.sqrt(np.mean(np.square(atoms)))
        assert mean.loc[subset, "force_rmse_ev_per_a"] == pytest.approx(rms)
        assert mean.loc[subset, "force_r2"] == pytest.approx(0.0)
    # knowing the temperature is worth something, and zero of the training set itself is lost
    one = found[(found["source"] == "composition") & (found["seed"] == 0)].set_index("subset")
    assert (
        mean.loc["test", "energy_rmse_mev_per_atom"] < one.loc["test", "energy_rmse_mev_per_atom"]
    )


def test_an_ensemble_that_was_not_trained_on_has_the_mean_of_all(runs):
    """The only crystal of GeSe2 is one trajectory: where it is tested, nobody has seen one."""
    inputs = runs["as_told"]
    arrays = inputs.arrays("gese2")
    phase = arrays.column("phase")
    seed = next(
        s for s in range(3) if "crystal" not in phase[inputs.training_frames("gese2_gnn", {}, s)]
    )
    train = inputs.training_frames("gese2_gnn", {}, seed)
    from gnnip.artefacts.potential_errors import _of_ensemble

    frames = arrays.subset(np.flatnonzero(phase == "crystal"))
    found = _of_ensemble(arrays.subset(train), frames, "total", paper.ENSEMBLE)
    energy = arrays.energy("total") * 1000.0 / arrays.n_atoms
    assert found == pytest.approx(energy[train].mean())


def test_metrics_stand_beside_the_baseline_that_is_asked_for(runs):
    inputs = runs["as_told"]
    plain = potential_errors(inputs, "sic_gnn", "total")
    assert set(plain["source"]) == {"ours", "composition"}
    assert set(plain["subset"]) == {"validation", "test"}
    table = potential_errors(inputs, "sic_gnn", "total", paper.ENSEMBLE)
    for baseline in ("composition", "ensemble_mean"):
        rows = pd.DataFrame(error_metrics(inputs, "x", "gnn", table, baseline=baseline))
        row = rows[(rows["quantity"] == "gnn_test_energy_rmse") & (rows["seed"] == 1)]
        own = table[(table["source"] == baseline) & (table["subset"] == "test")]
        own = own.loc[own["seed"] == 1, "energy_rmse_mev_per_atom"]
        assert row["baseline"].item() == own.item()


# --- local forces ---------------------------------------------------------------------------------


def test_local_forces_tell_where_they_are_lowest(tables):
    tidy, metrics = tables["as_told"]["fig2a"]
    value = values(metrics)
    assert value["gnn_SiC_lowest_force_at"] == pytest.approx(2.0, abs=0.15)
    assert value["gnn_SiC_lowest_force"] == pytest.approx(-3.2, abs=0.2)
    assert value["gnn_SiC_lowest_force_inside"] == 1
    # the bin with too few pairs, far below all others, is left out
    assert tidy["directed_force_ev_per_a"].min() == -50.0
    assert metrics["value"].min() > -5.0
    assert set(tidy["arm"]) == {"gnn", "decomposed", "smooth"}
    corrected = metrics.loc[metrics["variant"] == "corrected", "quantity"]
    own = metrics.loc[metrics["quantity"].str.startswith("smooth_"), "quantity"]
    assert list(corrected) == list(own)
    assert len(own)


def test_local_forces_in_ranges_of_the_distance(tables):
    value = values(tables["as_told"]["fig3a"][1])
    assert value["gnn_SeSe_force_below_2"] == pytest.approx(0.8)
    assert value["gnn_SeSe_force_2_to_3"] == pytest.approx(-0.5)
    assert 0.1 < value["gnn_SeSe_force_3_to_4"] < 0.3
    assert "gnn_SeSe_force_below_2" not in values(tables["undecided"]["fig3a"][1])


# --- dynamics -------------------------------------------------------------------------------------


def test_failures_are_counted_and_timed(tables):
    value = values(tables["as_told"]["fig3c"][1])
    assert value["gnn_replicas"] == REPLICAS
    assert value["gnn_failed"] == REPLICAS - 2
    assert value["gnn_first_failure"] == value["gnn_shortest_run"] == 800.0
    assert value["gnn_median_failure"] == 800.0 + 300.0 * 2.5
    assert value["gnn_longest_run"] == 15000.0
    assert value["gnn_failed_by_SeSe"] == 1.0
    assert value["decomposed_failed"] == 0
    assert not any(q.startswith("decomposed_failed_by") for q in value.index)
    assert "decomposed_first_failure" not in value
    assert "reference_replicas" not in value


def test_tidy_dynamics_hold_what_is_drawn_and_no_more(tables):
    records = {
        "fig2b": {"run", "series", "frame"},
        "fig3b": {"run", "series", "frame", "autopsy"},
        "fig3c": {"run", "frame", "autopsy", "closest"},
        "stability": {"run", "survival", "autopsy"},
        "structure": {"rdf", "adf", "vdos", "rdf_error", "adf_error"},
    }
    for name, wanted in records.items():
        tidy = tables["as_told"][name][0]
        assert set(tidy["record"]) == wanted, name
        assert set(tidy["potential"]) <= {*paper.ARMS, "reference", "noise_floor", "dataset"}
    series = tables["as_told"]["fig3b"][0].query("record == 'series'")
    assert set(series["name"]) == {"potential_energy_ev"}


def test_both_materials_are_told_apart(tables):
    value = values(tables["as_told"]["stability"][1])
    assert value["sic_gnn_failed"] == 0
    assert value["gese2_gnn_failed"] == REPLICAS - 2
    for name in ("stability", "structure", "conservation"):
        assert set(tables["as_told"][name][0]["material"]) == set(paper.MATERIALS)


def test_structure_stands_beside_the_noise_floor(tables):
    metrics = tables["as_told"]["structure"][1].set_index("quantity")
    assert metrics.loc["sic_gnn_rdf_SiC_error", "value"] == 2.0
    assert metrics.loc["gese2_nequip_adf_SeGeSe_error", "value"] == 7.0
    assert set(metrics["baseline"]) == {1.5}
    assert set(metrics["unit"]) == {"%"}


def test_orders_and_drifts(tables):
    value = values(tables["as_told"]["conservation"][1])
    assert value["sic_smooth_exponent"] == 2.0
    assert value["gese2_gnn_exponent"] == 1.0
    # their signs do not cancel
    assert value["sic_gnn_drift"] == pytest.approx(0.01 * 0.25)
    assert value["gese2_gnn_drift"] == pytest.approx(0.01 * 0.5)


# --- claims ---------------------------------------------------------------------------------------


def test_every_claim_of_the_card_has_a_test_and_the_other_way_round(runs):
    assert set(paper.CLAIMS) == set(runs["as_told"].card["claims"])


@pytest.mark.parametrize("claim", sorted(paper.CLAIMS))
def test_claims_hold_do_not_hold_or_cannot_be_decided(tables, claim):
    for run, expected in (("as_told", True), ("opposite", False)):
        result = paper.CLAIMS[claim](metrics_of(tables, run))
        assert result.holds is expected, result
        assert result.measured
        assert result.reason


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("unlike_attract", "the graph network of SiC was not run"),
        ("like_repel", "the graph network of SiC was not run"),
        ("se_se_attracts", "no pairs below 2 Å apart"),
        ("sic_stable", "no dynamics of the arm 'gnn' were run"),
        ("decomposition_stable", "the runs are shorter than 15 ps"),
        ("gnn_collapses", "the runs are shorter than 5 ps"),
    ],
)
def test_what_cannot_be_decided_says_why(tables, claim, reason):
    result = paper.CLAIMS[claim](metrics_of(tables, "undecided"))
    assert result.holds is None
    assert reason in result.reason


def test_what_was_not_run_is_not_decided(tables):
    metrics = {
        name: table[~table["quantity"].str.startswith(("gnn_", "decomposed_"))]
        for name, table in metrics_of(tables, "as_told").items()
    }
    for name, claim in paper.CLAIMS.items():
        result = claim(metrics)
        assert result.holds is None, name
        assert "not " in result.reason or "no dynamics" in result.reason
    trained = metrics_of(tables, "as_told")["table1"]
    one = {"table1": trained[trained["quantity"].str.startswith("gnn_")]}
    assert paper.decomposition_lowers_errors(one).holds is None


def changed(tables, artefact, **quantities):
    """Metrics of the run as told with other values."""
    table = tables["as_told"][artefact][1].copy()
    for quantity, value in quantities.items():
        known = table["quantity"] == quantity
        assert known.any(), quantity
        table.loc[known, "value"] = value
    return {artefact: table}


def test_one_of_several_conditions_is_not_enough(tables):
    def holds(claim, artefact, **quantities):
        return paper.CLAIMS[claim](changed(tables, artefact, **quantities))

    assert holds("unlike_attract", "fig2a", gnn_CSi_lowest_force_at=2.25).holds is True
    assert holds("unlike_attract", "fig2a", gnn_CSi_lowest_force_at=2.35).holds is False
    assert holds("unlike_attract", "fig2a", gnn_SiC_lowest_force=-0.01).holds is False
    at_the_end = holds("unlike_attract", "fig2a", gnn_CSi_lowest_force_inside=0)
    assert at_the_end.holds is False
    assert at_the_end.measured.endswith("at the end of the distances that occur")
    # what is small beside the largest of the local forces is no attraction
    assert holds("like_repel", "fig2a", gnn_CC_lowest_force=-0.05).holds is True
    assert holds("like_repel", "fig2a", gnn_CC_lowest_force=-0.5).holds is False
    wrong = holds("se_se_attracts", "fig3a", gnn_SeSe_force_3_to_4=-0.1)
    assert wrong.holds is False
    assert "3 to 4" in wrong.reason
    late = holds("gnn_collapses", "fig3c", gnn_median_failure=6000.0)
    assert late.holds is False
    assert "later than 5 ps" in late.reason
    other = holds("gnn_collapses", "fig3c", gnn_failed_by_SeSe=0.4)
    assert other.holds is False
    assert "other pairs" in other.reason
    few = holds("gnn_collapses", "fig3c", gnn_failed=REPLICAS / 2)
    assert few.holds is False
    assert "no more than half" in few.reason
    worse = {"decomposed_train_force_rmse": 0.5}
    assert holds("decomposition_lowers_errors", "table1", **worse).holds is False

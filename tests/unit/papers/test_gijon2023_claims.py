"""Claims of gijon2023 on the paper's numbers, on numbers where they fail, and on too few."""

import pytest
from made_up_run import metrics_of

from gnnip.verdicts.judge import judge

TARGETS = ("atomic", "electronic")


def about(claim, run, values):
    (artefact,) = run.card.claims[claim].artefacts
    result = run.tests[claim]({artefact: metrics_of(values)})
    if result.margin is not None:  # how far from the threshold, and on which side
        assert result.holds is (result.margin >= 0.0)
    return result


def test_every_claim_of_the_card_has_a_test_that_reads_its_metrics(made_up_run):
    assert set(made_up_run.tests) == set(made_up_run.card.claims)
    holds = {name: made_up_run.claim(name).holds for name in made_up_run.tests}
    # the made-up errors are those of the paper, the made-up times are not
    failing = {"gnn_thousand_times_faster", "gnn_linear"}
    assert {name for name, result in holds.items() if result is not True} == failing


def test_the_made_up_run_gives_a_row_for_every_number_and_claim(made_up_run):
    paper = made_up_run.card
    names = ("table1", "fig3", "cutoff_scan", "depth_scan", "convergence")
    metrics = {name: made_up_run.table(name)[1] for name in names}
    rows = judge(paper, metrics, made_up_run.tests)
    judged = {(row.artefact, row.quantity) for row in rows if row.verdict != "not run"}
    wanted = {(block.artefact, name) for block in paper.published for name in block.values}
    wanted |= {(claim.artefacts[0], name) for name, claim in paper.claims.items()}
    assert wanted <= judged, wanted - judged
    numbers = [row for row in rows if row.artefact == "table1" and row.unit != "claim"]
    assert len(numbers) == 36
    assert all(row.n_seeds == 3 and row.baseline is not None for row in numbers)


@pytest.mark.parametrize(
    ("claim", "changed", "holds", "words"),
    [
        ("gat_best", {}, True, "gat has the lowest mean MAE on both terms"),
        ("gat_best", {"gcs_electronic_mae": 0.004}, False, "gcs on the electronic term"),
        # the lead is within the spread over seeds
        (
            "gat_best",
            {"gat_electronic_mae": [0.004, 0.006], "gcs_electronic_mae": [0.005, 0.0055]},
            True,
            "gcs (electronic) lies within",
        ),
        ("gat_best", {"ecc_atomic_mae": None}, None, "not all six layers"),
        ("only_gat_and_gcs_acceptable", {}, True, "acceptable: gat, gcs;"),
        (
            "only_gat_and_gcs_acceptable",
            {"general_electronic_mape": 14.0},
            False,
            "acceptable: gat, gcs, general;",
        ),
        ("only_gat_and_gcs_acceptable", {"ecc_atomic_mape": None}, None, "not all six layers"),
        ("atomic_easier", {}, True, "6 of 6 layers"),
        ("atomic_easier", {"gat_atomic_mape": 9.0}, False, "5 of 6 layers"),
    ],
)
def test_claims_of_table1(made_up_run, claim, changed, holds, words):
    values = made_up_run.published("table1") | changed
    known = {quantity: v for quantity, v in values.items() if v is not None}
    result = about(claim, made_up_run, known)
    assert result.holds is holds
    assert words in f"{result.measured}; {result.reason}"


def test_nothing_is_easier_where_no_layer_learned_both_terms(made_up_run):
    result = about("atomic_easier", made_up_run, {"gat_atomic_mape": 1.0})
    assert (result.holds, result.reason) == (None, "no layer was trained on both terms")


def cutoffs(errors, targets=TARGETS):
    scan = ((c, t, e) for c, e in errors.items() for t in targets)
    return {f"cutoff_{c}_{t}_mae": [0.99 * e, e, 1.01 * e] for c, t, e in scan}


ENOUGH = {4: 3.0, 5: 2.0, 6: 1.0, 7: 1.0}


@pytest.mark.parametrize(
    ("values", "holds", "words"),
    [
        (cutoffs(ENOUGH | {8: 0.97}), True, "a smaller one is worse"),
        (cutoffs(ENOUGH | {5: 1.0, 8: 1.0}), False, "already at 5 Bohr"),
        (cutoffs(ENOUGH | {7: 0.7, 8: 0.7}), False, "cutoff of 7 Bohr"),
        (cutoffs({4: 3.0, 6: 1.0}), None, "larger cutoff"),
        (cutoffs(ENOUGH, ["electronic"]), True, "only the electronic term was run"),
        (cutoffs(ENOUGH, ["atomic"]) | cutoffs({6: 1.0}), True, "no larger cutoff"),
        # 20 % lower on average, but by chance
        (cutoffs(ENOUGH) | {"cutoff_7_atomic_mae": [0.4, 1.2, 0.8]}, True, "no larger cutoff"),
    ],
)
def test_cutoff_claim(made_up_run, values, holds, words):
    result = about("cutoff_6_suffices", made_up_run, values)
    assert result.holds is holds
    assert words in result.reason


@pytest.mark.parametrize(
    ("errors", "holds", "words"),
    [
        ({(2, 2): [1.0, 1.01], (3, 2): [0.95, 0.96]}, True, "0 of 1 deeper networks"),
        ({(2, 2): [1.0, 1.01], (3, 3): [0.5, 0.51]}, False, "3 + 3 (atomic), MAE -50 %"),
        ({(2, 2): [1.0], (1, 2): [2.0]}, None, "no network deeper than 2 + 2"),
    ],
)
def test_depth_claim(made_up_run, errors, holds, words):
    values = {f"conv_{c}_dense_{d}_atomic_mae": error for (c, d), error in errors.items()}
    result = about("two_and_two_layers_suffice", made_up_run, values)
    assert result.holds is holds
    assert words in f"{result.measured}; {result.reason}"


@pytest.mark.parametrize(
    ("epochs", "gain", "epoch", "holds"),
    [
        (150, 3, 90, True),
        (150, 30, 140, False),
        (30, 1, 20, None),
        (400, 1, 120, True),
        (400, 1, 300, False),
    ],
)
def test_convergence_claim(made_up_run, epochs, gain, epoch, holds):
    found = {"epochs": epochs, "late_gain": gain, "converged_epoch": epoch}
    values = {f"gat_atomic_{name}": value for name, value in found.items()}
    result = about("converges_in_100_to_150_epochs", made_up_run, values)
    assert result.holds is holds
    assert str(epochs) in f"{result.measured}; {result.reason}"


def exponent(prefix, value, low, high):
    return {
        f"{prefix}_exponent{end}": x for end, x in (("", value), ("_low", low), ("_high", high))
    }


@pytest.mark.parametrize(
    ("claim", "values", "holds", "words"),
    [
        ("numerical_quadratic", exponent("numerical", 2.0, 1.9, 2.1), True, "within 0.3 of 2"),
        (
            "numerical_quadratic",
            exponent("numerical", 1.5, 1.4, 1.6),
            False,
            "follows the electron",
        ),
        ("numerical_quadratic", exponent("numerical", 1.9, 0.5, 3.0), None, "too wide to decide"),
        ("numerical_quadratic", {"gnn_exponent": 1.0}, None, "at least three sizes"),
        ("gnn_linear", exponent("gnn", 1.0, 0.9, 1.1), True, "within 0.3 of 1"),
        (
            "gnn_linear",
            exponent("gnn", 0.4, 0.3, 0.5) | {"gnn_batched_exponent": 1.02},
            False,
            "the exponent is 1.02",
        ),
        ("gnn_linear", {"numerical_exponent": 2.0}, None, "at least three sizes"),
        (
            "gnn_thousand_times_faster",
            {"speed_ratio": 1000, "numerical_time": 1},
            True,
            "takes 1 s",
        ),
        ("gnn_thousand_times_faster", {"speed_ratio": 317, "numerical_time": 1}, True, "317 times"),
        ("gnn_thousand_times_faster", {"speed_ratio": 316}, False, "316 times faster"),
        ("gnn_thousand_times_faster", {"gnn_time": 1.0}, None, "was not timed"),
    ],
)
def test_claims_of_times(made_up_run, claim, values, holds, words):
    result = about(claim, made_up_run, values)
    assert result.holds is holds
    assert words in f"{result.measured}; {result.reason}"

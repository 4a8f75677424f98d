from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from made_up_run import SOUND as SUMMARY

from gnnip.artefacts.tables import metric_row, metric_table
from gnnip.config.resolve import ResolvedCard
from gnnip.errors import DataError
from gnnip.verdicts import judge as verdicts
from gnnip.verdicts import pages, show
from gnnip.verdicts.claims import ClaimResult, mean
from gnnip.verdicts.outcomes import ClaimTests
from gnnip.verdicts.trainings import read_trainings, training_table

CARD = {
    "id": "paper1",
    "title": "A paper",
    "authors": ["A. Author"],
    "citation": "J. 1, 1 (2020)",
    "doi": "10.1/x",
    "references": {"table1": "exact", "fig1": "exact"},
    "datasets": {"data": {}},
    "trainings": {"table1": {"dataset": "data", "seeds": 3}},
    "artefacts": {
        "table1": {"label": "Table 1", "title": "errors", "trainings": ["table1"]},
        "fig1": {"label": "Figure 1", "title": "speed"},
    },
    "published": [
        {
            "artefact": "table1",
            "unit": "Ha",
            "tolerance": {"factor": 2},
            "values": {"a_mae": 0.1},
        },
        {
            "artefact": "fig1",
            "unit": "",
            "tolerance": {"factor": 2},
            "better": "higher",
            "values": {"ratio": 100},
        },
    ],
    "claims": {"a_best": {"text": "A is best", "where": "p. 1", "artefacts": ["table1"]}},
    "tier": "paper",
}


def trained(folder, summaries, group="table1"):
    """The table of trainings of a folder, to which those with these changes are added."""
    for seed, changed in enumerate(summaries):
        file = folder / group / "all" / f"seed-{seed}" / "summary.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(SUMMARY | changed), encoding="utf-8")
    return training_table(sorted(folder.glob("*/*/*/summary.json")))


SOUND = pd.DataFrame(
    {"group": "table1", "cell": "all", "seed": range(3), "sound": True, "reason": ""}
)
COLUMNS = [
    *("card", "artefact", "quantity", "unit", "published", "tolerance", "ours_mean", "ours_std"),
    *("n_seeds", "baseline", "reference", "variant", "verdict", "reason", "cause"),
]


def card(**changes) -> ResolvedCard:
    return ResolvedCard.model_validate(CARD | changes)


def table(values, quantity="a_mae", unit="Ha", baseline=None, variant="as_described", seeds=None):
    return pd.DataFrame(
        {
            "artefact": "table1",
            "quantity": quantity,
            "variant": variant,
            "unit": unit,
            "seed": range(len(values)) if seeds is None else seeds,
            "value": values,
            "baseline": baseline,
            "reference": "exact",
        }
    )


def judge(metrics, the_card=None, claims=None, trainings=SOUND):
    tests = {
        name: t if isinstance(t, ClaimTests) else ClaimTests(t)
        for name, t in (claims or {}).items()
    }
    rows = verdicts.judge(the_card or card(), metrics, tests, trainings).verdicts
    return {row.quantity: row for row in rows}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.10, 0.12, 0.11], "reproduced"),
        ([0.051, 0.052, 0.053], "reproduced"),
        ([0.02, 0.03, 0.025], "better"),
        ([0.30, 0.32, 0.31], "deviates"),
        # the mean lies within the tolerance of 0.05 to 0.2, its standard error does not
        ([0.10, 0.12, 0.34], "cannot decide"),
        ([0.10, 0.12, float("nan")], "cannot decide"),
    ],
)
def test_lower_is_better(values, expected):
    row = judge({"table1": table(values)})["a_mae"]
    assert row.verdict == expected
    assert row.n_seeds == len(values)
    assert "\n" not in row.reason


def test_a_standard_error_takes_three_seeds():
    two = card(trainings={"table1": {"dataset": "data", "seeds": 2}})
    row = judge({"table1": table([0.10, 0.12])}, two)["a_mae"]
    assert row.verdict == "cannot decide"
    assert row.reason.startswith("2 of the 3 seeds that a standard error takes")


def test_mean_and_spread():
    row = judge({"table1": table([0.10, 0.14, 0.12], baseline=0.5)})["a_mae"]
    assert row.ours_mean == pytest.approx(0.12)
    assert row.ours_std == pytest.approx(0.02)
    assert (row.baseline, row.verdict) == (0.5, "reproduced")


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        # ours is no better, so that nothing was learned, whatever the paper had
        (0.10, "no better than the trivial predictor"),
        (0.05, "no better than the trivial predictor"),
        # ours is better, but the published number is one that learning nothing gets as well
        (0.18, "a trivial predictor gets it too (0.18)"),
    ],
)
def test_what_a_trivial_predictor_gets_decides_nothing(baseline, told):
    row = judge({"table1": table([0.10, 0.10, 0.10], baseline=baseline)})["a_mae"]
    assert row.verdict == "cannot decide"
    assert row.reason.startswith(told)
    assert row.cause == "a trivial predictor does as well"


def test_two_numbers_that_both_deviate_are_no_reason_to_doubt():
    row = judge({"table1": table([0.3, 0.3, 0.3], baseline=0.5)})["a_mae"]
    assert row.verdict == "deviates"


UNSOUND = {
    "collapsed": ({"share_of_null": 0.97}, "collapsed: its error is 0.97 of that of the constant"),
    "silent": ({"silent_share": 0.6}, "collapsed: 60 % of the units"),
    "lucky": ({"lucky_epoch": 7}, "the luck of epoch 7"),
    "cut": ({"stopped": "time limit"}, "unfinished: stopped by time limit"),
    "falling": ({"late_change": 0.05}, "its error still falls by 5 %"),
    "rising": ({"late_change": -0.05}, "its error still rises by 5 %"),
    "short": ({"late_change": None}, "150 epochs are too few"),
    "ended": ({"ends_at_zero": True}, "none with half the epochs stands beside it"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_training_decides_nothing(tmp_path, name):
    changed, told = UNSOUND[name]
    trainings = trained(tmp_path, [{}, changed, {}])
    row = judge({"table1": table([0.1, 0.1, 0.1])}, trainings=trainings)["a_mae"]
    assert row.verdict == "cannot decide"
    assert row.reason.startswith("1 of 3 trainings judge nothing, table1/all, seed 1: ")
    assert told in row.reason
    assert row.cause == trainings["reason"].iloc[1].split(":")[0]
    # a claim too, unless it reads other quantities
    holds = {"a_best": ClaimTests(lambda _: ClaimResult(True, "", "yes"))}
    metrics = {"table1": table([0.1, 0.1, 0.1], baseline=0.5)}
    assert judge(metrics, claims=holds, trainings=trainings)["a_best"].verdict == "cannot decide"
    other = {"a_best": replace(holds["a_best"], reads="b_.*")}
    metrics["table1"] = pd.concat(
        [metrics["table1"], table([0.1], "b_mae", baseline=0.5).assign(training="-")]
    )
    assert (
        "trainings judge nothing"
        not in judge(metrics, claims=other, trainings=trainings)["a_best"].reason
    )


def test_half_the_epochs_show_whether_a_schedule_that_ends_at_zero_is_flat(tmp_path):
    whole = {"ends_at_zero": True, "half_error": None}
    assert not trained(tmp_path / "none", [whole, whole])["sound"].any()
    for gain, sound in ((0.03, True), (0.07, False)):
        # seed 0 speaks for all of its cell
        first = whole | {"half_error": SUMMARY["validation_error"] / (1 - gain)}
        made = trained(tmp_path / str(gain), [first, whole])
        assert made["sound"].tolist() == [sound, sound]
    assert "doubling the epochs gained 7 %" in made["reason"].iloc[0]
    # and no more than that
    made = trained(tmp_path / "cut", [first, whole | {"stopped": "time limit"}])
    assert "unfinished" in made["reason"].iloc[1]


def test_without_a_record_of_the_trainings_nothing_is_decided():
    metrics = {"table1": table([0.1, 0.1, 0.1])}
    row = judge(metrics, trainings=None)["a_mae"]
    assert (row.verdict, "no record" in row.reason) == ("cannot decide", True)
    other = SOUND.assign(group="other")
    assert judge(metrics, trainings=other)["a_mae"].verdict == "cannot decide"
    # a number that no training is behind needs none
    metrics["table1"]["training"] = "-"
    assert judge(metrics, trainings=None)["a_mae"].verdict == "reproduced"
    # nor does one of an artefact that reads no training
    speed = {"fig1": table([120.0], "ratio", "", seeds=[None])}
    assert judge(speed, trainings=None)["ratio"].verdict == "reproduced"


@pytest.mark.parametrize(
    ("value", "expected"), [(300.0, "better"), (120.0, "reproduced"), (30.0, "deviates")]
)
def test_higher_is_better_and_one_measurement_needs_no_seeds(value, expected):
    row = judge({"fig1": table([value], "ratio", "", seeds=[None])})["ratio"]
    assert row.verdict == expected
    assert row.ours_std is None


def test_a_side_that_is_neither_better_nor_worse():
    block = {**CARD["published"][1], "better": "neither"}
    row = judge({"fig1": table([300.0], "ratio", "", seeds=[None])}, card(published=[block]))[
        "ratio"
    ]
    assert row.verdict == "deviates"


def test_what_was_not_run():
    rows = judge({})
    assert {row.verdict for row in rows.values()} == {"not run"}
    assert rows["a_mae"].reason == "table1 has not been run"
    assert rows["a_mae"].ours_mean is None
    rows = judge({}, card(skipped={"fig1": "left out at tier quick"}))
    assert rows["ratio"].reason == "left out at tier quick"
    rows = judge({"table1": table([1.0, 1.0, 1.0], "b_mae")})
    assert rows["a_mae"].reason == "table1 was run without this quantity"


def test_no_mean_of_a_part_of_the_seeds():
    row = judge({"table1": table([0.1])})["a_mae"]
    assert row.verdict == "not run"
    assert row.ours_mean is None
    assert "only 1 of 3 seeds" in row.reason


def test_what_cannot_be_compared():
    block = {**CARD["published"][0], "comparable": False, "note": "other reference"}
    rows = judge({"table1": table([0.1, 0.1, 0.1])}, card(published=[block]))
    assert (rows["a_mae"].verdict, rows["a_mae"].reason) == (
        "not comparable",
        "1 times the published value; other reference",
    )
    block = {**CARD["published"][0], "reference": "dft"}
    row = judge({"table1": table([0.1, 0.1, 0.1])}, card(published=[block]))["a_mae"]
    assert row.verdict == "not comparable"
    assert row.reason.endswith("the paper's reference is dft, ours exact")
    same = {**block, "reference": "exact"}
    row = judge({"table1": table([0.1, 0.1, 0.1])}, card(published=[same]))["a_mae"]
    assert row.verdict == "reproduced"
    reduced = card(reduced={"table1": "tier quick changes the network"})
    row = judge({"table1": table([0.1, 0.1, 0.1])}, reduced)["a_mae"]
    assert (row.verdict, "changes the network" in row.reason) == ("not comparable", True)
    small = card(judged=False, note="smoke tier")
    row = judge({"table1": table([0.1, 0.1, 0.1])}, small)["a_mae"]
    assert row.verdict == "not comparable"
    assert row.reason.endswith("(smoke tier)")


def test_each_variant_has_its_row():
    both = pd.concat([table([0.1, 0.1, 0.1]), table([0.9, 0.9, 0.9], variant="corrected")])
    rows = verdicts.judge(card(), {"table1": both}, {}, SOUND).verdicts
    found = {row.variant: row.verdict for row in rows if row.quantity == "a_mae"}
    assert found == {"as_described": "reproduced", "corrected": "deviates"}


def test_a_unit_that_was_not_converted():
    with pytest.raises(DataError, match="gives 'eV' where"):
        judge({"table1": table([0.1, 0.1, 0.1], unit="eV")})


def value_below(limit):
    def test(metrics):
        value = metrics["table1"]["value"].mean()
        return ClaimResult(bool(value < limit), f"{value:g}", "a is low", 1.0 - value / limit)

    return test


#: our 0.1, the trivial predictor's 0.3 and what a test asks for: verdict, and how the reason begins
CLAIMS = [
    (ClaimTests(value_below(0.2)), {}, "reproduced", "0.1; a is low"),
    (ClaimTests(value_below(0.05)), {}, "deviates", "0.1; a is low"),
    (ClaimTests(value_below(0.5)), {}, "cannot decide", "a trivial predictor passes the test"),
    (ClaimTests(lambda _: ClaimResult(None, "", "too short")), {}, "cannot decide", "too short"),
    (ClaimTests(value_below(0.2), control=value_below(0.3)), {}, "cannot decide", "the control"),
    (ClaimTests(value_below(0.2), control=value_below(0.05)), {}, "reproduced", "0.1; a is low"),
    (ClaimTests(value_below(0.2)), {"baseline": None}, "cannot decide", "no trivial predictor"),
]


@pytest.mark.parametrize(("tests", "changed", "expected", "told"), CLAIMS)
def test_claims(tests, changed, expected, told):
    metrics = {"table1": table([0.1, 0.1, 0.1], **{"baseline": 0.3} | changed)}
    row = judge(metrics, claims={"a_best": tests})["a_best"]
    assert (row.verdict, row.published) == (expected, "A is best")
    assert row.reason.startswith(told)


def test_a_card_may_say_what_learning_nothing_gets():
    written, metrics = CARD["claims"]["a_best"], {"table1": table([0.1, 0.1, 0.1])}
    for trivial, expected in (
        ({"a_.*": 0.3}, "reproduced"),
        ({"a_.*": 0.1}, "cannot decide"),
        ("a time is measured", "reproduced"),
    ):
        told = card(claims={"a_best": written | {"trivial": trivial}})
        row = judge(metrics, told, {"a_best": value_below(0.2)})["a_best"]
        assert row.verdict == expected


def test_a_claim_may_be_decided_by_a_variant():
    written = CARD["claims"]["a_best"]
    metrics = pd.concat(
        [
            table([0.1, 0.1, 0.1], baseline=0.3),
            table([0.4, 0.4, 0.4], baseline=0.5, variant="tuned"),
        ]
    )
    claims = {"a_best": lambda m: ClaimResult(bool(mean(m["table1"], "a_mae") < 0.2), "", "")}
    for variant, expected in ((None, "reproduced"), ("tuned", "deviates")):
        told = card(claims={"a_best": written | {"variant": variant}})
        assert judge({"table1": metrics}, told, claims)["a_best"].verdict == expected
    told = card(claims={"a_best": written | {"variant": "corrected"}})
    row = judge({"table1": metrics}, told, claims)["a_best"]
    assert row.verdict == "not run"
    assert row.reason == "table1 was run without the variant 'corrected'"


def test_a_claim_about_learning_is_decided_by_those_that_learned_nothing(tmp_path):
    metrics = {"table1": table([0.1, 0.1, 0.1], baseline=0.3)}
    claims, written = {"a_best": value_below(0.2)}, CARD["claims"]["a_best"]
    told = card(claims={"a_best": written | {"learned": False}})
    worse = {"share_of_null": 4.0, "silent_share": 0.7}
    trainings = trained(tmp_path / "flat", [worse, worse, worse])
    assert judge(metrics, claims=claims, trainings=trainings)["a_best"].verdict == "cannot decide"
    assert judge(metrics, told, claims, trainings)["a_best"].verdict == "reproduced"
    # as a table that was written and read
    trainings.to_csv(tmp_path / "trainings.csv", index=False)
    read = read_trainings(tmp_path / "trainings.csv")
    assert judge(metrics, told, claims, read)["a_best"].verdict == "reproduced"
    # but by flat ones only, and by none without a record
    ends = worse | {"ends_at_zero": True}
    half = ends | {"half_error": 1.2 * SUMMARY["validation_error"]}
    for name, changed, reason in (
        ("falling", worse | {"late_change": 0.05}, "still falls by 5 %"),
        ("half", half, "doubling the epochs gained 17 %"),
        ("no half", ends, "none with half the epochs"),
    ):
        trainings = trained(tmp_path / name, [changed, changed, changed])
        row = judge(metrics, told, claims, trainings)["a_best"]
        assert row.verdict == "cannot decide"
        assert reason in row.reason
    blank = trained(tmp_path / "blank", [{}, {}, {}]).assign(
        share_of_null=None, sound=False, reason="there is no record of its validation errors"
    )
    assert "no record" in judge(metrics, told, claims, blank)["a_best"].reason


def test_claims_without_test_or_without_all_seeds():
    assert judge({"table1": table([0.1, 0.1, 0.1])})["a_best"].verdict == "not run"

    def holds(metrics):
        return ClaimResult(True, "", "yes")

    row = judge({"table1": table([0.1])}, claims={"a_best": holds})["a_best"]
    assert (row.verdict, row.reason) == ("not run", "only 1 of 3 seeds are there; yes")


def test_trainings_as_coded_do_not_stand_behind_a_claim_that_reads_those_as_described():
    coded = table([0.4], baseline=0.3, variant="as_coded").assign(training="coded")
    described = table([0.1, 0.1, 0.1], baseline=0.3).assign(training="table1")
    bad = SOUND.assign(group="coded", sound=False, reason="not flat: it falls")
    known = pd.concat([SOUND, bad])

    def low(metrics):
        return ClaimResult(bool(mean(metrics["table1"], "a_mae") < 0.2), "", "")

    def verdict(*parts):
        return judge({"table1": pd.concat(parts)}, claims={"a_best": low}, trainings=known)[
            "a_best"
        ]

    assert verdict(coded, described).verdict == "reproduced"
    alone = verdict(pd.concat([coded] * 3).assign(seed=range(3)))
    assert (alone.verdict, alone.cause) == ("cannot decide", "not flat")


@pytest.mark.parametrize(("asked", "expected"), [(3, "cannot decide"), (1, "reproduced")])
def test_a_claim_takes_as_many_seeds_as_it_says_of_what_it_reads(asked, expected):
    """One quantity has three seeds, the other one of a claim that reads both has one."""
    measured = pd.concat(
        [table([0.1, 0.1, 0.1], baseline=0.3), table([0.2], quantity="b_mae", baseline=0.3)]
    )

    def holds(metrics):
        return ClaimResult(mean(metrics["table1"], "a_mae") < 0.2, "", "")

    claim = CARD["claims"]["a_best"] | {"seeds": asked}
    row = judge({"table1": measured}, card(claims={"a_best": claim}), {"a_best": holds})["a_best"]
    assert (row.verdict, row.n_seeds) == (expected, 1)
    if asked == 3:
        assert row.cause == "too few seeds"
        assert "1 of the 3 seeds" in row.reason


def test_tables_and_files(tmp_path):
    metrics = {"table1": table([0.1, 0.12, 0.11], baseline=0.3)}
    rows = verdicts.judge(card(), metrics, {}, SOUND).verdicts
    frame = verdicts.to_frame(rows)
    assert list(frame.columns) == COLUMNS
    path = tmp_path / "verdicts.json"
    path.write_text(json.dumps(verdicts.to_json(rows)), encoding="utf-8")
    assert verdicts.read_verdicts(path) == rows
    text = show.format_table(rows, 120)
    assert max(map(len, text.splitlines())) <= 120
    assert "0.11 ± 0.01 (3)" in text
    assert "3 rows: 1 reproduced, 2 not run" in text
    assert "| table1 | a_mae | 0.1 Ha | 0.11 ± 0.01 (3) | 0.3 | reproduced |" in (
        show.format_markdown(rows)
    )
    page = show.format_html(rows)
    assert page.count("<tr") == 4
    assert "A is best" in page


def test_a_remark_on_the_whole_run_is_printed_once():
    noted = card(note="quick tier: small")
    text = show.format_table(
        verdicts.judge(noted, {"table1": table([0.1, 0.1, 0.1])}, {}, SOUND).verdicts, 140
    )
    assert text.startswith("paper1 (quick tier: small)\n")
    assert text.count("quick tier") == 1
    assert "fig1 has not been run" in text


def test_damaged_files(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        verdicts.read_verdicts(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('[{"x": 1}]', encoding="utf-8")
    with pytest.raises(DataError, match="no list of verdicts"):
        verdicts.read_verdicts(tmp_path / "bad.json")
    table([0.1]).drop(columns="unit").to_csv(tmp_path / "table1.metrics.csv")
    with pytest.raises(DataError, match="lacks the column unit"):
        verdicts.read_metrics(tmp_path, ["table1", "fig1"])


def test_what_the_tests_found_is_written_down():
    tests = {"a_best": ClaimTests(value_below(0.2), control=value_below(0.05))}
    metrics = {"table1": table([0.1, 0.1, 0.1], baseline=0.3)}
    (row,) = verdicts.judge(card(), metrics, tests, SOUND).claims.to_dict("records")
    assert row == {
        "claim": "a_best",
        "holds": True,
        "margin": pytest.approx(0.5),
        "measured": "0.1",
        "reason": "a is low",
        "trivial": "fails",
        "trivial_measured": "0.3",
        "control_holds": False,
        "control_measured": "0.1",
    }
    metrics = {"table1": table([0.1, 0.1, 0.1])}
    (row,) = verdicts.judge(card(), metrics, tests, SOUND).claims.to_dict("records")
    assert row["trivial"] == "unknown"
    assert verdicts.judge(card(), {}, tests, SOUND).claims.empty


@pytest.mark.parametrize(
    ("floor", "expected", "told"),
    [
        (0.04, "reproduced", "allowed 0.05 to 0.2"),
        (0.21, "cannot decide", "the noise floor of the reference, 0.21, is above the tolerance"),
    ],
)
def test_a_tolerance_below_the_noise_floor_judges_nothing(floor, expected, told):
    noisy = table([0.10, 0.12, 0.11], baseline=floor).assign(floor=floor)
    row = judge({"table1": noisy})["a_mae"]
    assert row.verdict == expected
    assert told in row.reason


def test_an_error_below_the_noise_floor_judges_nothing():
    inputs = SimpleNamespace(artefact="table1", reference=lambda dataset: "exact")
    rows = [
        metric_row(inputs, "a_mae", "Ha", value, seed=seed, floor=0.115)
        for seed, value in enumerate((0.10, 0.11, 0.12))
    ]
    noisy = metric_table(rows)
    assert list(noisy["floor"]) == list(noisy["baseline"]) == [0.115] * 3
    claim = CARD["claims"]["a_best"] | {"trivial": "none of structures"}
    found = judge(
        {"table1": noisy},
        card(claims={"a_best": claim}),
        claims={"a_best": lambda tables: ClaimResult(True, "0.11", "")},
    )
    for quantity in ("a_mae", "a_best"):
        assert found[quantity].verdict == "cannot decide"
        assert "below the noise floor of the reference, 0.115 Ha" in found[quantity].reason


def test_times_that_were_measured_under_load_are_not_judged():
    """Neither as numbers nor by claims; what else an artefact says is."""
    quiet = table([120.0], "ratio", "", seeds=[None])
    loaded = quiet.assign(remark="measured under load (others took 1.0 of 2 cores)")
    claim = {"text": "A is fast", "where": "p. 1", "artefacts": ["fig1"], "trivial": "a time"}
    the_card = card(claims={"fast": claim, "stable": claim})
    claims = {
        name: ClaimTests(lambda _: ClaimResult(True, "", "yes"), reads=read)
        for name, read in (("fast", "ratio"), ("stable", "failed"))
    }
    failed = table([0.0], "failed", "", seeds=[None])
    rows = judge({"fig1": pd.concat([loaded, failed])}, the_card, claims)
    assert (rows["ratio"].verdict, rows["ratio"].ours_mean) == ("cannot decide", 120.0)
    assert rows["ratio"].reason.startswith("measured under load (others took 1.0 of 2 cores)")
    assert rows["fast"].verdict == "cannot decide"
    assert rows["fast"].reason.startswith("measured under load")
    assert rows["stable"].verdict == "reproduced"
    rows = judge({"fig1": pd.concat([quiet, failed])}, the_card, claims)
    assert rows["ratio"].verdict == rows["fast"].verdict == "reproduced"


def test_what_is_open_is_counted_by_its_cause():
    rows = judge({"table1": table([0.1, 0.1, 0.1], baseline=0.05)})
    one = rows["a_mae"]
    assert pages.unsettled([one]) == "1 cannot decide: a trivial predictor does as well"
    flat = replace(one, cause="not flat")
    load = replace(one, cause="measured under load")
    other = replace(one, verdict="not comparable", cause="smaller than the paper's")
    decided = replace(one, verdict="deviates", cause="")
    told = pages.unsettled([flat, one, one, load, other, decided, rows["ratio"]], most=2)
    assert told == (
        "4 cannot decide: a trivial predictor does as well (2), not flat (1), other reasons (1); "
        "1 not comparable: smaller than the paper's; 1 not run"
    )
    assert pages.unsettled([decided]) == ""

from __future__ import annotations

import json

import pandas as pd
import pytest

from gnnip.config.resolve import ResolvedCard
from gnnip.errors import DataError
from gnnip.verdicts import judge as verdicts
from gnnip.verdicts import show
from gnnip.verdicts.claims import ClaimResult

CARD = {
    "id": "paper1",
    "title": "A paper",
    "authors": ["A. Author"],
    "citation": "J. 1, 1 (2020)",
    "doi": "10.1/x",
    "references": {"table1": "exact", "fig1": "exact"},
    "datasets": {"data": {}},
    "trainings": {"table1": {"dataset": "data", "seeds": 2}},
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

COLUMNS = [
    *("card", "artefact", "quantity", "unit", "published", "tolerance", "ours_mean", "ours_std"),
    *("n_seeds", "baseline", "reference", "variant", "verdict", "reason"),
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


def judge(metrics, the_card=None, claims=None):
    rows = verdicts.judge(the_card or card(), metrics, claims or {})
    return {row.quantity: row for row in rows}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.10, 0.12], "reproduced"),
        ([0.049, 0.051], "reproduced"),
        ([0.02, 0.03], "better"),
        ([0.30, 0.32], "deviates"),
        ([0.10, float("nan")], "deviates"),
    ],
)
def test_lower_is_better(values, expected):
    row = judge({"table1": table(values)})["a_mae"]
    assert row.verdict == expected
    assert row.n_seeds == 2
    assert "\n" not in row.reason


def test_mean_spread_and_baseline():
    row = judge({"table1": table([0.10, 0.14], baseline=0.05)})["a_mae"]
    assert row.ours_mean == pytest.approx(0.12)
    assert row.ours_std == pytest.approx(0.0282843, rel=1e-4)
    assert row.baseline == 0.05
    assert "no better than the trivial baseline" in row.reason
    row = judge({"table1": table([0.10, 0.14], baseline=0.5)})["a_mae"]
    assert "baseline" not in row.reason


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
    rows = judge({"table1": table([1.0, 1.0], "b_mae")})
    assert rows["a_mae"].reason == "table1 was run without this quantity"


def test_no_mean_of_a_part_of_the_seeds():
    row = judge({"table1": table([0.1])})["a_mae"]
    assert row.verdict == "not run"
    assert row.ours_mean is None
    assert "only 1 of 2 seeds" in row.reason


def test_what_cannot_be_compared():
    block = {**CARD["published"][0], "comparable": False, "note": "other reference"}
    rows = judge({"table1": table([0.1, 0.1])}, card(published=[block]))
    assert (rows["a_mae"].verdict, rows["a_mae"].reason) == ("not comparable", "other reference")
    block = {**CARD["published"][0], "reference": "dft"}
    row = judge({"table1": table([0.1, 0.1])}, card(published=[block]))["a_mae"]
    assert row.verdict == "not comparable"
    assert row.reason == "the paper's reference is dft, ours exact"
    same = {**block, "reference": "exact"}
    row = judge({"table1": table([0.1, 0.1])}, card(published=[same]))["a_mae"]
    assert row.verdict == "reproduced"
    small = card(comparable=False, note="smoke tier")
    row = judge({"table1": table([0.1, 0.1])}, small)["a_mae"]
    assert row.verdict == "not comparable"
    assert row.reason.endswith("(smoke tier)")


def test_each_variant_has_its_row():
    both = pd.concat([table([0.1, 0.1]), table([0.9, 0.9], variant="corrected")])
    rows = verdicts.judge(card(), {"table1": both}, {})
    found = {row.variant: row.verdict for row in rows if row.quantity == "a_mae"}
    assert found == {"as_described": "reproduced", "corrected": "deviates"}


def test_a_unit_that_was_not_converted():
    with pytest.raises(DataError, match="gives 'eV' where"):
        judge({"table1": table([0.1, 0.1], unit="eV")})


@pytest.mark.parametrize(
    ("holds", "expected"),
    [(True, "reproduced"), (False, "deviates"), (None, "not comparable")],
)
def test_claims(holds, expected):
    def test(metrics):
        assert set(metrics) == {"table1"}
        return ClaimResult(holds, "a: 0.1", "a is lowest")

    row = judge({"table1": table([0.1, 0.1])}, claims={"a_best": test})["a_best"]
    assert row.verdict == expected
    assert row.published == "A is best"
    assert row.reason == "a: 0.1; a is lowest"


def test_claims_without_test_or_without_all_seeds():
    assert judge({"table1": table([0.1, 0.1])})["a_best"].verdict == "not run"

    def holds(metrics):
        return ClaimResult(True, "", "yes")

    row = judge({"table1": table([0.1])}, claims={"a_best": holds})["a_best"]
    assert (row.verdict, row.reason) == ("not run", "only 1 of 2 seeds are there")


def test_tables_and_files(tmp_path):
    metrics = {"table1": table([0.1, 0.12], baseline=0.2)}
    rows = verdicts.judge(card(), metrics, {})
    frame = verdicts.to_frame(rows)
    assert list(frame.columns) == COLUMNS
    path = tmp_path / "verdicts.json"
    path.write_text(json.dumps(verdicts.to_json(rows)), encoding="utf-8")
    assert verdicts.read_verdicts(path) == rows
    text = show.format_table(rows, 120)
    assert max(map(len, text.splitlines())) <= 120
    assert "0.11 ± 0.014 (2)" in text
    assert "3 rows: 1 reproduced, 2 not run" in text
    assert "| table1 | a_mae | 0.1 Ha | 0.11 ± 0.014 (2) | 0.2 | reproduced |" in (
        show.format_markdown(rows)
    )
    page = show.format_html(rows)
    assert page.count("<tr") == 4
    assert "A is best" in page


def test_a_remark_on_the_whole_run_is_printed_once():
    noted = card(note="quick tier: small")
    text = show.format_table(verdicts.judge(noted, {"table1": table([0.1, 0.1])}, {}), 140)
    assert text.startswith("paper1 (quick tier: small)\n")
    assert text.count("quick tier") == 1
    assert "fig1 has not been run" in text


def test_damaged_files(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        verdicts.read_verdicts(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('[{"x": 1}]', encoding="utf-8")
    with pytest.raises(DataError, match="not a list of verdicts"):
        verdicts.read_verdicts(tmp_path / "bad.json")
    table([0.1]).drop(columns="unit").to_csv(tmp_path / "table1.metrics.csv")
    with pytest.raises(DataError, match="lacks the column unit"):
        verdicts.read_metrics(tmp_path, ["table1", "fig1"])


def test_what_a_claim_says_of_the_trivial_predictors():
    def lowest(metrics):
        value = metrics["table1"]["value"].mean()
        return ClaimResult(bool(value < 0.2), f"{value:g}", "", 1.0 - value / 0.2)

    rows = verdicts.claims_table(
        card(), {"table1": table([0.1, 0.1], baseline=0.3)}, {"a_best": lowest}
    )
    assert rows.to_dict("records") == [
        {
            "claim": "a_best",
            "holds": True,
            "margin": pytest.approx(0.5),
            "measured": "0.1",
            "reason": "",
            "trivial_holds": False,
            "trivial_measured": "0.3",
        }
    ]
    # no baseline, no trivial predictor; no artefact, no row
    (row,) = verdicts.claims_table(card(), {"table1": table([0.1])}, {"a_best": lowest}).to_dict(
        "records"
    )
    assert row["trivial_holds"] is None
    assert verdicts.claims_table(card(), {}, {"a_best": lowest}).empty


def test_times_that_were_measured_under_load_are_not_judged():
    """Neither as numbers nor by claims; what else an artefact says is."""
    quiet = table([120.0], "ratio", "", seeds=[None])
    loaded = quiet.assign(remark="measured under load (others took 1.0 of 2 cores)")
    claim = {"text": "A is fast", "where": "p. 1", "artefacts": ["fig1"]}
    the_card = card(claims={"fast": claim, "stable": claim})

    def decided_by(quantity):
        def test(metrics):
            known = (metrics["fig1"]["quantity"] == quantity).any()
            return ClaimResult(True if known else None, "", "" if known else "not measured")

        return test

    claims = {"fast": decided_by("ratio"), "stable": decided_by("failed")}
    failed = table([0.0], "failed", "", seeds=[None])
    rows = judge({"fig1": pd.concat([loaded, failed])}, the_card, claims)
    assert (rows["ratio"].verdict, rows["ratio"].ours_mean) == ("not comparable", 120.0)
    assert rows["ratio"].reason == "measured under load (others took 1.0 of 2 cores)"
    assert (rows["fast"].verdict, rows["fast"].reason) == ("not comparable", rows["ratio"].reason)
    assert rows["stable"].verdict == "reproduced"
    judged = verdicts.claims_table(the_card, {"fig1": loaded}, claims).set_index("claim")
    assert judged.loc["fast", "holds"] is None
    rows = judge({"fig1": pd.concat([quiet, failed])}, the_card, claims)
    assert rows["ratio"].verdict == rows["fast"].verdict == "reproduced"

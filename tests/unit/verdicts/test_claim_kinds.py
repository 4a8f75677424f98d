"""Claims that are written in a card: where they hold, where they fail, what they cannot decide."""

from __future__ import annotations

import pandas as pd
import pytest

from gnnip.errors import ConfigError
from gnnip.verdicts import kinds
from gnnip.verdicts.claims import of_trivial


def metrics(values: dict[str, float | list[float]], unit="eV/A", baseline=None, variant=None):
    rows = [
        {"quantity": name, "seed": seed, "value": value, "unit": unit, "baseline": baseline}
        for name, seeds in values.items()
        for seed, value in enumerate(seeds if isinstance(seeds, list) else [seeds])
    ]
    return {"table": pd.DataFrame(rows).assign(variant=variant or "as_described")}


def judged(test: dict, values, **options):
    return kinds.read(test, "claims.x").test(metrics(values, **options))


def beside_noise(floor, values):
    """Metrics of errors, all with this noise floor of the reference."""
    found = metrics(values, unit="%", baseline=floor)
    return {name: table.assign(floor=floor) for name, table in found.items()}


@pytest.mark.parametrize(
    ("test", "values", "floor", "holds", "reason"),
    [
        ("within", {"rdf": 6.0}, 4.0, True, ""),
        ("within", {"rdf": 12.0}, 4.0, False, ""),
        ("within", {"rdf": 12.0}, 11.0, None, "the bound 10 is below the noise floor of the"),
        ("lower", {"rdf": 6.0, "other": 12.0}, 4.0, True, ""),
        ("lower", {"rdf": 6.0, "other": 9.0}, 4.0, None, "a difference of 3 is below the noise"),
        ("lower", {"rdf": 9.0, "other": 6.0}, 4.0, None, "a difference of 3 is below the noise"),
        ("ordering", {"rdf": 6.0, "other": 12.0}, 4.0, True, ""),
        ("ordering", {"rdf": 6.0, "other": 12.0}, 7.0, None, "difference of 6 is below the noise"),
    ],
)
def test_nothing_is_judged_below_the_noise_floor(test, values, floor, holds, reason):
    options = {
        "within": {"quantity": "rdf", "at_most": 10},
        "lower": {"quantities": ["rdf"], "than": ["other"]},
        "ordering": {"quantities": ["rdf", "other"]},
    }
    claim = kinds.read({"kind": test, **options[test]}, "claims.x")
    found = claim.test(beside_noise(floor, values))
    assert found.holds is holds
    assert reason in found.reason
    # without a floor it is judged
    assert claim.test(metrics(values)).holds is not None


def test_the_noise_of_the_reference_is_no_predictor():
    (table,) = of_trivial(beside_noise(4.0, {"rdf": 6.0}), {}).values()
    assert table.empty
    (table,) = of_trivial(beside_noise(4.0, {"rdf": 6.0}), {"rdf": 80.0}).values()
    assert list(table["value"]) == [80.0]


LOWER = {"kind": "lower", "quantities": ["a_rmse", "b_rmse"], "than": ["c_rmse", "d_rmse"]}
ORDER = {"kind": "ordering", "quantities": ["a", "b", "c"]}
SPEED = {
    "kind": "within",
    "quantity": "ratio",
    "at_least": 100,
    "told": "{ratio:.3g} times faster",
    "reason": "our solver takes {time:.2g} s",
}
SHARES = {"kind": "within", "quantity": r"share_d\d+", "size": True, "at_most": 0.5}
ALIVE = {"kind": "no_failures", "prefix": "gnn", "duration": 15}
RUN = {"gnn_replicas": 8, "gnn_failed": 0, "gnn_shortest_run": 15000, "gnn_longest_run": 15000}
NEAR = {"kind": "exponent", "prefix": "gnn", "near": 1, "remark": "boxes differ"}
FIT = {"gnn_exponent": 1.1, "gnn_exponent_low": 1.0, "gnn_exponent_high": 1.2}


@pytest.mark.parametrize(
    ("test", "values", "holds", "told", "reason"),
    [
        (
            LOWER,
            {"a_rmse": [0.1, 0.3], "b_rmse": 1.0, "c_rmse": 0.4, "d_rmse": 2.0},
            True,
            "a_rmse 0.4 to 0.2 eV/Å; b_rmse 2 to 1 eV/Å",
            "",
        ),
        (LOWER, {"a_rmse": 1, "b_rmse": 3, "c_rmse": 2, "d_rmse": 2}, False, "2 to 3", ""),
        (LOWER, {"a_rmse": 1, "b_rmse": 1, "c_rmse": 2}, None, "", "not measured"),
        (ORDER, {"a": 1, "b": 2, "c": 3}, True, "a 1, b 2, c 3", ""),
        (ORDER, {"a": 1, "b": 3, "c": 2}, False, "b 3, c 2", ""),
        (ORDER, {"a": 1, "b": 3}, None, "", "not measured"),
        (SPEED, {"ratio": 1000, "time": 0.5}, True, "1e+03 times faster", "takes 0.5 s"),
        (SPEED, {"ratio": 3.2, "time": 0.5}, False, "3.2 times faster", ""),
        (SPEED, {"time": 0.5}, None, "", "not measured"),
        (SHARES, {"share_d4": -0.4, "share_d10": 0.1, "share_of": 9}, True, "0.1 to 0.4", ""),
        (SHARES, {"share_d4": -0.6, "share_d10": 0.1}, False, "0.1 to 0.6", ""),
        (ALIVE, RUN, True, "0 of 8 replicas failed in 15 ps", "no replica failed"),
        (
            ALIVE,
            RUN | {"gnn_failed": 5, "gnn_first_failure": 8910},
            False,
            "5 of 8",
            "first failure after 8.91 ps",
        ),
        (ALIVE, RUN | {"gnn_shortest_run": 5000}, None, "0 of 8", "shorter than 15 ps"),
        (ALIVE, {"other_replicas": 8}, None, "", "no dynamics of the arm 'gnn' were run"),
        (NEAR, FIT, True, "exponent 1.10, 95 % interval 1.00 to 1.20", "within 0.3 of 1"),
        (NEAR, FIT | {"gnn_exponent": 1.9}, False, "exponent 1.90", "not 1; boxes differ"),
        (NEAR, FIT | {"gnn_exponent_high": 4}, None, "", "too wide"),
        (NEAR, {}, None, "", "at least three sizes"),
    ],
)
def test_where_it_holds_and_where_it_fails(test, values, holds, told, reason):
    result = judged(test, values or {"none": 0.0})
    assert result.holds is holds
    assert told in result.measured
    assert reason in result.reason
    if holds is not None:
        assert (result.margin >= 0) is holds


@pytest.mark.parametrize(
    ("test", "values", "baseline", "reason"),
    [
        (LOWER, {"a_rmse": [1, 2], "c_rmse": [2, 2.2], "b_rmse": 1, "d_rmse": 2}, None, "errors"),
        (ORDER, {"a": [1, 2], "b": [2, 2.2], "c": 9}, None, "within two standard errors, 1.02"),
        (LOWER, {"a_rmse": 5, "c_rmse": 6, "b_rmse": 1, "d_rmse": 2}, 5.1, "a_rmse is no better"),
        (ORDER, {"a": 5, "b": 6, "c": 7}, 5.1, "a is no better than a trivial predictor's 5.1"),
    ],
)
def test_the_order_of_errors_within_noise_or_above_the_trivial_one_decides_nothing(
    test, values, baseline, reason
):
    result = judged(test, values, baseline=baseline)
    assert result.holds is None
    assert result.measured
    assert reason in result.reason


def test_another_variant_says_nothing():
    assert judged(ORDER, {"a": 1, "b": 2, "c": 3}, variant="corrected").holds is None


def test_the_trivial_predictor_has_baselines_in_place_of_values():
    table = metrics({"a": [1.0, 2.0]}, baseline=5.0)["table"]
    table.loc[1, "baseline"] = None
    (found,) = of_trivial({"table": table}, {}).values()
    assert found["value"].tolist() == [5.0]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"kind": "lowest"}, "no kind of claim 'lowest', did you mean 'lower'"),
        ({"quantity": "a"}, "states no kind; the kinds are exponent, lower"),
        ({"kind": "within", "quantity": "a"}, "needs at_least or at_most"),
        ({"kind": "within", "quantty": "a"}, "did you mean 'quantity'"),
        ({"kind": "within"}, "needs the option 'quantity'"),
        (LOWER | {"than": ["c"]}, "as many quantities as than"),
        (LOWER | {"labels": ["c"]}, "as many labels"),
        ({"kind": "ordering", "quantities": ["a"]}, "at least two"),
        ({"kind": "nowhere.to.be:Found"}, "cannot be imported"),
        ({"kind": "gnnip.errors:DataError"}, "is no class of gnnip.kinds.Kind"),
    ],
)
def test_mistakes_are_named(test, expected):
    with pytest.raises(ConfigError) as caught:
        kinds.read(test, "claims.x")
    assert expected in str(caught.value)

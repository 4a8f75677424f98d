"""Panels of dynamics, from tables as `compare_dynamics` and `measure_conservation` write them."""

import numpy as np
import pandas as pd
import pytest
from figure_checks import texts, through_csv

from gnnip.artefacts import dynamics_panels as dynamics
from gnnip.artefacts import style

COLUMNS = ["potential", "record", "name", "replica", "x", "value", "text"]
LOOK = dynamics.Look(
    {"reference": "reference", "a": "with pairs", "b": "without"},
    {"reference": style.INK, "a": style.BLUE, "b": style.ORANGE},
)


def made_up(failing=True):
    rows = []
    for name, low in (("reference", 0.6), ("a", 0.7), ("b", 0.0)):
        share = [1.0, 0.5 if name == "b" else 1.0, 0.0 if name == "b" else 1.0]
        for key, shift in (("survival", 0.0), ("survival_low", low - 1.0), ("survival_high", 0.1)):
            for time, alive in zip((0.0, 500.0, 2000.0), share, strict=True):
                value = float(np.clip(alive + shift, 0.0, 1.0))
                rows.append((name, "survival", key, None, time, value, ""))
        for x in np.arange(2.0, 180.0, 4.0):
            rows.append(
                (name, "adf", "Se-Ge-Se", None, x, 0.02 * np.exp(-(((x - 109) / 15) ** 2)), "")
            )
    rows.append(("a", "adf_error", "Se-Ge-Se", None, None, 3.2, ""))
    rows.append(("noise_floor", "adf_error", "Se-Ge-Se", None, None, 2.1, ""))
    kinds = ("collapse", "collapse", "explosion") if failing else ()
    for replica, kind in enumerate(kinds):
        time = 500.0 + 100.0 * replica
        rows.append(("b", "autopsy", "kind", replica, time, time, kind))
        distance = 1.3 + 0.1 * replica
        rows.append(("b", "autopsy", "pair_distance_a", replica, time, distance, "Se-Se"))
    for name, power, half in (("a", 2.0, 0.05), ("b", 0.4, np.nan)):
        for step in (0.25, 0.5, 1.0):
            for replica in range(2):
                value = 0.1 * step**power * (1 + 0.1 * replica)
                row = (name, "conservation", "fluctuation_mev_per_atom", replica, step, value, "")
                rows.append(row)
        rows += [(name, "order", "exponent", replica, None, power, "") for replica in range(2)]
        rows.append((name, "order", "exponent_mean", None, None, power, ""))
        rows.append((name, "order", "exponent_low", None, None, power - half, ""))
        rows.append((name, "order", "exponent_high", None, None, power + half, ""))
    return through_csv(pd.DataFrame(rows, columns=COLUMNS))


@pytest.fixture
def ax():
    with style.look():
        fig = style.figure(style.SINGLE, 60.0)
        yield fig.add_axes((0.2, 0.2, 0.75, 0.75))


def test_survival_has_a_band(ax):
    dynamics.survival(ax, made_up(), LOOK)
    assert len(ax.lines) == len(ax.collections) == 3
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), [1.0, 0.5, 0.0])
    assert ax.get_xlim() == (0.0, 2.0)


def test_failures_are_marked_by_kind_and_pair(ax):
    dynamics.autopsy(ax, made_up(), LOOK)
    drawn = [line for line in ax.lines if len(line.get_xdata())]
    assert [line.get_marker() for line in drawn] == ["o", "o", "^"]
    assert [line.get_xdata()[0] for line in drawn] == [0.5, 0.6, 0.7]
    words = [t.get_text() for t in texts(ax.figure)]
    assert words.count("Se-Se") == 1
    # all of them lie well inside
    assert ax.get_xlim()[1] > 1.05 * 0.7
    assert ax.get_ylim()[1] > 1.05 * 1.5
    assert {"collapse", "explosion"} <= set(words)
    assert "melting" not in words


def test_no_failure_is_said(ax):
    dynamics.autopsy(ax, made_up(failing=False), LOOK)
    assert "no replica failed" in [t.get_text() for t in texts(ax.figure)]


def test_angles(ax):
    dynamics.angles(ax, made_up(), LOOK, "Se-Ge-Se")
    assert ax.get_xlim() == (0.0, 180.0)
    assert "Se–Ge–Se" in ax.get_xlabel()
    lines = dynamics.errors_text(made_up(), LOOK, "Se-Ge-Se", "adf")
    assert [text for text, _ in lines] == ["with pairs: 3.2 %", "noise floor: 2.1 %"]


def test_the_order_stands_beside_a_slope_of_two(ax):
    dynamics.energy_order(ax, made_up(), LOOK)
    guide = ax.lines[-1]
    slope = np.polyfit(np.log(guide.get_xdata()), np.log(guide.get_ydata()), 1)[0]
    assert slope == pytest.approx(2.0)
    words = [t.get_text() for t in texts(ax.figure)]
    assert "with pairs: 2.00 ± 0.05" in words
    assert "without: 0.40" in words

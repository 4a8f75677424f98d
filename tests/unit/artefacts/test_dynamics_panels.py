"""Panels of dynamics, from tables as `compare_dynamics` and `measure_conservation` write them."""

import numpy as np
import pytest
from figure_checks import texts, through_csv
from made_up_run import ROOT
from made_up_tables import REPLICAS, Failures, conservation_table, dynamics_table

from gnnip.artefacts import dynamics_panels as dynamics
from gnnip.artefacts import style
from gnnip.datasets.arrays import load_arrays

LOOK = dynamics.Look(
    {"reference": "reference", "a": "with pairs", "b": "without"},
    {"reference": style.INK, "a": style.BLUE, "b": style.ORANGE},
)
FAILURES = Failures([500.0, 600.0, 700.0], "Ge-Se")


@pytest.fixture(scope="module")
def frames():
    return load_arrays(ROOT / "data" / "gese2.h5").subset(np.arange(2))


def made_up(frames, failures=FAILURES):
    potentials = {"a": Failures(), "b": failures}
    table = dynamics_table(frames, potentials, ["Ge-Se"], ["Se-Ge-Se"], 2000.0)
    return through_csv(table)


@pytest.fixture
def ax():
    with style.look():
        fig = style.figure(style.SINGLE, 60.0)
        yield fig.add_axes((0.2, 0.2, 0.75, 0.75))


def test_survival_has_a_band(ax, frames):
    dynamics.survival(ax, made_up(frames), LOOK)
    assert len(ax.lines) == len(ax.collections) == 2
    alive = (REPLICAS - np.array([0, 1, 2, 3, 3])) / REPLICAS
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), alive)
    assert ax.get_xlim() == (0.0, 2.0)


def test_failures_are_marked_by_kind_and_pair(ax, frames):
    table = made_up(frames)
    last = (table["name"] == "kind") & (table["replica"] == 2)
    table.loc[last, "text"] = "explosion"
    dynamics.autopsy(ax, table, LOOK)
    drawn = [line for line in ax.lines if len(line.get_xdata())]
    assert [line.get_marker() for line in drawn] == ["o", "o", "^"]
    assert [line.get_xdata()[0] for line in drawn] == [0.5, 0.6, 0.7]
    words = [t.get_text() for t in texts(ax.figure)]
    assert words.count("Ge-Se") == 1
    # all of them lie well inside
    assert ax.get_xlim()[1] > 1.05 * 0.7
    assert ax.get_ylim()[1] > 1.05 * 1.24
    assert {"collapse", "explosion"} <= set(words)
    assert "melting" not in words


def test_no_failure_is_said(ax, frames):
    dynamics.autopsy(ax, made_up(frames, Failures()), LOOK)
    assert "no replica failed" in [t.get_text() for t in texts(ax.figure)]


def test_angles(ax, frames):
    table = made_up(frames)
    dynamics.angles(ax, table, LOOK, "Se-Ge-Se")
    assert ax.get_xlim() == (0.0, 180.0)
    assert "Se–Ge–Se" in ax.get_xlabel()
    lines = dynamics.errors_text(table, LOOK, "Se-Ge-Se", "adf")
    assert [text for text, _ in lines] == ["with pairs: 2 %", "without: 3 %", "noise floor: 1.5 %"]


def test_the_order_stands_beside_a_slope_of_two(ax):
    table = conservation_table({"a": 2.0, "b": 0.4}, [0.25, 0.5, 1.0])
    # one replica has an order without an interval
    ends = table["name"].isin(("exponent_low", "exponent_high")) & (table["potential"] == "b")
    table.loc[ends, "value"] = np.nan
    dynamics.energy_order(ax, through_csv(table), LOOK)
    guide = ax.lines[-1]
    slope = np.polyfit(np.log(guide.get_xdata()), np.log(guide.get_ydata()), 1)[0]
    assert slope == pytest.approx(2.0)
    words = [t.get_text() for t in texts(ax.figure)]
    assert "with pairs: 2.00 ± 0.10" in words
    assert "without: 0.40" in words

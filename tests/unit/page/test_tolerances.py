"""Verdicts at other tolerances, of the recorded runs and of what cards say of theirs."""

from pathlib import Path

import pytest
from figure_checks import texts

from gnnip.config import papers
from gnnip.page import tolerances
from gnnip.verdicts.published import Tolerance
from gnnip.verdicts.verdict import VERDICTS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def table():
    return tolerances.of_records(ROOT / "results" / "recorded")


def test_every_card_says_where_its_tolerances_come_from():
    for name, place in papers.folders(None).items():
        for block in papers.load_card(place).published:
            assert len(block.tolerance.because) > 20, (name, block.artefact)


def test_the_reason_outlives_another_width():
    assert Tolerance(factor=1.5, because="rounding").times(2.0).because == "rounding"


def test_numbers_are_counted_once_and_wider_tolerances_hold_more(table):
    assert (table[list(VERDICTS)].sum(axis=1) == table["numbers"]).all()
    own = table[table["multiple"] == 1.0]
    assert (own["changed"] == 0).all()
    assert (own["crossed"] == 0).all()
    for _, part in table.groupby("paper"):
        assert part["within"].is_monotonic_increasing
    # they are chosen so that some of what is decided hangs on them
    assert table["changed"].sum() > 0
    assert table["crossed"].sum() > 0


def test_table_and_figure_tell_each_paper(table):
    words = [text.get_text() for text in texts(tolerances.draw(table))]
    lines = tolerances.as_markdown(table).splitlines()
    for paper in set(table["paper"]):
        assert any(paper in word for word in words)
        assert sum(paper in line for line in lines) == 1


def test_the_recorded_table_is_that_of_the_recorded_runs(table):
    recorded = (ROOT / "results" / "recorded" / "tolerances.csv").read_text(encoding="utf-8")
    assert recorded == table.to_csv(index=False)

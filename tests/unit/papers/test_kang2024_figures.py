import pytest
from figure_checks import check, texts, through_csv
from kang2024 import figures as figures
from kang2024 import tables as tables
from kang2024_run import make_run, perfect, short_sighted

from gnnip.artefacts import style

INFO = {"card": "kang2024", "tier": "smoke", "reference": "exact"}
NAMES = (
    "toy_errors", "fig1a", "fig1b", "fig1c", "fig1d", "fig1e",
    "receptive_field", "explicit_charges", "dilution", "small_network",
)  # fmt: skip


@pytest.fixture(scope="module", params=(perfect, short_sighted), ids=lambda rule: rule.__name__)
def run(request, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("results"), request.param)


def test_every_artefact_of_the_card_is_drawn(run):
    # data sets have a test of their own
    assert set(run.card["artefacts"]) == {*NAMES, "reference_data"}


@pytest.mark.parametrize("name", NAMES)
def test_figure_from_the_recorded_table_alone(run, name):
    tidy, _ = getattr(tables, name)(run)
    fig = getattr(figures, name)(through_csv(tidy), INFO)
    check(fig, (style.SINGLE, style.MIDDLE, style.DOUBLE))
    if "seed" in tidy:
        seeds = int(tidy["seed"].dropna().nunique())
        assert any(f"{seeds} seed" in t.get_text() for t in fig.texts)


def test_the_law_is_drawn_where_it_is(run):
    tidy, _ = tables.fig1b(run)
    fig = figures.fig1b(through_csv(tidy), INFO)
    law = next(line for line in fig.axes[0].lines if line.get_linestyle() == ":")
    x, y = law.get_data()
    assert y == pytest.approx(tables.coulomb_force(x), rel=1e-9)
    assert any("unseen" in t.get_text() for t in texts(fig))

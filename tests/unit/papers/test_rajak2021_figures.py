import numpy as np
import pytest
from figure_checks import check, texts, through_csv
from rajak2021 import figures as figures
from rajak2021 import tables as tables
from rajak2021_run import AS_TOLD, OPPOSITE, UNDECIDED, inputs_of, make_run

from gnnip.artefacts import style

INFO = {"card": "rajak2021", "tier": "smoke", "reference": "xtb"}
NAMES = (
    "sic_errors", "fig2a", "fig2b", "table1", "fig3a", "fig3b", "fig3c",
    "ablation", "stability", "structure", "conservation",
)  # fmt: skip
ERRORS = ("sic_errors", "table1", "ablation")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    rules = {"as_told": AS_TOLD, "opposite": OPPOSITE, "undecided": UNDECIDED}
    return {name: make_run(tmp_path_factory.mktemp(name), rule) for name, rule in rules.items()}


@pytest.fixture(scope="module")
def drawn(runs):
    """A function that returns the tidy table of an artefact as it is recorded, and its figure."""
    known = {}

    def draw(run, name):
        if (run, name) not in known:
            tidy, _ = getattr(tables, name)(inputs_of(runs[run], name))
            tidy = through_csv(tidy)
            known[run, name] = tidy, getattr(figures, name)(tidy, INFO)
        return known[run, name]

    return draw


def words(fig):
    return [t.get_text() for t in texts(fig)]


def test_every_artefact_of_the_card_is_drawn(runs):
    # data sets have a test of their own
    assert set(runs["as_told"].card["artefacts"]) == {*NAMES, "reference_data"}
    assert set(figures.__all__) == {*NAMES, "reference_data"}


@pytest.mark.parametrize(
    ("run", "name"),
    [
        *(("as_told", name) for name in NAMES),
        *(("opposite", name) for name in NAMES if name not in ERRORS),
        # without failures, and without one of the arms
        *(("undecided", name) for name in ("fig2a", "fig2b", "fig3b", "fig3c", "stability")),
    ],
)
def test_figure_from_the_recorded_table_alone(drawn, run, name):
    tidy, fig = drawn(run, name)
    check(fig, (style.DOUBLE,), reference="xtb")
    if "seed" in tidy:
        seeds = int(tidy["seed"].dropna().nunique())
        assert any(f"{seeds} seed" in t.get_text() for t in fig.texts)


@pytest.mark.parametrize("name", NAMES)
def test_panels_keep_clear_of_each_other(drawn, name):
    """Neither axes with their labels, nor the legend, nor the footer overlap."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    _, fig = drawn("as_told", name)
    with style.look():
        canvas = FigureCanvasAgg(fig)
        canvas.draw()
        renderer = canvas.get_renderer()
        boxes = [part.get_tightbbox(renderer) for part in (*fig.axes, *fig.texts, *fig.legends)]
    # what merely touches, by a pixel, is told apart by eye
    boxes = [box.padded(-1.0) for box in boxes if min(box.width, box.height) > 2.0]
    for k, box in enumerate(boxes):
        for other in boxes[k + 1 :]:
            assert not box.overlaps(other), (box, other)


def test_published_errors_stand_beside_ours(drawn):
    _, fig = drawn("as_told", "table1")
    published = [
        line.get_xdata()[0]
        for line in fig.axes[0].lines
        if line.get_marker() == "D" and len(line.get_xdata())
    ]
    assert published == [2.16, 2.48, 1.06, 1.64]
    labels = [t.get_text() for t in fig.axes[0].get_yticklabels()]
    assert labels == [
        f"{arm} ({split})"
        for arm in ("GNN", "NN2 + NN3 + GNN")
        for split in ("random", "trajectory")
    ]


def test_local_forces_leave_out_bins_with_too_few_pairs(drawn):
    _, fig = drawn("as_told", "fig2a")
    titles = [ax.get_title(loc="left") for ax in fig.axes]
    assert titles == ["(a)  C–Si", "(b)  Si–C", "(c)  C–C", "(d)  Si–Si"]
    for ax in fig.axes:
        assert min(np.nanmin(line.get_ydata()) for line in ax.lines if len(line.get_ydata())) > -5.0


def test_a_lasting_structure_is_shown_where_there_is_one(drawn):
    assert "(b)  at the end" in words(drawn("as_told", "fig2b")[1])
    assert not any("Å" in word for word in words(drawn("as_told", "fig2b")[1]))
    assert any("GNN 0 of 8" in word for word in words(drawn("as_told", "fig2b")[1]))


def test_the_first_bad_frame_has_a_ring_around_its_closest_pair(drawn):
    _, fig = drawn("opposite", "fig2b")
    assert "(b)  first bad frame" in words(fig)
    assert "Si–C, 1.20 Å" in words(fig)
    _, fig = drawn("as_told", "fig3c")
    assert "Se–Se, 1.20 Å" in words(fig)
    ring = [line for line in fig.axes[0].lines if line.get_markerfacecolor() == "none"]
    assert len(ring) == 1


def test_the_ring_is_around_the_pair_of_the_autopsy(drawn):
    """Two light atoms may be closer than the two that are too close for what they are."""
    tidy = drawn("as_told", "fig3c")[0].copy()
    own = (tidy["record"] == "frame") & (tidy["potential"] == "gnn") & (tidy["replica"] == 0)
    bonded = tidy[own & tidy["name"].eq("Ge")].index[:2]
    place = np.array(tidy.loc[bonded[0], "text"].split(), dtype=float)
    tidy.loc[bonded[1], "text"] = " ".join(f"{x:.4f}" for x in place + np.array([0.0, 0.0, 1.0]))
    assert "Se–Se, 1.20 Å" in words(figures.fig3c(tidy, INFO))


def test_without_failures_the_figures_say_so(drawn):
    for run in ("opposite", "undecided"):
        titles = [ax.get_title(loc="left") for ax in drawn(run, "fig3c")[1].axes]
        assert "(a)  GNN, at the end: no replica failed" in titles
    tidy, _ = drawn("undecided", "fig3c")
    assert "no replica of the GNN failed" in words(
        figures.fig3c(tidy[tidy["record"] != "frame"], INFO)
    )
    assert "no replica failed" in words(drawn("undecided", "fig3c")[1])
    assert words(drawn("undecided", "stability")[1]).count("no replica failed") == 2
    assert any("replicas that failed: none" in w for w in words(drawn("undecided", "fig3c")[1]))


def test_an_arm_that_was_not_run_is_said_not_hidden(drawn):
    assert "not run" in words(drawn("undecided", "fig2b")[1])
    tidy = drawn("as_told", "fig3c")[0]
    fig = figures.fig3c(tidy[tidy["potential"] != "gnn"], INFO)
    assert "no replica of the GNN was run" in words(fig)


def test_every_failure_has_its_cross_inside_the_axes(drawn):
    _, fig = drawn("as_told", "fig3b")
    counts = []
    for ax in fig.axes:
        crosses = [line for line in ax.lines if line.get_marker() == "x"]
        counts.append(len(crosses))
        low, high = ax.get_ylim()
        assert all(low <= line.get_ydata()[0] <= high for line in crosses)
    assert counts == [6, 0]
    # both panels have one time
    assert fig.axes[0].get_xlim() == fig.axes[1].get_xlim() == (0.0, 15.0)


def test_a_constant_energy_has_short_numbers(drawn):
    """As of a tier for plumbing only, whose networks know nothing."""
    tidy = drawn("as_told", "fig2b")[0].copy()
    tidy.loc[tidy["record"] == "series", "value"] = -900.0
    fig = figures.fig2b(tidy, INFO)
    check(fig, (style.DOUBLE,), reference="xtb")
    low, high = fig.axes[0].get_ylim()
    assert high - low >= 1.0


def test_distributions_of_both_materials_are_there(drawn):
    _, fig = drawn("as_told", "structure")
    assert len(fig.axes) == 6
    for ax, curves in zip(fig.axes, (7, 7, 6) * 2, strict=True):
        assert len([line for line in ax.lines if len(line.get_xdata())]) == curves
    assert any("the reference was not moved" in word for word in words(fig))
    # the words stand above the curves
    for ax in (fig.axes[k] for k in (0, 1, 3, 4)):
        assert len(ax.texts) == 7
        top = max(np.max(line.get_ydata()) for line in ax.lines)
        lowest = min(t.get_position()[1] for t in ax.texts) - 8.6 / (50.0 / 25.4 * 72.0)
        assert top / ax.get_ylim()[1] < lowest + 0.01


def test_orders_are_written_with_their_interval(drawn):
    said = words(drawn("as_told", "conservation")[1])
    assert said.count("GNN: 1.00 ± 0.10") == 2
    assert said.count("GNN with envelope: 2.00 ± 0.10") == 2

import numpy as np
import pandas as pd
import pytest
from figure_checks import check, texts, through_csv
from made_up_run import ROOT
from made_up_tables import REPLICAS
from paper_checks import artefacts, check_figure, check_metrics, check_published
from rajak2021_run import AS_TOLD, OPPOSITE, UNDECIDED, rajak_run

from gnnip.artefacts import style
from gnnip.artefacts.errors import _of_ensemble, potential_errors
from gnnip.config.resolve import resolve
from gnnip.verdicts import verdict

CARD = resolve("rajak2021", "paper", folder=ROOT / "papers")
ARTEFACTS = artefacts(CARD)
ERRORS = ("sic_errors", "table1", "ablation")
ENSEMBLE = ("phase", "temperature_k")
ARMS = {"nn2", "nn3", "gnn", "nn2_gnn", "decomposed", "zbl_gnn", "smooth", "nequip"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    rules = {"as_told": AS_TOLD, "opposite": OPPOSITE, "undecided": UNDECIDED}
    return {name: rajak_run(tmp_path_factory.mktemp(name), rule) for name, rule in rules.items()}


@pytest.fixture(scope="module")
def told(runs):
    return runs["as_told"]


def values(run, artefact):
    """Mean over seeds by quantity."""
    return run.table(artefact)[1].groupby("quantity")["value"].mean()


def words(fig):
    return [t.get_text() for t in texts(fig)]


# --- all artefacts --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARTEFACTS)
def test_metrics(told, name):
    check_metrics(told, name, "xtb")
    assert set(told.table(name)[1]["variant"]) <= {"as_described", "corrected", "by_trajectory"}


def test_published_quantities(told):
    check_published(told)
    # GeSe2 is divided in two ways, SiC by trajectory alone
    assert set(told.table("sic_errors")[1]["variant"]) == {"as_described"}
    assert set(told.table("table1")[1]["variant"]) == {"as_described", "by_trajectory"}


def test_verdicts_find_all_of_them(told):
    found = told.judge(ARTEFACTS).verdicts
    assert not [v.quantity for v in found if v.verdict == verdict.NOT_RUN]
    numbers = {(v.verdict, "xTB" in v.reason) for v in found if v.unit != "claim"}
    assert numbers == {(verdict.NOT_COMPARABLE, True)}


@pytest.mark.parametrize(
    ("run", "name"),
    [
        *(("as_told", name) for name in ARTEFACTS),
        *(("opposite", name) for name in ARTEFACTS if name not in ERRORS),
        # without failures, and without one of the arms
        *(("undecided", name) for name in ("fig2a", "fig2b", "fig3b", "fig3c", "stability")),
    ],
)
def test_figures(runs, run, name):
    check_figure(runs[run], name, "xtb")


@pytest.mark.parametrize("name", ARTEFACTS)
def test_panels_keep_clear_of_each_other(told, name):
    """Neither axes with their labels, nor the legend, nor the footer overlap."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    fig = told.draw(name)
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


# --- errors ---------------------------------------------------------------------------------------


def test_errors_are_those_of_the_predictions_and_of_the_summaries(told):
    for name in ("sic_errors", "table1"):
        value = values(told, name)
        for measure, error in {"energy_rmse": 4.0, "energy_mae": 4.0, "force_rmse": 0.4}.items():
            assert value[f"gnn_test_{measure}"] == pytest.approx(error)
        # predictions of training frames are not kept
        assert value["gnn_train_energy_rmse"] == pytest.approx(3.2)
        assert value["gnn_train_force_rmse"] == pytest.approx(0.32)
        assert "gnn_train_energy_mae" not in value
    assert value["decomposed_validation_energy_rmse"] == pytest.approx(2.0)


@pytest.mark.parametrize("name", ERRORS)
def test_tidy_errors_hold_ours_the_published_and_the_trivial(told, name):
    tidy, _ = told.table(name)
    sources = {"ours", "composition", "ensemble_mean", "null_model"}
    assert set(tidy["source"]) == sources | (set() if name == "ablation" else {"published"})
    assert set(tidy["subset"]) == {"train", "validation", "test"}
    ours = tidy[tidy["source"] == "ours"]
    for (material, arm), part in ours.groupby(["material", "arm"]):
        random = ["random"] if material == "gese2" else []
        both = material == "sic" or arm in ("nn2", "nn3", "gnn", "decomposed")
        assert sorted(set(part["split"])) == random + ["trajectory"] * both, (material, arm)
    assert (ours["n_parameters"] == 1000).all()
    one = ours[(ours["seed"] == 0) & (ours["arm"] == "gnn")]
    counts = one.drop_duplicates(["material", "subset"])
    assert counts.groupby("material")["n_frames"].sum().isin([340, 336]).all()


def test_published_errors_stand_beside_ours(told):
    published = told.table("table1")[0].query("source == 'published'")
    known = published.set_index(["arm", "subset"])["energy_rmse_mev_per_atom"].dropna()
    assert known["decomposed", "train"] == 1.06
    assert len(published) == 8
    ax = told.draw("table1").axes[0]
    drawn = [x for line in ax.lines if line.get_marker() == "D" for x in line.get_xdata()[:1]]
    assert drawn == [2.16, 2.48, 1.06, 1.64]
    labels = [t.get_text() for t in ax.get_yticklabels()]
    splits = ("random", "trajectory")
    assert labels == [f"{arm} ({s})" for arm in ("GNN", "NN2 + NN3 + GNN") for s in splits]


def test_the_ablation_tells_arms_and_materials_apart(told):
    tidy, metrics = told.table("ablation")
    assert set(tidy["arm"]) == ARMS
    assert set(tidy["material"]) == {"sic", "gese2"}
    apart = ("_free", "_fewer")
    arms = [group for group in CARD.trainings if not group.endswith(apart)]
    assert {f"{group}_test_energy_rmse" for group in arms} <= set(metrics["quantity"])
    corrected = metrics.loc[metrics["variant"] == "corrected", "quantity"]
    assert len(corrected)
    assert all("_smooth_" in q or "_nequip_" in q for q in corrected)


def test_the_mean_of_the_ensemble_is_that_of_the_training_frames(told):
    inputs = told.inputs("sic_errors")
    found = potential_errors(inputs, "sic_gnn", ENSEMBLE, train=True)
    arrays, train = inputs.arrays("sic"), inputs.training_frames("sic_gnn", {}, 0)
    energy = arrays.energy("total") * 1000.0 / arrays.n_atoms
    kinds = [tuple(pair) for pair in zip(*map(arrays.column, ENSEMBLE), strict=True)]
    means = {kind: np.mean([energy[i] for i in train if kinds[i] == kind]) for kind in set(kinds)}
    predictions = pd.read_csv(next(inputs.cells("sic_gnn"))[2] / "predictions.csv")
    test = predictions.loc[predictions["subset"] == "test", "frame"]
    first = found[found["seed"] == 0]
    mean = first[first["source"] == "ensemble_mean"].set_index("subset")
    for subset, frames in (("test", test), ("train", train)):
        off = [energy[i] - means[kinds[i]] for i in frames]
        own = mean.loc[subset]
        assert own["energy_rmse_mev_per_atom"] == pytest.approx(np.sqrt(np.mean(np.square(off))))
        rms = np.sqrt(np.mean(np.square(arrays.subset(np.array(frames)).force("total"))))
        assert own["force_rmse_ev_per_a"] == pytest.approx(rms)
        assert own["force_r2"] == pytest.approx(0.0)
    metrics = told.table("sic_errors")[1]
    row = metrics[(metrics["quantity"] == "gnn_test_energy_rmse") & (metrics["seed"] == 0)]
    null = first[first["source"] == "null_model"].set_index("subset")
    assert row["baseline"].item() == null.loc["test", "energy_rmse_mev_per_atom"]
    # knowing the temperature is worth something
    one = first[first["source"] == "composition"].set_index("subset")["energy_rmse_mev_per_atom"]
    assert mean.loc["test", "energy_rmse_mev_per_atom"] < one["test"]


def test_an_ensemble_that_was_not_trained_on_has_the_mean_of_all(told):
    """The only crystal of GeSe2 is one trajectory: where it is tested, nobody has seen one."""
    inputs = told.inputs("table1")
    arrays = inputs.arrays("gese2")
    phase = arrays.column("phase")
    keys = {"split": "trajectory"}
    learned = [inputs.training_frames("gese2_gnn", keys, seed) for seed in range(3)]
    train = next(frames for frames in learned if "crystal" not in phase[frames])
    frames = arrays.subset(np.flatnonzero(phase == "crystal"))
    found = _of_ensemble(arrays.subset(train), frames, "total", ENSEMBLE)
    energy = arrays.energy("total") * 1000.0 / arrays.n_atoms
    assert found == pytest.approx(energy[train].mean())


# --- local forces ---------------------------------------------------------------------------------


def test_local_forces_tell_where_they_are_lowest(told):
    (tidy, metrics), value = told.table("fig2a"), values(told, "fig2a")
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
    fig = told.draw("fig2a")
    titles = [ax.get_title(loc="left") for ax in fig.axes]
    assert titles == ["(a)  C–Si", "(b)  Si–C", "(c)  C–C", "(d)  Si–Si"]
    for ax in fig.axes:
        assert min(np.nanmin(line.get_ydata()) for line in ax.lines if len(line.get_ydata())) > -5.0


def test_local_forces_in_ranges_of_the_distance(runs, told):
    value = values(told, "fig3a")
    assert value["gnn_SeSe_force_below_2"] == pytest.approx(0.8)
    assert value["gnn_SeSe_force_2_to_3"] == pytest.approx(-0.5)
    assert 0.1 < value["gnn_SeSe_force_3_to_4"] < 0.3
    assert "gnn_SeSe_force_below_2" not in values(runs["undecided"], "fig3a")


# --- dynamics -------------------------------------------------------------------------------------


def test_failures_are_counted_and_timed(told):
    value = values(told, "fig3c")
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


@pytest.mark.parametrize(
    ("name", "records"),
    [
        ("fig2b", {"run", "series", "frame"}),
        ("fig3b", {"run", "series", "frame", "autopsy"}),
        ("fig3c", {"run", "frame", "autopsy", "closest"}),
        ("stability", {"run", "survival", "autopsy"}),
        ("structure", {"rdf", "adf", "vdos", "rdf_error", "adf_error"}),
    ],
)
def test_tidy_dynamics_hold_what_is_drawn_and_no_more(told, name, records):
    tidy = told.table(name)[0]
    assert set(tidy["record"]) == records
    assert set(tidy["potential"]) <= {*ARMS, "reference", "noise_floor"}
    assert set(tidy.loc[tidy["record"] == "series", "name"]) <= {"potential_energy_ev"}


def test_both_materials_are_told_apart(told):
    value = values(told, "stability")
    assert value["sic_gnn_failed"] == 0
    assert value["gese2_gnn_failed"] == REPLICAS - 2
    for name in ("stability", "structure", "conservation"):
        assert set(told.table(name)[0]["material"]) == {"sic", "gese2"}


def test_structure_stands_beside_the_noise_floor(told):
    metrics = told.table("structure")[1].set_index("quantity")
    assert metrics.loc["sic_gnn_rdf_SiC_error", "value"] == 2.0
    assert metrics.loc["gese2_nequip_adf_SeGeSe_error", "value"] == 7.0
    assert set(metrics["baseline"]) == set(metrics["floor"]) == {1.5}
    assert set(metrics["unit"]) == {"%"}
    fig = told.draw("structure")
    # of each distribution the reference, the differences from it, and errors over the noise floor
    known, differences, errors = (fig.axes[k::3] for k in range(3))
    assert len(known) == len(differences) == len(errors) == 6
    for k in (0, 1, 3, 4):
        (reference,) = known[k].lines
        assert np.max(reference.get_ydata()) > 0.0
        # the six arms and zero
        assert len(differences[k].lines) == 7
        assert len(errors[k].lines) == 6
        (floor,) = errors[k].patches
        assert floor.get_width() == 1.5
    # a reference that was not moved has no vibrations
    for k in (2, 5):
        assert len(known[k].lines) == 6
        assert [text.get_text() for text in differences[k].texts] == ["no reference"]
    assert any("the reference was not moved" in word for word in words(fig))


def test_orders_and_drifts(told):
    value = values(told, "conservation")
    assert value["sic_smooth_exponent"] == 2.0
    assert value["gese2_gnn_exponent"] == 1.0
    # their signs do not cancel
    assert value["sic_gnn_drift"] == pytest.approx(0.01 * 0.25)
    assert value["gese2_gnn_drift"] == pytest.approx(0.01 * 0.5)
    tidy = told.table("conservation")[0].copy()
    # one replica has an order without an interval
    ends = tidy["name"].isin(("exponent_low", "exponent_high")) & (tidy["potential"] == "nequip")
    tidy.loc[ends, "value"] = np.nan
    fig = told.draw("conservation", tidy)
    said = words(fig)
    assert said.count("GNN: 1.00 ± 0.10") == said.count("GNN with envelope: 2.00 ± 0.10") == 2
    assert "NequIP: 2.00" in said
    guide = fig.axes[0].lines[-1]
    slope = np.polyfit(np.log(guide.get_xdata()), np.log(guide.get_ydata()), 1)[0]
    assert slope == pytest.approx(2.0)


def test_a_lasting_structure_is_shown_where_there_is_one(told):
    said = words(told.draw("fig2b"))
    assert "(b)  at the end" in said
    assert not any("Å" in word for word in said)
    assert any("GNN 0 of 8" in word for word in said)


def test_the_first_bad_frame_has_a_ring_around_its_closest_pair(runs, told):
    said = words(runs["opposite"].draw("fig2b"))
    assert "(b)  first bad frame" in said
    assert "Si–C, 1.20 Å" in said
    fig = told.draw("fig3c")
    assert "Se–Se, 1.20 Å" in words(fig)
    ring = [line for line in fig.axes[0].lines if line.get_markerfacecolor() == "none"]
    assert len(ring) == 1
    # two light atoms may be closer than the two that are too close for what they are
    tidy = through_csv(told.table("fig3c")[0])
    own = (tidy["record"] == "frame") & (tidy["potential"] == "gnn") & (tidy["replica"] == 0)
    bonded = tidy[own & tidy["name"].eq("Ge")].index[:2]
    place = np.array(tidy.loc[bonded[0], "text"].split(), dtype=float)
    tidy.loc[bonded[1], "text"] = " ".join(f"{x:.4f}" for x in place + np.array([0.0, 0.0, 1.0]))
    assert "Se–Se, 1.20 Å" in words(told.draw("fig3c", tidy))


def test_without_failures_the_figures_say_so(runs):
    for run in ("opposite", "undecided"):
        titles = [ax.get_title(loc="left") for ax in runs[run].draw("fig3c").axes]
        assert "(a)  GNN, at the end: no replica failed" in titles
    undecided = runs["undecided"]
    tidy, said = undecided.table("fig3c")[0], words(undecided.draw("fig3c"))
    frameless = words(undecided.draw("fig3c", tidy[tidy["record"] != "frame"]))
    assert "no replica of the GNN failed" in frameless
    assert any("replicas that failed: none" in word for word in said)
    for ax in undecided.draw("stability").axes[::2]:
        assert {line.get_marker() for line in ax.lines} == {"None"}


def test_an_arm_that_was_not_run_is_said_not_hidden(runs, told):
    assert "not run" in words(runs["undecided"].draw("fig2b"))
    tidy = told.table("fig3c")[0]
    without = told.draw("fig3c", tidy[tidy["potential"] != "gnn"])
    assert "no replica of the GNN was run" in words(without)


def test_survival_and_failures_by_criterion_and_pair(told):
    tidy = told.table("stability")[0].copy()
    # one replica that lived has left the reference's energies before
    left = {"material": "gese2", "potential": "smooth", "record": "run", "replica": 3}
    rows = [
        {**left, "name": "failed_by_energy", "value": 1.0},
        {**left, "name": "failed_by_energy_fs", "value": 2500.0},
    ]
    ends = tidy["record"].eq("survival") & tidy["material"].eq("gese2")
    judged = tidy[ends].assign(record="survival_by_limits")
    tidy = pd.concat([tidy, pd.DataFrame(rows), judged], ignore_index=True)
    fig = told.draw("stability", tidy)
    lives, shares = fig.axes[2:]
    assert lives.get_xlim() == (0.0, 15.0)
    marks = [x for x in lives.lines if x.get_marker() == "o" and len(x.get_xdata())]
    assert sorted(line.get_xdata()[0] for line in marks)[::2] == pytest.approx(
        [0.8, 1.1, 1.4, 1.7, 2.0, 2.3]
    )
    (energy,) = [x for x in lives.lines if x.get_marker() == "^" and len(x.get_xdata())]
    assert energy.get_xdata()[0] == 2.5
    assert [t.get_text() for t in lives.texts].count("Se-Se, 1.20 Å") == 2  # of two arms
    assert {"limits", "energy"} <= set(words(fig))
    assert "structure" not in words(fig)
    alive = sorted(bar.lines[0].get_xdata()[0] for bar in shares.containers)
    assert alive == pytest.approx([2 / REPLICAS] * 2 + [1.0] * 4)


def test_every_failure_has_its_cross_inside_the_axes(told):
    axes, counts = told.draw("fig3b").axes, []
    for ax in axes:
        crosses = [line for line in ax.lines if line.get_marker() == "x"]
        counts.append(len(crosses))
        low, high = ax.get_ylim()
        assert all(low <= line.get_ydata()[0] <= high for line in crosses)
    assert counts == [6, 0]
    # both panels have one time
    assert axes[0].get_xlim() == axes[1].get_xlim() == (0.0, 15.0)


def test_a_constant_energy_has_short_numbers(told):
    """As of a tier for plumbing only, whose networks know nothing."""
    tidy = told.table("fig2b")[0].copy()
    tidy.loc[tidy["record"] == "series", "value"] = -900.0
    fig = told.draw("fig2b", tidy)
    check(fig, (style.DOUBLE,), reference="xtb", tier="paper")
    low, high = fig.axes[0].get_ylim()
    assert high - low >= 1.0


# --- claims ---------------------------------------------------------------------------------------

#: arms without any of which a claim cannot be decided, where it is not the graph network alone
NEEDED = {
    "decomposition_stable": ("decomposed",),
    "decomposition_lowers_errors": ("gnn", "decomposed"),
}


@pytest.mark.parametrize("claim", sorted(CARD.claims))
def test_claims_hold_or_do_not_hold(runs, told, claim):
    for run, expected in (("as_told", True), ("opposite", False)):
        result = runs[run].claim(claim)
        assert result.holds is expected, result
        assert result.measured
        assert result.reason
    # what was not run is not decided
    (artefact,) = CARD.claims[claim].artefacts
    table = told.table(artefact)[1]
    for arm in NEEDED.get(claim, ("gnn",)):
        rest = table[~table["quantity"].str.startswith(f"{arm}_")]
        result = told.tests[claim]({artefact: rest})
        assert result.holds is None
        assert "not " in result.reason or "no dynamics" in result.reason


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
def test_what_cannot_be_decided_says_why(runs, claim, reason):
    result = runs["undecided"].claim(claim)
    assert result.holds is None
    assert reason in result.reason


@pytest.mark.parametrize(
    ("claim", "changed", "holds", "said"),
    [
        ("unlike_attract", {"gnn_CSi_lowest_force_at": 2.25}, True, ""),
        ("unlike_attract", {"gnn_CSi_lowest_force_at": 2.35}, False, ""),
        ("unlike_attract", {"gnn_SiC_lowest_force": -0.01}, False, ""),
        (
            "unlike_attract",
            {"gnn_CSi_lowest_force_inside": 0},
            False,
            "at the end of the distances",
        ),
        # what is small beside the largest of the local forces is no attraction
        ("like_repel", {"gnn_CC_lowest_force": -0.05}, True, ""),
        ("like_repel", {"gnn_CC_lowest_force": -0.5}, False, ""),
        ("se_se_attracts", {"gnn_SeSe_force_3_to_4": -0.1}, False, "3 to 4"),
        ("gnn_collapses", {"gnn_median_failure": 6000.0}, False, "later than 5 ps"),
        ("gnn_collapses", {"gnn_failed_by_SeSe": 0.4}, False, "other pairs"),
        ("gnn_collapses", {"gnn_failed": REPLICAS / 2}, False, "no more than half"),
        ("decomposition_lowers_errors", {"decomposed_train_force_rmse": 0.5}, False, ""),
        ("sic_stable", {"gnn_failed": 1, "gnn_shortest_run": 9e3}, False, "first failure"),
    ],
)
def test_one_of_several_conditions_is_not_enough(told, claim, changed, holds, said):
    (artefact,) = CARD.claims[claim].artefacts
    table = told.table(artefact)[1].copy()
    for quantity, value in changed.items():
        known = table["quantity"] == quantity
        assert known.any(), quantity
        table.loc[known, "value"] = value
    result = told.tests[claim]({artefact: table})
    assert result.holds is holds
    assert said in result.measured + result.reason

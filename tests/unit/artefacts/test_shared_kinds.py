"""Kinds of artefacts on cards that a stranger may write, besides those of our papers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from figure_checks import check, texts
from made_up_run import ROOT, Error, make_run, write_card
from made_up_tables import (
    Failures,
    autopsy_table,
    conservation_table,
    dynamics_table,
    local_forces_table,
)

from gnnip.artefacts import style
from gnnip.datasets.store import load_arrays
from gnnip.errors import ConfigError

CARD = """
id: stranger
datasets: {sic: {sizes: [64]}}
trainings:
  small:
    dataset: sic
    model: pair
    target: total
    hyperparameters: {species: [6, 14], cutoff: 4.0}
    settings: {force_weight: 1}
"""
ERRORS = """
artefacts:
  errors: {kind: errors, label: A table, title: Errors, trainings: [small]}
"""
WIDTHS = (style.SINGLE, style.DOUBLE)


@pytest.fixture(scope="module")
def frames():
    return load_arrays(ROOT / "data" / "sic.h5").subset(np.arange(0, 340, 8))


@pytest.fixture
def run_of(tmp_path, frames):
    def make(text, given=frames):
        error = Error(per_atom=2.0, force=0.1)
        folder = write_card(tmp_path, CARD + text)
        return make_run(tmp_path / "results", folder, {"sic": given}, lambda training: error)

    return make


def drawn(run, name):
    fig = run.draw(name)
    check(fig, WIDTHS, reference="xtb", tier="paper")
    return fig, [t.get_text() for t in texts(fig)]


def values(run, name):
    return run.table(name)[1].set_index("quantity")["value"]


# --- errors ---------------------------------------------------------------------------------------


def test_errors_need_no_options(run_of):
    run = run_of(ERRORS)
    metrics = run.table("errors")[1].set_index("quantity")
    forces = ("force_mae", "force_rmse", "force_r2")
    measures = ("energy_rmse", "energy_mae", "energy_r2", *forces)
    known = {f"small_{subset}_{m}" for subset in ("train", "validation", "test") for m in measures}
    assert set(metrics.index) == known - {"small_train_energy_mae"}
    assert metrics.loc["small_test_force_rmse", "value"] == pytest.approx(0.1)
    # the trivial predictor of forces is no force at all
    (predictions,) = run.folder.glob("trainings/small/*/seed-0/predictions.csv")
    test = pd.read_csv(predictions).query("subset == 'test'")
    rms = np.sqrt(np.mean(test["force_rms_reference_ev_per_a"] ** 2))
    assert metrics.loc["small_test_force_rmse", "baseline"] == pytest.approx(rms)
    assert metrics.loc["small_test_force_r2", "baseline"] == pytest.approx(0.0)
    fig, words = drawn(run, "errors")
    assert len(fig.axes) == 3
    assert {"small", "train", "test", "best null model, no forces"} <= set(words)
    assert "published" not in words


def test_cells_of_a_matrix_have_names_and_rows(run_of):
    run = run_of("    matrix: {cutoff: [3.0, 4.0]}" + ERRORS)
    assert "small_cutoff_3.0_test_energy_rmse" in values(run, "errors")
    assert {"small (3.0)", "small (4.0)"} <= set(drawn(run, "errors")[1])


def test_energies_alone_have_errors_too(run_of, frames):
    run = run_of(ERRORS, replace(frames, forces={}))
    assert not values(run, "errors").index.str.contains("force").any()
    fig, _ = drawn(run, "errors")
    assert len(fig.axes) == 2


# --- dynamics, conservation, local forces ---------------------------------------------------------

MOVED = """
measurements:
  hot: {kind: KIND, trainings: [small], options: {MOTION}}
  cold: {kind: KIND, trainings: [small], options: {MOTION}}
artefacts:
  one: {kind: KIND, label: "1", title: One, measurements: [hot], options: {OPTIONS}}
  two: {kind: KIND, label: "2", title: Two, measurements: [hot, cold], options: {OPTIONS}}
"""


def moved(kind, options=""):
    motion = "" if kind == "local_forces" else "motion: {temperature: 300}"
    return MOVED.replace("KIND", kind).replace("OPTIONS", options).replace("MOTION", motion)


@pytest.mark.parametrize("view", ["energy", "collapse", "survival", "structure"])
def test_dynamics_of_one_or_several_measurements(run_of, frames, view):
    run = run_of(moved("dynamics", f"view: {view}"))
    for name, times in (("hot", [500.0]), ("cold", [])):
        failures = {"small/all/seed-0": Failures(times, "C-C")}
        run.write(name, dynamics_table(frames, failures, ["Si-C"], ["C-Si-C"], 2000.0))
    quantity = "rdf_SiC_error" if view == "structure" else "failed"
    assert values(run, "one")[f"small_{quantity}"] == (2.0 if view == "structure" else 1.0)
    for measurement, failed in (("hot", 1.0), ("cold", 0.0)):
        found = values(run, "two")[f"{measurement}_small_{quantity}"]
        assert found == (2.0 if view == "structure" else failed)
    assert "material" not in run.table("one")[0]
    assert set(run.table("two")[0]["material"]) == {"hot", "cold"}
    words = drawn(run, "one")[1]
    assert "small" in words
    title = {"survival": "(d)  cold: survival", "structure": "(e)  cold: angles"}.get(view)
    assert title is None or title in drawn(run, "two")[1]


def test_seeds_of_one_group_are_told_apart(run_of, frames):
    run = run_of("    seeds: 2" + moved("dynamics", "view: energy"))
    failures = {"small/all/seed-0": Failures(), "small/all/seed-1": Failures([700.0], "C-C")}
    run.write("hot", dynamics_table(frames, failures, ["Si-C"], [], 2000.0))
    value = values(run, "one")
    assert value["small_all_seed-0_failed"] == 0.0
    assert value["small_all_seed-1_first_failure"] == 700.0
    assert {"(a)  small all seed-0", "(b)  small all seed-1"} <= set(drawn(run, "one")[1])


def test_structure_without_angles(run_of, frames):
    run = run_of(moved("dynamics", "view: structure"))
    run.write("hot", dynamics_table(frames, {"small/all/seed-0": Failures()}, ["C-C"], [], 2000.0))
    fig, words = drawn(run, "one")
    assert "distance C–C (Å)" in words
    assert not fig.axes[4].lines


def test_conservation(run_of):
    run = run_of(moved("conservation"))
    for name, order in (("hot", 2.0), ("cold", 1.0)):
        run.write(name, conservation_table({"small/all/seed-0": order}, [0.5, 1.0]))
    assert values(run, "one")["small_exponent"] == 2.0
    assert values(run, "two")["cold_small_exponent"] == 1.0
    assert len(drawn(run, "two")[0].axes) == 2


OF_ANOTHER = """
measurements:
  hot: {{kind: dynamics, trainings: [small], options: {{motion: {{temperature: 300}}}}}}
  labelled: {{kind: {kind}, trainings: [small], options: {options}}}
artefacts:
  one: {{kind: autopsy, label: "1", title: One, measurements: [labelled]}}
"""


def test_autopsy(run_of):
    run = run_of(OF_ANOTHER.format(kind="autopsy", options='{dynamics: hot, reference: "ase:lj"}'))
    run.write("labelled", autopsy_table({"small/all/seed-0": [(-300.0, 40.0), (-50.0, -45.0)]}))
    value = values(run, "one")
    assert (value["small_holes"], value["small_relaxations"]) == (1.0, 1.0)
    assert value["small_change"] == -300.0
    assert value["small_change_by_reference"] == 40.0
    assert value["small_force_rmse_on_path"] == pytest.approx(0.5)
    assert {"hole", "relaxation"} <= set(drawn(run, "one")[1])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("autopsy", '{dynamics: hat, reference: "ase:lj"}'),
        ("warnings", "{dynamics: hat}"),
        ("warnings", "{dynamics: labelled}"),
    ],
)
def test_who_reads_trajectories_names_a_measurement_of_dynamics(run_of, kind, options):
    seeds = "    seeds: 2\n"  # of the training; warnings of one are left out
    with pytest.raises(ConfigError, match=r"'(hat|labelled)' is no measurement of dynamics"):
        run_of(seeds + OF_ANOTHER.format(kind=kind, options=options))


def test_local_forces_of_one_element(run_of):
    run = run_of(moved("local_forces"))
    run.write("hot", local_forces_table(["small"], ["P"], lambda *about: 3.0 - about[-1]))
    value = values(run, "one")
    assert value["small_PP_highest_force"] == pytest.approx(1.5, abs=0.1)
    assert value["small_PP_lowest_force_inside"] == 0.0
    assert value["small_PP_force_2_to_3"] == pytest.approx(0.5, abs=0.1)
    assert "small_PP_force_below_2" in value
    fig, words = drawn(run, "one")
    assert len(fig.axes) == 1
    assert "(a)  P–P" in words


# --- force against distance -----------------------------------------------------------------------

PULLED = """
measurements:
  pull: {kind: charge_probe, trainings: [small]}
artefacts:
  pulled:
    kind: force_against_distance
    label: Figure 1
    title: Force on Au2
    trainings: [small]
    measurements: [pull]
    options:
      {value: force_on_au_ev_per_a, quantity: force, exact: reference_ev_per_a, distance: au_o_a,
       label: force on Au$_2$ (eV/Å), axis: distance Au–O (Å), SHARE}
"""


@pytest.mark.parametrize("share", [True, False])
def test_a_force_beside_that_of_the_reference(run_of, share):
    run = run_of(PULLED.replace("SHARE", f"share: {str(share).lower()}"))
    distance = np.repeat([2.0, 2.5, 3.0], 2)
    reference = 3.0 - distance
    table = {"au_o_a": distance, "reference_ev_per_a": reference, "frame": np.arange(6)}
    table["force_on_au_ev_per_a"] = 0.9 * reference + np.tile([0.01, -0.01], 3)
    run.write("pull", pd.DataFrame({"group": "small", "cell": "all", "seed": 0} | table))
    tidy, value = run.table("pulled")[0], values(run, "pulled")
    assert ("share" in tidy) is share
    assert value["force_d2"] == pytest.approx(0.9)
    assert value["force_share_d2.5"] == pytest.approx(0.9)
    assert value["force_spread_d2"] == pytest.approx(0.01 * np.sqrt(2.0))
    # no one says which distances were trained on
    assert "trained" not in tidy
    assert "force_rmse_unseen" not in value
    fig, words = drawn(run, "pulled")
    assert {"reference", "potential", "distance Au–O (Å)"} <= set(words)
    curve = next(line for line in fig.axes[0].lines if line.get_linestyle() == ":")
    np.testing.assert_allclose(curve.get_data(), ([2.0, 2.5, 3.0], [1.0, 0.5, 0.0]))


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (
            "force_against_distance",
            "value: f, quantity: force, exact: coulomb_force, difference: [configuration, I]",
            "difference is a list of a column and two of its values",
        ),
        ("force_against_distance", "quantity: force, exact: coulomb_force", "needs the option"),
        ("dynamics", "view: everything", "view is 'everything'"),
        ("errors", "measures: [energy_rsme]", "energy_rmse"),
        ("local_forces", "material: {}", "no option 'material', did you mean 'materials'"),
    ],
)
def test_wrong_options_are_named(run_of, kind, options, said):
    card = f"\nartefacts: {{x: {{kind: {kind}, label: X, title: X, options: {{{options}}}}}}}"
    with pytest.raises(ConfigError, match=said):
        run_of(card)

"""Scans, learning curves and costs against the size, on a card made on the fly."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from figure_checks import check, texts
from made_up_run import TRAIN_SHARE, Error, make_run, write_card

from gnnip.artefacts import kinds
from gnnip.artefacts.energy_scores import predicted_frames, scored
from gnnip.artefacts.learning_curve import plateau
from gnnip.artefacts.panels import with_spread
from gnnip.artefacts.scan import mean_neighbours
from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import ConfigError, DataError

CARD = """
id: toy
datasets: {sic: {}}
training_defaults:
  dataset: sic
  model: pair
  target: total
  hyperparameters: {species: [6, 14], cutoff: 3}
  settings: {force_weight: 1}
  seeds: 2
trainings:
  pairs: {matrix: {cutoff: [2, 3], n_radial: [4, 8]}, variant: corrected}
  few: {split: {max_frames: 24}}
  many: {}
  divided: {matrix: {split: [random, trajectory]}}
  unforced: {settings: {force_weight: 0}}
measurements:
  timing: {kind: timing, trainings: [pairs]}
artefacts:
  cutoff:
    kind: scan
    trainings: [pairs]
    options:
      unit: meV/atom
      ensemble: [phase]
      quantity: cutoff_{cutoff:g}_{n_radial}
      x: cutoff
      series: n_radial
      chosen: [3]
      neighbours: Angstrom
      words: {labels: {total: total energy, cutoff: cutoff (Å), 4: four}, colours: {4: sky}}
  map:
    kind: scan
    trainings: [pairs]
    options: {quantity: "c{cutoff}_n{n_radial}", x: n_radial, y: cutoff, chosen: [4, 3]}
  frames:
    kind: scan
    trainings: [few, many]
    options:
      quantity: "{group}"
      x: n_train
      log: true
      measure: force_rmse
      measures: [force_rmse, force_r2]
  divided:
    kind: scan
    trainings: [divided]
    options: {quantity: "{split}", x: split, words: {labels: {trajectory: by trajectory}}}
  unforced:
    kind: scan
    trainings: [unforced]
    options: {quantity: all, x: n_train, measures: [force_rmse]}
  energies:
    kind: learning_curve
    trainings: [pairs]
    options: {quantity: "{cutoff}_{n_radial}", series: n_radial}
  cost:
    kind: cost_against_size
    measurements: [timing]
    options:
      methods: {slow: slow, quick: quick}
      against: slow
      ratios: {quick: quick_ratio}
      words: {labels: {slow: the slow one}}
"""


def frames():
    """Sixty periodic cells of four or six atoms in two phases, four to a trajectory."""
    rng = np.random.default_rng(5)
    sizes = np.tile([4, 6], 30)
    liquid = np.repeat([False, True], 30)
    energy = -3.0 * sizes + 0.4 * liquid * sizes + 0.1 * rng.normal(size=60)
    grid = 1.2 * np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return FrameArrays(
        positions=np.concatenate([grid[:n] + 0.05 * rng.normal(size=(n, 3)) for n in sizes]),
        numbers=np.concatenate([np.tile([6, 14], n // 2) for n in sizes]),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        energies={"total": energy},
        forces={"total": rng.normal(size=(sizes.sum(), 3))},
        metadata={
            "phase": np.where(liquid, "liquid", "crystal"),
            "trajectory": np.array([f"t{k // 4}" for k in range(60)]),
        },
        cells=np.tile(4.0 * np.eye(3), (60, 1, 1)),
        pbc=np.ones((60, 3), dtype=bool),
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )


def error(training):
    """Two meV/atom, or four within the short cutoff, and half as much more for the second seed."""
    harder = 2.0 if training.keys.get("cutoff") == 2 else 1.0
    size = harder * (1.0 + 0.5 * training.seed)
    return Error(per_atom=2.0 * size, force=(0.4 if training.group == "few" else 0.2) * size)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    run = make_run(root, write_card(root, CARD), {"sic": frames()}, error)
    sizes = np.repeat([10, 20, 40], 2)
    noise = np.tile([0.9, 1.1], 3)
    parts = [("slow", 1e-3 * sizes**2.0), ("quick", 1e-3 * sizes * noise), ("third", 1.0 * sizes)]
    tables = [pd.DataFrame({"method": m, "n_molecules": sizes, "seconds": s}) for m, s in parts]
    run.write("timing", pd.concat(tables))
    return run


def value(metrics, quantity, seed=0):
    rows = metrics[(metrics["quantity"] == quantity) & (metrics["seed"] == seed)]
    return rows["value"].item(), rows["baseline"].item()


def test_scan_tells_errors_per_atom_beside_the_mean_of_the_phase(run):
    tidy, metrics = run.table("cutoff")
    assert value(metrics, "cutoff_2_4_mae")[0] == pytest.approx(4.0)
    assert value(metrics, "cutoff_3_8_mae", seed=1)[0] == pytest.approx(3.0)
    assert set(metrics["unit"]) == {"meV/atom", "%", ""}
    assert set(metrics.loc[metrics["unit"] != "", "variant"]) == {"corrected"}
    own = tidy[(tidy["cutoff"] == 2) & (tidy["n_radial"] == 4) & (tidy["seed"] == 0)]
    errors = own.set_index("predictor")["mae_mev_per_atom"]
    assert errors["ensemble_mean"] < 0.2 * min(errors["n_linear"], errors["constant"])


def test_scan_counts_neighbours_within_the_chosen_cutoff(run):
    tidy, metrics = run.table("cutoff")
    counts = mean_neighbours(run.frames["sic"], [2.0, 3.0])
    found = tidy.drop_duplicates("cutoff").set_index("cutoff")["neighbours"]
    assert found.to_dict() == counts
    assert value(metrics, "mean_neighbours", seed=1)[0] == counts[3.0]
    assert value(metrics, "mean_pairs_per_atom")[0] == counts[3.0] / 2


def test_mean_neighbours_of_known_structures():
    places = np.array([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0], [9.0, 0, 0], [10.0, 0, 0]])
    chain = FrameArrays(places, np.ones(5), np.array([0, 3, 5]), {"total": np.zeros(2)})
    # in the chain of three 4 directed pairs, in the pair 2, over 5 atoms
    assert mean_neighbours(chain, [1.1, 0.1]) == {1.1: 6 / 5, 0.1: 0.0}
    # the images of the third atom and of the first are 1 A apart in a box of 3 A
    boxes = replace(chain, cells=np.tile(3.0 * np.eye(3), (2, 1, 1)), pbc=np.ones((2, 3), bool))
    assert mean_neighbours(boxes.subset([0]), [1.1]) == {1.1: 2.0}


def test_scan_over_groups_that_differ_in_their_frames(run):
    tidy, metrics = run.table("frames")
    assert list(tidy["group"].unique()) == ["few", "many"]
    sizes = tidy.groupby("group")["n_train"].first()
    assert sizes["few"] < sizes["many"]
    assert value(metrics, "few_force_rmse")[0] == pytest.approx(0.4)
    error, baseline = value(metrics, "many_force_rmse")
    assert error == pytest.approx(0.2)
    r2, trivial = value(metrics, "many_force_r2")
    assert r2 == pytest.approx(1.0 - (error / baseline) ** 2)
    assert trivial == 0.0
    fig = run.draw("frames")
    curve = next(
        line for line in fig.axes[0].lines if line.get_marker() == "o" and line.get_ls() == "-"
    )
    np.testing.assert_allclose(curve.get_xydata(), [[sizes["few"], 0.5], [sizes["many"], 0.25]])


SHOWN = {
    "cutoff": {"(a)  total energy", "cutoff (Å)", "four", "neighbours per atom"},
    "map": {"MAE relative to 3 + 4 (%)"},
    "frames": {"test force RMSE (eV/Å)"},
    "divided": {"by trajectory", "linear in size"},
    "energies": {"(a)  total", "4", "8", "validation MAE of the energy (eV)"},
    "cost": {"the slow one  ($N^{2.00 \\pm 0.00}$)", "ratio of times"},
}


@pytest.mark.parametrize("name", SHOWN)
def test_figures(run, name):
    fig = run.draw(name)
    check(fig, reference="xtb", tier="paper")
    assert SHOWN[name] <= {t.get_text() for t in texts(fig)}


def test_a_mean_that_is_not_known_is_not_drawn(run):
    tidy = run.table("divided")[0]
    unknown = tidy["predictor"].eq("ensemble_mean") & tidy["split"].eq("trajectory")
    line = tidy["predictor"].eq("n_linear") & tidy["split"].eq("trajectory")
    same = tidy.copy()
    same.loc[unknown, "mae_ev"] = same.loc[line, "mae_ev"].to_numpy()
    bars = [len(run.draw("divided", table).axes[0].lines) for table in (tidy, same)]
    assert bars[0] - bars[1] == 1


def test_errors_of_forces_need_trainings_with_forces(run):
    with pytest.raises(DataError, match="unforced: the trainings have no force_rmse"):
        run.table("unforced")


def test_training_frames_in_the_test_set_are_refused(run, tmp_path):
    shutil.copytree(run.folder.parent, tmp_path / "paper")
    inputs = replace(run.inputs("divided"), root=tmp_path / "paper" / "toy")
    file = inputs.root / "trainings/divided/split-random/seed-0/predictions.csv"
    table, learned = pd.read_csv(file), inputs.training_frames("divided", {"split": "random"}, 0)
    table.loc[table.index[-1], "frame"] = learned[0]
    table.to_csv(file, index=False)
    with pytest.raises(DataError, match="tests on 1 training frames"):
        scored(inputs, "divided", kinds.EnergyErrors())


def test_predictions_without_test_frames_are_refused(tmp_path):
    table = pd.DataFrame({"subset": ["validation"], "energy_reference_ev": [1.0]})
    table.to_csv(tmp_path / "predictions.csv")
    with pytest.raises(DataError, match="no test frames"):
        predicted_frames(tmp_path, "eV")


def test_learning_curve_follows_histories_and_tells_when_they_rest(run):
    tidy, metrics = run.table("energies")
    history = run.inputs("energies").histories("pairs")
    np.testing.assert_allclose(tidy["validation_mae_ev"], history["validation_mae_ev"])
    np.testing.assert_allclose(tidy["train_mae_ev"], TRAIN_SHARE * tidy["validation_mae_ev"], 0.3)
    assert (tidy["ensemble_mean_mae_ev"] > 0).all()
    own = history[(history["cutoff"] == 2) & (history["n_radial"] == 4) & (history["seed"] == 1)]
    known = plateau(own["epoch"], own["validation_mae_ev"])
    names = ("converged_epoch", "late_gain", "epochs")
    assert tuple(value(metrics, f"2_4_{n}", seed=1)[0] for n in names) == known[:3]
    assert known[2] == 150


def test_plateau_of_known_curves():
    epochs = pd.Series(np.arange(1, 151))
    flat = pd.Series(np.where(epochs < 60, 5.0, 1.0))
    epoch, gain, length, _ = plateau(epochs, flat)
    assert 60 <= epoch <= 66  # the smoothing may delay it
    assert gain == 0.0
    assert length == 150
    falling = pd.Series(2.0 ** (-epochs / 25.0))
    epoch, gain, _, end = plateau(epochs, falling)
    assert epoch > 140
    assert gain == pytest.approx(75.0, abs=2.0)
    assert end == pytest.approx(falling.iloc[-10:].median())


def test_cost_fits_what_was_put_in(run):
    tidy, metrics = run.table("cost")
    assert set(tidy["method"]) == {"slow", "quick"}
    found = metrics.set_index("quantity")
    assert found["value"]["slow_exponent"] == pytest.approx(2.0)
    assert found["value"]["quick_exponent"] == pytest.approx(1.0)
    # geometric means over the sizes: of n^2 and n at 20, and their ratio
    assert found["value"]["slow_time"] == pytest.approx(0.4)
    assert found["value"]["quick_time"] == pytest.approx(20.0)
    assert list(found["unit"][["slow_time", "quick_time"]]) == ["s", "ms"]
    assert found["value"]["quick_ratio"] == pytest.approx(20.0)


def test_cost_of_two_sizes_has_no_fit_and_of_no_method_no_table(run, tmp_path):
    shutil.copytree(run.folder.parent, tmp_path / "paper")
    other = replace(run, folder=tmp_path / "paper" / "toy", _tables={})
    timing = run.inputs("cost").measurement("timing")
    other.write("timing", timing[timing["n_molecules"] < 40])
    tidy, metrics = other.table("cost")
    assert "exponent" not in tidy
    assert list(metrics["quantity"]) == ["slow_time", "quick_time", "quick_ratio"]
    check(other.draw("cost"), reference="xtb", tier="paper")
    other._tables.clear()
    other.write("timing", timing[timing["method"] == "third"])
    with pytest.raises(DataError, match="timing holds none of the methods"):
        other.table("cost")


SCAN = {"quantity": "q", "x": "cutoff"}
CURVE = {"quantity": "q", "series": "layer"}


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("Scan", SCAN | {"y": "a", "series": "b"}, "not both"),
        ("Scan", SCAN | {"y": "a", "chosen": (1.0,)}, "as many chosen values as keys"),
        ("Scan", SCAN | {"neighbours": "Bohr"}, "needs the chosen cutoff"),
        ("LearningCurve", CURVE | {"unit": "meV/atom"}, "told in eV or Ha"),
        ("LearningCurve", CURVE | {"shaded": (1.0,)}, "first and the last epoch"),
        (
            "CostAgainstSize",
            {"methods": {"a": "a"}, "against": "b"},
            "'b' is not among the methods",
        ),
        ("CostAgainstSize", {"methods": {"a": "a"}, "against": "a", "titles": ()}, "two titles"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(kind, options, words):
    with pytest.raises(ConfigError, match=words):
        getattr(kinds, kind)(**options).check()


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0.021, 0.0025, "0.021 ± 0.003"),
        (0.021, 0.0012, "0.0210 ± 0.0012"),
        (936.2, 66.0, "936 ± 66"),
        (0.12345, np.nan, "0.123"),
        (5.0, 0.0, "5.0"),
        (0.0, np.nan, "0"),
    ],
)
def test_values_are_rounded_to_their_spread(value, spread, text):
    assert with_spread(value, spread) == text

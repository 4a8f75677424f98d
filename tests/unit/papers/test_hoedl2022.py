import numpy as np
import pandas as pd
import pytest
from figure_checks import check, texts
from hoedl2022_run import hoedl_run
from made_up_run import ROOT, Error, make_run, write_card
from paper_checks import WIDTHS

from gnnip.artefacts.tables import COLUMNS
from gnnip.config.resolve import resolve
from gnnip.errors import DataError
from gnnip.verdicts import verdict
from hoedl2022 import hot, ion_pair

CARD = resolve("hoedl2022", "long", folder=ROOT / "papers")
ARTEFACTS = [name for name, made in CARD.artefacts.items() if made.kind != "reference_data"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return hoedl_run(tmp_path_factory.mktemp("told"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return hoedl_run(tmp_path_factory.mktemp("other"), dissociates=False, permutation=3.0)


@pytest.mark.parametrize("name", ARTEFACTS)
def test_tables_and_figures(run, name):
    metrics = run.table(name)[1]
    assert tuple(metrics.columns) == COLUMNS
    assert np.isfinite(metrics["value"]).all()
    assert not metrics[["quantity", "variant", "seed"]].duplicated().any()
    both = "xtb (ean), dft (ani)"
    reference = CARD.references[name] if name != "features" else both
    check(run.draw(name), WIDTHS, reference, "long")


def test_every_published_number_is_measured_or_says_what_would_measure_it(run):
    found = run.judge(ARTEFACTS).verdicts
    missing = [v for v in found if v.verdict == verdict.NOT_RUN]
    assert {v.artefact for v in missing} == {"ean_speed_gpu", "ani_speed_gpu", "published_frames"}
    assert all("snakemake" in v.reason or "data/folders" in v.reason for v in missing)
    isomers = [v for v in found if v.quantity == "corrected_test_energy_mae"]
    assert [v.verdict for v in isomers] == [verdict.NOT_COMPARABLE] * 2


FEATURES = [
    *("invariant", "invariant_as_coded", "permutation", "permutation_as_coded", "periodic"),
    *("additive", "additive_as_coded", "local", "local_as_coded"),
]
CLAIMS = {
    "baseline_is_better": True,
    "dissociates": True,
    "breaks_bonds": True,
    "ani_accuracy": True,
    "error_falls": True,
    "ean_accuracy": False,
    **dict.fromkeys(FEATURES, True),
}


@pytest.mark.parametrize(("claim", "holds"), CLAIMS.items())
def test_claims(run, claim, holds):
    assert run.claim(claim).holds is holds


@pytest.mark.parametrize("claim", ["dissociates", "breaks_bonds", "permutation_as_coded"])
def test_claims_fail_where_they_should(other, claim):
    assert other.claim(claim).holds is False


def test_what_the_code_breaks_is_not_held_against_the_description(other):
    assert other.claim("permutation").holds
    assert "of one head all is well" in other.claim("permutation_as_coded").reason


def test_a_network_that_knows_nothing_is_not_called_invariant(run, tmp_path):
    nothing = hoedl_run(tmp_path, moved=1e-12)
    for claim in FEATURES:
        assert nothing.claim(claim).holds is None


def test_replicas_that_fail_and_few_bonds_decide_no_share(run):
    metrics = run.table("dissociation")[1]
    test = run.tests["breaks_bonds"]
    failed = metrics["quantity"] == "as_coded_failed"
    told = test({"dissociation": metrics.assign(value=metrics["value"].mask(failed, 0.5))})
    assert told.holds is False
    few = metrics["quantity"] == "reference_broken_bonds"
    told = test({"dissociation": metrics.assign(value=metrics["value"].mask(few, 2.0))})
    assert told.holds is None


def test_claims_on_dissociation_are_not_passed_by_nothing(run):
    rows = run.judge(["dissociation"]).claims.set_index("claim")
    assert list(rows.loc[["dissociates", "breaks_bonds"], "trivial"]) == ["fails", "fails"]


def test_speed_is_what_the_steps_say(run):
    values = run.table("ean_speed")[1].set_index("quantity")["value"]
    assert values["as_coded_training_rate"] == pytest.approx(100.0)
    assert values["as_coded_speed_ratio"] == pytest.approx(4.0)
    assert values["as_coded_training_hours"] == pytest.approx(3000 * 641 * 0.01 / 3600)


def test_units_are_read_both_ways(run):
    words = [t.get_text() for t in texts(run.draw("ani_units"))]
    assert any("mHartree" in text for text in words)


def test_the_authors_network_is_never_judged(run):
    from gnnip.artefacts.inputs import Inputs
    from hoedl2022.tables import published_frames

    facts = run.inputs("ean_speed").card | {"measurements": {"frames": {}}}
    run.write("frames", pd.DataFrame({
        "frame": [0, 1], "force_mae_ev_per_a": [0.06, 0.08], "force_rmse_ev_per_a": [0.1, 0.1],
        "force_mean_ev_per_a": [0.5, 0.5], "force_rms_ev_per_a": [0.8, 0.8],
        "energy_error_ev": [0.1, -0.1],
    }))  # fmt: skip
    metrics = published_frames(Inputs(run.folder, facts))[1].set_index("quantity")
    assert metrics.loc["authors_force_mae", "value"] == pytest.approx(0.07)
    assert metrics["remark"].str.contains("held out").all()


EFFICIENCY = """
id: efficiency
datasets: {ean: {source: archive}}
training_defaults:
  dataset: ean
  target: total
  split: {scheme: random, test_fraction: 0.1, validation_fraction: 0.05}
  settings: {force_weight: 1.0}
trainings:
  dft_nequip: {model: nequip, variant: corrected, matrix: {train_frames: [4, 8]}}
  dft_ace: {model: ace, variant: corrected, matrix: {train_frames: [4, 8]}}
measurements:
  authors_network: {kind: "hoedl2022.kinds:AuthorsNetwork", datasets: [ean]}
artefacts:
  data_efficiency:
    kind: hoedl2022.kinds:DataEfficiency
    options:
      {quantity: "{group}_{train_frames}", x: train_frames, series: group, log: true,
       measures: [force_rmse, force_r2], measure: force_rmse}
    trainings: [dft_nequip, dft_ace]
    measurements: [authors_network]
"""


@pytest.fixture
def efficiency(tmp_path):
    archives = {"ean": ROOT / "data/ean.h5"}
    return make_run(
        tmp_path, write_card(tmp_path, EFFICIENCY), archives, lambda _: Error(force=0.2)
    )


def _authors(run, frames):
    tested = run.folder / "trainings/dft_ace/train_frames-4/seed-0/predictions.csv"
    test = pd.read_csv(tested).query("subset == 'test'")["frame"]
    known = pd.Series(range(frames), name="frame")
    error = np.where(known.isin(test), 0.1, 5.0)  # far off on frames that nobody is tested on
    table = {"frame": known, "energy_error_ev": 0.0}
    table |= {f"force_{name}_ev_per_a": error for name in ("mae", "rmse")}
    return pd.DataFrame(table | {f"force_{name}_ev_per_a": 0.8 for name in ("mean", "rms")})


def test_the_authors_network_stands_beside_few_frames_on_the_same_test_frames(efficiency):
    run = efficiency
    run.write("authors_network", _authors(run, run.frames["ean"].n_frames))
    metrics = run.table("data_efficiency")[1]
    values = metrics.set_index("quantity")["value"]
    assert values["authors_force_rmse"] == pytest.approx(0.1)
    assert values["authors_force_r2"] == pytest.approx(1.0 - (0.1 / 0.8) ** 2)
    assert values["dft_ace_4_force_rmse"] == pytest.approx(0.2)
    remarks = metrics.set_index("quantity")["remark"]
    assert "held out" in remarks["authors_force_rmse"]
    line = run.draw("data_efficiency").axes[0].lines[-1]
    assert np.unique(line.get_ydata()) == pytest.approx([0.1])


def test_few_frames_stand_alone_where_the_authors_weights_are_not_there(efficiency):
    run = efficiency
    run.write("authors_network", _authors(run, 2).iloc[:0])
    tidy, metrics = run.table("data_efficiency")
    assert set(tidy["predictor"]) >= {"network"}
    assert not metrics["quantity"].str.startswith("authors").any()
    run.draw("data_efficiency")


def test_few_frames_are_tested_on_the_same_ones(efficiency):
    run = efficiency
    run.write("authors_network", _authors(run, run.frames["ean"].n_frames))
    one = run.folder / "trainings/dft_ace/train_frames-8/seed-0/predictions.csv"
    table = pd.read_csv(one)
    ends = table.index[[0, -1]]  # one of the validation frames and one of the test frames
    table.loc[ends, "subset"] = table.loc[ends[::-1], "subset"].to_numpy()
    table.to_csv(one, index=False)
    with pytest.raises(DataError, match="tested on different frames"):
        run.table("data_efficiency")


# --- the ion pair and its bonds -------------------------------------------------------------------


def test_the_ion_pair_is_neutral_and_moves_one_distance():
    from gnnip.sampling.ean import ANION, CATION

    one = ion_pair.ion_pair()
    assert one.get_chemical_symbols() == list(CATION + ANION)
    r = one.get_all_distances()
    assert (r[0, 1], r[0, 12]) == pytest.approx((ion_pair.N_H, ion_pair.N_O))
    assert one.get_angle(0, 1, 12) == pytest.approx(180.0, abs=1e-4)
    assert one.get_angle(1, 12, 11) == pytest.approx(120.0, abs=1e-4)
    moved = ion_pair.ion_pair(n_o=5.0).get_all_distances()
    np.testing.assert_allclose(moved[11:, 11:], r[11:, 11:], atol=1e-9)
    assert all(len(values) >= 20 for values in ion_pair.COORDINATES.values())


def test_bonds_are_counted_through_the_boundary():
    numbers, cell = np.array([7, 1, 1]), np.diag([8.0, 8.0, 8.0])
    near = np.array([[0.1, 0.0, 0.0], [7.1, 0.0, 0.0], [1.1, 0.0, 0.0]])
    pairs = hot.bonds(numbers, near, cell)
    assert pairs.tolist() == [[0, 1], [0, 2]]
    far = near + np.array([[0, 0, 0], [0, 0, 0], [1.5, 0, 0]])
    assert hot.broken(pairs, numbers, far, cell).tolist() == [False, True]


def test_starts_of_hot_dynamics_are_whole_ions():
    for atoms in hot.read_starts():
        pairs = hot.bonds(atoms.numbers, atoms.positions, atoms.cell.array)
        assert len(atoms) == hot.ATOMS
        assert len(pairs) == 26
        assert not hot.broken(pairs, atoms.numbers, atoms.positions, atoms.cell.array).any()


@pytest.mark.parametrize("table", [hot.TABLE, ion_pair.TABLE], ids=lambda path: path.stem)
def test_tables_of_references(table):
    if not table.exists():
        pytest.skip(f"nobody has made {table.name} yet")
    found = pd.read_csv(table)
    if table == hot.TABLE:
        assert set(found["replica"]) == set(range(hot.REPLICAS))
        assert (found.loc[found["time_fs"] == 0, "broken"] == 0).all()
    else:
        assert set(found["coordinate"]) == {"N...O"}
        # rigid ions: beyond the nearest two points they attract each other all along
        apart = found[found["x_a"] > 2.5]
        assert len(apart) > 5
        assert apart["energy_ev"].is_monotonic_increasing

from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from figure_checks import texts
from kang2024_run import kang_run, perfect, short_sighted
from made_up_run import ROOT
from paper_checks import artefacts, check_figure, check_metrics, check_published

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.make import tabulate
from gnnip.config.resolve import resolve
from gnnip.datasets.assembly import draw_structures
from gnnip.datasets.store import load_arrays, write_frames
from gnnip.errors import DataError
from gnnip.measurements.sources import Sources, Training
from gnnip.models import build, save
from gnnip.sampling import p4
from gnnip.units import COULOMB_CONSTANT
from gnnip.verdicts import outcomes
from gnnip.verdicts.claims import of_trivial
from kang2024 import figures, tables
from kang2024.molecules import Molecules, molecules, rigid_modes
from kang2024.supports import Supports, measure_supports

CARD = resolve("kang2024", "paper", folder=ROOT / "papers")
# frames that not everybody has: their kind has a test of its own
ARTEFACTS = [name for name in artefacts(CARD) if name != "published_frames"]
LIQUID = ("p4_errors", "p4_cause")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    rules = {"perfect": perfect, "short": short_sighted}
    return {name: kang_run(tmp_path_factory.mktemp(name), rule) for name, rule in rules.items()}


def values(run, artefact):
    """Mean over seeds by quantity."""
    return run.table(artefact)[1].groupby("quantity")["value"].mean()


@pytest.mark.parametrize("name", ARTEFACTS)
@pytest.mark.parametrize("run", ["perfect", "short"])
def test_artefacts(runs, run, name):
    reference = "xtb" if name in LIQUID else "exact"
    check_metrics(runs[run], name, reference)
    check_figure(runs[run], name, reference)


def test_published_quantities(runs):
    check_published(runs["perfect"])
    for artefact in ("fig1b", "fig1c"):  # are those of the law
        for quantity, value in runs["perfect"].published(artefact).items():
            d = float(quantity.removeprefix("force_difference_d"))
            assert value == pytest.approx(COULOMB_CONSTANT / d**2, abs=6e-5)


def test_the_whole_force_is_the_share_of_one(runs):
    share = values(runs["perfect"], "fig1b")["force_difference_share_d9"]
    assert share == pytest.approx(1.0, abs=0.05)


def test_the_unseen_error_is_beside_that_of_no_force(runs):
    metrics = runs["short"].table("fig1c")[1]
    row = metrics[metrics["quantity"] == "force_difference_rmse_unseen"].iloc[0]
    assert row["value"] == pytest.approx(row["baseline"], rel=0.05)
    exact = COULOMB_CONSTANT / np.arange(9.0, 13.0) ** 2
    assert row["baseline"] == pytest.approx(np.sqrt(np.mean(exact**2)))


def test_the_law_is_drawn_where_it_is(runs):
    fig = runs["perfect"].draw("fig1b")
    law = next(line for line in fig.axes[0].lines if line.get_linestyle() == ":")
    x, y = law.get_data()
    assert y == pytest.approx(COULOMB_CONSTANT / x**2, rel=1e-9)
    assert any("unseen" in t.get_text() for t in texts(fig))


def test_errors_are_those_of_the_predictions(runs):
    tidy, metrics = runs["perfect"].table("toy_errors")
    ours = metrics[metrics["quantity"] == "interpolation_test_energy_mae"]
    assert ours["value"].to_numpy() == pytest.approx(10.0)
    forces = metrics[metrics["quantity"] == "interpolation_test_force_rmse"]
    assert forces["value"].to_numpy() == pytest.approx(0.02)
    assert (forces["baseline"] > 0.5).all()
    assert set(tidy["source"]) == {"ours", "composition", "null_model", "published"}
    small = values(runs["perfect"], "small_network")
    assert small["extrapolation_test_force_rmse"] == pytest.approx(0.02)


def test_receptive_field_tells_how_far_each_network_feels(runs):
    assert values(runs["short"], "receptive_field")["layers_2_felt_up_to"] <= 12.0
    tidy = runs["perfect"].table("receptive_field")[0]
    assert sorted(tidy["layers"].unique()) == [1, 2, 3, 4, 5]
    assert (tidy["force_reach_a"] == 10.0 * tidy["layers"]).all()


def test_explicit_charges_chooses_cells(runs):
    tidy = runs["short"].table("explicit_charges")[0]
    counts = tidy.groupby("model", sort=False).size()
    assert dict(counts) == {
        **{"pair": 1, "one layer": 1, "message passing": 3},
        **{"pair + learned charges": 1, "pair + given charges": 1},
    }
    assert tidy["share_beyond_cutoff"].abs().max() < 0.05


def test_dilution_counts_paths(runs):
    value, tidy = values(runs["perfect"], "dilution"), runs["perfect"].table("dilution")[0]
    assert value["kept_0_connected"] == 0.0
    assert value["kept_100_connected"] == 1.0
    assert value["kept_0_share_unconnected"] == pytest.approx(0.0, abs=0.05)
    assert tidy.loc[tidy["kept_fraction"] == 0.0, "hops"].dropna().eq(1).all()  # only d < cutoff


def test_configurations_shown(runs):
    tidy, metrics = runs["perfect"].table("fig1a")
    assert set(tidy["configuration"]) == {"I", "II"}
    one, two = (tidy[tidy["configuration"] == c] for c in ("I", "II"))
    assert len(one) == len(two) + 1 == metrics["value"].item()
    assert set(one["charge_e"]) - set(two["charge_e"]) == {-1.0}
    assert set(tidy["distance_a"]) == {8.0}


@pytest.mark.parametrize(
    ("artefact", "kept", "said"),
    [
        ("fig1b", "configuration == 'I'", "lacks one of the two configurations"),
        ("dilution", "group != 'dilution'", "does not fit the group 'dilution'"),
    ],
)
def test_a_probe_of_half_a_run_is_refused(runs, tmp_path, artefact, kept, said):
    inputs = runs["perfect"].inputs(artefact)
    probe = pd.read_csv(inputs.root / "measurements" / "charge_probe.csv").query(kept)
    (tmp_path / "measurements").mkdir()
    probe.to_csv(tmp_path / "measurements" / "charge_probe.csv", index=False)
    with pytest.raises(DataError, match=said):
        tabulate(Inputs(tmp_path, inputs.card))


# --- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", sorted(CARD.claims))
def test_a_perfect_potential_fulfils_the_claims(runs, claim):
    result = runs["perfect"].claim(claim)
    assert result.holds is True, result
    assert result.measured
    assert result.margin > 0.0
    # without its numbers nothing is decided
    nothing = {a: runs["perfect"].table(a)[1].iloc[:0] for a in CARD.claims[claim].artefacts}
    result = runs["perfect"].tests[claim](nothing)
    assert result.holds is None
    assert result.reason


@pytest.mark.parametrize(
    ("claim", "holds", "said"),
    [
        ("interpolates", False, "paper's own forces are off at d = 5, 7, 9, 11"),
        ("extrapolates", False, "paper's own forces are off at d = 9, 10, 11, 12"),
        ("reasonable_model_size", False, "not all within a tenth"),
        ("network_tells_supports_apart", False, "a quarter of what doping does"),
        ("network_follows_force", False, "threshold: a quarter"),
        ("liquid_fails_by_distances", False, "a tenth"),
        # no force in the full medium either: the thin one shows nothing
        ("sparse_media_fail", None, "the full medium carries no force either"),
    ],
)
def test_a_local_potential_does_not(runs, claim, holds, said):
    result = runs["short"].claim(claim)
    assert result.holds is holds
    assert result.margin is None or result.margin < 0.0
    assert said in result.reason


@pytest.mark.parametrize(
    ("claim", "pattern", "change", "holds"),
    [
        ("atomic_energy_small", "energy_difference_share", lambda value: -0.8, False),
        ("atomic_energy_small", "energy_difference_share", lambda value: 0.49, True),
        ("atomic_energy_spread_small", "energy_difference_spread", lambda value: 0.5, False),
        ("atomic_energy_spread_small", "energy_difference_spread", lambda value: np.nan, None),
        ("models_agree", r"energy_difference_d", lambda value: value + 0.5, False),
        ("models_agree", "energy_difference_spread", lambda value: np.nan, None),
    ],
)
def test_one_of_two_models_decides_on_atomic_energies(runs, claim, pattern, change, holds):
    metrics = {a: runs["perfect"].table(a)[1].copy() for a in CARD.claims[claim].artefacts}
    table = metrics["fig1d"]
    chosen = table["quantity"].str.startswith(pattern)
    table.loc[chosen, "value"] = change(table.loc[chosen, "value"])
    assert runs["perfect"].tests[claim](metrics).holds is holds


@pytest.mark.parametrize("claim", ["atomic_energy_small", "models_agree"])
def test_atomic_energies_of_who_feels_nothing_say_nothing(runs, claim):
    metrics = {a: runs["perfect"].table(a)[1].copy() for a in CARD.claims[claim].artefacts}
    result = runs["perfect"].tests[claim](of_trivial(metrics, {}))
    assert result.holds is None
    assert "divides nothing" in result.reason


@pytest.mark.parametrize(("kind", "said"), [("un", "quarter"), ("", "media with a path lose")])
def test_media_decide_by_their_paths_and_not_by_their_density(runs, kind, said):
    table = runs["perfect"].table("dilution")[1].copy()
    both = table["quantity"].str.extract(r"kept_([\d.]+)_share_unconnected$")[0].dropna()
    known = set(table["quantity"])
    thin = min((k for k in both if f"kept_{k}_share_connected" in known), key=float)
    changed = table["quantity"] == f"kept_{thin}_share_{kind}connected"
    table.loc[changed, "value"] = 0.5 if kind else 0.1
    result = runs["perfect"].tests["sparse_media_fail"]({"dilution": table})
    assert result.holds is False
    assert said in result.reason


def test_a_liquid_that_is_learned_is_no_failure(runs):
    table = runs["perfect"].table("p4_cause")[1].copy()
    assert runs["perfect"].tests["liquid_fails_by_distances"]({"p4_cause": table}).holds
    table["value"] *= 0.3
    result = runs["perfect"].tests["liquid_fails_by_distances"]({"p4_cause": table})
    assert result.holds is False
    assert "learns it" in result.reason


@pytest.mark.slow
def test_gold_on_mgo_stands_beside_the_stand_in(tmp_path):
    """Frames of the stand-in with stretched forces play those of DFT."""
    drawn = {"passes": 1, "test_passes": 0, "points": 2, "curve_points": 2}
    for name in ("au_mgo", "au_mgo_dft"):
        draw_structures("au_mgo", drawn, tmp_path / "datasets" / f"{name}.h5")
    with h5py.File(tmp_path / "datasets" / "au_mgo_dft.h5", "r+") as file:
        file["forces/total"][...] = 2.0 * file["forces/total"][:]
    card = {
        "artefact": "gold_on_mgo",
        "datasets": ["au_mgo_dft", "au_mgo"],
        "references": {"au_mgo_dft": "dft", "au_mgo": "exact"},
    }
    tidy, metrics = tables.gold_on_mgo(Inputs(tmp_path / "kang2024", card))
    found = metrics.set_index("quantity")
    assert found.loc["undoped_wetting", "value"] == pytest.approx(935, abs=1)
    assert found.loc["undoped_wetting", "baseline"] == 934.8
    assert np.isnan(found.loc["doped_wetting", "baseline"])
    assert set(found["reference"]) == {"dft"}
    force = tidy[tidy["record"] == "force"]
    np.testing.assert_allclose(force["value"], 2.0 * force["x"], atol=1e-4)
    sizes = tidy[(tidy["record"] == "rms") & (tidy["name"] == "Mg")].set_index("source")["value"]
    assert sizes["published"] == 0.366
    assert found.loc["Mg_force_rms", "value"] == pytest.approx(sizes["dft"])
    figure = figures.gold_on_mgo(tidy, {"tier": "smoke", "reference": "dft", "card": "kang2024"})
    assert [len(ax.patches) for ax in figure.axes] == [0, 12, 6]


# --- gold and the liquid --------------------------------------------------------------------------


def test_doping_is_what_the_potentials_say_it_is(runs):
    value = values(runs["perfect"], "fig2b")
    assert value["reference_doping"] == pytest.approx(-970.0)
    assert value["au_gnn_doping"] == pytest.approx(-970.0)
    assert value["au_one_layer_doping"] == pytest.approx(0.0)
    assert value["au_charges_difference_error"] == pytest.approx(50.0)
    assert value["reference_undoped_difference"] == pytest.approx(935.3, abs=0.1)


def test_the_dimer_rests_where_the_force_turns(runs):
    value = values(runs["perfect"], "fig2c")
    assert value["reference_undoped_rest"] == pytest.approx(2.201, abs=2e-3)
    assert value["au_gnn_doped_rest"] == pytest.approx(value["reference_doped_rest"])


def test_networks_are_blind_beyond_twice_their_layers(runs):
    tidy = runs["perfect"].table("reach")[0]
    gold = tidy[tidy["system"] == "gold"]
    seen = {(n, k) for n, k, b in gold[["network_layers", "hops", "blind"]].values if not b}
    assert seen == {(2, 3), (4, 3), (4, 6), (4, 7)}
    assert set(gold.loc[gold["blind"], "felt"].round(9)) == {0.0}


@pytest.mark.parametrize(
    ("pattern", "value", "said"),
    [
        ("blind_felt_gold", 5.0, "at most 5 meV"),
        ("gold_.*_felt", 0.0, "nothing is felt within reach"),
        ("toy_.*_felt", 0.0, "nothing is felt within reach"),
    ],
)
def test_who_feels_beyond_reach_or_not_within_it_fails(runs, pattern, value, said):
    table = runs["perfect"].table("reach")[1].copy()
    table.loc[table["quantity"].str.fullmatch(pattern), "value"] = value
    result = runs["perfect"].tests["reach_is_counted_in_edges"]({"reach": table})
    assert result.holds is False
    assert said in result.measured + result.reason


def test_published_methods_stand_beside_ours(runs):
    tidy, metrics = runs["perfect"].table("au_mgo_methods")
    others = tidy[tidy["source"] == "published"].set_index("model")
    assert others.loc["MACE, 2 layers", "force_rmse_ev_per_a"] == 0.00368
    assert others["split"].notna().all()
    assert not metrics["quantity"].str.contains("MACE|HDNNP").any()


@pytest.mark.parametrize(
    ("claim", "of", "holds"),
    [
        # who knows nothing says nothing of the supports
        ("local_gives_equal_values", "trivial", False),
        ("network_tells_supports_apart", "trivial", False),
        ("network_follows_force", "trivial", False),
        ("liquid_fails_by_distances", "trivial", False),
        ("network_tells_supports_apart", "control", False),
    ],
)
def test_no_trivial_predictor_or_control_passes(runs, claim, of, holds):
    run = runs["perfect"]
    tests = outcomes.tests_of(run.card.claims, "kang2024.claims")[claim]
    metrics = {a: run.table(a)[1] for a in CARD.claims[claim].artefacts}
    found = outcomes.outcome(CARD.claims[claim], tests, metrics)
    assert not found.undecided
    assert getattr(found, of).holds is holds


def test_a_local_network_is_blind_and_two_layers_are_not(tmp_path):
    """On identical slabs, whatever the weights: to rounding, of energies of many eV."""
    felt = {}
    for layers in (1, 2):
        torch.manual_seed(layers)
        options = {"species": [8, 12, 13, 79], "cutoff": 6.0, "layers": layers, "lmax": 1}
        model = build("nequip", **options, channels=2, parity=False, radial_hidden=[4])
        folder = tmp_path / str(layers)
        save(model, folder / "model")
        training = Training(folder, "gold", "all", layers, "au_mgo", {})
        table = measure_supports(
            Sources({"au_mgo": ROOT / "data/au_mgo.h5"}, [training]), Supports(layers=(6,))
        )
        slab = table[table["record"] == "slab"].assign(group="gold")
        doped = slab[slab["support"] == "doped"]
        assert set(doped["hops"]) == {3.0}
        signs = np.where(slab["support"] == "doped", 1, -1)
        signs = signs * np.where(slab["configuration"] == "wetting", 1, -1)
        felt[layers] = 1000 * float((signs * slab["energy_ev"]).sum())
        known = 1000 * float((signs * slab["energy_reference_ev"]).sum())
        assert known == pytest.approx(-970.5, abs=1.0)
    assert abs(felt[1]) < 1e-8
    assert abs(felt[2]) > 1e-5


def test_gold_without_a_cell_is_refused(tmp_path):
    frames = load_arrays(ROOT / "data/au_mgo.h5").subset(np.array([0]))
    write_frames(tmp_path / "open.h5", replace(frames, cells=None, pbc=None), attributes={})
    sources = Sources({"au_mgo": tmp_path / "open.h5"}, [])
    with pytest.raises(DataError, match="a slab is periodic"):
        measure_supports(sources, Supports(layers=()))


def test_the_liquid_of_the_archive_is_made_of_molecules():
    frames = load_arrays(ROOT / "data/p4.h5")
    for frame in range(frames.n_frames):
        positions, _, cell, _ = frames.structure(frame)
        assert len(molecules(positions, cell, Molecules().bond)) == len(positions) // 4


def test_forces_are_divided_into_those_of_whole_molecules_and_the_rest():
    edge, corner = 12.0, p4.molecule() + np.array([0.2, 3.0, 3.0])
    places = np.concatenate([corner, corner + np.array([6.0, 0.0, 0.0])]) % edge
    found = molecules(places, edge * np.eye(3), 2.7)
    assert [list(members) for members, _ in found] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    about = found[0][1]
    assert np.linalg.norm(about - about[0], axis=1).max() < 2.3  # not cut by the cell
    modes = rigid_modes(about)
    assert modes @ modes.T == pytest.approx(np.eye(6), abs=1e-12)
    turn = np.cross([0.3, -0.2, 0.5], about - about.mean(axis=0)) + np.array([1.0, 2.0, -1.0])
    assert modes.T @ (modes @ turn.ravel()) == pytest.approx(turn.ravel())
    breathe = about - about.mean(axis=0)
    assert modes @ breathe.ravel() == pytest.approx(np.zeros(6), abs=1e-12)
    with pytest.raises(DataError, match="do not make molecules of 4 atoms"):
        molecules(places, edge * np.eye(3), 1.0)
    with pytest.raises(DataError, match="has no cell"):
        molecules(places, None, 2.7)

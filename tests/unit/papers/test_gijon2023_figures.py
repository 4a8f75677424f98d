import pytest
from figure_checks import check, texts

from gnnip.artefacts.panels import with_spread


def one_seed(tidy, **choice):
    """What a small tier leaves: one seed, and only the rows with the chosen values."""
    small = tidy[(tidy["seed"] == 0) | tidy["seed"].isna()] if "seed" in tidy else tidy
    for column, values in choice.items():
        small = small[small[column].isin(values)]
    return small.reset_index(drop=True)


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("table1", {"layer": ["gat", "gcs", "constant", "n_linear", "ensemble_mean"]}),
        ("fig2", {"target": ["electronic"]}),
        ("fig3", {"n_molecules": [20, 32]}),
        ("cutoff_scan", {"target": ["electronic"], "cutoff": [4, 6]}),
        ("depth_scan", {"target": ["electronic"], "n_dense": [2]}),
        ("convergence", {"layer": ["gat"], "epoch": [1, 2]}),
        ("width_matched", {"target": ["electronic"], "layer": ["gat", "gcs"]}),
        ("search", {"layer": ["gat"], "learning_rate": [0.003], "channels": [64]}),
        ("unseen", {"target": ["electronic"], "regime": ["random", "unseen"]}),
        ("splits", {"target": ["electronic"], "layer": ["gat"]}),
        ("symmetry_audit", {"layer": ["gat", "gcs"]}),
        ("grid", {"target": ["electronic"], "channels": [64], "activation": ["relu"]}),
        ("forces", {"predictor": ["nequip", "pair", "exact_water"], "target": ["total"]}),
        ("anion_md", {"record": ["run", "series", "rdf", "speed"]}),
    ],
)
def test_small_tiers_are_drawn_too(made_up_run, name, choice):
    tidy, _ = made_up_run.table(name)
    check(made_up_run.draw(name, one_seed(tidy, **choice)), tier="paper")


def test_a_missing_state_is_said_not_hidden(made_up_run):
    tidy, _ = made_up_run.table("fig1")
    fig = made_up_run.draw("fig1", tidy[tidy["state"] == "surface"])
    assert any("no interior state" in t.get_text() for t in texts(fig))


def test_table1_prints_ours_and_published(made_up_run):
    _, metrics = made_up_run.table("table1")
    fig = made_up_run.draw("table1")
    assert {"GATConv", "GeneralConv", "constant", "7.6", "101.8"} <= {
        t.get_text() for t in texts(fig)
    }
    own = metrics["variant"] == "as_described"
    gat = metrics[own & (metrics["quantity"] == "gat_electronic_mape")]["value"]
    bold = [t.get_text() for t in texts(fig) if t.get_fontweight() == "bold"]
    assert with_spread(gat.mean(), gat.std(ddof=1)) in bold
    assert "GATConv†" in {t.get_text() for t in texts(fig)}


def test_a_layer_that_a_tier_does_not_train_has_no_row(made_up_run):
    tidy, _ = made_up_run.table("table1")
    trained = (tidy["source"] != "ours") | tidy["layer"].isin(["gat", "gcs"])
    shown = {t.get_text() for t in texts(made_up_run.draw("table1", tidy[trained]))}
    assert {"GATConv", "GCSConv†"} <= shown
    assert "ECCConv" not in shown


def test_tables_that_were_recorded_with_one_variant_are_drawn(made_up_run):
    tidy, _ = made_up_run.table("table1")
    old = tidy[tidy["variant"] != "tuned"].drop(columns="variant")
    shown = {t.get_text() for t in texts(made_up_run.draw("table1", old))}
    assert "GATConv" in shown
    assert not [text for text in shown if "tuned" in text or "†" in text]


def test_anion_md_says_what_failed_and_gives_errors_beside_the_noise(made_up_run):
    shown = [t.get_text() for t in texts(made_up_run.draw("anion_md"))]
    assert any("pairs only 4 of 4" in text for text in shown)
    assert shown.count("NequIP: 6 %") == shown.count("noise floor: 5 %") == 4

import numpy as np
import pytest
from figure_checks import check, texts, through_csv

from gijon2023 import figures as figures
from gijon2023 import tables as tables

INFO = {"card": "gijon2023", "tier": "smoke", "reference": "exact"}
NAMES = (
    "table1", "fig1", "fig2", "fig3", "cutoff_scan", "depth_scan", "convergence",
    "width_matched", "splits", "symmetry_audit", "grid", "forces", "anion_md",
)  # fmt: skip


def test_every_artefact_of_the_card_is_drawn(made_up_run):
    assert set(made_up_run.inputs.card["artefacts"]) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_figure_from_the_recorded_table_alone(made_up_run, name):
    tidy, _ = getattr(tables, name)(made_up_run.inputs)
    fig = getattr(figures, name)(through_csv(tidy), INFO)
    check(fig)
    if "seed" in tidy and tidy["seed"].notna().any():
        seeds = int(tidy["seed"].dropna().nunique())
        assert any(f"{seeds} seed" in t.get_text() for t in fig.texts)


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
        ("cutoff_scan", {"target": ["electronic"], "cutoff": [4, 6]}),
        ("depth_scan", {"target": ["electronic"], "n_dense": [2]}),
        ("convergence", {"layer": ["gat"], "epoch": [1, 2]}),
        ("width_matched", {"target": ["electronic"], "layer": ["gat", "gcs"]}),
        ("splits", {"target": ["electronic"], "layer": ["gat"]}),
        ("symmetry_audit", {"layer": ["gat", "gcs"]}),
        ("grid", {"target": ["electronic"], "channels": [64], "activation": ["relu"]}),
        ("forces", {"predictor": ["nequip", "pair", "exact_water"], "target": ["total"]}),
        ("anion_md", {"record": ["run", "series", "rdf", "speed"]}),
    ],
)
def test_small_tiers_are_drawn_too(made_up_run, name, choice):
    tidy, _ = getattr(tables, name)(made_up_run.inputs)
    check(getattr(figures, name)(through_csv(one_seed(tidy, **choice)), INFO))


def test_a_missing_state_is_said_not_hidden(made_up_run):
    tidy = made_up_run.inputs.step("densities")
    fig = figures.fig1(tidy[tidy["state"] == "surface"], INFO)
    assert any("no interior state" in t.get_text() for t in texts(fig))


def test_fig3_without_a_fit(made_up_run):
    timing = made_up_run.inputs.step("timing")
    two = timing[timing["n_molecules"].isin([20, 32])]
    check(figures.fig3(two, INFO))


def test_table1_prints_ours_and_published(made_up_run):
    tidy, metrics = tables.table1(made_up_run.inputs)
    shown = {t.get_text() for t in texts(figures.table1(through_csv(tidy), INFO))}
    assert {"GATConv", "GeneralConv", "constant", "7.6", "101.8"} <= shown
    gat = metrics[metrics["quantity"] == "gat_electronic_mape"]["value"]
    assert figures._with_spread(gat.mean(), gat.std(ddof=1)) in shown
    bold = [t.get_text() for t in texts(figures.table1(tidy, INFO)) if t.get_fontweight() == "bold"]
    assert figures._with_spread(gat.mean(), gat.std(ddof=1)) in bold


def test_anion_md_says_what_failed_and_gives_errors_beside_the_noise(made_up_run):
    tidy, _ = tables.anion_md(made_up_run.inputs)
    shown = [t.get_text() for t in texts(figures.anion_md(through_csv(tidy), INFO))]
    assert any("pairs only 4 of 4" in text for text in shown)
    assert shown.count("NequIP: 6 %") == shown.count("noise floor: 5 %") == 4


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
    assert figures._with_spread(value, spread) == text

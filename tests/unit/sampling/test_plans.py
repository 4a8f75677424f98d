"""Plans: presets that a card changes, and what is refused."""

from dataclasses import replace

import pytest

from gnnip.errors import ConfigError
from gnnip.sampling import sic
from gnnip.sampling.plans import make_drawing_plan, make_plan


def test_cards_change_a_preset():
    plan = make_plan("sic", 64, 2, {"frames": 3, "temperatures": [1000, 2000]})
    assert plan == replace(sic.paper_plan(64, 2), frames=3, temperatures=(1000.0, 2000.0))
    assert make_plan("sic", 8, 0, {"preset": "smoke"}) == sic.smoke_plan(8, 0)
    assert make_plan("sic", None, 0, {}) == sic.paper_plan(64, 0)
    assert make_plan("ani", 1, 0, {"preset": "smoke", "molecules": ["H2O"]}).molecules == ("H2O",)
    assert make_plan("water_anion", 20, 0, {"preset": "smoke"}).frames == 2
    assert make_plan("water_anion_ladder", 47, 3, {}).start == "interior"
    assert make_drawing_plan("au_mgo", {"curve": [2.0, 3.0]}).curve == (2.0, 3.0)


@pytest.mark.parametrize(
    ("dataset", "size", "changes", "message"),
    [
        ("sic", 8, {"preset": "smok"}, r"no preset 'smok', did you mean 'smoke'\?"),
        ("sic", 8, {"frame": 1}, r"plan of sic has no 'frame', did you mean 'frames'\?"),
        ("sic", 8, {"frames": 0}, "frames = 0; it must be > 0"),
        ("sic", 8, {"melt_fs": -1.0}, r"melt_fs = -1\.0; it must be >= 0"),
        ("sic", 8, {"temperatures": ()}, "at least one temperature"),
        ("sic", 8, {"quench_fs": 10.0}, "states no melt_kelvin"),
        ("water_anion", 20, {"start": "middle"}, "give 'surface' or 'interior'"),
        ("water_anion", 20, {"electron_fs": 6.0}, "at least every 4 fs"),
        ("water_anion", 20, {"frames": 0}, "frames = 0"),
        ("water_anion", 20, {"temperatures": ()}, "at least one temperature"),
        ("water_anion", 20, {"joining": [0]}, "all above 0 K"),
        ("water_anion_pimd", 20, {"electron_beads": 4}, "give an odd number below 48, or 48"),
        ("water_anion_pimd", 20, {"temperature": 0}, "all above 0 K"),
        ("water_anion_pimd", 20, {"beads": 0}, "beads = 0"),
        ("ani", 4, {}, "no molecules of 4 heavy atoms; give"),
        ("ani", 2, {"molecules": ["CH4"]}, "'CH4' is not a molecule of 2 .*; known are C2H6"),
        ("ani", 1, {"conformations": 0}, r"conformations = 0; it must be > 0"),
    ],
)
def test_trajectories_that_cannot_be_run_are_refused(dataset, size, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(dataset, size, 3, changes)


@pytest.mark.parametrize(
    ("dataset", "changes", "message"),
    [
        ("point_charges", {"distances": [1.0, 4.0]}, "none may be below the minimum distance of"),
        ("point_charges", {"distances": []}, "at least one is needed"),
        ("point_charges", {"kept_fractions": [1.2]}, "give shares from 0 to 1"),
        ("point_charges", {"width": 0}, "width = 0; it must be > 0"),
        ("point_charges", {"density": -1}, "density = -1; it must be >= 0"),
        ("point_charges", {"train_draws": 0, "test_draws": 0}, "no structure"),
        ("point_charges", {"test_draw": 3}, "no 'test_draw', did you mean 'test_draws'"),
        ("au_mgo", {"pases": 3}, "did you mean 'passes'"),
        ("au_mgo", {"passes": 0}, "passes = 0; it must be > 0"),
        ("au_mgo", {"points": 1}, "a path has two ends"),
        ("au_mgo", {"gold_deviation": -0.1}, r"gold_deviation = -0\.1; it must be >= 0"),
        ("au_mgo", {"path": [0.3, -0.2]}, r"path is \[0.3, -0.2\]; give two ends"),
        ("au_mgo", {"curve": [2.0]}, "curve is .* lower first"),
    ],
)
def test_structures_that_cannot_be_drawn_are_refused(dataset, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_drawing_plan(dataset, changes)

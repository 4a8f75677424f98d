import subprocess
import sys
import textwrap
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from gnnip.artefacts import style
from gnnip.config import papers
from gnnip.config.pipeline import Pipeline


@style.styled
def example():
    fig = style.figure(style.SINGLE, 60)
    ax = fig.add_axes((0.2, 0.2, 0.7, 0.7))
    ax.plot([1, 2, 3], [0.01, 0.02, 0.05], "o-", label="a")
    ax.set_xlabel("x")
    style.plain_log(ax)
    ax.legend()
    table = pd.DataFrame({"seed": [0, 1, 1]})
    style.footer(fig, {"card": "c", "tier": "smoke", "reference": "exact"}, table, "note")
    return fig


def test_files_are_the_same_bytes_each_time(tmp_path):
    for name in ("one", "two"):
        style.save(example(), tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
    for suffix in ("png", "svg"):
        first = (tmp_path / f"one.{suffix}").read_bytes()
        assert first == (tmp_path / f"two.{suffix}").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "one.svg").read_bytes()


def test_size_is_the_printed_size(tmp_path):
    from matplotlib.image import imread

    style.save(example(), tmp_path / "a.png")
    height, width = imread(tmp_path / "a.png").shape[:2]
    assert width == pytest.approx(85 / 25.4 * 300, abs=1)
    assert height == pytest.approx(60 / 25.4 * 300, abs=1)


def test_axes_are_placed_in_millimetres_from_the_lower_left_corner():
    fig = style.figure(style.DOUBLE, 80.0)
    ax = style.place(fig, 17.0, 16.0, 85.0, 40.0)
    assert fig.axes == [ax]
    assert ax.get_position().bounds == pytest.approx((0.1, 0.2, 0.5, 0.5))


def test_footer_states_card_tier_reference_and_seeds():
    text = example().texts[0].get_text()
    for word in ("c", "tier: smoke", "reference: exact", "2 seeds", "note"):
        assert word in text


def test_the_look_does_not_leak():
    before = dict(mpl.rcParams)
    example()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("low", "high", "some"),
    [(1e-5, 10, "1"), (0.012, 0.09, "0.02"), (0.0041, 0.0069, "0.005"), (2e-6, 5e-3, "0.001")],
)
def test_log_axes_have_between_three_and_nine_plain_labels(low, high, some):
    with style.look():
        fig = style.figure(85, 60)
        ax = fig.add_subplot()
        ax.plot([0, 1], [low, high])
        ax.set_ylim(low, high)
        style.plain_log(ax)
        fig.canvas.draw()
    labels = [t.get_text() for t in ax.get_yticklabels()]
    ticks = ax.get_yticks()
    shown = [x for t, x in zip(ticks, labels, strict=True) if low <= t <= high]
    assert 3 <= len(shown) <= 9
    assert some in shown


def test_spread_of_one_seed_is_unknown():
    assert np.isnan(style.spread(pd.Series([1.0])))
    assert style.spread(pd.Series([1.0, 3.0])) == pytest.approx(np.sqrt(2.0))


BLOCKED = ("torch", "torch_geometric", "e3nn", "ase", "pydantic", "numba", "scipy")


def test_figures_are_drawn_where_torch_is_not_installed(root, monkeypatch, tmp_path):
    """Import and draw with torch, ase and pydantic blocked, as in a small environment."""
    monkeypatch.chdir(root)
    fig3 = SimpleNamespace(tier="paper", card="gijon2023", artefact="fig3")
    info = Pipeline(papers.load_config()).figure_info(fig3)
    script = f"""
        import sys
        for blocked in {BLOCKED}:
            sys.modules[blocked] = None
        import pandas as pd
        from gnnip.artefacts import style
        from gnnip.artefacts.make import draw
        tidy = pd.read_csv("results/recorded/paper/gijon2023/fig3.csv")
        style.save(draw(tidy, {info!r}), {str(tmp_path / "fig3.svg")!r})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
    assert (tmp_path / "fig3.svg").stat().st_size > 5000

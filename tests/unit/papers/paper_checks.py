"""What every artefact of a paper's made-up run is checked for."""

import numpy as np
from figure_checks import check
from made_up_run import Run

from gnnip.artefacts import style
from gnnip.artefacts.tables import COLUMNS, FLOOR, REMARK

WIDTHS = (style.SINGLE, style.MIDDLE, style.DOUBLE)


def artefacts(card: Run) -> list[str]:
    """All artefacts but those on data sets, which have a test of their own."""
    return [name for name, made in card.artefacts.items() if made.kind != "reference_data"]


def check_metrics(run: Run, name: str, reference: str) -> None:
    """The agreed columns, and every quantity once."""
    tidy, metrics = run.table(name)
    assert set(COLUMNS) <= set(metrics.columns) <= {*COLUMNS, REMARK, FLOOR}
    assert len(metrics)
    assert len(tidy)
    assert set(metrics["artefact"]) == {name}
    assert set(metrics["reference"]) == {reference}
    assert np.isfinite(metrics["value"]).all()
    assert not metrics[["quantity", "variant", "seed"]].duplicated().any()


def check_published(run: Run) -> None:
    """Every published quantity is measured in its unit by every seed, beside a baseline."""
    for block in run.card.published:
        metrics = run.table(block.artefact)[1]
        for quantity in block.values:
            rows = metrics[metrics["quantity"] == quantity]
            assert "as_described" in set(rows["variant"]), quantity
            for _, own in rows.groupby("variant"):
                assert sorted(own["seed"]) == [0, 1, 2], quantity
            assert set(rows["unit"]) == {block.unit}
            assert np.isfinite(rows["baseline"]).all()


def check_figure(run: Run, name: str, reference: str) -> None:
    """The figure as it is drawn from the recorded table alone, with its number of seeds."""
    fig, tidy = run.draw(name), run.table(name)[0]
    check(fig, WIDTHS, reference=reference, tier=run.card.tier)
    if "seed" in tidy:
        seeds = int(tidy["seed"].dropna().nunique())
        assert any(f"{seeds} seed" in t.get_text() for t in fig.texts)

"""The page's own charts: where a number lies beside the published one, and training curves."""

from __future__ import annotations

import io
import math
import re

import pandas as pd

#: ours over published, from the left end of the axis to the right one
LOWEST, HIGHEST = 0.02, 50.0
_TICKS = (0.1, 0.5, 1.0, 2.0, 10.0)
#: panels of training curves; more are named below them
_MOST_GROUPS = 12
_POINTS = 120


def position(ratio: float) -> float:
    """Return where a ratio to the published value lies on its logarithmic axis, in percent."""
    bounded = min(max(ratio, LOWEST), HIGHEST)
    return 100.0 * math.log(bounded / LOWEST) / math.log(HIGHEST / LOWEST)


def ratio_axis() -> list[tuple[str, float]]:
    """Return the ticks of the axis of ratios and their positions."""
    return [(f"{tick:g}", position(tick)) for tick in _TICKS]


def training_curves(histories: pd.DataFrame | None) -> str:
    """Return the validation losses of all trainings as an SVG, one panel for each group.

    Colours follow the page's, so that they can be read on light and dark ground.
    """
    from gnnip.artefacts.style import BLUE, figure, look

    if histories is None:
        return ""
    loss = next((n for n in ("validation_loss", "validation_mae_ev") if n in histories), None)
    if loss is None:
        return ""
    groups = list(histories.groupby("group"))[:_MOST_GROUPS]
    columns = min(4, len(groups))
    rows = math.ceil(len(groups) / columns)
    with look():
        fig = figure(170.0, 36.0 * rows)
        fig.set_layout_engine("constrained")
        panels = fig.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.set_visible(False)
        for panel, (group, table) in zip(panels, groups, strict=False):
            panel.set_visible(True)
            for _, curve in table.groupby(["cell", "seed"]):
                thin = curve.iloc[:: max(1, len(curve) // _POINTS)]
                panel.plot(thin["epoch"], thin[loss], color=BLUE, alpha=0.6, linewidth=0.8)
            panel.set(yscale="log", title=str(group).replace("_", " "))
            panel.tick_params(labelsize=6)
            panel.title.set_fontsize(7)
        fig.supxlabel("epoch", fontsize=7)
        fig.supylabel("validation loss", fontsize=7)
        drawn = io.StringIO()
        fig.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :]
    # the ink of figures becomes that of the page
    svg = re.sub("#222222|#000000", "currentColor", svg)
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', svg, count=1)

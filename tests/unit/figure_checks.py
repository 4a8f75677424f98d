"""What every figure of every card is checked for."""

import io

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from gnnip.artefacts import style


def through_csv(table):
    return pd.read_csv(io.StringIO(table.to_csv(index=False)), low_memory=False)


def texts(fig):
    return [t for t in fig.findobj(Text) if t.get_visible() and t.get_text().strip()]


def check(fig, widths=(style.MIDDLE, style.DOUBLE), reference="exact", tier="smoke"):
    """Print size, readable type, nothing cut off at the edge, and the footer."""
    assert round(fig.get_figwidth() / style.MM) in widths
    with style.look():
        canvas = FigureCanvasAgg(fig)
        canvas.draw()
        renderer = canvas.get_renderer()
        assert min(text.get_fontsize() for text in texts(fig)) >= 5.0
        # what is drawn of each axes, with labels, titles and ticks inside the limits
        for part in (*fig.axes, *fig.texts, *fig.legends):
            box = part.get_tightbbox(renderer)
            assert box.x0 >= -1, part
            assert box.y0 >= -1, part
            assert box.x1 <= fig.bbox.x1 + 1, part
            assert box.y1 <= fig.bbox.y1 + 1, part
    (footer,) = (t.get_text() for t in fig.texts if t.get_gid() == "footer")
    assert f"tier: {tier}" in footer
    assert f"reference: {reference}" in footer

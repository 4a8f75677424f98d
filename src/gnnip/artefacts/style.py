"""One look for every paper: print size, type, colours, and files with the same bytes each time."""

from __future__ import annotations

import contextlib
import os
import string
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.files import atomic_path

MM = 1.0 / 25.4  #: inches per millimetre
SINGLE = 85.0  #: width of one column in mm
MIDDLE = 120.0  #: width of one and a half columns in mm
DOUBLE = 170.0  #: width of two columns in mm
DPI = 300
LETTERS = string.ascii_lowercase  #: of panels

#: Okabe and Ito's palette (Color Universal Design, 2008), distinguishable with any colour vision
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW = "#CC79A7", "#56B4E9", "#F0E442"
INK = "#222222"
GREY = "#767676"
PALE = "#D9D9D9"
#: sizes and other ordered quantities; perceptually even and safe for colour-blind readers
ORDERED = "viridis"

RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same letters everywhere
    "font.size": 8,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "figure.dpi": 100,
    "savefig.dpi": DPI,
    "svg.hashsalt": "gnnip",
    "svg.fonttype": "path",
    "path.simplify": True,
}
for _ticks in ("xtick", "ytick"):
    RC |= {f"{_ticks}.color": INK, f"{_ticks}.labelsize": 7}
    RC |= {f"{_ticks}.major.width": 0.6, f"{_ticks}.major.size": 3}
    RC |= {f"{_ticks}.minor.width": 0.4, f"{_ticks}.minor.size": 1.8}


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Apply the house style inside a block; nothing leaks into the caller's matplotlib."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a function that draws a figure so that it draws it in the house style."""
    return look()(draw)


def figure(width_mm: float, height_mm: float) -> Figure:
    """Return an empty figure of a print size in mm (no pyplot state, no display)."""
    return Figure(figsize=(width_mm * MM, height_mm * MM))


def place(fig: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes at a place given in mm from the lower left corner."""
    w, h = fig.get_figwidth() / MM, fig.get_figheight() / MM
    return fig.add_axes((left / w, bottom / h, width / w, height / h))


def save(fig: Figure, *paths: str | os.PathLike[str]) -> None:
    """Write the figure to each path (.png at 300 dpi, .svg), atomically and without dates.

    The same figure gives the same bytes every time with one version of matplotlib.
    """
    with look():
        for path in paths:
            suffix = os.fspath(path).rsplit(".", 1)[-1]
            metadata = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
            with atomic_path(path) as temporary:
                fig.savefig(temporary, format=suffix, dpi=DPI, metadata=metadata.get(suffix))


def footer(fig: Figure, info: Mapping[str, Any], tidy: pd.DataFrame, note: str = "") -> None:
    """Print tier, reference and number of seeds in small type along the lower edge.

    `info` gives tier, reference and card; the seeds are counted in the table itself.
    """
    seeds = int(tidy["seed"].dropna().nunique()) if "seed" in tidy else 0
    parts = [
        str(info.get("card", "")),
        f"tier: {info['tier']}" if info.get("tier") else "",
        f"reference: {info['reference']}" if info.get("reference") else "",
        f"{seeds} seed{'s' if seeds != 1 else ''}" if seeds else "",
        note,
    ]
    text = "  ·  ".join(part for part in parts if part)
    width_mm, height_mm = fig.get_figwidth() / MM, fig.get_figheight() / MM
    # type of 5.5 points takes about a millimetre a letter
    text = textwrap.fill(text, int(width_mm))
    fig.text(
        0.004, 1.0 / height_mm, text, fontsize=5.5, color=GREY, ha="left", va="bottom", gid="footer"
    )


def panel(ax: Axes, letter: str, title: str = "") -> None:
    """Label a panel (a), (b), ... with an optional title, flush left above the axes."""
    ax.set_title(f"({letter})  {title}" if title else f"({letter})", loc="left", pad=5)


def plain_log(ax: Axes, axis: str = "y", wanted: int = 3) -> None:
    """Make an axis logarithmic with plain numbers (0.02, 0.05), enough of them to be read.

    Call it last: the ticks are chosen for the limits at hand.
    """
    getattr(ax, f"set_{axis}scale")("log")
    low, high = getattr(ax, f"get_{axis}lim")()
    fine = (1, 1.2, 1.5, 1.8, 2, 2.5, 3, 4, 5, 6, 8)
    steps = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), fine)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks: list[float] = []
    for subs in steps:
        ticks = [s * 10.0**d for d in decades for s in subs if low <= s * 10.0**d <= high]
        if len(ticks) >= wanted:
            break
    else:
        # much less than a decade: as on a linear axis
        linear = ticker.MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
        ticks = [float(t) for t in linear if low <= t <= high]
    side = getattr(ax, f"{axis}axis")
    side.set_major_locator(ticker.FixedLocator(ticks))
    side.set_major_formatter(ticker.FuncFormatter(lambda value, _: _plain(value)))
    side.set_minor_locator(ticker.LogLocator(subs=range(1, 10)))
    side.set_minor_formatter(ticker.NullFormatter())


def _plain(value: float) -> str:
    """Return 0.00002 as 2·10⁻⁵ and everything of ordinary size as it is."""
    if 1e-4 <= value < 1e5:
        return f"{value:.6f}".rstrip("0").rstrip(".") if value < 1 else f"{value:g}"
    exponent = int(np.floor(np.log10(value)))
    factor = value / 10.0**exponent
    return (rf"${factor:g}\cdot" if abs(factor - 1) > 1e-6 else "$") + rf"10^{{{exponent}}}$"


def spread(values: pd.Series) -> float:
    """Standard deviation over seeds (one degree of freedom less); NaN for a single seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

"""Figure of costs against the size: seconds with their fits, and ratios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.artefacts.kinds import CostAgainstSize
from gnnip.artefacts.panels import colour

MARKERS = "os^Dv"


@style.styled
def cost_against_size(tidy: pd.DataFrame, info: Mapping[str, Any], how: CostAgainstSize) -> Figure:
    """Return seconds (a), published scales as bands, and ratios to one method (b)."""
    fig = style.figure(style.DOUBLE, 82)
    left, right = style.place(fig, 15, 16, 92, 58), style.place(fig, 124, 16, 42, 58)
    sizes = np.array(sorted(tidy[how.size].unique()), dtype=float)
    ends = np.array([sizes.min() / 1.12, sizes.max() * 1.12])
    _seconds(left, tidy, ends, how)
    left.set_xticks(sizes, [f"{n:.0f}" for n in sizes])
    left.minorticks_off()
    title = "line: fitted power of $N$, ± 95 % interval" if "exponent" in tidy else None
    left.legend(loc="upper left", title=title, title_fontsize=6.5, alignment="left")
    style.panel(left, "a", how.titles[0])
    style.panel(right, "b", how.titles[1])
    _ratios(right, tidy, ends, how)
    shown = sizes[:: max(1, len(sizes) // 4)]
    right.set_xticks(shown, [f"{n:.0f}" for n in shown])
    right.minorticks_off()
    hardware = str(tidy["hardware"].iloc[0]) if "hardware" in tidy else ""
    style.footer(fig, info, tidy, hardware)
    return fig


def _drawn(tidy: pd.DataFrame, how: CostAgainstSize) -> list[tuple[str, str, str]]:
    """Return method, colour and marker of the methods that were measured."""
    listed = enumerate(zip(how.methods, MARKERS, strict=False))
    known = set(tidy["method"])
    return [(m, colour(how.words, m, turn), mark) for turn, (m, mark) in listed if m in known]


def _seconds(ax: Axes, tidy: pd.DataFrame, ends: np.ndarray, how: CostAgainstSize) -> None:
    place: dict[str, Any] = {"fontsize": 6.5, "color": style.GREY, "va": "bottom", "ha": "right"}
    for text, low in how.bands.items():
        ax.axhspan(low, 10 * low, color="#EDEDED", lw=0, zorder=0)
        # below the band, whose own times lie in it or above
        ax.text(ends[1] / 1.03, low / 1.25, text, **(place | {"va": "top"}))
    for method, shade, marker in _drawn(tidy, how):
        part = tidy[tidy["method"] == method]
        ax.plot(part[how.size], part["seconds"], marker, color=shade, ms=2.2, alpha=0.35, mew=0)
        label, median = how.words.label(method), part.groupby(how.size)["seconds"].median()
        if "exponent" in part and part["exponent"].notna().any():
            fit = part.iloc[0]
            half = (fit["exponent_high"] - fit["exponent_low"]) / 2
            power = rf"{{{fit['exponent']:.2f} \pm {half:.2f}}}"
            label += f"  ($N^{power}$)"
            ax.plot(ends, fit["prefactor_s"] * ends ** fit["exponent"], color=shade, lw=0.9)
        ax.plot(median.index, median, marker, color=shade, ms=4.5, label=label, mew=0)
    ax.set(xscale="log", yscale="log", xlim=ends)
    ax.set(xlabel=how.words.label(how.size), ylabel="time per evaluation (s)")
    # room for the legend above, and for the bands
    low = min([tidy["seconds"].min() / 2.5, *(0.4 * band for band in how.bands.values())])
    high = max([tidy["seconds"].max() * 30, *(4000.0 * band for band in how.bands.values())])
    ax.set_ylim(low, high)


def _ratios(ax: Axes, tidy: pd.DataFrame, ends: np.ndarray, how: CostAgainstSize) -> None:
    median = tidy.groupby(["method", how.size])["seconds"].median()
    drawn = _drawn(tidy, how)
    against = median.get(how.against)
    top = how.published_ratio or 1.0
    for method, shade, marker in drawn if against is not None else []:
        if method == how.against:
            continue
        ratio = (against / median[method]).dropna()
        ax.plot(ratio.index, ratio, marker + "-", color=shade, ms=4.5, mew=0)
        top = max(top, float(ratio.max()))
    if how.published_ratio:
        ax.axhline(how.published_ratio, color=style.GREY, lw=0.9, ls=(0, (4, 2)))
        text = f"published: about {how.published_ratio:g}"
        place: dict[str, Any] = {"fontsize": 6.5, "color": style.GREY, "va": "bottom"}
        ax.text(ends[0] * 1.06, 1.08 * how.published_ratio, text, **place)
    ax.axhline(1.0, color=style.INK, lw=0.6)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=(0.5, 4.0 * top))
    ax.set(xlabel="$N$", ylabel="ratio of times")

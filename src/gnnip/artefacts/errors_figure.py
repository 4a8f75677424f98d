"""Errors of potentials side by side: one row per model or subset, one panel per measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import arms, kinds, style
from gnnip.artefacts.looks import look_of
from gnnip.artefacts.panels import mean_and_spread

#: measure -> column of the table, and its words
MEASURES = {
    "energy_rmse": ("energy_rmse_mev_per_atom", "energy RMSE (meV/atom)"),
    "energy_mae": ("energy_mae_mev_per_atom", "energy MAE (meV/atom)"),
    "force_mae": ("force_mae_ev_per_a", "force MAE (eV/Å)"),
    "force_rmse": ("force_rmse_ev_per_a", "force RMSE (eV/Å)"),
}
#: columns of the table that belong to no matrix
OWN = {"source", "material", "arm", "group", "subset", "seed", "n_frames", "n_parameters"}
OWN |= {"energy_r2", "force_r2", *(column for column, _ in MEASURES.values())}
PANEL_GAP, RIGHT = 6.0, 3.0  #: millimetres


class Row(NamedTuple):
    """What stands in one row, which rows of the same name share: the rows of the tidy table
    (sources `ours`, `published` and those of baselines), the colour of the mark and those of the
    insides of ours and of the published one."""

    name: str
    part: pd.DataFrame
    colour: str
    face: str
    published_face: str


#: predictors without geometry, in words
TRIVIAL = {
    "composition": "composition fit, no forces",
    "ensemble_mean": "mean of the ensemble, no forces",
    "null_model": "best null model, no forces",
}


@style.styled
def errors(tidy: pd.DataFrame, info: Mapping[str, Any], options: kinds.Errors) -> Figure:
    """Draw the errors of every group: ours with the spread over seeds, published, and those of the
    baseline."""
    rows = list(_rows(tidy, info, options))
    baseline = "ensemble_mean" if options.ensemble else "composition"
    if (tidy["source"] == "null_model").any():
        baseline = "null_model"
    measures = [MEASURES[name] for name in options.measures]
    measures = [m for m in measures if m[0] in tidy and tidy[m[0]].notna().any()]
    step = 6.0 if options.rows == "group" else 9.0
    fig = _panels(rows, measures, baseline, options.left, step)
    # marker, colour, inside and name
    if options.rows == "subset":
        legend = [("o", style.BLUE, style.BLUE, "ours")]
    else:
        legend = [("o", style.INK, style.INK, "test")]
        legend += [("o", style.INK, "white", "train")] if options.train else []
    if "published" in set(tidy["source"]):
        inside = next(row.published_face for row in reversed(rows))
        legend += [("D", style.INK, inside, "published")]
    legend += [("|", style.GREY, style.GREY, TRIVIAL[baseline])]
    top = fig.get_figheight() / style.MM - 11.0
    ax = style.place(fig, options.left, top, style.DOUBLE - options.left - RIGHT, 6.0)
    ax.axis("off")
    for marker, colour, face, name in legend:
        ax.plot([], [], marker, color=colour, mfc=face, ms=5, mew=1.2, label=name)
    ax.legend(loc="center left", ncols=len(legend), bbox_to_anchor=(0.0, 0.6))
    note = f"energies: total energy divided by the number of {options.per}"
    style.footer(fig, info, tidy, note)
    return fig


def _rows(tidy: pd.DataFrame, info: Mapping[str, Any], options: kinds.Errors) -> Iterator[Row]:
    """Yield what is drawn of each group, cell of its matrix and subset."""
    made = tidy[tidy["source"] != "published"]
    published = tidy[tidy["source"] == "published"]
    who = "arm" if options.materials else "group"
    look, groups = look_of(info), set(made["group"])
    names = arms.names([g for g in info["looks"] if g in groups], options.materials)
    places = {group: arms.divide(group, options.materials)[0] for group in names}
    by_group = options.rows == "group"
    subsets = list(dict.fromkeys(made["subset"]))
    if by_group:
        subsets = [subset for subset in ("train", "test") if subset in subsets]
    keys = [c for c in tidy.columns if c not in OWN and made[c].nunique() > 1]
    for group, name in names.items():
        label, colour, place = look.labels[group], look.colours[group], places[group]
        if len(set(places.values())) > 1:
            label = f"{options.materials.get(place, place)}: {label}"
        rows = made[made["group"] == group].fillna(dict.fromkeys(keys, ""))
        cells = rows.groupby(keys, sort=False) if keys else [((), rows)]
        for number, (values, cell) in enumerate(cells):
            said = ", ".join(str(value) for value in values if value != "")
            stated = [f"{k}_{v}" for k, v in zip(keys, values, strict=True) if v != ""]
            own = "_".join([name, *stated])  # what numbers of this cell alone are called
            words = f"{label} ({said})" if said else label
            for subset in subsets:
                part = cell[cell["subset"] == subset]
                names_of = [own, name] if number == 0 else [own]
                about = published.get(who, pd.Series(dtype=str)).isin(names_of)
                known = published[about & (published["subset"] == subset)]
                if len(known):
                    part = pd.concat([part, known])
                hollow = by_group and subset != "test"
                yield Row(
                    words if by_group else f"{words}, {subset}",
                    part,
                    colour,
                    "white" if hollow else colour,
                    style.INK if by_group and not hollow else "white",
                )


def _panels(
    rows: Sequence[Row],
    measures: Sequence[tuple[str, str]],
    baseline: str,
    left: float,
    step: float,
) -> Figure:
    """Draw a panel for each column and its label, on logarithmic axes; the names take `left`
    millimetres, each row `step`."""
    names = list(dict.fromkeys(row.name for row in rows))
    length = max(step * len(names), 14.0)
    fig = style.figure(style.DOUBLE, 26.0 + length)
    width = (style.DOUBLE - left - RIGHT + 1.0) / len(measures) - PANEL_GAP
    for column, (measure, label) in enumerate(measures):
        at = left + column * (width + PANEL_GAP)
        ax = style.place(fig, at, 15.0, width, length)
        drawn = []
        for row in rows:
            drawn += _draw_row(ax, row, names.index(row.name), measure, baseline)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_yticks(range(len(names)), names if column == 0 else [])
        ax.set_xlabel(label)
        ax.grid(axis="x")
        values = pd.concat(drawn)
        positive = values[values > 0]
        ax.set_xlim(float(positive.min()) / 1.6, float(positive.max()) * 1.6)
        style.plain_log(ax, "x", wanted=2)
    return fig


def _draw_row(ax: Axes, row: Row, y: int, measure: str, baseline: str) -> list[pd.Series]:
    """Draw one row and return its numbers."""
    ours, trivial, published = (
        row.part.loc[row.part["source"] == source, measure].dropna()
        for source in ("ours", baseline, "published")
    )
    ax.plot(trivial.mean(), y, "|", ms=9, mew=1.6, color=style.GREY)
    mean_and_spread(ax, y, ours, lying=True, fmt="o", color=row.colour, mfc=row.face)
    inside = row.published_face
    ax.plot(published, [y] * len(published), "D", ms=4.5, mfc=inside, color=style.INK)
    return [ours, trivial, published]

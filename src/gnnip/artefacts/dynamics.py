"""Dynamics of several potentials: who failed, when and of what, and how structures compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts import kinds
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.measured import Measured, measured
from gnnip.artefacts.tables import Result, metric_row, metric_table

#: what a replica may fail by, as the measurement tells them apart: the limits of its run, such as
#: distances and temperatures, and leaving the reference's energies or structure
CRITERIA = ("limits", "energy", "structure", "any")
#: records of `gnnip.measurements.dynamics.comparison` that each view is made of
RECORDS = {
    "energy": ("run", "series", "autopsy", "frame"),
    "collapse": ("run", "autopsy", "closest", "frame"),
    "survival": ("run", "survival", *(f"survival_by_{c}" for c in CRITERIA), "score", "autopsy"),
    "structure": (
        *("rdf", "adf", "vdos"),
        *("rdf_error", "adf_error", "vdos_error", "adf_distance", "vdos_distance"),
    ),
    "warning": ("run", "spread", "warning"),
}
#: measures of a distribution's distance from the reference's, and their units; with "_error" at
#: the end in per cent
DISTANCES = {"adf_distance": "degree", "vdos_distance": "THz"}


def dynamics(inputs: Inputs, options: kinds.Dynamics) -> Result:
    """Return what a view shows of the artefact's measurements.

    Tidy: the records of the view of `compare_dynamics`, potentials named by arm, with a column
    material where there are several measurements. Metrics: see `gnnip.artefacts.kinds.Dynamics`.
    """
    parts, rows = [], []
    for one in measured(inputs, options.materials):
        shown = one.table["potential"] != options.trivial
        tidy = one.table[shown & one.table["record"].isin(RECORDS[options.view])]
        if options.view == "energy":
            others = (tidy["record"] == "series") & (tidy["name"] != "potential_energy_ev")
            tidy = tidy[~others]
        parts.append(tidy)
        if options.view == "warning":
            rows += _warnings(inputs, one)
        elif options.view == "structure":
            rows += _structure(inputs, one, options.trivial)
        else:
            rows += _stability(inputs, one, options.trivial)
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def _stability(inputs: Inputs, one: Measured, trivial: str) -> list[dict[str, Any]]:
    """Return rows about replicas of each arm: their number, how many failed, when, by which pair,
    and for how long the others ran; beside those of the trivial arm."""
    told = {arm: list(_facts(part)) for arm, part in one.of_arms(one.table)}
    beside = {name: value for name, _, value in told.pop(trivial, [])}
    rows = []
    for arm, facts in told.items():
        for name, unit, value in facts:
            about: dict[str, Any] = {"variant": one.variants[arm], "training": one.groups[arm]}
            baseline = beside.get(name, float("nan"))
            quantity = f"{one.prefix(arm)}_{name}"
            rows.append(metric_row(inputs, quantity, unit, value, baseline=baseline, **about))
    return rows


def _facts(part: pd.DataFrame) -> Iterator[tuple[str, str, float]]:
    """Yield name, unit and value of what is told of the replicas of one arm; a replica has failed
    by whichever criterion was first."""
    run = part[part["record"] == "run"].pivot_table(
        index="replica", columns="name", values="value", aggfunc="first"
    )
    # tables from before energies and structures were judged have the limits of the run alone
    failed = run.get("failed_by_any", run["failed"]) > 0
    # a column is there only where some replica failed
    left = run.get("failed_by_any_fs", pd.Series(np.nan, run.index))
    lives = left.where(left < run["simulated_fs"], run["simulated_fs"])
    yield "replicas", "", float(len(run))
    yield "failed", "", float(failed.sum())
    for criterion in CRITERIA[:-1]:
        if f"failed_by_{criterion}" in run:
            yield f"failed_{criterion}", "", float(run[f"failed_by_{criterion}"].sum())
    yield "shortest_run", "fs", float(lives.min())
    yield "longest_run", "fs", float(run["simulated_fs"].max())
    if failed.any():
        yield "first_failure", "fs", float(lives[failed].min())
        yield "median_failure", "fs", float(lives[failed].median())
    score = part[part["record"] == "score"].set_index("name")["value"]
    for name, key in (("survival_area", "area_any"), ("graded_survival", "graded")):
        if key in score.index:
            yield name, "", float(score[key])
    autopsy = part[part["record"] == "autopsy"]
    pairs = autopsy.loc[autopsy["name"] == "pair_ratio", "text"].value_counts()
    for pair, count in pairs.items():
        yield f"failed_by_{str(pair).replace('-', '')}", "", float(count) / failed.sum()


def _warnings(inputs: Inputs, one: Measured) -> list[dict[str, Any]]:
    """Return rows on the warnings of each group, over all replicas of all its seeds."""
    rows = []
    found = one.table[one.table["record"] == "warning"].copy()
    found["group"] = found["potential"].map(one.groups)
    for group, part in found.groupby("group", sort=False):
        told = part.dropna(subset=["replica"])
        told = told.set_index(["potential", "replica", "name"])["value"].unstack()
        told = told.reindex(columns=["flagged_fs", "failed_fs", "warning_fs"])
        failed, flagged = told["failed_fs"].notna(), told["flagged_fs"].notna()
        before = failed & (told["warning_fs"] > 0)
        facts = []
        if failed.any():
            facts.append(("warned", "", float(before[failed].mean())))
        if before.any():
            facts.append(("warning_time", "fs", float(told["warning_fs"][before].median())))
        if (~failed).any():
            facts.append(("false_alarms", "", float(flagged[~failed].mean())))
        arm = str(part["potential"].iloc[0])
        prefix = one.prefix(arm.split("/")[0])
        about: dict[str, Any] = {"variant": one.variants[arm], "training": str(group)}
        for name, unit, value in facts:
            rows.append(metric_row(inputs, f"{prefix}_{name}", unit, value, **about))
    return rows


def _structure(inputs: Inputs, one: Measured, trivial: str) -> list[dict[str, Any]]:
    """Return the errors of distributions of each arm (%) and their Wasserstein distances, beside
    the reference's noise floor."""
    errors = one.table[one.table["record"].str.endswith(("_error", "_distance"))]
    errors = errors[errors["record"].isin(RECORDS["structure"])]
    floor = errors[errors["potential"] == "noise_floor"].set_index(["record", "name"])["value"]
    rows = []
    for arm, part in one.of_arms(errors[errors["potential"] != trivial]):
        for record, name, value in zip(part["record"], part["name"], part["value"], strict=True):
            which = "" if name == "total" else "_" + name.replace("-", "")
            curve, _, measure = record.partition("_")
            quantity = f"{one.prefix(arm)}_{curve}{which}_{measure}"
            noise = float(floor.get((record, name), np.nan))
            about: dict[str, Any] = {"variant": one.variants[arm], "training": one.groups[arm]}
            rows.append(
                metric_row(
                    inputs, quantity, DISTANCES.get(record, "%"), value, floor=noise, **about
                )
            )
    return rows

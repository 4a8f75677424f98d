"""Claims of rajak2021 that no kind of claim expresses; thresholds were fixed before any run."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gnnip.verdicts.claims import ClaimResult, Metrics, mean, reads

#: "minima around 2 Angstrom": to both sides
MINIMUM, MINIMUM_TOLERANCE = 2.0, 0.3
#: a mean local force that is told apart from none: this share of the largest of the material
FELT_SHARE = 0.05
#: "fails within 5 ps"
FAILED_FS = 5000.0


def _felt(metrics: pd.DataFrame) -> float:
    """Return the local force (eV/Angstrom) below which there is none to speak of."""
    own = metrics["quantity"].str.startswith("gnn_")
    forces = metrics.loc[own & metrics["quantity"].str.endswith("highest_force"), "value"]
    lowest = metrics.loc[own & metrics["quantity"].str.endswith("lowest_force"), "value"]
    return FELT_SHARE * float(max(forces.abs().max(), lowest.abs().max()))


@reads("gnn_.*")
def unlike_attract(metrics: Metrics) -> ClaimResult:
    """Si-C and C-Si: the lowest mean local force is an attraction, 1.7 to 2.3 Angstrom away, and
    not at the end of the distances that occur."""
    table = metrics["fig2a"]
    told, holds = [], True
    for pair in ("SiC", "CSi"):
        force, place, inside = (
            mean(table, f"gnn_{pair}_lowest_force{s}") for s in ("", "_at", "_inside")
        )
        if np.isnan(force):
            return ClaimResult(None, "", "the graph network of SiC was not run")
        end = "" if inside == 1 else ", at the end of the distances that occur"
        told.append(f"{pair}: {force:.2f} eV/Å at {place:.2f} Å{end}")
        holds &= force < -_felt(table) and abs(place - MINIMUM) <= MINIMUM_TOLERANCE and inside == 1
    reason = f"a minimum within {MINIMUM_TOLERANCE:g} Å of {MINIMUM:g} Å is asked for"
    return ClaimResult(holds, "; ".join(told), reason)


@reads("gnn_.*")
def like_repel(metrics: Metrics) -> ClaimResult:
    """Si-Si and C-C: no bin of the mean local force is an attraction to speak of."""
    table = metrics["fig2a"]
    told, margins, felt = [], [], _felt(table)
    for pair in ("SiSi", "CC"):
        force, place = (mean(table, f"gnn_{pair}_lowest_force{s}") for s in ("", "_at"))
        if np.isnan(force):
            return ClaimResult(None, "", "the graph network of SiC was not run")
        told.append(f"{pair}: lowest {force:.2f} eV/Å at {place:.2f} Å")
        margins.append(1.0 + force / felt if felt else 0.0)
    reason = f"attractions up to {FELT_SHARE:.0%} of the largest local force are let pass"
    return ClaimResult(min(margins) > 0.0, "; ".join(told), reason, min(margins))


@reads("gnn_.*")
def se_se_attracts(metrics: Metrics) -> ClaimResult:
    """Se-Se: mean local force positive beyond 3 Å, negative from 2 to 3 Å, positive below 2 Å."""
    table = metrics["fig3a"]
    ranges = {"below_2": 1, "2_to_3": -1, "3_to_4": 1}
    found = {name: mean(table, f"gnn_SeSe_force_{name}") for name in ranges}
    if all(np.isnan(value) for value in found.values()):
        return ClaimResult(None, "", "the graph network of GeSe2 was not run")
    means = [
        f"{name.replace('_', ' ')} Å: {value:+.2f} eV/Å"
        for name, value in found.items()
        if not np.isnan(value)
    ]
    lowest, place = (mean(table, f"gnn_SeSe_lowest_force{s}") for s in ("", "_at"))
    told = "; ".join([*means, f"lowest {lowest:+.2f} eV/Å at {place:.2f} Å"])
    wrong = [n for n, sign in ranges.items() if not np.isnan(found[n]) and sign * found[n] <= 0]
    missing = [n.replace("_", " ") for n in ranges if np.isnan(found[n])]
    if wrong:
        return ClaimResult(False, told, f"the sign differs {', '.join(wrong).replace('_', ' ')} Å")
    if missing:
        return ClaimResult(None, told, f"no pairs {', '.join(missing)} Å apart in the test frames")
    return ClaimResult(True, told, "the signs are those described")


@reads("gnn_.*")
def gnn_collapses(metrics: Metrics) -> ClaimResult:
    """Most replicas of the graph network of GeSe2 fail within 5 ps, most of those by Se-Se."""
    return _collapses(metrics["fig3c"], "gnn")


def decomposed_collapses(metrics: Metrics) -> ClaimResult:
    """The control: the same of the decomposed potential, which should not."""
    return _collapses(metrics["fig3c"], "decomposed")


def _collapses(table: pd.DataFrame, arm: str) -> ClaimResult:
    replicas, failed = (mean(table, f"{arm}_{name}") for name in ("replicas", "failed"))
    if np.isnan(replicas):
        return ClaimResult(None, "", f"no dynamics of the arm '{arm}' were run")
    longest, median = (mean(table, f"{arm}_{n}") for n in ("longest_run", "median_failure"))
    share = mean(table, f"{arm}_failed_by_SeSe")
    share = 0.0 if np.isnan(share) else share
    told = f"{failed:.0f} of {replicas:.0f} replicas failed in {longest / 1000:g} ps"
    if failed:
        told += f", half of them by {median / 1000:.3g} ps, {share:.0%} with Se-Se closest"
    if failed <= 0.5 * replicas:
        if longest < FAILED_FS:
            return ClaimResult(None, told, f"the runs are shorter than {FAILED_FS / 1000:g} ps")
        return ClaimResult(False, told, "no more than half of the replicas failed")
    if median > FAILED_FS:
        return ClaimResult(False, told, f"later than {FAILED_FS / 1000:g} ps")
    if share <= 0.5:
        return ClaimResult(False, told, "most failures are of other pairs")
    return ClaimResult(True, told, "most replicas fail, by Se-Se")

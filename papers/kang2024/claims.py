"""Claims of kang2024 that no kind of claim expresses; thresholds were fixed before any run.

Trivial, and named so beside every number, is a potential that feels nothing of the other charge.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from gnnip.units import COULOMB_CONSTANT
from gnnip.verdicts.claims import ClaimResult, Metrics

#: the predicted force difference agrees with k/d^2: to a tenth of it, or to the force RMSE that the
#: paper itself reports (eV/Angstrom), whichever is wider
SHARE_TOLERANCE, FORCE_TOLERANCE = 0.10, 0.020
#: "low standard deviation" across media, as a share of the pair energy k/d
SMALL_SPREAD = 0.10
#: distances (Angstrom) that the published models were tested at and not trained on
UNSEEN_BETWEEN, UNSEEN_BEYOND = (5.0, 7.0, 9.0, 11.0), (9.0, 10.0, 11.0, 12.0)
#: a force that is no longer there: less than this share of k/d^2
VANISHED_SHARE = 0.25


def _values(table: pd.DataFrame, prefix: str) -> dict[float, float]:
    """Return {distance: mean over seeds} of the quantities {prefix}_d{distance}."""
    found = table[table["quantity"].str.fullmatch(rf"{prefix}_d[0-9.]+")]
    means = found.groupby("quantity")["value"].mean()
    return {float(str(name).rsplit("_d", 1)[1]): float(v) for name, v in means.items()}


def _agrees(
    table: pd.DataFrame, unseen: Iterable[float], prefix: str = "force_difference"
) -> ClaimResult:
    """Judge whether the force difference is k/d^2 at every distance of `unseen` (seed means)."""
    means = _values(table, prefix)
    missing = [d for d in unseen if d not in means]
    if missing or not means:
        return ClaimResult(None, "", f"the run has no structures at d = {missing} Å")
    wrong, shares, margins = [], [], []
    for d in unseen:
        ideal = COULOMB_CONSTANT / d**2
        shares.append(f"{means[d] / ideal:.2f} at {d:g} Å")
        off, allowed = abs(means[d] - ideal), max(SHARE_TOLERANCE * ideal, FORCE_TOLERANCE)
        margins.append(1.0 - off / allowed)
        if off > allowed:
            wrong.append(f"{d:g}")
    measured = "share of k/d^2: " + ", ".join(shares)
    reason = "all within a tenth or the paper's own force error"
    if wrong:
        reason = f"off by more than a tenth at d = {', '.join(wrong)} Å"
    return ClaimResult(not wrong, measured, reason, min(margins))


def interpolates(metrics: Metrics) -> ClaimResult:
    """Within a tenth of k/d^2 at the held-out distances between the trained ones."""
    return _agrees(metrics["fig1b"], UNSEEN_BETWEEN)


def extrapolates(metrics: Metrics) -> ClaimResult:
    """Within a tenth of k/d^2 at distances beyond the trained ones."""
    return _agrees(metrics["fig1c"], UNSEEN_BEYOND)


def atomic_energy_spread_small(metrics: Metrics) -> ClaimResult:
    """Its standard deviation over media stays below a tenth of k/d, at every distance."""
    shares = [
        spread / (COULOMB_CONSTANT / d)
        for artefact in ("fig1d", "fig1e")
        for d, spread in _values(metrics[artefact], "energy_difference_spread").items()
    ]
    if not shares or not np.isfinite(shares).all():
        return ClaimResult(None, "", "too few media to have a spread")
    measured = f"spread over media at most {max(shares):.2f} of k/d"
    margin = 1.0 - max(shares) / SMALL_SPREAD
    return ClaimResult(margin > 0.0, measured, "threshold: a tenth", margin)


def models_agree(metrics: Metrics) -> ClaimResult:
    """The two models give the same atomic-energy difference within their spreads over media."""
    one, two = (_values(metrics[a], "energy_difference") for a in ("fig1d", "fig1e"))
    spreads = [_values(metrics[a], "energy_difference_spread") for a in ("fig1d", "fig1e")]
    common = sorted(set(one) & set(two))
    if not common:
        return ClaimResult(None, "", "no distance is common to the two models")
    both = {d: np.hypot(spreads[0].get(d, np.nan), spreads[1].get(d, np.nan)) for d in common}
    differences = {d: abs(one[d] - two[d]) for d in common}
    ratios = {d: x / (both[d] or np.nan) if x else 0.0 for d, x in differences.items()}
    if not np.isfinite(list(ratios.values())).all():
        return ClaimResult(None, "", "too few media to have a spread")
    worst = max(ratios, key=lambda d: ratios[d])
    measured = f"difference of at most {ratios[worst]:.2f} combined spreads (d = {worst:g} Å)"
    margin = 1.0 - float(ratios[worst])
    return ClaimResult(margin >= 0.0, measured, "threshold: one combined spread", margin)


def sparse_media_fail(metrics: Metrics) -> ClaimResult:
    """The thinnest medium leaves less than a quarter of the force, the full one more than that."""
    table = metrics["dilution"]
    found = table[table["quantity"].str.fullmatch(r"kept_[0-9.]+_share")]
    means = found.groupby("quantity")["value"].mean()
    shares = {float(str(name).split("_")[1]): float(value) for name, value in means.items()}
    if len(shares) < 2:
        return ClaimResult(None, "", "fewer than two densities were run")
    thin, full = min(shares), max(shares)
    measured = ", ".join(f"{shares[k]:.2f} of k/d^2 with {k:g} % kept" for k in sorted(shares))
    if shares[full] < VANISHED_SHARE:
        return ClaimResult(None, measured, "the full medium carries no force either in this run")
    margin = 1.0 - shares[thin] / VANISHED_SHARE
    return ClaimResult(margin > 0.0, measured, "threshold: a quarter", margin)


def reasonable_model_size(metrics: Metrics) -> ClaimResult:
    """The small network does what the published one does, within the same thresholds."""
    table = metrics["small_network"]
    results = {
        model: _agrees(table, unseen, f"{model}_force_difference")
        for model, unseen in (("interpolation", UNSEEN_BETWEEN), ("extrapolation", UNSEEN_BEYOND))
    }
    measured = "; ".join(f"{model}: {result.measured}" for model, result in results.items())
    verdicts = [result.holds for result in results.values()]
    if None in verdicts:
        return ClaimResult(None, measured, "the run lacks distances")
    margin = min(result.margin or 0.0 for result in results.values())
    start = "all" if all(verdicts) else "not all"
    reason = f"{start} within a tenth or the paper's own force error"
    return ClaimResult(all(verdicts), measured, reason, margin)

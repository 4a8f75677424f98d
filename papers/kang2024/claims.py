"""Claims of kang2024 that no kind of claim expresses; thresholds were fixed before any run.

Trivial, and named so beside every number, is a potential that feels nothing of the other charge.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from gnnip.units import COULOMB_CONSTANT
from gnnip.verdicts.claims import ClaimResult, Metrics, mean, reads

#: the predicted force difference agrees with k/d^2: to a tenth of it, or to the force RMSE that the
#: paper itself reports (eV/Angstrom), whichever is wider
SHARE_TOLERANCE, FORCE_TOLERANCE = 0.10, 0.020
#: "low standard deviation" across media, as a share of the pair energy k/d
SMALL_SPREAD = 0.10
#: distances (Angstrom) that the published models were tested at and not trained on
UNSEEN_BETWEEN, UNSEEN_BEYOND = (5.0, 7.0, 9.0, 11.0), (9.0, 10.0, 11.0, 12.0)
#: a force that is no longer there: less than this share of k/d^2
VANISHED_SHARE = 0.25
#: meV, to which a local potential gives one energy of wetting for both supports, and what it must
#: know of the two configurations for that to say anything
EQUAL_MEV, KNOWN_MEV = 1.0, 100.0
#: of the energy of wetting, as a share of what doping does to it in the reference
WETTING_SHARE = 0.25
#: of the force on the dimer, as a share of its root mean square along the curve
CURVE_SHARE = 0.25
#: by how much a longer cutoff has to lower an error that distances are the cause of
LOWER_SHARE = 0.10
#: that a blind network may feel: rounding of double (meV) and of single precision (eV/Angstrom)
BLIND_MEV, BLIND_EV_PER_A = 1.0, 1e-3


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


@reads("au_one_layer_.*")
def local_gives_equal_values(metrics: Metrics) -> ClaimResult:
    """One layer, on one dimer: equal to 1 meV, though it knows the configurations apart.

    Who knows nothing gives equal values too, zero: the energy itself has to be there.
    """
    known, doping = (
        mean(metrics["fig2b"], f"au_one_layer_{name}")
        for name in ("same_undoped_difference", "doping")
    )
    if np.isnan(doping):
        return ClaimResult(None, "", "the network of one layer was not measured")
    measured = f"{doping:.3g} meV apart, at {known:.0f} meV undoped"
    if abs(known) < KNOWN_MEV:
        return ClaimResult(
            False, measured, "it does not know the configurations apart either", -1.0
        )
    margin = 1.0 - abs(doping) / EQUAL_MEV
    return ClaimResult(margin > 0.0, measured, "threshold: 1 meV, on identical slabs", margin)


def _apart(metrics: Metrics, group: str) -> ClaimResult:
    """Judge whether the energies of wetting on both supports are those of the reference."""
    table = metrics["fig2b"]
    known = {s: mean(table, f"reference_{s}_difference") for s in ("undoped", "doped")}
    said = {s: mean(table, f"{group}_{s}_difference") for s in known}
    if np.isnan([*said.values(), *known.values()]).any():
        return ClaimResult(None, "", f"{group} was not measured on both supports")
    worst = max(abs(said[s] - known[s]) for s in said)
    allowed = WETTING_SHARE * abs(known["doped"] - known["undoped"])
    told = ", ".join(f"{s} {said[s]:.0f} against {known[s]:.0f} meV" for s in said)
    reason = f"threshold: {allowed:.0f} meV, a quarter of what doping does"
    return ClaimResult(bool(worst < allowed), told, reason, 1.0 - worst / allowed)


@reads("(au_gnn|reference)_.*difference")
def network_tells_supports_apart(metrics: Metrics) -> ClaimResult:
    """Both energies within a quarter of the effect of doping."""
    return _apart(metrics, "au_gnn")


def local_tells_supports_apart(metrics: Metrics) -> ClaimResult:
    """Return the same of one layer, which cannot: the control."""
    return _apart(metrics, "au_one_layer")


@reads("au_gnn_.*")
def network_follows_force(metrics: Metrics) -> ClaimResult:
    """The error on either support is below a quarter of the force's root mean square."""
    table = metrics["fig2c"]
    rows = table[table["quantity"].str.fullmatch("au_gnn_(un)?doped_force_rmse")]
    means = rows.groupby("quantity")[["value", "baseline"]].mean()
    if len(means) < 2:
        return ClaimResult(None, "", "the curve was not measured on both supports")
    shares = means["value"] / means["baseline"]
    measured = f"errors of {shares.min():.2f} and {shares.max():.2f} of the force"
    margin = 1.0 - float(shares.max()) / CURVE_SHARE
    return ClaimResult(margin > 0.0, measured, "threshold: a quarter", margin)


@reads("rigid_cutoff_.*")
def liquid_fails_by_distances(metrics: Metrics) -> ClaimResult:
    """The error of forces on whole molecules falls by a tenth from the shortest cutoff on, and by
    two standard errors: if distances are the cause, seeing further is the cure."""
    table = metrics["p4_cause"]
    rows = table[table["quantity"].str.fullmatch(r"rigid_cutoff_[0-9.]+_rmse")]
    cutoffs = rows["quantity"].str.extract(r"cutoff_([0-9.]+)_")[0].astype(float)
    seeds = rows.groupby(cutoffs)["value"]
    if seeds.ngroups < 2:
        return ClaimResult(None, "", "fewer than two cutoffs were run")
    means = seeds.mean()
    errors: pd.Series = (seeds.std(ddof=1) / np.sqrt(seeds.count())).fillna(0.0)
    first, last = means.index.min(), means.index.max()
    gained = 1.0 - means[last] / means[first]
    noise = 2.0 * float(np.hypot(errors[first], errors[last])) / means[first]
    measured = ", ".join(f"{value:.3f} eV/Å at {cutoff:g} Å" for cutoff, value in means.items())
    margin = float(gained / max(LOWER_SHARE, noise) - 1.0)
    return ClaimResult(margin > 0.0, measured, "threshold: a tenth, and two errors", margin)


@reads("blind_felt_.*|(gold|toy)_.*_share")
def reach_is_counted_in_edges(metrics: Metrics) -> ClaimResult:
    """Nothing is felt beyond twice as many edges as layers, and something within them."""
    table = metrics["reach"]
    blind = {s: mean(table, f"blind_felt_{s}") for s in ("gold", "toy")}
    if np.isnan([*blind.values()]).any():
        return ClaimResult(None, "", "no two ends were out of reach of a network in this run")
    within = table[table["quantity"].str.fullmatch("(gold|toy)_.*_share")]["value"].abs()
    measured = f"beyond: at most {blind['gold']:.2g} meV and {blind['toy']:.2g} eV/Å"
    if within.max() < VANISHED_SHARE:
        return ClaimResult(False, measured, "nothing is felt within reach either", -1.0)
    margin = 1.0 - max(blind["gold"] / BLIND_MEV, blind["toy"] / BLIND_EV_PER_A)
    return ClaimResult(margin > 0.0, measured, "thresholds: 1 meV and 0.001 eV/Å", float(margin))

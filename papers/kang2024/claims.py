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
#: "a small part" of the pair energy k/d
SMALL_SHARE = 0.5
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
#: that a blind network may feel: rounding of double (meV) and of single precision (eV/Angstrom),
#: and how many times that one feels which sees
BLIND = {"gold": 1e-6, "toy": 1e-6}
SEEN = 10.0
#: below which share of the force without any it is learned
LEARNED_SHARE = 0.5
#: of k/d^2, that a potential feels whose atomic energies say anything
FELT_SHARE = 0.5


#: words for both tolerances of a force
ALLOWED = "within a tenth, or the 0.02 eV/Å that the paper's own forces are off"


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
    reason = f"all {ALLOWED}"
    if wrong:
        reason = f"not {ALLOWED} at d = {', '.join(wrong)} Å"
    return ClaimResult(not wrong, measured, reason, min(margins))


def interpolates(metrics: Metrics) -> ClaimResult:
    """Within a tenth of k/d^2 at the held-out distances between the trained ones."""
    return _agrees(metrics["fig1b"], UNSEEN_BETWEEN)


def extrapolates(metrics: Metrics) -> ClaimResult:
    """Within a tenth of k/d^2 at distances beyond the trained ones."""
    return _agrees(metrics["fig1c"], UNSEEN_BEYOND)


def _unfelt(metrics: Metrics) -> ClaimResult | None:
    """Return that atomic energies say nothing, of networks that do not feel the charge: those of
    one that feels nothing are small, alike and the same in all media; None where they say more."""
    shares = {
        d: abs(force) / (COULOMB_CONSTANT / d**2)
        for artefact in ("fig1b", "fig1c")
        for d, force in _values(metrics[artefact], "force_difference").items()
    }
    if not shares:
        return ClaimResult(None, "", "no forces were measured")
    least = min(shares, key=lambda d: shares[d])
    if shares[least] >= FELT_SHARE:
        return None
    measured = f"{shares[least]:.2f} of k/d^2 is felt at {least:g} Å"
    return ClaimResult(None, measured, "who does not feel the charge divides nothing")


def atomic_energy_small(metrics: Metrics) -> ClaimResult:
    """The part of the charge's own atom stays below a half of k/d, at every distance."""
    shares = [
        abs(value)
        for artefact in ("fig1d", "fig1e")
        for value in _values(metrics[artefact], "energy_difference_share").values()
    ]
    if not shares:
        return ClaimResult(None, "", "no atomic energies were measured")
    measured = f"at most {max(shares):.2f} of k/d"
    margin = 1.0 - max(shares) / SMALL_SHARE
    return _unfelt(metrics) or ClaimResult(margin > 0.0, measured, "threshold: a half", margin)


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
    return _unfelt(metrics) or ClaimResult(margin > 0.0, measured, "threshold: a tenth", margin)


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
    found = ClaimResult(margin >= 0.0, measured, "threshold: one combined spread", margin)
    return _unfelt(metrics) or found


def sparse_media_fail(metrics: Metrics) -> ClaimResult:
    """Of media of one density, those without a path of edges between the charges leave less than a
    quarter of the force, those with one more: the paths decide, not the density.

    It takes the thinnest density that has media of both kinds, and a full medium that carries it.
    """
    table = metrics["dilution"]
    found = table[table["quantity"].str.fullmatch(r"kept_[0-9.]+_share.*")]
    means = found.groupby("quantity")["value"].mean()
    shares: dict[float, dict[str, float]] = {}
    for name, value in means.items():
        _, kept, what = str(name).split("_", 2)
        shares.setdefault(float(kept), {})[what] = float(value)
    both = [k for k, of in shares.items() if {"share_connected", "share_unconnected"} <= {*of}]
    if not both:
        return ClaimResult(None, "", "no density has media with a path and media without one")
    thin, full = min(both), shares[max(shares)]["share"]
    blind, led = shares[thin]["share_unconnected"], shares[thin]["share_connected"]
    measured = (
        f"with {thin:g} % kept {blind:.2f} of k/d^2 without a path and {led:.2f} with one, "
        f"{full:.2f} in the full medium"
    )
    if full < VANISHED_SHARE:
        return ClaimResult(None, measured, "the full medium carries no force either in this run")
    margin = min(1.0 - blind / VANISHED_SHARE, led / VANISHED_SHARE - 1.0)
    reason = "threshold: a quarter"
    if led < VANISHED_SHARE:
        reason += "; media with a path lose the force, too"
    return ClaimResult(margin > 0.0, measured, reason, margin)


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
    reason = f"{start} {ALLOWED}"
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
    """The error of forces on whole molecules is above half of the forces at the shortest cutoff,
    and falls by a tenth, and two standard errors, to the longest: if distances are the cause,
    seeing further is the cure."""
    table = metrics["p4_cause"]
    rows = table[table["quantity"].str.fullmatch(r"rigid_cutoff_[0-9.]+_rmse")]
    cutoffs = rows["quantity"].str.extract(r"cutoff_([0-9.]+)_")[0].astype(float)
    seeds = rows.groupby(cutoffs)["value"]
    if seeds.ngroups < 2:
        return ClaimResult(None, "", "fewer than two cutoffs were run")
    means = seeds.mean()
    errors: pd.Series = (seeds.std(ddof=1) / np.sqrt(seeds.count())).fillna(0.0)
    first, last = means.index.min(), means.index.max()
    failed = float(means[first] / rows.loc[cutoffs == first, "baseline"].mean())
    gained = 1.0 - means[last] / means[first]
    noise = 2.0 * float(np.hypot(errors[first], errors[last])) / means[first]
    measured = ", ".join(f"{value:.3f} eV/Å at {cutoff:g} Å" for cutoff, value in means.items())
    if failed < LEARNED_SHARE:
        reason = f"the shortest cutoff learns it, to {failed:.2f} of what is there without forces"
        return ClaimResult(False, measured, reason, failed / LEARNED_SHARE - 1.0)
    margin = float(gained / max(LOWER_SHARE, noise) - 1.0)
    reason = (
        "thresholds: a tenth and two errors; beyond half of the box, 6.2 Å, images are seen, too"
    )
    return ClaimResult(margin > 0.0, measured, reason, margin)


@reads("blind_felt_.*|(gold|toy)_.*_felt")
def reach_is_counted_in_edges(metrics: Metrics) -> ClaimResult:
    """Nothing is felt beyond twice as many edges as layers, and something from the edge on that
    takes more than one layer's own neighbours, by gold and by the toy."""
    table = metrics["reach"]
    blind = {s: mean(table, f"blind_felt_{s}") for s in BLIND}
    if np.isnan([*blind.values()]).any():
        return ClaimResult(None, "", "no two ends were out of reach of a network in this run")
    seen = {system: _felt_within(table, system) for system in BLIND}
    measured = "; ".join(
        f"{system}: at most {blind[system]:.2g} {unit} beyond, {seen[system]:.2g} within"
        for system, unit in (("gold", "meV"), ("toy", "eV/Å"))
    )
    if not all(seen[system] > SEEN * bound for system, bound in BLIND.items()):
        return ClaimResult(False, measured, "nothing is felt within reach either", -1.0)
    margin = 1.0 - max(blind[system] / bound for system, bound in BLIND.items())
    return ClaimResult(margin > 0.0, measured, "threshold: rounding, 1e-6", float(margin))


def _felt_within(table: pd.DataFrame, system: str) -> float:
    """Return the most that a network feels over more edges than it has layers, up to twice as many;
    a slab has an edge for every two of its layers of atoms."""
    patterns = {
        "gold": r"gold_(\d+)_network_(\d+)_felt",
        "toy": r"toy_network_(\d+)_hops_(\d+)_felt",
    }
    named = table["quantity"].str.extract(f"^{patterns[system]}$").dropna().astype(float)
    first, second = named.iloc[:, 0], named.iloc[:, 1]
    layers, hops = (second, first / 2.0) if system == "gold" else (first, second)
    within = named.index[(hops > layers) & (hops <= 2.0 * layers)]
    return float(table.loc[within, "value"].abs().max())

"""Artefacts and claims of kang2024 (non-local electrostatics learned by message passing): the toy.

Every artefact is a function `inputs -> (tidy, metrics)` as in `gijon2023.tables`. The
quantity that the paper plots is the difference between configuration I (with the -1e) and II
(without), in the same medium, of the force on the +1e along the line to the -1e: exactly k/d^2,
whatever the medium. The trivial baseline is a local potential without overlap: no difference.

Units: eV, Angstrom, meV/atom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.potential_errors import (
    error_metrics,
    errors_of,
    potential_errors,
    published_errors,
    score_rows,
)
from gnnip.artefacts.reference_data import reference_data as reference_data
from gnnip.artefacts.tables import Result, metric_row, metric_table
from gnnip.errors import DataError
from gnnip.measurements import metrics as measure
from gnnip.units import COULOMB_CONSTANT
from gnnip.verdicts.claims import ClaimResult

Metrics = Mapping[str, pd.DataFrame]

TERM = "coulomb"
GROUPS = ("interpolation", "extrapolation")
PROBE = "charge_probe"

# thresholds of the claims, fixed before any run of the card
#: the predicted force difference agrees with k/d^2: to a tenth of it, or to the force RMSE that the
#: paper itself reports (eV/Angstrom), whichever is wider
SHARE_TOLERANCE, FORCE_TOLERANCE = 0.10, 0.020
#: "significantly smaller" than the pair energy k/d, and "low standard deviation" across media
SMALL_SHARE, SMALL_SPREAD = 0.5, 0.10
#: distances (Angstrom) that the published models were tested at and not trained on
UNSEEN_BETWEEN, UNSEEN_BEYOND = (5.0, 7.0, 9.0, 11.0), (9.0, 10.0, 11.0, 12.0)
#: a force that is no longer there: less than this share of k/d^2
VANISHED_SHARE = 0.25


def coulomb_force(distance: pd.Series | np.ndarray) -> np.ndarray:
    """Return k/d^2 in eV/Angstrom for unit charges d Angstrom apart."""
    return COULOMB_CONSTANT / np.square(np.asarray(distance, dtype=float))


# --- what all artefacts share ---------------------------------------------------------------------


def differences(probe: pd.DataFrame) -> pd.DataFrame:
    """Return I - II for every training and medium.

    Columns: group, cell, seed, distance_a, kept_fraction, medium, hops, force_difference_ev_per_a,
    force_difference_reference_ev_per_a, energy_difference_ev (of the atomic energy of the +1e),
    coulomb_force_ev_per_a (k/d^2), coulomb_energy_ev (k/d, of the pair), share (predicted
    difference of the force over k/d^2).
    """
    keys = ["group", "cell", "seed", "distance_a", "kept_fraction", "medium"]
    values = ["force_z_ev_per_a", "force_z_reference_ev_per_a", "atomic_energy_ev", "hops"]
    one, two = (probe[probe["configuration"] == c].set_index(keys)[values] for c in ("I", "II"))
    if one.empty or not one.index.equals(two.reindex(one.index).dropna(how="all").index):
        raise DataError("The step charge_probe lacks one of the two configurations; run it again.")
    two = two.reindex(one.index)
    table = pd.DataFrame(
        {
            "hops": one["hops"],
            "force_difference_ev_per_a": one["force_z_ev_per_a"] - two["force_z_ev_per_a"],
            "force_difference_reference_ev_per_a": one["force_z_reference_ev_per_a"]
            - two["force_z_reference_ev_per_a"],
            "energy_difference_ev": one["atomic_energy_ev"] - two["atomic_energy_ev"],
        }
    ).reset_index()
    table["coulomb_force_ev_per_a"] = coulomb_force(table["distance_a"])
    table["coulomb_energy_ev"] = COULOMB_CONSTANT / table["distance_a"]
    table["share"] = table["force_difference_ev_per_a"] / table["coulomb_force_ev_per_a"]
    return table


def _of_group(inputs: Inputs, group: str) -> pd.DataFrame:
    """Return the differences of a group, with the values of its matrix as columns."""
    table = differences(inputs.step(PROBE))
    table = table[table["group"] == group]
    names = {folder.parent.name: keys for keys, _, folder in inputs.cells(group)}
    unknown = set(table["cell"]) - set(names)
    if table.empty or unknown:
        raise DataError(f"The step charge_probe does not fit the group '{group}'; run it again.")
    for key in next(iter(names.values())):
        table[key] = [names[cell][key] for cell in table["cell"]]
    return table.reset_index(drop=True)


def trained_distances(inputs: Inputs, group: str) -> list[float]:
    """Return the distances (Angstrom) between the unit charges in the training structures."""
    where = (inputs.group(group).get("split") or {}).get("train_where") or {}
    return sorted(float(d) for d in where.get("distance_a", []))


def _cutoff(inputs: Inputs, group: str) -> float:
    return float(inputs.group(group)["hyperparameters"]["cutoff"])


def _per_distance(
    inputs: Inputs, artefact: str, table: pd.DataFrame, column: str, ideal: str, unit: str
) -> list[dict[str, object]]:
    """Return mean, spread over media and share of the ideal at each distance, for every seed."""
    what = "force_difference" if "force" in column else "energy_difference"
    rows = []
    for (seed, d), part in table.groupby(["seed", "distance_a"]):
        mean, size = part[column].mean(), part[ideal].iloc[0]
        spread = part[column].std(ddof=1) if len(part) > 1 else np.nan
        for name, value, of in (
            (f"{what}_d{d:g}", mean, unit),
            (f"{what}_spread_d{d:g}", spread, unit),
            (f"{what}_share_d{d:g}", mean / size, ""),
        ):
            # a local potential sees no difference
            rows.append(metric_row(inputs, artefact, name, of, value, seed=seed, baseline=0.0))
    return rows


# --- the figure and the numbers of the paper ------------------------------------------------------


def toy_errors(inputs: Inputs) -> Result:
    """Errors of the interpolation and the extrapolation model, with baselines and published values.

    Tidy: columns of `gnnip.artefacts.potential_errors.potential_errors`, with the source
    `published` too.
    """
    parts = [potential_errors(inputs, group, TERM) for group in GROUPS]
    rows = []
    for group, part in zip(GROUPS, parts, strict=True):
        rows += error_metrics(inputs, "toy_errors", group, part)
    parts.append(published_errors(inputs, "toy_errors", "group"))
    return pd.concat(parts, ignore_index=True), metric_table(rows)


#: the distance whose structures figure 1a shows, where there are any
SHOWN_DISTANCE = 8.0


def fig1a(inputs: Inputs) -> Result:
    """One medium with (I) and without (II) the -1e.

    Tidy: configuration, distance_a, x_a, y_a, z_a, charge_e of every particle. Metrics: particles
    of configuration I.
    """
    from gnnip.sampling.point_charges import charges_of

    arrays = inputs.arrays()
    full = arrays.column("kept_fraction") == arrays.column("kept_fraction").max()
    distance = arrays.column("distance_a")
    nearest = distance[np.argmin(np.abs(distance - SHOWN_DISTANCE))]
    candidates = np.flatnonzero(full & (distance == nearest))
    medium = arrays.column("medium")[candidates[0]]
    parts = []
    for frame in candidates[arrays.column("medium")[candidates] == medium]:
        part = arrays.atom_slice(int(frame))
        x, y, z = arrays.positions[part].T
        parts.append(
            pd.DataFrame(
                {
                    "configuration": arrays.column("configuration")[frame],
                    "distance_a": nearest,
                    "x_a": x,
                    "y_a": y,
                    "z_a": z,
                    "charge_e": charges_of(arrays.numbers[part]),
                }
            )
        )
    tidy = pd.concat(parts, ignore_index=True)
    count = int((tidy["configuration"] == "I").sum())
    return tidy, metric_table([metric_row(inputs, "fig1a", "particles", "", count)])


def _force_figure(inputs: Inputs, artefact: str, group: str) -> Result:
    table = _of_group(inputs, group)
    seen = trained_distances(inputs, group)
    table["trained"] = table["distance_a"].isin(seen)
    rows = _per_distance(
        inputs,
        artefact,
        table,
        "force_difference_ev_per_a",
        "coulomb_force_ev_per_a",
        "eV/A",
    )
    for seed, part in table[~table["trained"]].groupby("seed"):
        ideal = part["coulomb_force_ev_per_a"]
        rows.append(
            metric_row(
                inputs,
                artefact,
                "force_difference_rmse_unseen",
                "eV/A",
                measure.rmse(ideal, part["force_difference_ev_per_a"]),
                seed=seed,
                baseline=measure.rmse(ideal, 0.0 * ideal),
            )
        )
    keep = ["seed", "distance_a", "trained", "medium", "hops", "force_difference_ev_per_a"]
    return table[[*keep, "coulomb_force_ev_per_a", "share"]], metric_table(rows)


def fig1b(inputs: Inputs) -> Result:
    """Force difference on the +1e against the distance, interpolation model.

    Tidy: one row per seed, distance and medium, with k/d^2 and whether the distance was trained on.
    Metrics per seed and distance: mean, standard deviation over media, share of k/d^2; the RMSE
    over unseen distances beside that of no difference.
    """
    return _force_figure(inputs, "fig1b", "interpolation")


def fig1c(inputs: Inputs) -> Result:
    """Force difference on the +1e against the distance, extrapolation model; as `fig1b`."""
    return _force_figure(inputs, "fig1c", "extrapolation")


def _energy_figure(inputs: Inputs, artefact: str, group: str) -> Result:
    table = _of_group(inputs, group)
    table["trained"] = table["distance_a"].isin(trained_distances(inputs, group))
    rows = _per_distance(inputs, artefact, table, "energy_difference_ev", "coulomb_energy_ev", "eV")
    keep = ["seed", "distance_a", "trained", "medium", "energy_difference_ev", "coulomb_energy_ev"]
    return table[keep], metric_table(rows)


def fig1d(inputs: Inputs) -> Result:
    """Difference of the atomic energy of the +1e against the distance, interpolation model.

    Tidy: one row per seed, distance and medium, with the pair energy k/d. Metrics per seed and
    distance: mean, standard deviation over media, share of k/d (with the sign of the difference,
    which the pair energy has negative).
    """
    return _energy_figure(inputs, "fig1d", "interpolation")


def fig1e(inputs: Inputs) -> Result:
    """Difference of the atomic energy of the +1e, extrapolation model; as `fig1d`."""
    return _energy_figure(inputs, "fig1e", "extrapolation")


# --- beyond the paper -----------------------------------------------------------------------------


def receptive_field(inputs: Inputs) -> Result:
    """Force difference against the distance for networks of one to five layers.

    A force on one atom depends on another when some atom between them has both within its field,
    layers x cutoff: the force reaches twice as far as the energy of an atom. Tidy: layers, seed,
    distance_a, medium, share, energy_reach_a (layers x cutoff), force_reach_a (twice that). Metrics
    per layers: the share of k/d^2 at each distance, the largest distance with any difference at
    all, and the errors of all forces of the test structures.
    """
    group = "receptive_field"
    table = _of_group(inputs, group)
    table["energy_reach_a"] = table["layers"] * _cutoff(inputs, group)
    table["force_reach_a"] = 2.0 * table["energy_reach_a"]
    rows = []
    summaries = inputs.summaries(group)
    for (layers, seed), part in table.groupby(["layers", "seed"]):
        for d, at in part.groupby("distance_a"):
            name = f"layers_{layers}_share_d{d:g}"
            rows.append(
                metric_row(
                    inputs,
                    group,
                    name,
                    "",
                    at["share"].mean(),
                    seed=seed,
                    baseline=0.0,
                )
            )
        # single precision leaves differences of the last digit in energies of some eV
        felt = part[part["force_difference_ev_per_a"].abs() > 1e-4]
        reach = float(felt["distance_a"].max()) if len(felt) else 0.0
        rows.append(metric_row(inputs, group, f"layers_{layers}_felt_up_to", "A", reach, seed=seed))
        summary = summaries[(summaries["layers"] == layers) & (summaries["seed"] == seed)].iloc[0]
        rows += score_rows(
            inputs,
            group,
            f"layers_{layers}",
            ("force_rmse", "energy_rmse"),
            errors_of(summary, "test"),
            int(str(seed)),
        )
    keep = ["layers", "seed", "distance_a", "medium", "force_difference_ev_per_a", "share"]
    keep += ["coulomb_force_ev_per_a", "energy_reach_a", "force_reach_a"]
    return table[keep], metric_table(rows)


#: rows of the comparison: name -> (group, values of its matrix that choose cells)
COMPARED: dict[str, tuple[str, dict[str, int]]] = {
    "pair": ("pair", {}),
    "one layer": ("receptive_field", {"layers": 1}),
    "message passing": ("interpolation", {}),
    "pair + learned charges": ("learned_charges", {}),
    "pair + given charges": ("given_charges", {}),
}


def explicit_charges(inputs: Inputs) -> Result:
    """Message passing beside local potentials and potentials with explicit charges, same data.

    Tidy: model, seed, n_parameters, training_s, test errors, and the share of k/d^2 averaged over
    the distances beyond the cutoff. `training_s` is on whatever ran the training: a ratio means
    something, the value does not.
    """
    probe = differences(inputs.step(PROBE))
    cutoff = _cutoff(inputs, "interpolation")
    tidy, rows = [], []
    for name, (group, wanted) in COMPARED.items():
        for keys, seed, folder in inputs.cells(group):
            if any(keys.get(key) != value for key, value in wanted.items()):
                continue
            summary = inputs.summary(folder)
            own = probe[
                (probe["group"] == group)
                & (probe["cell"] == folder.parent.name)
                & (probe["seed"] == seed)
                & (probe["distance_a"] > cutoff)
            ]
            scores = errors_of(summary, "test") | {
                "share_beyond_cutoff": float(own["share"].mean()),
                "training_s": float(summary["wall_s"]),
                "n_parameters": int(summary["n_parameters"]),
            }
            tidy.append({"model": name, "seed": seed} | scores)
            rows += score_rows(
                inputs,
                "explicit_charges",
                name.replace(" + ", "_").replace(" ", "_"),
                ("energy_rmse", "force_rmse", "share_beyond_cutoff", "parameters"),
                scores,
                seed,
            )
    return pd.DataFrame(tidy), metric_table(rows)


def dilution(inputs: Inputs) -> Result:
    """The force beyond the cutoff as the medium is thinned out, beside the paths that carry it.

    Tidy: kept_fraction, seed, distance_a, medium, share, hops, connected (the charges are joined by
    edges at all). Metrics per kept fraction: mean share of k/d^2 beyond the cutoff, share of media
    that are connected, and the share of k/d^2 in connected and in unconnected media.
    """
    group = "dilution"
    table = _of_group(inputs, group)
    table["connected"] = table["hops"].notna()
    beyond = table[table["distance_a"] > _cutoff(inputs, group)]
    rows = []
    for (kept, seed), part in beyond.groupby(["kept_fraction", "seed"]):
        percent = f"{100 * float(str(kept)):g}"
        for name, value in (
            ("share", part["share"].mean()),
            ("connected", part["connected"].mean()),
            ("share_connected", part.loc[part["connected"], "share"].mean()),
            ("share_unconnected", part.loc[~part["connected"], "share"].mean()),
        ):
            if np.isfinite(value):
                rows.append(
                    metric_row(inputs, group, f"kept_{percent}_{name}", "", value, seed=seed)
                )
    keep = ["kept_fraction", "seed", "distance_a", "medium", "hops", "connected", "share"]
    return table[keep], metric_table(rows)


SMALL = {"interpolation": "interpolation_small", "extrapolation": "extrapolation_small"}


def small_network(inputs: Inputs) -> Result:
    """Force difference against the distance, by a small network on the published structures.

    Tidy: as `fig1b`, with the model (interpolation or extrapolation). Metrics: as `fig1b`, their
    names beginning with the model, and the errors of all test structures.
    """
    parts, rows = [], []
    for model, group in SMALL.items():
        tidy, metrics = _force_figure(inputs, "small_network", group)
        parts.append(tidy.assign(model=model))
        rows.append(metrics.assign(quantity=model + "_" + metrics["quantity"]))
        errors = []
        for _, seed, folder in inputs.cells(group):
            summary = inputs.summary(folder)
            for subset in ("validation", "test"):
                prefix, scores = f"{model}_{subset}", errors_of(summary, subset)
                measures = ("energy_rmse", "force_rmse")
                errors += score_rows(inputs, "small_network", prefix, measures, scores, seed)
        rows.append(metric_table(errors))
    return pd.concat(parts, ignore_index=True), pd.concat(rows, ignore_index=True)


# --- claims ---------------------------------------------------------------------------------------


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
    wrong, shares = [], []
    for d in unseen:
        ideal = float(coulomb_force(np.array(d)))
        shares.append(f"{means[d] / ideal:.2f} at {d:g} Å")
        if abs(means[d] - ideal) > max(SHARE_TOLERANCE * ideal, FORCE_TOLERANCE):
            wrong.append(d)
    measured = "share of k/d^2: " + ", ".join(shares)
    if not wrong:
        return ClaimResult(True, measured, "all within a tenth or the paper's own force error")
    names = ", ".join(f"{d:g}" for d in wrong)
    return ClaimResult(False, measured, f"off by more than a tenth at d = {names} Å")


def interpolates(metrics: Metrics) -> ClaimResult:
    """Within a tenth of k/d^2 at the held-out distances between the trained ones."""
    return _agrees(metrics["fig1b"], UNSEEN_BETWEEN)


def extrapolates(metrics: Metrics) -> ClaimResult:
    """Within a tenth of k/d^2 at distances beyond the trained ones."""
    return _agrees(metrics["fig1c"], UNSEEN_BEYOND)


def atomic_energy_small(metrics: Metrics) -> ClaimResult:
    """The atomic energy of the +1e changes by less than half of k/d, at every distance."""
    shares = [
        abs(value)
        for artefact in ("fig1d", "fig1e")
        for value in _values(metrics[artefact], "energy_difference_share").values()
    ]
    if not shares:
        return ClaimResult(None, "", "no atomic energies were measured")
    measured = f"at most {max(shares):.2f} of k/d"
    return ClaimResult(bool(max(shares) < SMALL_SHARE), measured, "threshold: a half")


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
    return ClaimResult(bool(max(shares) < SMALL_SPREAD), measured, "threshold: a tenth")


def models_agree(metrics: Metrics) -> ClaimResult:
    """The two models give the same atomic-energy difference within their spreads over media."""
    one, two = (_values(metrics[a], "energy_difference") for a in ("fig1d", "fig1e"))
    spreads = [_values(metrics[a], "energy_difference_spread") for a in ("fig1d", "fig1e")]
    common = sorted(set(one) & set(two))
    if not common:
        return ClaimResult(None, "", "no distance is common to the two models")
    ratios = {
        d: abs(one[d] - two[d]) / np.hypot(spreads[0].get(d, np.nan), spreads[1].get(d, np.nan))
        for d in common
    }
    if not np.isfinite(list(ratios.values())).all():
        return ClaimResult(None, "", "too few media to have a spread")
    worst = max(ratios, key=lambda d: ratios[d])
    measured = f"difference of at most {ratios[worst]:.2f} combined spreads (d = {worst:g} Å)"
    return ClaimResult(bool(ratios[worst] <= 1.0), measured, "threshold: one combined spread")


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
    return ClaimResult(shares[thin] < VANISHED_SHARE, measured, "threshold: a quarter")


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
    holds = all(verdicts)
    reason = "within a tenth or the paper's own force error"
    return ClaimResult(holds, measured, f"all {reason}" if holds else f"not all {reason}")


CLAIMS: dict[str, Callable[[Metrics], ClaimResult]] = {
    "interpolates": interpolates,
    "extrapolates": extrapolates,
    "atomic_energy_small": atomic_energy_small,
    "atomic_energy_spread_small": atomic_energy_spread_small,
    "models_agree": models_agree,
    "sparse_media_fail": sparse_media_fail,
    "reasonable_model_size": reasonable_model_size,
}

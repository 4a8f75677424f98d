"""Tables of rajak2021: one function per artefact, from the files of a finished run.

Training groups are named {material}_{arm}. The arms of the ablation are the graph network alone
(`gnn`), behind pair networks (`nn2_gnn`), behind pair and triplet networks (`decomposed`), beside
the repulsion of nuclei (`zbl_gnn`), all without an envelope as described; with an envelope
(`smooth`); and NequIP (`nequip`). Removing one from the card removes it from every table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.potential_errors import error_metrics, potential_errors, published_errors
from gnnip.artefacts.reference_data import reference_data as reference_data
from gnnip.artefacts.tables import Result, metric_row, metric_table
from gnnip.verdicts.claims import ClaimResult

TERM = "total"
MATERIALS = ("sic", "gese2")
#: arm -> variant
ARMS = {
    "nn2": "as_described",
    "nn3": "as_described",
    "gnn": "as_described",
    "nn2_gnn": "as_described",
    "decomposed": "as_described",
    "zbl_gnn": "as_described",
    "smooth": "corrected",
    "nequip": "corrected",
}
#: what a mean over frames of one temperature and phase is worth
ENSEMBLE = ("phase", "temperature_k")

# thresholds of the claims, fixed before any run of the card
#: "minima around 2 Angstrom": to both sides
MINIMUM, MINIMUM_TOLERANCE = 2.0, 0.3
#: a mean local force that is told apart from none: this share of the largest of the material
FELT_SHARE = 0.05
#: pairs of atoms behind a bin of the distance, below which it says nothing
FEWEST_PAIRS = 20
#: "stable in 15 ps", "fails within 5 ps"
STABLE_FS, FAILED_FS = 15000.0, 5000.0

Metrics = Mapping[str, pd.DataFrame]


def arm_of(group: str) -> tuple[str, str]:
    """Return material and arm of a training group or of a potential (group/cell/seed-0)."""
    material, _, arm = group.split("/")[0].partition("_")
    return material, arm


# --- errors ---------------------------------------------------------------------------------------


def _errors(inputs: Inputs, artefact: str, name: Callable[[str, str], str]) -> Result:
    """Return the errors of all training groups of the artefact; `name` prefixes the quantities."""
    parts, rows = [], []
    for group in inputs.card["trainings"]:
        material, arm = arm_of(group)
        if arm not in ARMS:
            continue
        table = potential_errors(inputs, group, TERM, ENSEMBLE, train=True)
        if "split" not in table:
            table["split"] = str(inputs.group(group)["split"]["scheme"])
        table.insert(1, "material", material)
        table.insert(2, "arm", arm)
        parts.append(table)
        both = table["split"].nunique() > 1
        for split, part in table.groupby("split"):
            # the paper does not say how it divides the frames: at random, as was usual
            variant = "by_trajectory" if both and split == "trajectory" else ARMS[arm]
            rows += error_metrics(
                inputs,
                artefact,
                name(material, arm),
                part,
                baseline="ensemble_mean",
                variant=variant,
            )
    parts.append(published_errors(inputs, artefact, "arm"))
    tidy = pd.concat(parts, ignore_index=True)
    return tidy, metric_table(rows)


def sic_errors(inputs: Inputs) -> Result:
    """Errors of the graph network on SiC.

    Tidy: columns of `potential_errors` with material, arm and split, and the source `published`.
    The baseline is the mean energy of the training frames of the same phase and temperature.
    """
    return _errors(inputs, "sic_errors", lambda _, arm: arm)


def table1(inputs: Inputs) -> Result:
    """Errors on GeSe2 without and with the decomposition of the energy; columns as `sic_errors`."""
    return _errors(inputs, "table1", lambda _, arm: arm)


def ablation(inputs: Inputs) -> Result:
    """Errors of all arms on both materials; columns as `sic_errors`."""
    return _errors(inputs, "ablation", lambda material, arm: f"{material}_{arm}")


# --- learned local forces -------------------------------------------------------------------------


def _local_forces(inputs: Inputs, artefact: str, material: str) -> Result:
    """Return binned local forces of the material's potentials, and where they are lowest.

    Metrics of every arm, for each ordered pair of elements, of the bins with at least
    `FEWEST_PAIRS` pairs: lowest_force (eV/A), lowest_force_at (A), lowest_force_inside (1 where the
    bins on both sides have pairs too, else it is no minimum), highest_force, and the mean force in
    ranges of the distance, force_below_2, force_2_to_3 and force_3_to_4.
    """
    tidy = inputs.step(f"local_forces_{material}")
    tidy["arm"] = [arm_of(group)[1] for group in tidy["group"]]
    tidy["counts"] = tidy["n_pairs"] >= FEWEST_PAIRS
    width = np.diff(np.unique(tidy["distance_a"]), append=np.inf).min()
    rows = []
    for (arm, seed, centre, neighbour), part in tidy.groupby(
        ["arm", "seed", "centre", "neighbour"], sort=False
    ):
        part = part[part["counts"]]
        if part.empty:
            continue
        variant = ARMS.get(str(arm), "as_described")
        lowest = part.iloc[int(part["directed_force_ev_per_a"].argmin())]
        prefix = f"{arm}_{centre}{neighbour}"
        steps = ((part["distance_a"] - lowest["distance_a"]) / width).round()
        for short, unit, value in (
            ("lowest_force", "eV/A", lowest["directed_force_ev_per_a"]),
            ("lowest_force_at", "A", lowest["distance_a"]),
            ("lowest_force_inside", "", float({-1, 1} <= set(steps))),
            ("highest_force", "eV/A", part["directed_force_ev_per_a"].max()),
        ):
            rows.append(
                metric_row(
                    inputs,
                    artefact,
                    f"{prefix}_{short}",
                    unit,
                    value,
                    seed=seed,
                    variant=variant,
                )
            )
        # the sign of the force in ranges of the distance, as the paper tells it of Se-Se
        for low, high, name in ((0.0, 2.0, "below_2"), (2.0, 3.0, "2_to_3"), (3.0, 4.0, "3_to_4")):
            inside = part[(part["distance_a"] >= low) & (part["distance_a"] < high)]
            if len(inside):
                weights = inside["n_pairs"]
                value = float(np.average(inside["directed_force_ev_per_a"], weights=weights))
                quantity = f"{prefix}_force_{name}"
                row = metric_row(
                    inputs, artefact, quantity, "eV/A", value, seed=seed, variant=variant
                )
                rows.append(row)
    return tidy, metric_table(rows)


def fig2a(inputs: Inputs) -> Result:
    """Learned local forces in SiC against distance.

    Tidy: the step `local_forces_sic` (`gnnip.measurements.local_forces.tabulate_local_forces`) with
    the arm of each potential and whether a bin has pairs enough to count.
    """
    return _local_forces(inputs, "fig2a", "sic")


def fig3a(inputs: Inputs) -> Result:
    """Learned local forces in GeSe2 against distance; as `fig2a`."""
    return _local_forces(inputs, "fig3a", "gese2")


# --- dynamics -------------------------------------------------------------------------------------


def _dynamics(inputs: Inputs, material: str) -> pd.DataFrame:
    tidy = inputs.step(f"dynamics_{material}")
    tidy["potential"] = [_short(name) for name in tidy["potential"]]
    return tidy


def _short(potential: str) -> str:
    """Return the arm of a potential; reference, noise_floor and dataset stay."""
    return arm_of(potential)[1] if "/" in potential else potential


def _of_arms(tidy: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for arm in ARMS:
        part = tidy[tidy["potential"] == arm]
        if len(part):
            yield arm, part


def _stability(inputs: Inputs, artefact: str, tidy: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows about replicas of each arm: their number, how many failed, when, by which pair,
    for how long the others ran, and how much the energy drifted."""
    rows = []
    for arm, part in _of_arms(tidy):
        run = part[part["record"] == "run"].pivot_table(
            index="replica", columns="name", values="value", aggfunc="first"
        )
        failed = run["failed"] > 0
        autopsy = part[part["record"] == "autopsy"]
        pairs = autopsy.loc[autopsy["name"] == "pair_ratio", "text"].value_counts(normalize=True)
        facts = {
            "replicas": ("", float(len(run))),
            "failed": ("", float(failed.sum())),
            "shortest_run": ("fs", float(run["simulated_fs"].min())),
            "longest_run": ("fs", float(run["simulated_fs"].max())),
        }
        if failed.any():
            times = run.loc[failed, "simulated_fs"]
            facts |= {
                "first_failure": ("fs", float(times.min())),
                "median_failure": ("fs", float(times.median())),
            }
        for pair, share in pairs.items():
            facts[f"failed_by_{str(pair).replace('-', '')}"] = ("", float(share))
        for name, (unit, value) in facts.items():
            rows.append(
                metric_row(inputs, artefact, f"{arm}_{name}", unit, value, variant=ARMS[arm])
            )
    return rows


def _energy_figure(inputs: Inputs, artefact: str, material: str) -> Result:
    tidy = _dynamics(inputs, material)
    wanted = ("run", "series", "autopsy", "frame")
    tidy = tidy[tidy["record"].isin(wanted)]
    series = (tidy["record"] != "series") | (tidy["name"] == "potential_energy_ev")
    tidy = tidy[series].reset_index(drop=True)
    return tidy, metric_table(_stability(inputs, artefact, tidy))


def fig2b(inputs: Inputs) -> Result:
    """Potential energy of SiC against time, every replica, and the last structure of one.

    Tidy: records run, series (potential energy), autopsy and frame of the step `dynamics_sic`,
    potentials named by arm.
    """
    return _energy_figure(inputs, "fig2b", "sic")


def fig3b(inputs: Inputs) -> Result:
    """Potential energy of GeSe2 against time without and with the decomposition; as `fig2b`."""
    return _energy_figure(inputs, "fig3b", "gese2")


def fig3c(inputs: Inputs) -> Result:
    """How replicas of GeSe2 collapse: the first bad frame of one, and all closest pairs.

    Tidy: records run, autopsy, closest and frame of the step `dynamics_gese2`.
    """
    tidy = _dynamics(inputs, "gese2")
    tidy = tidy[tidy["record"].isin(("run", "autopsy", "closest", "frame"))].reset_index(drop=True)
    return tidy, metric_table(_stability(inputs, "fig3c", tidy))


def stability(inputs: Inputs) -> Result:
    """Survival of the replicas of all arms and what those that failed died of, both materials.

    Tidy: records run, survival and autopsy of both steps of dynamics, with a column material.
    """
    parts, rows = [], []
    for material in _materials(inputs):
        tidy = _dynamics(inputs, material)
        tidy.insert(0, "material", material)
        parts.append(tidy[tidy["record"].isin(("run", "survival", "autopsy"))])
        for row in _stability(inputs, "stability", tidy):
            rows.append(row | {"quantity": f"{material}_{row['quantity']}"})
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def structure(inputs: Inputs) -> Result:
    """Radial and angular distributions and vibrations of all arms beside the reference's.

    Tidy: records rdf, adf, vdos and their errors of both steps of dynamics, with a column material.
    Metrics: the errors (%); the baseline is the reference's own noise floor.
    """
    parts, rows = [], []
    for material in _materials(inputs):
        tidy = _dynamics(inputs, material)
        tidy.insert(0, "material", material)
        records = ("rdf", "adf", "vdos", "rdf_error", "adf_error", "vdos_error")
        parts.append(tidy[tidy["record"].isin(records)])
        errors = tidy[tidy["record"].str.endswith("_error")]
        floor = errors[errors["potential"] == "noise_floor"].set_index(["record", "name"])["value"]
        for arm, part in _of_arms(errors):
            for _, row in part.iterrows():
                what = row["record"].removesuffix("_error")
                which = "" if row["name"] == "total" else "_" + row["name"].replace("-", "")
                rows.append(
                    metric_row(
                        inputs,
                        "structure",
                        f"{material}_{arm}_{what}{which}_error",
                        "%",
                        row["value"],
                        baseline=float(floor.get((row["record"], row["name"]), np.nan)),
                        variant=ARMS[arm],
                    )
                )
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def conservation(inputs: Inputs) -> Result:
    """Energy fluctuation at constant energy against the time step, and its order.

    Tidy: the steps `conservation_{material}` with a column material. Metrics: the exponent of each
    arm (2 for a smooth potential) and the drift at the shortest step.
    """
    parts, rows = [], []
    for material in _materials(inputs):
        tidy = inputs.step(f"conservation_{material}")
        tidy["potential"] = [_short(name) for name in tidy["potential"]]
        tidy.insert(0, "material", material)
        parts.append(tidy)
        for arm, part in _of_arms(tidy):
            order = part[(part["record"] == "order") & (part["name"] == "exponent_mean")]
            shortest = part[(part["record"] == "conservation") & (part["x"] == part["x"].min())]
            drift = shortest.loc[shortest["name"] == "drift_mev_per_atom_ps", "value"].abs()
            for name, unit, value in (
                ("exponent", "", order["value"].mean()),
                ("drift", "meV/atom/ps", drift.mean()),
            ):
                quantity = f"{material}_{arm}_{name}"
                rows.append(
                    metric_row(inputs, "conservation", quantity, unit, value, variant=ARMS[arm])
                )
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def _materials(inputs: Inputs) -> list[str]:
    """Return the materials whose steps the artefact reads."""
    return [m for m in MATERIALS if any(s.endswith(f"_{m}") for s in inputs.card["steps"])]


# --- claims ---------------------------------------------------------------------------------------


def _mean(metrics: pd.DataFrame, quantity: str) -> float:
    """Return the mean over seeds of a quantity; NaN when it was not measured."""
    rows = metrics[metrics["quantity"] == quantity]
    return float(rows["value"].mean()) if len(rows) else float("nan")


def _felt(metrics: pd.DataFrame) -> float:
    """Return the local force (eV/Angstrom) below which there is none to speak of."""
    own = metrics["quantity"].str.startswith("gnn_")
    forces = metrics.loc[own & metrics["quantity"].str.endswith("highest_force"), "value"]
    lowest = metrics.loc[own & metrics["quantity"].str.endswith("lowest_force"), "value"]
    return FELT_SHARE * float(max(forces.abs().max(), lowest.abs().max()))


def unlike_attract(metrics: Metrics) -> ClaimResult:
    """Si-C and C-Si: the lowest mean local force is an attraction, 1.7 to 2.3 Angstrom away, and
    not at the end of the distances that occur."""
    table = metrics["fig2a"]
    told, holds = [], True
    for pair in ("SiC", "CSi"):
        force, place, inside = (
            _mean(table, f"gnn_{pair}_lowest_force{s}") for s in ("", "_at", "_inside")
        )
        if np.isnan(force):
            return ClaimResult(None, "", "the graph network of SiC was not run")
        end = "" if inside == 1 else ", at the end of the distances that occur"
        told.append(f"{pair}: {force:.2f} eV/Å at {place:.2f} Å{end}")
        holds &= force < -_felt(table) and abs(place - MINIMUM) <= MINIMUM_TOLERANCE and inside == 1
    reason = f"a minimum within {MINIMUM_TOLERANCE:g} Å of {MINIMUM:g} Å is asked for"
    return ClaimResult(holds, "; ".join(told), reason)


def like_repel(metrics: Metrics) -> ClaimResult:
    """Si-Si and C-C: no bin of the mean local force is an attraction to speak of."""
    table = metrics["fig2a"]
    told, holds = [], True
    for pair in ("SiSi", "CC"):
        force, place = (_mean(table, f"gnn_{pair}_lowest_force{s}") for s in ("", "_at"))
        if np.isnan(force):
            return ClaimResult(None, "", "the graph network of SiC was not run")
        told.append(f"{pair}: lowest {force:.2f} eV/Å at {place:.2f} Å")
        holds &= force > -_felt(table)
    reason = f"attractions up to {FELT_SHARE:.0%} of the largest local force are let pass"
    return ClaimResult(holds, "; ".join(told), reason)


def se_se_attracts(metrics: Metrics) -> ClaimResult:
    """Se-Se: mean local force positive beyond 3 Å, negative from 2 to 3 Å, positive below 2 Å."""
    table = metrics["fig3a"]
    ranges = {"below_2": 1, "2_to_3": -1, "3_to_4": 1}
    found = {name: _mean(table, f"gnn_SeSe_force_{name}") for name in ranges}
    if all(np.isnan(value) for value in found.values()):
        return ClaimResult(None, "", "the graph network of GeSe2 was not run")
    means = [
        f"{name.replace('_', ' ')} Å: {value:+.2f} eV/Å"
        for name, value in found.items()
        if not np.isnan(value)
    ]
    lowest, place = (_mean(table, f"gnn_SeSe_lowest_force{s}") for s in ("", "_at"))
    told = "; ".join([*means, f"lowest {lowest:+.2f} eV/Å at {place:.2f} Å"])
    wrong = [n for n, sign in ranges.items() if not np.isnan(found[n]) and sign * found[n] <= 0]
    missing = [n.replace("_", " ") for n in ranges if np.isnan(found[n])]
    if wrong:
        return ClaimResult(False, told, f"the sign differs {', '.join(wrong).replace('_', ' ')} Å")
    if missing:
        return ClaimResult(None, told, f"no pairs {', '.join(missing)} Å apart in the test frames")
    return ClaimResult(True, told, "the signs are those described")


def _stable(table: pd.DataFrame, arm: str) -> ClaimResult:
    """Every replica of an arm reaches 15 ps."""
    replicas, failed = (_mean(table, f"{arm}_{name}") for name in ("replicas", "failed"))
    if np.isnan(replicas):
        return ClaimResult(None, "", f"no dynamics of the arm '{arm}' were run")
    shortest, longest = (_mean(table, f"{arm}_{name}") for name in ("shortest_run", "longest_run"))
    told = f"{failed:.0f} of {replicas:.0f} replicas failed in {longest / 1000:g} ps"
    if failed:
        first = _mean(table, f"{arm}_first_failure") / 1000
        return ClaimResult(False, told, f"first failure after {first:.3g} ps")
    if shortest < STABLE_FS:
        return ClaimResult(None, told, f"the runs are shorter than {STABLE_FS / 1000:g} ps")
    return ClaimResult(True, told, "no replica failed")


def sic_stable(metrics: Metrics) -> ClaimResult:
    """Every replica of the graph network of SiC lives for 15 ps."""
    return _stable(metrics["fig2b"], "gnn")


def decomposition_stable(metrics: Metrics) -> ClaimResult:
    """Every replica of the decomposed potential of GeSe2 lives for 15 ps."""
    return _stable(metrics["fig3b"], "decomposed")


def gnn_collapses(metrics: Metrics) -> ClaimResult:
    """Most replicas of the graph network of GeSe2 fail within 5 ps, most of those by Se-Se."""
    table = metrics["fig3c"]
    replicas, failed = (_mean(table, f"gnn_{name}") for name in ("replicas", "failed"))
    if np.isnan(replicas):
        return ClaimResult(None, "", "no dynamics of the graph network were run")
    longest, median = (_mean(table, f"gnn_{n}") for n in ("longest_run", "median_failure"))
    share = _mean(table, "gnn_failed_by_SeSe")
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


def decomposition_lowers_errors(metrics: Metrics) -> ClaimResult:
    """The decomposed potential has lower energy and force RMSE than the graph network, train and
    test."""
    table = metrics["table1"]
    told, holds = [], True
    for subset in ("train", "test"):
        for measure, unit in (("energy_rmse", "meV/atom"), ("force_rmse", "eV/Å")):
            own = table[table["variant"] == "as_described"]
            plain, split = (_mean(own, f"{a}_{subset}_{measure}") for a in ("gnn", "decomposed"))
            if np.isnan(plain) or np.isnan(split):
                return ClaimResult(None, "", "one of the two potentials was not trained")
            told.append(f"{subset} {plain:.3g} to {split:.3g} {unit}")
            holds &= split < plain
    return ClaimResult(holds, "; ".join(told), "all four errors have to fall")


CLAIMS: dict[str, Callable[[Metrics], ClaimResult]] = {
    "unlike_attract": unlike_attract,
    "like_repel": like_repel,
    "sic_stable": sic_stable,
    "se_se_attracts": se_se_attracts,
    "gnn_collapses": gnn_collapses,
    "decomposition_stable": decomposition_stable,
    "decomposition_lowers_errors": decomposition_lowers_errors,
}

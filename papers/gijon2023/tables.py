"""Artefacts of gijon2023 (water cluster anions) that no shared kind makes.

Every artefact is a function `inputs -> (tidy, metrics)`: `tidy` is what its figure is drawn from,
`metrics` is what verdicts are made of. Quantities are named {layer}_{target}_{measure}; units Ha,
Ha2, %. The baseline of every error is the mean of the training frames of the same (N, T) ensemble,
on the same test frames: it knows N and T, and nothing of the geometry. Options are the figures'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.energy_scores import (
    NETWORK,
    baseline_predictions,
    predicted_frames,
    score_metrics,
    scored,
    term_energy,
)
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import EnergyErrors
from gnnip.artefacts.measures import BASELINE, ENERGY_MEASURES, columns
from gnnip.artefacts.tables import Result, metric_row, metric_table
from gnnip.machine import load_of
from gnnip.measurements import metrics as measure
from gnnip.training.outputs import read_history
from gnnip.units import HARTREE

#: how errors of energies are told
HOW = EnergyErrors(unit="Ha", size="n_molecules", ensemble=("temperature_k",))
#: measure -> (column of tidy tables, unit in metrics)
SCORES = {name: columns(HOW.unit)[name] for name in ENERGY_MEASURES}
#: the two energies of a frame
TERMS = ("atomic", "electronic")


# --- artefacts of the paper -----------------------------------------------------------------------


def table1(inputs: Inputs, **_: Any) -> Result:
    """Test errors of the six convolutions on both terms, with baselines and published values.

    Tidy: source (ours, baseline, published), variant, layer (or the baseline's name), target, seed,
    the six measures, n_train, n_test, n_parameters.
    """
    parts, rows = [], []
    others: list[pd.DataFrame] = []
    for group in inputs.groups():
        scores, variant = scored(inputs, group, HOW)[0], inputs.variant(group)
        sizes = inputs.summaries(group)[["layer", "target", "seed", "n_parameters"]]
        networks = scores[scores["predictor"] == NETWORK]
        networks = networks.merge(sizes, on=["layer", "target", "seed"])
        parts.append(networks.assign(source="ours", variant=variant))
        if not others:
            # every layer of one seed has the same test frames, in all groups, so the baselines are
            # the same: keep one
            first = scores["layer"].iloc[0]
            base = scores[(scores["predictor"] != NETWORK) & (scores["layer"] == first)]
            others = [base.assign(source="baseline", layer=base["predictor"])]
        rows.append(score_metrics(inputs, scores, HOW, "{layer}_{target}", variant))
        rows.append(_better_than_baseline(inputs, scores, variant))
    tidy = pd.concat([*parts, *others, _published_rows(inputs)], ignore_index=True)
    measured = [column for column, _ in SCORES.values()]
    names = ["source", "variant", "layer", "target", "seed", *measured]
    return (
        tidy[[*names, "n_train", "n_test", "n_parameters"]],
        pd.concat(rows, ignore_index=True),
    )


def _published_rows(inputs: Inputs) -> pd.DataFrame:
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for quantity, value in inputs.published():
        layer, target, short = quantity.split("_", 2)
        about = {"source": "published", "layer": layer, "target": target}
        cells.setdefault((layer, target), about)[SCORES[short][0]] = value
    return pd.DataFrame(list(cells.values()))


def _better_than_baseline(inputs: Inputs, scores: pd.DataFrame, variant: str) -> pd.DataFrame:
    """Return, per target and seed, how many networks have a lower MAE than the (N, T) mean."""
    rows = []
    for (target, seed), part in scores.groupby(["target", "seed"]):
        networks, baseline = (
            part.loc[part["predictor"] == name, "mae_ha"].to_numpy() for name in (NETWORK, BASELINE)
        )
        name = f"networks_better_than_ensemble_mean_{target}"
        count = int((networks < baseline).sum())
        rows.append(metric_row(inputs, name, "", count, seed=seed, variant=variant))
    return metric_table(rows)


def fig2(inputs: Inputs, **_: Any) -> Result:
    """Predicted against reference energies of the test frames for GATConv, all seeds.

    Tidy: layer, target, seed, frame, n_molecules, temperature_k, true_ha, predicted_ha,
    ensemble_mean_ha.
    """
    (group,) = inputs.groups()
    scores, frames = scored(inputs, group, HOW)
    layer = "gat" if (frames["layer"] == "gat").any() else str(frames["layer"].iloc[0])
    about = ["layer", "target", "seed", "frame", "n_molecules", "temperature_k"]
    energies = ["true", "predicted", "ensemble_mean"]
    tidy = frames.loc[frames["layer"] == layer, [*about, *energies]].reset_index(drop=True)
    own, measures = scores[scores["layer"] == layer], ("r2", "r2_within", "rmse")
    variant = inputs.variant(group)
    rows = score_metrics(inputs, own, HOW, "{layer}_{target}", variant, measures)
    return tidy.rename(columns={name: f"{name}_ha" for name in energies}), rows


# --- beyond the paper -----------------------------------------------------------------------------


def width_matched(inputs: Inputs, **_: Any) -> Result:
    """Does the ranking survive when all six layers work at one width?

    Tidy: scores of both groups with width "own" (as the paper) or "matched". Metrics: the errors,
    and per target and seed the Spearman correlation of the two rankings by MAE.
    """
    groups = dict(zip(("own", "matched"), inputs.groups(), strict=True))
    parts = {width: scored(inputs, group, HOW)[0] for width, group in groups.items()}
    cell, rows, kept = ["layer", "target"], [], []
    for (width, group), other in zip(groups.items(), ("matched", "own"), strict=True):
        # what was trained at both widths
        part = parts[width].merge(parts[other][cell].drop_duplicates(), on=cell)
        variant = inputs.variant(group)
        kept.append(part.assign(width=width))
        rows.append(
            score_metrics(inputs, part, HOW, "{layer}_{target}", variant, measures=("mae", "mape"))
        )
    tidy = pd.concat(kept, ignore_index=True)
    extra = []
    for target, part in tidy[tidy["predictor"] == NETWORK].groupby("target"):
        mean = part.pivot_table(index="layer", columns="width", values="mae_ha")
        if len(mean) > 2:
            value = float(mean["own"].rank().corr(mean["matched"].rank()))
            name = f"rank_correlation_{target}"
            extra.append(metric_row(inputs, name, "", value, variant=variant))
    rows += [metric_table(extra)] if extra else []
    return tidy, pd.concat(rows, ignore_index=True)


def symmetry_audit(inputs: Inputs, **_: Any) -> Result:
    """Error of each trained network on the test set as it is, rotated, shifted and mirrored.

    Tidy: the measurement in Hartree: group, layer, target, seed, transformation, mae_ha, change_ha
    (mean |E(moved) - E|). Metrics: both by layer, target and transformation.
    """
    tidy = inputs.measurement("symmetry_audit")
    tidy[["mae_ev", "change_ev"]] /= HARTREE
    tidy = tidy.rename(columns={"mae_ev": "mae_ha", "change_ev": "change_ha"})
    rows = []
    for r in tidy.to_dict("records"):
        about = {"seed": r["seed"], "variant": inputs.variant(r["group"])}
        name = "{layer}_{target}_{transformation}".format_map(r)
        rows.append(metric_row(inputs, f"{name}_mae", "Ha", r["mae_ha"], **about))
        if r["transformation"] != "none":
            rows.append(metric_row(inputs, f"{name}_change", "Ha", r["change_ha"], **about))
    return tidy, metric_table(rows)


def grid(inputs: Inputs, **_: Any) -> Result:
    """Spread of the error of GATConv over the choices that the paper leaves unstated.

    Tidy: scores with channels, activation, batch_size, learning_rate, target, seed. Metrics: the
    error of every cell (the choices are the variant), and the lowest, median and highest over the
    grid.
    """
    scores = scored(inputs, "grid", HOW)[0]
    choices = [key for key in inputs.group("grid")["matrix"] if key != "target"]
    variant = ", ".join(f"{key} {{{key}}}" for key in choices)
    rows = score_metrics(inputs, scores, HOW, "gat_{target}", variant, measures=("mae", "mape"))
    extra = []
    for target, part in scores[scores["predictor"] == NETWORK].groupby("target"):
        mean = part.groupby(choices)["mae_ha"].mean().agg(["min", "median", "max"])
        for name, value in zip(("lowest", "median", "highest"), mean, strict=True):
            extra.append(metric_row(inputs, f"gat_{target}_mae_{name}", "Ha", value))
    return scores, pd.concat([rows, metric_table(extra)], ignore_index=True)


def search(
    inputs: Inputs, chosen: Mapping[str, Mapping[str, Any]], last_epochs: int, **_: Any
) -> Result:
    """What one search for every layer and term found, beside the cells that the card chose.

    Tidy: layer, target, the choices of each cell, seed, error_ha (the median validation MAE of the
    last epochs, of a training that ended earlier of its own) and chosen, whether it is the cell
    that the card's networks have. Metrics: the error of the chosen cell of each layer and target,
    and by how much (%) it is above the lowest, 0 where the search chose it.

    Args:
        inputs: where its trainings are.
        chosen: values by the name of the cell of layer and target.
        last_epochs: over which the median is taken.
    """
    parts = []
    for group in inputs.groups():
        for keys, seed, folder in inputs.cells(group):
            last = read_history(folder)["validation_mae_ev"].tail(last_epochs)
            picked = chosen["layer-{layer}_target-{target}".format_map(keys)]
            choices = {k: v for k, v in keys.items() if k not in ("layer", "target")}
            about = {**keys, "seed": seed, "error_ha": float(last.median()) / HARTREE}
            parts.append(about | {"chosen": choices == dict(picked), "group": group})
    tidy, rows = pd.DataFrame(parts), []
    for (layer, target), part in tidy.groupby(["layer", "target"], sort=False):
        own = part.loc[part["chosen"], "error_ha"]
        if own.empty:  # a small tier does not try it
            continue
        above = 100.0 * (float(own.mean()) / float(part["error_ha"].min()) - 1.0)
        (group,) = part.loc[part["chosen"], "group"].unique()
        about = {"variant": inputs.variant(group), "training": group}
        name = f"{layer}_{target}_chosen"
        rows.append(metric_row(inputs, f"{name}_error", "Ha", float(own.mean()), **about))
        rows.append(metric_row(inputs, f"{name}_above_lowest", "%", above, **about))
    return tidy.drop(columns="group"), metric_table(rows)


def unseen(inputs: Inputs, published: Mapping[str, float], **_: Any) -> Result:
    """Errors where frames of every trajectory were learned from, and on other trajectories.

    Tidy: regime, predictor, layer, target, seed, mae_ha, n_test. Regimes: published; random, the
    test frames of the random split; elsewhere, the same networks on the other data set, in sizes
    that they have learned from; unseen, networks that were trained on other trajectories of the
    data set that they are tested on. Predictors: network; random_features, whose convolutions are
    not trained; the trivial ones. Metrics: {layer}_{target}_{regime}_mae of both, those of random
    features with _random_features_ before the regime, beside the best trivial predictor.
    """
    regimes = {"tuned": "random", "unseen": "unseen"}
    parts, rows = [], []
    for group in inputs.groups():
        scores = scored(inputs, group, HOW)[0]
        untrained = group.startswith("random_features")
        like = "tuned" if group == "random_features" else group.removeprefix("random_features_")
        name = f"{'random_features_' if untrained else ''}{regimes[like]}"
        quantity, variant = f"{{layer}}_{{target}}_{name}", inputs.variant(group)
        rows.append(score_metrics(inputs, scores, HOW, quantity, variant, measures=("mae",)))
        if untrained:
            scores = scores[scores["predictor"] == NETWORK].assign(predictor="random_features")
        parts.append(scores.assign(regime=regimes[like]))
    scores = _elsewhere(inputs)
    quantity, variant = "{layer}_{target}_elsewhere", inputs.variant("tuned")
    rows.append(score_metrics(inputs, scores, HOW, quantity, variant, measures=("mae",)))
    parts.append(scores.assign(regime="elsewhere"))
    told = pd.DataFrame(
        [
            {"regime": "published", "predictor": NETWORK, "layer": layer, "target": target}
            | {"mae_ha": value}
            for (layer, target, _), value in (
                (name.split("_"), value) for name, value in published.items()
            )
        ]
    )
    columns = ["regime", "predictor", "layer", "target", "seed", "mae_ha", "n_test"]
    tidy = pd.concat([told, *parts], ignore_index=True)[columns]
    return tidy, pd.concat(rows, ignore_index=True)


def _elsewhere(inputs: Inputs) -> pd.DataFrame:
    """Return the MAE of the tuned networks on the frames of the other data set, as `scored`."""
    own = inputs.group("tuned")["dataset"]
    table = inputs.measurement("elsewhere")
    (other,) = set(table["dataset"]) - {own}
    learned, asked = (inputs.frames(n).set_index("frame", drop=False) for n in (own, other))
    keys = {cell["name"]: cell["keys"] for cell in inputs.group("tuned")["cells"]}
    rows = []
    part = table[table["dataset"] == other]
    for (cell, seed), said in part.groupby(["cell", "seed"], sort=False):
        train = learned.loc[inputs.training_frames("tuned", keys[cell], seed)]
        test = asked.loc[said["frame"]]
        known = test["n_molecules"].isin(set(train["n_molecules"])).to_numpy()
        test, said = test[known], said[known]
        energy = term_energy(train, keys[cell]["target"])
        guesses = baseline_predictions(train, test, energy, HOW)
        truth = said["energy_reference_ev"].to_numpy()
        guesses[NETWORK] = said["energy_ev"].to_numpy()
        about = {**keys[cell], "seed": seed, "training": f"tuned/{cell}", "n_train": len(train)}
        for predictor, guess in guesses.items():
            error = measure.mae(truth, guess.to_numpy()) / HARTREE
            rows.append({**about, "predictor": predictor, "mae_ha": error, "n_test": len(test)})
    return pd.DataFrame(rows)


def geometries(
    inputs: Inputs,
    published: Mapping[str, Mapping[str, float]],
    rounding: Mapping[str, float],
    **_: Any,
) -> Result:
    """Energies of classical and path-integral geometries, and those that published errors allow.

    MAE / MAPE is the mean of |E| over the test frames weighted by their relative errors, so that it
    lies between the smallest and the largest |E| of them, whatever was trained. Published numbers
    are rounded: the quotient is known between `low_ha` and `high_ha`.

    Tidy: record, geometry, layer, target, seed, n_molecules, temperature_k, energy_ha, low_ha,
    high_ha. Records: frame, its energy; published and trained, the quotients of the paper and of
    networks trained on each geometry. Metrics: {geometry}_{target}_{smallest,largest}, of |E|;
    {layer}_{target}_{low,high}, of the published quotients; {geometry}_{target}_{mae,mape}.
    """
    parts, rows = [], []
    for name in inputs.datasets:
        frames = inputs.frames(name)
        kinds = frames["geometry"] if "geometry" in frames else pd.Series("classical", frames.index)
        for target in TERMS:
            about = frames[["n_molecules", "temperature_k"]].assign(
                record="frame",
                geometry=kinds,
                target=target,
                energy_ha=term_energy(frames, target) / HARTREE,
            )
            parts.append(about)
            for kind, energies in about["energy_ha"].abs().groupby(kinds, sort=False):
                for which, value in (("smallest", energies.min()), ("largest", energies.max())):
                    rows.append(metric_row(inputs, f"{kind}_{target}_{which}", "Ha", value))
    told = _published_quotients(published, rounding)
    parts.append(told)
    for which in ("low", "high"):
        names = told["layer"] + "_" + told["target"] + f"_{which}"
        for name, value in zip(names, told[f"{which}_ha"], strict=True):
            rows.append(metric_row(inputs, name, "Ha", value))
    errors = [metric_table(rows)]
    for group in inputs.groups():
        scores, kind = scored(inputs, group, HOW)[0], _geometry_of(group)
        quantity, measures = f"{kind}_{{target}}", ("mae", "mape")
        variant = inputs.variant(group)
        errors.append(score_metrics(inputs, scores, HOW, quantity, variant, measures))
        own = scores[scores["predictor"] == NETWORK]
        quotient = own["mae_ha"] / (own["mape_percent"] / 100.0)
        own = own.assign(record="trained", geometry=kind, energy_ha=quotient)
        parts.append(own[["record", "geometry", "layer", "target", "seed", "energy_ha"]])
    columns = ["record", "geometry", "layer", "target", "seed", "n_molecules", "temperature_k"]
    tidy = pd.concat(parts, ignore_index=True)
    return tidy[[*columns, "energy_ha", "low_ha", "high_ha"]], pd.concat(errors, ignore_index=True)


def _geometry_of(group: str) -> str:
    """Return the kind of geometry that a group was trained on, as frames have it."""
    return group.removeprefix("on_").removesuffix("s")


def _published_quotients(
    published: Mapping[str, Mapping[str, float]], rounding: Mapping[str, float]
) -> pd.DataFrame:
    """Return MAE / MAPE of each published row, and what rounding leaves open of it."""
    rows = []
    for name, mae in published["mae"].items():
        layer, target, _ = name.split("_")
        mape = published["mape"][f"{layer}_{target}_mape"]
        about, percent = rounding[f"{target}_mae"], rounding[f"{target}_mape"]
        rows.append(
            {"record": "published", "layer": layer, "target": target}
            | {"energy_ha": 100.0 * mae / mape}
            | {"low_ha": 100.0 * (mae - about) / (mape + percent)}
            | {"high_ha": 100.0 * (mae + about) / (mape - percent)}
        )
    return pd.DataFrame(rows)


def forces(inputs: Inputs) -> Result:
    """Energies and forces of an equivariant potential, of pairs, and of those who know less.

    Tidy, from `force_audit`: record (error or curve), predictor, target, seed, name (of the atoms:
    all, O, H, state=..., n_molecules=...), x (of a curve: the electron's force, eV/Angstrom),
    n_atoms, the errors of forces, and where all atoms count those of energies (meV/atom and, of the
    total, eV). Predictors: nequip; pair; composition and ensemble_mean, which have no forces;
    exact_water, V itself with the mean E_0 of the (N, T) ensemble. The electron's force is resolved
    to 1 - sum |error|^2 / sum |F_electronic|^2, of which exact_water has 0.
    """
    audit = inputs.measurement("force_audit")
    names = {"without_term": "exact_water", "zero": "composition"}
    audit["predictor"] = audit["predictor"].map(names).fillna(audit["model"])
    # what needs no training is the same for all trainings with one split: keep one
    audit = audit[(audit["group"] == "forces") | audit["predictor"].isin(NETWORKS)]
    still = audit[audit["predictor"] == "composition"].assign(predictor="ensemble_mean")
    audit = pd.concat([audit, still], ignore_index=True)
    whole = (audit["record"] == "error") & (audit["name"] == "all")
    energies = _total_energy_errors(inputs)
    complete = audit[whole].merge(energies, on=["predictor", "target", "seed"], how="left")
    tidy = pd.concat([complete, audit[~whole]], ignore_index=True)
    keep = ["record", "predictor", "target", "seed", "name", "x", "n_atoms"]
    measured = [c for c in tidy.columns if c.startswith(("force_", "term_", "energy_"))]
    tidy = tidy[[*keep, *measured, "resolved"]]
    return tidy, _force_metrics(inputs, tidy)


def _total_energy_errors(inputs: Inputs) -> pd.DataFrame:
    """Return errors of energies by predictor, target and seed, of networks and of baselines."""
    rows = []
    for group in ("forces", "forces_terms", "forces_pair"):
        entry = inputs.group(group)
        for keys, seed, folder in inputs.cells(group):
            test = predicted_frames(folder, "eV").set_index("frame", drop=False)
            guesses = {str(entry["model"]): test["predicted"]}
            if group == "forces":
                guesses |= _who_know_less(inputs, test, inputs.training_frames(group, keys, seed))
            share = 1000.0 / test["n_atoms"]
            for predictor, guess in guesses.items():
                true, ensembles = test["true"], (test["n_molecules"], test["temperature_k"])
                rows.append(
                    {
                        "predictor": predictor,
                        "target": str(keys.get("target") or entry["target"]),
                        "seed": seed,
                        "energy_rmse_mev_per_atom": measure.rmse(true * share, guess * share),
                        "energy_mae_mev_per_atom": measure.mae(true * share, guess * share),
                        "energy_mae_ev": measure.mae(true, guess),
                        "energy_r2_within": measure.r2_within(true, guess, *ensembles),
                    }
                )
    return pd.DataFrame(rows)


def _who_know_less(inputs: Inputs, test: pd.DataFrame, known: np.ndarray) -> dict[str, pd.Series]:
    """Return total energies (eV) of test frames as predictors without geometry, or without the
    electron, tell them from the training frames."""
    frames = inputs.frames(inputs.group("forces")["dataset"]).set_index("frame", drop=False)
    train = frames.loc[known]
    energies = {term: term_energy(train, term) for term in ("total", "electronic")}
    total, electron = (
        baseline_predictions(train, test, energy, HOW)[BASELINE] for energy in energies.values()
    )
    size = train["n_molecules"].to_numpy(dtype=float)
    return {
        "composition": float(size @ energies["total"] / (size @ size)) * test["n_molecules"],
        "ensemble_mean": total,
        "exact_water": frames.loc[test.index, "energy_atomic_ev"] + electron,
    }


NETWORKS = ("nequip", "pair")
#: column of the artefact `forces` -> (quantity, unit, predictor of the baseline)
_FORCE_SCORES = {
    "force_rmse_ev_per_a": ("force_rmse", "eV/A", "composition"),
    "force_mae_ev_per_a": ("force_mae", "eV/A", "composition"),
    "force_r2": ("force_r2", "", "composition"),
    "resolved": ("electron_resolved", "", "exact_water"),
    "energy_rmse_mev_per_atom": ("energy_rmse", "meV/atom", BASELINE),
    "energy_mae_ev": ("energy_mae", "eV", BASELINE),
    "energy_r2_within": ("energy_r2_within", "", BASELINE),
}
#: atoms -> end of the names of metrics, and what is told of a part of the atoms
_PARTS = {"all": "", "O": "_oxygen", "H": "_hydrogen"} | {
    f"state={state}": f"_{state}" for state in ("surface", "interior")
}
_OF_PARTS = ("force_rmse", "electron_resolved")


def _force_metrics(inputs: Inputs, tidy: pd.DataFrame) -> pd.DataFrame:
    errors = tidy[(tidy["record"] == "error") & tidy["name"].isin(_PARTS)]
    # another term's forces are others: what is trivial for the total is not for it
    place = ["target", "predictor", "name", "seed"]
    base = errors[errors["target"] == "total"].set_index(place, drop=False).to_dict("index")
    rows = []
    for r in errors[errors["predictor"].isin(NETWORKS)].to_dict("records"):
        name = r["predictor"] + ("" if r["target"] == "total" else f"_{r['target']}")
        for column, (short, unit, predictor) in _FORCE_SCORES.items():
            if np.isfinite(r[column]) and (r["name"] == "all" or short in _OF_PARTS):
                trivial = base.get((r["target"], predictor, r["name"], r["seed"]), {})
                about = {"seed": r["seed"], "baseline": float(trivial.get(column, np.nan))}
                quantity = f"{name}_{short}{_PARTS[r['name']]}"
                rows.append(metric_row(inputs, quantity, unit, r[column], **about))
    for r in errors[errors["predictor"] == "exact_water"].to_dict("records"):
        quantity, value = f"electron_force_rms{_PARTS[r['name']]}", r["term_rms_ev_per_a"]
        rows.append(metric_row(inputs, quantity, "eV/A", value, seed=r["seed"]))
    return metric_table(rows)


#: training group -> name of its potential in the artefact `anion_md`
POTENTIALS = {"forces": "nequip", "forces_pair": "pair", "reference": "reference"}
#: what is told of runs, and what the reference says of frames on the path: name in the
#: measurement's table -> (quantity, unit)
_OF_RUNS = {
    "temperature_mean_k": ("temperature", "K"),
    "fluctuation_mev_per_atom": ("energy_fluctuation", "meV/atom"),
    "drift_mev_per_atom_ps": ("energy_drift", "meV/atom/ps"),
    "failed": ("survival", "%"),
}
_ON_PATH = {
    "electronic_energy_ev": ("electronic_energy", "eV"),
    "gyration_radius_a": ("gyration_radius", "A"),
    "force_rmse_ev_per_a": ("force_rmse_on_path", "eV/A"),
}


def anion_md(inputs: Inputs) -> Result:
    """Dynamics of the anion by learned forces beside the reference's, from the same starts.

    Tidy: the measurement `dynamics`, of the kind of this name, potentials named nequip, pair,
    reference and noise_floor. Metrics, baseline in brackets: temperature, drift and fluctuation of
    the conserved energy, share of replicas alive, E_0 and radius of gyration of the electron on the
    path (the reference's), and how far they are from it (the noise floor); errors of structure and
    vibrations (the noise floor); error of the forces on the potential's own path; speed ratio to
    the reference, one replica alone and batched.
    """
    tidy = inputs.measurement("dynamics")
    tidy["potential"] = [POTENTIALS.get(n.split("/")[0], n) for n in tidy["potential"]]
    late = float(inputs.options("dynamics")["comparison"]["discard"])
    rows = []
    own = {name: _path_facts(part, late) for name, part in tidy.groupby("potential")}
    speed = tidy[tidy["record"] == "speed"]
    seconds, load = speed.set_index(["potential", "name"])["value"], load_of(speed["text"])
    errors = tidy[tidy["record"].str.endswith("_error")]
    floor = errors[errors["potential"] == "noise_floor"].set_index(["record", "name"])["value"]
    for name in ("reference", "nequip", "pair"):
        for quantity, (value, unit) in own.get(name, {}).items():
            beside = own["reference"].get(quantity, (np.nan, ""))[0]
            baseline = float("nan") if name == "reference" else beside
            rows.append(metric_row(inputs, f"{name}_{quantity}", unit, value, baseline=baseline))
        for _, r in errors[errors["potential"] == name].iterrows():
            if r["record"] == "relabel_error":
                short, unit = _ON_PATH[r["name"]]
                quantity = f"{name}_{short}_shift"
            else:
                part = "" if r["name"] == "total" else "_" + r["name"].replace("-", "").lower()
                quantity = f"{name}_{r['record'].removesuffix('_error')}{part}_error"
                unit = "%"
            noise = float(floor.get((r["record"], r["name"]), np.nan))
            rows.append(metric_row(inputs, quantity, unit, r["value"], floor=noise))
        solver = ("reference", "alone_seconds_per_step")
        for how, quantity in (("alone", "speed_ratio"), ("batched", "batched_speed_ratio")):
            place = (name, f"{how}_seconds_per_step")
            if name != "reference" and place in seconds.index and solver in seconds.index:
                ratio = float(seconds[solver]) / float(seconds[place])
                rows.append(metric_row(inputs, f"{name}_{quantity}", "", ratio, remark=load))
    return tidy, metric_table(rows)


def _path_facts(part: pd.DataFrame, late: float) -> dict[str, tuple[float, str]]:
    """Return quantity -> (mean over replicas, unit) of one potential; what is not there is not."""
    path = (part["record"] == "relabel") & (part["x"] >= late)
    facts = {}
    for rows, told in ((part[part["record"] == "run"], _OF_RUNS), (part[path], _ON_PATH)):
        for name, (short, unit) in told.items():
            values = rows.loc[rows["name"] == name, "value"].dropna()
            if len(values):
                mean = float((values.abs() if short == "energy_drift" else values).mean())
                facts[short] = (100.0 * (1.0 - mean) if short == "survival" else mean, unit)
    return facts

"""Artefacts and claims of gijon2023 (water cluster anions).

Every artefact is a function `inputs -> (tidy, metrics)`: `tidy` is what its figure is drawn from,
`metrics` has the columns artefact, quantity, variant, unit, seed, value, baseline, reference and is
what verdicts are made of. Predictions arrive in eV and are converted to Hartree once, in `_frames`.

Quantities are named {layer}_{target}_{measure}; units Ha, Ha2, %. The baseline of every error is
the mean of the training frames of the same (N, T) ensemble, on the same test frames: it knows N and
T, and nothing of the geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.inputs import Inputs, read_csv
from gnnip.artefacts.tables import Result, metric_row, metric_table
from gnnip.errors import DataError
from gnnip.measurements import metrics as measure
from gnnip.units import HARTREE
from gnnip.verdicts.claims import ClaimResult

Metrics = Mapping[str, pd.DataFrame]

LAYERS = ("crystal", "gat", "gcs", "ecc", "agnn", "general")
TARGETS = ("atomic", "electronic")
BASELINES = ("constant", "n_linear", "ensemble_mean")
#: the baseline that every verdict row carries
BASELINE = "ensemble_mean"
#: measure -> (column of tidy tables, unit in metrics)
SCORES = {
    "mae": ("mae_ha", "Ha"),
    "mse": ("mse_ha2", "Ha2"),
    "mape": ("mape_percent", "%"),
    "rmse": ("rmse_ha", "Ha"),
    "r2": ("r2", ""),
    "r2_within": ("r2_within", ""),
}

# thresholds of the claims, fixed before any run
#: acceptable: MAPE at most this many times that of the best of the six. On the published table this
#: rule picks GATConv and GCSConv and nothing else, as the authors do.
ACCEPTABLE_FACTOR = 2.0
#: an error is lower in earnest when by more than this share and by more than two standard errors
#: of the difference over seeds
IMPORTANT_SHARE = 0.10
#: half width around an exponent of 1 or 2 that still counts as linear or quadratic
EXPONENT_WIDTH = 0.3
#: three orders of magnitude, to half an order
THOUSAND = 10**2.5


# --- what all artefacts share ---------------------------------------------------------------------


def _frames(predictions: pd.DataFrame) -> pd.DataFrame:
    """Keep the test frames and convert eV to Ha, here and nowhere else."""
    test = predictions[predictions["subset"] == "test"].copy()
    if test.empty:
        raise DataError("The predictions hold no test frames; train again with a test set.")
    test["true_ha"] = test.pop("energy_reference_ev") / HARTREE
    test["predicted_ha"] = test.pop("energy_predicted_ev") / HARTREE
    return test


def score(frames: pd.DataFrame, predicted: str = "predicted_ha") -> dict[str, float]:
    """Return the six measures of one column of predictions, by the names of tidy columns."""
    true, guess = frames["true_ha"], frames[predicted]
    return {
        "mae_ha": measure.mae(true, guess),
        "mse_ha2": measure.mse(true, guess),
        "mape_percent": measure.mape(true, guess),
        "rmse_ha": measure.rmse(true, guess),
        "r2": measure.r2(true, guess),
        "r2_within": measure.r2_within(true, guess, frames["n_molecules"], frames["temperature_k"]),
    }


def baseline_predictions(train: pd.DataFrame, test: pd.DataFrame, energy: str) -> pd.DataFrame:
    """Return what the trivial predictors say of `test`, fitted on `train`; one column each.

    `energy` is the column of training energies; the predictions have its unit. The predictors are
    those of `gnnip.models.baselines`.
    """
    from gnnip.models.baselines import baseline

    known = [train[c].to_numpy(dtype=float) for c in (energy, "n_molecules", "temperature_k")]
    asked = [test[c].to_numpy(dtype=float) for c in ("n_molecules", "temperature_k")]
    return pd.DataFrame(
        {name: baseline(name).fit(*known).predict(*asked) for name in BASELINES},
        index=test.index,
    )


def _scored(inputs: Inputs, group: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (one row of scores per predictor, cell and seed; the test frames they were made of).

    The networks' rows have predictor "network", the baselines' their own name.
    """
    table = inputs.frames(inputs.group(group).get("dataset"))
    table = table.set_index("frame", drop=False)
    rows, kept = [], []
    for keys, seed, folder in inputs.cells(group):
        target = str(keys.get("target") or inputs.group(group).get("target"))
        test = _frames(read_csv(folder / "predictions.csv")).reset_index(drop=True)
        train = table.loc[inputs.training_frames(group, keys, seed)]
        leak = test["frame"].isin(train.index)
        if leak.any():
            raise DataError(
                f"{folder / 'predictions.csv'} tests on {int(leak.sum())} training frames of the "
                "split that the card states; delete the folder and train again."
            )
        guesses = baseline_predictions(train, test, f"energy_{target}_ev") / HARTREE
        test = test.join(guesses.add_suffix("_ha"))
        about = {**keys, "target": target, "seed": seed}
        size = {"n_train": len(train), "n_test": len(test)}
        rows.append({**about, "predictor": "network", **score(test), **size})
        rows += [
            {**about, "predictor": name, **score(test, f"{name}_ha"), **size} for name in BASELINES
        ]
        kept.append(test.assign(**about))
    return pd.DataFrame(rows), pd.concat(kept, ignore_index=True)


def _metric_rows(
    inputs: Inputs,
    artefact: str,
    scores: pd.DataFrame,
    name: Callable[[pd.Series], str],
    variant: Callable[[pd.Series], str] = lambda row: "as_described",
    measures: Iterable[str] = tuple(SCORES),
) -> pd.DataFrame:
    """Return metrics rows of the networks in `scores`, each beside its baseline."""
    cell = [c for c in scores.columns if c not in _SCORE_COLUMNS and c != "predictor"]
    base = scores[scores["predictor"] == BASELINE].set_index(cell)
    rows = []
    for _, row in scores[scores["predictor"] == "network"].iterrows():
        beside = base.loc[tuple(row[c] for c in cell)]
        for short in measures:
            column, unit = SCORES[short]
            rows.append(
                metric_row(
                    inputs,
                    artefact,
                    f"{name(row)}_{short}",
                    unit,
                    row[column],
                    seed=row["seed"],
                    baseline=float(np.asarray(beside[column]).reshape(-1)[0]),
                    variant=variant(row),
                )
            )
    return metric_table(rows)


_SCORE_COLUMNS = {column for column, _ in SCORES.values()} | {"n_train", "n_test"}


def _published(inputs: Inputs, artefact: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for block in inputs.card.get("published") or []:
        if block["artefact"] == artefact:
            values |= block["values"]
    return values


def _better_than_baseline(inputs: Inputs, artefact: str, scores: pd.DataFrame) -> pd.DataFrame:
    """Return, per target and seed, how many networks have a lower MAE than the (N, T) mean."""
    rows = []
    for (target, seed), part in scores.groupby(["target", "seed"]):
        networks = part[part["predictor"] == "network"]
        baseline = part[part["predictor"] == BASELINE]
        count = int((networks["mae_ha"].to_numpy() < baseline["mae_ha"].to_numpy()).sum())
        name = f"networks_better_than_ensemble_mean_{target}"
        rows.append(metric_row(inputs, artefact, name, "", count, seed=seed))
    return metric_table(rows)


# --- artefacts of the paper -----------------------------------------------------------------------


def table1(inputs: Inputs) -> Result:
    """Test errors of the six convolutions on both terms, with baselines and published values.

    Tidy: source (ours, baseline, published), layer (or the baseline's name), target, seed, the six
    measures, n_train, n_test, n_parameters.
    """
    scores, _ = _scored(inputs, "table1")
    sizes = inputs.summaries("table1")[["layer", "target", "seed", "n_parameters"]]
    networks = scores[scores["predictor"] == "network"].merge(sizes, on=["layer", "target", "seed"])
    networks = networks.assign(source="ours")
    # every layer of one seed has the same test frames, so the baselines are the same: keep one
    first = scores["layer"].iloc[0]
    base = scores[(scores["predictor"] != "network") & (scores["layer"] == first)]
    base = base.assign(source="baseline", layer=base["predictor"])
    tidy = pd.concat([networks, base, _published_rows(inputs)], ignore_index=True)
    order = ["source", "layer", "target", "seed", *_columns("mae", "mse", "mape", "rmse")]
    tidy = tidy[[*order, "r2", "r2_within", "n_train", "n_test", "n_parameters"]]
    rows = [
        _metric_rows(inputs, "table1", scores, lambda r: f"{r['layer']}_{r['target']}"),
        _better_than_baseline(inputs, "table1", scores),
    ]
    return tidy, pd.concat(rows, ignore_index=True)


def _columns(*measures: str) -> list[str]:
    return [SCORES[m][0] for m in measures]


def _published_rows(inputs: Inputs) -> pd.DataFrame:
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for quantity, value in _published(inputs, "table1").items():
        layer, target, short = quantity.split("_", 2)
        cell = cells.setdefault(
            (layer, target), {"source": "published", "layer": layer, "target": target}
        )
        cell[SCORES[short][0]] = value
    return pd.DataFrame(list(cells.values()))


def fig1(inputs: Inputs) -> Result:
    """Surface and interior state: atoms and the electron's isosurface, from the step `densities`.

    Metrics: E_0 and the radius of gyration of the two frames shown.
    """
    tidy = inputs.step("densities")
    named = tidy[tidy["record"] == "property"]
    rows = []
    for state, part in named.groupby("state"):
        values = dict(zip(part["name"], part["value"].astype(float), strict=True))
        rows += [
            metric_row(inputs, "fig1", f"{state}_energy", "Ha", values["energy_ha"]),
            metric_row(
                inputs, "fig1", f"{state}_gyration_radius", "A", values["gyration_radius_a"]
            ),
        ]
    return tidy, metric_table(rows)


def fig2(inputs: Inputs) -> Result:
    """Predicted against reference energies of the test frames for GATConv, all seeds.

    Tidy: layer, target, seed, frame, n_molecules, temperature_k, true_ha, predicted_ha,
    ensemble_mean_ha.
    """
    scores, frames = _scored(inputs, "table1")
    layer = "gat" if (frames["layer"] == "gat").any() else str(frames["layer"].iloc[0])
    keep = ["layer", "target", "seed", "frame", "n_molecules", "temperature_k"]
    tidy = frames.loc[
        frames["layer"] == layer, [*keep, "true_ha", "predicted_ha", "ensemble_mean_ha"]
    ]
    rows = _metric_rows(
        inputs,
        "fig2",
        scores[scores["layer"] == layer],
        lambda r: f"{r['layer']}_{r['target']}",
        measures=("r2", "r2_within", "rmse"),
    )
    return tidy.reset_index(drop=True), rows


#: timing methods: name in the step's table -> prefix of the metrics
METHODS = {"solver": "numerical", "network": "gnn", "network_batched": "gnn_batched"}


def fig3(inputs: Inputs) -> Result:
    """Evaluation time of E_0 + V by our solver and of the network against N, with fitted exponents.

    Tidy: the step `timing`, with the fit t = prefactor N^exponent of each method beside its rows.
    Metrics: exponents with their 95 % interval, the geometric mean time over sizes, the ratio.
    """
    timing = inputs.step("timing")
    rows, parts, means = [], [], {}
    for method, prefix in METHODS.items():
        part = timing[timing["method"] == method]
        if part.empty:
            continue
        per_size = part.groupby("n_molecules")["seconds"].median()
        means[method] = per_size
        scale, unit = (1.0, "s") if method == "solver" else (1e3, "ms")
        typical = scale * float(np.exp(np.log(per_size).mean()))
        rows.append(metric_row(inputs, "fig3", f"{prefix}_time", unit, typical))
        if len(per_size) < 3:
            parts.append(part)
            continue
        fit = measure.power_law(per_size.index.to_numpy(), per_size.to_numpy())
        parts.append(
            part.assign(
                exponent=fit.exponent,
                exponent_low=fit.low,
                exponent_high=fit.high,
                prefactor_s=fit.prefactor,
            )
        )
        for name, value in (
            ("exponent", fit.exponent),
            ("exponent_low", fit.low),
            ("exponent_high", fit.high),
            ("exponent_standard_error", fit.standard_error),
        ):
            rows.append(metric_row(inputs, "fig3", f"{prefix}_{name}", "", value))
    for method, name in (
        ("network", "speed_ratio"),
        ("network_batched", "batched_speed_ratio"),
    ):
        if method in means and "solver" in means:
            ratio = (means["solver"] / means[method]).dropna()
            value = float(np.exp(np.log(ratio).mean()))
            rows.append(metric_row(inputs, "fig3", name, "", value))
    if not parts:
        raise DataError("The step timing holds no measurement; delete it and run it again.")
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def cutoff_scan(inputs: Inputs) -> Result:
    """Error of GATConv and neighbours per atom against the cutoff.

    Tidy: the scores of every cutoff (Bohr), target and seed, with neighbours per atom and pairs per
    atom (each pair counted once). Metrics add mean_neighbours at 6 Bohr.
    """
    scores, _ = _scored(inputs, "cutoff_scan")
    arrays = inputs.arrays(inputs.group("cutoff_scan").get("dataset"))
    cutoffs = sorted({float(c) for c in scores["cutoff"]} | {6.0})
    counts = mean_neighbours(arrays, cutoffs)
    scores["cutoff"] = scores["cutoff"].astype(float)
    scores["neighbours"] = scores["cutoff"].map(counts)
    rows = _metric_rows(
        inputs,
        "cutoff_scan",
        scores.drop(columns="neighbours"),
        lambda r: f"cutoff_{r['cutoff']:g}_{r['target']}",
        measures=("mae", "mape"),
    )
    # the same for every seed, but a quantity needs as many rows as the card has seeds
    extra = [
        metric_row(inputs, "cutoff_scan", name, "", value, seed=seed)
        for name, value in (
            ("mean_neighbours", counts[6.0]),
            ("mean_pairs_per_atom", counts[6.0] / 2.0),
        )
        for seed in sorted(scores["seed"].unique())
    ]
    return scores, pd.concat([rows, metric_table(extra)], ignore_index=True)


def mean_neighbours(
    arrays: Any, cutoffs: Iterable[float], n_frames: int = 64
) -> dict[float, float]:
    """Return neighbours per atom within each cutoff (Bohr), over the atoms of evenly drawn frames.

    Both directions of a pair are counted and the atom itself is not.
    """
    from scipy.spatial import cKDTree

    from gnnip.units import BOHR

    total = len(arrays.offsets) - 1
    chosen = np.unique(np.linspace(0, total - 1, min(n_frames, total)).astype(int))
    pairs = dict.fromkeys(cutoffs, 0)
    atoms = 0
    for frame in chosen:
        positions = np.asarray(
            arrays.positions[arrays.offsets[frame] : arrays.offsets[frame + 1]], dtype=float
        )
        tree = cKDTree(positions)
        atoms += len(positions)
        for cutoff in pairs:
            pairs[cutoff] += int(tree.count_neighbors(tree, cutoff * BOHR)) - len(positions)
    return {cutoff: count / atoms for cutoff, count in pairs.items()}


def depth_scan(inputs: Inputs) -> Result:
    """Error of GATConv against the number of convolutions and of dense layers; tidy: the scores."""
    scores, _ = _scored(inputs, "depth_scan")
    rows = _metric_rows(
        inputs,
        "depth_scan",
        scores,
        lambda r: f"conv_{r['n_conv']}_dense_{r['n_dense']}_{r['target']}",
        measures=("mae", "mape"),
    )
    return scores, rows


def convergence(inputs: Inputs) -> Result:
    """Training and validation error against the epoch, six layers, both terms.

    Tidy: layer, target, seed, epoch, train_mae_ha, validation_mae_ha, ensemble_mean_mae_ha (on the
    test frames). Metrics per training, from the smoothed validation MAE: converged_epoch, the first
    epoch within 10 % of the end of the run; late_gain, by how much (%) it still fell after two
    thirds of the run; epochs, the length of the run.
    """
    history = inputs.histories("table1")
    scores, _ = _scored(inputs, "table1")
    base = scores[scores["predictor"] == BASELINE][["layer", "target", "seed", "mae_ha"]]
    tidy = history.assign(
        train_mae_ha=history["train_mae_ev"] / HARTREE,
        validation_mae_ha=history["validation_mae_ev"] / HARTREE,
    )
    keep = ["layer", "target", "seed", "epoch", "train_mae_ha", "validation_mae_ha"]
    tidy = tidy[keep].merge(
        base.rename(columns={"mae_ha": "ensemble_mean_mae_ha"}), on=["layer", "target", "seed"]
    )
    rows = []
    for (layer, target, seed), run in tidy.groupby(["layer", "target", "seed"], sort=False):
        epoch, gain, length = _plateau(run["epoch"], run["validation_mae_ha"])
        for name, unit, value in (
            ("converged_epoch", "", epoch),
            ("late_gain", "%", gain),
            ("epochs", "", length),
        ):
            quantity = f"{layer}_{target}_{name}"
            rows.append(metric_row(inputs, "convergence", quantity, unit, value, seed=seed))
    return tidy, metric_table(rows)


def _plateau(epochs: pd.Series, errors: pd.Series) -> tuple[int, float, int]:
    """Return (first epoch within 10 % of the end, gain in % after two thirds, epochs).

    Levels are medians over the last fifteenth of the run: single epochs jump.
    """
    order = np.argsort(epochs.to_numpy())
    level = errors.iloc[order].rolling(max(1, len(order) // 15), min_periods=1).median().to_numpy()
    first = int(epochs.to_numpy()[order][int(np.argmax(level <= 1.1 * level[-1]))])
    two_thirds = level[max(0, round(len(level) * 2 / 3) - 1)]
    return first, float(100.0 * (1.0 - level[-1] / two_thirds)), len(level)


# --- beyond the paper -----------------------------------------------------------------------------


def width_matched(inputs: Inputs) -> Result:
    """Does the ranking survive when all six layers work at one width?

    Tidy: scores of both groups with width "own" (as the paper) or "matched". Metrics: the errors,
    and per target and seed the Spearman correlation of the two rankings by MAE.
    """
    parts = []
    for width, group in (("own", "table1"), ("matched", "width_matched")):
        parts.append(_scored(inputs, group)[0].assign(width=width))
    scores = pd.concat(parts, ignore_index=True)
    both = scores[scores["predictor"] == "network"]
    pairs = set(zip(both["layer"], both["target"], strict=True))
    for width in ("own", "matched"):
        part = both[both["width"] == width]
        pairs &= set(zip(part["layer"], part["target"], strict=True))
    inside = [pair in pairs for pair in zip(scores["layer"], scores["target"], strict=True)]
    tidy = scores[inside].reset_index(drop=True)
    rows = _metric_rows(
        inputs,
        "width_matched",
        tidy,
        lambda r: f"{r['layer']}_{r['target']}",
        lambda r: "as_described" if r["width"] == "own" else "width_matched",
        measures=("mae", "mape"),
    )
    networks = tidy[tidy["predictor"] == "network"]
    extra = []
    for target, part in networks.groupby("target"):
        mean = part.pivot_table(index="layer", columns="width", values="mae_ha")
        if len(mean) > 2:
            value = float(mean["own"].rank().corr(mean["matched"].rank()))
            extra.append(
                metric_row(inputs, "width_matched", f"rank_correlation_{target}", "", value)
            )
    return tidy, pd.concat([rows, metric_table(extra)], ignore_index=True) if extra else rows


def splits(inputs: Inputs) -> Result:
    """Errors under the paper's random split beside splits by trajectory and by size.

    Tidy: scores with the column split (random, trajectory, size). For held-out sizes the baseline
    is the line in N, since no mean of those ensembles is known.
    """
    scores, _ = _scored(inputs, "splits")
    rows = _metric_rows(
        inputs,
        "splits",
        scores,
        lambda r: f"{r['layer']}_{r['target']}_{r['split']}",
        measures=("mae", "mape", "r2_within"),
    )
    return scores, rows


def symmetry_audit(inputs: Inputs) -> Result:
    """Error of each trained network on the test set as it is, rotated, shifted and mirrored.

    Tidy: the step `symmetry_audit`: group, layer, target, seed, transformation, mae_ha, change_ha
    (mean |E(moved) - E|). Metrics: change_ha by layer, target and transformation.
    """
    tidy = inputs.step("symmetry_audit")
    rows = []
    for _, r in tidy.iterrows():
        variant = "corrected" if r["group"] == "corrected" else "as_described"
        name = f"{r['layer']}_{r['target']}_{r['transformation']}"
        common = {"seed": r["seed"], "variant": variant}
        rows.append(
            metric_row(inputs, "symmetry_audit", f"{name}_mae", "Ha", r["mae_ha"], **common)
        )
        if r["transformation"] != "none":
            quantity = f"{name}_change"
            rows.append(
                metric_row(inputs, "symmetry_audit", quantity, "Ha", r["change_ha"], **common)
            )
    return tidy, metric_table(rows)


def grid(inputs: Inputs) -> Result:
    """Spread of the error of GATConv over the choices that the paper leaves unstated.

    Tidy: scores with channels, activation, batch_size, learning_rate, target, seed. Metrics: the
    error of every cell (the choices are the variant), and the lowest, median and highest over the
    grid.
    """
    scores, _ = _scored(inputs, "grid")
    choices = [
        c for c in scores.columns if c not in _SCORE_COLUMNS | {"predictor", "target", "seed"}
    ]
    rows = _metric_rows(
        inputs,
        "grid",
        scores,
        lambda r: f"gat_{r['target']}",
        lambda r: ", ".join(f"{c} {r[c]}" for c in choices),
        measures=("mae", "mape"),
    )
    extra = []
    for target, part in scores[scores["predictor"] == "network"].groupby("target"):
        mean = part.groupby(choices)["mae_ha"].mean()
        for name, value in (
            ("lowest", mean.min()),
            ("median", mean.median()),
            ("highest", mean.max()),
        ):
            extra.append(metric_row(inputs, "grid", f"gat_{target}_mae_{name}", "Ha", value))
    return scores, pd.concat([rows, metric_table(extra)], ignore_index=True)


def forces(inputs: Inputs) -> Result:
    """Energies and forces of an equivariant potential, of pairs, and of those who know less.

    Tidy, from the step `force_audit`: record (error or curve), predictor, target, seed, name (the
    atoms: all, O, H, state=..., n_molecules=...), x (size of the electron's force, eV/Angstrom, in
    a curve), n_atoms, the errors of forces, and where all atoms count those of energies
    (meV/atom and, of the total, eV). Predictors: nequip; pair; composition and ensemble_mean, which
    have no forces; exact_water, V itself with the mean E_0 of the (N, T) ensemble. The electron's
    force is resolved to 1 - sum |error|^2 / sum |F_electronic|^2, of which exact_water has 0.
    """
    audit = inputs.step("force_audit")
    energies = _total_energy_errors(inputs)
    names = {"without_term": "exact_water", "zero": "composition"}
    audit["predictor"] = [
        model if kind == "network" else names[kind]
        for model, kind in zip(audit["model"], audit["predictor"], strict=True)
    ]
    # what needs no training is the same for all trainings with one split: keep one
    main = (audit["group"] == "forces") | audit["predictor"].isin(["nequip", "pair"])
    audit = audit[main]
    still = audit[audit["predictor"] == "composition"].assign(predictor="ensemble_mean")
    audit = pd.concat([audit, still], ignore_index=True)
    whole = audit[(audit["record"] == "error") & (audit["name"] == "all")]
    whole = whole.merge(energies, on=["predictor", "target", "seed"], how="left")
    rest = audit.drop(index=audit[(audit["record"] == "error") & (audit["name"] == "all")].index)
    tidy = pd.concat([whole, rest], ignore_index=True)
    keep = ["record", "predictor", "target", "seed", "name", "x", "n_atoms"]
    measured = [c for c in tidy.columns if c.startswith(("force_", "term_", "energy_"))]
    tidy = tidy[[*keep, *measured, "resolved"]]
    return tidy, _force_metrics(inputs, tidy)


def _total_energy_errors(inputs: Inputs) -> pd.DataFrame:
    """Return errors of energies by predictor, target and seed, of networks and of baselines."""
    frames = inputs.frames(inputs.group("forces").get("dataset")).set_index("frame", drop=False)
    terms = [f"energy_{t}_ev" for t in TARGETS]
    frames["energy_total_ev"] = frames[terms].sum(axis=1)
    rows = []
    for group in ("forces", "forces_terms", "forces_pair"):
        for keys, seed, folder in inputs.cells(group):
            target = str(keys.get("target") or inputs.group(group)["target"])
            table = read_csv(folder / "predictions.csv")
            test = table[table["subset"] == "test"].set_index("frame", drop=False)
            true = test["energy_reference_ev"]
            guesses = {str(inputs.group(group)["model"]): test["energy_predicted_ev"]}
            if group == "forces":
                train = frames.loc[inputs.training_frames(group, keys, seed)]
                known = baseline_predictions(train, test, "energy_total_ev")
                electron = baseline_predictions(train, test, "energy_electronic_ev")
                size = train["n_molecules"].to_numpy(dtype=float)
                each = float(size @ train["energy_total_ev"] / (size @ size))
                guesses |= {
                    "composition": each * test["n_molecules"],
                    "ensemble_mean": known[BASELINE],
                    "exact_water": frames.loc[test.index, "energy_atomic_ev"] + electron[BASELINE],
                }
            for predictor, guess in guesses.items():
                share = 1000.0 / test["n_atoms"]
                ensembles = (test["n_molecules"], test["temperature_k"])
                rows.append(
                    {
                        "predictor": predictor,
                        "target": target,
                        "seed": seed,
                        "energy_rmse_mev_per_atom": measure.rmse(true * share, guess * share),
                        "energy_mae_mev_per_atom": measure.mae(true * share, guess * share),
                        "energy_mae_ev": measure.mae(true, guess),
                        "energy_r2_within": measure.r2_within(true, guess, *ensembles),
                    }
                )
    return pd.DataFrame(rows)


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
_PARTS = {
    "O": "oxygen",
    "H": "hydrogen",
    "state=surface": "surface",
    "state=interior": "interior",
}


def _force_metrics(inputs: Inputs, tidy: pd.DataFrame) -> pd.DataFrame:
    errors = tidy[tidy["record"] == "error"]
    base = errors[errors["target"] == "total"].set_index(["predictor", "name", "seed"])
    rows = []
    for _, r in errors[errors["predictor"].isin(["nequip", "pair"])].iterrows():
        whole = r["name"] == "all"
        if not whole and r["name"] not in _PARTS:
            continue
        name = r["predictor"] + ("" if r["target"] == "total" else f"_{r['target']}")
        end = "" if whole else f"_{_PARTS[r['name']]}"
        for column, (short, unit, predictor) in _FORCE_SCORES.items():
            if not np.isfinite(r[column]) or not (whole or short in _OF_PARTS):
                continue
            place = (predictor, r["name"], r["seed"])
            # another term's forces are others: what is trivial for the total is not for it
            known = r["target"] == "total" and place in base.index
            beside = float(base.loc[place, column]) if known else float("nan")
            quantity = f"{name}_{short}{end}"
            rows.append(
                metric_row(
                    inputs, "forces", quantity, unit, r[column], seed=r["seed"], baseline=beside
                )
            )
    for _, r in errors[errors["predictor"] == "exact_water"].iterrows():
        if r["name"] == "all" or r["name"] in _PARTS:
            end = "" if r["name"] == "all" else f"_{_PARTS[r['name']]}"
            quantity, value = f"electron_force_rms{end}", r["term_rms_ev_per_a"]
            rows.append(metric_row(inputs, "forces", quantity, "eV/A", value, seed=r["seed"]))
    return metric_table(rows)


_OF_PARTS = ("force_rmse", "electron_resolved")

#: training group -> name of its potential in the artefact `anion_md`
POTENTIALS = {"forces": "nequip", "forces_pair": "pair", "reference": "reference"}


def anion_md(inputs: Inputs) -> Result:
    """Dynamics of the anion by learned forces beside the reference's, from the same starts.

    Tidy: the step `dynamics` (`gnnip.measurements.dynamics.comparison`), potentials
    named nequip, pair, reference and noise_floor. Metrics, baseline in brackets: temperature,
    drift and fluctuation of the conserved energy, share of replicas alive, E_0 and radius of
    gyration of the electron on the path (the reference's), and how far they are from it (the noise
    floor); errors of structure and vibrations (the noise floor); error of the forces on the
    potential's own path; speed ratio to the reference, one replica alone and batched.
    """
    tidy = inputs.step("dynamics")
    tidy["potential"] = [POTENTIALS.get(n.split("/")[0], n) for n in tidy["potential"]]
    options = inputs.card["steps"]["dynamics"]["options"]
    late = float(options["comparison"]["discard"])
    rows = []
    own = {name: _path_facts(part, late) for name, part in tidy.groupby("potential")}
    seconds = tidy[tidy["record"] == "speed"].set_index(["potential", "name"])["value"]
    errors = tidy[tidy["record"].str.endswith("_error")]
    floor = errors[errors["potential"] == "noise_floor"].set_index(["record", "name"])["value"]
    for name in ("reference", "nequip", "pair"):
        for quantity, (value, unit) in own.get(name, {}).items():
            beside = own["reference"].get(quantity, (np.nan, ""))[0]
            baseline = float("nan") if name == "reference" else beside
            rows.append(
                metric_row(inputs, "anion_md", f"{name}_{quantity}", unit, value, baseline=baseline)
            )
        for _, r in errors[errors["potential"] == name].iterrows():
            if r["record"] == "relabel_error":
                short, unit = _ON_PATH[r["name"]]
                quantity = f"{name}_{short}_shift"
            else:
                part = "" if r["name"] == "total" else "_" + r["name"].replace("-", "").lower()
                quantity = f"{name}_{r['record'].removesuffix('_error')}{part}_error"
                unit = "%"
            baseline = float(floor.get((r["record"], r["name"]), np.nan))
            rows.append(
                metric_row(inputs, "anion_md", quantity, unit, r["value"], baseline=baseline)
            )
        solver = ("reference", "alone_seconds_per_step")
        for how, quantity in (("alone", "speed_ratio"), ("batched", "batched_speed_ratio")):
            place = (name, f"{how}_seconds_per_step")
            if name != "reference" and place in seconds.index and solver in seconds.index:
                ratio = float(seconds[solver]) / float(seconds[place])
                rows.append(metric_row(inputs, "anion_md", f"{name}_{quantity}", "", ratio))
    return tidy, metric_table(rows)


#: what the reference says of frames on the path: name in the step's table -> (quantity, unit)
_ON_PATH = {
    "electronic_energy_ev": ("electronic_energy", "eV"),
    "gyration_radius_a": ("gyration_radius", "A"),
    "force_rmse_ev_per_a": ("force_rmse_on_path", "eV/A"),
}


def _path_facts(part: pd.DataFrame, late: float) -> dict[str, tuple[float, str]]:
    """Return quantity -> (mean over replicas, unit) of one potential; what is not there is not."""
    run = part[part["record"] == "run"].groupby("name")["value"]
    facts: dict[str, tuple[float, str]] = {}
    for name, short, unit in (
        ("temperature_mean_k", "temperature", "K"),
        ("fluctuation_mev_per_atom", "energy_fluctuation", "meV/atom"),
    ):
        if name in run.groups:
            facts[short] = (float(run.get_group(name).mean()), unit)
    if "drift_mev_per_atom_ps" in run.groups:
        drift = float(run.get_group("drift_mev_per_atom_ps").abs().mean())
        facts["energy_drift"] = (drift, "meV/atom/ps")
    if "failed" in run.groups:
        facts["survival"] = (100.0 * (1.0 - float(run.get_group("failed").mean())), "%")
    on_path = part[(part["record"] == "relabel") & (part["x"] >= late)]
    for name, (short, unit) in _ON_PATH.items():
        values = on_path.loc[on_path["name"] == name, "value"].dropna()
        if len(values):
            facts[short] = (float(values.mean()), unit)
    return facts


# --- claims ---------------------------------------------------------------------------------------


def _mean(metrics: pd.DataFrame, quantity: str, variant: str = "as_described") -> float:
    """Return the mean over seeds of a quantity; NaN when it was not measured."""
    rows = metrics[(metrics["quantity"] == quantity) & (metrics["variant"] == variant)]
    return float(rows["value"].mean()) if len(rows) else float("nan")


def _lower_in_earnest(metrics: pd.DataFrame, quantity: str, other: str) -> bool:
    """Tell whether `quantity` lies below `other` by > 10 % and > two standard errors over seeds."""
    low, high = (metrics.loc[metrics["quantity"] == q, "value"] for q in (quantity, other))
    gap = float(high.mean() - low.mean())
    noise = [x.var(ddof=1) / len(x) if len(x) > 1 else 0.0 for x in (low, high)]
    return gap > IMPORTANT_SHARE * float(high.mean()) and gap > 2.0 * float(np.sqrt(sum(noise)))


def _table(metrics: pd.DataFrame, short: str) -> pd.DataFrame:
    """Return means over seeds, layers down, targets across."""
    cells = {t: {x: _mean(metrics, f"{x}_{t}_{short}") for x in LAYERS} for t in TARGETS}
    return pd.DataFrame(cells)


_INCOMPLETE = "not all six layers were trained on both terms"


def gat_best(metrics: Metrics) -> ClaimResult:
    """GATConv has the lowest mean test MAE of the six layers on both terms."""
    table = _table(metrics["table1"], "mae")
    if table.isna().any(axis=None):
        return ClaimResult(None, "", _INCOMPLETE)
    best = {t: str(table[t].idxmin()) for t in TARGETS}
    told = "; ".join(f"{t}: {best[t]} {table[t].min():.4f} Ha" for t in TARGETS)
    if all(layer == "gat" for layer in best.values()):
        ties = [
            f"{x} ({t})"
            for t in TARGETS
            for x in LAYERS
            if x != "gat"
            and not _lower_in_earnest(metrics["table1"], f"gat_{t}_mae", f"{x}_{t}_mae")
        ]
        note = f", but {', '.join(ties)} lies within 10 % or two standard errors" if ties else ""
        return ClaimResult(True, told, f"gat has the lowest mean MAE on both terms{note}")
    others = ", ".join(f"{layer} on the {t} term" for t, layer in best.items() if layer != "gat")
    return ClaimResult(False, told, f"lowest mean MAE: {others}")


def only_gat_and_gcs_acceptable(metrics: Metrics) -> ClaimResult:
    """Acceptable: mean MAPE at most twice that of the best layer, for both terms."""
    table = _table(metrics["table1"], "mape")
    if table.isna().any(axis=None):
        return ClaimResult(None, "", _INCOMPLETE)
    fine = (table <= ACCEPTABLE_FACTOR * table.min()).all(axis=1)
    accepted = [x for x in LAYERS if fine[x]]
    told = f"acceptable: {', '.join(accepted) or 'none'}"
    counts = ", ".join(
        f"{_mean(metrics['table1'], f'networks_better_than_ensemble_mean_{t}'):.1f} of 6 ({t})"
        for t in TARGETS
    )
    reason = (
        "acceptable is a MAPE within twice the best of the six on both terms; "
        f"networks with a lower MAE than the (N, T) mean: {counts}"
    )
    return ClaimResult(set(accepted) == {"gat", "gcs"}, told, reason)


def atomic_easier(metrics: Metrics) -> ClaimResult:
    """Every layer has a lower mean MAPE on the atomic term than on the electronic one."""
    mape = _table(metrics["table1"], "mape").dropna()
    if mape.empty:
        return ClaimResult(None, "", "no layer was trained on both terms")
    easier = mape["atomic"] < mape["electronic"]
    within = _table(metrics["table1"], "r2_within").loc[mape.index].max()
    reason = (
        "the percentage of V is small because V is large; best R2 within ensembles: "
        f"{within['atomic']:.2f} (atomic), {within['electronic']:.2f} (electronic)"
    )
    told = f"{int(easier.sum())} of {len(easier)} layers have the lower MAPE on the atomic term"
    return ClaimResult(bool(easier.all()), told, reason)


def cutoff_6_suffices(metrics: Metrics) -> ClaimResult:
    """6 Bohr is the smallest cutoff that no larger one beats in earnest, taken over both terms."""
    table = metrics["cutoff_scan"]
    found = table["quantity"].str.extract(r"^cutoff_(?P<cutoff>[\d.]+)_(?P<target>[a-z]+)_mae$")
    found = found.dropna()
    cutoffs = sorted({float(c) for c in found["cutoff"]})
    targets = [t for t in TARGETS if t in set(found["target"])]
    if len(cutoffs) < 3 or 6.0 not in cutoffs or cutoffs[-1] <= 6.0:
        return ClaimResult(None, "", "needs 6 Bohr, a smaller and a larger cutoff")
    smallest = {}
    for target in targets:
        name = f"cutoff_{{:g}}_{target}_mae".format
        smallest[target] = next(
            c
            for c in cutoffs
            if not any(
                _lower_in_earnest(table, name(larger), name(c)) for larger in cutoffs if larger > c
            )
        )
    needed = max(smallest.values())
    told = ", ".join(f"{t}: {c:g} Bohr" for t, c in smallest.items())
    limit = "by more than 10 % and two standard errors"
    if needed == 6.0:
        reason = f"no larger cutoff is better {limit}, and a smaller one is worse"
    elif needed < 6.0:
        reason = f"already at {needed:g} Bohr no larger cutoff is better {limit}"
    else:
        reason = f"a cutoff of {needed:g} Bohr still lowers the error {limit}"
    if len(targets) < 2:
        reason += f" (only the {targets[0]} term was run)"
    return ClaimResult(needed == 6.0, f"smallest sufficient cutoff: {told}", reason)


def two_and_two_layers_suffice(metrics: Metrics) -> ClaimResult:
    """No network with more layers of either kind is better in earnest than 2 + 2."""
    table = metrics["depth_scan"]
    found = table["quantity"].str.extract(r"^conv_(\d+)_dense_(\d+)_([a-z]+)_mae$").dropna()
    cells = sorted({(int(c), int(d), str(t)) for c, d, t in found.itertuples(index=False)})
    targets = [t for t in TARGETS if (2, 2, t) in cells]
    deeper = [
        (c, d, t) for c, d, t in cells if t in targets and c >= 2 and d >= 2 and (c, d) != (2, 2)
    ]
    if not deeper:
        return ClaimResult(None, "", "no network deeper than 2 + 2 was trained")
    name = "conv_{}_dense_{}_{}_mae".format
    better = [cell for cell in deeper if _lower_in_earnest(table, name(*cell), name(2, 2, cell[2]))]
    gains = {
        cell: 100.0 * (1.0 - _mean(table, name(*cell)) / _mean(table, name(2, 2, cell[2])))
        for cell in deeper
    }
    top = max(gains, key=lambda cell: gains[cell])
    told = f"best deeper network: {top[0]} + {top[1]} ({top[2]}), MAE {-gains[top]:+.0f} %"
    reason = (
        f"{len(better)} of {len(deeper)} deeper networks are better than 2 + 2 "
        "by more than 10 % and two standard errors"
    )
    return ClaimResult(not better, told, reason)


def converges_in_100_to_150_epochs(metrics: Metrics) -> ClaimResult:
    """The median training gains at most 10 % in the last third of a run of 100 to 150 epochs."""
    table = metrics["convergence"]

    def values(name: str) -> pd.Series:
        return table.loc[table["quantity"].str.endswith(f"_{name}"), "value"]

    length = values("epochs").min()
    if not length >= 100:
        reason = f"the runs have {length:.0f} epochs, at least 100 are needed"
        return ClaimResult(None, "", reason)
    gain = float(values("late_gain").median())
    epoch = float(values("converged_epoch").median())
    told = f"median gain after two thirds of {length:.0f} epochs: {gain:.1f} %"
    reason = f"the median training is within 10 % of its final validation MAE at epoch {epoch:.0f}"
    if length > 150:
        return ClaimResult(epoch <= 150, told, reason)
    return ClaimResult(gain <= 100 * IMPORTANT_SHARE, told, reason)


def _exponent(metrics: pd.DataFrame, prefix: str, expected: float) -> ClaimResult:
    value = _mean(metrics, f"{prefix}_exponent")
    low, high = (_mean(metrics, f"{prefix}_exponent_{end}") for end in ("low", "high"))
    if np.isnan(value):
        return ClaimResult(None, "", "an exponent needs at least three sizes")
    told = f"exponent {value:.2f}, 95 % interval {low:.2f} to {high:.2f}"
    if high - low > 4 * EXPONENT_WIDTH:
        return ClaimResult(None, told, "the interval is too wide to decide")
    holds = abs(value - expected) <= EXPONENT_WIDTH
    reason = f"within {EXPONENT_WIDTH} of {expected:g}" if holds else f"not {expected:g}"
    return ClaimResult(holds, told, reason)


def numerical_quadratic(metrics: Metrics) -> ClaimResult:
    """The exponent of our solver's time (V and E_0) is within 0.3 of 2."""
    result = _exponent(metrics["fig3"], "numerical", 2.0)
    note = (
        "; our solver's box follows the electron: small clusters bind it weakly and need large ones"
    )
    reason = result.reason + (note if result.holds is False else "")
    return ClaimResult(result.holds, result.measured, reason)


def gnn_linear(metrics: Metrics) -> ClaimResult:
    """The exponent of the network's time, one structure at a time, is within 0.3 of 1."""
    result = _exponent(metrics["fig3"], "gnn", 1.0)
    batched = _mean(metrics["fig3"], "gnn_batched_exponent")
    note = f"; batched, where overhead is shared, the exponent is {batched:.2f}"
    reason = result.reason + (note if np.isfinite(batched) else "")
    return ClaimResult(result.holds, result.measured, reason)


def gnn_thousand_times_faster(metrics: Metrics) -> ClaimResult:
    """The network is at least 10^2.5 times faster than our solver, averaged over sizes."""
    ratio = _mean(metrics["fig3"], "speed_ratio")
    if np.isnan(ratio):
        return ClaimResult(None, "", "the solver or the network was not timed")
    told = f"{ratio:.3g} times faster than our solver"
    solver = _mean(metrics["fig3"], "numerical_time")
    reason = f"our solver takes {solver:.2g} s where the published method takes seconds"
    return ClaimResult(ratio >= THOUSAND, told, reason)


CLAIMS: dict[str, Callable[[Metrics], ClaimResult]] = {
    claim.__name__: claim
    for claim in (
        gat_best,
        only_gat_and_gcs_acceptable,
        atomic_easier,
        cutoff_6_suffices,
        two_and_two_layers_suffice,
        converges_in_100_to_150_epochs,
        numerical_quadratic,
        gnn_linear,
        gnn_thousand_times_faster,
    )
}

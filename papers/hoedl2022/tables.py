"""Tables of hoedl2022 that no kind makes; eV, Angstrom, meV/atom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.arms import divide
from gnnip.artefacts.energy_scores import predicted_frames
from gnnip.artefacts.errors import potential_errors
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import Scan
from gnnip.artefacts.measures import columns
from gnnip.artefacts.scan import scan
from gnnip.artefacts.tables import NONE, Result, metric_row, metric_table
from gnnip.errors import DataError
from gnnip.files import read_csv
from gnnip.machine import load_of

MATERIALS = ("ean", "ani")
#: meV in a Hartree
HARTREE_MEV = 27211.386
#: Angstrom within which an atom's nearest neighbours are
NEAR = 2.5
#: fs at the end of hot dynamics over which broken bonds are averaged
LATE = 50.0
#: what is said of every number of the authors' network
AUTHORS: dict[str, Any] = {
    "training": NONE,
    "remark": "nobody knows whether these frames were held out of its training",
    "variant": "as_coded",
}


def _arm(name: str) -> str:
    return divide(name, MATERIALS)[1]


def training_speed(
    inputs: Inputs,
    epochs: int,
    configurations: int,
    show: Sequence[str],
    against: str | None = None,
) -> Result:
    """Configurations per second in a training, and how long the poster's training would take.

    `show` are training groups; the poster's training has so many `epochs` of `configurations`.
    Tidy: group, work, seconds, per_second, hardware. Metrics {arm}_training_rate, _training_hours
    and, against another group, _speed_ratio.
    """
    (name,) = inputs.measurements()
    table = inputs.measurement(name)
    table = table[table["group"].isin(show)].assign(per_second=lambda t: 1.0 / t["seconds"])
    about: dict[str, Any] = {"training": NONE, "remark": load_of(table["hardware"])}
    steps = table[table["work"] == "training"].set_index("group")["seconds"]
    rows = []
    for group in show:
        arm, hours = _arm(group), epochs * configurations * steps[group] / 3600.0
        rows.append(metric_row(inputs, f"{arm}_training_rate", "1/s", 1.0 / steps[group], **about))
        rows.append(metric_row(inputs, f"{arm}_training_hours", "h", hours, **about))
        if against not in (None, group):
            ratio = steps[against] / steps[group]
            rows.append(metric_row(inputs, f"{arm}_speed_ratio", "", ratio, **about))
    return table.reset_index(drop=True), metric_table(rows)


def dissociation(inputs: Inputs) -> Result:
    """Energy of an ion pair along both coordinates, and the share of bonds that hot dynamics break.

    Tidy: part (curve or hot), arm, coordinate, x_a and energy_ev of curves; replica, time_fs,
    share (of all bonds) and share_n_h (of all bonds, those of N-H) of dynamics. Metrics of each arm
    and the reference: {arm}_dissociation_energy (eV, N...O apart less where curves begin);
    {arm}_curve_rmse_{n_h, n_o} from the reference, whose baseline is a flat line; {arm}_broken and
    _broken_n_h, shares over the last 50 fs, beside none, _broken_bonds, their number in all
    replicas, and _failed, the share of replicas.
    """
    curves = inputs.measurement("ion_pair")
    curves["arm"] = curves.pop("potential").map(_arm).replace("", "reference")
    hot = inputs.measurement("hot_bonds")
    hot["arm"] = hot.pop("potential").map(_arm)
    hot["share"] = hot["broken"] / hot["bonds"]
    hot["share_n_h"] = hot["broken_n_h"] / hot["bonds"]
    curves = curves.dropna(subset=["energy_ev"])
    truth = curves[curves["arm"] == "reference"].set_index(["coordinate", "x_a"])["energy_ev"]
    rows = []
    groups = inputs.card["measurements"]["ion_pair"]["trainings"]
    behind = {_arm(group): group for group in groups} | {"reference": NONE, "wB97X": NONE}

    def add(arm: str, name: str, unit: str, value: float, baseline: float) -> None:
        # who predicts nothing changes nothing of what is compared with
        trivial = value if behind[arm] == NONE else baseline
        about: dict[str, Any] = {"training": behind[arm], "baseline": trivial}
        if behind[arm] != NONE:
            about["variant"] = inputs.variant(behind[arm])
        rows.append(metric_row(inputs, f"{arm}_{name}", unit, value, **about))

    for arm, part in curves.groupby("arm", sort=False):
        apart = part[part["coordinate"] == "N...O"].set_index("x_a")["energy_ev"]
        add(str(arm), "dissociation_energy", "eV", apart[apart.index.max()], 0.0)
        for coordinate, short in (("N-H", "n_h"), ("N...O", "n_o")):
            own = part[part["coordinate"] == coordinate].set_index("x_a")["energy_ev"]
            exact = truth[coordinate].reindex(own.index).dropna()
            if arm != "reference" and len(exact):
                error = float(np.sqrt(np.square(own[exact.index] - exact).mean()))
                flat = float(np.sqrt(np.square(exact).mean()))
                add(str(arm), f"curve_rmse_{short}", "eV", error, flat)
    for arm, part in hot.groupby("arm", sort=False):
        end = part.groupby("replica")["time_fs"].transform("max")
        late = part[part["time_fs"] >= end - LATE].groupby("replica")
        for name in ("share", "share_n_h"):
            add(str(arm), name.replace("share", "broken"), "", float(late[name].mean().mean()), 0.0)
        add(str(arm), "broken_bonds", "", float(late["broken"].mean().sum()), 0.0)
        add(str(arm), "failed", "", float(part.groupby("replica")["failed"].max().mean()), np.nan)
    parts = [curves.assign(part="curve"), hot.assign(part="hot")]
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def published_frames(inputs: Inputs) -> Result:
    """Errors of the authors' network on published frames, which it may have been trained on.

    Tidy: the measurement. Metrics authors_force_mae, _force_rmse and _force_mae_median (over
    frames), beside no force; each says that the frames are not known to be held out.
    """
    (name,) = inputs.measurements()
    tidy = inputs.measurement(name)
    if tidy.empty:
        return tidy, metric_table([])

    rows = [
        metric_row(inputs, f"authors_{quantity}", "eV/A", ours, baseline=trivial, **AUTHORS)
        for quantity, (ours, trivial) in _authors_errors(tidy).items()
    ]
    return tidy, metric_table(rows)


def _authors_errors(frames: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Return errors in the forces of frames of one size, each with that of no force, eV/A."""

    def rms(column: str) -> float:
        return float(np.sqrt(np.square(frames[column]).mean()))

    mae, size = frames["force_mae_ev_per_a"], frames["force_mean_ev_per_a"]
    return {
        "force_mae": (mae.mean(), size.mean()),
        "force_mae_median": (mae.median(), size.median()),
        "force_rmse": (rms("force_rmse_ev_per_a"), rms("force_rms_ev_per_a")),
    }


def data_efficiency(inputs: Inputs, how: Scan) -> Result:
    """Return the scan, and the authors' network on the frames that all of it is tested on.

    Tidy: the scan's, and a row of the predictor authors_network with its errors where it was
    measured. Metrics: the scan's, authors_force_rmse and authors_force_r2. DataError where
    trainings are tested on different frames.
    """
    tidy, metrics = scan(inputs, how)
    (name,) = inputs.measurements()
    authors = inputs.measurement(name)
    if authors.empty:
        return tidy, metrics
    cells = [cell for group in inputs.groups() for cell in inputs.cells(group)]
    tested = {tuple(predicted_frames(folder, how.unit)["frame"]) for *_, folder in cells}
    if len(tested) > 1:
        raise DataError(
            f"{inputs.artefact}: its trainings are tested on different frames; give all of them "
            "the same split and seeds."
        )
    authors = authors[authors["frame"].isin(tested.pop())]
    rmse, size = _authors_errors(authors)["force_rmse"]
    r2 = 1.0 - (rmse / size) ** 2
    names = columns(how.unit)
    row = {"group": "authors_network", "predictor": "authors_network", "n_test": len(authors)}
    row |= {"target": tidy["target"].iloc[0]}
    row |= {names["force_rmse"][0]: rmse, names["force_r2"][0]: r2}
    rows = [
        metric_row(inputs, "authors_force_rmse", "eV/A", rmse, baseline=size, **AUTHORS),
        metric_row(inputs, "authors_force_r2", "", r2, baseline=0.0, **AUTHORS),
    ]
    tidy = pd.concat([tidy, pd.DataFrame([row])], ignore_index=True)
    return tidy, pd.concat([metrics, metric_table(rows)], ignore_index=True)


def ani_scaling(inputs: Inputs) -> Result:
    """Error per atom against the number of conformations, and by heavy atoms.

    Known molecules are those of validation frames, new ones those of test frames. Tidy: group,
    seed, n_train, molecules (known or new), n_heavy, energy_mae_mev_per_atom, null_mae_mev_per_atom
    (the best null model's), n_frames. Metrics {size}_energy_mae and {size}_new_energy_mae of the
    groups ani_small, ani_medium and ani_corrected (large), and heavy_{n}_energy_mae of known
    molecules, by the largest training set.
    """
    from gnnip.models.trivial import lowest_error, null_energies

    sizes = {"ani_small": "small", "ani_medium": "medium", "ani_corrected": "large"}
    arrays = inputs.arrays("ani")
    energies, n_atoms = arrays.energy("total"), arrays.n_atoms
    parts = []
    for group in inputs.groups():
        for keys, seed, folder in inputs.cells(group):
            known = inputs.training_frames(group, keys, seed)
            table = read_csv(folder / "predictions.csv")
            for subset, part in table.groupby("subset"):
                frames = part["frame"].to_numpy()
                nulls = null_energies(arrays, energies, known, frames)
                null = nulls[lowest_error(nulls, energies[frames])]
                scale = 1000.0 / n_atoms[frames]
                errors = pd.DataFrame(
                    {
                        "n_heavy": arrays.column("n_heavy")[frames],
                        "ours": scale * np.abs(part["energy_predicted_ev"] - energies[frames]),
                        "null": scale * np.abs(null - energies[frames]),
                    }
                )
                for n_heavy, of in [("all", errors), *errors.groupby("n_heavy")]:
                    about = {"group": group, "seed": seed, "n_train": len(known)}
                    about |= {"molecules": "new" if subset == "test" else "known"}
                    found = {
                        "n_heavy": str(n_heavy),
                        "energy_mae_mev_per_atom": of["ours"].mean(),
                        "null_mae_mev_per_atom": of["null"].mean(),
                        "n_frames": len(of),
                    }
                    parts.append(about | found)
    tidy, rows = pd.DataFrame(parts), []
    for row in tidy.to_dict("records"):
        about = {"seed": row["seed"], "baseline": row["null_mae_mev_per_atom"]}
        about |= {"training": row["group"]}
        value, new = row["energy_mae_mev_per_atom"], "new_" if row["molecules"] == "new" else ""
        size = sizes[row["group"]]
        if row["n_heavy"] == "all":
            name = f"{size}_{new}energy_mae"
        elif size == "large" and not new:
            name = f"heavy_{row['n_heavy']}_energy_mae"
        else:
            continue
        rows.append(metric_row(inputs, name, "meV/atom", value, **about))
    return tidy, metric_table(rows)


def ani_units(inputs: Inputs) -> Result:
    """Errors of known molecules by networks and null models, beside both readings of the poster's.

    The public code reads the energies of ANI-1, which are Hartree, as they are and calls them eV.
    Tidy: name (a group, composition or null_model), seed, energy_mae_mev_per_atom. Metrics
    {name}_energy_mae, and the poster's range in Hartree over the composition fit's error.
    """
    parts = []
    for group in inputs.groups():
        table = potential_errors(inputs, group)
        table = table[table["subset"] == "validation"]
        names = table["source"].where(table["source"] != "ours", group)
        parts.append(table.assign(name=names)[["name", "seed", "energy_mae_mev_per_atom"]])
    tidy = pd.concat(parts).drop_duplicates(["name", "seed"]).reset_index(drop=True)
    rows = []
    for row in tidy.to_dict("records"):
        trained = row["name"] in inputs.groups()
        about: dict[str, Any] = {"seed": row["seed"], "training": NONE}
        if trained:
            about |= {"training": row["name"], "variant": inputs.variant(row["name"])}
        name = f"{_arm(row['name'])}_energy_mae"
        rows.append(metric_row(inputs, name, "meV/atom", row["energy_mae_mev_per_atom"], **about))
    return tidy, metric_table(rows)


def features(inputs: Inputs) -> Result:
    """Change of the energy by what should not matter: the measurement, and its numbers as metrics.

    Metrics {group}_{feature} (meV/atom), of each network's own variant, and {group}_reach (A),
    layers times cutoff.
    """
    tidy = inputs.measurement("features")
    rows = []
    for (group, seed), part in tidy.groupby(["group", "seed"], sort=False):
        about: dict[str, Any] = {"seed": seed, "training": NONE}
        about |= {"variant": inputs.variant(str(group))}
        for feature, change in zip(part["feature"], part["change_mev_per_atom"], strict=True):
            rows.append(metric_row(inputs, f"{group}_{feature}", "meV/atom", change, **about))
        reach = float(part["reach_a"].iloc[0])
        rows.append(metric_row(inputs, f"{group}_reach", "A", reach, **about))
    return tidy, metric_table(rows)


def attention(inputs: Inputs) -> Result:
    """Attention weights by contact and distance: the measurement.

    Metrics {weights}_near: the share of all attention to other atoms that goes to those within
    2.5 A, beside the share of pairs that are so near.
    """
    tidy, rows = inputs.measurement("attention"), []
    for weights, part in tidy[tidy["contact"] == "all"].groupby("weights", sort=False):
        near = part["distance_a"] < NEAR
        total = part["attention"] * part["pairs"]
        pairs = part.loc[near, "pairs"].sum() / part["pairs"].sum()
        about: dict[str, Any] = {"baseline": pairs, "training": NONE}
        share = total[near].sum() / total.sum()
        rows.append(metric_row(inputs, f"{weights}_near", "", share, **about))
    return tidy, metric_table(rows)


def pareto(inputs: Inputs) -> Result:
    """Error in the forces, time of one evaluation and of the training, seed 0 of every group.

    The training is as many steps as it had, of the time that one was measured to take in turn with
    the others: others' programs beside a training would count as its own time. A fit in closed form
    has no steps and is told as long as it took.

    Tidy: group, force_mae_ev_per_a, evaluation_ms, training_s, n_parameters, hardware. Metrics of
    each arm.
    """
    (times,) = inputs.measurements()
    table = inputs.measurement(times)
    remark = load_of(table["hardware"])
    seconds, steps = (
        table[table["work"] == work].set_index("group")["seconds"]
        for work in ("evaluation", "training")
    )
    tidy, rows = [], []
    for group in inputs.groups():
        summary = inputs.summary(next(f for _, seed, f in inputs.cells(group) if seed == 0))
        found = {
            "force_mae_ev_per_a": float(summary["test_force_mae_ev_per_a"]),
            "evaluation_ms": 1000.0 * float(seconds[group]),
            "training_s": (
                float(steps[group]) * summary["n_train"] * summary["epochs_run"]
                if group in steps
                else float(summary["wall_s"])
            ),
        }
        tidy.append({"group": group, **found, "n_parameters": summary["n_parameters"]})
        units = ("eV/A", "ms", "s")
        names = ("force_mae", "evaluation_time", "training_time")
        for name, unit, value in zip(names, units, found.values(), strict=True):
            about: dict[str, Any] = {"seed": 0, "training": group, "remark": remark}
            about["variant"] = inputs.variant(group)
            rows.append(metric_row(inputs, f"{_arm(group)}_{name}", unit, value, **about))
    machine = table["hardware"].iloc[0]
    return pd.DataFrame(tidy).assign(hardware=machine), metric_table(rows)

"""Tables of cho2023 (graph networks on ACE descriptors of a-HfO2) that no kind makes.

Units: eV, Angstrom, seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.energy_scores import scored
from gnnip.artefacts.errors import error_metrics, potential_errors
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import Scan
from gnnip.artefacts.tables import NONE, Result, metric_row, metric_table
from gnnip.machine import load_of
from gnnip.units import KB

#: what is asked of energies here
ENERGIES = Scan(quantity="", x="group")


def linear_fit(inputs: Inputs) -> Result:
    """The linear fit on the descriptors beside predictors without geometry, and its time.

    Tidy: predictor, seed, mse_ev2, rmse_ev, r2, n_train, n_test, and seconds of the network row.
    Metrics: mse, r2 and seconds.
    """
    (group,) = inputs.groups()
    scores, _ = scored(inputs, group, ENERGIES)
    speed = inputs.measurement(inputs.measurements()[0])
    own = speed[speed["group"] == group].iloc[0]
    scores["seconds"] = np.where(scores["predictor"] == "network", own["seconds"], np.nan)
    rows = []
    for seed, part in scores.groupby("seed"):
        by = part.set_index("predictor")
        best = str(by.drop("network")["mse_ev2"].idxmin())
        for name, column, unit in (("mse", "mse_ev2", "eV2"), ("r2", "r2", "")):
            value, beside = by[column]["network"], by[column][best]
            rows.append(metric_row(inputs, name, unit, value, seed=seed, baseline=beside))
        # the clock saw one fit, which is that of every seed
        about: dict[str, Any] = {"seed": seed, "training": NONE}
        remark = load_of([own["hardware"]])
        rows.append(metric_row(inputs, "seconds", "s", own["seconds"], remark=remark, **about))
    keep = ["predictor", "seed", "mse_ev2", "rmse_ev", "r2", "n_train", "n_test", "seconds"]
    return scores[keep], metric_table(rows)


def connectivity(
    inputs: Inputs, thresholds: Sequence[float], published: float, chemical: float
) -> Result:
    """Neighbours per atom against the distance up to which two atoms are connected.

    Tidy: record (neighbours: cutoff_a and the mean over atoms; closest: the shortest distance of a
    frame), value. Metrics: edges_per_atom within the published threshold, share_connected of atoms
    with any, neighbours within a chemical one, closest_pair (Angstrom).
    """
    from gnnip.graphs.neighbours import neighbour_list

    (dataset,) = inputs.datasets
    arrays = inputs.arrays(dataset)
    cutoffs = sorted({*map(float, thresholds), published, chemical})
    counts, closest, connected = np.zeros(len(cutoffs)), [], 0
    for frame in range(arrays.n_frames):
        positions, _, cell, pbc = arrays.structure(frame)
        edges, shift = neighbour_list(positions, cutoffs[-1], cell, pbc)
        vectors = positions[edges[0]] - positions[edges[1]] + (0 if shift is None else shift)
        r = np.linalg.norm(vectors, axis=1)
        counts += [(r < cutoff).sum() for cutoff in cutoffs]
        connected += len(np.unique(edges[1, r < published]))
        closest.append(float(r.min()))
    atoms = int(arrays.n_atoms.sum())
    tidy = pd.DataFrame(
        [
            {"record": "neighbours", "cutoff_a": c, "value": n / atoms}
            for c, n in zip(cutoffs, counts, strict=True)
        ]
        + [{"record": "closest", "value": r} for r in closest]
    )
    within = dict(zip(cutoffs, counts / atoms, strict=True))
    rows = [
        metric_row(inputs, name, unit, value, training=NONE)
        for name, unit, value in (
            ("edges_per_atom", "", within[published]),
            ("share_connected", "", connected / atoms),
            ("neighbours", "", within[chemical]),
            ("closest_pair", "A", min(closest)),
            ("frames", "", arrays.n_frames),
        )
    ]
    return tidy, metric_table(rows)


def angular(
    inputs: Inputs, degrees: Sequence[int], body_orders: Sequence[int], angles: Sequence[float]
) -> Result:
    """Descriptors and those of them with an angle, and two geometries that differ in an angle.

    The geometries are hafnium with two oxygens, 2.0 and 2.3 Angstrom away, at two angles; the
    difference is the largest of the descriptors of hafnium, over the largest of them. Tidy and
    metrics by body order and degree: descriptors, angular, difference. Metrics are named
    {what}_{body order}_{degree}.
    """
    import torch

    from gnnip.graphs import GraphBatch
    from gnnip.models.ace.descriptors import Descriptors
    from gnnip.models.ace.functions import functions

    species = sorted(map(int, np.unique(inputs.arrays(inputs.datasets[0]).numbers)))
    structures = []
    for angle in np.radians(angles):
        far = 2.3 * np.array([math.cos(angle), math.sin(angle), 0.0])
        places = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], far])
        structures.append({"positions": places, "numbers": np.array([72, 8, 8])})
    batch = GraphBatch.from_structures(structures, 5.0, dtype=torch.float64)
    kinds = torch.searchsorted(torch.tensor(species), batch.atomic_numbers)
    tidy, rows = [], []
    for order in body_orders:
        for degree in degrees:
            chosen = functions(len(species), order, degree)
            with torch.no_grad():
                basis = Descriptors(len(species), 5.0, order, degree, "polynomial")
                first, second = basis(batch, kinds)[[0, 3]]
            found = {
                "descriptors": len(species) * len(chosen),
                "angular": len(species) * sum(any(at for *_, at in f) for f in chosen),
                "difference": float((first - second).abs().max() / first.abs().max()),
            }
            tidy.append({"body_order": order, "degree": degree} | found)
            rows += [
                metric_row(inputs, f"{name}_{order}_{degree}", "", value, training=NONE)
                for name, value in found.items()
            ]
    return pd.DataFrame(tidy), metric_table(rows)


def constant(
    inputs: Inputs, published: Mapping[str, float], atoms: int, temperature: float
) -> Result:
    """Mean square errors of total energies, ours and published, beside the spread of the energies.

    A classical harmonic solid of N atoms at the temperature T has a variance of its potential
    energy of (3 N / 2) (k T)^2: the error of predicting the mean, which needs no label. `atoms` and
    `temperature` (K) are those of the paper's frames, `published` its mean square errors by name,
    eV^2. Tidy: what, source (estimate, published, ours, constant),
    seed, mse_ev2. Metrics: equipartition, {name}_share of it, spread_of_trajectories, and of our
    potentials {group}_mse.
    """
    dataset = next(iter(inputs.card["references"]))
    arrays = inputs.arrays(dataset)
    estimate = 1.5 * atoms * (KB * temperature) ** 2
    energy, trajectory = arrays.energy("total"), arrays.column("trajectory")
    own = [energy[trajectory == name].var() for name in np.unique(trajectory)]
    tidy: list[dict[str, Any]] = [
        {"what": "equipartition", "source": "estimate", "mse_ev2": estimate}
    ]
    facts = [("equipartition", "eV2", estimate)]
    facts.append(("spread_of_trajectories", "eV2", float(np.mean(own))))
    for name, value in published.items():
        tidy.append({"what": name, "source": "published", "mse_ev2": value})
        facts.append((f"{name}_share", "", value / estimate))
    rows = [metric_row(inputs, name, unit, value, training=NONE) for name, unit, value in facts]
    for group in inputs.groups():
        scores, _ = scored(inputs, group, ENERGIES)
        for training, part in scores.groupby("training", sort=False):
            base = part[part["predictor"] == "constant"].set_index("seed")["mse_ev2"]
            name = str(training).removesuffix("/all").replace("/activation-", "_")
            for _, row in part[part["predictor"] == "network"].iterrows():
                seed, value = row["seed"], row["mse_ev2"]
                tidy.append({"what": name, "source": "ours", "seed": seed, "mse_ev2": value})
                tidy.append(
                    {"what": name, "source": "constant", "seed": seed, "mse_ev2": base[seed]}
                )
                about: dict[str, Any] = {"seed": seed, "baseline": base[seed]}
                about |= {"variant": inputs.variant(group), "training": training}
                rows.append(metric_row(inputs, f"{name}_mse", "eV2", value, **about))
    return pd.DataFrame(tidy), metric_table(rows)


def speed(inputs: Inputs, long_epochs: int = 35_000) -> Result:
    """Seconds of an epoch against the graphs a step, on every device.

    Tidy: the measurement. Metrics: seconds per epoch {group}_{device}_{graphs a step};
    {group}_gain_{device} of the largest step over one graph; gpu_speedup of one graph a step;
    long_hours, of `long_epochs` by one graph a step on a CPU; and fit_ratio, of 1,000 epochs in the
    fastest way over the linear fit.
    """
    table = inputs.measurement(inputs.measurements()[0])
    remark = load_of(table["hardware"])
    about: dict[str, Any] = {"training": NONE, "remark": remark}
    steps = table[~table["fitted"]]
    rows, one = [], {}
    for (group, device), part in steps.groupby(["group", "device"], sort=False):
        known = part.set_index("batch_size")["seconds"].sort_index()
        for size, seconds in known.items():
            rows.append(metric_row(inputs, f"{group}_{device}_{size}", "s", seconds, **about))
        one[device] = known.iloc[0]
        gain = known.iloc[0] / known.iloc[-1]
        rows.append(metric_row(inputs, f"{group}_gain_{device}", "", gain, **about))
    hours = one["cpu"] * long_epochs / 3600.0
    rows.append(metric_row(inputs, "long_hours", "h", hours, **about))
    fits = table.loc[table["fitted"], "seconds"]
    if len(fits):
        ratio = 1000 * steps["seconds"].min() / fits.iloc[0]
        rows.append(metric_row(inputs, "fit_ratio", "", ratio, **about))
    if "cuda" in one:
        rows.append(metric_row(inputs, "gpu_speedup", "", one["cpu"] / one["cuda"], **about))
    return table, metric_table(rows)


def learning(inputs: Inputs) -> Result:
    """Errors of potentials with forces against the frames and the seconds that they learn from.

    Tidy: group, train_frames, seed, force_rmse_ev_per_a, energy_rmse_mev_per_atom, seconds, and
    those errors of predicting no force and of the best null model (source). Metrics:
    {group}_{frames}_test_force_rmse and so on, and _seconds.
    """
    parts, rows = [], []
    for group in inputs.groups():
        table = potential_errors(inputs, group)
        table = table[table["subset"] == "test"]
        seconds = inputs.summaries(group)[["train_frames", "seed", "wall_s"]]
        seconds = seconds.rename(columns={"wall_s": "seconds"})
        parts.append(table.merge(seconds, on=["train_frames", "seed"]))
        for frames, part in table.groupby("train_frames"):
            training = inputs.training(group, {"train_frames": frames})
            about = (inputs.variant(group), training)
            rows += error_metrics(inputs, f"{group}_{frames}", part, *about)
        for row in seconds.to_dict("records"):
            name = f"{group}_{row['train_frames']}_seconds"
            # of whatever ran the training, beside other jobs
            beside: dict[str, Any] = {"seed": row["seed"], "training": NONE}
            rows.append(metric_row(inputs, name, "s", row["seconds"], **beside))
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def peroxide(inputs: Inputs, pair: str, distance: float) -> Result:
    """Errors of the forces on atoms of close pairs, and on all others.

    Tidy: the errors of the measurement by group, atoms (close, others, all) and predictor. Metrics:
    frames_with such a pair of all frames, and {group}_{atoms}_force_rmse beside no force.
    """
    from gnnip.measurements.force_audit import close_atoms

    dataset = next(iter(inputs.card["references"]))
    arrays = inputs.arrays(dataset)
    near = np.add.reduceat(close_atoms(arrays, pair, distance), arrays.offsets[:-1])
    rows = [
        metric_row(inputs, name, "", value, training=NONE)
        for name, value in (
            ("frames", arrays.n_frames),
            ("frames_with", int((near > 0).sum())),
            ("atoms_per_frame", float(near.mean())),
        )
    ]
    table = inputs.measurement(inputs.measurements()[0])
    words = {f"{pair}<{distance:g}": "close", f"no {pair}<{distance:g}": "others", "all": "all"}
    tidy = table[(table["record"] == "error") & table["name"].isin(words)]
    tidy = tidy.assign(atoms=tidy["name"].map(words))
    keys = ["group", "seed", "atoms"]
    none = tidy[tidy["predictor"] == "zero"].set_index(keys)["force_rmse_ev_per_a"]
    for row in tidy[tidy["predictor"] == "network"].to_dict("records"):
        name = f"{row['group']}_{row['atoms']}_force_rmse"
        about = {"seed": row["seed"], "variant": inputs.variant(row["group"])}
        about |= {"baseline": none[tuple(row[key] for key in keys)], "training": row["group"]}
        rows.append(metric_row(inputs, name, "eV/A", row["force_rmse_ev_per_a"], **about))
    keep = [*keys, "predictor", "n_frames", "n_atoms", "force_rmse_ev_per_a", "force_r2"]
    return tidy[keep], metric_table(rows)

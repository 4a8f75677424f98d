"""Tables of kang2024 (non-local electrostatics learned by message passing) that no kind makes.

The quantity that the paper plots is the difference between configuration I (with the -1e) and II
(without), in the same medium, of the force on the +1e along the line to the -1e: exactly k/d^2,
whatever the medium. The trivial baseline is a local potential without overlap: no difference.

Units: eV, Angstrom, meV/atom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.errors import errors_of, score_rows
from gnnip.artefacts.force_against_distance import against_distance
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import ForceAgainstDistance
from gnnip.artefacts.tables import NONE, Result, metric_row, metric_table
from gnnip.datasets.arrays import FrameArrays
from gnnip.measurements import metrics as measure

#: of the 22 published frames of gold on MgO (docs/references.md): root mean square of the force
#: components, eV/Angstrom, and the cost of wetting of the relaxed dimer, meV
PUBLISHED_FORCES = {"O": 0.404, "Mg": 0.366, "Al": 0.392, "Au": 0.993}
PUBLISHED_WETTING = {"undoped": 934.8}
#: most force components of an element that a figure shows
SHOWN_FORCES = 600

#: the difference, as the kind `force_against_distance` reads it for the paper's own figures
FORCE = ForceAgainstDistance(
    value="force_z_ev_per_a",
    quantity="force_difference",
    exact="coulomb_force",
    difference=("configuration", "I", "II"),
    per=("kept_fraction", "medium"),
    columns=("medium", "hops"),
)
#: Angstrom; figure 1a shows structures of the nearest distance that there is
SHOWN_DISTANCE = 8.0


def _cutoff(inputs: Inputs, group: str) -> float:
    return float(inputs.group(group)["hyperparameters"]["cutoff"])


def fig1a(inputs: Inputs) -> Result:
    """One medium with (I) and without (II) the -1e.

    Tidy: configuration, distance_a, x_a, y_a, z_a, charge_e of every particle. Metrics: particles
    of configuration I.
    """
    from gnnip.sampling.point_charges import charges_of

    arrays = inputs.arrays()
    full = arrays.column("kept_fraction") == arrays.column("kept_fraction").max()
    distances = arrays.column("distance_a")
    nearest = distances[np.argmin(np.abs(distances - SHOWN_DISTANCE))]
    candidates = np.flatnonzero(full & (distances == nearest))
    medium = arrays.column("medium")[candidates[0]]
    parts = []
    for frame in candidates[arrays.column("medium")[candidates] == medium]:
        shown = arrays.subset(np.array([frame]))
        about = {"configuration": arrays.column("configuration")[frame], "distance_a": nearest}
        places = dict(zip(("x_a", "y_a", "z_a"), shown.positions.T, strict=True))
        charges = {"charge_e": charges_of(shown.numbers)}
        parts.append(pd.DataFrame(about | places | charges))
    tidy = pd.concat(parts, ignore_index=True)
    count = int((tidy["configuration"] == "I").sum())
    return tidy, metric_table([metric_row(inputs, "particles", "", count)])


def receptive_field(inputs: Inputs) -> Result:
    """Force difference against the distance for networks of one to five layers.

    A force on one atom depends on another when some atom between them has both within its field,
    layers x cutoff: the force reaches twice as far as the energy of an atom. Tidy: layers, seed,
    distance_a, medium, share, energy_reach_a (layers x cutoff), force_reach_a (twice that). Metrics
    per layers: the share of k/d^2 at each distance, the largest distance with any difference at
    all, and the errors of all forces of the test structures.
    """
    (group,) = inputs.groups()
    table = against_distance(inputs, group, FORCE)
    table["energy_reach_a"] = table["layers"] * _cutoff(inputs, group)
    table["force_reach_a"] = 2.0 * table["energy_reach_a"]
    rows = []
    summaries = inputs.summaries(group)
    for (layers, seed), part in table.groupby(["layers", "seed"]):
        name = f"layers_{layers}"
        for d, at in part.groupby("distance_a"):
            about: dict[str, Any] = {"seed": seed, "baseline": 0.0}
            share = at["share"].mean()
            rows.append(metric_row(inputs, f"{name}_share_d{d:g}", "", share, **about))
        # single precision leaves differences of the last digit in energies of some eV
        felt = part[part["force_difference_ev_per_a"].abs() > 1e-4]
        reach = float(felt["distance_a"].max()) if len(felt) else 0.0
        rows.append(metric_row(inputs, f"{name}_felt_up_to", "A", reach, seed=seed))
        summary = summaries[(summaries["layers"] == layers) & (summaries["seed"] == seed)].iloc[0]
        scores, measures = errors_of(summary, "test"), ("force_rmse", "energy_rmse")
        rows += score_rows(inputs, name, measures, scores, int(str(seed)))
    keep = ["layers", "seed", "distance_a", "medium", "force_difference_ev_per_a", "share"]
    keep += ["coulomb_force_ev_per_a", "energy_reach_a", "force_reach_a"]
    return table[keep], metric_table(rows)


def explicit_charges(inputs: Inputs, models: Mapping[str, Mapping[str, Any]], far: str) -> Result:
    """Message passing beside local potentials and potentials with explicit charges, same data.

    `models` are training groups by name, with values of the matrix that choose a cell; distances
    beyond the cutoff of the group `far` are averaged. Tidy: model, seed, n_parameters, training_s,
    test errors, and the share of k/d^2 averaged over the distances beyond the cutoff. `training_s`
    is on whatever ran the training: a ratio means something, the value does not.
    """
    cutoff = _cutoff(inputs, far)
    tidy, rows = [], []
    for name, wanted in models.items():
        group, own = str(wanted["group"]), {k: v for k, v in wanted.items() if k != "group"}
        probe = against_distance(inputs, group, FORCE)
        probe = probe[probe["distance_a"] > cutoff]
        for keys, seed, folder in inputs.cells(group):
            if any(keys.get(key) != value for key, value in own.items()):
                continue
            summary = inputs.summary(folder)
            at = probe[(probe["cell"] == folder.parent.name) & (probe["seed"] == seed)]
            scores = errors_of(summary, "test") | {
                "share_beyond_cutoff": float(at["share"].mean()),
                "training_s": float(summary["wall_s"]),
                "n_parameters": int(summary["n_parameters"]),
            }
            tidy.append({"model": name, "seed": seed} | scores)
            measures = ("energy_rmse", "force_rmse", "share_beyond_cutoff", "parameters")
            prefix = name.replace(" + ", "_").replace(" ", "_")
            rows += score_rows(inputs, prefix, measures, scores, seed)
    return pd.DataFrame(tidy), metric_table(rows)


def dilution(inputs: Inputs) -> Result:
    """The force beyond the cutoff as the medium is thinned out, beside the paths that carry it.

    Tidy: kept_fraction, seed, distance_a, medium, share, hops, connected (the charges are joined by
    edges at all). Metrics per kept fraction: mean share of k/d^2 beyond the cutoff, share of media
    that are connected, and the share of k/d^2 in connected and in unconnected media.
    """
    (group,) = inputs.groups()
    table = against_distance(inputs, group, FORCE)
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
                rows.append(metric_row(inputs, f"kept_{percent}_{name}", "", value, seed=seed))
    keep = ["kept_fraction", "seed", "distance_a", "medium", "hops", "connected", "share"]
    return table[keep], metric_table(rows)


def gold_on_mgo(inputs: Inputs) -> Result:
    """Forces and the cost of wetting of gold on MgO: by DFT, by the stand-in, and as published.

    The first data set is labelled by DFT, the second by the stand-in, which also labels the frames
    of the first. Tidy, by record: force (a component on an atom of `name`, value of `source`, x of
    the stand-in, eV/Angstrom), rms (of the forces on `name`), wetting (of the support `name`, meV;
    of the relaxed structures). Metrics: {element}_force_rms with that of the published frames as
    baseline, {element}_force_correlation with the stand-in, {support}_wetting.
    """
    from gnnip.sampling import au_mgo

    ours, stand_in = inputs.datasets
    frames = inputs.arrays(ours)
    shown = frames.subset(np.flatnonzero(frames.column("purpose") == "train"))
    again = []
    for i in range(shown.n_frames):
        positions, numbers, cell, _ = shown.structure(i)
        assert cell is not None
        again.append(au_mgo.label(positions, numbers, cell)["forces_total"])
    rows: list[tuple[Any, ...]] = []
    metrics = []
    own, other = shown.forces["total"], np.concatenate(again)
    about: dict[str, Any] = {"dataset": ours}
    drawn = inputs.arrays(stand_in)
    for name, published in PUBLISHED_FORCES.items():
        of = shown.numbers == _ELEMENTS[name]
        x, y = other[of].ravel(), own[of].ravel()
        for i in np.unique(np.linspace(0, len(x) - 1, SHOWN_FORCES).astype(int)):
            rows.append(("force", name, inputs.reference(ours), float(x[i]), float(y[i])))
        theirs = drawn.forces["total"][drawn.numbers == _ELEMENTS[name]]
        found = _rms(y)
        for source, value in (
            (inputs.reference(ours), found),
            ("stand-in", _rms(theirs)),
            ("published", published),
        ):
            rows.append(("rms", name, source, None, value))
        metrics += [
            metric_row(inputs, f"{name}_force_rms", "eV/A", found, baseline=published, **about),
            metric_row(inputs, f"{name}_force_correlation", "", np.corrcoef(x, y)[0, 1], **about),
        ]
    for support in au_mgo.SUPPORTS:
        cost = _relaxed_wetting(frames, support)
        known = PUBLISHED_WETTING.get(support, np.nan)
        rows.append(("wetting", support, inputs.reference(ours), None, cost))
        rows.append(("wetting", support, "stand-in", None, _relaxed_wetting(drawn, support)))
        rows.append(("wetting", support, "published", None, known))
        metrics.append(
            metric_row(inputs, f"{support}_wetting", "meV", cost, baseline=known, **about)
        )
    tidy = pd.DataFrame(rows, columns=["record", "name", "source", "x", "value"])
    return tidy, metric_table(metrics)


_ELEMENTS = {"O": 8, "Mg": 12, "Al": 13, "Au": 79}


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")


def _relaxed_wetting(frames: FrameArrays, support: str) -> float:
    """Return E(wetting) - E(non-wetting) of the relaxed structures, meV; NaN where one is
    missing."""
    found = []
    for configuration in ("wetting", "non_wetting"):
        relaxed = (frames.column("purpose") == "fig2b") & (frames.column("support") == support)
        chosen = np.flatnonzero(relaxed & (frames.column("configuration") == configuration))
        found.append(frames.energies["total"][chosen[0]] if len(chosen) else np.nan)
    return float(1000.0 * (found[0] - found[1]))


# --- gold on MgO ----------------------------------------------------------------------------------

#: how records of the measurement are told apart: one training on one support
TRAINED = ["group", "cell", "seed"]


def fig2a(inputs: Inputs) -> Result:
    """The dimer upright and flat on either support, at rest.

    Tidy: support, configuration, element, x_a, y_a, z_a. Metrics: shortest Au-O distances.
    """
    from ase.data import chemical_symbols

    arrays, parts, rows = inputs.arrays(), [], []
    for frame in np.flatnonzero(arrays.column("purpose") == "fig2b"):
        shown = arrays.subset(np.array([frame]))
        about = {c: arrays.column(c)[frame] for c in ("support", "configuration")}
        elements = {"element": [chemical_symbols[z] for z in shown.numbers]}
        places = dict(zip(("x_a", "y_a", "z_a"), shown.positions.T, strict=True))
        parts.append(pd.DataFrame(about | elements | places))
        name = f"{about['support']}_{about['configuration']}_gold_oxygen"
        rows.append(metric_row(inputs, name, "A", arrays.column("gold_oxygen_a")[frame]))
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def _supports(inputs: Inputs, record: str) -> pd.DataFrame:
    table = inputs.measurement(_of_kind(inputs, "kang2024.supports:Supports"))
    groups = [g for g in inputs.groups() if g in set(table["group"])]
    return table[(table["record"] == record) & table["group"].isin(groups)]


def _of_kind(inputs: Inputs, kind: str) -> str:
    """Return the artefact's measurement of a kind."""
    facts = inputs.card["measurements"]
    return next(name for name in inputs.measurements() if facts[name]["kind"] == kind)


def _wetting(table: pd.DataFrame) -> pd.DataFrame:
    """Return E(wetting) - E(non-wetting), meV, by training, layers and support: predicted
    (difference_mev) and of the reference (reference_mev); hops is that of the upright dimer."""
    keys = [*TRAINED, "layers", "support"]
    flat, upright = (
        table[table["configuration"] == c].set_index(keys) for c in ("wetting", "non_wetting")
    )
    columns = {"energy_ev": "difference_mev", "energy_reference_ev": "reference_mev"}
    found = 1000.0 * (flat[list(columns)] - upright[list(columns)])
    return found.rename(columns=columns).assign(hops=upright["hops"]).reset_index()


def _doping(wetting: pd.DataFrame) -> pd.DataFrame:
    """Return what doping changes of the difference of `_wetting`, meV, by training and layers."""
    keys = [*TRAINED, "layers"]
    doped, undoped = (
        wetting[wetting["support"] == s].set_index(keys) for s in ("doped", "undoped")
    )
    columns = ["difference_mev", "reference_mev"]
    return (doped[columns] - undoped[columns]).assign(hops=doped["hops"]).reset_index()


def fig2b(inputs: Inputs) -> Result:
    """E(wetting) - E(non-wetting) on both supports, by every potential and the reference.

    The relaxed dimers of the two supports differ, so that a blind potential tells them apart by
    their shape. With the record `same` the dimer is that of the undoped support on both.

    Tidy: record, group, seed, support, difference_mev, reference_mev. Metrics, meV: of the relaxed
    dimers {group}_{support}_difference and {group}_difference_error, the mean absolute error over
    both supports; of the same dimer {group}_same_{support}_difference and {group}_doping, what
    doping changes of it. The baseline knows no difference between the two configurations. Those of
    the reference itself are named reference_....
    """
    parts, rows = [], []
    for record in ("relaxed", "slab"):
        found = _wetting(_supports(inputs, record))
        found = found[found["layers"] == found["layers"].min()]
        name = "same" if record == "slab" else record
        parts.append(found.assign(record=name))
        infix = "same_" if record == "slab" else ""
        for support, known in found.groupby("support")["reference_mev"].first().items():
            quantity = f"reference_{infix}{support}_difference"
            # what is true is so for the trivial predictor as well
            rows.append(metric_row(inputs, quantity, "meV", known, baseline=known, training=NONE))
        for group, seed, part in _each(found):
            about: dict[str, Any] = {"seed": seed, "training": group}
            for row in part.itertuples():
                quantity = f"{group}_{infix}{row.support}_difference"
                value = float(str(row.difference_mev))
                rows.append(metric_row(inputs, quantity, "meV", value, baseline=0.0, **about))
            error = (part["difference_mev"] - part["reference_mev"]).abs().mean()
            trivial = part["reference_mev"].abs().mean()
            if not infix:
                quantity = f"{group}_difference_error"
                rows.append(metric_row(inputs, quantity, "meV", error, baseline=trivial, **about))
        if infix:
            doping = _doping(found)
            known = doping["reference_mev"].iloc[0]
            rows.append(metric_row(inputs, "reference_doping", "meV", known, training=NONE))
            for group, seed, part in _each(doping):
                about = {"seed": seed, "training": group, "baseline": 0.0}
                value = part["difference_mev"].item()
                rows.append(metric_row(inputs, f"{group}_doping", "meV", value, **about))
    keep = ["record", "group", "seed", "support", "difference_mev", "reference_mev"]
    return pd.concat(parts, ignore_index=True)[keep], metric_table(rows)


def _each(table: pd.DataFrame) -> Iterator[tuple[str, int, pd.DataFrame]]:
    for (group, seed), part in table.groupby(["group", "seed"], sort=False):
        yield str(group), int(str(seed)), part


def fig2c(inputs: Inputs) -> Result:
    """Force on the upright dimer against the distance of its lower atom from the oxygen below.

    Tidy: group, seed, support, gold_oxygen_a, force_ev_per_a (of both gold atoms, away from the
    slab) and reference_ev_per_a. Metrics per support: {group}_{support}_force_rmse beside that of
    no force, and {group}_{support}_rest, the distance (A) at which the force changes its sign; the
    reference's is reference_{support}_rest.
    """
    table = _supports(inputs, "curve")
    names = {"force_z_ev_per_a": "force_ev_per_a"}
    names |= {"force_z_reference_ev_per_a": "reference_ev_per_a"}
    keep = ["group", "seed", "support", "gold_oxygen_a", *names.values()]
    tidy = table.rename(columns=names)[keep].sort_values(keep[:4], kind="stable")
    rows = []
    for support, own in tidy.groupby("support"):
        for group, seed, part in _each(own):
            known, said = part["reference_ev_per_a"], part["force_ev_per_a"]
            about: dict[str, Any] = {"seed": seed, "training": group}
            error, trivial = measure.rmse(known, said), measure.rmse(known, 0.0 * known)
            name = f"{group}_{support}_force_rmse"
            rows.append(metric_row(inputs, name, "eV/A", error, baseline=trivial, **about))
            if np.isfinite(rest := _rest(part["gold_oxygen_a"], said)):
                rows.append(metric_row(inputs, f"{group}_{support}_rest", "A", rest, **about))
        rest = _rest(part["gold_oxygen_a"], known)
        rows.append(metric_row(inputs, f"reference_{support}_rest", "A", rest, training=NONE))
    return tidy, metric_table(rows)


def _rest(distance: pd.Series, force: pd.Series) -> float:
    """Return where a force first turns from pushing to pulling; NaN where it does not."""
    x, f = distance.to_numpy(), force.to_numpy()
    turns = np.flatnonzero((f[:-1] > 0) & (f[1:] <= 0))
    if not len(turns):
        return float("nan")
    k = int(turns[0])
    return float(x[k] + (x[k + 1] - x[k]) * f[k] / (f[k] - f[k + 1]))


def au_mgo_methods(
    inputs: Inputs, methods: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]
) -> Result:
    """Errors on gold on MgO, parameters and seconds a step, beside what others published.

    `methods` are published errors by name: energy (meV/atom), force (eV/A) and source, of DFT
    frames and of other divisions of them; `labels` are names of our training groups. Tidy: source
    (ours or published), model, seed, the errors of test frames, n_parameters, step_s (seconds of
    training a step, on whatever ran it: a ratio means something, the value does not), split.
    Metrics: {group}_energy_rmse, _force_rmse and _parameters.
    """
    tidy, rows = [], []
    for group in inputs.groups():
        entry = inputs.group(group)
        for _, seed, folder in inputs.cells(group):
            summary = inputs.summary(folder)
            scores = errors_of(summary, "test") | {"n_parameters": int(summary["n_parameters"])}
            steps = np.ceil(summary["n_train"] / entry["settings"]["batch_size"])
            step = summary["wall_s"] / summary["epochs_run"] / steps
            about = {"source": "ours", "model": labels[group], "seed": seed}
            tidy.append(about | scores | {"step_s": step, "split": "passes of a path held out"})
            measures = ("energy_rmse", "force_rmse", "parameters")
            rows += score_rows(inputs, group, measures, scores, seed, training=group)
    for name, known in methods.items():
        errors = {
            "energy_rmse_mev_per_atom": known["energy"],
            "force_rmse_ev_per_a": known["force"],
        }
        tidy.append({"source": "published", "model": name, **errors, "split": known["source"]})
    return pd.DataFrame(tidy), metric_table(rows)


def reach(inputs: Inputs) -> Result:
    """What networks can feel, counted in edges, against what they do feel.

    Gold is that of the other groups; the toy comes from a measurement of the kind charge_probe and
    the group receptive_field.

    Tidy: system (gold or toy), group, seed, network_layers, hops (edges between the two ends: gold
    and aluminium, or both unit charges), slab_layers, felt (what the network says of the far end)
    and exact; meV or eV/A. For the toy these are root mean squares over media. Metrics:
    gold_{slab layers}_network_{layers}_felt (meV, beside nothing) and _share, and
    toy_network_{layers}_hops_{hops}_felt (eV/A) and _share; blind_felt_gold and blind_felt_toy, the
    largest that any network feels beyond twice as many edges as it has layers.
    """
    gold = _doping(_wetting(_supports(inputs, "slab")))
    count = {g: inputs.group(g)["hyperparameters"]["layers"] for g in set(gold["group"])}
    gold = gold.assign(network_layers=gold["group"].map(count))
    gold = gold.rename(columns={"layers": "slab_layers"})
    gold = gold.rename(columns={"difference_mev": "felt", "reference_mev": "exact"})
    probe = _of_kind(inputs, "charge_probe")
    alone = {"measurements": {probe: inputs.card["measurements"][probe]}}
    of_probe = Inputs(inputs.root, inputs.card | alone)
    toy = against_distance(of_probe, "receptive_field", FORCE).dropna(subset=["hops"])
    law = "coulomb_force_ev_per_a"
    squares = toy.assign(felt=np.square(toy["force_difference_ev_per_a"]), exact=toy[law] ** 2)
    keys = ["group", "seed", "layers", "hops"]
    toy = squares.groupby(keys)[["felt", "exact"]].mean().pow(0.5).reset_index()
    toy = toy.rename(columns={"layers": "network_layers"})
    tidy = pd.concat([gold.assign(system="gold"), toy.assign(system="toy")], ignore_index=True)
    tidy["blind"] = tidy["hops"] > 2 * tidy["network_layers"]
    rows = []
    row: Any
    for row in tidy.itertuples():
        layers, seed = int(row.network_layers), int(row.seed)
        about: dict[str, Any] = {"seed": seed, "training": row.group, "baseline": 0.0}
        place = f"gold_{row.slab_layers:g}_network_{layers}"
        if row.system == "toy":
            place, about["training"] = f"toy_network_{layers}_hops_{row.hops:g}", "receptive_field"
        about["dataset"] = _dataset(inputs, about["training"])
        unit = "meV" if row.system == "gold" else "eV/A"
        rows.append(metric_row(inputs, f"{place}_felt", unit, row.felt, **about))
        rows.append(metric_row(inputs, f"{place}_share", "", row.felt / row.exact, **about))
    for system, unit in (("gold", "meV"), ("toy", "eV/A")):
        own = tidy[(tidy["system"] == system) & tidy["blind"]]
        group = own["group"].iloc[0] if len(own) else ""
        about = {"training": NONE, "dataset": _dataset(inputs, group) if group else None}
        largest = own["felt"].abs().max() if len(own) else np.nan
        if np.isfinite(largest):
            rows.append(metric_row(inputs, f"blind_felt_{system}", unit, largest, **about))
    keep = ["system", "group", "seed", "network_layers", "slab_layers", "hops", "felt", "exact"]
    return tidy[[*keep, "blind"]], metric_table(rows)


def _dataset(inputs: Inputs, group: str) -> str:
    return str(inputs.group(group)["dataset"])


# --- the molecular liquid -------------------------------------------------------------------------


def p4_cause(inputs: Inputs) -> Result:
    """Is it the distance between molecules that cannot be learned? Errors against the cutoff.

    Tidy: cutoff, seed, part (rigid: what moves and turns whole molecules; internal), rmse_ev_per_a,
    rms_ev_per_a (of the reference), rigid_share. Metrics per cutoff: {part}_cutoff_{cutoff}_rmse
    (eV/A) beside no force, and rigid_share, of the square of the reference's forces.
    """
    ((group,), (name,)) = inputs.groups(), inputs.measurements()
    table = inputs.measurement(name)
    cells = {folder.parent.name: keys["cutoff"] for keys, _, folder in inputs.cells(group)}
    table["cutoff"] = table["cell"].map(cells)
    tidy, rows = [], []
    for row in table.to_dict("records"):
        about: dict[str, Any] = {"seed": row["seed"], "training": f"{group}/{row['cell']}"}
        for part in ("rigid", "internal"):
            error, size = (row[f"{part}_{what}_ev_per_a"] for what in ("rmse", "rms"))
            quantity = f"{part}_cutoff_{row['cutoff']:g}_rmse"
            rows.append(metric_row(inputs, quantity, "eV/A", error, baseline=size, **about))
            known = {"cutoff": row["cutoff"], "seed": row["seed"], "part": part}
            sizes = {"rmse_ev_per_a": error, "rms_ev_per_a": size}
            tidy.append(known | sizes | {"rigid_share": row["rigid_share"]})
    share = float(table["rigid_share"].iloc[0])
    rows.append(metric_row(inputs, "rigid_share", "", share, training=NONE))
    return pd.DataFrame(tidy), metric_table(rows)

"""Tables of kang2024 (non-local electrostatics learned by message passing) that no kind makes.

The quantity that the paper plots is the difference between configuration I (with the -1e) and II
(without), in the same medium, of the force on the +1e along the line to the -1e: exactly k/d^2,
whatever the medium. The trivial baseline is a local potential without overlap: no difference.

Units: eV, Angstrom, meV/atom.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.errors import errors_of, score_rows
from gnnip.artefacts.force_against_distance import against_distance
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import ForceAgainstDistance
from gnnip.artefacts.tables import Result, metric_row, metric_table
from gnnip.datasets.arrays import FrameArrays

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
    again = [au_mgo.label(*shown.structure(i)[:3])["forces_total"] for i in range(shown.n_frames)]
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
        cost = _wetting(frames, support)
        known = PUBLISHED_WETTING.get(support, np.nan)
        rows.append(("wetting", support, inputs.reference(ours), None, cost))
        rows.append(("wetting", support, "stand-in", None, _wetting(drawn, support)))
        rows.append(("wetting", support, "published", None, known))
        metrics.append(
            metric_row(inputs, f"{support}_wetting", "meV", cost, baseline=known, **about)
        )
    tidy = pd.DataFrame(rows, columns=["record", "name", "source", "x", "value"])
    return tidy, metric_table(metrics)


_ELEMENTS = {"O": 8, "Mg": 12, "Al": 13, "Au": 79}


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")


def _wetting(frames: FrameArrays, support: str) -> float:
    """Return E(wetting) - E(non-wetting) of the relaxed structures, meV; NaN where one is
    missing."""
    found = []
    for configuration in ("wetting", "non_wetting"):
        relaxed = (frames.column("purpose") == "fig2b") & (frames.column("support") == support)
        chosen = np.flatnonzero(relaxed & (frames.column("configuration") == configuration))
        found.append(frames.energies["total"][chosen[0]] if len(chosen) else np.nan)
    return float(1000.0 * (found[0] - found[1]))

"""A finished run of kang2024, made up from a rule instead of trained potentials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from made_up_run import ROOT, Error, Run, make_run

from gnnip.datasets.assembly import draw_structures
from gnnip.datasets.splits import make_split
from gnnip.measurements import charge_probe
from gnnip.units import COULOMB_CONSTANT

PLAN = {
    "distances": list(range(4, 13)),
    "train_draws": 4,
    "test_draws": 3,
    "kept_fractions": [1.0, 0.5, 0.25, 0.1, 0.0],
    "width": 4.0,
    "margin": 3.0,
}
OPTIONAL = ("au_mgo_examples", "au_mgo_relaxed")
#: E(wetting) - E(non-wetting), eV, with the dimer of the undoped support, by layers of the
#: slab, and the edges of 6 A between gold and aluminium
UNDOPED, DOPED = 0.935, {6: -0.035, 12: 0.271, 14: 0.273, 18: 0.273}
HOPS = {6: 3, 12: 6, 14: 7, 18: 9}
#: of the made-up potentials on gold: layers, or what else they are
GOLD = {"au_gnn": 4, "au_two_layers": 2, "au_one_layer": 1, "au_pair": 1, "au_schnet": 4}
#: (group, distance, hops) -> share of k/d^2 that the made-up potential predicts
Share = Callable[[str, float, float], float]


def kang_run(root: Path, share: Share) -> Run:
    """Write a run of the card at tier paper in which every potential follows `share`."""
    data = {
        "point_charges": draw_structures("point_charges", PLAN, root / "point_charges.h5"),
        **{name: ROOT / f"data/{name}.h5" for name in ("au_mgo", "p4")},
    }
    # nobody needs to have the optional ones: any frames stand in for them
    data |= dict.fromkeys(OPTIONAL, ROOT / "data/au_mgo.h5")
    off = Error(per_atom=10.0, force=0.02)
    run = make_run(root, "kang2024", data, lambda training: off)
    hops = charge_probe.hops_between_charges(run.frames["point_charges"], 5.0)
    rng = np.random.default_rng(3)
    probed = run.card.measurements["charge_probe"].trainings
    folders = run.pipeline.training_folders("kang2024", "paper", probed)
    probes = []
    for group, cell, seed, _ in folders:
        about = {"group": group, "cell": cell.name, "seed": seed}
        split = run.card.training(group, cell).split
        # that of the published networks, unless the cell says otherwise
        layers = dict(cell.values).get("layers", 5)
        probes.append(_probe(run, about, split, hops, share, rng, layers))
    run.write("charge_probe", pd.concat(probes))
    run.write("supports", _supports(run, blind=share is short_sighted))
    run.write("p4_molecules", _molecules(run, seeing=share is perfect))
    return run


def _probe(
    run: Run,
    about: dict[str, Any],
    split: dict[str, Any],
    hops: np.ndarray,
    share: Share,
    rng: np.random.Generator,
    layers: int,
) -> pd.DataFrame:
    """Return what `probe_charges` writes of one training: what the medium does to the +1e is known,
    the -1e is felt by a share."""
    arrays = run.frames["point_charges"]
    options = dict(split)
    test = make_split(arrays, options.pop("scheme"), about["seed"], **options)["test"]
    distance, first = (arrays.column(c)[test] for c in ("distance_a", "configuration"))
    first = first == "I"
    exact = arrays.force("coulomb")[arrays.offsets[test], 2]
    shares = [share(about["group"], x, h) for x, h in zip(distance, hops[test], strict=True)]
    sees = ~(hops[test] > 2 * layers)
    shares = np.where(sees, shares, 0.0)
    felt = np.where(first, (shares - 1.0) * COULOMB_CONSTANT / distance**2, 0.0)
    noise = {medium: rng.normal(0, 0.002) for medium in arrays.column("medium")[test]}
    noisy = sees * np.array([noise[m] for m in arrays.column("medium")[test]])
    return pd.DataFrame(
        {
            **about,
            "frame": test,
            **{c: arrays.column(c)[test] for c in charge_probe.COLUMNS},
            "hops": hops[test],
            "force_z_ev_per_a": exact + felt + noisy * first,
            "force_z_reference_ev_per_a": exact,
            "atomic_energy_ev": -0.2 * first + noisy,
        }
    )


def perfect(group: str, distance: float, hops: float) -> float:
    """The whole force, wherever a path of edges joins the charges."""
    return float(np.isfinite(hops)) if group == "dilution" else 1.0


def short_sighted(group: str, distance: float, hops: float) -> float:
    """Nothing beyond the cutoff."""
    return float(distance < 5.0)


def _measured(run: Run, measurement: str) -> list[dict[str, Any]]:
    stated = run.card.measurements[measurement].trainings
    found = run.pipeline.training_folders("kang2024", "paper", stated)
    return [{"group": group, "cell": cell.name, "seed": seed} for group, cell, seed, _ in found]


def _supports(run: Run, blind: bool) -> pd.DataFrame:
    """Return what `measure_supports` would write: networks that reach aluminium know the reference,
    others the undoped support alone; all of them as one layer where `blind`."""
    frames, rows = run.frames["au_mgo"].subset(_of_figures(run)), []
    gold = np.repeat(np.arange(frames.n_frames), frames.n_atoms)[frames.numbers == 79]
    force = np.bincount(gold, frames.force("total")[frames.numbers == 79, 2])
    columns = ["support", "configuration", "gold_oxygen_a"]
    known = pd.DataFrame({c: frames.column(c) for c in columns}).assign(layers=6, hops=3.0)
    record = np.where(frames.column("purpose") == "fig2b", "relaxed", "curve")
    known = known.assign(record=record, energy=frames.energy("total"), force=force)
    slabs = [
        {"record": "slab", "layers": n, "support": s, "configuration": c, "hops": float(HOPS[n])}
        | {"energy": (c == "wetting") * (UNDOPED if s == "undoped" else DOPED[n]), "force": 0.0}
        for n in DOPED
        for s in ("undoped", "doped")
        for c in ("wetting", "non_wetting")
    ]
    known = pd.concat([known, pd.DataFrame(slabs)], ignore_index=True)
    names = {"energy": "energy_reference_ev", "force": "force_z_reference_ev_per_a"}
    for about in _measured(run, "supports"):
        layers = 1 if blind else GOLD.get(about["group"], 9)
        own = known.rename(columns=names).assign(**about)
        sees = (own["support"] == "undoped") | (own["hops"] <= 2 * layers)
        undoped = (own["configuration"] == "wetting") * UNDOPED
        worse = 0.05 * (about["group"] == "au_charges")
        off = worse * (own["configuration"] == "wetting")
        own["energy_ev"] = np.where(sees, own["energy_reference_ev"], undoped) + off
        own["force_z_ev_per_a"] = np.where(sees, own["force_z_reference_ev_per_a"], 0.0) + worse
        rows.append(own)
    return pd.concat(rows, ignore_index=True)


def _of_figures(run: Run) -> np.ndarray:
    return np.flatnonzero(np.isin(run.frames["au_mgo"].column("purpose"), ["fig2b", "fig2c"]))


def _molecules(run: Run, seeing: bool) -> pd.DataFrame:
    """Return what `divide_forces` would write: a longer cutoff lowers the rigid part where
    `seeing`."""
    rows = []
    for about in _measured(run, "p4_molecules"):
        cutoff = float(about["cell"].removeprefix("cutoff-"))
        rigid = 0.2 * (6.0 / cutoff if seeing else 1.0) + 0.001 * about["seed"]
        errors = {"rigid_rmse_ev_per_a": rigid, "internal_rmse_ev_per_a": 0.1}
        sizes = {"rigid_rms_ev_per_a": 0.3, "internal_rms_ev_per_a": 1.5, "rigid_share": 0.04}
        rows.append(about | errors | sizes)
    return pd.DataFrame(rows)

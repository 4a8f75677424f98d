"""A finished run of kang2024, made up from a rule instead of trained potentials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from made_up_run import Error, Run, make_run

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
#: (group, distance, hops) -> share of k/d^2 that the made-up potential predicts
Share = Callable[[str, float, float], float]


def kang_run(root: Path, share: Share) -> Run:
    """Write a run of the card at tier paper in which every potential follows `share`."""
    data = draw_structures("point_charges", PLAN, root / "point_charges.h5")
    off = Error(per_atom=10.0, force=0.02)
    run = make_run(root, "kang2024", {"point_charges": data}, lambda training: off)
    hops = charge_probe.hops_between_charges(run.frames["point_charges"], 5.0)
    rng = np.random.default_rng(3)
    folders = run.pipeline.training_folders("kang2024", "paper", list(run.card.trainings))
    probes = []
    for group, cell, seed, _ in folders:
        about = {"group": group, "cell": cell.name, "seed": seed}
        split = run.card.training(group, cell).split
        probes.append(_probe(run, about, split, hops, share, rng))
    run.write("charge_probe", pd.concat(probes))
    return run


def _probe(
    run: Run,
    about: dict[str, Any],
    split: dict[str, Any],
    hops: np.ndarray,
    share: Share,
    rng: np.random.Generator,
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
    felt = np.where(first, (np.array(shares) - 1.0) * COULOMB_CONSTANT / distance**2, 0.0)
    noise = {medium: rng.normal(0, 0.002) for medium in arrays.column("medium")[test]}
    noisy = np.array([noise[m] for m in arrays.column("medium")[test]])
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

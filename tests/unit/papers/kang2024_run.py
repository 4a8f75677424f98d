"""A finished run of kang2024, made up from a rule instead of trained potentials."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from gnnip.config.cards import Cell, TrainingGroup, plan_training, resolve

from gnnip.artefacts.inputs import Inputs
from gnnip.datasets.assembly import draw_structures
from gnnip.datasets.splits import make_split
from gnnip.datasets.store import load_arrays
from gnnip.measurements import charge_probe
from kang2024.tables import coulomb_force

REPOSITORY = Path(__file__).resolve().parents[2]
PLAN = {
    "distances": list(range(4, 13)),
    "train_draws": 4,
    "test_draws": 3,
    "kept_fractions": [1.0, 0.5, 0.25, 0.1, 0.0],
    "width": 4.0,
    "margin": 3.0,
}
#: share(group, keys, distance, hops) of k/d^2 that the made-up potential predicts
Share = Callable[[str, dict, float, float], float]


def make_run(root: Path, share: Share, tier: str = "paper") -> Inputs:
    """Write results/{tier} of a run of the real card in which every potential follows `share`."""
    card = resolve("kang2024", tier, folder=REPOSITORY / "papers").model_dump(mode="json")
    folder = root / tier / "kang2024"
    data = root / tier / "datasets" / "point_charges.h5"
    data.parent.mkdir(parents=True)
    arrays = load_arrays(draw_structures("point_charges", PLAN, data))
    inputs = Inputs(folder, card, tier)
    rng = np.random.default_rng(3)
    hops = charge_probe.hops_between_charges(arrays, 5.0)
    probes = []
    for group in card["trainings"]:
        for keys, seed, place in inputs.cells(group):
            entry = TrainingGroup.model_validate(card["trainings"][group])
            options = dict(plan_training(entry, Cell("", tuple(keys.items()))).split)
            split = make_split(arrays, options.pop("scheme"), seed, **options)
            place.mkdir(parents=True)
            rows = []
            for subset in ("validation", "test"):
                for frame in split[subset]:
                    energy = arrays.energy("coulomb")[frame]
                    size = np.sqrt(np.mean(arrays.force("coulomb")[arrays.atom_slice(frame)] ** 2))
                    rows.append(
                        {
                            "frame": frame,
                            "subset": subset,
                            "energy_reference_ev": energy,
                            "energy_predicted_ev": energy + 0.01 * arrays.n_atoms[frame],
                            "force_rmse_ev_per_a": 0.02,
                            "force_rms_reference_ev_per_a": size,
                        }
                    )
            pd.DataFrame(rows).to_csv(place / "predictions.csv", index=False)
            summary = {"n_parameters": 100 + 10 * seed, "wall_s": 5.0}
            for subset in ("validation", "test"):
                summary |= {
                    f"{subset}_force_rmse_ev_per_a": 0.02,
                    f"{subset}_energy_rmse_mev_per_atom": 10.0,
                }
            (place / "summary.json").write_text(json.dumps(summary))
            test = split["test"]
            d = arrays.column("distance_a")[test]
            first = arrays.column("configuration")[test] == "I"
            exact = arrays.force("coulomb")[arrays.offsets[test], 2]
            # what the medium does to the +1e is known; the -1e is felt by a share
            shares = np.array(
                [share(group, keys, x, h) for x, h in zip(d, hops[test], strict=True)]
            )
            felt = np.where(first, (shares - 1.0) * coulomb_force(d), 0.0)
            noise = {medium: rng.normal(0, 0.002) for medium in arrays.column("medium")[test]}
            noisy = np.array([noise[m] for m in arrays.column("medium")[test]])
            probes.append(
                pd.DataFrame(
                    {
                        "group": group,
                        "cell": place.parent.name,
                        "seed": seed,
                        "frame": test,
                        **{c: arrays.column(c)[test] for c in charge_probe.COLUMNS},
                        "hops": hops[test],
                        "force_z_ev_per_a": exact + felt + noisy * first,
                        "force_z_reference_ev_per_a": exact,
                        "atomic_energy_ev": -0.2 * first + noisy,
                    }
                )
            )
    steps = folder / "steps"
    steps.mkdir()
    pd.concat(probes).to_csv(steps / "charge_probe.csv", index=False)
    return inputs


def perfect(group: str, keys: dict, distance: float, hops: float) -> float:
    """The whole force, wherever a path of edges joins the charges."""
    return float(np.isfinite(hops)) if group == "dilution" else 1.0


def short_sighted(group: str, keys: dict, distance: float, hops: float) -> float:
    """Nothing beyond the cutoff."""
    return float(distance < 5.0)

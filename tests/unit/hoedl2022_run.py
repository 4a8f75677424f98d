"""A finished run of hoedl2022, made up from rules instead of trained potentials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from made_up_run import ROOT, Error, Run, make_run
from made_up_tables import conservation_table

from hoedl2022 import ion_pair
from hoedl2022.measurements import CONTACTS

#: force error of the arms, eV/Å, and energy error, meV/atom
FORCE = {"ean_as_coded": 0.30, "ean_corrected": 0.20, "ean_neuralil": 0.10}
ENERGY = {"ani_small": 30.0, "ani_medium": 12.0, "ani_corrected": 6.0}


def hoedl_run(
    root: Path, *, dissociates: bool = True, permutation: float = 1e-9, moved: float = 20.0
) -> Run:
    """Write a run of the card at tier long; with `dissociates` potentials are right about it,
    `permutation` is how far the order of atoms moves the energy of the network as coded, and
    `moved` how far moving the atoms moves that of every network, meV/atom."""

    def error(training):
        return Error(
            per_atom=ENERGY.get(training.group, 20.0), force=FORCE.get(training.group, 0.15)
        )

    archives = {name: ROOT / "data" / f"{name}.h5" for name in ("ean", "ani")}
    run = make_run(root, "hoedl2022", archives, error, tier="long")
    stated = run.card.measurements
    names = {m: [f"{g}/all/seed-0" for g in stated[m].trainings] for m in stated}
    run.write("ion_pair", _curves(names["ion_pair"], 1.0 if dissociates else 0.1))
    run.write("hot_bonds", _bonds(names["hot_bonds"], 8 if dissociates else 0))
    for name in ("ean_speed", "ean_times", "ani_speed"):
        run.write(name, _speed(stated[name].trainings))
    run.write("attention", _attention())
    run.write("features", _features(stated["features"].trainings, permutation, moved))
    steps = stated["conservation"].options["order"]["time_steps"]
    orders = {n: 2.0 if "corrected" in n else 1.0 for n in names["conservation"]}
    run.write("conservation", conservation_table(orders, steps))
    return run


def _curves(potentials: list[str], share: float) -> pd.DataFrame:
    exact = [x if name == "N...O" else 0.1 * x for name, x, _ in ion_pair.points()]
    whole = ion_pair.relative(exact)
    parts = [whole.assign(potential="reference")]
    parts += [whole.assign(potential=p, energy_ev=share * whole["energy_ev"]) for p in potentials]
    some = whole[(whole["coordinate"] == "N...O") & (whole.index % 4 == 0)]
    return pd.concat([*parts, some.assign(potential="wB97X")], ignore_index=True)


def _bonds(potentials: list[str], broken: int) -> pd.DataFrame:
    rows = []
    for potential in ("reference", *potentials):
        many = 8 if potential == "reference" else broken
        for replica in (0, 1):
            for time in (0.0, 100.0, 200.0):
                count = round(many * time / 200.0)
                rows.append((potential, replica, time, count, count, 26, 0))
    columns = ["potential", "replica", "time_fs", "broken", "broken_n_h", "bonds", "failed"]
    return pd.DataFrame(rows, columns=columns)


def _speed(groups: list[str]) -> pd.DataFrame:
    rows = []
    for group in groups:
        seconds = 0.04 if "neuralil" in group else 0.01
        for work in ("training", "evaluation"):
            if (group, work) != ("ean_ace", "training"):
                rows.append((group, work, seconds, 1000, 8, 1, "a processor"))
    columns = ["group", "work", "seconds", "n_parameters", "batch_size", "threads", "hardware"]
    return pd.DataFrame(rows, columns=columns)


def _attention() -> pd.DataFrame:
    parts = []
    for weights, scale in (("trained", 0.2), ("untrained", 0.02)):
        for k, contact in enumerate(CONTACTS):
            r = np.arange(1.125, 5.0, 0.25)
            table = {"distance_a": r, "attention": scale * np.exp(-r / (1 + k)), "pairs": 10}
            about = {"group": "ean_corrected", "weights": weights, "contact": contact}
            parts.append(pd.DataFrame(table).assign(**about))
    return pd.concat(parts, ignore_index=True)


def _features(groups: list[str], permutation: float, moved: float) -> pd.DataFrame:
    rows = []
    for group in groups:
        open_ones = ("additivity", "locality", "ghost")
        own = ("periodicity",) if group.startswith("ean") else open_ones
        for seed in range(3):
            for feature in ("permutation", "rotation", "translation", "displacement", *own):
                change = permutation if group == "ani_as_coded" else 1e-9
                known = {"permutation": change, "ghost": 5.0, "displacement": moved}
                change = known.get(feature, 1e-9)
                rows.append((group, seed, 35.0, feature, change))
    columns = ["group", "seed", "reach_a", "feature", "change_mev_per_atom"]
    return pd.DataFrame(rows, columns=columns)

"""A finished run of rajak2021, made up from a rule instead of trained potentials."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gnnip.config.cards import Cell, TrainingGroup, plan_training, resolve

from gnnip.artefacts.inputs import Inputs
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.splits import make_split
from gnnip.measurements.dynamics import COLUMNS
from rajak2021.tables import FEWEST_PAIRS, arm_of

REPOSITORY = Path(__file__).resolve().parents[2]
ELEMENTS = {"sic": ("Si", "C"), "gese2": ("Se", "Ge")}
REPLICAS = 8


@dataclass(frozen=True)
class Rule:
    """What every potential of the made-up run does.

    error : energy RMSE (meV/atom) of an arm on test frames; forces are off by a tenth in eV/Å, and
        the training frames by four fifths of both.
    local_force : directed local force (eV/Å) of an arm, an ordered pair and a distance (Å).
    nearest : distance (Å) of the closest pairs that local forces are known of.
    failures : times (fs) of the replicas of (material, arm) that fail, and their closest pair.
    duration : of the dynamics, fs.
    left_out : training groups that no step measured.
    """

    error: Callable[[str], float]
    local_force: Callable[[str, str, str, float], float]
    failures: Callable[[str, str], tuple[list[float], str]]
    nearest: float = 1.5
    duration: float = 15000.0
    left_out: tuple[str, ...] = ()


def make_run(root: Path, rule: Rule, tier: str = "paper") -> Inputs:
    """Write results/{tier} of a run of the real card in which every potential follows `rule`."""
    card = resolve("rajak2021", tier, folder=REPOSITORY / "papers").model_dump(mode="json")
    folder = root / tier / "rajak2021"
    for dataset in ELEMENTS:
        target = root / tier / "datasets" / f"{dataset}.h5"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "data" / f"{dataset}.h5", target)
    inputs = Inputs(folder, card, tier)
    for group in card["trainings"]:
        _write_trainings(inputs, group, rule.error(arm_of(group)[1]))
    steps = folder / "steps"
    steps.mkdir(parents=True)
    for name, step in card["steps"].items():
        groups = [group for group in step["trainings"] if group not in rule.left_out]
        kind, material = name.rsplit("_", 1)
        make = {"local_forces": _local_forces, "dynamics": _dynamics, "conservation": _orders}
        table = make[kind](inputs, material, groups, rule)
        table.to_csv(steps / f"{name}.csv", index=False)
    return inputs


def inputs_of(run: Inputs, artefact: str) -> Inputs:
    """Return what the workflow lets one artefact see of the card: its own trainings and steps."""
    card, entry = run.card, run.card["artefacts"][artefact]
    own = {
        "trainings": {name: card["trainings"][name] for name in entry["trainings"]},
        "steps": {name: card["steps"][name] for name in entry["steps"]},
        "published": [b for b in card["published"] if b["artefact"] == artefact],
    }
    return replace(run, card=card | own)


def _write_trainings(inputs: Inputs, group: str, error: float) -> None:
    """Write energies off by `error` (meV/atom), up and down in turn, and a summary."""
    entry = TrainingGroup.model_validate(inputs.group(group))
    arrays = inputs.arrays(entry.dataset)
    size = np.sqrt(np.add.reduceat(np.square(arrays.force("total")).mean(1), arrays.offsets[:-1]))
    size /= np.sqrt(arrays.n_atoms)
    for keys, seed, place in inputs.cells(group):
        options = dict(plan_training(entry, Cell("", tuple(keys.items()))).split)
        split = make_split(arrays, options.pop("scheme"), seed, **options)
        place.mkdir(parents=True)
        parts = []
        for subset in ("validation", "test"):
            chosen = split[subset]
            energy = arrays.energy("total")[chosen]
            turns = np.where(np.arange(len(chosen)) % 2, 1.0, -1.0)
            parts.append(
                pd.DataFrame(
                    {
                        "frame": chosen,
                        "subset": subset,
                        **{c: arrays.column(c)[chosen] for c in ("temperature_k", "phase")},
                        "n_atoms": arrays.n_atoms[chosen],
                        "energy_reference_ev": energy,
                        "energy_predicted_ev": energy
                        + 1e-3 * error * turns * arrays.n_atoms[chosen],
                        "force_mae_ev_per_a": 0.08 * error,
                        "force_rmse_ev_per_a": 0.1 * error,
                        "force_rms_reference_ev_per_a": size[chosen],
                    }
                )
            )
        pd.concat(parts).to_csv(place / "predictions.csv", index=False)
        summary = {"n_parameters": 1000}
        for subset, share in (("train", 0.8), ("validation", 1.0), ("test", 1.0)):
            summary[f"{subset}_energy_rmse_mev_per_atom"] = share * error
            summary[f"{subset}_force_rmse_ev_per_a"] = share * 0.1 * error
        (place / "summary.json").write_text(json.dumps(summary))


def _local_forces(inputs: Inputs, material: str, groups: list[str], rule: Rule) -> pd.DataFrame:
    """Return what `tabulate_local_forces` writes; the first bin has too few pairs to be trusted."""
    rows = []
    for group in groups:
        for centre in ELEMENTS[material]:
            for neighbour in ELEMENTS[material]:
                for k, r in enumerate(np.arange(rule.nearest - 0.05, 7.0, 0.1)):
                    force = rule.local_force(arm_of(group)[1], centre, neighbour, r)
                    rows.append(
                        {
                            "group": group,
                            "cell": "all",
                            "seed": 0,
                            "centre": centre,
                            "neighbour": neighbour,
                            "distance_a": r,
                            "n_pairs": 200 if k else FEWEST_PAIRS - 1,
                            "radial_force_ev_per_a": 2.0 * force,
                            "radial_force_std_ev_per_a": 0.2,
                            "directed_force_ev_per_a": force if k else -50.0,
                            "directed_force_std_ev_per_a": 0.1,
                        }
                    )
    return pd.DataFrame(rows)


def _dynamics(inputs: Inputs, material: str, groups: list[str], rule: Rule) -> pd.DataFrame:
    """Return what `compare_dynamics` writes of a card whose reference did not move."""
    first, second = ELEMENTS[material]
    arrays = inputs.arrays(material)
    pairs = [f"{first}-{first}", f"{first}-{second}", f"{second}-{second}"]
    if material == "gese2":
        pairs[1] = "Se-Ge"
    triplets = inputs.card["steps"][f"dynamics_{material}"]["options"]["comparison"]["adf_triplets"]
    rows: list[tuple[Any, ...]] = []
    for number, group in enumerate(groups):
        name, arm = f"{group}/all/seed-0", arm_of(group)[1]
        times, pair = rule.failures(material, arm)
        lives = times + [rule.duration] * (REPLICAS - len(times))
        for replica, life in enumerate(lives):
            failed = replica < len(times)
            rows += _replica(name, replica, life, failed, pair, arrays, number)
        if times and len(times) < REPLICAS:
            rows += _frame(name, len(times), arrays, "")
        elif not times:
            rows += _frame(name, 0, arrays, "")
        if times:
            rows += _frame(name, 0, arrays, pair)
        for time in sorted({0.0, *times, rule.duration}):
            alive = sum(life > time for life in times) + REPLICAS - len(times)
            for key, shift in (("survival", 0.0), ("survival_low", -0.2), ("survival_high", 0.2)):
                value = float(np.clip(alive / REPLICAS + shift, 0.0, 1.0))
                rows.append((name, "survival", key, None, time, value, ""))
        shift = 0.1 * number
        rows += _curves(name, pairs, triplets, shift)
        rows += [
            (name, "vdos", "total", None, x, float(np.exp(-((x - 15.0 + shift) ** 2) / 20.0)), "")
            for x in np.linspace(0.0, 40.0, 30)
        ]
        rows.append((name, "speed", "alone_seconds_per_step", None, None, 0.01, "cpu"))
    rows += _curves("reference", pairs, triplets, 0.0)
    if any(rule.failures(material, arm_of(group)[1])[0] for group in groups):
        rows += [("dataset", "closest", pair, None, None, 1.6, "") for pair in pairs]
    for number, name in enumerate([*(f"{g}/all/seed-0" for g in groups), "noise_floor"]):
        error = 2.0 + number if name != "noise_floor" else 1.5
        rows += [(name, "rdf_error", pair, None, None, error, "") for pair in pairs]
        rows += [(name, "adf_error", triplet, None, None, error, "") for triplet in triplets]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _replica(
    name: str,
    replica: int,
    life: float,
    failed: bool,
    pair: str,
    arrays: FrameArrays,
    number: int,
) -> Iterator[tuple[Any, ...]]:
    atoms = float(arrays.n_atoms[0])
    for key, value, text in (
        ("n_atoms", atoms, ""),
        ("target_temperature_k", 1100.0, ""),
        ("simulated_fs", life, ""),
        ("failed", float(failed), "min-distance: too close" if failed else ""),
    ):
        yield name, "run", key, replica, None, value, text
    rng = np.random.default_rng(100 * number + replica)
    time = np.linspace(0.0, life, 40)
    level = 1e-3 * atoms * (20.0 * (1 - np.exp(-time / 200.0)) + 6.0 * rng.normal(size=40))
    if failed:
        level[-2:] -= 1e-3 * atoms * np.array([200.0, 3000.0])
    for key, values in (("potential_energy_ev", -900.0 + level), ("temperature_k", 1100.0 + level)):
        for t, value in zip(time, values, strict=True):
            yield name, "series", key, replica, t, value, ""
    if failed:
        yield name, "autopsy", "kind", replica, life, life, "collapse"
        for key, value in (
            ("pair_distance_a", 1.2 + 0.02 * replica),
            ("pair_ratio", 0.55),
            ("pair_share", 0.6),
        ):
            yield name, "autopsy", key, replica, life, value, pair
        yield name, "closest", pair, replica, life, 1.2 + 0.02 * replica, ""


def _frame(name: str, replica: int, arrays: FrameArrays, pair: str) -> Iterator[tuple[Any, ...]]:
    """Yield the first frame of the data set; two atoms of `pair`, if given, 1.2 Å apart."""
    from ase.data import chemical_symbols

    places = np.array(arrays.positions[arrays.atom_slice(0)], dtype=float)
    symbols = [chemical_symbols[z] for z in arrays.numbers[arrays.atom_slice(0)]]
    if pair:
        i, j = _two_of(symbols, pair)
        places[j] = places[i] + [0.0, 1.2, 0.0]
    for atom, (symbol, place) in enumerate(zip(symbols, places, strict=True)):
        text = " ".join(f"{x:.4f}" for x in place)
        yield name, "frame", symbol, replica, float(atom), np.nan, text


def _two_of(symbols: list[str], pair: str) -> tuple[int, int]:
    first, last = pair.split("-")
    i = symbols.index(first)
    return i, next(k for k, symbol in enumerate(symbols) if symbol == last and k != i)


def _curves(
    name: str, pairs: list[str], triplets: list[str], shift: float
) -> Iterator[tuple[Any, ...]]:
    for pair in pairs:
        for r in np.linspace(0.05, 5.95, 40):
            yield name, "rdf", pair, None, r, 5.0 * np.exp(-((r - 2.4 - shift) ** 2) / 0.1), ""
    for triplet in triplets:
        for angle in np.arange(2.0, 180.0, 4.0):
            density = 0.03 * np.exp(-((angle - 109.0 - 5 * shift) ** 2) / 300.0)
            yield name, "adf", triplet, None, angle, density, ""


def _orders(inputs: Inputs, material: str, groups: list[str], rule: Rule) -> pd.DataFrame:
    """Return what `measure_conservation` writes: order 2 with an envelope, 1 without."""
    options = inputs.card["steps"][f"conservation_{material}"]["options"]
    rows: list[tuple[Any, ...]] = []
    for group in groups:
        name = f"{group}/all/seed-0"
        power = 2.0 if arm_of(group)[1] in ("smooth", "nequip") else 1.0
        for replica in range(4):
            for step in options["order"]["time_steps"]:
                value = 0.1 * step**power * (1.0 + 0.1 * replica)
                drift = 0.01 * (-1) ** replica * step
                for key, number in (("fluctuation", value), ("drift", drift)):
                    unit = "mev_per_atom" if key == "fluctuation" else "mev_per_atom_ps"
                    rows.append((name, "conservation", f"{key}_{unit}", replica, step, number, ""))
            rows.append((name, "order", "exponent", replica, None, power, ""))
        for key, shift in (("mean", 0.0), ("low", -0.1), ("high", 0.1)):
            rows.append((name, "order", f"exponent_{key}", None, None, power + shift, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))


# --- rules ----------------------------------------------------------------------------------------


def _described(arm: str, centre: str, neighbour: str, r: float) -> float:
    """Return the local force that the paper describes, eV/Å."""
    if centre == neighbour == "Se":
        return 0.8 if r < 2.0 else -0.5 if r < 3.0 else 0.3 * np.exp(3.0 - r)
    repulsion = 2.0 * np.exp(-2.0 * (r - 1.5))
    well = 4.0 * np.exp(-(((r - 2.0) / 0.3) ** 2))
    return float(repulsion if centre == neighbour else repulsion - well)


def _fails_in(material: str, arm: str, *failing: str) -> tuple[list[float], str]:
    pair = {"sic": "Si-C", "gese2": "Se-Se"}[material]
    count = REPLICAS - 2 if f"{material}_{arm}" in failing else 0
    return [800.0 + 300.0 * k for k in range(count)], pair


#: every claim of the paper holds
AS_TOLD = Rule(
    error=lambda arm: {"gnn": 4.0, "decomposed": 2.0}.get(arm, 3.0),
    local_force=_described,
    failures=lambda material, arm: _fails_in(material, arm, "gese2_gnn", "gese2_nn2_gnn"),
)
#: none does
OPPOSITE = Rule(
    error=lambda arm: {"gnn": 2.0, "decomposed": 4.0}.get(arm, 3.0),
    local_force=lambda *about: -_described(*about),
    failures=lambda material, arm: (
        ([500.0 + 10.0 * k for k in range(REPLICAS)], {"sic": "Si-C", "gese2": "Ge-Ge"}[material])
        if (material, arm) in (("sic", "gnn"), ("gese2", "decomposed"))
        else ([], "")
    ),
)
#: none can be decided: short dynamics without failures, no near pairs, no graph network of SiC
UNDECIDED = Rule(
    error=AS_TOLD.error,
    local_force=_described,
    failures=lambda material, arm: ([], ""),
    nearest=2.2,
    duration=2000.0,
    left_out=("sic_gnn",),
)

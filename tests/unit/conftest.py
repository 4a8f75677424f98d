"""A finished run of gijon2023, made up: the tree of results that evaluation and figures read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gnnip.artefacts.inputs import Inputs
from gnnip.config.resolve import resolve
from gnnip.config.schema import TrainingGroup
from gnnip.config.trainings import describe as plan_training
from gnnip.config.trainings import expand
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.splits import make_split
from gnnip.datasets.store import write_frames
from gnnip.units import HARTREE

REPOSITORY = Path(__file__).resolve().parents[2]
SIZES = (20, 32, 47, 76, 100, 139, 190, 237)
TEMPERATURES = (50.0, 100.0, 150.0, 200.0)
#: relative errors of the six layers, as in the published table
ERRORS = {
    "crystal": (0.10, 0.110),
    "gat": (0.02, 0.005),
    "gcs": (0.03, 0.007),
    "ecc": (0.25, 0.018),
    "agnn": (0.06, 0.017),
    "general": (0.05, 0.014),
}


def made_up_frames(sizes: tuple[int, ...] = SIZES, per_trajectory: int = 2) -> FrameArrays:
    """Frames with plausible energies (eV) and lattice-like positions (Å), without any physics."""
    rng = np.random.default_rng(7)
    rows, blocks = [], []
    for n in sizes:
        side = int(np.ceil((3 * n) ** (1 / 3)))
        lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
        for replica in range(4):
            interior = (replica / 4 < n / 250) and n > 40
            for temperature in TEMPERATURES:
                for _ in range(per_trajectory):
                    noise = rng.normal(size=2)
                    atomic = (
                        -0.0165 * n + 1.5e-5 * n * temperature + 0.01 * np.sqrt(n / 50) * noise[0]
                    )
                    electronic = -0.02 - 0.0001 * n - 0.03 * interior + 0.004 * noise[1]
                    rows.append((n, temperature, f"n{n}-r{replica}", interior, atomic, electronic))
                    blocks.append(1.55 * lattice[: 3 * n] + 0.05 * rng.normal(size=(3 * n, 3)))
    n, temperature, trajectory, interior, atomic, electronic = map(
        np.array, zip(*rows, strict=True)
    )
    counts = np.array([len(block) for block in blocks])
    pushes = np.random.default_rng(8).normal(size=(2, counts.sum(), 3))
    return FrameArrays(
        positions=np.concatenate(blocks),
        numbers=np.concatenate([np.tile([8, 1, 1], count // 3) for count in counts]),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        energies={"atomic": atomic * HARTREE, "electronic": electronic * HARTREE},
        forces={"atomic": 0.5 * pushes[0], "electronic": 0.1 * pushes[1]},
        metadata={
            "n_molecules": n.astype(np.int64),
            "temperature_k": temperature,
            "trajectory": trajectory,
            "state": np.where(interior, "interior", "surface"),
        },
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )


@dataclass
class MadeUpRun:
    """Where the run is, and what it was made of."""

    inputs: Inputs
    frames: FrameArrays


def make_run(root: Path, tier: str = "paper", epochs: int = 150) -> MadeUpRun:
    """Write results/{tier} of a made-up run of the real card, every training and step of it."""
    card = resolve("gijon2023", tier, folder=REPOSITORY / "papers").model_dump(mode="json")
    frames = made_up_frames()
    folder = root / tier / "gijon2023"
    write_frames(root / tier / "datasets" / "water_anion.h5", frames, attributes={})
    rng = np.random.default_rng(11)
    for group, entry in card["trainings"].items():
        plan_group = TrainingGroup.model_validate(entry)
        for cell in expand(plan_group):
            plan = plan_training(plan_group, cell)
            for seed in range(entry["seeds"]):
                place = folder / "trainings" / group / cell.name / f"seed-{seed}"
                place.mkdir(parents=True)
                split = dict(plan.split)
                parts = make_split(frames, split.pop("scheme"), seed, **split)
                if "layer" in plan.hyperparameters:
                    layer = plan.hyperparameters["layer"]
                    scale = ERRORS[layer][plan.term == "electronic"]
                    scale *= _penalty(plan.hyperparameters)
                else:
                    scale = {"nequip": 0.004, "pair": 0.05}[plan.model]
                if plan.split["scheme"] != "random":
                    scale *= 1.8
                scale *= np.exp(0.08 * rng.normal())
                _write_training(place, frames, parts, plan.term, scale, epochs, rng)
    _write_steps(folder / "steps", frames, card, rng)
    return MadeUpRun(Inputs(folder, card, tier), frames)


def _penalty(hyperparameters: dict[str, object]) -> float:
    cutoff, n_conv, n_dense = (
        float(str(hyperparameters[k])) for k in ("cutoff", "n_conv", "n_dense")
    )
    few = max(0.0, 6.0 - cutoff) * 0.35 + (n_conv < 2) * 0.6 + (n_dense < 2) * 0.4
    wide = (
        0.4 if hyperparameters.get("input_width") and hyperparameters["layer"] == "crystal" else 1.0
    )
    return (1.0 + few) * wide * 32.0**0.1 / float(str(hyperparameters["channels"])) ** 0.1


def _write_training(
    folder: Path,
    frames: FrameArrays,
    parts: dict[str, np.ndarray],
    term: str,
    scale: float,
    epochs: int,
    rng: np.random.Generator,
) -> None:
    tables = []
    for subset in ("validation", "test"):
        chosen = parts[subset]
        terms = frames.terms if term == "total" else (term,)
        true = np.sum([frames.energies[t][chosen] for t in terms], axis=0)
        error = 1.25 * scale * HARTREE * rng.normal(size=len(chosen))
        tables.append(
            pd.DataFrame(
                {
                    "frame": chosen,
                    "subset": subset,
                    "n_molecules": frames.metadata["n_molecules"][chosen],
                    "temperature_k": frames.metadata["temperature_k"][chosen],
                    "trajectory": frames.metadata["trajectory"][chosen],
                    "n_atoms": frames.n_atoms[chosen],
                    "energy_reference_ev": true,
                    "energy_predicted_ev": true + error,
                }
            )
        )
    pd.concat(tables).to_csv(folder / "predictions.csv", index=False)
    epoch = np.arange(1, epochs + 1)
    curve = scale * HARTREE * (1.0 + 25.0 * np.exp(-epoch / 18.0))
    history = {
        "epoch": epoch,
        "train_loss": curve,
        "train_mae_ev": curve,
        "validation_mae_ev": curve * np.exp(0.15 * rng.normal(size=epochs)),
        "learning_rate": 1e-3,
        "seconds": 0.5,
    }
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    summary = {"n_parameters": 12345, "best_epoch": epochs, "n_train": len(parts["train"])}
    (folder / "summary.json").write_text(json.dumps(summary))


def _write_steps(
    folder: Path, frames: FrameArrays, card: dict[str, object], rng: np.random.Generator
) -> None:
    folder.mkdir(parents=True)
    timing = []
    for n in SIZES:
        for frame in range(3):
            for method, seconds in (
                ("solver", 0.10 * (n / 100) ** 1.7),
                ("network", 1.2e-3 * (0.5 + 0.5 * n / 100)),
                ("network_batched", 4e-4 * n / 100),
            ):
                timing.append(
                    {
                        "method": method,
                        "n_molecules": n,
                        "frame": frame,
                        "seconds": seconds * np.exp(0.05 * rng.normal()),
                        "repeats": 5,
                        "threads": 1,
                        "hardware": "a made-up processor",
                    }
                )
    pd.DataFrame(timing).to_csv(folder / "timing.csv", index=False)
    audit = []
    for group, layers in (("table1", tuple(ERRORS)), ("corrected", ("gat", "gcs"))):
        for layer in layers:
            for column, target in enumerate(("atomic", "electronic")):
                for seed in range(3):
                    own = ERRORS[layer][column] * np.exp(0.08 * rng.normal())
                    for move, change in (
                        ("none", 0.0),
                        ("rotation", 0.6 * own),
                        ("shift", 3.0 * own),
                        ("mirror", 0.7 * own),
                    ):
                        change = 1e-9 if group == "corrected" and change else change
                        audit.append(
                            {
                                "group": group,
                                "layer": layer,
                                "target": target,
                                "seed": seed,
                                "transformation": move,
                                "mae_ha": float(np.hypot(own, change)),
                                "change_ha": change,
                            }
                        )
    pd.DataFrame(audit).to_csv(folder / "symmetry_audit.csv", index=False)
    made_up_densities().to_csv(folder / "densities.csv", index=False)
    made_up_force_audit(frames, card).to_csv(folder / "force_audit.csv", index=False)
    made_up_dynamics().to_csv(folder / "dynamics.csv", index=False)


#: error of the made-up forces, eV/Å, by model and target
FORCE_ERRORS = {
    ("nequip", "total"): 0.06,
    ("nequip", "atomic"): 0.05,
    ("nequip", "electronic"): 0.03,
    ("pair", "total"): 0.3,
}


def made_up_force_audit(frames: FrameArrays, card: dict[str, Any]) -> pd.DataFrame:
    """Errors of forces with Gaussian noise, on a few frames of every size and state."""
    from gnnip.measurements.force_audit import measure

    rng = np.random.default_rng(12)
    few = frames.subset(np.arange(0, frames.n_frames, 16))
    rows = []
    for group in card["steps"]["force_audit"]["trainings"]:
        entry = TrainingGroup.model_validate(card["trainings"][group])
        for cell in expand(entry):
            plan = plan_training(entry, cell)
            terms = few.terms if plan.term == "total" else (plan.term,)
            true = np.sum([few.forces[t] for t in terms], axis=0)
            for seed in range(entry.seeds):
                noise = FORCE_ERRORS[plan.model, plan.term] * rng.normal(size=true.shape)
                about = {"group": group, "model": plan.model, "target": plan.term, "seed": seed}
                columns = ("state", "n_molecules")
                found = measure(few, plan.term, true + noise, "electronic", columns)
                rows += [{**about, **row} for row in found]
    return pd.DataFrame(rows)


def made_up_dynamics(n_replicas: int = 4) -> pd.DataFrame:
    """What `compare_dynamics` writes: a network like the reference, and pairs that fail early."""
    from gnnip.measurements.dynamics import COLUMNS

    rng = np.random.default_rng(13)
    rows: list[tuple[object, ...]] = []
    lives = {"forces/all/seed-0": 1.0, "forces_pair/all/seed-0": 0.1, "reference": 1.0}
    for potential, life in lives.items():
        failed = life < 1.0
        time = np.linspace(0.0, 1000.0 * life, 40)
        for replica in range(n_replicas):
            for name, value, text in (
                ("n_atoms", 96.0, ""),
                ("target_temperature_k", 100.0, ""),
                ("simulated_fs", 1000.0 * life, ""),
                ("failed", float(failed), "temperature: too hot" if failed else ""),
                *([] if failed else [("temperature_mean_k", 100.0 + replica, "")]),
                *([] if failed else [("drift_mev_per_atom_ps", 0.1 * (-1) ** replica, "")]),
                *([] if failed else [("fluctuation_mev_per_atom", 0.02, "")]),
            ):
                rows.append((potential, "run", name, replica, None, value, text))
            series = {
                "temperature_k": 100.0 + 8.0 * rng.normal(size=40) + 2.0 * failed * time,
                "potential_energy_ev": -13.0 + 0.05 * rng.normal(size=40),
                "conserved_energy_ev": -12.0 + 0.002 * rng.normal(size=40),
            }
            for name, values in series.items():
                for t, value in zip(time, values, strict=True):
                    rows.append((potential, "series", name, replica, t, value, ""))
            for t in time[::10]:
                rows.append((potential, "relabel", "electronic_energy_ev", replica, t, -0.5, ""))
                rows.append((potential, "relabel", "gyration_radius_a", replica, t, 4.3, ""))
                if potential != "reference":
                    error = 0.3 if failed else 0.05
                    rows.append(
                        (potential, "relabel", "force_rmse_ev_per_a", replica, t, error, "")
                    )
        for how in ("alone", "batched")[: 1 if potential == "reference" else 2]:
            seconds = 0.004 if potential == "reference" else 0.008 / (1 + (how == "batched"))
            rows.append((potential, "speed", f"{how}_seconds_per_step", None, None, seconds, "cpu"))
        if failed:
            continue
        r = np.linspace(0.1, 7.9, 40)
        for name in ("O-O", "O-H", "H-H"):
            for x, value in zip(r, np.exp(-np.square(r - 3.0)), strict=True):
                rows.append((potential, "rdf", name, None, x, value, ""))
        for name in ("O", "H"):
            for x in r:
                rows.append((potential, "profile", name, None, x, 5.0, ""))
        for x in np.linspace(0.0, 150.0, 40):
            rows.append((potential, "vdos", "total", None, x, float(x < 120.0), ""))
    for potential, error in (("forces/all/seed-0", 6.0), ("noise_floor", 5.0)):
        for record, name in (
            *(("rdf_error", pair) for pair in ("O-O", "O-H", "H-H")),
            *(("profile_error", element) for element in ("O", "H")),
            ("vdos_error", "total"),
        ):
            rows.append((potential, record, name, None, None, error, ""))
        rows.append(
            (potential, "relabel_error", "electronic_energy_ev", None, None, error / 50, "")
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def made_up_densities(n_molecules: int = 20) -> pd.DataFrame:
    """Two clusters on a lattice with a Gaussian electron at the side and in the middle."""
    from gnnip.measurements import electron_density as density

    rng = np.random.default_rng(3)
    axis = np.arange(-9.0, 9.1, 1.0)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    tables = []
    for state, centre in (("surface", [4.0, 1.0, 0.0]), ("interior", [0.0, 0.0, 0.0])):
        oxygens = 2.9 * (np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3) - 1.0)
        oxygens = oxygens[np.linalg.norm(oxygens - centre, axis=1) > 2.0][:n_molecules]
        turn = rng.normal(size=(len(oxygens), 2, 3))
        hydrogens = oxygens[:, None] + 0.96 * turn / np.linalg.norm(turn, axis=-1, keepdims=True)
        positions = np.concatenate([oxygens[:, None], hydrogens], axis=1).reshape(-1, 3)
        numbers = np.tile([8, 1, 1], len(oxygens))
        rho = np.exp(-np.square(np.linalg.norm(points - centre, axis=-1) / 2.0))
        vertices, triangles, level = density.isosurface(np.full(3, -9.0), 1.0, rho, 0.5)
        properties = {
            "frame": 0,
            "n_molecules": len(oxygens),
            "temperature_k": 50.0,
            "enclosed": 0.5,
            "energy_ha": -0.03,
            "label_ha": -0.03,
            "gyration_radius_a": 2.4,
            "level_per_bohr3": level,
        }
        tables.append(
            density.tidy_state(state, numbers, positions, vertices, triangles, properties)
        )
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="session")
def made_up_run(tmp_path_factory: pytest.TempPathFactory) -> MadeUpRun:
    """Return the made-up run at the paper tier."""
    return make_run(tmp_path_factory.mktemp("results"))

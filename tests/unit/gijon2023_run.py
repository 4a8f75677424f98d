"""A finished run of gijon2023, made up: its frames, its errors and its measurements."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from made_up_run import Error, Run, Training, labels, make_run
from made_up_tables import calibration_table

from gnnip.datasets.arrays import FrameArrays
from gnnip.units import HARTREE

SIZES = (20, 32, 47, 76, 100, 139, 190, 237)
TEMPERATURES = (50.0, 100.0, 150.0, 200.0)
#: errors of the six layers on both terms (Ha), as in the published table
ERRORS = {
    "crystal": (0.10, 0.110),
    "gat": (0.02, 0.005),
    "gcs": (0.03, 0.007),
    "ecc": (0.25, 0.018),
    "agnn": (0.06, 0.017),
    "general": (0.05, 0.014),
}
#: errors of the potentials with forces: energy (Ha), forces by term (eV/Å)
FORCE_ERRORS = {
    ("nequip", "total"): (0.004, 0.06),
    ("nequip", "atomic"): (0.004, 0.05),
    ("nequip", "electronic"): (0.004, 0.03),
    ("pair", "total"): (0.05, 0.3),
}
#: how many times as large the errors are on trajectories that are not seen
UNSEEN = 5.0
#: what each seed makes of an error
SEEDS = (0.95, 1.0, 1.06)


def anion_run(root: Path) -> Run:
    """Write a run of the card at the paper tier, with every measurement."""
    frames = {"water_anion": made_up_frames(), "water_anion_ladder": made_up_frames(ladder=True)}
    run = make_run(root, "gijon2023", frames, _error)
    run.write("timing", made_up_timing())
    run.write("symmetry_audit", made_up_audit())
    run.write("elsewhere", made_up_elsewhere(run))
    trained = [("tuned", f"layer-{layer}_target-electronic") for layer in ("gat", "gcs")]
    run.write("calibration", calibration_table(trained))
    run.write("densities", made_up_densities())
    run.write("force_audit", made_up_force_audit(run))
    run.write("dynamics", made_up_dynamics())
    return run


def _error(training: Training) -> Error:
    spec = training.spec
    if spec.model == "random_features":
        return Error(0.2 * HARTREE)
    if spec.model != "spektral":
        energy, force = FORCE_ERRORS[spec.model, spec.term]
        return Error(energy * HARTREE * SEEDS[training.seed], force=force)
    has = spec.hyperparameters
    few = max(0.0, 6.0 - has["cutoff"]) * 0.35 + (has["n_conv"] < 2) * 0.6
    lifted = 0.4 if has.get("input_width") and has["layer"] == "crystal" else 1.0
    schemes = {"random": 1.0, "columns": UNSEEN}
    harder = schemes.get(spec.split["scheme"], 1.8)
    scale = ERRORS[has["layer"]][spec.term == "electronic"] * SEEDS[training.seed]
    narrow = (32.0 / has["channels"]) ** 0.1
    # the search finds that a large rate helps, and that dropout and tanh hurt
    searched = training.group.startswith("search")
    rate = (0.003 / spec.settings["learning_rate"]) ** 0.2 if searched else 1.0
    dropped = 1.0
    if searched or training.group == "grid":
        dropped += (has.get("attn_dropout") == 0.5) + (has["activation"] == "tanh")
    return Error(scale * (1.0 + few) * lifted * harder * narrow * rate * dropped * HARTREE)


def made_up_frames(
    sizes: tuple[int, ...] = SIZES, per_trajectory: int = 2, ladder: bool = False
) -> FrameArrays:
    """Frames with plausible energies (eV) and lattice-like positions (Å), without any physics: of
    one trajectory of each size and temperature, or of replicas that go through all of these."""
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
                    atomic = n * (1.5e-5 * temperature - 0.0165)
                    atomic += 0.01 * np.sqrt(n / 50) * noise[0]
                    electronic = -0.02 - 0.0001 * n - 0.03 * interior + 0.004 * noise[1]
                    name = f"n{n}-r{replica}" if ladder else f"n{n}-t{temperature:g}"
                    rows.append((n, temperature, name, replica, interior, atomic, electronic))
                    blocks.append(1.55 * lattice[: 3 * n] + 0.05 * rng.normal(size=(3 * n, 3)))
    columns = map(np.array, zip(*rows, strict=True))
    n, temperature, trajectory, replica, interior, atomic, electronic = columns
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
            "replica": replica,
            "state": np.where(interior, "interior", "surface"),
        },
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )


def made_up_path_integrals() -> FrameArrays:
    """Frames of beads, whose atoms lie higher by the energy of their vibrations, and centroids."""
    frames = made_up_frames((20, 100, 237))
    beads = np.arange(frames.n_frames) % 2 == 0
    n = frames.metadata["n_molecules"]
    atomic = frames.energies["atomic"] + 0.012 * HARTREE * n * beads
    geometry = np.where(beads, "bead", "centroid")
    return replace(
        frames,
        energies=frames.energies | {"atomic": atomic},
        metadata=frames.metadata | {"geometry": geometry},
    )


def made_up_timing() -> pd.DataFrame:
    """Seconds of the solver and of the network, which rise with known powers of the size."""
    rng = np.random.default_rng(11)
    laws = {
        "solver": lambda n: 0.10 * (n / 100) ** 1.9,
        "network": lambda n: 1.2e-3 * (0.5 + 0.5 * n / 100),
        "network_batched": lambda n: 4e-4 * n / 100,
    }
    about = {"repeats": 5, "threads": 1, "hardware": "a made-up processor"}
    rows = [
        {"method": method, "n_molecules": n, "frame": frame, **about}
        | {"seconds": law(n) * np.exp(0.05 * rng.normal())}
        for n, frame in itertools.product(SIZES, range(3))
        for method, law in laws.items()
    ]
    return pd.DataFrame(rows)


def made_up_audit() -> pd.DataFrame:
    """What moving the test frames does: nothing to the corrected networks."""
    shares = {"none": 0.0, "rotation": 0.6, "shift": 3.0, "mirror": 0.7}
    groups = {"tuned": tuple(ERRORS), "corrected": ("gat", "gcs")}
    rows = []
    for group, layers in groups.items():
        for layer, (column, target), seed in itertools.product(
            layers, enumerate(("atomic", "electronic")), range(3)
        ):
            own = ERRORS[layer][column] * SEEDS[seed]
            about = {"group": group, "layer": layer, "target": target, "seed": seed}
            for move, share in shares.items():
                change = 1e-9 if group == "corrected" and share else share * own
                errors = {"mae_ev": HARTREE * np.hypot(own, change), "change_ev": HARTREE * change}
                rows.append({**about, "transformation": move, **errors})
    return pd.DataFrame(rows)


def made_up_elsewhere(run: Run) -> pd.DataFrame:
    """What the networks of the random split say of both sets, worse of the one they do not know."""
    tables = []
    for group, cell, seed, _ in run.pipeline.training_folders(run.card.id, "paper", ["tuned"]):
        keys = dict(cell.values)
        for name, harder in (("water_anion", 1.0), ("water_anion_ladder", UNSEEN)):
            frames = run.frames[name]
            energy = frames.energies[keys["target"]]
            error = ERRORS[keys["layer"]][keys["target"] == "electronic"] * SEEDS[seed] * harder
            about = {"group": group, "cell": cell.name, "seed": seed, "dataset": name}
            known = {"frame": np.arange(len(energy)), "energy_reference_ev": energy}
            off = np.where(known["frame"] % 2, 1.0, -1.0) * error * HARTREE
            tables.append(pd.DataFrame({**about, **known, "energy_ev": energy + off}))
    return pd.concat(tables, ignore_index=True)


def made_up_force_audit(run: Run) -> pd.DataFrame:
    """Errors of forces with Gaussian noise, on a few frames of every size and state."""
    from gnnip.measurements.force_audit import measure

    rng = np.random.default_rng(12)
    frames = run.frames["water_anion_ladder"]
    few = frames.subset(np.arange(0, frames.n_frames, 16))
    rows = []
    groups = run.card.measurements["force_audit"].trainings
    for group, cell, seed, _ in run.pipeline.training_folders(run.card.id, run.card.tier, groups):
        spec = run.card.training(group, cell)
        true = labels(few, spec.term, "forces")
        noise = FORCE_ERRORS[spec.model, spec.term][1] * rng.normal(size=true.shape)
        about = {"group": group, "model": spec.model, "target": spec.term, "seed": seed}
        found = measure(few, spec.term, true + noise, "electronic", ("state", "n_molecules"))
        rows += [{**about, **row} for row in found]
    return pd.DataFrame(rows)


def made_up_dynamics() -> pd.DataFrame:
    """What `compare_dynamics` writes: a network like the reference, and pairs that fail early."""
    from gnnip.measurements.dynamics import COLUMNS

    rng = np.random.default_rng(13)
    network, pairs, reference = "forces/all/seed-0", "forces_pair/all/seed-0", "reference"
    rows: list[tuple[Any, ...]] = []
    for potential, life in ((network, 1.0), (pairs, 0.1), (reference, 1.0)):
        for replica in range(4):
            rows += _replica(potential, replica, life, potential == reference, rng)
        if potential != pairs:  # no frame of the pairs is late enough
            rows += _structure(potential)
    speeds = [
        (p, *speed) for p in (network, pairs) for speed in (("alone", 0.008), ("batched", 0.004))
    ]
    for potential, how, seconds in [(reference, "alone", 0.004), *speeds]:
        rows.append((potential, "speed", f"{how}_seconds_per_step", None, None, seconds, "cpu"))
    distributions = [("rdf_error", pair) for pair in ("O-O", "O-H", "H-H")]
    distributions += [("profile_error", "O"), ("profile_error", "H"), ("vdos_error", "total")]
    for potential, error in ((network, 6.0), ("noise_floor", 5.0)):
        rows += [(potential, *place, None, None, error, "") for place in distributions]
        place = ("relabel_error", "electronic_energy_ev")
        rows.append((potential, *place, None, None, error / 50, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _replica(
    potential: str, replica: int, life: float, exact: bool, rng: np.random.Generator
) -> Iterator[tuple[Any, ...]]:
    failed = life < 1.0
    facts = {"n_atoms": 96.0, "target_temperature_k": 100.0, "simulated_fs": 1000.0 * life}
    if not failed:
        facts |= {"temperature_mean_k": 100.0 + replica, "fluctuation_mev_per_atom": 0.02}
        facts |= {"drift_mev_per_atom_ps": 0.1 * (-1) ** replica}
    for name, value in facts.items():
        yield potential, "run", name, replica, None, value, ""
    why = "temperature: too hot" if failed else ""
    yield potential, "run", "failed", replica, None, float(failed), why
    time = np.linspace(0.0, 1000.0 * life, 40)
    series = {
        "temperature_k": 100.0 + 8.0 * rng.normal(size=40) + 2.0 * failed * time,
        "potential_energy_ev": -13.0 + 0.05 * rng.normal(size=40),
        "conserved_energy_ev": -12.0 + 0.002 * rng.normal(size=40),
    }
    for name, values in series.items():
        for t, value in zip(time, values, strict=True):
            yield potential, "series", name, replica, t, value, ""
    seen = {"electronic_energy_ev": -0.5, "gyration_radius_a": 4.3}
    if not exact:
        seen |= {"force_rmse_ev_per_a": 0.3 if failed else 0.05}
    for name, value in seen.items():
        for t in time[::10]:
            yield potential, "relabel", name, replica, t, value, ""


def _structure(potential: str) -> Iterator[tuple[Any, ...]]:
    r = np.linspace(0.1, 7.9, 40)
    for name, x in itertools.product(("O-O", "O-H", "H-H"), r):
        yield potential, "rdf", name, None, x, np.exp(-np.square(x - 3.0)), ""
    for name, x in itertools.product(("O", "H"), r):
        yield potential, "profile", name, None, x, 5.0, ""
    for x in np.linspace(0.0, 150.0, 40):
        yield potential, "vdos", "total", None, x, float(x < 120.0), ""


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

"""What the path integrals of the water anion are worth and cost: beads, contraction, rate.

    python benchmarks/path_integrals.py [--sizes 20] [--temperatures 50 200] [--output FILE]
        [--data water_anion] [--change frames=4 ...]

Runs the plan of `water_anion_pimd`, from the last classical frame of `--data`, and tells

beads : V per molecule above its classical mean in the harmonic approximation, about the minimum
    below the first classical frame, of rings of beads and exact.
heights : the same of the sampled beads and centroids, over the mean of the classical frames of the
    trajectory that was started from.
energy : in both estimators, with the drift of the first over the frames and its standard error.
contraction : of rings of fewer beads of the electron, against one on every bead: error of the mean
    E_0, and root mean square error of the force on the centroid and on a bead, percent of theirs.
rate : processor seconds of 2 fs, one thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gnnip.machine import THREADS, watched

os.environ |= dict.fromkeys(THREADS, "1")  # before NumPy loads what would start more

import numpy as np
import yaml

from gnnip.datasets.gathering import read_starts
from gnnip.datasets.registry import check_archive
from gnnip.files import write_json
from gnnip.reference import spcf
from gnnip.reference.electron import ElectronSolver
from gnnip.sampling import clusters
from gnnip.sampling.correlation import drift
from gnnip.sampling.frames import Frame
from gnnip.sampling.path_integrals import contraction, harmonic_height
from gnnip.sampling.plans import make_plan
from gnnip.sampling.water_anion import TEMPERATURES
from gnnip.sampling.water_anion_pimd import Plan, begin, run_interval, schedule

BEADS_KELVIN = (1600, 3200, 4800, 6400, 9600, 12800)
CONTRACTED = (1, 3, 5, 7, 9)


def beads_table(minimum: np.ndarray, temperature: float) -> dict[str, float]:
    """V per molecule (Hartree) above the classical one, by beads times kelvin, and exact."""
    counts = {str(pt): round(pt / temperature) for pt in BEADS_KELVIN} | {"exact": None}
    return {name: harmonic_height(minimum, temperature, beads) for name, beads in counts.items()}


def contraction_errors(ring: np.ndarray, solver: ElectronSolver) -> dict[int, np.ndarray]:
    """Error of E_0, squared errors of the force on the centroid and on a bead, by contracted beads;
    under 0 those of no force at all."""

    def electron(positions: np.ndarray) -> tuple[float, np.ndarray]:
        states = [solver.solve(x) for x in positions]
        return float(np.mean([s.energy for s in states])), np.array([s.forces for s in states])

    energy, forces = electron(ring)

    def squares(error: np.ndarray) -> tuple[float, float]:
        return float((error.mean(axis=0) ** 2).mean()), float((error**2).mean())

    errors = {0: np.array([0.0, *squares(forces)])}
    for count in CONTRACTED:
        T = contraction(len(ring), count)
        less, pull = electron(np.tensordot(T, ring, 1))
        spread = np.tensordot(T.T * (len(ring) / count), pull, 1)
        errors[count] = np.array([less - energy, *squares(spread - forces)])
    return errors


def run(plan: Plan, starts: Sequence[Frame], rings: int) -> dict[str, Any]:
    """Run one trajectory and tell all of it."""
    own = [f for f in starts if len(f.numbers) == 3 * plan.size]
    own = [f for f in own if f.columns["temperature_k"] == plan.temperature]
    own = [f for f in own if f.columns["trajectory"] == own[-1].columns["trajectory"]]
    classical = np.mean([spcf.energy_and_forces(f.positions)[0] for f in own]) / plan.size
    state, work = begin(plan, [f.positions for f in own]), schedule(plan)
    solver, seconds, errors = ElectronSolver(1e-4), 0.0, []
    at = {len(work) - 1 - k * max(1, plan.frames // rings) for k in range(rings)}
    for i, interval in enumerate(work):
        began = time.process_time()
        print(f"{plan.name} {i + 1}/{len(work)} {run_interval(plan, interval, state)}", flush=True)
        seconds += time.process_time() - began
        if i in at:
            errors.append(contraction_errors(state.positions, solver))
            print({k: np.round(v, 7).tolist() for k, v in errors[-1].items()}, flush=True)
    virial, primitive = np.array(state.series)[:, -2:].T
    moved, uncertainty = drift(virial, plan.electron_fs)
    found: dict[str, Any] = {
        "plan": plan.name,
        "beads": plan.beads,
        "electron_beads": plan.electron_beads,
        "seconds_per_2_fs": seconds / sum(i.impulses for i in work) * 2.0 / plan.electron_fs,
        "classical": classical,
        "energy_virial": virial.mean(),
        "energy_primitive": primitive.mean(),
        "drift": moved,
        "drift_error": uncertainty,
    }
    for geometry in ("bead", "centroid"):
        V = [f.columns["energy_atomic"] for f in state.frames if f.columns["geometry"] == geometry]
        found[geometry] = np.mean(V) / plan.size - classical
        found[f"{geometry}_error"] = np.std(V) / np.sqrt(len(V)) / plan.size
    terms = np.array(state.series)[:, 0]
    found["all_beads"] = terms.mean() / plan.size - classical
    if rings:
        mean = {count: np.mean([e[count] for e in errors], axis=0) for count in (0, *CONTRACTED)}
        found["contraction"] = {
            count: [mean[count][0].item(), *(100 * np.sqrt(mean[count][1:] / mean[0][1:])).tolist()]
            for count in CONTRACTED
        }
    minimum = clusters.quench(own[0].positions, spcf.energy_and_forces, 3000)
    if plan.size <= 47:  # second derivatives of large clusters take long
        found["harmonic"] = beads_table(minimum, plan.temperature)
        found["harmonic_here"] = harmonic_height(minimum, plan.temperature, plan.beads)
    return {k: float(v) if isinstance(v, np.floating) else v for k, v in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[20])
    parser.add_argument("--temperatures", type=float, nargs="+", default=[50.0, 200.0])
    parser.add_argument("--data", default="water_anion")
    parser.add_argument("--rings", type=int, default=5, help="whose contraction is measured")
    parser.add_argument("--change", nargs="*", default=[], help="fields of the plan, name=value")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/path_integrals.json"))
    arguments = parser.parse_args()
    changes = {k: yaml.safe_load(v) for k, v in (c.split("=", 1) for c in arguments.change)}
    starts, runs = read_starts(check_archive(arguments.data)), []
    with watched() as machine:
        for size in arguments.sizes:
            for temperature in arguments.temperatures:
                replica = TEMPERATURES.index(temperature)
                plan = make_plan("water_anion_pimd", size, replica, changes)
                runs.append(run(plan, starts, arguments.rings))
                print(yaml.safe_dump(runs[-1], sort_keys=False), flush=True)
    write_json(arguments.output, {"hardware": machine.name, "threads": 1, "runs": runs})


if __name__ == "__main__":
    main()

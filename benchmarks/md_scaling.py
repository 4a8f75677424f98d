"""Cost of one step of dynamics against the number of atoms, from 64 to about 100,000.

Zincblende crystals of two elements; CPU seconds of the fastest of some steps at a list that is not
rebuilt, and of the first one with its list; the exponent of cost ~ atoms^p over all sizes, and over
those where the overhead of a call no longer shows.

    OMP_NUM_THREADS=1 python benchmarks/md_scaling.py [--model FILE] [--output FILE]

From some thousand atoms on, a step spends most of its time on memory that the C library has given
back and takes anew; with glibc, MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=30000000000
MALLOC_TOP_PAD_=268435456 keeps it.

The model is `pair`, `spektral`, or a trained potential that knows the --elements.

    python benchmarks/md_scaling.py --memory [--model FILE] [--largest 101568] [--output FILE]

measures instead what a process holds at most that does nothing but evaluate energy, forces and
stress of the largest crystal once, or move it by two steps; with the C library as it is, and as the
workflow sets it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch
from ase import Atoms
from md_batch import LATTICE, build, crystal, engine

from gnnip import models
from gnnip.files import write_json
from gnnip.machine import watched
from gnnip.models.calculator import PotentialCalculator
from gnnip.models.contract import Potential

CELLS = (2, 3, 4, 6, 8, 12, 16, 23)  # per side, 8 atoms each: 64 to 97,336 atoms
LARGE = 2000  # atoms from which on the overhead of a call is small
#: what the workflow sets for its jobs, workflow/rules/common.smk
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "30000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
TASKS = ("evaluation", "dynamics")


def potential(name: str) -> Potential:
    """Return one of the made-up potentials, or a trained one from its file."""
    return models.load(name) if os.path.exists(name) else build(name)


def measure(
    model: Potential, sizes: list[int], steps: int, skin: float, symbols: tuple[str, str], a: float
) -> dict[str, Any]:
    """Time steps of ever larger crystals in CPU seconds; the smallest ones take more steps."""
    rows = []
    for n in sizes:
        run = engine(model, crystal(n, symbols, a), 1, skin)
        began = time.process_time()
        run.run(0)
        first = time.process_time() - began
        samples = []
        for k in range(max(steps, min(20, 10_000 // (8 * n**3)))):
            began = time.process_time()
            run.run(k + 1)
            samples.append(time.process_time() - began)
        if run.failures:
            raise SystemExit(f"The crystal of {8 * n**3} atoms does not last: {run.failures[0]}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
        rows.append(
            {
                "atoms": 8 * n**3,
                "cpu_s_per_step": min(samples),
                "cpu_s_list_and_first": first,
                "peak_mb": peak,
            }
        )
        print(
            f"{8 * n**3:7d} atoms: {1e3 * min(samples):9.2f} CPU-ms/step, first with list "
            f"{1e3 * first:9.1f}, peak {peak:.0f} MB",
            flush=True,
        )
    return {
        "rows": rows,
        "exponent": exponent(rows, 0),
        f"exponent_from_{LARGE}_atoms": exponent(rows, LARGE),
    }


def memory(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure each task in a process of its own, with the C library left alone and set."""
    rows = []
    for task in TASKS:
        for words, setting in (("as it is", {}), ("as the workflow sets it", ALLOCATOR)):
            clean = {k: v for k, v in os.environ.items() if k not in ALLOCATOR}
            command = [sys.executable, __file__, "--task", task, "--model", arguments.model]
            command += ["--elements", *arguments.elements, "--lattice", str(arguments.lattice)]
            command += ["--largest", str(arguments.largest), "--skin", str(arguments.skin)]
            told = subprocess.run(command, env=clean | setting, check=True, stdout=subprocess.PIPE)
            rows.append({"allocator": words} | json.loads(told.stdout))
            print(
                "{task} of {atoms} atoms: {peak_mb:.0f} MB, allocator {allocator}".format(
                    **rows[-1]
                )
            )
    return rows


def hold(task: str, model: Potential, atoms: Atoms, skin: float) -> dict[str, Any]:
    """Do a task once and return what this process has held at most."""
    if task == "evaluation":
        atoms.calc = PotentialCalculator(model)
        atoms.get_forces()
    else:
        run = engine(model, atoms, 1, skin)
        run.run(2)
        if run.failures:
            raise SystemExit(f"The crystal does not last: {run.failures[0]}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return {"task": task, "atoms": len(atoms), "peak_mb": peak}


def largest_crystal(most: int, symbols: tuple[str, str], a: float) -> Atoms:
    """Return the crystal nearest to a cube that has so many atoms, or a little less."""
    short = int((most / 8) ** (1 / 3) + 1e-9)
    return crystal((short, short, most // (8 * short**2)), symbols, a)


def exponent(rows: list[dict[str, Any]], smallest: int) -> float | None:
    """Return the slope of log cost against log atoms; None for fewer than two sizes."""
    chosen = [row for row in rows if row["atoms"] >= smallest]
    if len(chosen) < 2:
        return None
    atoms, cost = (np.log([row[key] for row in chosen]) for key in ("atoms", "cpu_s_per_step"))
    return float(np.polyfit(atoms, cost, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pair", help="pair, spektral or a trained potential")
    parser.add_argument("--elements", nargs=2, default=["Si", "C"], metavar="SYMBOL")
    parser.add_argument("--lattice", type=float, default=LATTICE, help="Angstrom")
    parser.add_argument("--largest", type=int, default=100_000, help="atoms")
    parser.add_argument(
        "--steps", type=int, default=3, help="measured steps of each size, at least"
    )
    parser.add_argument("--skin", type=float, default=1.0, help="Angstrom")
    parser.add_argument("--memory", action="store_true", help="measure memory in place of time")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    symbols = (arguments.elements[0], arguments.elements[1])
    if arguments.task:
        atoms = largest_crystal(arguments.largest, symbols, arguments.lattice)
        found = hold(arguments.task, potential(arguments.model), atoms, arguments.skin)
        print(json.dumps(found))
        return
    sizes = [n for n in CELLS if 8 * n**3 <= arguments.largest]
    result: dict[str, Any] = {
        "model": os.path.basename(arguments.model),
        "elements": arguments.elements,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "allocator": {k: v for k, v in os.environ.items() if k.startswith("MALLOC_")},
    }
    if arguments.memory:
        result["memory"] = memory(arguments)
        if arguments.output:
            write_json(arguments.output, result)
        return
    model = potential(arguments.model)
    with watched() as machine:
        result |= measure(model, sizes, arguments.steps, arguments.skin, symbols, arguments.lattice)
    result["hardware"] = machine.name
    print(machine.name)
    for key, words in (("exponent", "all"), (f"exponent_from_{LARGE}_atoms", f"from {LARGE} on")):
        if result[key] is not None:
            print(f"cost ~ atoms^{result[key]:.2f} ({words})")
    if arguments.output:
        write_json(arguments.output, result)


if __name__ == "__main__":
    main()

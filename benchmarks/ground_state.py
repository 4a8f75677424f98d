"""Time the electron solver against scipy.sparse.linalg.eigsh on finite differences, N = 100.

    python benchmarks/ground_state.py [--repeats 5] [--orders 2 4 8 12] [--output FILE]

Both answer to 1e-4 Hartree against the same solver converged to 1e-6. Ours does everything, with
forces. The finite differences compute no forces; they start from exp(-20 V) in a box 12 Bohr around
the cluster (the least that the accuracy needs when the state is not known) and, for comparison, in
the box that our solver found; their spacing is calibrated beforehand, order by order, their
tolerance is looser than ours, and their potential is our fast one. The textbook stencil of order 2
runs once, in our box only: around the cluster it would need minutes and gigabytes.
One thread, runs interleaved; the clock is processor time, which other programs disturb least.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from math import factorial
from pathlib import Path

from gnnip.machine import THREADS, watched

os.environ |= dict.fromkeys(THREADS, "1")  # before NumPy loads what would start more

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import eigsh

from gnnip.files import write_json
from gnnip.reference import spcf
from gnnip.reference.electron import ElectronSolver, ElectronState
from gnnip.reference.pseudopotential import potential
from gnnip.sampling import clusters
from gnnip.sampling.water_anion import (
    CAVITY_RADIUS,
    CAVITY_STIFFNESS,
    CONFINEMENT,
    cavity_forces,
)

ACCURACY = 1e-4
#: coarsest spacing (Bohr) in steps of 0.05-0.1 at which each order is within ACCURACY here
SPACING = {2: 0.33, 4: 1.15, 6: 1.35, 8: 1.5, 12: 1.6}


def interior_anion(n_molecules: int = 100, seed: int = 1) -> np.ndarray:
    """Positions (3N, 3) in Bohr of a cluster relaxed around an electron inside it."""
    solver = ElectronSolver(1e-3, spacing=2.0, precision="single", residual=3e-4)
    state: ElectronState | None = None

    def forces(x: np.ndarray, seeding: bool) -> tuple[float, np.ndarray]:
        nonlocal state
        confinement = CONFINEMENT if seeding else None
        state = solver.solve(x, guess=state, fixed_grid=state is not None, confinement=confinement)
        energy, f = spcf.energy_and_forces(x)
        f = f + state.forces
        if seeding:
            distance = np.linalg.norm(x - clusters.centre_of_mass(x), axis=1)
            inside = np.maximum(np.tile(CAVITY_RADIUS, len(x) // 3) - distance, 0.0)
            energy += 0.5 * CAVITY_STIFFNESS * float((inside**2).sum())
            f += cavity_forces(x)
        return energy + state.energy, f

    x = clusters.random_cluster(n_molecules, np.random.default_rng(seed))
    x = clusters.quench(x, spcf.energy_and_forces, 60)
    x = clusters.quench(x, lambda y: forces(y, True), 80)
    return clusters.quench(x, lambda y: forces(y, False), 80)


def second_derivative(order: int) -> np.ndarray:
    """Weights of the central difference of that order, from the centre outwards."""
    p = order // 2
    weights = [
        Fraction(
            2 * (-1) ** (k + 1) * factorial(p) ** 2, k * k * factorial(p - k) * factorial(p + k)
        )
        for k in range(1, p + 1)
    ]
    return np.array([float(w) for w in [-2 * sum(weights), *weights]])


def finite_differences(
    x: np.ndarray, low: np.ndarray, high: np.ndarray, spacing: float, order: int
) -> float:
    """E_0 by eigsh on the grid between two corners (Bohr)."""
    n = np.round((high - low) / spacing).astype(int) - 1
    origin = 0.5 * (low + high) - 0.5 * spacing * (n - 1)
    V = np.empty(tuple(n))
    potential(V, origin, spacing, x, fast=True)
    w = -0.5 / spacing**2 * second_derivative(order)
    reach = range(-(order // 2), order // 2 + 1)
    T = [
        sparse.diags_array([np.full(m - abs(k), w[abs(k)]) for k in reach], offsets=list(reach))
        for m in n
    ]
    one = [sparse.eye_array(m) for m in n]
    H = sparse.kron(sparse.kron(T[0], one[1]), one[2])
    H = H + sparse.kron(sparse.kron(one[0], T[1]), one[2])
    H = H + sparse.kron(sparse.kron(one[0], one[1]), T[2]) + sparse.diags_array(V.ravel())
    start = np.exp(-20.0 * (V - V.min())).ravel()
    values, _ = eigsh(H.tocsr(), k=1, which="SA", v0=start, tol=1e-3)
    return float(values[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--orders", type=int, nargs="+", default=[2, 4, 8, 12], choices=list(SPACING)
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/ground_state.json"))
    arguments = parser.parse_args()

    x = interior_anion()
    reference = ElectronSolver(1e-6).solve(x, forces=False)
    solver = ElectronSolver(ACCURACY)
    state = solver.solve(x)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    cluster = x.min(axis=0) - 12.0, x.max(axis=0) + 12.0
    ours = state.grid.walls[0], state.grid.walls[1]

    runs: dict[str, Callable[[], float]] = {
        "this solver, with forces": lambda: solver.solve(x).energy
    }
    for name, (low, high) in (("12 Bohr around", cluster), ("our box", ours)):
        for order in arguments.orders:
            if order == 2 and name != "our box":
                continue
            label = f"eigsh, order {order}, spacing {SPACING[order]}, {name}"
            runs[label] = lambda low=low, high=high, order=order: finite_differences(
                x, low, high, SPACING[order], order
            )
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    wall: dict[str, list[float]] = {name: [] for name in runs}
    error: dict[str, float] = {}
    with watched() as machine:
        for repeat in range(arguments.repeats):
            for name, run in runs.items():
                if repeat and "order 2," in name:
                    continue
                start = time.process_time(), time.perf_counter()
                error[name] = run() - reference.energy
                cpu[name].append(time.process_time() - start[0])
                wall[name].append(time.perf_counter() - start[1])

    first = statistics.median(cpu["this solver, with forces"])
    rows = [
        {
            "method": name,
            "cpu_seconds": statistics.median(cpu[name]),
            "wall_seconds": statistics.median(wall[name]),
            "error_hartree": error[name],
            "ratio": statistics.median(cpu[name]) / first,
        }
        for name in runs
    ]
    print(f"E_0 = {reference.energy:.6f} Hartree, grid {state.grid.shape}, {machine.name}")
    print(f"peak memory after our solves: {memory:.0f} MB")
    for row in rows:
        print(
            f"{row['method']:50s} {row['cpu_seconds']:8.4f} s  "
            f"error {row['error_hartree']:+.1e} Ha  {row['ratio']:7.1f} x"
        )
    write_json(
        arguments.output,
        {
            "n_molecules": len(x) // 3,
            "energy_hartree": reference.energy,
            "accuracy_hartree": ACCURACY,
            "grid_shape": list(state.grid.shape),
            "threads": 1,
            "repeats": arguments.repeats,
            "peak_memory_mb": memory,
            "hardware": machine.name,
            "runs": rows,
        },
    )


if __name__ == "__main__":
    main()

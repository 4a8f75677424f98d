"""How long one total energy takes, by the reference solver and by the networks, against N.

All alternatives run in one process on one core, in turn, so that a busy machine slows all of them
alike; the median over repeats is kept. Times are wall times of the machine that is named beside
them; only their ratios and exponents mean something elsewhere.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from gnnip.errors import DataError
from gnnip.measurements.selection import spread_evenly
from gnnip.units import BOHR

Result = TypeVar("Result")

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def measure_timing(
    dataset: str | os.PathLike[str],
    models: Sequence[str | os.PathLike[str]],
    *,
    sizes: Sequence[int] | None = None,
    frames_per_size: int = 3,
    repeats: int = 5,
    batch_size: int = 16,
    accuracy: float = 1e-4,
) -> pd.DataFrame:
    """Return evaluation times of V + E_0 (seconds per structure), one row per method and frame.

    Parameters
    ----------
    models : the trained networks whose sum is the total energy (one per term).
    sizes : numbers of molecules; all of the data set when None.
    frames_per_size, repeats : frames drawn evenly from each size, and measurements of each.
    batch_size : copies evaluated at once by the method `network_batched`.
    accuracy : of the solver, Hartree.

    Returns
    -------
    method (solver: V_SPC/F and E_0 from scratch, no forces; network: neighbour list and all
    networks, one structure; network_batched: the same for `batch_size` copies, per structure),
    n_molecules, frame, seconds (median over repeats), repeats, batch_size, accuracy_ha, threads,
    hardware.

    Raises DataError when `models` is empty or a size is not in the data set.
    """
    if not models:
        raise DataError("There is no trained network to time; name its cells in the card's step.")
    arguments = (
        os.fspath(dataset),
        [os.fspath(m) for m in models],
        None if sizes is None else [int(n) for n in sizes],
        frames_per_size,
        repeats,
        batch_size,
        accuracy,
    )
    return in_one_thread(_measure, *arguments)


def in_one_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return function(*arguments), computed in a new process whose libraries use one thread.

    The script that calls this must be guarded by ``if __name__ == "__main__"``.
    """
    # thread pools are sized when their libraries load: a fresh process is the only sure way to one
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _measure(
    dataset: str,
    models: list[str],
    sizes: list[int] | None,
    frames_per_size: int,
    repeats: int,
    batch_size: int,
    accuracy: float,
) -> pd.DataFrame:
    import torch

    from gnnip.datasets.store import load_arrays
    from gnnip.models import load
    from gnnip.provenance import environment
    from gnnip.reference import spcf
    from gnnip.reference.electron import ElectronSolver

    torch.set_num_threads(1)
    arrays = load_arrays(dataset)
    networks = [load(path, device="cpu") for path in models]
    solver = ElectronSolver(accuracy=accuracy)
    size = arrays.column("n_molecules")
    wanted = sorted({int(n) for n in size}) if sizes is None else sorted(sizes)
    missing = [n for n in wanted if n not in set(size.tolist())]
    if missing:
        raise DataError(f"{dataset} has no cluster of {missing[0]} molecules.")
    frames = [
        int(f) for n in wanted for f in spread_evenly(np.flatnonzero(size == n), frames_per_size)
    ]

    def solve(positions: np.ndarray, numbers: np.ndarray) -> None:
        x = positions / BOHR
        spcf.energy_and_forces(x)
        solver.solve(x, forces=False)

    def infer(positions: np.ndarray, numbers: np.ndarray, copies: int) -> None:
        from gnnip.graphs import GraphBatch

        structures = [{"positions": positions, "numbers": numbers}] * copies
        graphs: dict[Any, GraphBatch] = {}
        with torch.inference_mode():
            for network in networks:
                key = (network.cutoff, network.dtype)
                if key not in graphs:
                    graphs[key] = GraphBatch.from_structures(
                        structures, network.cutoff, dtype=network.dtype
                    )
                network(graphs[key])

    methods: dict[str, tuple[Callable[..., None], int]] = {
        "solver": (solve, 1),
        "network": (lambda x, z: infer(x, z, 1), 1),
        "network_batched": (lambda x, z: infer(x, z, batch_size), batch_size),
    }
    measured = interleave(
        {
            (name, frame): _bind(
                run,
                arrays.positions[arrays.atom_slice(frame)],
                arrays.numbers[arrays.atom_slice(frame)],
            )
            for frame in frames
            for name, (run, _) in methods.items()
        },
        repeats,
    )
    hardware = environment()
    rows = [
        {
            "method": name,
            "n_molecules": int(size[frame]),
            "frame": frame,
            "seconds": float(np.median(seconds)) / methods[name][1],
            "repeats": repeats,
            "batch_size": methods[name][1],
            "accuracy_ha": accuracy if name == "solver" else np.nan,
            "threads": 1,
            "hardware": str(hardware.get("cpu") or "unknown processor"),
        }
        for (name, frame), seconds in measured.items()
    ]
    return pd.DataFrame(rows)


def _bind(
    run: Callable[[np.ndarray, np.ndarray], None], positions: np.ndarray, numbers: np.ndarray
) -> Callable[[], None]:
    x, z = np.asarray(positions, dtype=np.float64), np.asarray(numbers, dtype=np.int64)
    return lambda: run(x, z)


def interleave(
    jobs: dict[Any, Callable[[], None]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Any, list[float]]:
    """Run every job once unmeasured, then all in turn `repeats` times; return their seconds."""
    for job in jobs.values():
        job()
    seconds: dict[Any, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            start = clock()
            job()
            seconds[name].append(clock() - start)
    return seconds

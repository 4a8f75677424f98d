"""How long one energy takes, by what labels the frames and by the networks, against the size.

All alternatives run in one process on one core, in turn, so that a busy machine slows all of them
alike; the median over repeats is kept. Times are wall times of the machine that is named beside
them; only their ratios and exponents mean something elsewhere.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from gnnip.errors import DataError
from gnnip.locks import end_with
from gnnip.machine import THREADS, watched
from gnnip.measurements.selection import atoms_of, spread_evenly

if TYPE_CHECKING:
    from ase import Atoms

    from gnnip.datasets.arrays import FrameArrays
    from gnnip.measurements.kinds import Timing
    from gnnip.measurements.sources import Sources, Training
    from gnnip.models.contract import Potential

Result = TypeVar("Result")


class Method(NamedTuple):
    """A way to the energy of a structure; `about` and `more` are columns before and after times.

    copies : structures that `run` evaluates at once.
    """

    about: dict[str, Any]
    run: Callable[[Atoms], object]
    copies: int
    more: dict[str, Any]


def measure_timing(sources: Sources, options: Timing) -> pd.DataFrame:
    """Return the times of one energy (seconds per structure), one row per method and frame.

    Columns: method (solver: the reference from scratch, no forces; network: neighbour list and
    networks, one structure; network_batched: the same for `batch_size` copies, per structure), the
    size, frame, seconds (median over repeats), repeats, batch_size, accuracy_ha (of a solver that
    has one), threads, hardware (with the load, if there was any). Networks that differ in their
    term alone are added up; where that gives several energies, group, matrix values and seed come
    first, and before them the data set where there are several.

    DataError when there are no networks or a size is not in the data set.
    """
    if not sources.trainings:
        raise DataError(
            "There is no trained network to time; name its cells in the card's measurement."
        )
    return in_one_thread(_measure, sources, options)


def in_one_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return function(*arguments), computed in a new process whose libraries use one thread.

    The script that calls this must be guarded by ``if __name__ == "__main__"``.
    """
    # thread pools are sized when their libraries load: a fresh process is the only sure way to one
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context, end_with, (os.getpid(),)) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _measure(sources: Sources, options: Timing) -> pd.DataFrame:
    import torch

    torch.set_num_threads(1)
    jobs: list[tuple[Method, dict[str, Any], Callable[[], object]]] = []
    for dataset in sources.datasets:
        arrays = sources.arrays(dataset)
        methods = _methods(sources, dataset, options)
        for size, frame in _frames(dataset, arrays, options):
            atoms = atoms_of(arrays, frame)
            place = {options.size: size, "frame": frame}
            jobs += [(method, place, partial(method.run, atoms)) for method in methods]
    measured, machine = interleave(dict(enumerate(run for _, _, run in jobs)), options.repeats)
    rows = [
        {
            **method.about,
            **place,
            "seconds": float(np.median(seconds)) / method.copies,
            "repeats": options.repeats,
            "batch_size": method.copies,
            **method.more,
        }
        for (method, place, _), seconds in zip(jobs, measured.values(), strict=True)
    ]
    return pd.DataFrame(rows).assign(threads=1, hardware=machine)


def _frames(dataset: str, arrays: FrameArrays, options: Timing) -> list[tuple[int, int]]:
    """Return (size, number) of the frames to time, by size."""
    own = arrays.n_atoms if options.size == "n_atoms" else arrays.column(options.size)
    known = sorted({int(n) for n in own})
    wanted = known if options.sizes is None else sorted(options.sizes)
    missing = [n for n in wanted if n not in known]
    if missing:
        raise DataError(f"The data set '{dataset}' has no {options.size} = {missing[0]}.")
    return [
        (n, int(frame))
        for n in wanted
        for frame in spread_evenly(np.flatnonzero(own == n), options.frames_per_size)
    ]


def _methods(sources: Sources, dataset: str, options: Timing) -> list[Method]:
    from gnnip.models import load

    place = {"dataset": dataset} if len(sources.datasets) > 1 else {}
    methods = []
    if options.reference is not None:
        run, more = _from_scratch(options.reference)
        methods.append(Method({**place, "method": "solver"}, run, 1, more))
    energies: dict[tuple[Any, ...], list[Training]] = {}
    for training in sources.trainings:
        if dataset in sources.tested(training):
            keys = {key: value for key, value in training.keys.items() if key != "target"}
            about = {"group": training.group, **keys, "seed": training.seed}
            energies.setdefault(tuple(about.items()), []).append(training)
    for which, terms in energies.items():
        about = place | (dict(which) if len(energies) > 1 else {})
        networks = [load(training.model, device="cpu") for training in terms]
        for name, copies in (("network", 1), ("network_batched", options.batch_size)):
            run = partial(_infer, networks, copies)
            methods.append(Method({**about, "method": name}, run, copies, {}))
    return methods


def _from_scratch(reference: str) -> tuple[Callable[[Atoms], object], dict[str, Any]]:
    """Return what computes an energy without memory of earlier structures, and its accuracy."""
    from gnnip.reference import make_calculator

    calculator = make_calculator(reference)
    if hasattr(calculator, "energy_from_scratch"):
        return calculator.energy_from_scratch, {"accuracy_ha": calculator.accuracy_hartree}
    return lambda atoms: make_calculator(reference).get_potential_energy(atoms), {}


def _infer(networks: Sequence[Potential], copies: int, atoms: Atoms) -> None:
    import torch

    from gnnip.graphs import GraphBatch

    structure = {"positions": atoms.positions, "numbers": atoms.numbers}
    if atoms.pbc.any():
        structure |= {"cell": atoms.cell.array, "pbc": atoms.pbc}
    graphs: dict[Any, GraphBatch] = {}
    with torch.inference_mode():
        for network in networks:
            key = (network.cutoff, network.dtype)
            if key not in graphs:
                graphs[key] = GraphBatch.from_structures(
                    [structure] * copies, network.cutoff, dtype=network.dtype
                )
            network(graphs[key])


def interleave(
    jobs: Mapping[Any, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[Any, list[float]], str]:
    """Run every job once unmeasured, then all in turn `repeats` times; return their seconds, and
    the machine with what else it did meanwhile (`gnnip.machine.watched`)."""
    for job in jobs.values():
        job()
    seconds: dict[Any, list[float]] = {name: [] for name in jobs}
    with watched() as machine:
        for _ in range(repeats):
            for name, job in jobs.items():
                start = clock()
                job()
                seconds[name].append(clock() - start)
    return seconds, machine.name

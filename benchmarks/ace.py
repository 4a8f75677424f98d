"""Time of ACE descriptors, of the rows of a fit to forces and of the fit on frames of glass,
beside the power spectrum (4 x 4) of featomic where that is installed; in turns, fastest of each.
And of epochs of the published network on the first 200 frames, all of them in one step.

    export OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1
    python benchmarks/ace.py [--frames 300 --degree 4] [--output FILE]

With one thread the CPU seconds are what a quiet core takes, whatever else runs; with more they are
those of all threads together.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gnnip import models
from gnnip.datasets.store import load_arrays
from gnnip.files import write_json
from gnnip.graphs import GraphStore
from gnnip.machine import cpu_model
from gnnip.models.fitting import TrainingFrames
from gnnip.training import Settings, train

ARCHIVE = Path(__file__).parents[1] / "data/hfo2.h5"
CUTOFF = 5.0
#: of the paper: training frames, and epochs at the conservative learning rate
TRAINING_FRAMES, EPOCHS = 200, 35_000


def own(frames: Any, degree: int, body_order: int, batch: int) -> dict[str, Callable[[], object]]:
    """Return what is timed of this library; graphs are built before."""
    store = GraphStore.from_frames(
        frames,
        CUTOFF,
        energies=frames.energy("total"),
        forces=frames.force("total"),
        dtype=torch.float64,
    )
    options = {"cutoff": CUTOFF, "degree": degree, "body_order": body_order}
    model = models.build("ace", species=(8, 72), **options).double()
    rows = torch.arange(len(store))
    print(f"{len(store)} frames, {model.n_parameters} coefficients")

    def each(function: Callable[[Any, torch.Tensor], torch.Tensor]) -> Callable[[], object]:
        def run() -> None:
            with torch.no_grad():
                for part in store.batches(rows, batch):
                    function(part, model.kinds(part))

        return run

    return {
        "descriptors": each(model.descriptors),
        "gradient rows": each(model.descriptors.gradients),
        "fit to energies": lambda: model.fit(TrainingFrames(store, rows, rows[:0])),
        "fit to forces": lambda: model.fit(TrainingFrames(store, rows, rows[:0], force_weight=1.0)),
    }


def of_network(frames: Any, epochs: int) -> dict[str, Callable[[], object]]:
    """Return one epoch of the network as described, with all that comes before, and `epochs` more;
    every epoch ends with the errors of 22 other frames."""
    options = {"species": (8, 72), "cutoff": CUTOFF, "body_order": 3, "degree": 3, "scale": 1.0}
    options |= {"graph_cutoff": 3.0, "edges": "ones", "self_loops": 0.0, "widths": (26, 26)}
    options |= {"pooling": "mean", "standardise": False}
    order = np.arange(TRAINING_FRAMES + 22)
    split = {"train": order[:TRAINING_FRAMES], "validation": order[TRAINING_FRAMES:]}

    def run(count: int) -> None:
        settings = Settings(
            loss="mse",
            learning_rate=1e-4,
            batch_size=TRAINING_FRAMES,
            epochs=count,
            threads=torch.get_num_threads(),
        )
        with tempfile.TemporaryDirectory() as place:
            train("ace_network", options, frames, "total", split, settings, place)

    return {"1 epoch": lambda: run(1), f"{1 + epochs} epochs": lambda: run(1 + epochs)}


def of_featomic(frames: Any) -> dict[str, Callable[[], object]]:
    """Return what is timed of featomic, which finds its neighbours itself; nothing without it."""
    try:
        from featomic import SoapPowerSpectrum
    except ImportError:
        print("featomic is not installed")
        return {}
    from ase import Atoms

    structures = []
    for k in range(frames.n_frames):
        part = frames.atom_slice(k)
        structures.append(
            Atoms(
                frames.numbers[part],
                positions=frames.positions[part],
                cell=frames.cells[k],
                pbc=True,
            )
        )
    spectrum = SoapPowerSpectrum(
        cutoff={"radius": CUTOFF, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
        density={"type": "Gaussian", "width": 0.3},
        basis={
            "type": "TensorProduct",
            "max_angular": 4,
            "radial": {"type": "Gto", "max_radial": 4},
        },
    )
    return {
        "featomic": lambda: spectrum.compute(structures),
        "featomic with gradients": lambda: [
            spectrum.compute(s, gradients=["positions"]) for s in structures
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--degree", type=int, default=4)
    parser.add_argument("--body-order", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4, help="frames at a time")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=300, help="of the network")
    parser.add_argument("--output", help="write the figures to this JSON")
    args = parser.parse_args()
    frames = load_arrays(ARCHIVE)
    timed = of_network(frames, args.epochs)
    frames = frames.subset(np.arange(args.frames))
    timed |= own(frames, args.degree, args.body_order, args.batch) | of_featomic(frames)
    spent: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in timed}
    for _ in range(args.repeats):
        for name, function in timed.items():
            began, used = time.perf_counter(), time.process_time()
            function()
            spent[name]["cpu"].append(time.process_time() - used)
            spent[name]["wall"].append(time.perf_counter() - began)
    load, threads = os.getloadavg()[0], torch.get_num_threads()
    best = {name: {clock: min(s) for clock, s in each.items()} for name, each in spent.items()}
    first, last = (best[name] for name in of_network(frames, args.epochs))
    best[f"{EPOCHS} epochs"] = {
        clock: EPOCHS * (last[clock] - first[clock]) / args.epochs for clock in first
    }
    for name, seconds in best.items():
        print(f"{name:24s} {seconds['cpu']:8.2f} CPU s {seconds['wall']:8.2f} s")
    print(f"{threads} threads, load {load:.1f}")
    if args.output:
        about = {"processor": cpu_model(), "cores": os.cpu_count(), "threads": threads}
        found = {"fastest_s": best, "seconds": spent, "load": load, "arguments": vars(args)}
        write_json(args.output, found | about)


if __name__ == "__main__":
    main()

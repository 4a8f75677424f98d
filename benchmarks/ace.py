"""Time of ACE descriptors, of the rows of a fit to forces and of the fit on frames of glass,
beside the power spectrum (4 x 4) of featomic where that is installed; in turns, fastest of each.

    OMP_NUM_THREADS=2 python benchmarks/ace.py [--frames 300 --degree 4] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
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
from gnnip.models.fitting import TrainingFrames

ARCHIVE = Path(__file__).parents[1] / "data/hfo2.h5"
CUTOFF = 5.0


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
    parser.add_argument("--output", help="write the figures to this JSON")
    args = parser.parse_args()
    frames = load_arrays(ARCHIVE).subset(np.arange(args.frames))
    timed = own(frames, args.degree, args.body_order, args.batch) | of_featomic(frames)
    spent: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(args.repeats):
        for name, function in timed.items():
            began = time.perf_counter()
            function()
            spent[name].append(time.perf_counter() - began)
    load = os.getloadavg()[0]
    for name, seconds in spent.items():
        print(f"{name:24s} {min(seconds):7.2f} s   ({', '.join(f'{s:.2f}' for s in seconds)})")
    print(f"{torch.get_num_threads()} threads, load {load:.1f}")
    if args.output:
        write_json(args.output, {"seconds": spent, "load": load, "arguments": vars(args)})


if __name__ == "__main__":
    main()

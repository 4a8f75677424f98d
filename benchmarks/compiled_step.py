"""Time one training step on energies and forces, eager and compiled.

    python benchmarks/compiled_step.py [--models gat gcs pair nequip] [--repeats 15]

Water clusters of 60 molecules, 4 in a batch, for the cluster network and the pair potential; one
cell of the point-charge toy's size for NequIP (its dense form: on a CPU its kernels are another
thing). Eager and compiled steps alternate in one process. The clock is processor time on a CPU,
which other programs disturb least, and wall time on a GPU. Prints the ratio and the seconds that
compiling took.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

os.environ["GNNIP_KERNELS"] = "off"

from gnnip.graphs import GraphBatch, GraphStore
from gnnip.machine import watched
from gnnip.models import build, evaluate
from gnnip.models.contract import Potential
from gnnip.training.compiled import compile_evaluation

NETWORK = {"features": "invariant", "activation": "silu", "channels": 64}
MODELS = {
    "gat": ("spektral", NETWORK | {"layer": "gat"}),
    "gcs": ("spektral", NETWORK | {"layer": "gcs"}),
    "pair": ("pair", {"species": (1, 8)}),
    "nequip": ("nequip", {"species": (1, 8), "layers": 3, "lmax": 1, "channels": 16}),
}


def clusters(n_molecules: int, count: int, seed: int = 0) -> list[dict]:
    """Return molecules on a loose lattice, displaced at random."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(n_molecules ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    molecule = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    structures = []
    for k in range(count):
        chosen = grid[: n_molecules - k % 3] * 3.0
        positions = (chosen[:, None] + molecule).reshape(-1, 3)
        positions = positions + rng.normal(0, 0.1, positions.shape)
        structures.append({"positions": positions, "numbers": np.tile([8, 1, 1], len(chosen))})
    return structures


def step(evaluation: Callable[[], dict], parameters: list) -> None:
    """Energy, forces, and the gradient of a loss on both."""
    found = evaluation()
    loss = found["energy"].square().mean() + found["forces"].square().mean()
    torch.autograd.grad(loss, parameters, allow_unused=True)


def measure(name: str, arguments: argparse.Namespace) -> str:
    architecture, options = MODELS[name]
    torch.manual_seed(0)
    model: Potential = build(architecture, **options).to(arguments.device)
    for module in model.modules():
        if hasattr(module, "dropout_rate"):
            module.dropout_rate = 0.0
    size = 1 if name == "nequip" else 4
    structures = clusters(107 if name == "nequip" else 60, 8)
    store = GraphStore.from_structures(structures, model.cutoff, device=arguments.device)
    lines: list[str] = []
    begun = time.perf_counter()
    compiled = compile_evaluation(model, store, torch.arange(8), size, True, False, lines.append)
    spent = time.perf_counter() - begun
    if compiled is None:
        return f"{name:8s} {lines[0]}"
    batch: GraphBatch = store.batch(torch.arange(size))
    parameters = [p for p in model.parameters() if p.requires_grad]
    forms = {
        "eager": lambda: evaluate(model, batch, forces=True, create_graph=True),
        "compiled": lambda: compiled(model, batch, create_graph=True),
    }
    on_cpu = arguments.device == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    times: dict[str, list[float]] = {form: [] for form in forms}
    for repeat in range(arguments.repeats + 2):
        for form, evaluation in forms.items():
            start = clock()
            step(evaluation, parameters)
            if not on_cpu:
                torch.cuda.synchronize()
            if repeat >= 2:
                times[form].append(clock() - start)
    eager, fast = (statistics.median(times[form]) for form in forms)
    return (
        f"{name:8s} {batch.adjacency.n_edges:6d} edges  eager {1000 * eager:8.1f} ms  compiled "
        f"{1000 * fast:8.1f} ms  ratio {eager / fast:5.2f}  compiling took {spent:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    where = torch.cuda.get_device_name() if arguments.device != "cpu" else "CPU"
    print(f"{where}, {arguments.threads} threads, torch {torch.__version__}, float32")
    with watched() as machine:
        for name in arguments.models:
            print(measure(name, arguments), flush=True)
    print(machine.name)


if __name__ == "__main__":
    main()

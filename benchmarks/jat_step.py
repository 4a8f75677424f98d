"""Time a training step on forces, 225 atoms an example, and the forces of one frame: JAT and peers.

    python benchmarks/jat_step.py [--forms eager fused compiled neuralil]
    git clone https://github.com/stefanhoedl/JAT_potential
    python benchmarks/jat_step.py --code JAT_potential --peer /path/to/venv-with-jax/bin/python

`eager` is JAT in torch operations, `fused` with its kernels, `compiled` what a compiler makes of
`eager`, `neuralil` the baseline. With --code the published code runs beside them in an environment
with jax, flax, jraph and optax, its own training step included. Each form is one process that
answers "step" or "forces" with its seconds; they take turns, so all see the same machine. First the
gradients of the weights are compared in double precision.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

SPECIES = (1, 6, 7, 8)
FORMS = ("eager", "fused", "compiled", "neuralil")
LAYERS, CUTOFF = 7, 5.0


def own_form(arguments: argparse.Namespace, frames: dict):
    import torch

    from gnnip.graphs import GraphStore
    from gnnip.models import build, evaluate
    from gnnip.models.jat import attention
    from gnnip.training.compiled import compile_evaluation
    from gnnip.training.losses import LOSSES
    from gnnip.training.optimiser import OPTIMISERS
    from gnnip.training.settings import Settings

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if arguments.worker in ("eager", "compiled"):
        attention.available = lambda _: False
    name = "neuralil" if arguments.worker == "neuralil" else "jat"
    options = {} if name == "neuralil" else {"layers": arguments.layers, "cutoff": CUTOFF}
    model = build(name, species=SPECIES, **options).to(arguments.device)
    structures = [
        {"positions": p, "numbers": frames["numbers"], "cell": frames["cell"], "pbc": True}
        for p in frames["positions"]
    ]
    store = GraphStore.from_structures(structures, model.cutoff, device=arguments.device)
    everything = torch.arange(len(structures))
    batch, one = store.batch(everything), store.batch(everything[:1])
    labels = torch.as_tensor(frames["forces"].reshape(-1, 3), dtype=store.dtype).to(store.device)
    optimiser, settings = OPTIMISERS["yogi"](model.parameters()), Settings(loss="log_cosh")
    compiled = None
    if arguments.worker == "compiled":
        compiled = compile_evaluation(
            model, store, everything, len(everything), True, False,
            lambda said: print(said, file=sys.stderr),
        )  # fmt: skip
        if compiled is None:
            raise SystemExit(1)

    def step() -> None:
        if compiled is None:
            found = evaluate(model, batch, forces=True, create_graph=True)
        else:
            found = compiled(model, batch, create_graph=True)
        optimiser.zero_grad()
        loss = LOSSES["log_cosh"](found["forces"] - labels, settings)
        loss.backward(inputs=optimiser.parameters)
        optimiser.step(1e-4)
        wait()

    def forces() -> None:
        evaluate(model, one, forces=True)
        wait()

    def wait() -> None:
        if arguments.device != "cpu":
            torch.cuda.synchronize()

    return {"step": step, "forces": forces}


def published_form(arguments: argparse.Namespace, frames: dict):
    # it imports these for its logs
    for name in ("wandb", "matplotlib", "matplotlib.pyplot", "tqdm", "tqdm.auto"):
        sys.modules[name] = MagicMock()
    sys.path.insert(0, str(Path(arguments.code) / "src"))
    import jax
    import jax.numpy as jnp
    from jat.jat_model import GraphGenerator, JatCore, JatModel
    from jat.training import create_log_cosh, create_one_cycle_minimizer, create_training_step

    positions, labels = jnp.asarray(frames["positions"]), jnp.asarray(frames["forces"])
    count, cell = len(positions), jnp.asarray(frames["cell"])
    kinds = jnp.asarray(np.searchsorted(SPECIES, frames["numbers"]))
    vectors = frames["positions"][:, None] - frames["positions"][:, :, None]
    vectors -= np.round(vectors / np.diag(frames["cell"])) * np.diag(frames["cell"])
    most = int((np.square(vectors).sum(-1) < CUTOFF**2).sum(-1).max())
    graph = GraphGenerator(len(kinds), CUTOFF, cell, most)
    model = JatModel(len(SPECIES), 48, graph, JatCore([48] * arguments.layers, 1))
    key = jax.random.PRNGKey(0)
    weights = model.init(key, positions[0], kinds, cell, method=JatModel.calc_potential_energy)
    optimiser = create_one_cycle_minimizer(100, 5e-5, 3e-4, 5e-7)
    state, penalty = optimiser.init(weights), create_log_cosh(1.0)
    train = create_training_step(model, optimiser, lambda e, f, e0, f0: penalty(f0 - f).mean())
    batch = (
        positions,
        jnp.tile(kinds, (count, 1)),
        jnp.tile(cell, (count, 1, 1)),
        jnp.zeros(count),
        labels,
    )
    call = jax.jit(lambda p: model.apply(weights, p, kinds, cell, method=JatModel.calc_forces))

    def step() -> None:
        jax.block_until_ready(train(state, weights, *batch))

    return {"step": step, "forces": lambda: call(positions[0]).block_until_ready()}


def serve(arguments: argparse.Namespace) -> None:
    with np.load(arguments.frames) as archive:
        frames = {name: archive[name] for name in archive.files}
    form = published_form if arguments.worker == "published" else own_form
    with contextlib.redirect_stdout(sys.stderr):  # the published code prints as it compiles
        calls = form(arguments, frames)
        for call in calls.values():
            call()
            call()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() not in calls:
            break
        start, used = time.perf_counter(), time.process_time()
        calls[line.strip()]()
        seconds, used = time.perf_counter() - start, time.process_time() - used
        print(json.dumps([seconds, used]), flush=True)


def agreement(layers: int, frames: dict) -> str:
    """Compare forces and gradients of the weights with and without kernels, double precision."""
    import torch

    from gnnip.graphs import GraphBatch
    from gnnip.models import build, evaluate
    from gnnip.models.jat import attention

    torch.manual_seed(0)
    model = build("jat", species=SPECIES, layers=layers, cutoff=CUTOFF).double()
    structure = {"positions": frames["positions"][0], "numbers": frames["numbers"]}
    structure |= {"cell": frames["cell"], "pbc": True}
    batch = GraphBatch.from_structures([structure], CUTOFF, dtype=torch.float64)
    found, kept = [], attention.available
    for chosen in (kept, lambda _: False):
        attention.available = chosen
        forces = evaluate(model, batch, forces=True, create_graph=True)["forces"]
        gradients = torch.autograd.grad(
            forces.square().mean(), list(model.parameters()), allow_unused=True
        )
        parts = [forces.detach(), torch.cat([g.flatten() for g in gradients if g is not None])]
        found.append(parts)
    attention.available = kept
    forces, gradients = (
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(*found, strict=True)
    )
    return (
        f"kernels and torch operations differ by {forces:.0e} in forces, {gradients:.0e} in "
        "gradients of the weights"
    )


def measure(arguments: argparse.Namespace, programs: dict[str, str]) -> dict[str, dict[str, list]]:
    """Return [seconds, CPU seconds] of every turn by form and call."""
    workers = {
        name: subprocess.Popen(
            [python, __file__, *sys.argv[1:], "--frames", arguments.frames, "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, python in programs.items()
    }
    times: dict[str, dict[str, list]] = {n: {"step": [], "forces": []} for n in workers}
    for name, worker in workers.items():
        if worker.stdout.readline().strip() != "ready":
            raise SystemExit(f"The form '{name}' did not start; see its message above.")
    for _ in range(arguments.repeats):
        for call in ("step", "forces"):
            for name, worker in workers.items():
                print(call, file=worker.stdin, flush=True)
                times[name][call].append(json.loads(worker.stdout.readline()))
    for worker in workers.values():
        worker.communicate("stop\n")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["eager", "fused", "neuralil"])
    parser.add_argument("--code", help="folder of the published code, see above")
    parser.add_argument("--peer", help="python of an environment with jax, flax, jraph and optax")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", help="JSON file to write the figures to")
    parser.add_argument("--frames", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        serve(arguments)
        return
    if (arguments.code is None) != (arguments.peer is None):
        parser.error("--code and --peer go together: the published code and a python that runs it")
    from gnnip.datasets import load
    from gnnip.machine import watched

    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    chosen = load("ean")[: arguments.batch]
    frames = {
        "positions": np.array([atoms.positions for atoms in chosen]),
        "forces": np.array([atoms.get_forces() for atoms in chosen]),
        "numbers": chosen[0].numbers,
        "cell": np.array(chosen[0].cell),
    }
    programs = dict.fromkeys(arguments.forms, sys.executable)
    if arguments.peer:
        programs["published"] = arguments.peer
    print(agreement(arguments.layers, frames))
    with tempfile.TemporaryDirectory() as folder, watched() as machine:
        arguments.frames = str(Path(folder) / "frames.npz")
        np.savez(arguments.frames, **frames)
        times = measure(arguments, programs)
    print(f"{machine.name}, {arguments.threads} threads, float32, batch {len(chosen)}")
    rows: dict[str, dict[str, float]] = {}
    for name, of_calls in times.items():
        for call, found in of_calls.items():
            wall, cpu = zip(*found, strict=True)
            rows[f"{name} {call}"] = {
                "median_s": statistics.median(wall),
                "min_s": min(wall),
                "cpu_min_s": min(cpu),
            }
    for name, row in rows.items():
        base = rows[f"{arguments.forms[0]} {name.split()[1]}"]["min_s"]
        print(
            f"{name:18s} min {row['min_s']:7.3f} s  median {row['median_s']:7.3f} s  "
            f"CPU min {row['cpu_min_s']:7.3f} s  {arguments.forms[0]} / this "
            f"{base / row['min_s']:5.2f}"
        )
    if arguments.output:
        from gnnip.files import write_json

        case = {"processor": machine.name, "threads": arguments.threads, "batch": len(chosen)}
        case |= {"layers": arguments.layers, "repeats": arguments.repeats}
        write_json(arguments.output, case | {"forms": rows})


if __name__ == "__main__":
    main()

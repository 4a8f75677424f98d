"""Time one training step (energy, forces, gradient of a loss on both) of NequIP, and of PyPI sevenn
beside it.

    python benchmarks/nequip_step.py --peer /path/to/venv-with-sevenn/bin/python

Each program is one process that answers "go" with the seconds of one step; steps alternate, so both
see the same
machine. The peer runs at its best: TorchScript's profiling executor off. Without --peer only the
project's forms run.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

SPECIES = (1, 2, 3, 4)


def toy_cell(distance: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (n, 3) and species of the toy of kang2024: two ions and 2 (120 + 5 d) half
    charges."""
    rng = np.random.default_rng(seed)
    box = np.array([10.0, 10.0, 24.0 + distance])
    points = [np.array([5.0, 5.0, 12.0]), np.array([5.0, 5.0, 12.0 + distance])]
    while len(points) < 2 + 2 * (120 + 5 * distance):
        trial = rng.random(3) * box
        if np.min(np.linalg.norm(np.array(points) - trial, axis=1)) >= 1.5:
            points.append(trial)
    half = (len(points) - 2) // 2
    return np.array(points), np.array([1, 2] + [3] * half + [4] * half)


def options(arguments: argparse.Namespace) -> dict:
    return {
        "cutoff": 5.0,
        "layers": arguments.layers,
        "lmax": arguments.lmax,
        "channels": arguments.channels,
        "parity": not arguments.no_parity,
        "denominator": 30.0,
        "scale": 1.0,
    }


def own_step(arguments: argparse.Namespace, form: str):
    from gnnip.graphs import GraphBatch
    from gnnip.models.contract import evaluate
    from gnnip.models.nequip import NequIP, NequIPHyperparameters, convolution

    if form == "dense":
        convolution.available = lambda *_: False
    positions, numbers = toy_cell()
    batch = GraphBatch.from_structures(
        [{"positions": positions, "numbers": numbers}], 5.0, device=arguments.device
    )
    model = NequIP(NequIPHyperparameters(species=SPECIES, **options(arguments))).to(
        arguments.device
    )
    parameters = [p for p in model.parameters() if p.requires_grad]

    def step() -> tuple[float, int]:
        found = evaluate(model, batch, forces=True, create_graph=True)
        loss = (found["energy"] / len(numbers)).square().mean() + found["forces"].square().mean()
        torch.autograd.grad(loss, parameters)
        return float(loss.detach()), batch.edge_index.shape[1]

    return step


def peer_step(arguments: argparse.Namespace):
    import sevenn
    from sevenn import _const
    from sevenn.model_build import build_E3_equivariant_model

    torch._C._jit_set_profiling_executor(False)
    torch._C._jit_set_profiling_mode(False)
    o = options(arguments)
    model = build_E3_equivariant_model(
        {
            **_const.DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG,
            "cutoff": o["cutoff"],
            "channel": o["channels"],
            "lmax": o["lmax"],
            "is_parity": o["parity"],
            "num_convolution_layer": o["layers"],
            "conv_denominator": o["denominator"],
            "_number_of_species": len(SPECIES),
            "_type_map": {z: n for n, z in enumerate(SPECIES)},
            "shift": 0.0,
            "scale": 1.0,
        }
    ).to(arguments.device)
    model.train()
    positions, numbers = toy_cell()
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    edges = np.stack(np.nonzero((distances < 5.0) & (distances > 0)))
    vectors = torch.tensor(
        positions[edges[1]] - positions[edges[0]], dtype=torch.float32, device=arguments.device
    )
    index = torch.tensor(edges, device=arguments.device)
    species = torch.tensor(numbers, device=arguments.device)
    constant = {
        "batch": torch.zeros_like(species),
        "num_atoms": torch.tensor([len(numbers)], device=arguments.device),
        "cell_volume": torch.ones(1, device=arguments.device),
    }
    parameters = [p for p in model.parameters() if p.requires_grad]

    def step() -> tuple[float, int]:
        edge = vectors.clone().requires_grad_()
        data = {"x": species, "atomic_numbers": species, "edge_index": index, "edge_vec": edge,
                "edge_length": edge.norm(dim=1), **constant}  # fmt: skip
        found = model(data)
        loss = (found["inferred_total_energy"] / len(numbers)).square().mean()
        loss = loss + found["inferred_force"].square().mean()
        torch.autograd.grad(loss, parameters)
        return float(loss.detach()), index.shape[1]

    assert sevenn
    return step


def serve(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    step = (
        peer_step(arguments)
        if arguments.worker == "sevenn"
        else own_step(arguments, arguments.worker)
    )
    for _ in range(2):
        step()
    for line in sys.stdin:
        if line.strip() != "go":
            break
        start, used = time.perf_counter(), time.process_time()
        loss, edges = step()
        if arguments.device != "cpu":
            torch.cuda.synchronize()
        seconds, used = time.perf_counter() - start, time.process_time() - used
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        record = {"seconds": seconds, "cpu": used, "loss": loss, "edges": edges, "peak_mb": memory}
        print(json.dumps(record), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="python of an environment with sevenn 0.13")
    parser.add_argument("--forms", nargs="+", default=["fused", "dense"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--lmax", type=int, default=2)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--no-parity", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", help="JSON file to write the figures to")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        serve(arguments)
        return
    from gnnip.machine import watched

    forms = ["dense"] if arguments.device != "cpu" else arguments.forms
    programs = {form: sys.executable for form in forms}
    if arguments.peer:
        programs["sevenn"] = arguments.peer
    workers = {
        name: subprocess.Popen(
            [python, __file__, *sys.argv[1:], "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, python in programs.items()
    }
    times: dict[str, list[float]] = {name: [] for name in workers}
    cpu: dict[str, list[float]] = {name: [] for name in workers}
    last: dict[str, dict] = {}
    with watched() as machine:
        for _ in range(arguments.repeats):
            for name, worker in workers.items():
                assert worker.stdin is not None
                assert worker.stdout is not None
                print("go", file=worker.stdin, flush=True)
                last[name] = json.loads(worker.stdout.readline())
                times[name].append(last[name]["seconds"])
                cpu[name].append(last[name]["cpu"])
    for worker in workers.values():
        worker.communicate("stop\n")
    gpu = f", {torch.cuda.get_device_name()}" if arguments.device != "cpu" else ""
    print(
        f"{machine.name}{gpu}, {arguments.threads} threads, torch {torch.__version__}; float32, "
        f"{last[forms[0]]['edges']} edges"
    )
    base = min(times[forms[0]])
    for name, found in times.items():
        print(
            f"{name:8s} min {min(found):7.3f} s  median {statistics.median(found):7.3f} s  "
            f"min / {forms[0]} {min(found) / base:6.2f}  CPU min {min(cpu[name]):7.3f} s  "
            f"peak memory {last[name]['peak_mb']:6.0f} MB"
        )
    if arguments.output:
        from gnnip.files import write_json

        rows = {
            name: {
                "min_s": min(found),
                "median_s": statistics.median(found),
                "cpu_min_s": min(cpu[name]),
                "peak_mb": last[name]["peak_mb"],
            }
            for name, found in times.items()
        }
        about = {"processor": machine.name + gpu, "threads": arguments.threads}
        case = {k: v for k, v in options(arguments).items() if k not in ("denominator", "scale")}
        write_json(
            arguments.output,
            about
            | {"torch": torch.__version__, "edges": last[forms[0]]["edges"]}
            | case
            | {"repeats": arguments.repeats, "programs": rows},
        )


if __name__ == "__main__":
    main()

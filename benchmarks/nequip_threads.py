"""Time of a training step and of a step of dynamics of NequIP with several threads against one, on
the machine as it is and beside busy processes.

    python benchmarks/nequip_threads.py [--channels 8 --repeats 3] [--output FILE]

Each arm is a process that answers "go" with the time of a step; arms alternate, so all see the same
machine. Threads that always spin while they wait are what libgomp does when left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

TASKS = ("training", "dynamics")
SETTLING = 1.5  # s until the threads know how to wait after another arm ran
MEASURED = 0.5  # s, at least one step


def arms(threads: int) -> dict[str, dict[str, str]]:
    """Return the environment of each arm, without what all share."""
    several = {"OMP_NUM_THREADS": str(threads)}
    return {
        "one thread": {"OMP_NUM_THREADS": "1"},
        f"{threads} threads": several,
        f"{threads}, always spinning": several | {"GOMP_SPINCOUNT": "300000"},
        f"{threads}, always asleep": several | {"OMP_WAIT_POLICY": "passive"},
    }


def start(task: str, channels: int, arm: dict[str, str]) -> subprocess.Popen[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    return subprocess.Popen(
        [sys.executable, __file__, "--worker", task, "--channels", str(channels)],
        env=clean | arm,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(worker: subprocess.Popen[str]) -> dict[str, float]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    print("go", file=worker.stdin, flush=True)
    return dict(json.loads(worker.stdout.readline()))


def serve(task: str, channels: int) -> None:
    from gnnip.threads import used_by_others

    step = (training if task == "training" else dynamics)(channels)
    for _ in sys.stdin:
        run_for(step, SETTLING)
        spent, used = time.process_time(), used_by_others()
        wall, count = run_for(step, MEASURED)
        cpu, others = (time.process_time() - spent) / count, (used_by_others() - used) / wall
        print(json.dumps({"wall": wall / count, "cpu": cpu, "others": others}), flush=True)


def run_for(step: Callable[[], Any], seconds: float) -> tuple[float, int]:
    """Return the seconds and the number of steps that this took."""
    began, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        step()
        count += 1
    return passed, count


def training(channels: int) -> Callable[[], Any]:
    from nequip_step import own_step

    size = argparse.Namespace(layers=4, lmax=2, channels=channels, no_parity=False, device="cpu")
    return own_step(size, "fused")


def dynamics(channels: int) -> Callable[[], Any]:
    from md_batch import crystal

    from gnnip import md, models

    potential = models.build(
        "nequip", species=(6, 14), cutoff=4.0, layers=2, lmax=1, channels=channels // 2,
        denominator=20.0, scale=1e-5,
    ).eval()  # fmt: skip
    state = md.from_atoms([crystal(2)], temperature=1.0, seeds=[0])
    run = md.Simulation(potential, state, md.VelocityVerlet(0.01), frame_every=None)

    def step() -> None:
        run.run(run.step + 1)
        assert not run.failures

    return step


def compare(task: str, threads: int, busy: int, channels: int, repeats: int) -> dict[str, Any]:
    """Return of each arm the medians of the wall and CPU seconds of a step and of the cores that
    others used meanwhile, and the fastest step."""
    workers = {name: start(task, channels, arm) for name, arm in arms(threads).items()}
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        answers: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
        for _ in range(repeats):
            for name, worker in workers.items():
                answers[name].append(answer(worker))
    finally:
        for process in (*loops, *workers.values()):
            process.kill()
            process.wait()
    times = {
        name: {key: statistics.median(a[key] for a in found) for key in ("wall", "cpu", "others")}
        | {"fastest": min(a["wall"] for a in found)}
        for name, found in answers.items()
    }
    return {"task": task, "busy_processes": busy, "arms": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2], help="busy processes")
    parser.add_argument("--channels", type=int, default=32, help="32 if left out; 8 is quick")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", help="JSON file to write the figures to")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        serve(arguments.worker, arguments.channels)
        return
    rows = []
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; medians of steps")
    for task in arguments.tasks:
        for busy in arguments.busy:
            row = compare(task, arguments.threads, busy, arguments.channels, arguments.repeats)
            rows.append(row)
            print(f"{task} beside {busy} busy processes")
            base = row["arms"]["one thread"]["wall"]
            for name, found in row["arms"].items():
                print(
                    f"  {name:18s} {1000 * found['wall']:8.1f} ms  {found['wall'] / base:5.2f} of "
                    f"one thread  CPU {1000 * found['cpu']:8.1f} ms  fastest "
                    f"{1000 * found['fastest']:8.1f} ms  others use {found['others']:.1f} cores"
                )
    if arguments.output:
        from gnnip.files import write_json

        settings = {k: getattr(arguments, k) for k in ("threads", "channels", "repeats")}
        write_json(arguments.output, {"cores": os.cpu_count()} | settings | {"rows": rows})


if __name__ == "__main__":
    main()

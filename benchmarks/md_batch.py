"""Speed of batched dynamics: replicas of a 64-atom crystal in one batch against one ASE loop per
replica, same model, in alternating bursts of one run; ratio of atom-steps per second. The cost of
large crystals is md_scaling.py's.

    OMP_NUM_THREADS=2 python benchmarks/md_batch.py [--model spektral|pair] [--output FILE]
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet as AseVerlet

from gnnip import md, models
from gnnip.files import write_json
from gnnip.graphs import GraphBatch
from gnnip.machine import watched
from gnnip.models.calculator import PotentialCalculator
from gnnip.models.contract import Potential

LATTICE = 4.36  # 3C-SiC, Angstrom


class Pair(Potential):
    """A harmonic Si-C bond with a smooth end: so cheap that the engine's own cost shows."""

    cutoff = 2.6

    def __init__(self) -> None:
        super().__init__(None)
        self.register_buffer("rest", torch.tensor(LATTICE * 3**0.5 / 4, dtype=torch.float32))

    @property
    def dtype(self) -> torch.dtype:
        return self.rest.dtype

    @property
    def device(self) -> torch.device:
        return self.rest.device

    def forward(self, batch: GraphBatch) -> dict[str, torch.Tensor]:
        r = batch.edge_lengths()
        x = (1.0 - (r / self.cutoff) ** 2).clamp(min=0.0)
        atomic = batch.adjacency.sum_messages(2.0 * ((r - self.rest) ** 2 - 0.6) * x**3)
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}


def build(name: str) -> Potential:
    """Return the model; the network is untrained, its output so small that the crystal lives."""
    if name == "pair":
        return Pair()
    torch.manual_seed(0)
    model = models.build(
        "spektral", layer="gat", features="invariant", elements=(6, 14), cutoff=10.0, channels=32
    )
    model.scale.fill_(1e-5)
    return model.eval()


def crystal(
    repeats: int | Sequence[int],
    symbols: tuple[str, str] = ("Si", "C"),
    lattice: float = LATTICE,
) -> Atoms:
    """Return zincblende, 8 atoms per cell, so many cells along each side or along the three; the
    lattice constant in Angstrom."""
    sides = [repeats] * 3 if isinstance(repeats, int) else list(repeats)
    face = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    grid = np.array(list(itertools.product(*map(range, sides))))
    places = (grid[:, None] + np.concatenate([face, face + 0.25])).reshape(-1, 3) * lattice
    cell = [symbols[0]] * 4 + [symbols[1]] * 4
    return Atoms(cell * len(grid), places, cell=lattice * np.array(sides), pbc=True)


def engine(model: Potential, atoms: Atoms, n_replicas: int, skin: float) -> md.Simulation:
    state = md.from_atoms([atoms] * n_replicas, temperature=600.0, seeds=range(n_replicas))
    return md.Simulation(
        model, state, md.VelocityVerlet(0.5), skin=skin, frame_every=None, record_every=10
    )


def against_ase(
    model: Potential, n_replicas: int, burst: int, rounds: int, skin: float
) -> dict[str, Any]:
    atoms = crystal(2)
    batch = engine(model, atoms, n_replicas, skin)
    start = md.from_atoms([atoms] * n_replicas, temperature=600.0, seeds=range(n_replicas))
    loops = []
    for row in range(n_replicas):
        copy = atoms.copy()
        copy.set_velocities(start.select([row]).velocities.numpy() / units.fs)
        copy.calc = PotentialCalculator(model)
        loops.append(AseVerlet(copy, 0.5 * units.fs))
    batch.run(2)
    for loop in loops:
        loop.run(2)
    wall: dict[str, list[float]] = {"batch": [], "ase": []}
    cpu: dict[str, list[float]] = {"batch": [], "ase": []}
    for number in range(rounds):
        for name in ("batch", "ase"):
            began, spent = time.perf_counter(), time.process_time()
            if name == "batch":
                batch.run(2 + burst * (number + 1))
            else:
                for loop in loops:
                    loop.run(burst)
            wall[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - spent)
    difference = max(
        float(np.abs(loop.atoms.positions - batch.state.select([row]).positions.numpy()).max())
        for row, loop in enumerate(loops)
    )
    steps = len(atoms) * n_replicas * burst
    return {
        "replicas": n_replicas,
        "atoms": len(atoms),
        "steps": burst * rounds,
        "atom_steps_per_s_batch": steps / float(np.median(wall["batch"])),
        "atom_steps_per_s_ase": steps / float(np.median(wall["ase"])),
        "ratio_wall": float(np.median(np.array(wall["ase"]) / np.array(wall["batch"]))),
        "ratio_wall_fastest": min(wall["ase"]) / min(wall["batch"]),
        "ratio_cpu": sum(cpu["ase"]) / sum(cpu["batch"]),
        "largest_difference_angstrom": difference,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("spektral", "pair"), default="spektral")
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--burst", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--skin", type=float, default=1.0)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    model = build(arguments.model)
    result: dict[str, Any] = {
        "model": arguments.model,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }
    with watched() as machine:
        compared = against_ase(
            model, arguments.replicas, arguments.burst, arguments.rounds, arguments.skin
        )
    result["hardware"] = machine.name
    result["against_ase"] = compared
    print(machine.name)
    print(
        f"{arguments.model}: {compared['replicas']} x {compared['atoms']} atoms: batch "
        f"{compared['atom_steps_per_s_batch']:.3g}, ASE {compared['atom_steps_per_s_ase']:.3g} "
        f"atom-steps/s; ratio {compared['ratio_wall']:.2f} (wall, median of bursts), "
        f"{compared['ratio_wall_fastest']:.2f} (fastest bursts), {compared['ratio_cpu']:.2f} (CPU)"
    )
    if arguments.output:
        write_json(arguments.output, result)


if __name__ == "__main__":
    main()

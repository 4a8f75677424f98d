"""Bonds that break in hot dynamics of two ion pairs: starts, counting, and the reference's own run.

python -m hoedl2022.hot

moves packed boxes by the reference of the archive `ean`, GFN1-xTB: first to liquids at 500 K, whose
last structures are written to hot_starts.xyz, then at the temperature of the comparison, whose
counts are written to hot_bonds_xtb.csv. It takes minutes, and hours on a busy machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gnnip.files import atomic_path, write_text
from gnnip.models.elements import COVALENT_RADII
from gnnip.sampling.ean import SYSTEM, start

STARTS, TABLE = (Path(__file__).with_name(n) for n in ("hot_starts.xyz", "hot_bonds_xtb.csv"))
ENGINE = "xtb method=GFN1-xTB accuracy=10"
ATOMS, REPLICAS = 30, 2
#: K and fs
LIQUID, SETTLING, HOT, DURATION, TIME_STEP, EVERY = 500.0, 100.0, 2000.0, 200.0, 0.5, 5.0
#: distance over the sum of covalent radii below which there is a bond at the start, and above which
#: it is broken; between the two lie vibrations
BOND, BROKEN = 1.25, 1.6


def bonds(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the pairs (n, 2), first below second, of atoms that are bonded."""
    first, second = np.triu_indices(len(numbers), 1)
    near = _shares(numbers, positions, cell, np.stack([first, second], axis=1)) < BOND
    return np.stack([first, second], axis=1)[near]


def broken(
    pairs: np.ndarray, numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray
) -> np.ndarray:
    """Return which of the bonds `pairs` (n, 2) are broken in a structure, (n,) bool."""
    return _shares(numbers, positions, cell, pairs) > BROKEN


def _shares(
    numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    # the nearest image, in a cell along the axes
    edges = np.diag(cell)
    vectors = positions[pairs[:, 0]] - positions[pairs[:, 1]]
    vectors -= np.round(vectors / edges) * edges
    radii = np.array([COVALENT_RADII[int(z)] for z in numbers])
    return np.linalg.norm(vectors, axis=1) / (radii[pairs[:, 0]] + radii[pairs[:, 1]])


def run(potential: Any, starts: list[Any], temperature: float, duration: float) -> Any:
    """Return the trajectories of all starts (ase.Atoms), moved for `duration` (fs) at K."""
    from gnnip import md

    state = md.from_atoms(starts, temperature=temperature, seeds=range(len(starts)))
    steps = round(EVERY / TIME_STEP)
    moved = md.Simulation(
        potential, state, md.Langevin(TIME_STEP, 0.02), record_every=steps, frame_every=steps
    )
    return moved.run(round(duration / TIME_STEP))


def counted(name: str, result: Any, starts: list[Any]) -> pd.DataFrame:
    """Return potential, replica, time_fs, broken (bonds of all kinds) and broken_n_h of every
    frame, and failed, 1 where the replica failed later on."""
    rows = []
    for trajectory, atoms in zip(result.trajectories, starts, strict=True):
        cell, z = atoms.cell.array, atoms.numbers
        pairs = bonds(z, atoms.positions, cell)
        kinds = np.sort(z[pairs], axis=1)
        n_h = (kinds[:, 0] == 1) & (kinds[:, 1] == 7)
        for time, positions in zip(trajectory.time_fs, trajectory.positions, strict=True):
            apart = broken(pairs, z, np.asarray(positions, dtype=float), cell)
            about = {"potential": name, "replica": trajectory.replica, "time_fs": float(time)}
            counts = {"broken": int(apart.sum()), "broken_n_h": int((apart & n_h).sum())}
            failed = trajectory.failure is not None
            rows.append(about | counts | {"bonds": len(pairs), "failed": int(failed)})
    return pd.DataFrame(rows)


def read_starts() -> list[Any]:
    """Return the structures that all potentials start from, as ase.Atoms."""
    from ase.io import read

    return list(read(STARTS, index=":", format="extxyz"))


def main() -> None:
    """Make the starts and the reference's counts."""
    from ase.io import write

    from gnnip.reference import make_calculator

    def reference(_: int) -> Any:
        return make_calculator(ENGINE)

    plan = SYSTEM.smoke_plan(ATOMS)
    packed = [start(plan, np.random.default_rng(seed)) for seed in range(REPLICAS)]
    liquid = run(reference, packed, LIQUID, SETTLING)
    for number, atoms in enumerate(packed):
        atoms.positions = np.asarray(liquid.final[number].positions.reshape(-1, 3))
        atoms.calc = None
    with atomic_path(STARTS) as temporary:
        write(temporary, packed, format="extxyz")
    starts = read_starts()
    table = counted("reference", run(reference, starts, HOT, DURATION), starts)
    write_text(TABLE, table.to_csv(index=False))


if __name__ == "__main__":
    main()

"""Does a trained network know that energy depends neither on place nor on orientation?

Every test frame is rotated, shifted and mirrored, and the network is asked again. An exact symmetry
changes no prediction by more than rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from gnnip.measurements import metrics

if TYPE_CHECKING:
    from gnnip.graphs import GraphBatch
    from gnnip.measurements.kinds import SymmetryAudit
    from gnnip.measurements.sources import Sources, Trained


def random_rotations(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return rotation matrices (count, 3, 3), uniform over all orientations.

    From normalised Gaussian quaternions: those are uniform on the unit sphere in four dimensions.
    """
    q = rng.normal(size=(count, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


class Move(NamedTuple):
    """A motion of each frame, x to turn x + shift: turn (frames, 3, 3), shift (frames, 3) Å."""

    turn: np.ndarray
    shift: np.ndarray

    def vectors(self, x: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Return the vectors x (n, 3), turned; frame (n,) are the frames that they belong to."""
        return np.einsum("nij,nj->ni", self.turn[frame], x)

    def points(self, x: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Return the points x (n, 3) Å of the frames (n,), turned and shifted."""
        return self.vectors(x, frame) + self.shift[frame]


def moves(n_frames: int, shift: float, seed: int) -> dict[str, Move]:
    """Return the moves by name: none; rotation, another one for each frame; shift, `shift` Å in a
    direction of its own for each frame; mirror, x to -x."""
    rng = np.random.default_rng(seed)
    rotations = random_rotations(n_frames, rng)
    directions = random_rotations(n_frames, rng)[:, :, 0]
    still, place = np.tile(np.eye(3), (n_frames, 1, 1)), np.zeros((n_frames, 3))
    return {
        "none": Move(still, place),
        "rotation": Move(rotations, place),
        "shift": Move(still, shift * directions),
        "mirror": Move(still * np.array([-1.0, 1.0, 1.0]), place),
    }


def audit_symmetry(sources: Sources, options: SymmetryAudit) -> pd.DataFrame:
    """Return the error of each network on its moved test frames.

    One row per training and move: group, the values of the group's matrix, seed, (dataset,)
    transformation, mae_ev (to the reference), change_ev (mean |E(moved) - E|), n_frames.

    DataError for predictions without test frames.
    """
    rows = []
    for one in sources.potentials():
        true = np.sum([one.test.energy(term) for term in one.terms], axis=0)
        found = {
            name: _energies(one, move, options.batch_size)
            for name, move in moves(one.test.n_frames, options.shift, options.seed).items()
        }
        about = {"group": one.training.group, **one.training.keys, **one.about}
        del about["cell"]  # its name is made of the values
        rows += [
            {
                **about,
                "transformation": name,
                "mae_ev": metrics.mae(true, energies),
                "change_ev": float(np.abs(energies - found["none"]).mean()),
                "n_frames": one.test.n_frames,
            }
            for name, energies in found.items()
        ]
    return pd.DataFrame(rows)


def _energies(one: Trained, move: Move, batch_size: int) -> np.ndarray:
    """Return the energies (frames,) of the moved test frames, eV."""
    import torch

    energies = []
    with torch.no_grad():
        for batch in one.store.batches(torch.arange(one.test.n_frames), batch_size):
            output = one.model(_moved(batch, move))
            energies.append(output["energy"].double().cpu().numpy())
    return np.concatenate(energies)


def _moved(batch: GraphBatch, move: Move) -> GraphBatch:
    import torch

    def like(old: torch.Tensor, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=old.dtype, device=old.device)

    assert batch.frame is not None
    frame, atom = batch.frame.cpu().numpy(), batch.batch.cpu().numpy()
    positions = batch.positions.cpu().numpy().astype(np.float64)
    # distances do not change, so the graph and its stored lengths stay valid
    changed: dict[str, Any] = {
        "positions": like(batch.positions, move.points(positions, frame[atom]))
    }
    if batch.edge_shift is not None and batch.cell is not None:
        shifts = batch.edge_shift.cpu().numpy().astype(np.float64)
        of_edge = frame[atom[batch.edge_index[1].cpu().numpy()]]
        changed["edge_shift"] = like(batch.edge_shift, move.vectors(shifts, of_edge))
        cell = batch.cell.cpu().numpy().astype(np.float64).reshape(-1, 3)
        turned = move.vectors(cell, np.repeat(frame, 3)).reshape(-1, 3, 3)
        changed["cell"] = like(batch.cell, turned)
    return replace(batch, **changed)

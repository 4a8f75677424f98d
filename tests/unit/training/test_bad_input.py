"""What a user may get wrong in the data or in the folder of a training: one sentence each."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_trainings import CRYSTAL, PAIR, divide, graphs, make_crystals, make_frames, run

from gnnip.errors import CheckpointError, DataError, StructureError
from gnnip.models import build, evaluate, predict


def with_nan(frames):
    frames.positions[frames.offsets[30]] = np.nan


def with_coinciding_atoms(frames):
    start = frames.offsets[30]
    frames.positions[start + 1] = frames.positions[start]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_nan, r"Structure 30: The position of atom 0 is not finite"),
        (with_coinciding_atoms, r"Structure 30: Atoms 0 and 1 are at one point"),
    ],
)
def test_bad_positions_name_the_frame(tmp_path, spoil, message):
    frames = make_frames()
    spoil(frames)
    with pytest.raises(StructureError, match=message):
        run(tmp_path, "pair", frames=frames)


def test_empty_frame(tmp_path):
    frames = make_frames()
    offsets = frames.offsets.copy()
    offsets[31:] -= offsets[31] - offsets[30]
    n = offsets[-1]
    empty = replace(
        frames, positions=frames.positions[:n], numbers=frames.numbers[:n], offsets=offsets
    )
    with pytest.raises(StructureError, match="Structure 30: The structure has no atoms"):
        run(tmp_path, "pair", frames=empty)


def test_cell_without_volume(tmp_path):
    frames = make_crystals(6)
    frames.cells[2, 1] = 2 * frames.cells[2, 0]
    with pytest.raises(StructureError, match="Structure 2: The periodic cell has no volume"):
        run(tmp_path, "pair", CRYSTAL, frames, split=divide(3, 1, 1))


def test_element_that_no_training_frame_has(tmp_path):
    """Found before the training, not when the test frames are predicted."""
    frames = make_frames()
    frames.numbers[frames.offsets[36]] = 9
    model = PAIR | {"species": (1, 8, 9)}
    with pytest.raises(DataError, match=r"atomic numbers \[9\], which no training frame has"):
        run(tmp_path, "pair", model, frames)
    with pytest.raises(DataError, match=r"set up for the atomic numbers \[1, 8\], not for \[9\]"):
        run(tmp_path, "pair", frames=frames)
    assert not (tmp_path / "summary.json").exists()


def test_graph_for_another_cutoff():
    frames = make_frames(2)
    model = build("pair", **PAIR)
    store = graphs(frames, 4.0, torch.float32)
    message = "closer than 4 Angstrom and the potential 'pair' is defined with 5; build it with"
    with pytest.raises(DataError, match=message):
        evaluate(model, store.batch(torch.arange(2)))
    with pytest.raises(DataError, match=message):
        predict(model, store, forces=True)


class Evil:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_checkpoint_that_is_a_pickle(tmp_path, kind):
    trace = tmp_path / "trace"
    path = tmp_path / "checkpoint.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Evil(trace)))
    else:
        torch.save({"identity": Evil(trace)}, path)
    with pytest.raises(CheckpointError, match=r"checkpoint.pt is damaged; delete it"):
        run(tmp_path, "pair")
    assert not trace.exists()

"""What a full disk, or a limit of file sizes, does to every kind of file: nothing is lost."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from matplotlib.figure import Figure

from disks import fill, limited, small_disk
from gnnip import md
from gnnip.artefacts import style
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.store import write_frames
from gnnip.errors import DataError, GnnipError
from gnnip.files import write_hdf5, write_json, write_text
from gnnip.md.checkpoint import write_checkpoint
from gnnip.md.trajectory import Recorder
from gnnip.models.structure_files import write_structures
from gnnip.models.weights import write_weights
from gnnip.reference.engines import Evaluation, make_engine
from gnnip.reference.labelling import label_frames, write_label
from gnnip.sampling import frames as sampled

LIMIT = 500
MANY = np.arange(3000.0).reshape(-1, 3)


@dataclass
class Plan:
    size: int = 1


def table(path: Path) -> None:
    write_text(path, pd.DataFrame(MANY).to_csv(index=False))


def picture(path: Path) -> None:
    drawn = Figure()
    drawn.add_subplot().plot(MANY[:, 0])
    style.save(drawn, path)


def data_set(path: Path) -> None:
    frames = FrameArrays(
        positions=MANY,
        numbers=np.ones(1000, dtype=int),
        offsets=np.array([0, 1000]),
        energies={"total": np.zeros(1)},
        units={"positions": "Angstrom", "energies": "eV"},
    )
    write_frames(path, frames, attributes={})


def segment(path: Path) -> None:
    recorder = Recorder()
    recorder.add_frame(0, 0.0, MANY, MANY)
    recorder.write_segment(path)


def packed(path: Path) -> None:
    """Write what HDF5 holds back until the file is closed."""
    with write_hdf5(path) as file:
        for k in range(9):
            file.create_dataset(f"a/{k}", data=np.arange(900), compression="gzip")


#: by the name of the file that each writes
WRITERS = {
    "table.csv": table,
    "verdicts.json": lambda path: write_json(path, MANY.tolist()),
    "figure.png": picture,
    "figure.svg": picture,
    "frames.h5": data_set,
    "000000.h5": segment,
    "packed.h5": packed,
    "checkpoint.npz": lambda path: write_checkpoint(path, {}, {"positions": MANY}),
    "model.safetensors": lambda path: write_weights(path, {"weights": torch.tensor(MANY)}),
    "frames.npz": lambda path: sampled.save(path, Plan(), positions=MANY),
    "label.npz": lambda path: write_label(
        path.parent, path.stem, Evaluation(0.0, MANY, None), seconds=1.0
    ),
    "structures.xyz": lambda path: write_structures(path, [Atoms("H1000", MANY)]),
}


def refused(path: Path, error: int) -> None:
    """Let the writer of a file fail: one sentence says so and the file stays as it was."""
    path.write_bytes(b"what was there")
    before = sorted(os.listdir(path.parent))
    with pytest.raises(DataError) as caught:
        WRITERS[path.name](path)
    said = str(caught.value)
    assert said.startswith(f"Could not write {path}: {os.strerror(error)}; ")
    assert said.endswith("and run the same command again (nothing that was there is lost).")
    assert "\n" not in said
    assert path.read_bytes() == b"what was there"
    assert sorted(os.listdir(path.parent)) == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_of_file_sizes(tmp_path, capfd, name):
    path, whole = tmp_path / "a" / name, tmp_path / "b" / name
    path.parent.mkdir()
    with limited(LIMIT):
        refused(path, errno.EFBIG)
    assert capfd.readouterr() == ("", "")
    for target in (path, whole):
        WRITERS[name](target)
    assert path.stat().st_size > LIMIT
    assert path.read_bytes() == whole.read_bytes()


def test_a_disk_that_is_full(tmp_path):
    try:
        with small_disk(tmp_path):
            ballast = fill(tmp_path)
            for name in WRITERS:
                with open(ballast, "r+b") as stream:  # room for the old file
                    stream.truncate(ballast.stat().st_size - 4096)
                refused(tmp_path / name, errno.ENOSPC)
            ballast.unlink()
            for name, write in WRITERS.items():
                write(tmp_path / name)
                assert (tmp_path / name).stat().st_size > LIMIT
    except PermissionError as error:
        pytest.skip(f"only root can mount a small disk ({error})")


def test_dynamics_go_on_when_there_is_room(tmp_path):
    def move(folder: Path, steps: int) -> None:
        state = md.from_atoms([bulk("Cu", cubic=True)], temperature=300.0, seeds=[0])
        run = md.Simulation(
            lambda replica: make_engine("ase:emt").calculator(),
            state,
            md.VelocityVerlet(1.0),
            frame_every=1,
            folder=folder,
            checkpoint_every=2,
        )
        run.run(steps)

    cut, whole = tmp_path / "cut", tmp_path / "whole"
    move(cut, 4)
    with limited(LIMIT), pytest.raises(DataError, match=r"Could not write .*cut/.*run the same"):
        move(cut, 20)
    for folder in (cut, whole):
        move(folder, 20)
    one, other = (md.read_trajectory(folder / "trajectory.h5")[0] for folder in (cut, whole))
    assert len(one.time_fs) == 21
    np.testing.assert_array_equal(one.positions, other.positions)


def test_labels_that_cannot_be_kept_stop_the_run(tmp_path):
    """A frame must not be left out because there was no room for its label."""
    frames = [bulk("Cu", cubic=True) for _ in range(3)]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=k)
    engine = make_engine("ase:emt")
    label_frames(frames[:1], engine, tmp_path, progress=str)
    (kept,) = tmp_path.iterdir()
    with limited(LIMIT), pytest.raises(GnnipError, match=r"Could not write .*\.npz: File too"):
        label_frames(frames, engine, tmp_path, workers=2, progress=str)
    assert list(tmp_path.iterdir()) == [kept]
    labels = label_frames(frames, engine, tmp_path, progress=str)
    assert (labels.reused, labels.failures) == (1, {})

"""Small labelled frames, and one call that trains on them within a second."""

import csv
import json
from dataclasses import replace

import numpy as np
import torch

from gnnip.datasets.arrays import FrameArrays
from gnnip.graphs import GraphStore
from gnnip.models import build, predict
from gnnip.models.weights import read_weights
from gnnip.training import Settings, train

TINY = {"channels": 8, "dense_units": 8, "cutoff": 5.0}
PAIR = {"species": (1, 8), "n_radial": 6, "cutoff": 5.0}
CRYSTAL = {"species": (3, 9), "n_radial": 4, "cutoff": 3.5}
FORCES = {"force_weight": 1.0, "loss": "mse", "per_atom": True}


def divide(*sizes):
    """Return a split of consecutive frames."""
    bounds = np.cumsum([0, *sizes])
    names = ("train", "validation", "test")
    return {name: np.arange(bounds[k], bounds[k + 1]) for k, name in enumerate(names)}


SPLIT, THIRDS = divide(28, 6, 6), divide(20, 5, 5)


def make_frames(n_frames=40, seed=0, forces=False):
    """Dimers and trimers of water-like molecules under a pair potential, eV and Angstrom."""
    rng = np.random.default_rng(seed)
    molecule = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    positions, numbers, sizes, energies, gradients = [], [], [], [], []
    for _ in range(n_frames):
        n = int(rng.integers(2, 4))
        p = np.concatenate([molecule + np.array([2.5 * k, 0, 0]) for k in range(n)])
        p = p + rng.normal(0, 0.1, p.shape)
        d = p[:, None] - p[None] + 10.0 * np.eye(3 * n)[:, :, None]
        r = np.linalg.norm(d, axis=-1)
        energies.append(0.5 * np.exp(-r).sum())
        gradients.append((np.exp(-r) / r)[:, :, None] * d * (1 - np.eye(3 * n))[:, :, None])
        positions.append(p)
        numbers.append(np.tile([8, 1, 1], n))
        sizes.append(n)
    offsets = np.concatenate([[0], np.cumsum([len(x) for x in numbers])])
    return FrameArrays(
        np.concatenate(positions),
        np.concatenate(numbers),
        offsets,
        {"pair": np.array(energies), "other": np.array(sizes) * 1.0},
        {"pair": np.concatenate([g.sum(1) for g in gradients])} if forces else {},
        {
            "n_molecules": np.array(sizes),
            "temperature_k": np.full(n_frames, 100.0),
            "trajectory": np.array([f"t{k % 4}" for k in range(n_frames)]),
        },
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )


def make_crystals(n_frames=24, seed=0):
    """Strained rock salt of 8 atoms with displaced atoms and labels of a pair potential."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[range(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cells = 4.0 * (np.eye(3) + rng.uniform(-0.08, 0.08, (n_frames, 3, 3)))
    positions = np.einsum("ni,fij->fnj", grid / 2, cells)
    positions += rng.normal(0, 0.1, positions.shape)
    frames = FrameArrays(
        positions.reshape(-1, 3),
        np.tile(np.where(grid.sum(1) % 2, 9, 3), n_frames),
        np.arange(n_frames + 1) * 8,
        {},
        cells=cells,
        pbc=np.ones((n_frames, 3), dtype=bool),
    )
    return taught_by_pairs(frames, CRYSTAL, seed, stress=True)


def taught_by_pairs(frames, hyperparameters, seed=0, stress=False):
    """Replace the labels of frames by what a pair potential says."""
    torch.manual_seed(seed)
    teacher = build("pair", **hyperparameters).double()
    torch.nn.init.normal_(teacher.coefficients)
    said = predict(teacher, graphs(frames, teacher.cutoff), forces=True, stress=stress)
    return replace(
        frames,
        energies={"pair": said["energy"]},
        forces={"pair": said["forces"]},
        stresses={"pair": said["stress"]} if stress else {},
    )


def graphs(frames, cutoff, dtype=torch.float64):
    """Return the frames as graphs."""
    return GraphStore.from_frames(frames, cutoff, dtype=dtype)


def settings(**changes):
    return Settings(**{"epochs": 4, "batch_size": 8, "device": "cpu"} | changes)


def quiet(_):
    pass


def run(
    folder, model="spektral", options=None, frames=None, term="pair", split=SPLIT, say=quiet, **how
):
    """Train into a folder and return the summary; what is left out is the smallest of its kind."""
    options = {"spektral": TINY, "pair": PAIR}[model] if options is None else options
    frames = make_frames() if frames is None else frames
    return train(model, options, frames, term, split, settings(**how), folder, say)


def read_table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def weights_of(folder):
    return read_weights(folder / "model.safetensors")


def same_weights(a, b, **tolerances):
    """Tell whether the weights in two folders are equal, or close when there are tolerances."""
    a, b = weights_of(a), weights_of(b)
    equal = torch.allclose if tolerances else torch.equal
    return all(equal(a[k], b[k], **tolerances) for k in a)


def write_spec(folder, trainings):
    path = folder / "spec.json"
    path.write_text(json.dumps({"trainings": trainings}))
    return path


def entry(**changes):
    """Return a training of a spec, on the frames in `frames.h5` beside it."""
    return {
        "folder": "out",
        "data": "frames.h5",
        "model": "spektral",
        "hyperparameters": {"layer": "gcs", "channels": 8, "dense_units": 8},
        "term": "pair",
        "split": {"scheme": "random"},
        "settings": {"epochs": 2, "batch_size": 8, "device": "cpu"},
    } | changes

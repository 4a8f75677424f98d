"""Finished trainings, made up: weights and predictions where measurements look for them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
from ase import Atoms
from ase.build import bulk

from gnnip import models
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.store import write_frames
from gnnip.measurements.dynamics.comparison import compare_dynamics
from gnnip.measurements.kinds import Dynamics
from gnnip.measurements.sources import Sources, Training


def water_clusters(count, noise, rng):
    """Return clusters of four water-like molecules, side by side, with noise (Angstrom)."""
    water = np.tile([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]], (4, 1))
    place = 3.0 * np.repeat(np.stack(np.meshgrid([0, 1], [0, 1], [0]), -1).reshape(-1, 3), 3, 0)
    return [
        Atoms("OH2" * 4, water + place + noise * rng.normal(size=(12, 3))) for _ in range(count)
    ]


def crystals(count):
    """Return cubes of SiC, each shaken in another way."""
    found = [bulk("SiC", "zincblende", a=4.38, cubic=True) for _ in range(count)]
    for seed, atoms in enumerate(found):
        atoms.rattle(0.1, seed=seed)
    return found


def frames_of(structures, forces=None, metadata=None, **energies):
    """Return the frames of a list of `ase.Atoms`; labels by term, eV and eV/Angstrom."""
    periodic = any(atoms.pbc.any() for atoms in structures)
    return FrameArrays(
        positions=np.concatenate([atoms.positions for atoms in structures]),
        numbers=np.concatenate([atoms.numbers for atoms in structures]),
        offsets=np.cumsum([0, *(len(atoms) for atoms in structures)]),
        energies={term: np.asarray(values) for term, values in energies.items()},
        forces=forces or {},
        metadata={name: np.asarray(values) for name, values in (metadata or {}).items()},
        cells=np.stack([atoms.cell.array for atoms in structures]) if periodic else None,
        pbc=np.stack([atoms.pbc for atoms in structures]) if periodic else None,
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )


def training(folder, model, test, /, group="group", seed=0, dataset="frames", term="total", **keys):
    """Save a model as the trainer does, tested on the frames `test`; `keys` are its matrix's."""
    cell = "_".join(f"{key}-{value}" for key, value in keys.items()) or "all"
    place = folder / "trainings" / group / cell / f"seed-{seed}"
    place.mkdir(parents=True)
    model.training_record = {"term": term, "model": model.architecture, "seed": seed}
    models.save(model, place / "model")
    # a frame of another subset, which is not even in the data set, is never asked for
    table = {"frame": [10**6, *test], "subset": ["validation"] + ["test"] * len(test)}
    pd.DataFrame(table).to_csv(place / "predictions.csv", index=False)
    return Training(place, group, cell, seed, dataset, keys)


def sources(folder, trainings=(), **datasets):
    """Write the frames of each data set and return the sources of a measurement."""
    paths = {name: folder / f"{name}.h5" for name in datasets}
    for name, frames in datasets.items():
        write_frames(paths[name], frames, attributes={})
    return Sources(paths, tuple(trainings))


def moved_by(dataset, models, trajectories=None):
    """Return the sources of a measurement of dynamics by {name: file of the weights}."""
    named = [SimpleNamespace(name=name, model=file) for name, file in models.items()]
    return Sources({"frames": dataset}, named, trajectories or {})


def compare(dataset, trajectories, models=None, **options):
    """Return what the kind `dynamics` makes of trajectories."""
    return compare_dynamics(moved_by(dataset, models or {}, trajectories), Dynamics(**options))


def select(table, potential, record, name):
    """Return some rows of a table of dynamics."""
    chosen = (table["potential"] == potential) & (table["record"] == record)
    return table[chosen & (table["name"] == name)]

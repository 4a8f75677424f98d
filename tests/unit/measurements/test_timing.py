import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.io import read
from made_up_trainings import crystals, frames_of, sources, training

import gnnip
from gnnip import models
from gnnip.errors import DataError
from gnnip.machine import THREADS
from gnnip.measurements import timing
from gnnip.measurements.kinds import Timing
from gnnip.measurements.selection import frames_with, spread_evenly


def test_jobs_take_turns_and_the_first_round_is_not_measured():
    order = []
    # reading k of the clock is k (k + 1) / 2, so that every measurement is another
    now = itertools.accumulate(itertools.count())
    jobs = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds, _ = timing.interleave(jobs, 2, clock=lambda: float(next(now)))
    assert "".join(order) == "abcabcabc"
    assert seconds == {"a": [1.0, 7.0], "b": [3.0, 9.0], "c": [5.0, 11.0]}


def test_frames_are_spread_evenly():
    values = np.arange(10, 20)
    assert list(spread_evenly(values, 3)) == [10, 14, 19]
    assert list(spread_evenly(values[:2], 3)) == [10, 11]


def test_frames_are_selected_by_all_columns(two_sizes):
    arrays = two_sizes.arrays()
    assert frames_with(arrays, {"n_molecules": 32}).tolist() == [1]
    assert frames_with(arrays, {}).tolist() == [0, 1]
    with pytest.raises(DataError, match="no column 'n_molecule'"):
        frames_with(arrays, {"n_molecule": 32})


@pytest.fixture
def two_sizes(shared, tmp_path):
    """One real cluster of 20 and one of 32 molecules, and two networks, one for each term."""
    clusters = [read(shared / "data" / "water_clusters" / f"{n}.xyz") for n in (20, 32)]
    arrays = frames_of(
        clusters, metadata={"n_molecules": [20, 32]}, atomic=[0, 0], electronic=[0, 0]
    )
    torch.manual_seed(0)
    trained = [
        training(tmp_path, model, [0], "gat", term=term, target=term, layer="gat")
        for term in ("atomic", "electronic")
        for model in [models.build("spektral", channels=8, dense_units=8)]
    ]
    return sources(tmp_path, trained, frames=arrays)


@pytest.fixture
def measured(monkeypatch):
    """What `measure_timing` does in a process of its own, here, by a clock that ticks evenly."""
    interleave, threads = timing.interleave, torch.get_num_threads()
    now = itertools.count()
    monkeypatch.setattr(
        timing, "interleave", lambda jobs, n: interleave(jobs, n, lambda: float(next(now)))
    )
    yield lambda found, **options: timing._measure(found, Timing(**options))
    torch.set_num_threads(threads)


SOLVER = {"size": "n_molecules", "reference": "water_anion accuracy_hartree=1e-3"}


def test_solver_and_networks_are_timed_on_every_size(two_sizes, measured):
    table = measured(two_sizes, frames_per_size=2, repeats=2, batch_size=4, **SOLVER)
    assert list(table) == [
        "method", "n_molecules", "frame", "seconds", "repeats", "batch_size", "accuracy_ha",
        "threads", "hardware",
    ]  # fmt: skip
    rows = table[["n_molecules", "frame", "method", "seconds", "batch_size"]]
    # every call takes a second by the clock, and a batch of four is four structures
    each = [("solver", 1.0, 1), ("network", 1.0, 1), ("network_batched", 0.25, 4)]
    assert list(rows.itertuples(index=False, name=None)) == [
        (n, frame, *what) for n, frame in ((20, 0), (32, 1)) for what in each
    ]
    assert set(table["hardware"]) != {""}
    accuracy = table.set_index("method")["accuracy_ha"]
    assert (accuracy["solver"] == 1e-3).all()
    assert accuracy.drop("solver").isna().all()


def test_the_energy_from_scratch_is_that_of_the_reference(shared):
    water = [read(shared / "data" / "water_clusters" / f"{n}.xyz") for n in (20, 20, 32)]
    water[1].rattle(0.01, seed=1)
    anion = gnnip.reference.make_calculator(SOLVER["reference"])
    energies = [anion.energy_from_scratch(atoms) for atoms in water]
    for atoms, energy in zip(water, energies, strict=True):
        fresh = gnnip.reference.make_calculator(SOLVER["reference"])
        assert energy == pytest.approx(fresh.get_potential_energy(atoms), abs=1e-6)


def test_several_potentials_on_crystals_with_any_reference(measured, tmp_path):
    build = {"zbl": {"cutoff": 3.0}, "pair": {"cutoff": 4.0}}
    trained = [
        training(tmp_path, models.build(name, species=(6, 14), **more), [0], "sic", model=name)
        for name, more in build.items()
    ]
    found = sources(tmp_path, trained, frames=frames_of(crystals(2), total=[0.0, 0.0]))
    options = {"frames_per_size": 1, "repeats": 1, "reference": "ase:lj sigma=1.68 epsilon=0.01"}
    table = measured(found, **options)
    about = ["model", "method", "n_atoms"]
    assert table[about].astype(object).where(table[about].notna(), None).to_numpy().tolist() == [
        [None, "solver", 8],
        ["zbl", "network", 8],
        ["zbl", "network_batched", 8],
        ["pair", "network", 8],
        ["pair", "network_batched", 8],
    ]
    alone = measured(replace(found, trainings=trained[:1]), repeats=1, frames_per_size=1)
    assert set(alone["method"]) == {"network", "network_batched"}
    assert "group" not in alone


def test_libraries_have_one_thread_in_the_new_process(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert [timing.in_one_thread(os.getenv, name) for name in THREADS] == ["1"] * 4
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "NUMBA_NUM_THREADS" not in os.environ


def test_unknown_size_and_no_network_are_refused(two_sizes, measured):
    with pytest.raises(DataError, match="data set 'frames' has no n_molecules = 21"):
        measured(two_sizes, sizes=(21,), **SOLVER)
    with pytest.raises(DataError, match="no trained network"):
        timing.measure_timing(replace(two_sizes, trainings=()), Timing())

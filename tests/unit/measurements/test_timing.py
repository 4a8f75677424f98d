import numpy as np
import pytest

from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.store import write_frames
from gnnip.errors import DataError
from gnnip.measurements import timing
from gnnip.measurements.selection import frames_with, spread_evenly


def test_jobs_take_turns_and_the_first_round_is_not_measured():
    order = []
    now = iter(range(100))
    jobs = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = timing.interleave(jobs, 2, clock=lambda: float(next(now)))
    assert "".join(order) == "abcabcabc"
    assert seconds == {"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [1.0, 1.0]}


def test_frames_are_spread_evenly():
    values = np.arange(10, 20)
    assert list(spread_evenly(values, 3)) == [10, 14, 19]
    assert list(spread_evenly(values[:2], 3)) == [10, 11]


def test_frames_are_selected_by_all_columns(two_sizes):
    from gnnip.datasets.store import load_arrays

    arrays = load_arrays(two_sizes[0])
    assert frames_with(arrays, {"n_molecules": 32}).tolist() == [1]
    assert frames_with(arrays, {}).tolist() == [0, 1]
    with pytest.raises(DataError, match="no column 'n_molecule'"):
        frames_with(arrays, {"n_molecule": 32})


@pytest.fixture
def two_sizes(shared, tmp_path):
    """An archive with one real cluster of 20 and one of 32 molecules, and two networks."""
    import torch
    from ase.io import read

    from gnnip import models

    clusters = [read(shared / "data" / "water_clusters" / f"{n}.xyz") for n in (20, 32)]
    counts = [len(c) for c in clusters]
    arrays = FrameArrays(
        positions=np.concatenate([c.positions for c in clusters]),
        numbers=np.concatenate([c.numbers for c in clusters]),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        energies={"atomic": np.array([-5.0, -9.0]), "electronic": np.array([-0.3, -0.4])},
        metadata={"n_molecules": np.array([20, 32])},
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )
    write_frames(tmp_path / "two.h5", arrays, attributes={})
    torch.manual_seed(0)
    files = []
    for name in ("atomic", "electronic"):
        models.save(models.build("spektral", channels=8, dense_units=8), tmp_path / name)
        files.append(str(tmp_path / f"{name}.safetensors"))
    return str(tmp_path / "two.h5"), files


def test_solver_and_networks_are_timed_on_every_size(two_sizes):
    import torch

    threads = torch.get_num_threads()
    dataset, files = two_sizes
    try:
        table = timing._measure(dataset, files, None, 2, 2, 4, 1e-3)
    finally:
        torch.set_num_threads(threads)
    assert len(table) == 2 * 3
    assert set(table["method"]) == {"solver", "network", "network_batched"}
    assert (table["seconds"] > 0).all()
    assert set(table["hardware"]) != {""}
    seconds = table.pivot_table(index="n_molecules", columns="method", values="seconds")
    # four copies at once cost less per structure than four calls
    assert (seconds["network_batched"] < seconds["network"]).all()


def test_unknown_size_and_no_network_are_refused(two_sizes):
    dataset, files = two_sizes
    with pytest.raises(DataError, match="no cluster of 21 molecules"):
        timing._measure(dataset, files, [21], 1, 1, 1, 1e-3)
    with pytest.raises(DataError, match="no trained network"):
        timing.measure_timing(dataset, [])

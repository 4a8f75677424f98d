"""Data sets of independent structures: drawn, labelled, split by columns, verified."""

import h5py
import numpy as np
import pytest

from gnnip.datasets.assembly import draw_structures
from gnnip.datasets.splits import make_split
from gnnip.datasets.store import load_arrays
from gnnip.datasets.verification import verify_labels
from gnnip.errors import ConfigError, DataError

PLAN = {
    "distances": [4, 6],
    "train_draws": 5,
    "test_draws": 2,
    "kept_fractions": [1.0, 0.5],
    "width": 5.0,
    "margin": 3.0,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return draw_structures("point_charges", PLAN, tmp_path_factory.mktemp("drawn") / "charges.h5")


def test_everything_that_the_plan_asks_for_is_there(path):
    frames = load_arrays(path)
    assert frames.n_frames == 2 * (5 + 2) * 2 * 2  # distances, draws, fractions, configurations
    assert frames.terms == ("coulomb",)
    assert set(frames.column("configuration")) == {"I", "II"}
    assert set(frames.column("purpose")) == {"train", "test"}


def test_the_same_plan_gives_the_same_file(path, tmp_path):
    again = draw_structures("point_charges", PLAN, tmp_path / "again.h5")
    assert again.read_bytes() == path.read_bytes()


def test_a_wrong_plan_is_named(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'train_draws'"):
        draw_structures("point_charges", {"train_drawz": 3}, tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()


def test_labels_are_verified_in_their_own_units(path):
    table = verify_labels(path, 3, seed=0)
    assert len(table) == 3
    assert table["energy_error_ev"].abs().max() < 1e-9
    assert table["force_error_ev_per_a"].max() < 1e-6


def test_a_wrong_label_stops_the_run(path, tmp_path):
    spoilt = tmp_path / "spoilt.h5"
    spoilt.write_bytes(path.read_bytes())
    with h5py.File(spoilt, "a") as file:
        file["energies/coulomb"][...] += 1e-6
    with pytest.raises(DataError, match=r"labels differ from the reference.* eV"):
        verify_labels(spoilt, 2, seed=0)
    with h5py.File(spoilt, "a") as file:
        del file.attrs["label_accuracy_ev"]
    with pytest.raises(DataError, match="label_accuracy_ev"):
        verify_labels(spoilt, 2, seed=0)


def test_a_split_by_columns(path):
    frames = load_arrays(path)
    split = make_split(
        frames,
        "columns",
        seed=1,
        where={"kept_fraction": [1.0]},
        train_where={"purpose": ["train"], "distance_a": [4]},
        test_where={"purpose": ["test"]},
        validation_fraction=0.2,
        together="medium",
    )
    table = {part: {c: frames.metadata[c][rows] for c in frames.metadata} for part, rows in
             split.items()}  # fmt: skip
    assert {p: len(r) for p, r in split.items()} == {"train": 8, "validation": 2, "test": 8}
    assert set(table["train"]["distance_a"]) == {4.0}
    assert set(table["test"]["distance_a"]) == {4.0, 6.0}
    assert set(np.concatenate([t["kept_fraction"] for t in table.values()])) == {1.0}
    assert not set(table["train"]["medium"]) & set(table["validation"]["medium"])


def test_split_errors_name_what_is_missing(path):
    frames = load_arrays(path)
    with pytest.raises(DataError, match="No frame has distance_a = 5; the data set has 4"):
        make_split(frames, "columns", 0, train_where={"distance_a": [5]})
    with pytest.raises(DataError, match=r"no column 'distance'.*did you mean 'distance_a'"):
        make_split(frames, "columns", 0, train_where={"distance": [4]})
    with pytest.raises(DataError, match="leaves no train frames"):
        make_split(frames, "columns", 0, test_where={"purpose": ["train", "test"]})

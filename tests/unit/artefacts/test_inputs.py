import json
import shutil

import numpy as np
import pandas as pd
import pytest

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.tables import COLUMNS, metric_row, metric_table
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.splits import make_split
from gnnip.datasets.store import write_frames
from gnnip.errors import ConfigError, DataError
from gnnip.measurements.selection import frame_table

SPLIT = {"scheme": "random", "test_fraction": 0.25}
GROUP = {
    "dataset": "water",
    "seeds": 2,
    "cells": [
        {"name": f"layer-{layer}", "keys": {"layer": layer}, "split": SPLIT}
        for layer in ("gat", "gcs")
    ],
}
CARD = {
    "id": "paper",
    "artefact": "table1",
    "datasets": [],
    "references": {"water": "exact", "ions": "xtb"},
    "trainings": {"table1": GROUP},
    "measurements": {"timing": {"kind": "timing", "options": {"repeats": 2}}},
    "published": [{"values": {"gat_mae": 1.0}}, {"values": {"gcs_mae": 2.0}}],
}


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    return FrameArrays(
        positions=rng.normal(size=(48, 3)),
        numbers=np.tile([8, 1, 1], 16),
        offsets=np.arange(0, 49, 3),
        energies={"atomic": rng.normal(size=16), "electronic": rng.normal(size=16)},
        metadata={
            "n_molecules": np.ones(16, dtype=int),
            "temperature_k": np.full(16, 100.0),
            "trajectory": np.repeat([f"r{k}" for k in range(8)], 2),
        },
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )


@pytest.fixture(scope="module")
def inputs(frames, tmp_path_factory):
    """A finished run of two layers with two seeds each."""
    root = tmp_path_factory.mktemp("run") / "paper"
    write_frames(root.parent / "datasets" / "water.h5", frames, attributes={})
    for number, (_, seed, folder) in enumerate(Inputs(root, CARD).cells("table1")):
        folder.mkdir(parents=True)
        table = pd.DataFrame({"frame": [seed, 5], "subset": "test"})
        table.assign(energy_predicted_ev=number).to_csv(folder / "predictions.csv", index=False)
        pd.DataFrame({"epoch": [1, 2, 3]}).to_csv(folder / "history.csv", index=False)
        (folder / "summary.json").write_text(json.dumps({"n_parameters": number, "parts": {}}))
    return Inputs(root, CARD)


def test_tables_carry_matrix_values_and_seed(inputs):
    summaries = inputs.summaries("table1")
    assert summaries.to_numpy().tolist() == [
        [0, "gat", 0], [1, "gat", 1], [2, "gcs", 0], [3, "gcs", 1],
    ]  # fmt: skip
    assert list(summaries) == ["n_parameters", "layer", "seed"]
    predictions = inputs.predictions("table1")
    assert predictions[["layer", "seed", "frame", "energy_predicted_ev"]].iloc[2].tolist() == [
        "gat", 1, 1, 1,
    ]  # fmt: skip
    assert len(inputs.histories("table1")) == 4 * 3


def test_training_frames_are_those_of_the_split(inputs, frames):
    found = inputs.training_frames("table1", {"layer": "gat"}, 1)
    options = {key: value for key, value in SPLIT.items() if key != "scheme"}
    expected = make_split(frames, "random", 1, **options)["train"]
    np.testing.assert_array_equal(found, expected)


def test_frame_table_has_energies_and_atoms(inputs, frames):
    table = frame_table(frames)
    assert (table["n_atoms"] == 3).all()
    np.testing.assert_allclose(table["energy_atomic_ev"], frames.energies["atomic"], rtol=1e-12)
    pd.testing.assert_frame_equal(inputs.frames(), table)


def test_no_table_of_a_partial_run(inputs, tmp_path):
    root = tmp_path / "paper"
    shutil.copytree(inputs.root, root, ignore=shutil.ignore_patterns("history.csv"))
    partial = Inputs(root, CARD)
    with pytest.raises(DataError, match=r"history\.csv does not exist"):
        partial.histories("table1")
    with pytest.raises(DataError, match=r"measurements/nothing\.csv does not exist"):
        partial.measurement("nothing")


def test_unknown_group_names_the_nearest(inputs):
    with pytest.raises(ConfigError, match="did you mean 'table1'"):
        inputs.predictions("tabel1")


def test_a_row_of_metrics_names_what_labelled_the_data(inputs):
    rows = [metric_row(inputs, "a", "eV", 1), metric_row(inputs, "b", "", 2.0, dataset="ions")]
    table = metric_table(rows)
    assert tuple(table) == COLUMNS
    assert table["artefact"].tolist() == ["table1"] * 2
    assert table["reference"].tolist() == ["exact+xtb", "xtb"]
    assert inputs.published() == {"gat_mae": 1.0, "gcs_mae": 2.0}
    assert inputs.options("timing") == {"repeats": 2}

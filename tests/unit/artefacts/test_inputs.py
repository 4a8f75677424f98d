import shutil

import numpy as np
import pytest

from gnnip.artefacts.inputs import Inputs
from gnnip.datasets.splits import make_split
from gnnip.errors import ConfigError, DataError
from gnnip.measurements.selection import frame_table


def test_tables_carry_matrix_values_and_seed(made_up_run):
    summaries = made_up_run.inputs("table1").summaries("table1")
    layers = ["crystal", "gat", "gcs", "ecc", "agnn", "general"]
    assert list(summaries["layer"].unique()) == layers
    assert len(summaries) == 6 * 2 * 3
    histories = made_up_run.inputs("table1").histories("table1")
    assert len(histories) == 6 * 2 * 3 * 150


def test_training_frames_are_those_of_the_split(made_up_run):
    found = made_up_run.inputs("splits").training_frames(
        "splits", {"layer": "gat", "split": "trajectory", "target": "atomic"}, 2
    )
    expected = make_split(made_up_run.frames["water_anion_ladder"], "trajectory", 2)["train"]
    np.testing.assert_array_equal(found, expected)


def test_frame_table_has_energies_and_atoms(made_up_run):
    frames = made_up_run.frames["water_anion"]
    table = frame_table(frames)
    assert (table["n_atoms"] == 3 * table["n_molecules"]).all()
    np.testing.assert_allclose(table["energy_atomic_ev"], frames.energies["atomic"], rtol=1e-12)
    from_disk = made_up_run.inputs("table1").frames()
    np.testing.assert_allclose(from_disk["energy_electronic_ev"], table["energy_electronic_ev"])


def test_no_table_of_a_partial_run(made_up_run, tmp_path):
    root = tmp_path / "paper" / "gijon2023"
    shutil.copytree(made_up_run.folder, root, ignore=shutil.ignore_patterns("history.csv"))
    inputs = Inputs(root, made_up_run.inputs("table1").card)
    with pytest.raises(DataError, match=r"history\.csv does not exist"):
        inputs.histories("table1")
    with pytest.raises(DataError, match=r"measurements/nothing\.csv does not exist"):
        inputs.measurement("nothing")


def test_unknown_group_names_the_nearest(made_up_run):
    with pytest.raises(ConfigError, match="did you mean 'table1'"):
        made_up_run.inputs("table1").histories("tabel1")

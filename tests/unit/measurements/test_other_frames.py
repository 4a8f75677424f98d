"""Frames that no potential was trained on: optional, compared by their own reference alone."""

import numpy as np
import pandas as pd
import pytest
from made_up_run import write_card

from gnnip.artefacts import kinds
from gnnip.artefacts.other_frames import _scores, other_frames
from gnnip.config.resolve import resolve
from gnnip.config.schema import Config

CARD = """
id: other2024
datasets:
  sic: {source: archive}
  others: {source: folder, optional: true, folder: {path: PLACE, format: extxyz}}
training_defaults: {dataset: sic, model: pair, target: total}
trainings: {pair: {hyperparameters: {species: [6, 14]}}}
measurements:
  theirs: {kind: other_frames, trainings: [pair], datasets: [others]}
artefacts:
  ours: {kind: errors, trainings: [pair]}
  theirs: {kind: other_frames, measurements: [theirs]}
published:
  - {artefact: theirs, unit: eV/A, tolerance: {factor: 1.5}, values: {pair_others_force_rmse: 0.1}}
"""


def frames(**changes):
    table = {
        "group": "pair",
        "cell": "all",
        "seed": 0,
        "dataset": "others",
        "frame": [0, 1, 2],
        "composition": ["H2O", "H2O", "O2"],
        "n_atoms": [3, 3, 2],
        "energy_reference_ev": [-10.0, -10.6, 5.0],
        "energy_ev": [100.0, 99.7, 0.0],
        "force_rmse_ev_per_a": [0.1, 0.1, 0.1],
        "force_rms_reference_ev_per_a": [0.5, 0.5, 0.5],
    }
    return pd.DataFrame(table | changes)


@pytest.mark.parametrize("there", [True, False])
def test_without_its_folder_an_optional_set_is_not_run(tmp_path, there):
    place = tmp_path / "frames"
    card = write_card(tmp_path, CARD.replace("PLACE", str(place)))
    if there:
        place.mkdir()
    found = resolve("other2024", "paper", Config(papers=["other2024"], cards=str(card)))
    assert ("theirs" in found.artefacts) == ("others" in found.datasets) == there
    assert ("theirs" in found.measurements) == there
    if not there:
        assert f"'others' is not in {place}; put its files there" in found.skipped["theirs"]
    assert found.references["theirs"] == "published"


def test_what_was_made_elsewhere_is_judged_without_its_folder(tmp_path):
    card = write_card(tmp_path, CARD.replace("PLACE", str(tmp_path / "frames")))
    config = Config(papers=["other2024"], cards=str(card))
    assert "theirs" in resolve("other2024", "paper", config, made=["theirs"]).artefacts
    assert "theirs" in resolve("other2024", "paper", config, made=["ours"]).skipped


def test_a_source_that_the_user_names_is_not_left_out(tmp_path):
    card = write_card(tmp_path, CARD.replace("PLACE", str(tmp_path / "frames")))
    own = {"others": {"path": str(tmp_path / "elsewhere"), "format": "extxyz"}}
    config = Config(papers=["other2024"], cards=str(card), sources=own)
    assert "theirs" in resolve("other2024", "paper", config).artefacts


def test_energies_are_compared_about_the_mean_of_a_composition():
    ours, trivial = _scores(frames())
    # of two frames 0.6 eV apart the potential sees 0.3; a composition alone has nothing to compare
    assert ours["energy_rmse_mev_per_atom"] == pytest.approx(1000 * 0.15 / 3)
    assert trivial["energy_rmse_mev_per_atom"] == pytest.approx(1000 * 0.3 / 3)
    assert ours["force_rmse_ev_per_a"] == pytest.approx(0.1)
    assert trivial["force_rmse_ev_per_a"] == pytest.approx(0.5)


def test_sets_without_forces_have_no_row_of_them():
    class Made:
        artefact = "theirs"

        def measurements(self):
            return ["theirs"]

        def measurement(self, name):
            return frames(force_rmse_ev_per_a=np.nan, force_rms_reference_ev_per_a=np.nan)

        def reference(self, dataset=None):
            return {"others": "published"}[dataset]

    tidy, metrics = other_frames(Made(), kinds.OtherFrames())
    assert list(metrics["quantity"]) == ["pair_others_energy_rmse"]
    assert set(metrics["reference"]) == {"published"}
    assert list(tidy["source"]) == ["ours", "null_model"]

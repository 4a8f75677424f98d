import numpy as np
import pandas as pd
import pytest

from gnnip.datasets.store import write_frames
from gnnip.errors import DataError
from gnnip.measurements import symmetry_audit as audits


def test_random_rotations_are_proper_and_uniform():
    R = audits.random_rotations(4000, np.random.default_rng(0))
    np.testing.assert_allclose(
        np.einsum("nij,nkj->nik", R, R), np.broadcast_to(np.eye(3), R.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(R), 1.0)
    # the image of any axis is uniform on the sphere: mean 0, second moment 1/3
    z = R[:, :, 2]
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=0.04)
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(3) / 3, atol=0.03)


def test_moves_keep_distances_and_shift_by_the_length_asked_for():
    rng = np.random.default_rng(1)
    x, frame = rng.normal(size=(6, 3)), np.array([0, 0, 0, 1, 1, 1])
    for name, move in audits.moves(2, 10.0, seed=5).items():
        y = move(x, frame)
        for part in (slice(0, 3), slice(3, 6)):
            before = np.linalg.norm(x[part][:, None] - x[part], axis=-1)
            np.testing.assert_allclose(np.linalg.norm(y[part][:, None] - y[part], axis=-1), before)
        moved = np.linalg.norm(y - x, axis=1)
        if name == "shift":
            np.testing.assert_allclose(moved, 10.0)
        elif name != "none":
            assert moved.max() > 0.1
    again = audits.moves(2, 10.0, seed=5)["rotation"](x, frame)
    np.testing.assert_array_equal(again, audits.moves(2, 10.0, seed=5)["rotation"](x, frame))


def test_a_training_is_known_by_its_folder(tmp_path):
    file = tmp_path / "table1" / "layer-gat_target-atomic" / "seed-2" / "model.safetensors"
    assert audits.describe_training(file) == {
        "group": "table1",
        "layer": "gat",
        "target": "atomic",
        "seed": 2,
    }
    with pytest.raises(DataError, match="unknown what was trained"):
        audits.describe_training(tmp_path / "cutoff-4" / "seed-0" / "model.safetensors")


def trained(folder, frames, features, cell):
    """Save an untrained network where a training would be, and its list of test frames."""
    import torch

    from gnnip import models

    place = folder / "table1" / cell / "seed-0"
    place.mkdir(parents=True)
    torch.manual_seed(0)
    model = models.build("spektral", layer="gat", channels=8, dense_units=8, features=features)
    models.save(model, place / "model")
    table = pd.DataFrame({"frame": frames, "subset": "test"})
    table.to_csv(place / "predictions.csv", index=False)
    return place / "model.safetensors", place / "predictions.csv"


def test_audit_tells_raw_coordinates_from_invariant_features(made_up_run, tmp_path):
    write_frames(tmp_path / "set.h5", made_up_run.frames["water_anion"], attributes={})
    raw = trained(tmp_path / "raw", [3, 40, 1], "raw", "layer-gat_target-atomic")
    invariant = trained(tmp_path / "inv", [3, 40, 1], "invariant", "layer-gat_target-electronic")
    models, predictions = zip(raw, invariant, strict=True)
    table = audits.symmetry_audit(tmp_path / "set.h5", models, predictions, batch_size=2)
    assert len(table) == 2 * 4
    assert set(table["n_frames"]) == {3}
    change = table.set_index(["target", "transformation"])["change_ha"]
    assert (change[:, "none"] == 0.0).all()
    scale = table.set_index(["target", "transformation"])["mae_ha"]
    for move in ("rotation", "shift", "mirror"):
        assert change["electronic", move] < 1e-4 * scale["electronic", move]
    assert change["atomic", "rotation"] > 1e-3
    assert change["atomic", "mirror"] > 1e-3
    # the features are taken from the centre of mass, so a shift changes rounding only
    assert change["atomic", "shift"] < 1e-4 * max(1.0, scale["atomic", "shift"])


def test_predictions_without_test_frames_are_refused(made_up_run, tmp_path):
    write_frames(tmp_path / "set.h5", made_up_run.frames["water_anion"], attributes={})
    model, predictions = trained(tmp_path, [], "raw", "layer-gat_target-atomic")
    with pytest.raises(DataError, match="no test frames"):
        audits.symmetry_audit(tmp_path / "set.h5", [model], [predictions])

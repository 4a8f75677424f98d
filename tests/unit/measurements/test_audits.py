from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_trainings import crystals, frames_of, sources, training, water_clusters

from gnnip import models
from gnnip.measurements import symmetry_audit as audits
from gnnip.measurements.kinds import SymmetryAudit


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
        y = move.points(x, frame)
        for part in (slice(0, 3), slice(3, 6)):
            before = np.linalg.norm(x[part][:, None] - x[part], axis=-1)
            np.testing.assert_allclose(np.linalg.norm(y[part][:, None] - y[part], axis=-1), before)
        moved = np.linalg.norm(y - x, axis=1)
        if name == "none":
            np.testing.assert_array_equal(y, x)
        elif name == "shift":
            np.testing.assert_allclose(moved, 10.0)
        else:
            assert moved.max() > 0.1
        again = audits.moves(2, 10.0, seed=5)[name].points(x, frame)
        np.testing.assert_array_equal(y, again)


@pytest.fixture
def water():
    """Five clusters of four water-like molecules."""
    rng = np.random.default_rng(0)
    clusters = water_clusters(5, 0.1, rng)
    return frames_of(clusters, atomic=rng.normal(size=5), electronic=rng.normal(size=5))


def spektral(features):
    torch.manual_seed(0)
    return models.build("spektral", layer="gat", channels=8, dense_units=8, features=features)


def test_audit_tells_raw_coordinates_from_invariant_features(water, tmp_path):
    test = [1, 3, 4]
    trained = [
        training(tmp_path, spektral("raw"), test, "a", 2, term="atomic", layer="gat", target="x"),
        training(tmp_path, spektral("invariant"), test, "b", term="total"),
    ]
    found = sources(tmp_path, trained, frames=water)
    table = audits.audit_symmetry(found, SymmetryAudit(batch_size=2))
    assert list(table) == [
        "group", "layer", "target", "seed", "transformation", "mae_ev", "change_ev", "n_frames",
    ]  # fmt: skip
    assert table[["group", "seed"]].drop_duplicates().to_numpy().tolist() == [["a", 2], ["b", 0]]
    assert set(table["n_frames"]) == {3}
    change = table.set_index(["group", "transformation"])["change_ev"]
    assert (change[:, "none"] == 0.0).all()
    scale = table.set_index(["group", "transformation"])["mae_ev"]
    for move in ("rotation", "shift", "mirror"):
        assert change["b", move] < 1e-4 * scale["b", move]
    assert change["a", "rotation"] > 1e-2
    assert change["a", "mirror"] > 1e-2
    # the features are taken from the centre of mass, so a shift changes rounding only
    assert change["a", "shift"] < 1e-4 * max(1.0, scale["a", "shift"])
    # the total is the sum of the terms that the frames have
    (one,) = replace(found, trainings=trained[1:]).potentials()
    assert one.terms == ("atomic", "electronic")


def test_crystals_are_moved_with_their_cells(tmp_path):
    model = models.build("zbl", species=(6, 14), cutoff=3.0).double()
    found = sources(
        tmp_path,
        [training(tmp_path, model, [0, 1])],
        frames=frames_of(crystals(2), total=[0.0, 1.0]),
    )
    table = audits.audit_symmetry(found, SymmetryAudit())
    assert (table["change_ev"] < 1e-9).all()
    # edges through the faces of the cell count: without them the energy would be another
    (one,) = found.potentials()
    assert (one.store.batch(torch.tensor([0])).edge_shift != 0).any()

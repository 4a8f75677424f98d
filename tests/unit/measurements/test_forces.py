import numpy as np
import pandas as pd
import pytest
import torch
from made_up_trainings import frames_of, sources, training, water_clusters

from gnnip import load_calculator, models
from gnnip.measurements import force_audit as audit
from gnnip.measurements.kinds import ForceAudit
from gnnip.measurements.selection import atoms_of


@pytest.fixture
def frames():
    """Three water-like frames whose small term pushes more on some atoms than on others."""
    rng = np.random.default_rng(0)
    clusters, n = water_clusters(3, 0.02, rng), 12
    small = np.linspace(0.01, 0.2, 3 * n)[:, None] * rng.normal(size=(3 * n, 3))
    return frames_of(
        clusters,
        {"large": rng.normal(size=(3 * n, 3)), "small": small},
        {"state": ["in", "out", "out"]},
        large=rng.normal(size=3),
        small=rng.normal(size=3),
    )


def test_errors_of_a_hand_made_case():
    true = np.array([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
    found = audit.force_errors(true, np.zeros_like(true))
    assert found["force_rmse_ev_per_a"] == pytest.approx(5 / np.sqrt(6))
    assert found["force_rms_reference_ev_per_a"] == pytest.approx(5 / np.sqrt(6))
    assert found["force_mae_ev_per_a"] == pytest.approx(7 / 6)
    assert found["force_r2"] == 0.0
    assert np.isnan(found["resolved"])
    assert audit.force_errors(true, true)["force_r2"] == 1.0


def test_resolved_is_one_for_the_truth_and_zero_for_who_lacks_the_term(frames):
    true, part = frames.forces["large"] + frames.forces["small"], frames.forces["small"]
    assert audit.force_errors(true, true, part)["resolved"] == 1.0
    assert audit.force_errors(true, true - part, part)["resolved"] == pytest.approx(0.0)
    # half of the term is three quarters of its square
    assert audit.force_errors(true, true - 0.5 * part, part)["resolved"] == pytest.approx(0.75)
    # whoever misses the large term by more than the small one is worse than without it
    assert audit.force_errors(true, 0.5 * true, part)["resolved"] < 0


def test_rows_by_element_column_and_size_of_the_term(frames):
    rows = pd.DataFrame(
        audit.measure(frames, "total", np.zeros((36, 3)), term="small", columns=["state"])
    )
    assert set(rows["predictor"]) == {"network", "zero", "without_term"}
    errors = rows[(rows["record"] == "error") & (rows["predictor"] == "network")]
    counts = errors.set_index("name")[["n_frames", "n_atoms"]]
    assert counts.loc["all"].tolist() == [3, 36]
    assert counts.loc["O"].tolist() == [3, 12]
    assert counts.loc["H"].tolist() == [3, 24]
    assert counts.loc["state=out"].tolist() == [2, 24]
    curve = rows[(rows["record"] == "curve") & (rows["predictor"] == "without_term")]
    assert curve["n_atoms"].sum() == 36
    assert curve["x"].is_monotonic_increasing
    # without the term the error is the term itself
    np.testing.assert_allclose(curve["force_rmse_ev_per_a"], curve["term_rms_ev_per_a"])
    np.testing.assert_allclose(curve["resolved"], 0.0, atol=1e-12)


def test_atoms_of_close_pairs_are_told_from_the_others(frames):
    # the bonds of a frame's four molecules, about 1 Angstrom
    near = audit.close_atoms(frames, "H-O", 1.3)
    assert near.all()
    assert not audit.close_atoms(frames, "O-O", 1.3).any()
    frames.positions[0] += 50.0  # the first oxygen leaves its hydrogens
    near = audit.close_atoms(frames, "O-H", 1.3)
    assert np.flatnonzero(~near).tolist() == [0, 1, 2]
    rows = audit.measure(frames, "total", np.zeros((36, 3)), close={"O-H": 1.3, "O-O": 1.3})
    counts = {r["name"]: r["n_atoms"] for r in rows if r["predictor"] == "network"}
    assert (counts["O-H<1.3"], counts["no O-H<1.3"]) == (33, 3)
    assert (counts.get("O-O<1.3"), counts["no O-O<1.3"]) == (None, 36)


def test_a_term_that_is_no_part_of_the_target_is_not_asked_for(frames):
    rows = audit.measure(frames, "large", frames.forces["large"], term="small")
    assert {r["predictor"] for r in rows} == {"network", "zero"}
    assert all(np.isnan(r["resolved"]) for r in rows)
    alone = audit.measure(frames, "small", frames.forces["small"], term="small")
    assert {r["predictor"] for r in alone} == {"network", "zero"}
    assert {r["resolved"] for r in alone if r["predictor"] == "network"} == {1.0}


@pytest.fixture
def pair():
    torch.manual_seed(0)
    model = models.build("pair", species=[8, 1], cutoff=4.0)
    torch.nn.init.normal_(model.coefficients)
    model.species = (1, 8)
    return model


def test_a_saved_potential_is_asked_for_its_test_frames_only(frames, pair, tmp_path):
    own = training(tmp_path, pair, [1, 2], "forces", 2, loss="mae")
    found = sources(tmp_path, [own], frames=frames)
    table = audit.audit_forces(found, ForceAudit(term="small"))
    about = {"group": "forces", "model": "pair", "target": "total", "loss": "mae", "seed": 2}
    assert list(table)[:5] == list(about)
    assert (table[list(about)].drop_duplicates().to_dict("records")) == [about]
    row = table[(table["predictor"] == "network") & (table["name"] == "all")].iloc[0]
    assert row["n_frames"] == 2
    calculator = load_calculator(own.folder / "model.json", device="cpu")
    forces = [calculator.get_forces(atoms_of(frames, frame)) for frame in (1, 2)]
    test = frames.subset([1, 2]).forces
    error = np.concatenate(forces) - test["large"] - test["small"]
    rmse = np.sqrt(np.mean(np.square(error)))
    assert row["force_rmse_ev_per_a"] == pytest.approx(rmse, rel=1e-5)
    one = audit.audit_forces(found, ForceAudit(max_frames=1))
    assert one["n_frames"].max() == 1

"""Trainings that may not judge: collapsed, cut short, lucky, not flat."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_trainings import SPLIT, TINY, graphs, make_frames, run, same_weights

from gnnip.config.resolve import ResolvedCard
from gnnip.models import build
from gnnip.models.trivial import best_null_model, null_energies
from gnnip.training import soundness
from gnnip.training.loop import Loop
from gnnip.training.silence import silent_share
from gnnip.verdicts.judge import judge
from gnnip.verdicts.trainings import training_table

CARD = {
    **{"id": "paper", "title": "", "authors": ["A"], "citation": "", "doi": "", "tier": "paper"},
    "datasets": {"data": {}},
    "references": {"table": "exact"},
    "trainings": {"errors": {"dataset": "data", "seeds": 3}},
    "artefacts": {"table": {"label": "", "title": "", "trainings": ["errors"]}},
    "published": [
        {"artefact": "table", "unit": "eV", "tolerance": {"factor": 2}, "values": {"mae": 0.1}}
    ],
}
FALLING = [1.0 / (1 + k) for k in range(40)]


def test_luck_is_a_low_epoch_among_high_ones():
    errors = [1.0] * 20
    assert not any(soundness.is_luck(errors, epoch) for epoch in range(1, 21))
    for epoch in (3, 10, 20):
        dip = [0.79 if k == epoch else 1.0 for k in range(1, 21)]
        assert [k for k in range(1, 21) if soundness.is_luck(dip, k)] == [epoch]
        shallow = [0.81 if k == epoch else 1.0 for k in range(1, 21)]
        assert not soundness.is_luck(shallow, epoch)
    # a steady fall is no luck, at its end neither, and a few epochs tell nothing
    assert not any(soundness.is_luck(FALLING, epoch) for epoch in range(10, 41))
    assert not soundness.is_luck([1.0, 1.0, 0.1], 3)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([1.0] * 40, 0.0),
        ([2.0] * 30 + [1.0] * 6 + [0.9] * 4, 0.1),
        ([1.0] * 36 + [1.2] * 4, -0.2),
        # one epoch does not move a median
        ([1.0] * 38 + [0.1, 1.0], 0.0),
        ([1.0] * 19, None),
    ],
)
def test_late_change(errors, expected):
    found = soundness.late_change(errors)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_the_error_of_an_epoch_is_its_loss_or_the_root_of_it():
    assert [soundness.validation_error(4.0, kind) for kind in ("mae", "mse", "huber")] == [4, 2, 2]


@pytest.mark.parametrize("loss", ["mae", "mse", "huber"])
def test_the_null_model_is_measured_by_the_loss_of_the_training(tmp_path, loss):
    frames = make_frames(forces=True)
    how = {"loss": loss, "force_weight": 2.0, "energy_weight": 3.0, "per_atom": True}
    model = {"model": "composition", "options": {}, "frames": frames}
    summary = run(tmp_path, **model, epochs=1, huber_delta=10.0, **how)
    # it knows the composition, and so does the best null model here
    assert summary["share_of_null"] == pytest.approx(1.0, abs=0.1)
    assert any("collapsed" in fault for fault in summary["faults"])


def dip(monkeypatch, epoch, factor):
    """Let one epoch look better than it is."""
    measure = Loop.measure

    def measured(self, subset):
        found = measure(self, subset)
        if subset == "validation" and self.run.epoch == epoch - 1:
            found = replace(found, loss=factor * found.loss)
        return found

    monkeypatch.setattr(Loop, "measure", measured)


def test_a_lucky_epoch_is_not_kept(tmp_path, monkeypatch):
    how = {"model": "pair", "epochs": 24, "learning_rate": 1e-3}
    honest = run(tmp_path / "honest", **how)
    assert honest["lucky_epoch"] == 0
    lucky = next(k for k in (12, 13, 14) if k != honest["best_epoch"])
    dip(monkeypatch, lucky, 0.01)
    lines = []
    found = run(tmp_path / "lucky", say=lines.append, **how)
    assert (found["lucky_epoch"], found["best_epoch"]) == (lucky, honest["best_epoch"])
    assert same_weights(tmp_path / "honest", tmp_path / "lucky")
    assert any(f"the luck of epoch {lucky}" in fault for fault in found["faults"])
    assert "judges nothing" in lines[-1]


def test_candidates_survive_a_kill(tmp_path, monkeypatch):
    how = {"epochs": 16, "checkpoint_interval_s": 0.0}
    whole = run(tmp_path / "whole", **how)
    keep = Loop.keep_epoch

    def killed(self, *arguments, **options):
        keep(self, *arguments, **options)
        if self.run.epoch == 9:
            self.checkpoint()
            assert self.run.candidates
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "keep_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", **how)
    found = run(tmp_path / "cut", **how)
    assert (found["best_epoch"], found["resumed"]) == (whole["best_epoch"], 1)
    assert same_weights(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        # steps too small to leave the start: no better than a mean
        ({"learning_rate": 1e-12, "epochs": 24}, "collapsed: its error is"),
        ({"epochs": 4}, "4 epochs are too few"),
        ({"epochs": 24, "time_limit_s": 1e-6}, "unfinished: stopped by time limit"),
    ],
)
def test_a_training_that_learned_nothing_or_was_stopped(tmp_path, how, told):
    summary = run(tmp_path, **how)
    assert any(told in fault for fault in summary["faults"]), summary["faults"]


def lucky(monkeypatch):
    dip(monkeypatch, 14, 0.01)
    return {"model": "pair", "epochs": 24, "learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (lambda _: {"learning_rate": 1e-12, "epochs": 24}, "collapsed"),
        (lambda _: {"epochs": 24, "time_limit_s": 1e-6}, "unfinished"),
        (lucky, "luck of epoch 14"),
    ],
)
def test_from_the_training_to_the_verdict(tmp_path, monkeypatch, how, told):
    """Ours agrees with the published number, and still decides nothing."""
    options, folder = how(monkeypatch), tmp_path / "errors" / "all"
    for seed in range(3):
        run(folder / f"seed-{seed}", seed=seed, **options)
    trainings = training_table(sorted(folder.glob("*/summary.json")))
    card = ResolvedCard.model_validate(CARD)
    rows = {"artefact": "table", "quantity": "mae", "unit": "eV", "variant": "as_described"}
    metrics = pd.DataFrame({**rows, "seed": range(3), "value": 0.1, "baseline": 1.0})
    metrics = metrics.assign(reference="exact")
    (verdict,) = judge(card, {"table": metrics}, {}, trainings).verdicts
    assert verdict.verdict == "cannot decide"
    assert told in verdict.reason
    sound = trainings.assign(sound=True)
    (verdict,) = judge(card, {"table": metrics}, {}, sound).verdicts
    assert verdict.verdict == "reproduced"


def test_a_schedule_that_ends_at_zero_is_told(tmp_path):
    ends = {
        "cosine": {"scheduler": "cosine"},
        "floor": {"scheduler": "cosine", "min_learning_rate": 5e-4},
        "constant": {},
        "exponential": {"scheduler": "exponential", "decay": 0.1},
    }
    found = {k: run(tmp_path / k, epochs=3, **how)["ends_at_zero"] for k, how in ends.items()}
    assert found == {"cosine": True, "floor": False, "constant": False, "exponential": True}


def test_half_the_epochs_are_trained_beside_seed_0(tmp_path):
    how = {"epochs": 6, "scheduler": "cosine", "check_flat": True}
    found = run(tmp_path / "whole", **how)
    half = run(tmp_path / "half", **how | {"epochs": 3, "check_flat": False})
    assert found["half_error"] == half["validation_error"]
    assert same_weights(tmp_path / "whole/half", tmp_path / "half")
    assert run(tmp_path / "other", seed=1, **how)["half_error"] is None
    plain = run(tmp_path / "plain", epochs=6, scheduler="cosine")
    assert (plain["half_error"], plain["validation_error"]) == (None, found["validation_error"])


def test_silent_units_are_counted():
    frames = make_frames(8)
    store = graphs(frames, 5.0, torch.float32)
    torch.manual_seed(0)
    model = build("spektral", **TINY | {"layer": "gcs"}).eval()
    rows = torch.arange(8)
    before = silent_share(model, store, rows, 4)
    assert before < 0.6
    dense = [m for m in model.modules() if hasattr(m, "bias") and m.__class__.__name__ == "Dense"]
    with torch.no_grad():
        dense[-2].bias[:6] = -1e6
    after = silent_share(model, store, rows, 4)
    assert after >= 6 / 8
    # a unit that speaks in one batch only is not silent
    assert silent_share(build("pair", species=(1, 8)), store, rows, 4) == 0.0


# --- null models ----------------------------------------------------------------------------------


def test_the_own_trajectory_is_known_where_both_sides_have_it():
    rng, frames = np.random.default_rng(1), make_frames(40)
    frames = frames.subset(np.flatnonzero(frames.n_atoms == 6))
    n = frames.n_frames
    names = np.array([f"t{k % 4}" for k in range(n)])
    frames = replace(frames, metadata={"trajectory": names, "temperature_k": np.full(n, 100.0)})
    energies = np.array([10.0 * float(name[1]) for name in names]) + rng.normal(0, 0.01, n)
    everything = rng.permutation(n)
    learned, asked = everything[: n // 2], everything[n // 2 :]
    name, said = best_null_model(frames, energies, learned, asked)
    assert name in ("trajectory_mean", "trajectory_ensemble_mean")
    assert np.abs(said - energies[asked]).max() < 0.05
    # divided by trajectory nobody knows it, and nothing takes its place under its name
    learned, asked = np.flatnonzero(names != "t3"), np.flatnonzero(names == "t3")
    found = null_energies(frames, energies, learned, asked)
    assert set(found) == {"constant", "composition", "composition_mean", "ensemble_mean"}
    np.testing.assert_allclose(found["ensemble_mean"], energies[learned].mean())


def test_means_are_of_frames_of_one_composition():
    frames, split = make_frames(40), SPLIT
    energies = 5.0 * frames.metadata["n_molecules"]
    found = null_energies(frames, energies, split["train"], split["test"])
    for name in ("composition", "composition_mean", "ensemble_mean"):
        np.testing.assert_allclose(found[name], energies[split["test"]])
    np.testing.assert_allclose(found["constant"], energies[split["train"]].mean())

"""The losses of the first steps are kept, and a replay finds them again where the code is alike."""

import math

import pytest
from test_continuing import LONG
from tiny_trainings import FORCES, PAIR, entry, make_frames, read_table, run

from gnnip.datasets.store import write_frames
from gnnip.training.loop import FIRST_STEPS, Loop
from gnnip.training.replay import TOLERANCE, difference, replay
from gnnip.training.run import run_one

CASES = {
    # 4 steps an epoch, so that a schedule by the validation loss and the averages matter
    "spektral": ({}, {"epochs": 8, "ema": 0.9, "scheduler": "plateau", "plateau_patience": 0}),
    "forces": ({"model": "pair", "hyperparameters": PAIR}, FORCES | {"epochs": 6, "clip": 0.5}),
    "shorter than the steps that are kept": ({}, {"epochs": 2}),
    "longer than they are": ({}, {"epochs": 2, "batch_size": 1, "scheduler": "one_cycle"}),
    "fitted": ({"model": "ace", "hyperparameters": {"species": [1, 8], "cutoff": 3.0}}, {}),
}


def case(folder, name):
    write_frames(folder / "frames.h5", make_frames(forces=True), attributes={})
    changes, settings = CASES[name]
    training = entry(folder=str(folder / "out"), data=str(folder / "frames.h5"), **changes)
    return training | {"settings": training["settings"] | {"threads": 1} | settings}


@pytest.mark.parametrize("name", CASES)
def test_a_replay_finds_the_losses_again(tmp_path, name):
    training = case(tmp_path, name)
    kept = run_one(training)["first_losses"]
    expected = {"shorter than the steps that are kept": 8, "fitted": 1}.get(name, FIRST_STEPS)
    assert len(kept) == expected
    assert len(set(kept)) == expected
    assert replay(training) == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames.h5", "out"]


def test_other_code_gives_other_losses(tmp_path, monkeypatch):
    training = case(tmp_path, "forces")
    kept, original = run_one(training)["first_losses"], Loop.train_step
    monkeypatch.setattr(
        Loop, "train_step", lambda self, share, rate: original(self, share, rate * (1 + 1e-4))
    )
    again = replay(training)
    assert again[0] == kept[0]
    assert difference(kept, again) > TOLERANCE


def test_losses_survive_a_stop(tmp_path):
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    how = LONG | {"epochs": 6}
    run(cut, **how | {"time_limit_s": 1e-9})
    assert run(cut, **how)["first_losses"] == run(whole, **how)["first_losses"]


def test_the_first_loss_is_that_of_the_untrained_potential(tmp_path):
    summary = run(tmp_path, batch_size=28, epochs=2, loss="mse")
    row = read_table(tmp_path / "history.csv")[0]
    assert summary["first_losses"][0] == pytest.approx(float(row["train_loss"]), rel=1e-6)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([], [], 0.0),
        ([1.0, 2.0], [1.0, 2.5], 0.2),
        ([0.0], [1.0], 1.0),
        ([1.0], [1.0, 2.0], math.inf),
        ([math.nan], [math.nan], 0.0),
        ([1.0], [math.nan], math.inf),
    ],
)
def test_the_difference_is_relative(one, other, expected):
    assert difference(one, other) == expected

"""Trainings that were killed or stopped: the same call continues them exactly."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
from tiny_trainings import TINY, make_frames, quiet, read_table, run, same_weights, settings

from gnnip import files
from gnnip.errors import CheckpointError, DataError
from gnnip.training.loop import Loop

LONG = {
    "epochs": 30,
    "ema": 0.95,
    "scheduler": "plateau",
    "plateau_patience": 2,
    "checkpoint_interval_s": 0.0,
    "threads": 1,
}
KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_continuing import LONG
from tiny_trainings import run
from gnnip.training.loop import Loop

original = Loop.train_epoch
def slow(self, epoch):
    time.sleep(0.1)
    return original(self, epoch)
Loop.train_epoch = slow
run(Path(sys.argv[1]), say=print, **LONG)
"""


@pytest.fixture
def folders(tmp_path):
    """Return where a training is cut short and continued, and where it runs as a whole."""
    return tmp_path / "cut", tmp_path / "whole"


def begun(folder) -> subprocess.Popen[bytes]:
    """Start a slow training in another process and return it when it has left a checkpoint."""
    code = KILLED.format(tests=os.path.dirname(__file__))
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while not (folder / "checkpoint.pt").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    return process


def test_killed_and_continued_equals_uninterrupted(folders):
    """Dropout, averaged weights and a schedule survive SIGKILL."""
    killed, whole = folders
    process = begun(killed)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "summary.json").exists()
    a, b = run(killed, **LONG), run(whole, **LONG)
    assert (a["resumed"], b["resumed"]) == (1, 0)
    assert a["best_epoch"] == b["best_epoch"]
    assert same_weights(killed, whole)
    tables = [(folder / "predictions.csv").read_bytes() for folder in (killed, whole)]
    assert tables[0] == tables[1]
    assert not (killed / "checkpoint.pt").exists()


def test_a_second_training_of_one_folder_waits_and_finds_the_results(folders):
    """Such as that of a job whose workflow was killed, and of the restarted workflow."""
    folder, _ = folders
    first = begun(folder)
    said = []
    summary = run(folder, say=said.append, **LONG)
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert summary["resumed"] == 0
    (line,) = said
    assert line.startswith(f"{folder} is written by another training (process {first.pid} on ")


@pytest.mark.parametrize("layer", ["gat", "general"])
def test_time_limit_writes_results_and_a_larger_one_continues(folders, layer):
    model = TINY | {"layer": layer}
    cut, whole = folders
    lines = []
    first = run(cut, options=model, say=lines.append, time_limit_s=1e-6)
    assert first["stopped"] == "time limit"
    # not one epoch fitted, so the weights after the first step are judged
    assert (first["epochs_run"], first["best_epoch"]) == (0, 0)
    assert "epoch 0, step 1" in lines[-2]
    assert len(read_table(cut / "predictions.csv")) == 12
    assert read_table(cut / "history.csv") == []
    second = run(cut, options=model)
    assert (second["stopped"], second["epochs_run"], second["resumed"]) == ("epochs", 4, 1)
    run(whole, options=model)
    assert same_weights(cut, whole)


@pytest.mark.parametrize("steps", [2, 7])
def test_stopped_within_an_epoch_and_continued_equals_uninterrupted(folders, monkeypatch, steps):
    """Dropout, averages and the errors of the epoch continue from the middle (4 steps an epoch)."""
    how = {"options": TINY | {"layer": "gat"}, "ema": 0.9, "clip": 1.0, "scheduler": "cosine"}
    how |= {"checkpoint_interval_s": 0.0}
    cut, whole = folders
    run(whole, **how)
    original, count = Loop.train_step, 0

    def breaks(self, batch, rate):
        nonlocal count
        count += 1
        if count > steps:
            raise KeyboardInterrupt
        return original(self, batch, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "train_step", breaks)
        with pytest.raises(KeyboardInterrupt):
            run(cut, **how)
    lines = []
    again = run(cut, say=lines.append, **how)
    assert again["resumed"] == 1
    assert f"continued at epoch {steps // 4}, step {steps % 4}" in lines[0]
    assert same_weights(cut, whole)
    a, b = (read_table(folder / "history.csv") for folder in folders)
    for row in (*a, *b):
        del row["seconds"]
    assert a == b


def test_time_limit_within_a_later_epoch(folders, monkeypatch):
    """The best epoch so far is what is written, and the rest can still be had."""
    cut, whole = folders
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "time_is_up", lambda self: self.run.epoch == 2 and self.run.step == 3)
        first = run(cut, time_limit_s=1e9)
    assert (first["stopped"], first["epochs_run"]) == ("time limit", 2)
    assert first["best_epoch"] in (1, 2)
    run(cut)
    run(whole)
    assert same_weights(cut, whole)


@pytest.mark.parametrize("name", ["checkpoint.pt", "model.safetensors", "history.csv"])
def test_a_full_disk_leaves_the_checkpoint_and_the_training_goes_on(folders, monkeypatch, name):
    cut, whole = folders
    run(cut, **LONG | {"time_limit_s": 1e-6})
    there = {path.name: path.read_bytes() for path in cut.iterdir()}
    write = files._temporary

    def refuse(path):
        if path.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path)

    how = LONG | {"checkpoint_interval_s": 0.0 if name == "checkpoint.pt" else 1e9}
    with monkeypatch.context() as patch:
        patch.setattr(files, "_temporary", refuse)
        with pytest.raises(DataError, match=f"{name}: No space left"):
            run(cut, **how)
    assert (cut / name).read_bytes() == there[name]
    assert (cut / "checkpoint.pt").read_bytes() == there["checkpoint.pt"]
    assert run(cut, **LONG)["resumed"] == 1
    run(whole, **LONG)
    assert same_weights(cut, whole)


def test_checkpoint_of_another_training_is_passed_over(tmp_path):
    run(tmp_path, time_limit_s=1e-6)
    summary = run(tmp_path, term="other")
    assert (summary["term"], summary["resumed"]) == ("other", 0)


def test_damaged_checkpoint(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged; delete it"):
        run(tmp_path)


def test_a_new_setting_with_a_default_trains_nothing_again(tmp_path):
    """A stopped training continues, and a finished one is left as it is."""
    from dataclasses import asdict, make_dataclass

    from gnnip.training import Settings, train

    more = make_dataclass("More", [("novelty", int, 3)], bases=(Settings,), frozen=True)
    arguments = ("spektral", TINY, make_frames(), "pair", {"train": range(8), "validation": [9]})
    train(*arguments, settings(time_limit_s=1e-6), tmp_path, quiet)
    continued = train(*arguments, more(**asdict(settings())), tmp_path, quiet)
    assert continued["resumed"] == 1
    assert train(*arguments, settings(), tmp_path, quiet) == continued
    changed = train(*arguments, more(**asdict(settings()), novelty=4), tmp_path, quiet)
    assert changed["identity"] != continued["identity"]

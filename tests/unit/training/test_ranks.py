"""A training in two processes is that of one, but for rounding."""

import subprocess
import sys

import pytest
import torch
from tiny_trainings import (
    CRYSTAL,
    FORCES,
    PAIR,
    TINY,
    divide,
    entry,
    make_crystals,
    make_frames,
    read_table,
    run,
    same_weights,
    write_spec,
)

from gnnip.datasets.store import write_frames
from gnnip.errors import ConfigError, GnnipError
from gnnip.models import build
from gnnip.training import ranks
from gnnip.training.run import read_spec, run_one

OPTIONS = FORCES | {"device": "cpu", "dtype": "float64", "threads": 1, "learning_rate": 0.03}
OPTIONS |= {"batch_size": 6}
# 19 training frames in batches of 6: shares of 3 and 3, and at the end 1 and none
ODD = divide(19, 5, 6)
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def test_two_processes_equal_one(tmp_path):
    """Energies, forces and stress, a batch that does not divide, clipping and averages."""
    frames, lines = make_crystals(30), []
    how = OPTIONS | {"epochs": 3, "clip": 1.0, "ema": 0.9, "stress_weight": 10.0, "split": ODD}
    folders = tmp_path / "one", tmp_path / "two"
    summaries = [
        run(folder, "pair", CRYSTAL, frames, say=lines.append, processes=processes, **how)
        for processes, folder in enumerate(folders, start=1)
    ]
    assert any("2 processes" in line for line in lines)
    assert same_weights(*folders, **CLOSE)
    one, two = (read_table(folder / "history.csv") for folder in folders)
    for a, b in zip(one, two, strict=True):
        for column in set(a) - {"seconds"}:
            assert float(a[column]) == pytest.approx(float(b[column]), rel=1e-6), column
    assert summaries[0]["identity"] == summaries[1]["identity"]
    for key in ("test_force_rmse_ev_per_a", "validation_mae_ev", "test_stress_mae_ev_per_a3"):
        assert summaries[1][key] == pytest.approx(summaries[0][key], rel=1e-8)
    assert not torch.distributed.is_initialized()


def test_two_processes_continue_exactly(tmp_path):
    """With dropout, which is drawn in each process; the limit comes within the first epoch."""
    how = {"options": TINY | {"layer": "gat"}, "epochs": 2, "threads": 1, "processes": 2}
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    first = run(cut, time_limit_s=1e-6, **how)
    assert (first["stopped"], first["epochs_run"]) == ("time limit", 0)
    second = run(cut, **how)
    assert (second["stopped"], second["resumed"]) == ("epochs", 1)
    run(whole, **how)
    assert same_weights(cut, whole)


def test_under_torchrun(tmp_path):
    """The other way to start processes, with a spec of two trainings."""
    write_frames(tmp_path / "frames.h5", make_frames(30, forces=True), attributes={})
    split = {name: part.tolist() for name, part in ODD.items()}
    how = OPTIONS | {"epochs": 1}
    pair = {"model": "pair", "hyperparameters": PAIR, "split": split}
    pair |= {"settings": how | {"processes": 2}}
    spec = write_spec(tmp_path, [entry(folder=name, **pair) for name in "ab"])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "gnnip.training.run", "--spec", str(spec)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    run_one(read_spec(spec)[0] | {"folder": tmp_path / "one", "settings": how}, log=False)
    assert same_weights(tmp_path / "a", tmp_path / "one", **CLOSE)
    assert same_weights(tmp_path / "a", tmp_path / "b")


def test_another_number_of_processes_than_torchrun_started(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="processes is 2 and torchrun started 4"):
        run(tmp_path, processes=2)


def test_what_processes_cannot_share(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "_start", lambda *_: pytest.fail("nothing should be started"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="processes is 2 and 1 GPUs are visible"):
        run(tmp_path, device="auto", processes=2)


def test_whole_batches_are_not_shared():
    with pytest.raises(ConfigError, match="'spektral' normalises over whole batches"):
        ranks.check_parallel(build("spektral", layer="general"), "spektral", 2)


def test_a_process_that_fails_says_why(tmp_path, monkeypatch):
    def start(folder, rank, settings):
        with open(folder / f"{rank}.log", "wb") as log:
            code = "import sys; sys.exit('the disk is full')"
            return subprocess.Popen([sys.executable, "-c", code], stderr=log)

    monkeypatch.setattr(ranks, "_start", start)
    with pytest.raises(GnnipError, match="Process 1 of the training failed: the disk is full"):
        run(tmp_path, processes=2)

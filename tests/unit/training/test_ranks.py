"""A training in two processes is that of one, but for rounding."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from test_trainer import (
    CRYSTAL,
    FORCES,
    PAIR,
    SPLIT,
    TINY,
    make_crystals,
    make_frames,
    quiet,
    read_table,
    same_weights,
)

from gnnip.datasets.store import write_frames
from gnnip.errors import ConfigError, GnnipError
from gnnip.models.weights import read_weights
from gnnip.training import Settings, ranks, train
from gnnip.training.run import run_one

OPTIONS = FORCES | {"device": "cpu", "dtype": "float64", "threads": 1, "learning_rate": 0.03}
# 19 training frames in batches of 6: shares of 3 and 3, and at the end 1 and none
ODD = {"train": np.arange(19), "validation": np.arange(19, 24), "test": np.arange(24, 30)}


def close(a, b):
    a, b = (read_weights(folder / "model.safetensors") for folder in (a, b))
    return all(torch.allclose(a[k], b[k], rtol=1e-9, atol=1e-12) for k in a)


def test_two_processes_equal_one(tmp_path):
    """Energies, forces and stress, a batch that does not divide, clipping and averages."""
    frames = make_crystals(30)
    changes = {"epochs": 3, "batch_size": 6, "clip": 1.0, "ema": 0.9, "stress_weight": 10.0}
    folders = tmp_path / "one", tmp_path / "two"
    summaries, lines = [], []
    for processes, folder in enumerate(folders, start=1):
        chosen = Settings(**OPTIONS | changes, processes=processes)
        summaries.append(train("pair", CRYSTAL, frames, "pair", ODD, chosen, folder, lines.append))
    assert any("2 processes" in line for line in lines)
    assert close(*folders)
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
    model = TINY | {"layer": "gat"}
    arguments = ("spektral", model, make_frames(), "pair", SPLIT)
    options = {"device": "cpu", "epochs": 2, "batch_size": 8, "threads": 1, "processes": 2}
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    first = train(*arguments, Settings(**options, time_limit_s=1e-6), cut, quiet)
    assert (first["stopped"], first["epochs_run"]) == ("time limit", 0)
    second = train(*arguments, Settings(**options), cut, quiet)
    assert (second["stopped"], second["resumed"]) == ("epochs", 1)
    train(*arguments, Settings(**options), whole, quiet)
    assert same_weights(cut, whole)


def test_under_torchrun(tmp_path):
    """The other way to start processes, with a spec of two trainings."""
    frames = make_frames(30, forces=True)
    frames.units = {"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"}
    write_frames(tmp_path / "frames.h5", frames, attributes={})

    def entry(folder, processes):
        return {
            "folder": str(tmp_path / folder),
            "data": str(tmp_path / "frames.h5"),
            "model": "pair",
            "hyperparameters": PAIR,
            "term": "pair",
            "split": {name: part.tolist() for name, part in ODD.items()},
            "settings": OPTIONS | {"epochs": 1, "batch_size": 6, "processes": processes},
        }

    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"trainings": [entry("a", 2), entry("b", 2)]}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "gnnip.training.run", "--spec", str(spec)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    run_one(entry("one", 1), log=False)
    assert close(tmp_path / "a", tmp_path / "one")
    assert same_weights(tmp_path / "a", tmp_path / "b")


def test_another_number_of_processes_than_torchrun_started(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    chosen = Settings(device="cpu", processes=2)
    with pytest.raises(ConfigError, match="processes is 2 and torchrun started 4"):
        train("spektral", TINY, make_frames(), "pair", SPLIT, chosen, tmp_path, quiet)


def test_what_processes_cannot_share(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "_start", lambda *_: pytest.fail("nothing should be started"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    chosen = Settings(device="auto", processes=2)
    with pytest.raises(ConfigError, match="processes is 2 and 1 GPUs are visible"):
        train("spektral", TINY, make_frames(), "pair", SPLIT, chosen, tmp_path, quiet)


def test_whole_batches_are_not_shared(tmp_path):
    from gnnip.models import build
    from gnnip.training.trainer import _check_parallel

    with pytest.raises(ConfigError, match="normalises over whole batches"):
        _check_parallel(build("spektral", layer="general"), type("Two", (), {"size": 2}))


def test_a_process_that_fails_says_why(tmp_path, monkeypatch):
    def start(folder, rank, settings):
        with open(folder / f"{rank}.log", "wb") as log:
            code = "import sys; sys.exit('the disk is full')"
            return subprocess.Popen([sys.executable, "-c", code], stderr=log)

    monkeypatch.setattr(ranks, "_start", start)
    chosen = Settings(device="cpu", processes=2)
    with pytest.raises(GnnipError, match="Process 1 of the training failed: the disk is full"):
        train("spektral", TINY, make_frames(), "pair", SPLIT, chosen, tmp_path, quiet)

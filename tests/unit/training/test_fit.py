"""Potentials that are fitted in closed form, or take statistics before they are trained."""

import os
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from tiny_trainings import CRYSTAL, graphs, make_crystals, read_table, settings, weights_of

from gnnip.errors import ConfigError, ConvergenceError
from gnnip.models import Potential, build, predict
from gnnip.models.fitting import FitReport, TrainingFrames
from gnnip.training import trainer
from gnnip.training.loop import Loop

TRUTH = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
SPLIT = {"train": np.arange(12), "validation": np.arange(12, 16), "test": np.arange(16, 20)}


@dataclass(frozen=True)
class Options:
    cutoff: float = 3.5


class Linear(Potential):
    """E = sum over atoms of coefficients . descriptors, by least squares with a chosen ridge."""

    architecture = "linear"
    Hyperparameters = Options
    fits = 0

    def __init__(self, hyperparameters):
        super().__init__(hyperparameters)
        self.coefficients = torch.nn.Parameter(torch.zeros(3))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("deviation", torch.ones(3))

    @property
    def cutoff(self):
        return self.hyperparameters.cutoff

    def descriptors(self, batch):
        r = batch.edge_lengths()[:, None]
        powers = torch.arange(1, 4, dtype=r.dtype)
        radial = torch.exp(-powers * r) * (1 - r / self.cutoff) ** 3
        return batch.adjacency.sum_messages(radial)

    def forward(self, batch):
        atomic = ((self.descriptors(batch) - self.mean) / self.deviation) @ self.coefficients
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

    def equations(self, batch, forces):
        """Return descriptors, with the rows of their gradients below, and labels."""
        positions = batch.positions.clone().requires_grad_()
        found = self.descriptors(replace(batch, positions=positions, lengths=None))
        rows, labels = [batch.sum_atoms(found).detach()], [batch.energy]
        if forces:
            columns = [
                torch.autograd.grad(found[:, k].sum(), positions, retain_graph=True)[0]
                for k in range(3)
            ]
            rows.append(-torch.stack(columns, -1).reshape(-1, 3))
            labels.append(batch.forces.reshape(-1))
        return torch.cat(rows), torch.cat(labels)

    def fit(self, frames):
        type(self).fits += 1
        forces = frames.force_weight > 0
        train, validation = (
            [torch.cat(part) for part in zip(*pairs, strict=True)]
            for pairs in (
                [self.equations(batch, forces) for batch in frames.batches(rows, size=5)]
                for rows in (None, frames.validation)
            )
        )
        best = np.inf
        for ridge in (1.0, 1e-3, 0.0):
            matrix, labels = train
            found = torch.linalg.solve(matrix.T @ matrix + ridge * torch.eye(3), matrix.T @ labels)
            error = float((validation[0] @ found - validation[1]).square().mean())
            if error < best:
                best, chosen, solution = error, ridge, found
        with torch.no_grad():
            self.coefficients.copy_(solution)
        return FitReport(complete=True, details={"ridge": chosen, "rows": len(train[0])})


class Standardised(Linear):
    """Descriptors are standardised first, then the coefficients are trained."""

    def fit(self, frames):
        type(self).fits += 1
        found = torch.cat([self.descriptors(batch) for batch in frames.batches()])
        self.mean.copy_(found.mean(0))
        self.deviation.copy_(found.std(0))
        return FitReport(complete=False)


@pytest.fixture(scope="module")
def frames():
    """Crystals labelled by the linear potential."""
    crystals, teacher = make_crystals(20), Linear(Options()).double()
    teacher.coefficients.data.copy_(TRUTH)
    said = predict(teacher, graphs(crystals, teacher.cutoff), forces=True)
    return replace(crystals, energies={"linear": said["energy"]}, forces={"linear": said["forces"]})


@pytest.fixture
def train(frames, monkeypatch):
    """Return a function that trains a class of this file and returns the summary."""

    def run(cls, folder, **changes):
        monkeypatch.setattr(trainer, "build", lambda name: cls(Options()))
        chosen = settings(**{"dtype": "float64", "threads": 1} | changes)
        return trainer.train("linear", {}, frames, "linear", SPLIT, chosen, folder, lambda _: None)

    monkeypatch.setattr(Linear, "fits", 0)
    monkeypatch.setattr(Standardised, "fits", 0)
    return run


@pytest.mark.parametrize("how", [{}, {"force_weight": 1.0, "ema": 0.9, "compile": True}])
def test_least_squares_finds_the_coefficients(train, tmp_path, how):
    summary = train(Linear, tmp_path, **how)
    found = weights_of(tmp_path)["coefficients"]
    assert torch.allclose(found, TRUTH, rtol=1e-6)
    assert (summary["fitted"], summary["stopped"]) == (True, "fit")
    n_rows = 12 + (12 * 24 if how else 0)
    assert summary["fit"] == {"ridge": 0.0, "rows": n_rows}
    assert summary["test_mae_ev"] < 1e-8
    assert summary["wall_s"] > 0
    (row,) = read_table(tmp_path / "history.csv")
    assert float(row["validation_mae_ev"]) < 1e-8
    assert ("validation_force_rmse_ev_per_a" in row) == bool(how)
    assert (summary["epochs_run"], summary["best_epoch"], int(row["epoch"])) == (1, 1, 1)
    assert len(read_table(tmp_path / "predictions.csv")) == 8
    assert not (tmp_path / "checkpoint.pt").exists()
    assert train(Linear, tmp_path, **how) == summary
    assert Linear.fits == 1


def test_a_fit_survives_a_kill(train, tmp_path, monkeypatch):
    def killed(self, bar):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "judge_fit", killed)
        with pytest.raises(KeyboardInterrupt):
            train(Linear, tmp_path)
    summary = train(Linear, tmp_path)
    assert (summary["resumed"], summary["fitted"], Linear.fits) == (1, True, 1)
    assert torch.allclose(weights_of(tmp_path)["coefficients"], TRUTH, rtol=1e-6)


def test_statistics_are_there_before_the_training_and_stay(train, tmp_path, frames):
    first = train(Standardised, tmp_path, time_limit_s=1e-6, ema=0.5)
    assert first["stopped"] == "time limit"
    second = train(Standardised, tmp_path, ema=0.5)
    assert (second["stopped"], second["resumed"], second["epochs_run"]) == ("epochs", 1, 4)
    assert second["fitted"] is False
    assert Standardised.fits == 1
    found = weights_of(tmp_path)
    store = graphs(frames.subset(SPLIT["train"]), 3.5)
    expected = Linear(Options()).descriptors(store.batch(torch.arange(12)))
    assert torch.allclose(found["mean"], expected.mean(0))
    assert torch.allclose(found["deviation"], expected.std(0))
    assert found["coefficients"].any()


def part(ranks, settings, **training):
    """Take part as one of two processes, which know this file alone."""
    trainer.build = lambda name: Standardised(Options())
    return train_rank(ranks, settings, **training)


train_rank = trainer.train_rank


def test_one_of_two_processes_fits(train, tmp_path, monkeypatch):
    folders = os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    for processes, name in enumerate(("one", "two"), start=1):
        train(Standardised, tmp_path / name, processes=processes)
        monkeypatch.setattr(trainer, "train_rank", part)
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert all(torch.allclose(one[k], two[k]) for k in one)


def test_a_fit_that_fails(train, tmp_path, monkeypatch):
    def fit(self, frames):
        self.coefficients.data.fill_(torch.nan)
        return FitReport(complete=True)

    monkeypatch.setattr(Linear, "fit", fit)
    with pytest.raises(ConvergenceError, match="fit in closed form gives errors that are not fin"):
        train(Linear, tmp_path)


def test_a_sum_hands_statistics_on_and_refuses_a_complete_fit(monkeypatch):
    terms = [{"model": "pair", "hyperparameters": CRYSTAL | {"cutoff": c}} for c in (2.5, 3.5)]
    model = build("sum", terms=terms).double()
    store = graphs(make_crystals(6), model.cutoff)
    frames = TrainingFrames(store, torch.arange(4), torch.arange(4, 6))
    assert model.fit(frames) is None
    seen = []

    def fit(self, frames):
        batches = list(frames.batches(frames.validation))
        seen.append((self.cutoff, batches[0].cutoff, float(batches[0].edge_lengths().max())))
        return FitReport(complete, {f"cutoff {self.cutoff}": batches[0].n_graphs})

    monkeypatch.setattr(type(model.terms[0]), "fit", fit)
    complete = False
    assert model.fit(frames) == FitReport(False, {"cutoff 2.5": 2, "cutoff 3.5": 2})
    assert [cutoff for cutoff, *_ in seen] == [2.5, 3.5]
    assert all(longest < own == cutoff for own, cutoff, longest in seen)
    complete = True
    with pytest.raises(ConfigError, match="the term 'pair', which is fitted in closed form"):
        model.fit(frames)

"""The trainer: files, selection by validation, errors of all quantities, refusals."""

import json
from dataclasses import replace

import ase
import numpy as np
import pytest
import torch
from tiny_trainings import (
    CRYSTAL,
    FORCES,
    PAIR,
    SPLIT,
    THIRDS,
    divide,
    graphs,
    make_crystals,
    make_frames,
    read_table,
    run,
    same_weights,
    taught_by_pairs,
)

import gnnip
from gnnip.errors import ConfigError, ConvergenceError, DataError
from gnnip.models import load, predict
from gnnip.training import loop
from gnnip.training.loop import Loop
from gnnip.training.losses import LOSSES
from gnnip.training.optimiser import OPTIMISERS
from gnnip.training.schedule import SCHEDULES
from gnnip.training.settings import Settings

FIRST = ["frame", "subset", "n_molecules", "temperature_k", "trajectory"]


def test_files(tmp_path):
    frames, lines = make_frames(), []
    summary = run(tmp_path, frames=frames, say=lines.append)
    names = ["history.csv", "model.json", "model.safetensors", "predictions.csv", "summary.json"]
    assert sorted(p.name for p in tmp_path.glob("[!.]*")) == names
    history = read_table(tmp_path / "history.csv")
    columns = ["epoch", "train_loss", "validation_loss", "train_mae_ev", "validation_mae_ev"]
    assert list(history[0]) == [*columns, "learning_rate", "seconds"]
    assert [int(h["epoch"]) for h in history] == [1, 2, 3, 4]
    predictions = read_table(tmp_path / "predictions.csv")
    assert list(predictions[0]) == [
        *FIRST,
        "n_atoms",
        "energy_reference_ev",
        "energy_predicted_ev",
    ]
    assert [int(p["frame"]) for p in predictions] == list(range(28, 40))
    assert {p["subset"] for p in predictions[:6]} == {"validation"}
    assert {p["subset"] for p in predictions[6:]} == {"test"}
    for p in predictions:
        frame = int(p["frame"])
        assert float(p["energy_reference_ev"]) == pytest.approx(frames.energies["pair"][frame])
        assert p["trajectory"] == f"t{frame % 4}"
        assert int(p["n_atoms"]) == 3 * int(p["n_molecules"])
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["n_train"] == 28
    assert summary["resumed"] == 0
    assert summary["stopped"] == "epochs"
    # without forces their errors are null
    assert summary["test_force_rmse_ev_per_a"] is None
    assert summary["force_rms_reference_ev_per_a"] is None
    assert summary["test_energy_rmse_mev_per_atom"] > 0
    # the saved model is that of the best epoch, and predicts what the table says
    maes = [float(h["validation_mae_ev"]) for h in history]
    assert summary["best_epoch"] == int(np.argmin(maes)) + 1
    assert summary["validation_mae_ev"] == pytest.approx(min(maes), rel=1e-4)
    atoms = frames.atom_slice(35)
    calculator = gnnip.load_calculator(tmp_path, "cpu")
    structure = ase.Atoms(frames.numbers[atoms], frames.positions[atoms], calculator=calculator)
    expected = float(predictions[7]["energy_predicted_ev"])
    assert structure.get_potential_energy() == pytest.approx(expected, rel=1e-5)
    assert any("epoch 4/4" in line for line in lines)


def test_it_learns(tmp_path):
    frames = make_frames(120)
    model = {"layer": "gcs", "features": "invariant", "output_scaling": "standard", "cutoff": 8.0}
    how = {"scheduler": "cosine", "ema": 0.9, "epochs": 40, "learning_rate": 3e-3}
    summary = run(tmp_path, options=model, frames=frames, split=divide(90, 15, 15), **how)
    assert summary["test_mae_ev"] < 0.15 * frames.energies["pair"].std()


TAUGHT = {"epochs": 60, "batch_size": 4, "learning_rate": 0.1, "scheduler": "cosine"}


def test_a_pair_potential_learns_the_forces_of_another(tmp_path):
    """The teacher is in the student's span; exp(-r) of `make_frames` is not (best RMSE 2-5 %)."""
    frames = taught_by_pairs(make_frames(50), PAIR)
    summary = run(tmp_path, "pair", frames=frames, split=divide(35, 7, 8), **TAUGHT, **FORCES)
    assert summary["test_force_rmse_ev_per_a"] < 0.02 * summary["force_rms_reference_ev_per_a"]


def test_force_errors_are_those_of_the_saved_model(tmp_path):
    frames, lines = make_frames(30, forces=True), []
    frames.metadata["state"] = np.array(["a", "b"] * 15)
    frames.metadata["curve"] = np.zeros((30, 2))  # no column of a table
    summary = run(tmp_path, "pair", frames=frames, split=THIRDS, say=lines.append, **FORCES)
    table = read_table(tmp_path / "predictions.csv")
    assert list(table[0])[:6] == [*FIRST, "state"]
    assert "curve" not in table[0]
    assert [r["state"] for r in table] == [frames.metadata["state"][int(r["frame"])] for r in table]
    network = load(tmp_path)
    for name, chosen in THIRDS.items():
        part = frames.subset(chosen)
        said = predict(network, graphs(part, network.cutoff, torch.float32), forces=True)
        force = said["forces"] - part.forces["pair"]
        energy = (said["energy"] - part.energies["pair"]) / part.n_atoms
        expected = {
            "force_rmse_ev_per_a": np.sqrt((force**2).mean()),
            "force_mae_ev_per_a": np.abs(force).mean(),
            "energy_rmse_mev_per_atom": 1000 * np.sqrt((energy**2).mean()),
        }
        for quantity, value in expected.items():
            assert summary[f"{name}_{quantity}"] == pytest.approx(value, rel=1e-5)
        if name == "train":
            continue
        rows = [r for r in table if r["subset"] == name]
        for k, row in enumerate(rows):
            error, truth = force[part.atom_slice(k)], part.forces["pair"][part.atom_slice(k)]
            rms, mae = float(row["force_rmse_ev_per_a"]), float(row["force_mae_ev_per_a"])
            assert rms == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
            assert mae == pytest.approx(np.abs(error).mean(), rel=1e-5)
            assert float(row["force_rms_reference_ev_per_a"]) == pytest.approx(
                np.sqrt((truth**2).mean())
            )
    truth = frames.subset(THIRDS["test"]).forces["pair"]
    assert summary["force_rms_reference_ev_per_a"] == pytest.approx(np.sqrt((truth**2).mean()))
    history = read_table(tmp_path / "history.csv")
    best = float(history[summary["best_epoch"] - 1]["validation_force_rmse_ev_per_a"])
    assert best == pytest.approx(summary["validation_force_rmse_ev_per_a"], rel=1e-5)
    assert float(history[0]["train_force_rmse_ev_per_a"]) > 0
    assert "eV/A" in lines[-2]
    assert "judges nothing" in lines[-1]


def test_a_pair_potential_learns_from_stress(tmp_path):
    frames, split = make_crystals(40), divide(28, 6, 6)
    how = TAUGHT | {"energy_weight": 0.0, "stress_weight": 1.0, "loss": "mse"}
    summary = run(tmp_path / "stress", "pair", CRYSTAL, frames, split=split, **how)
    assert summary["test_stress_rmse_ev_per_a3"] < 0.02 * summary["stress_rms_reference_ev_per_a3"]
    assert summary["test_force_rmse_ev_per_a"] is None
    # and the three losses together
    how |= {"force_weight": 1.0, "energy_weight": 1.0, "epochs": 1}
    summary = run(tmp_path / "all", "pair", CRYSTAL, frames, split=split, **how)
    truth = frames.subset(split["test"]).stresses["pair"]
    assert summary["stress_rms_reference_ev_per_a3"] == pytest.approx(np.sqrt((truth**2).mean()))
    for name in split:
        rmse = summary[f"{name}_stress_rmse_ev_per_a3"]
        assert 0 < summary[f"{name}_stress_mae_ev_per_a3"] <= rmse


def test_missing_stress(tmp_path):
    frames = make_crystals(6)

    def train_on(frames):
        run(tmp_path, "pair", CRYSTAL, frames, split=divide(2, 1, 1), stress_weight=1.0)

    with pytest.raises(DataError, match="periodic in all directions"):
        train_on(replace(frames, cells=None, pbc=None))
    frames.stresses["pair"][1, 0, 0] = np.nan
    with pytest.raises(DataError, match="Stresses of the term 'pair' are not finite"):
        train_on(frames)
    frames.stresses.clear()
    with pytest.raises(DataError, match=r"no stresses of the term 'pair'.*stress_weight 0"):
        train_on(frames)


def test_forces_of_a_network_are_learned(tmp_path):
    frames = make_frames(30, forces=True)
    how = FORCES | {"loss": "huber", "clip": 10.0, "learning_rate": 3e-3}
    model = {"layer": "gcs", "features": "invariant", "activation": "tanh", "cutoff": 8.0}
    found = []
    for epochs in (1, 25):
        folder = tmp_path / str(epochs)
        summary = run(folder, options=model, frames=frames, split=THIRDS, epochs=epochs, **how)
        found.append(summary["test_force_mae_ev_per_a"])
    assert found[1] < 0.6 * found[0]


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_null_model_has_nothing_to_train_and_a_summary(tmp_path, ema):
    how = FORCES | {"frames": make_frames(30, forces=True), "split": THIRDS, "epochs": 1}
    summary = run(tmp_path, "composition", {}, ema=ema, **how)
    reference = summary["force_rms_reference_ev_per_a"]
    assert summary["test_force_rmse_ev_per_a"] == pytest.approx(reference, rel=1e-6)


def test_a_force_step_computes_no_gradient_of_positions(tmp_path, monkeypatch):
    """Validation keeps no graph of the weights, training none of the positions."""
    original, seen = loop.evaluate, []

    def watch(model, batch, *options):
        output = original(model, batch, *options)
        seen.append((model.training, output["energy"].requires_grad))
        assert all(p.requires_grad for p in model.parameters())
        return output

    backwards = []
    tensor_backward = torch.Tensor.backward

    def backward(self, *args, **options):
        backwards.append(options["inputs"])
        tensor_backward(self, *args, **options)

    monkeypatch.setattr(loop, "evaluate", watch)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    run(tmp_path, "pair", frames=make_frames(30, forces=True), split=THIRDS, epochs=1, **FORCES)
    assert set(seen) == {(True, True), (False, False)}
    assert all([tuple(p.shape) for p in inputs] == [(3, 6)] for inputs in backwards)


def test_same_call_again_changes_nothing(tmp_path):
    first = run(tmp_path)
    stamp = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert run(tmp_path) == first
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == stamp
    other = run(tmp_path, term="other")
    assert other["term"] == "other"
    assert other["resumed"] == 0


def test_seed_decides_everything(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(hash(name) % 1000)
        run(tmp_path / name, seed=seed)
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert not same_weights(tmp_path / "a", tmp_path / "c")


def test_labels_that_are_not_finite(tmp_path):
    frames = make_frames()
    frames.energies["pair"][[30, 31]] = np.nan
    with pytest.raises(DataError, match=r"energy 'pair' of frame 30 \(and of 1 others\)"):
        run(tmp_path, frames=frames)
    # frames that are not used may be bad
    run(tmp_path, frames=frames, split=SPLIT | {"validation": np.array([28, 29])})


@pytest.mark.parametrize(
    ("split", "error", "message"),
    [
        ({"train": [0, 1], "validation": [1]}, DataError, "frame 1 more than once"),
        ({"train": [0, 1], "validation": []}, DataError, "no validation frames"),
        ({"train": [0, 99], "validation": [1]}, DataError, r"outside 0\.\.39"),
        ({"train": [0], "validation": [1], "tset": [2]}, ConfigError, "not 'tset'"),
    ],
)
def test_bad_splits(tmp_path, split, error, message):
    with pytest.raises(error, match=message):
        run(tmp_path, split=split)


def test_divergence(tmp_path):
    with pytest.raises(ConvergenceError, match=r"diverged.*lower the learning rate \(now 1e\+18\)"):
        run(tmp_path, optimiser="sgd", loss="mse", learning_rate=1e18)
    assert not (tmp_path / "summary.json").exists()


def test_late_divergence_keeps_the_best_epoch(tmp_path, monkeypatch):
    original = Loop.train_epoch

    def breaks(self, epoch):
        errors = original(self, epoch)
        return replace(errors, loss=float("nan")) if epoch == 2 else errors

    monkeypatch.setattr(Loop, "train_epoch", breaks)
    lines = []
    summary = run(tmp_path, say=lines.append)
    assert summary["stopped"] == "diverged"
    assert summary["best_epoch"] in (1, 2)
    assert any("diverged" in line for line in lines)


def test_missing_forces(tmp_path):
    with pytest.raises(DataError, match="force_weight 0"):
        run(tmp_path, force_weight=1.0)


def test_total_is_the_sum_of_the_terms(tmp_path):
    frames = make_frames()
    run(tmp_path, frames=frames, term="total")
    rows = read_table(tmp_path / "predictions.csv")
    expected = sum(v[28] for v in frames.energies.values())
    assert float(rows[0]["energy_reference_ev"]) == pytest.approx(expected)
    with pytest.raises(DataError, match="did you mean 'pair'"):
        run(tmp_path, frames=frames, term="pear")


def test_schedules():
    def schedule(scheduler=None, **changes):
        return SCHEDULES[scheduler](Settings(learning_rate=0.1, scheduler=scheduler, **changes))

    flat = schedule()
    assert flat.rate(0) == flat.rate(99) == 0.1
    cosine = schedule("cosine", epochs=10, warmup_epochs=2)
    assert cosine.rate(1) == pytest.approx(0.05)
    assert cosine.rate(6) == pytest.approx(0.05)
    assert cosine.rate(10) == pytest.approx(0.0, abs=1e-12)
    falling = schedule("exponential", decay=0.5)
    assert falling.rate(3) == pytest.approx(0.0125)
    plateau = schedule("plateau", plateau_patience=2)
    for loss in (5.0, 4.0, 4.0, 4.0):
        plateau.observe(loss)
    assert plateau.rate(4) == 0.1
    plateau.observe(4.0)
    assert plateau.rate(5) == pytest.approx(0.05)
    again = schedule("plateau")
    again.restore(plateau.state())
    assert again.rate(5) == plateau.rate(5)
    step = schedule("step", step_epochs=3, min_learning_rate=1e-5)
    assert [step.rate(epoch) for epoch in (0, 2, 3, 9)] == [0.1, 0.1, 1e-5, 1e-5]


@pytest.mark.parametrize("cycle_epochs", [None, 1])
def test_one_cycle_is_that_of_optax(cycle_epochs):
    settings = Settings(
        scheduler="one_cycle",
        learning_rate=3e-3,
        cycle_start=1 / 6,
        min_learning_rate=5e-4 / 600,
        cycle_epochs=cycle_epochs,
        epochs=4,
    )
    schedule, length = SCHEDULES["one_cycle"](settings), cycle_epochs or 4
    # optax.linear_onecycle_schedule(100, 3e-3, 0.45, 0.9, 6, 600)
    expected = {0.2: 1.61111111e-3, 0.45: 3e-3, 0.6: 2.16666667e-3, 0.9: 5e-4, 1.0: 8.33333333e-7}
    for part, rate in expected.items():
        assert schedule.rate(part * length) == pytest.approx(rate, rel=1e-8)
        assert cycle_epochs is None or schedule.rate(2 + part) == pytest.approx(rate, rel=1e-8)
    assert schedule.rate(0) == pytest.approx(5e-4)
    assert schedule.ends_at_zero == (cycle_epochs is None)


def test_yogi_is_that_of_optax():
    weights = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    optimiser = OPTIMISERS["yogi"]([weights])
    for step in range(4):
        with torch.no_grad():
            weights.grad = weights**3 + step * torch.tensor([0.0, 1.0, -1.0])
        optimiser.step(0.1 / (step + 1))
    expected = torch.tensor(
        [-0.7955804643171104, 0.3122109002286091, 1.796737319604045], dtype=torch.float64
    )
    assert torch.allclose(weights, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.5)])
@pytest.mark.parametrize(
    ("kind", "decay", "reference"),
    [
        ("adam", 0.0, torch.optim.Adam),
        ("adam", 0.1, torch.optim.Adam),
        ("adamw", 0.1, torch.optim.AdamW),
        ("sgd", 0.1, torch.optim.SGD),
    ],
)
def test_optimisers_are_those_of_torch(kind, decay, reference, betas):
    ours = [torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3), torch.ones(4).double()]
    theirs = [p.clone() for p in ours]
    for p in (*ours, *theirs):
        p.requires_grad_(True)
    optimiser = OPTIMISERS[kind](ours, decay, betas)
    expected = reference(theirs, lr=1.0, weight_decay=decay)
    expected.param_groups[0]["betas"] = betas  # gradient descent has none
    for step in range(5):
        rate = 0.1 / (step + 1)
        expected.param_groups[0]["lr"] = rate
        for parameters in (ours, theirs):
            loss = (parameters[0] ** 4).sum() + (parameters[1] * step).sin().sum()
            gradients = torch.autograd.grad(loss, parameters)
            for p, g in zip(parameters, gradients, strict=True):
                p.grad = g
        optimiser.step(rate)
        expected.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-14, rtol=0)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("mae", torch.nn.functional.l1_loss),
        ("mse", torch.nn.functional.mse_loss),
        ("huber", lambda a, b: torch.nn.functional.huber_loss(a, b, delta=0.3)),
        ("log_cosh", lambda a, b: (torch.cosh(2.0 * (a - b)).log() / 2.0).mean()),
    ],
)
def test_losses_are_those_of_torch(kind, reference):
    difference = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)
    found = LOSSES[kind](difference, Settings(huber_delta=0.3, log_cosh_slope=2.0))
    assert found == pytest.approx(float(reference(difference, torch.zeros_like(difference))))

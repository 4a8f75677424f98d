"""The trainer: files, selection by validation, exact continuation, refusals."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import gnnip
from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import CheckpointError, ConfigError, ConvergenceError, DataError
from gnnip.models import build, load, predict
from gnnip.models.weights import read_weights
from gnnip.training import Settings, train
from gnnip.training.optimiser import Optimiser
from gnnip.training.schedule import Schedule

TINY = {"channels": 8, "dense_units": 8, "cutoff": 5.0}


def make_frames(n_frames=40, seed=0, forces=False):
    """Dimers and trimers of water-like molecules under a pair potential, eV and Angstrom."""
    rng = np.random.default_rng(seed)
    molecule = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    positions, numbers, sizes, energies, gradients = [], [], [], [], []
    for _ in range(n_frames):
        n = int(rng.integers(2, 4))
        p = np.concatenate([molecule + np.array([2.5 * k, 0, 0]) for k in range(n)])
        p = p + rng.normal(0, 0.1, p.shape)
        d = p[:, None] - p[None] + 10.0 * np.eye(3 * n)[:, :, None]
        r = np.linalg.norm(d, axis=-1)
        energies.append(0.5 * np.exp(-r).sum())
        gradients.append((np.exp(-r) / r)[:, :, None] * d * (1 - np.eye(3 * n))[:, :, None])
        positions.append(p)
        numbers.append(np.tile([8, 1, 1], n))
        sizes.append(n)
    offsets = np.concatenate([[0], np.cumsum([len(x) for x in numbers])])
    return FrameArrays(
        np.concatenate(positions),
        np.concatenate(numbers),
        offsets,
        {"pair": np.array(energies), "other": np.array(sizes) * 1.0},
        {"pair": np.concatenate([g.sum(1) for g in gradients])} if forces else {},
        {
            "n_molecules": np.array(sizes),
            "temperature_k": np.full(n_frames, 100.0),
            "trajectory": np.array([f"t{k % 4}" for k in range(n_frames)]),
        },
    )


SPLIT = {
    "train": np.arange(0, 28),
    "validation": np.arange(28, 34),
    "test": np.arange(34, 40),
}


def settings(**changes):
    return Settings(epochs=4, batch_size=8, device="cpu", **changes)


def quiet(_):
    pass


def read_table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_files(tmp_path):
    frames = make_frames()
    lines = []
    summary = train("spektral", TINY, frames, "pair", SPLIT, settings(), tmp_path, lines.append)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "history.csv",
        "model.json",
        "model.safetensors",
        "predictions.csv",
        "summary.json",
    ]
    history = read_table(tmp_path / "history.csv")
    assert list(history[0]) == [
        "epoch",
        "train_loss",
        "train_mae_ev",
        "validation_mae_ev",
        "learning_rate",
        "seconds",
    ]
    assert [int(h["epoch"]) for h in history] == [1, 2, 3, 4]
    predictions = read_table(tmp_path / "predictions.csv")
    assert list(predictions[0]) == [
        "frame",
        "subset",
        "n_molecules",
        "temperature_k",
        "trajectory",
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
    # the saved model is that of the best epoch, and predicts what the table says
    maes = [float(h["validation_mae_ev"]) for h in history]
    assert summary["best_epoch"] == int(np.argmin(maes)) + 1
    assert summary["validation_mae_ev"] == pytest.approx(min(maes), rel=1e-4)
    atoms = frames.atom_slice(35)
    calculator = gnnip.load_calculator(tmp_path, "cpu")
    import ase

    structure = ase.Atoms(frames.numbers[atoms], frames.positions[atoms], calculator=calculator)
    row = predictions[7]
    assert structure.get_potential_energy() == pytest.approx(
        float(row["energy_predicted_ev"]), rel=1e-5
    )
    assert any("epoch 4/4" in line for line in lines)


def test_it_learns(tmp_path):
    frames = make_frames(120)
    split = {
        k: v
        for k, v in zip(
            ("train", "validation", "test"),
            (range(90), range(90, 105), range(105, 120)),
            strict=True,
        )
    }
    split = {k: np.array(list(v)) for k, v in split.items()}
    summary = train(
        "spektral",
        {"layer": "gcs", "features": "invariant", "output_scaling": "standard", "cutoff": 8.0},
        frames,
        "pair",
        split,
        replace(settings(scheduler="cosine", ema=0.9), epochs=40, learning_rate=3e-3),
        tmp_path,
        quiet,
    )
    assert summary["test_mae_ev"] < 0.15 * frames.energies["pair"].std()


def taught_by(teacher, frames):
    """Replace the labels of frames by what a potential says."""
    from gnnip.graphs import GraphStore

    store = GraphStore.from_flat(
        frames.positions, frames.numbers, frames.offsets, teacher.cutoff, dtype=teacher.dtype
    )
    said = predict(teacher, store, forces=True)
    return replace(frames, energies={"pair": said["energy"]}, forces={"pair": said["forces"]})


PAIR = {"species": (1, 8), "n_radial": 6, "cutoff": 5.0}
THIRDS = {"train": np.arange(20), "validation": np.arange(20, 25), "test": np.arange(25, 30)}
FORCES = {"force_weight": 1.0, "loss": "mse", "per_atom": True}


def test_a_pair_potential_learns_the_forces_of_another(tmp_path):
    """The teacher is in the student's span; exp(-r) of `make_frames` is not (best RMSE 2-5 %)."""
    torch.manual_seed(0)
    teacher = build("pair", **PAIR).double()
    torch.nn.init.normal_(teacher.coefficients)
    frames = taught_by(teacher, make_frames(50))
    split = {"train": np.arange(35), "validation": np.arange(35, 42), "test": np.arange(42, 50)}
    chosen = Settings(
        epochs=60, batch_size=4, device="cpu", learning_rate=0.1, scheduler="cosine", **FORCES
    )
    summary = train("pair", PAIR, frames, "pair", split, chosen, tmp_path, quiet)
    assert summary["test_force_rmse_ev_per_a"] < 0.02 * summary["force_rms_reference_ev_per_a"]


def test_force_errors_are_those_of_the_saved_model(tmp_path):
    frames = make_frames(30, forces=True)
    frames.metadata["state"] = np.array(["a", "b"] * 15)
    frames.metadata["curve"] = np.zeros((30, 2))  # no column of a table
    lines = []
    summary = train(
        "pair", PAIR, frames, "pair", THIRDS, settings(**FORCES), tmp_path, lines.append
    )
    table = read_table(tmp_path / "predictions.csv")
    assert list(table[0])[2:6] == ["n_molecules", "temperature_k", "trajectory", "state"]
    assert "curve" not in table[0]
    assert [r["state"] for r in table] == [frames.metadata["state"][int(r["frame"])] for r in table]
    from gnnip.graphs import GraphStore

    network = load(tmp_path)
    for name, chosen in THIRDS.items():
        part = frames.subset(chosen)
        store = GraphStore.from_flat(part.positions, part.numbers, part.offsets, network.cutoff)
        said = predict(network, store, forces=True)
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
    best = history[summary["best_epoch"] - 1]
    assert float(best["validation_force_rmse_ev_per_a"]) == pytest.approx(
        summary["validation_force_rmse_ev_per_a"], rel=1e-5
    )
    assert float(history[0]["train_force_rmse_ev_per_a"]) > 0
    assert "eV/A" in lines[-1]


def make_crystals(n_frames=24, seed=0):
    """Strained rock salt of 8 atoms with displaced atoms and labels of a pair potential."""
    from gnnip.graphs import GraphStore

    torch.manual_seed(seed)
    teacher = build("pair", **CRYSTAL).double()
    torch.nn.init.normal_(teacher.coefficients)
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[range(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cells = 4.0 * (np.eye(3) + rng.uniform(-0.08, 0.08, (n_frames, 3, 3)))
    positions = np.einsum("ni,fij->fnj", grid / 2, cells)
    positions += rng.normal(0, 0.1, positions.shape)
    frames = FrameArrays(
        positions.reshape(-1, 3),
        np.tile(np.where(grid.sum(1) % 2, 9, 3), n_frames),
        np.arange(n_frames + 1) * 8,
        {},
        cells=cells,
        pbc=np.ones((n_frames, 3), dtype=bool),
    )
    store = GraphStore.from_flat(
        frames.positions,
        frames.numbers,
        frames.offsets,
        teacher.cutoff,
        cells=cells,
        pbc=frames.pbc,
        dtype=torch.float64,
    )
    said = predict(teacher, store, forces=True, stress=True)
    return replace(
        frames,
        energies={"pair": said["energy"]},
        forces={"pair": said["forces"]},
        stresses={"pair": said["stress"]},
    )


CRYSTAL = {"species": (3, 9), "n_radial": 4, "cutoff": 3.5}


def test_a_pair_potential_learns_from_stress(tmp_path):
    frames = make_crystals(40)
    split = {"train": np.arange(28), "validation": np.arange(28, 34), "test": np.arange(34, 40)}
    chosen = Settings(
        epochs=60,
        batch_size=4,
        device="cpu",
        learning_rate=0.1,
        scheduler="cosine",
        energy_weight=0.0,
        stress_weight=1.0,
        loss="mse",
    )
    folder = tmp_path / "stress"
    summary = train("pair", CRYSTAL, frames, "pair", split, chosen, folder, quiet)
    assert summary["test_stress_rmse_ev_per_a3"] < 0.02 * summary["stress_rms_reference_ev_per_a3"]
    assert summary["test_force_rmse_ev_per_a"] is None
    # and the three losses together
    both = replace(chosen, force_weight=1.0, energy_weight=1.0, epochs=1)
    summary = train("pair", CRYSTAL, frames, "pair", split, both, tmp_path / "all", quiet)
    truth = frames.subset(split["test"]).stresses["pair"]
    assert summary["stress_rms_reference_ev_per_a3"] == pytest.approx(np.sqrt((truth**2).mean()))
    for name in ("train", "validation", "test"):
        rmse = summary[f"{name}_stress_rmse_ev_per_a3"]
        assert 0 < summary[f"{name}_stress_mae_ev_per_a3"] <= rmse


def test_missing_stress(tmp_path):
    frames = make_crystals(6)
    split = {"train": [0, 1], "validation": [2], "test": [3]}
    chosen = settings(stress_weight=1.0)
    clusters = replace(frames, cells=None, pbc=None)
    with pytest.raises(DataError, match="periodic in all directions"):
        train("pair", CRYSTAL, clusters, "pair", split, chosen, tmp_path, quiet)
    frames.stresses["pair"][1, 0, 0] = np.nan
    with pytest.raises(DataError, match="Stresses of the term 'pair' are not finite"):
        train("pair", CRYSTAL, frames, "pair", split, chosen, tmp_path, quiet)
    frames.stresses.clear()
    with pytest.raises(DataError, match=r"no stresses of the term 'pair'.*stress_weight 0"):
        train("pair", CRYSTAL, frames, "pair", split, chosen, tmp_path, quiet)


def test_forces_of_a_network_are_learned(tmp_path):
    frames = make_frames(30, forces=True)
    changes = FORCES | {"loss": "huber", "clip": 10.0}
    model = {"layer": "gcs", "features": "invariant", "activation": "tanh", "cutoff": 8.0}
    found = []
    for epochs in (1, 25):
        chosen = replace(settings(**changes), epochs=epochs, learning_rate=3e-3)
        summary = train(
            "spektral", model, frames, "pair", THIRDS, chosen, tmp_path / str(epochs), quiet
        )
        found.append(summary["test_force_mae_ev_per_a"])
    assert found[1] < 0.6 * found[0]


def test_without_forces_their_errors_are_null(tmp_path):
    summary = train("spektral", TINY, make_frames(), "pair", SPLIT, settings(), tmp_path, quiet)
    assert summary["test_force_rmse_ev_per_a"] is None
    assert summary["force_rms_reference_ev_per_a"] is None
    assert summary["test_energy_rmse_mev_per_atom"] > 0


def test_a_null_model_has_nothing_to_train_and_a_summary(tmp_path):
    frames = make_frames(30, forces=True)
    chosen = replace(settings(**FORCES), epochs=1)
    summary = train("composition", {}, frames, "pair", THIRDS, chosen, tmp_path, quiet)
    reference = summary["force_rms_reference_ev_per_a"]
    assert summary["test_force_rmse_ev_per_a"] == pytest.approx(reference, rel=1e-6)


def test_a_force_step_computes_no_gradient_of_positions(tmp_path, monkeypatch):
    """Validation keeps no graph of the weights, training none of the positions."""
    from gnnip.training import trainer

    original, seen = trainer.evaluate, []

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

    monkeypatch.setattr(trainer, "evaluate", watch)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    chosen = replace(settings(**FORCES), epochs=1)
    train("pair", PAIR, make_frames(30, forces=True), "pair", THIRDS, chosen, tmp_path, quiet)
    assert set(seen) == {(True, True), (False, False)}
    assert all([tuple(p.shape) for p in inputs] == [(3, 6)] for inputs in backwards)


def test_same_call_again_changes_nothing(tmp_path):
    first = train("spektral", TINY, make_frames(), "pair", SPLIT, settings(), tmp_path, quiet)
    stamp = (tmp_path / "model.safetensors").stat().st_mtime_ns
    again = train("spektral", TINY, make_frames(), "pair", SPLIT, settings(), tmp_path, quiet)
    assert again == first
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == stamp
    other = train("spektral", TINY, make_frames(), "other", SPLIT, settings(), tmp_path, quiet)
    assert other["term"] == "other"
    assert other["resumed"] == 0


def test_seed_decides_everything(tmp_path):
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(hash(name) % 1000)
        folder = tmp_path / name
        train("spektral", TINY, make_frames(), "pair", SPLIT, settings(seed=seed), folder, quiet)
        weights.append(read_weights(folder / "model.safetensors"))
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert not all(torch.equal(weights[0][k], weights[2][k]) for k in weights[0])


LONG = {
    "epochs": 30,
    "batch_size": 8,
    "device": "cpu",
    "ema": 0.95,
    "scheduler": "plateau",
    "plateau_patience": 2,
    "checkpoint_interval_s": 0.0,
    "threads": 1,
}
KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from test_trainer import LONG, SPLIT, TINY, make_frames
from gnnip.training import Settings, train
import gnnip.training.trainer as trainer

original = trainer._Trainer.train_epoch
def slow(self, epoch):
    time.sleep(0.1)
    return original(self, epoch)
trainer._Trainer.train_epoch = slow
train("spektral", TINY, make_frames(), "pair", SPLIT, Settings(**LONG), sys.argv[1], print)
"""


def same_weights(a, b):
    a, b = (read_weights(folder / "model.safetensors") for folder in (a, b))
    return all(torch.equal(a[k], b[k]) for k in a)


def test_killed_and_continued_equals_uninterrupted(tmp_path):
    """Dropout, averaged weights and a schedule survive SIGKILL."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    code = KILLED.format(tests=os.path.dirname(__file__))
    process = subprocess.Popen([sys.executable, "-c", code, str(killed)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while not (killed / "checkpoint.pt").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "summary.json").exists()
    arguments = ("spektral", TINY, make_frames(), "pair", SPLIT, Settings(**LONG))
    a = train(*arguments, killed, quiet)
    b = train(*arguments, whole, quiet)
    assert (a["resumed"], b["resumed"]) == (1, 0)
    assert a["best_epoch"] == b["best_epoch"]
    assert same_weights(killed, whole)
    tables = [(folder / "predictions.csv").read_bytes() for folder in (killed, whole)]
    assert tables[0] == tables[1]
    assert not (killed / "checkpoint.pt").exists()


@pytest.mark.parametrize("layer", ["gat", "general"])
def test_time_limit_writes_results_and_a_larger_one_continues(tmp_path, layer):
    model = TINY | {"layer": layer}
    arguments = ("spektral", model, make_frames(), "pair", SPLIT)
    a, b = tmp_path / "a", tmp_path / "b"
    lines = []
    first = train(*arguments, settings(time_limit_s=1e-6), a, lines.append)
    assert first["stopped"] == "time limit"
    # not one epoch fitted, so the weights after the first step are judged
    assert (first["epochs_run"], first["best_epoch"]) == (0, 0)
    assert "epoch 0, step 1" in lines[-1]
    assert len(read_table(a / "predictions.csv")) == 12
    assert read_table(a / "history.csv") == []
    second = train(*arguments, settings(), a, quiet)
    assert (second["stopped"], second["epochs_run"], second["resumed"]) == ("epochs", 4, 1)
    train(*arguments, settings(), b, quiet)
    assert same_weights(a, b)


@pytest.mark.parametrize("steps", [2, 7])
def test_stopped_within_an_epoch_and_continued_equals_uninterrupted(tmp_path, monkeypatch, steps):
    """Dropout, averages and the errors of the epoch continue from the middle (4 steps an epoch)."""
    from gnnip.training.trainer import _Trainer

    model = TINY | {"layer": "gat"}
    chosen = settings(ema=0.9, clip=1.0, scheduler="cosine", checkpoint_interval_s=0.0)
    arguments = ("spektral", model, make_frames(), "pair", SPLIT, chosen)
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    train(*arguments, whole, quiet)
    original, count = _Trainer.train_step, 0

    def breaks(self, batch, rate):
        nonlocal count
        count += 1
        if count > steps:
            raise KeyboardInterrupt
        return original(self, batch, rate)

    with monkeypatch.context() as patch:
        patch.setattr(_Trainer, "train_step", breaks)
        with pytest.raises(KeyboardInterrupt):
            train(*arguments, cut, quiet)
    lines = []
    again = train(*arguments, cut, lines.append)
    assert again["resumed"] == 1
    assert f"continued at epoch {steps // 4}, step {steps % 4}" in lines[0]
    assert same_weights(cut, whole)
    a, b = (read_table(folder / "history.csv") for folder in (cut, whole))
    for row in (*a, *b):
        del row["seconds"]
    assert a == b


def test_time_limit_within_a_later_epoch(tmp_path, monkeypatch):
    """The best epoch so far is what is written, and the rest can still be had."""
    from gnnip.training.trainer import _Trainer

    arguments = ("spektral", TINY, make_frames(), "pair", SPLIT)
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    with monkeypatch.context() as patch:
        patch.setattr(
            _Trainer, "time_is_up", lambda self: self.run.epoch == 2 and self.run.step == 3
        )
        first = train(*arguments, settings(time_limit_s=1e9), cut, quiet)
    assert (first["stopped"], first["epochs_run"]) == ("time limit", 2)
    assert first["best_epoch"] in (1, 2)
    train(*arguments, settings(), cut, quiet)
    train(*arguments, settings(), whole, quiet)
    assert same_weights(cut, whole)


def test_checkpoint_of_another_training_is_passed_over(tmp_path):
    frames = make_frames()
    limited = settings(time_limit_s=1e-6)
    train("spektral", TINY, frames, "pair", SPLIT, limited, tmp_path, quiet)
    summary = train("spektral", TINY, frames, "other", SPLIT, settings(), tmp_path, quiet)
    assert (summary["term"], summary["resumed"]) == ("other", 0)


def test_damaged_checkpoint(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged; delete it"):
        train("spektral", TINY, make_frames(), "pair", SPLIT, settings(), tmp_path, quiet)


def test_labels_that_are_not_finite(tmp_path):
    frames = make_frames()
    frames.energies["pair"][[30, 31]] = np.nan
    with pytest.raises(DataError, match=r"energy 'pair' of frame 30 \(and of 1 others\)"):
        train("spektral", TINY, frames, "pair", SPLIT, settings(), tmp_path, quiet)
    # frames that are not used may be bad
    split = SPLIT | {"validation": np.array([28, 29])}
    train("spektral", TINY, frames, "pair", split, settings(), tmp_path, quiet)


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
        train("spektral", TINY, make_frames(), "pair", split, settings(), tmp_path, quiet)


def test_divergence(tmp_path):
    frames = make_frames()
    wild = replace(settings(optimiser="sgd", loss="mse"), learning_rate=1e20)
    with pytest.raises(ConvergenceError, match=r"diverged.*lower the learning rate \(now 1e\+20\)"):
        train("spektral", TINY, frames, "pair", SPLIT, wild, tmp_path, quiet)
    assert not (tmp_path / "summary.json").exists()


def test_late_divergence_keeps_the_best_epoch(tmp_path, monkeypatch):
    from gnnip.training import trainer

    original = trainer._Trainer.train_epoch

    def breaks(self, epoch):
        errors = original(self, epoch)
        return replace(errors, loss=float("nan")) if epoch == 2 else errors

    monkeypatch.setattr(trainer._Trainer, "train_epoch", breaks)
    lines = []
    summary = train(
        "spektral", TINY, make_frames(), "pair", SPLIT, settings(), tmp_path, lines.append
    )
    assert summary["stopped"] == "diverged"
    assert summary["best_epoch"] in (1, 2)
    assert any("diverged" in line for line in lines)


def test_missing_forces(tmp_path):
    with pytest.raises(DataError, match="force_weight 0"):
        train("spektral", TINY, make_frames(), "pair", SPLIT, settings(force_weight=1.0), tmp_path)


def test_total_is_the_sum_of_the_terms(tmp_path):
    frames = make_frames()
    train("spektral", TINY, frames, "total", SPLIT, settings(), tmp_path, quiet)
    rows = read_table(tmp_path / "predictions.csv")
    expected = sum(v[28] for v in frames.energies.values())
    assert float(rows[0]["energy_reference_ev"]) == pytest.approx(expected)
    with pytest.raises(DataError, match="did you mean 'pair'"):
        train("spektral", TINY, frames, "pear", SPLIT, settings(), tmp_path, quiet)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lerning_rate": 0.1}, "did you mean 'learning_rate'"),
        ({"loss": "maee"}, "did you mean 'mae'"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"energy_weight": 0.0}, "nothing to learn"),
        ({"ema": 1.5}, "between 0 and 1"),
        ({"stress_weight": -1.0}, "stress_weight must not be negative"),
        ({"processes": 0}, "processes must be at least 1"),
        ({"processes": 2, "device": "cuda:1"}, "each process takes a GPU of its own"),
        ({"scheduler": "cosin"}, "did you mean 'cosine'"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ConfigError, match=message):
        Settings.read(options)


def test_schedules():
    flat = Schedule(Settings(learning_rate=0.1))
    assert flat.rate(0) == flat.rate(99) == 0.1
    cosine = Schedule(Settings(learning_rate=0.1, scheduler="cosine", epochs=10, warmup_epochs=2))
    assert cosine.rate(1) == pytest.approx(0.05)
    assert cosine.rate(6) == pytest.approx(0.05)
    assert cosine.rate(10) == pytest.approx(0.0, abs=1e-12)
    falling = Schedule(Settings(learning_rate=0.1, scheduler="exponential", decay=0.5))
    assert falling.rate(3) == pytest.approx(0.0125)
    plateau = Schedule(Settings(learning_rate=0.1, scheduler="plateau", plateau_patience=2))
    for loss in (5.0, 4.0, 4.0, 4.0):
        plateau.observe(loss)
    assert plateau.rate(4) == 0.1
    plateau.observe(4.0)
    assert plateau.rate(5) == pytest.approx(0.05)
    again = Schedule(Settings(learning_rate=0.1, scheduler="plateau"))
    again.restore(plateau.state())
    assert again.rate(5) == plateau.rate(5)


@pytest.mark.parametrize(
    ("kind", "decay", "reference"),
    [
        ("adam", 0.0, torch.optim.Adam),
        ("adam", 0.1, torch.optim.Adam),
        ("adamw", 0.1, torch.optim.AdamW),
        ("sgd", 0.1, torch.optim.SGD),
    ],
)
def test_optimisers_are_those_of_torch(kind, decay, reference):
    ours = [torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3), torch.ones(4).double()]
    theirs = [p.clone() for p in ours]
    for p in (*ours, *theirs):
        p.requires_grad_(True)
    optimiser = Optimiser(ours, kind, decay)
    expected = reference(theirs, lr=1.0, weight_decay=decay)
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

"""Many trainings from one spec file, on a machine that has little more than torch."""

import json
import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from tiny_trainings import entry, graphs, make_frames, write_spec

from gnnip.datasets.splits import make_split
from gnnip.datasets.store import load_arrays, write_frames
from gnnip.errors import ConfigError, GnnipError
from gnnip.models import contract, load, predict
from gnnip.models.contract import TargetStatistics
from gnnip.training.ranks import refuse_too_many
from gnnip.training.run import main, read_spec, run_all, run_one
from gnnip.training.settings import Settings

BLOCKED = ("ase", "vesin", "pydantic", "snakemake", "safetensors", "numba", "matplotlib")


@pytest.fixture
def folder(tmp_path):
    write_frames(tmp_path / "frames.h5", make_frames(), attributes={})
    return tmp_path


def test_two_workers_without_the_packages_of_a_laptop(folder):
    indices = {"train": list(range(20)), "validation": [20, 21, 22], "test": [30, 31]}
    entries = [entry(folder="a"), entry(folder="b", split=indices)]
    spec = write_spec(folder, [*entries, entry(folder="c", term="nothing")])
    # the blocker is on the path as `sitecustomize`, so that the workers have it too
    (folder / "sitecustomize.py").write_text(
        textwrap.dedent(
            f"""
            import sys

            class Blocker:
                def find_spec(self, name, path=None, target=None):
                    if name.split(".")[0] in {BLOCKED!r}:
                        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

            sys.meta_path.insert(0, Blocker())
            """
        )
    )
    command = [sys.executable, "-m", "gnnip.training.run", "--spec", str(spec), "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 1, ran.stderr
    assert "energy term 'nothing'" in ran.stderr
    assert "Traceback" not in ran.stderr
    for name, n_train in (("a", None), ("b", 20)):
        summary = json.loads((folder / name / "summary.json").read_text())
        assert n_train in (None, summary["n_train"])
    assert not (folder / "c" / "summary.json").exists()
    assert "3/3" in ran.stdout


@pytest.mark.parametrize("how", [{"workers": 2}, {"processes": 2}], ids=str)
def test_nothing_trains_on_when_the_main_process_is_killed(folder, how):
    settings = {"epochs": 100_000, "processes": how.get("processes", 1), "threads": 1}
    settings["checkpoint_interval_s"] = 0.0
    spec = write_spec(folder, [entry(folder=name, settings=settings) for name in "ab"])
    command = [sys.executable, "-m", "gnnip.training.run", "--spec", str(spec)]
    command += ["--workers", str(how.get("workers", 1))]
    main = psutil.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(folder.rglob("checkpoint.pt"))) < how.get("workers", 1):
        assert time.monotonic() < deadline
        assert main.poll() is None
        time.sleep(0.05)
    started = main.children(recursive=True)
    trainers = [p for p in started if "resource_tracker" not in " ".join(p.cmdline())]
    assert len(trainers) == 2
    main.kill()
    main.wait()
    assert psutil.wait_procs(trainers, timeout=20)[1] == []


def test_seed_of_the_settings_seeds_the_split(folder):
    first, second = ({"epochs": 1, "device": "cpu", "seed": seed} for seed in (3, 4))
    split = {"scheme": "random", "seed": 3}
    entries = [entry(folder="a", settings=first), entry(folder="b", split=split, settings=second)]
    spec = write_spec(folder, entries)
    for training in read_spec(spec):
        run_one(training, log=False)
    frames = [
        np.loadtxt(folder / n / "predictions.csv", delimiter=",", skiprows=1, usecols=0)
        for n in "ab"
    ]
    assert np.array_equal(*frames)


def test_trainings_share_the_cores_with_others(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(contract, "share_cores", asked.append)
    spec = write_spec(folder, [entry(settings={"epochs": 1, "device": "cpu"})])
    run_one(read_spec(spec)[0], log=False)
    assert set(asked) == {torch.get_num_threads()}


NETWORKS = ("pair_network", "triplet_network")


def hierarchy():
    """A pair network, then a triplet network on what it leaves."""
    species = {"species": [1, 8]}
    settings = {"epochs": 3, "batch_size": 8, "device": "cpu", "learning_rate": 0.01}
    common = {"settings": settings, "split": {"scheme": "random", "seed": 1}}
    first = {"model": "pair_network", "hyperparameters": species | {"hidden": [4]}}
    terms = [
        {"initial": "nn2", "frozen": True},
        {"model": "triplet_network", "hyperparameters": species | {"hidden": [4]}},
    ]
    second = {"model": "sum", "hyperparameters": {"terms": terms}}
    return entry(folder="nn2", **common, **first), entry(folder="nn3", **common, **second)


def spread_of_energies(folder, model=None):
    """What remains of the training energies of `hierarchy` after `model` and a fit on the
    composition."""
    frames = load_arrays(folder / "frames.h5")
    train = frames.subset(make_split(frames, "random", 1)["train"])
    energies = train.energies["pair"]
    if model is not None:
        energies = energies - predict(model, graphs(train, model.cutoff, torch.float32))["energy"]
    return TargetStatistics.measure(energies, train.numbers, train.offsets, 1.0).residual_std


def test_a_training_waits_for_the_one_it_starts_from(folder, capsys):
    first, second = hierarchy()
    spec = read_spec(write_spec(folder, [first, second]))
    assert run_all(spec, 2) == []
    before, after = load(folder / "nn2"), load(folder / "nn3")
    frozen, free = after.terms
    for name, value in before.state_dict().items():
        assert (frozen.state_dict()[name] == value).all(), name
    assert free.networks.weights[-1].any()  # has moved from zero
    assert frozen.species_energies.any()
    # the free term starts from what the frozen one leaves, not from the labels
    assert float(frozen.scale) == pytest.approx(spread_of_energies(folder), rel=1e-5)
    assert float(free.scale) == pytest.approx(spread_of_energies(folder, before), rel=1e-4)
    assert free.scale != frozen.scale
    # other weights under the same name are noticed: the training begins anew
    identity = json.loads((folder / "nn3/summary.json").read_text())["identity"]
    run_one(spec[0] | {"settings": spec[0]["settings"] | {"epochs": 1}}, log=False)
    again = run_one(spec[1], log=False)
    assert again["identity"] != identity


def test_what_is_known_before_is_not_trained_and_not_lost(folder):
    """Two terms are trained beside a frozen one, which reaches farther than they do."""
    write_frames(folder / "frames.h5", make_frames(forces=True), attributes={})
    first, second = hierarchy()
    short = {"species": [1, 8], "hidden": [4], "cutoff": 2.0}
    terms = second["hyperparameters"]["terms"][:1]
    terms += [{"model": name, "hyperparameters": short} for name in NETWORKS]
    both = {"settings": first["settings"] | {"force_weight": 1.0}}
    spec = write_spec(folder, [first | both, second | both | {"hyperparameters": {"terms": terms}}])
    for training in read_spec(spec):
        summary = run_one(training, log=False)
    model = load(folder / "nn3")
    known, trained = model.parts()
    assert known is model.terms[0]
    assert known.cutoff > trained.cutoff == 2.0
    assert [term.architecture for term in trained.terms] == list(NETWORKS)
    assert all(term.networks.weights[-1].any() for term in trained.terms)
    table = pd.read_csv(folder / "nn3/predictions.csv").query("subset == 'test'")
    frames = load_arrays(folder / "frames.h5").subset(table["frame"].to_numpy())
    found = predict(model, graphs(frames, model.cutoff, torch.float32), forces=True)
    np.testing.assert_allclose(found["energy"], table["energy_predicted_ev"], atol=1e-5)
    error = np.sqrt(np.square(found["forces"] - frames.force("pair")).mean())
    assert summary["test_force_rmse_ev_per_a"] == pytest.approx(error, rel=1e-4)
    history = pd.read_csv(folder / "nn3/history.csv")
    best = history.loc[history["epoch"] == summary["best_epoch"]]
    for column in ("validation_mae_ev", "validation_force_rmse_ev_per_a"):
        assert best[column].item() == pytest.approx(summary[column], rel=1e-4)


def test_a_failed_training_fails_those_that_start_from_it(folder, capsys):
    first, second = hierarchy()
    spec = write_spec(folder, [first | {"term": "nothing"}, second])
    assert main(["--spec", str(spec)]) == 1
    complaints = capsys.readouterr().err
    assert "training 0" in complaints
    assert "training 1" in complaints
    assert "There is no saved potential" in complaints


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modell": 1}, "training 0: there is no key 'modell', did you mean 'model'"),
        ({"hyperparameters": {"chanels": 1}}, "did you mean 'channels'"),
        ({"settings": {"epoch": 1}}, "did you mean 'epochs'"),
        ({"model": "nequipp"}, "no potential 'nequipp'"),
    ],
)
def test_bad_specs(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        read_spec(write_spec(tmp_path, [entry(**changes)]))


RANDOM = {"scheme": "random"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ["a.h5"]}, "data must hold a text, found a list"),
        ({"model": None}, "model must hold a text, found None"),
        ({"term": 1.5}, "term must hold a text, found 1.5"),
        ({"settings": "fast"}, "settings must hold a mapping"),
        ({"split": {"train": [True, False], "validation": [1]}}, "train frames of a split must be"),
        ({"split": {"train": [[0], [1, 2]], "validation": [3]}}, "must be a list of whole numbers"),
        ({"split": {"train": "012", "validation": [3]}}, "must be a list of whole numbers"),
        ({"split": {"train": [0], "valid": [3]}}, "A split has the subsets train, validation"),
        ({"split": {"scheme": ["random"]}}, "scheme .* is unknown"),
        ({"split": RANDOM | {"test_fraction": float("nan")}}, "test_fraction is nan"),
        ({"split": RANDOM | {"test_fraction": True}}, "must be between 0 and 1"),
        ({"split": RANDOM | {"max_frames": 2.5}}, "a whole number of at least 1"),
        ({"split": RANDOM | {"where": {"a": 1}}}, r"where is .*\{column: \[values\]\}"),
        ({"split": RANDOM | {"together": "a"}}, "has no option 'together'"),
        ({"split": RANDOM | {"seed": -1}}, "seed is -1"),
        ({"settings": {"learning_rate": float("inf")}}, "learning_rate is inf.*finite"),
        ({"settings": {"batch_size": True}}, "batch_size is True.*type int"),
        ({"settings": {"epochs": 10**30}}, "epochs is 1000.*finite"),
        ({"settings": {"time_limit_s": -1}}, "time_limit_s must be positive or null"),
        ({"hyperparameters": {"channels": 10_000_000}}, "channels is 10000000, and this machine"),
    ],
)
def test_values_that_no_training_can_have(tmp_path, changes, message):
    with pytest.raises(GnnipError, match=f"training 0: .*{message}"):
        read_spec(write_spec(tmp_path, [entry(**changes)]))


@pytest.mark.parametrize("other", ["out", "./out", "a/../out", "out/"])
def test_two_trainings_of_one_folder(tmp_path, other):
    """One would overwrite the other, or both write at once."""
    both = [entry(folder="out"), entry(folder=other, settings={"epochs": 2})]
    with pytest.raises(ConfigError, match="training 1: its folder is that of training 0"):
        read_spec(write_spec(tmp_path, both))
    assert len(read_spec(write_spec(tmp_path, [both[0], entry(folder="out2")]))) == 2


def test_no_more_processes_than_cores(tmp_path, capsys):
    spec = write_spec(tmp_path, [entry()])
    assert main(["--spec", str(spec), "--workers", "1000"]) == 2
    assert "--workers is 1000, and this machine has" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="processes is 1000 and this machine has"):
        refuse_too_many(Settings(processes=1000))


def test_exit_status(tmp_path, capsys):
    assert main(["--spec", str(tmp_path / "missing.json")]) == 2
    assert "does not exist" in capsys.readouterr().err
    spec = write_spec(tmp_path, [entry()])
    assert main(["--spec", str(spec), "--dry-run"]) == 0
    assert main(["--spec", str(spec), "--workers", "0"]) == 2
    incomplete = entry()
    del incomplete["term"]
    assert main(["--spec", str(write_spec(tmp_path, [incomplete]))]) == 2
    assert "'term' is missing" in capsys.readouterr().err
    assert main(["--spec", str(write_spec(tmp_path, []))]) == 2

"""Many trainings from one spec file, on a machine that has little more than torch."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from gnnip.datasets.store import write_frames
from gnnip.errors import ConfigError
from gnnip.training.run import main, read_spec

BLOCKED = ("ase", "vesin", "pydantic", "snakemake", "safetensors", "numba", "matplotlib")


def write_spec(folder, trainings):
    path = folder / "spec.json"
    path.write_text(json.dumps({"trainings": trainings}))
    return path


def entry(**changes):
    return {
        "folder": "out",
        "data": "frames.h5",
        "model": "spektral",
        "hyperparameters": {"layer": "gcs", "channels": 8, "dense_units": 8},
        "term": "pair",
        "split": {"scheme": "random"},
        "settings": {"epochs": 2, "batch_size": 8, "device": "cpu"},
    } | changes


@pytest.fixture
def folder(tmp_path):
    from test_trainer import make_frames

    frames = make_frames()
    frames.units = {"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"}
    write_frames(tmp_path / "frames.h5", frames, attributes={})
    return tmp_path


def test_two_workers_without_the_packages_of_a_laptop(folder):
    indices = {"train": list(range(20)), "validation": [20, 21, 22], "test": [30, 31]}
    spec = write_spec(
        folder,
        [
            entry(folder="a"),
            entry(folder="b", split=indices),
            entry(folder="c", term="nothing"),
        ],
    )
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


def test_seed_of_the_settings_seeds_the_split(folder):
    spec = write_spec(
        folder,
        [
            entry(folder="a", settings={"epochs": 1, "device": "cpu", "seed": 3}),
            entry(
                folder="b",
                split={"scheme": "random", "seed": 3},
                settings={"epochs": 1, "device": "cpu", "seed": 4},
            ),
        ],
    )
    from gnnip.training.run import run_one

    for training in read_spec(spec):
        run_one(training, log=False)
    frames = [
        np.loadtxt(folder / n / "predictions.csv", delimiter=",", skiprows=1, usecols=0)
        for n in "ab"
    ]
    assert np.array_equal(*frames)


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

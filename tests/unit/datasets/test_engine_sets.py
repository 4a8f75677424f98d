"""From plans to archives labelled by an engine, in miniature: every system, and what goes wrong."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase.build import bulk

from gnnip.datasets import (
    assembly,
    engine_sets,
    registry,
    settings_errors,
    store,
    verification,
)
from gnnip.datasets.structures import load_structures
from gnnip.errors import DataError
from gnnip.reference import engines
from gnnip.reference.engines import EngineError, evaluate, make_engine
from gnnip.sampling import aimd, frames, sic_dft


def silent(line):
    pass


def start(plan, rng):
    return bulk("Cu", cubic=True)


def trajectory(folder, replica=0, **changes):
    plan = aimd.Plan(
        "sic", 4, replica, engine="ase:emt", frames=3, equilibration_fs=2.0, stride_fs=2.0
    )
    return aimd.run(replace(plan, **changes), folder / f"r{replica}", start, silent)


@pytest.fixture
def trajectories(tmp_path):
    return [trajectory(tmp_path, r) for r in (1, 0)]


def test_an_archive_holds_labels_columns_and_origin(trajectories, tmp_path):
    out = engine_sets.assemble(
        "sic", trajectories, tmp_path / "x.h5", provenance={"rule": "r"}, progress=silent
    )
    found = store.read_frames(out)
    assert list(found.column("trajectory")) == ["sic-n004-r0"] * 3 + ["sic-n004-r1"] * 3
    assert found.units["stresses"] == "eV/Angstrom^3"
    assert found.units["time_fs"] == "fs"
    assert found.attributes["engine"] == "ase:emt"
    assert found.attributes["engine_version"].startswith("ase ")
    assert found.attributes["reference"] == "xtb"
    assert found.attributes["failed"] == "[]"
    assert found.attributes["rule"] == "r"
    assert not (tmp_path / "x.h5.labels").exists()
    for atoms in load_structures(out):
        energy, forces, stress = evaluate(make_engine("ase:emt").calculator(), atoms, stress=True)
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-12)
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=0.6e-6)
        np.testing.assert_allclose(found.stresses["total"][atoms.info["frame"]], stress, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("sic", (8,)),
        ("gese2", (12,)),
        ("sic_dft", (8,)),
        ("gese2_dft", (12,)),
        ("hfo2", (12,)),
        ("p4", (16,)),
        ("ean", (30,)),
        ("ani", (1,)),
    ],
)
def test_every_archive_in_miniature(tmp_path, name, sizes):
    """The same calls as the rules make, with the plans of tier smoke."""
    system = import_module(f"gnnip.sampling.{name}")
    plans = [system.smoke_plan(size) for size in sizes]
    paths = [system.run_trajectory(plan, tmp_path / plan.name, silent) for plan in plans]
    out = assembly.assemble(name, paths, tmp_path / f"{name}.h5", workers=1)
    found = store.read_frames(out)
    assert found.n_frames == sum(len(frames.read_trajectory(p).frames) for p in paths)
    assert found.attributes["reference"] == ("dft" if name == "ani" else "xtb")
    assert found.attributes["title"] == system.TITLE
    assert np.abs(found.forces["total"]).max() < 100
    assert ("total" in found.stresses) == (name != "ani")
    table = verification.verify_labels(out, 1, seed=0)
    assert table["energy_error_ev"].abs().max() <= found.attributes["label_accuracy_ev"]


def test_wrong_labels_are_found(trajectories, tmp_path):
    out = engine_sets.assemble("sic", trajectories, tmp_path / "x.h5", progress=silent)
    assert len(verification.verify_labels(out, 6, seed=0)) == 6
    with h5py.File(out, "r+") as file:
        file["energies/total"][2] += 0.01
    with pytest.raises(DataError, match=r"1 of 6 labels differ .* term of frame 2 by 1\.0e-02 eV"):
        verification.verify_labels(out, 6, seed=0)


def test_an_engine_that_is_missing_is_an_error_unless_no_pip_installs_it(
    trajectories, tmp_path, monkeypatch
):
    out = engine_sets.assemble("sic", trajectories, tmp_path / "x.h5", progress=silent)
    with h5py.File(out, "r+") as file:
        file.attrs["engine"] = "cp2k basis=SZV-MOLOPT-SR-GTH"
    monkeypatch.setenv("PATH", str(tmp_path))
    table = verification.verify_labels(out, 6, seed=0)
    assert len(table) == 1
    assert "not verified: The engine 'cp2k' needs the program" in table["note"][0]
    with h5py.File(out, "r+") as file:
        file.attrs["engine"] = "xtb"

    def nothing(name):
        raise engines.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(engines.metadata, "version", nothing)
    with pytest.raises(EngineError, match="pip install tblite"):
        verification.verify_labels(out, 6, seed=0)


def test_frames_without_labels_are_left_out_and_listed(trajectories, tmp_path, monkeypatch):
    real = engine_sets.label_frames

    def two_fail(*arguments, **options):
        labels = real(*arguments, **options)
        labels.failures = {1: "SCF not converged", 4: "time limit of 3 s"}
        labels.energies[[1, 4]] = np.nan
        labels.stresses[[1, 4]] = np.nan
        return labels

    monkeypatch.setattr(engine_sets, "label_frames", two_fail)
    out = engine_sets.assemble("sic", trajectories, tmp_path / "x.h5", progress=silent)
    found = store.read_frames(out)
    assert found.n_frames == 4
    assert found.attributes["failed"] == (
        '["sic-n004-r0: SCF not converged", "sic-n004-r1: time limit of 3 s"]'
    )
    assert "total" in found.stresses


def test_what_cannot_be_assembled_is_named(trajectories, tmp_path):
    with pytest.raises(DataError, match="no trajectories of sic to assemble"):
        engine_sets.assemble("sic", [], tmp_path / "x.h5")
    with pytest.raises(DataError, match=r"gone\.npz is missing"):
        engine_sets.assemble("sic", [tmp_path / "gone.npz"], tmp_path / "x.h5")
    mixed = [*trajectories, trajectory(tmp_path, 2, label_engine="xtb")]
    with pytest.raises(
        DataError, match=r"ask for labels by ase:emt and by xtb; .* name one engine"
    ):
        engine_sets.assemble("sic", mixed, tmp_path / "x.h5")
    out = engine_sets.assemble("sic", mixed, tmp_path / "x.h5", engine="ase:emt", progress=silent)
    assert store.read_frames(out).n_frames == 9


#: it is killed when the first label is written, however fast the machine
JOB = """
import os, signal, sys
from pathlib import Path
from gnnip.datasets import engine_sets
from gnnip.reference import labelling
from gnnip.sampling import sic_dft
labelling._Report.step = lambda *told: os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
path = sic_dft.run_trajectory(sic_dft.smoke_plan(8), folder)
engine_sets.assemble("sic_dft", [path], folder / "x.h5")
"""


def test_a_set_for_dft_goes_on_after_a_kill_with_the_same_frames(tmp_path):
    """The miniature by xTB, killed while it is labelled."""
    killed = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(Path(aimd.__file__).resolve().parents[2])}
    command = [sys.executable, "-c", JOB, str(killed)]
    job = subprocess.run(command, env=environment, timeout=120, check=False)
    assert job.returncode == -signal.SIGKILL
    assert list(killed.glob("x.h5.labels/*.npz"))
    assert not (killed / "x.h5").exists()
    content = []
    for folder in (killed, tmp_path / "whole"):
        lines = []
        path = sic_dft.run_trajectory(sic_dft.smoke_plan(8), folder, silent)
        out = engine_sets.assemble("sic_dft", [path], folder / "x.h5", progress=lines.append)
        assert any("are labelled already" in line for line in lines) == (folder == killed)
        content.append(store.read_frames(out))
    first, second = content
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_allclose(first.energies["total"], second.energies["total"], atol=1e-6)
    assert first.attributes["labelling_seconds_a_frame"] > 0


def test_what_the_settings_of_an_engine_cost(trajectories, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    out = engine_sets.assemble("sic", trajectories, tmp_path / "data" / "x.h5", progress=silent)
    place = tmp_path / "data" / "registry.yaml"
    place.write_text("{}\n")
    about = {"title": "t", "reference": "xtb", "licence": "CC0-1.0", "made": {"rule": "r"}}
    registry.register("x", out, **about, path=place)
    arguments = [str(out), "asap_cutoff=false", "asap_cutoff=true", "--frames", "3"]
    assert settings_errors.main(arguments) == 0
    assert "asap_cutoff=true" in capsys.readouterr().out
    same, other = registry.find_entry("x", place)["made"]["settings_errors"]
    # forces are stored to a millionth of an eV/Angstrom
    assert same["frames"] == 3
    assert same["energy_rmse_mev_per_atom"] < 1e-6
    assert same["force_max_mev_per_a"] < 1e-3
    assert other["change"] == "asap_cutoff=true"
    assert other["force_max_mev_per_a"] >= other["force_rmse_mev_per_a"] > 0.005
    assert other["stress_rmse_gpa"] > 0
    registry.check_archive("x", place)
    assert not list((tmp_path / "data").glob("*.settings"))
    with h5py.File(out, "r+") as file:
        del file.attrs["engine"]
    with pytest.raises(DataError, match="was not labelled by an engine with settings"):
        settings_errors.settings_errors(out, ["cutoff=1"])

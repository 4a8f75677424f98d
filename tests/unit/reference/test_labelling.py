"""Labelling: cached by content, limited in time, failures recorded, killed at any moment."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from gnnip.errors import ConfigError, DataError
from gnnip.reference import engines, labelling
from gnnip.reference.engines import EngineError, evaluate, make_engine
from gnnip.reference.labelling import label_frames, read_label

SOURCE = Path(labelling.__file__).resolve().parents[2]


def copper(n):
    frames = []
    for i in range(n):
        frames.append(bulk("Cu", cubic=True))
        frames[-1].rattle(0.05, seed=i)
    return frames


def test_labels_are_those_of_the_engine(tmp_path):
    engine, frames, lines = make_engine("ase:emt"), copper(5), []
    labels = label_frames(frames, engine, tmp_path, workers=2, progress=lines.append)
    for i, atoms in enumerate(frames):
        energy, forces, stress = evaluate(engine.calculator(), atoms, stress=True)
        assert labels.energies[i] == energy
        np.testing.assert_array_equal(labels.forces[i], forces)
        np.testing.assert_array_equal(labels.stresses[i], stress)
    assert labels.failures == {}
    assert labels.seconds > 0
    assert lines[-1].startswith("labelled 5 of 5 frames, 0 failed")


def test_equal_structures_are_computed_once_and_never_again(tmp_path, monkeypatch):
    engine, lines = make_engine("ase:emt"), []
    frames = copper(3) + copper(2)
    first = label_frames(frames, engine, tmp_path, progress=lines.append)
    assert lines[-1].startswith("labelled 3 of 3 frames")
    assert len(list(tmp_path.glob("*.npz"))) == 3

    def no_worker(*_):
        raise AssertionError("a worker was started")

    monkeypatch.setattr(labelling, "_Worker", no_worker)
    again = label_frames(frames, engine, tmp_path, progress=lines.append)
    assert lines[-1] == "5 of 5 frames are labelled already"
    assert again.reused == 5
    np.testing.assert_array_equal(first.energies, again.energies)
    assert label_frames([], engine, tmp_path, progress=lines.append).forces == []
    # other settings are other labels
    with pytest.raises(AssertionError, match="a worker was started"):
        label_frames(frames, make_engine("ase:lj"), tmp_path, progress=lines.append)


def test_a_damaged_label_is_computed_again(tmp_path):
    engine, frames = make_engine("ase:emt"), copper(1)
    label_frames(frames, engine, tmp_path, progress=str)
    (path,) = tmp_path.glob("*.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    labels = label_frames(frames, engine, tmp_path, progress=str)
    assert labels.reused == 0
    assert np.isfinite(labels.energies).all()


def test_a_field_that_does_not_converge_is_recorded_and_left_out(tmp_path):
    # two atoms converge in eight cycles, a molecule of many does not
    frames = [Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.75]]), molecule("C6H6"), molecule("HCN")]
    engine, lines = make_engine("xtb max_iterations=6"), []
    labels = label_frames(frames, engine, tmp_path, progress=lines.append)
    assert list(labels.good) == [0]
    assert "SCF not converged in 6 cycles" in labels.failures[1]
    assert np.isnan(labels.energies[1])
    assert labels.forces[1].shape == (12, 3)
    assert lines[-1].startswith("labelled 3 of 3 frames, 2 failed")
    # a fact about the frame: not tried again
    assert label_frames(frames, engine, tmp_path, progress=lines.append).reused == 3
    with pytest.raises(DataError, match=r"None of the 2 frames .*first: .*SCF not converged"):
        label_frames(frames[1:], engine, tmp_path, progress=lines.append)


def test_a_frame_beyond_the_time_limit_is_killed_and_tried_again_later(tmp_path):
    # four balls take far longer than the limit on any machine, two atoms far less
    balls = molecule("C60")
    for shift in (9.5, 19.0, 28.5):
        ball = molecule("C60")
        ball.translate((shift, 0.0, 0.0))
        balls += ball
    frames = [molecule("H2"), balls, molecule("N2")]
    engine = make_engine("xtb accuracy=0.0001")
    label_frames([frames[0]], engine, tmp_path, progress=str)  # what is slow at first is done
    labels = label_frames(frames, engine, tmp_path, time_limit_s=0.5, progress=str)
    assert labels.failures == {1: "time limit of 0.5 s"}
    assert np.isfinite(labels.energies[[0, 2]]).all()
    assert read_label(tmp_path, engine.key(frames[1])) is None


class _Spoiled:
    """Worker source with one function replaced, to make engines misbehave."""

    def __init__(self, monkeypatch, tmp_path, body):
        site = tmp_path / "site"
        site.mkdir()
        # imported by Python at the start of every process
        (site / "sitecustomize.py").write_text(textwrap.dedent(body))
        monkeypatch.setenv("PYTHONPATH", str(site))


def test_a_process_that_crashes_costs_one_frame(tmp_path, monkeypatch):
    _Spoiled(
        monkeypatch,
        tmp_path,
        """
        import ase.calculators.emt as emt
        import os
        whole = emt.EMT.calculate
        def calculate(self, atoms=None, *rest):
            if len(atoms) == 8:
                os.abort()
            whole(self, atoms, *rest)
        emt.EMT.calculate = calculate
        """,
    )
    frames = [*copper(2), bulk("Cu", cubic=True) * (2, 1, 1), *copper(4)[2:]]
    cache = tmp_path / "cache"
    labels = label_frames(frames, make_engine("ase:emt"), cache, workers=2, progress=str)
    assert list(labels.failures) == [2]
    assert labels.failures[2].startswith("the process ended with status -6")
    assert len(list(cache.glob("*.npz"))) == 4


def test_what_engines_print_does_not_disturb(tmp_path, monkeypatch, capfd):
    _Spoiled(
        monkeypatch,
        tmp_path,
        """
        import ase.calculators.emt as emt
        import os
        whole = emt.EMT.calculate
        def calculate(self, *rest):
            os.write(1, b"SCF converged, dear user\\n")
            whole(self, *rest)
        emt.EMT.calculate = calculate
        """,
    )
    labels = label_frames(copper(2), make_engine("ase:emt"), tmp_path / "cache", progress=str)
    assert labels.failures == {}
    assert "dear user" in capfd.readouterr().err


JOB = """
import sys
from ase.build import bulk
from gnnip.reference.engines import make_engine
from gnnip.reference.labelling import label_frames
frames = []
for i in range(40):
    frames.append(bulk("Cu", cubic=True))
    frames[-1].rattle(0.05, seed=i)
label_frames(frames, make_engine("ase:emt"), sys.argv[1], workers=2, progress=str)
"""

SLOW = """
import ase.calculators.emt as emt
import os
import time
open(os.path.join(os.path.dirname(__file__), f"{os.getpid()}.pid"), "w").close()
whole = emt.EMT.calculate
def calculate(self, *rest):
    time.sleep(0.1)
    whole(self, *rest)
emt.EMT.calculate = calculate
"""


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_killed_run_loses_at_most_the_frames_in_work(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    _Spoiled(monkeypatch, tmp_path, SLOW)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(SOURCE)]),
    }
    job = subprocess.Popen([sys.executable, "-c", JOB, str(cache)], env=environment)
    deadline = time.monotonic() + 60
    while len(list(cache.glob("*.npz"))) < 6:
        assert time.monotonic() < deadline
        assert job.poll() is None
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    job.wait()
    # the workers finish the frame they are at, and end because nobody gives them another
    workers = [int(path.stem) for path in (tmp_path / "site").glob("*.pid")]
    assert len(workers) == 3  # and the job itself
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    before = len(list(cache.glob("*.npz")))
    assert 6 <= before < 40
    for path in cache.iterdir():
        assert path.suffix == ".npz"
        assert read_label(cache, path.stem) is not None  # whole
    engine, frames = make_engine("ase:emt"), copper(40)
    labels = label_frames(frames, engine, cache, workers=2, progress=str)
    assert labels.reused == before
    assert labels.energies[0] == evaluate(engine.calculator(), frames[0]).energy
    assert np.isfinite(labels.energies).all()


def test_consecutive_frames_go_to_one_calculator(tmp_path, monkeypatch):
    monkeypatch.setattr(engines.AseEngine, "consecutive", True)
    crew = labelling._Crew(make_engine("ase:emt"), tmp_path, 1.0, 3)
    queues = crew._queues([(str(i), None) for i in range(8)])
    assert ["".join(key for key, _ in queue) for queue in queues] == ["01", "234", "567"]


def test_wrong_use_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="0 workers with a time limit of 600 s"):
        label_frames(copper(1), make_engine("ase:emt"), tmp_path, workers=0)
    with pytest.raises(ConfigError, match="time limit of 0 s"):
        label_frames(copper(1), make_engine("ase:emt"), tmp_path, time_limit_s=0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"needs the program cp2k\.psmp"):
        label_frames(copper(1), make_engine("cp2k"), tmp_path)
    # what only the worker finds out
    with pytest.raises(EngineError, match="ASE has no calculator 'emtt'"):
        label_frames(copper(1), make_engine("ase:emtt"), tmp_path)

"""Clocks say when other programs computed beside them."""

from __future__ import annotations

import fcntl
import itertools

import pytest

from gnnip import machine


@pytest.fixture
def times(monkeypatch, tmp_path):
    """A function that states the wall time and the CPU seconds of all programs and of this one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GNNIP_RUNS", raising=False)

    def state(wall, everybody, own):
        readings = itertools.cycle([(0.0, 0.0, 0.0), (wall, everybody, own)])
        monkeypatch.setattr(machine, "_times", lambda: next(readings))

    return state


@pytest.mark.parametrize(
    ("wall", "everybody", "own", "loaded"),
    [
        (10, 10.0, 10.0, False),
        (10, 14.9, 10.0, False),
        (10, 15.1, 10.0, True),  # more than 1.5 times ours
        (10, 10.0, 5.0, True),  # one core, shared in halves
        (10, 24.0, 20.0, False),  # two threads
        (10, 0.9, 0.1, False),  # we wait, and the others do next to nothing
        (10, 0.0, 10.0, False),  # a system that does not tell
    ],
)
def test_times_are_measured_under_load_when_others_take_half_of_ours(
    times, wall, everybody, own, loaded
):
    times(wall, everybody, own)
    with machine.watched() as found:
        pass
    assert ("measured under load (others took" in found.name) == loaded
    assert found.name.startswith(machine.cpu_model())
    assert machine.load_of(["quiet", found.name]) == found.load
    assert machine.load_of([machine.cpu_model()]) == ""


def test_beside_a_long_run_times_are_measured_under_load(times, tmp_path):
    times(10, 10.0, 10.0)
    folder = machine.runs_folder(tmp_path)
    assert folder == tmp_path.with_name(f"{tmp_path.name}-runs")
    folder.mkdir()
    with open(folder / "lock", "w", encoding="utf-8") as stream:
        assert not machine.long_run_is_on(tmp_path)
        fcntl.flock(stream, fcntl.LOCK_EX)
        with machine.watched() as found:
            pass
    assert found.load == "measured under load (beside a long run)"


def test_the_times_of_this_machine():
    wall, everybody, own = machine._times()
    assert wall > 0
    assert own > 0
    assert everybody == 0 or everybody > own

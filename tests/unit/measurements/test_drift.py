"""What counts as failure besides distances and temperatures, on drifts that are made up."""

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from made_up_trainings import select

from gnnip import md
from gnnip.errors import ConfigError
from gnnip.md.trajectory import SERIES
from gnnip.measurements.dynamics import COLUMNS
from gnnip.measurements.dynamics.drift import drifts
from gnnip.measurements.dynamics.options import Comparison

CRYSTAL = bulk("SiC", "zincblende", a=4.38, cubic=True)
N = len(CRYSTAL)
#: fs
DURATION, WINDOW, STEP = 4000.0, 500.0, 10.0
WANTED = Comparison.read({"discard": 500.0, "window": WINDOW, "r_max": 4.0, "bins": 40})
#: meV/atom, of single frames
NOISE = 10.0


def replica(number, energy=lambda t: 0.0 * t, shift=lambda t: 0.0, copies=1, duration=DURATION):
    """Return a run of the crystal: `energy` in meV/atom above -5 eV and `shift`, in Angstrom, of
    every carbon atom, both of the time in fs, with noise."""
    rng = np.random.default_rng(number)
    system = CRYSTAL.repeat((copies, 1, 1))
    n = len(system)
    time = np.arange(0.0, duration + STEP, STEP)
    level = -5000.0 + energy(time) + NOISE / copies**0.5 * rng.normal(size=len(time))
    series = {name: np.zeros(len(time)) for name in SERIES}
    series |= {"time_fs": time, "potential_energy_ev": 1e-3 * n * level}
    frames = time[::5]
    positions = np.repeat(system.positions[None], len(frames), axis=0)
    positions[:, system.numbers == 6] += np.array([shift(t) for t in frames])[:, None, None]
    positions += 0.08 * rng.normal(size=positions.shape)
    return md.Trajectory(
        replica=number,
        seed=number,
        target_temperature=2000.0,
        atomic_numbers=system.numbers,
        masses=system.get_masses(),
        cell=system.cell.array,
        pbc=system.pbc,
        time_fs=frames,
        positions=positions,
        velocities=np.zeros_like(positions),
        series=series,
    )


REFERENCE = [replica(100 + k) for k in range(4)]


def found(*replicas, reference=REFERENCE, wanted=WANTED, alike=None):
    runs = {"network": list(replicas), "reference": list(reference)}
    return pd.DataFrame(drifts(runs, wanted, DURATION, alike), columns=list(COLUMNS))


def by(table, criterion):
    """Return the times of failure by one criterion (ps)."""
    rows = select(table, "network", "run", f"failed_by_{criterion}_fs")
    return [value / 1000.0 for value in rows["value"]]


@pytest.mark.parametrize(
    ("energy", "when"),
    [
        # what the reference does
        (lambda t: 0.0 * t, []),
        # a constant error of less than 20 meV/atom is one of the training, not of the motion
        (lambda t: 15.0 + 0.0 * t, []),
        # a swing about the mean
        (lambda t: 60.0 * np.sin(2 * np.pi * t / WINDOW), []),
        # a fall of 20 meV/atom a ps after the first: the mean of 1.5 to 2 ps is 15, the next 25
        (lambda t: -20.0 * np.clip(t / 1000.0 - 1.0, 0.0, None), [2.5]),
        # upwards as well
        (lambda t: 300.0 * (t > 3000.0), [3.5]),
        # what comes back has failed all the same
        (lambda t: -100.0 * ((t > 1000.0) & (t < 1500.0)), [1.5]),
    ],
)
def test_energy(energy, when):
    table = found(replica(0, energy))
    assert by(table, "energy") == by(table, "any") == when
    # the structure has not changed
    assert by(table, "structure") == by(table, "limits") == []


@pytest.mark.parametrize(
    ("shift", "when"),
    [
        (lambda t: 0.0, []),
        # one sublattice slides against the other, without any change of energy
        (lambda t: 0.2 * (t > 2000.0), [2.5]),
        (lambda t: 0.1 * max(t / 1000.0 - 1.0, 0.0), [2.5]),
    ],
)
def test_structure(shift, when):
    table = found(replica(0, shift=shift))
    assert by(table, "structure") == by(table, "any") == when
    assert by(table, "energy") == []


def test_no_reference_fails_by_its_own_measure():
    """Each replica of the reference, judged by the others."""
    for k in range(4):
        others = [t for t in REFERENCE if t is not REFERENCE[k]]
        assert by(found(REFERENCE[k], reference=others), "any") == []


def test_phases_are_compared_with_their_own():
    """Two phases 200 meV/atom apart: pooled, the distance between them hides every drift."""

    def high(t):
        return 200.0 + 0.0 * t

    def low(t):
        return -150.0 * (t > 2000.0)

    reference = [replica(k, high if k % 2 else lambda t: 0.0 * t) for k in range(4)]
    table = found(replica(0, low), replica(1, high), reference=reference)
    assert by(table, "energy") == []
    phases = {"network": [("a",), ("b",)], "reference": [("a",), ("b",), ("a",), ("b",)]}
    table = found(replica(0, low), replica(1, high), reference=reference, alike=phases)
    assert by(table, "energy") == [2.5]
    # a phase that the reference was not run in is not judged
    phases["network"] = [("c",), ("b",)]
    assert by(found(replica(0, low), reference=reference, alike=phases), "energy") == []


@pytest.mark.parametrize("floor", [20.0, 1e-3])
def test_a_larger_cell_scatters_less(floor):
    wanted = Comparison.read({"discard": 500.0, "window": 20.0, "energy_floor": floor})
    tables = [found(replica(0, copies=n), wanted=wanted) for n in (1, 4)]
    one, four = (
        select(table, "network", "run", "energy_limit_mev_per_atom")["value"].item()
        for table in tables
    )
    # two samples a window
    assert one == pytest.approx(6.0 * NOISE / 2**0.5, rel=0.15)
    assert four == pytest.approx(max(one / 2.0, floor))


def test_survival_and_scores():
    table = found(replica(0), replica(1, lambda t: -300.0 * (t > 2000.0)))
    score = table[table["record"] == "score"].set_index("name")["value"]
    # the second leaves at 2.5 of 4 ps
    assert score["area_limits"] == 1.0
    assert score["area_energy"] == score["area_any"] == pytest.approx((1.0 + 0.625) / 2)
    assert score["graded"] == pytest.approx((1.0 + 0.5 + 0.5 * 0.625) / 2)
    end = select(table, "network", "survival_by_any", "survival")
    assert end["value"].tolist() == [1.0, 0.5, 0.5]


def test_a_short_reference_has_short_windows_and_none_judges_nothing():
    short = [replica(100 + k, duration=600.0) for k in range(4)]
    assert by(found(replica(0, lambda t: -300.0 * (t > 2000.0)), reference=short), "energy") == [
        2.5
    ]
    table = found(replica(0, lambda t: -300.0 * (t > 2000.0)), reference=[])
    assert by(table, "energy") == by(table, "any") == []
    assert select(table, "network", "survival_by_energy", "survival").empty
    assert not select(table, "network", "survival_by_any", "survival").empty


def test_limits_of_drifts_are_positive():
    with pytest.raises(ConfigError, match="window"):
        Comparison.read({"window": 0.0})

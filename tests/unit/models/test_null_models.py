"""Baselines that every table carries."""

import numpy as np
import pytest

from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import ConfigError, DataError
from gnnip.models.baselines import BASELINES, baseline
from gnnip.models.trivial import null_energies
from gnnip.sampling.plans import make_plan

N = np.array([20, 20, 50, 50, 100, 100])
T = np.array([50.0, 200.0, 50.0, 200.0, 50.0, 200.0])
E = -0.5 * N + 3.0 + np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])


def test_predictions():
    assert sorted(BASELINES) == ["constant", "ensemble_mean", "n_linear"]
    assert np.allclose(baseline("constant").fit(E, N, T).predict(N, T), E.mean())
    assert np.allclose(baseline("n_linear").fit(E, N, T).predict(N, T), -0.5 * N + 3.5)
    assert np.allclose(baseline("ensemble_mean").fit(E, N, T).predict(N, T), E)


def test_an_ensemble_that_was_not_trained_on_gets_the_linear_fit():
    fitted = baseline("ensemble_mean").fit(E, N, T)
    assert fitted.predict(np.array([200]), np.array([100.0]))[0] == pytest.approx(-96.5)


def test_bad_input():
    with pytest.raises(ConfigError, match="did you mean 'n_linear'"):
        baseline("n_liner")
    with pytest.raises(DataError, match="finite"):
        baseline("constant").fit(np.array([1.0, np.nan]), N[:2], T[:2])


def planned_frames(dataset):
    """Frames of single atoms of as many elements as sizes, as the paper's plan has them."""
    plans = [make_plan(dataset, size, replica, {}) for size in (20, 237) for replica in range(4)]
    rows = [(p, t) for p in plans for t in p.temperatures for _ in range(p.frames)]
    energies = np.random.default_rng(0).normal(size=len(rows))
    return FrameArrays(
        positions=np.zeros((len(rows), 3)),
        numbers=np.array([plan.size % 100 for plan, _ in rows]),
        offsets=np.arange(len(rows) + 1),
        energies={"atomic": energies},
        forces={},
        metadata={
            "temperature_k": np.array([temperature for _, temperature in rows]),
            "trajectory": np.array([plan.name for plan, _ in rows]),
        },
        units={},
    )


@pytest.mark.parametrize(
    ("dataset", "same"), [("water_anion", True), ("water_anion_ladder", False)]
)
def test_only_in_equilibrium_a_trajectory_is_an_ensemble(dataset, same):
    frames = planned_frames(dataset)
    every = np.arange(frames.n_frames)
    means = null_energies(frames, frames.energies["atomic"], every, every)
    assert np.allclose(means["trajectory_mean"], means["ensemble_mean"]) == same
    assert not np.allclose(means["ensemble_mean"], means["composition_mean"])

"""Baselines that every table carries."""

import numpy as np
import pytest

from gnnip.errors import ConfigError, DataError
from gnnip.models.baselines import BASELINES, baseline

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

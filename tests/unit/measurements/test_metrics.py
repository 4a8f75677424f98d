import numpy as np
import pytest

from gnnip.errors import DataError
from gnnip.measurements import metrics


def test_errors_of_a_hand_made_case():
    true, predicted = [-2.0, -1.0, -4.0], [-1.0, -1.0, -6.0]
    assert metrics.mae(true, predicted) == pytest.approx(1.0)
    assert metrics.mse(true, predicted) == pytest.approx(5.0 / 3.0)
    assert metrics.rmse(true, predicted) == pytest.approx(np.sqrt(5.0 / 3.0))
    assert metrics.mape(true, predicted) == pytest.approx(100.0 * (0.5 + 0.0 + 0.5) / 3.0)


def test_r2_is_one_for_truth_and_zero_for_the_mean():
    true = np.array([1.0, 2.0, 4.0])
    assert metrics.r2(true, true) == 1.0
    assert metrics.r2(true, np.full(3, true.mean())) == pytest.approx(0.0)
    assert np.isnan(metrics.r2([3.0, 3.0], [3.0, 4.0]))


def test_r2_within_ensembles_is_blind_to_what_n_and_t_tell():
    n = np.array([20, 20, 100, 100, 237])
    t = np.array([50.0, 50.0, 50.0, 50.0, 200.0])
    true = np.array([-1.0, -1.2, -5.0, -5.4, -12.0])
    ensemble_means = np.array([-1.1, -1.1, -5.2, -5.2, -12.0])
    assert metrics.r2(true, ensemble_means) > 0.99
    assert metrics.r2_within(true, ensemble_means, n, t) == pytest.approx(0.0)
    # the single frame of the last ensemble has no spread and does not count
    wild = ensemble_means.copy()
    wild[-1] = 100.0
    assert metrics.r2_within(true, wild, n, t) == pytest.approx(0.0)
    assert metrics.r2_within(true, true, n, t) == 1.0


@pytest.mark.parametrize(
    ("true", "predicted", "words"),
    [
        ([], [], "empty test set"),
        ([1.0], [1.0, 2.0], "one length"),
        ([1.0, np.nan], [1.0, 2.0], "NaN"),
        ([[1.0]], [[1.0]], "flat"),
    ],
)
def test_bad_input_is_one_sentence(true, predicted, words):
    with pytest.raises(DataError, match=words):
        metrics.mae(true, predicted)


def test_mape_at_zero_and_r2_within_without_labels():
    with pytest.raises(DataError, match="exactly zero"):
        metrics.mape([0.0, 1.0], [1.0, 1.0])
    with pytest.raises(DataError, match="label array"):
        metrics.r2_within([1.0, 2.0], [1.0, 2.0])


def test_power_law_recovers_exponent_and_covers_it():
    n = np.array([20.0, 47.0, 100.0, 237.0])
    exact = metrics.power_law(n, 3e-3 * n**1.7)
    assert exact.exponent == pytest.approx(1.7)
    assert exact.prefactor == pytest.approx(3e-3)
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        fit = metrics.power_law(n, n**2 * np.exp(0.1 * rng.normal(size=4)))
        covered += fit.low <= 2.0 <= fit.high
    assert 0.90 < covered / 300 < 0.99
    with pytest.raises(DataError, match="three or more"):
        metrics.power_law([1.0, 2.0], [1.0, 2.0])

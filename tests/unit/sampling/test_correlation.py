"""The correlation time of series whose own is known."""

import numpy as np
import pytest

from gnnip.sampling.correlation import correlation_time, drift


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_of_a_process_that_forgets_exponentially(kept):
    rng = np.random.default_rng(1)
    x = np.zeros((4, 20000))
    noise = rng.normal(size=x.shape)
    for k in range(1, x.shape[1]):
        x[:, k] = kept * x[:, k - 1] + noise[:, k]
    exact = 0.5 * (1 + kept) / (1 - kept)
    assert correlation_time(x, 2.0) == pytest.approx(2.0 * exact, rel=0.15)
    # the level of a stretch is none of its memory
    levels = np.array([[0.0], [9.0], [-9.0], [50.0]])
    assert correlation_time(x + levels, 2.0) == pytest.approx(correlation_time(x, 2.0))
    assert correlation_time(x[0], 2.0) == pytest.approx(2.0 * exact, rel=0.3)


def test_vibrations_do_not_hide_what_lasts():
    rng = np.random.default_rng(2)
    slow = np.zeros(40000)
    for k, push in enumerate(rng.normal(size=slow.size - 1)):
        slow[k + 1] = 0.98 * slow[k] + push * np.sqrt(1 - 0.98**2)
    # three times the motion in a vibration of 4.5 steps with a wandering phase adds nothing
    phase = 2 * np.pi / 4.5 * np.arange(slow.size) + np.cumsum(0.2 * rng.normal(size=slow.size))
    both = slow + np.sqrt(6) * np.cos(phase)
    exact = 0.5 * (1 + 0.98) / (1 - 0.98)
    assert correlation_time(both, 1.0) == pytest.approx(0.25 * exact, rel=0.3)


def test_of_what_does_not_change():
    assert np.isnan(correlation_time(np.ones(10), 1.0))


def test_a_drift_has_a_lower_bound():
    steps = np.arange(100)
    assert 10.0 < correlation_time(steps, 1.0) < 50.0


def test_a_sum_that_turns_negative_is_no_time():
    # a slope and a vibration: the far lags are anticorrelated and few
    steps = np.arange(400.0)
    series = steps + 40.0 * np.cos(0.7 * steps) + np.where(steps > 300, -200.0, 0.0)
    assert correlation_time(series, 2.0) > 0.0


def test_drift_is_told_from_fluctuation():
    rng = np.random.default_rng(5)
    noise = np.empty(4000)
    noise[0] = 0.0
    for i in range(1, len(noise)):  # remembers its value for 10 steps
        noise[i] = 0.9 * noise[i - 1] + rng.normal()
    moved, error = drift(noise, 2.0)
    assert abs(moved) < 3 * error
    moved, again = drift(noise + np.linspace(0.0, 5.0, len(noise)), 2.0)
    assert moved == pytest.approx(5.0, abs=3 * error)
    assert again == pytest.approx(error, rel=1e-6)
    # of as many independent values as there are: sqrt(12 var/n), n = 4000/(2 * 9.5)
    assert error == pytest.approx(np.sqrt(12 * noise.var() * 19 / 4000), rel=0.3)
    assert drift([1.0], 1.0) == (0.0, float("inf"))
    assert drift([1.0, 3.0], 1.0)[0] == pytest.approx(2.0)

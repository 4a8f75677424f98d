"""The correlation time of series whose own is known."""

import numpy as np
import pytest

from gnnip.sampling.correlation import correlation_time


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


def test_of_what_does_not_change():
    assert np.isnan(correlation_time(np.ones(10), 1.0))

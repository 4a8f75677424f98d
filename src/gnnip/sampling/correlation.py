"""How long a quantity remembers its value: the integrated autocorrelation time of a series."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def correlation_time(series: ArrayLike, step: float) -> float:
    """Return the integrated autocorrelation time of `series` (..., steps), in the unit of `step`.

    tau = step (1/2 + sum_k rho(k)), summed up to the first lag of at least seven tau (Sokal), the
    largest tau so far, so that vibrations do not end the sum at their first minimum. Rows are
    stretches of one ensemble, each with a mean of its own; their autocovariances are averaged. A
    mean over n steps is as good as one over n step / (2 tau) independent values. NaN for a series
    that does not change; where it is too short for that lag, the largest tau so far, a lower bound.
    """
    values = np.atleast_2d(np.asarray(series, dtype=np.float64))
    moved = values - values.mean(axis=-1, keepdims=True)
    n = moved.shape[-1]
    power = np.abs(np.fft.rfft(moved, 2 * n)) ** 2  # zeros keep the ends apart
    covariance = np.fft.irfft(power)[..., :n].reshape(-1, n).mean(axis=0) / np.arange(n, 0, -1)
    if covariance[0] <= 0:
        return float("nan")
    times = np.cumsum(covariance / covariance[0]) - 0.5
    enough = np.arange(n) >= 7.0 * np.maximum.accumulate(times)
    return step * float(times[np.argmax(enough)] if enough.any() else times.max())

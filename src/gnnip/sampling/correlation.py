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
    that does not change; where it is too short for that lag, or drifts so that the sum is not
    positive there, the largest tau so far, a lower bound.
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
    end = int(np.argmax(enough)) if enough.any() else n - 1
    settled = enough.any() and times[end] > 0
    return step * float(times[end] if settled else times[: end + 1].max())


def drift(series: ArrayLike, step: float) -> tuple[float, float]:
    """Return by how much a series (steps,) moves from its first to its last value along the line
    of least squares, and the standard error of that, from its correlation time.

    The error is infinite for a series that is too short to have one.
    """
    values = np.asarray(series, dtype=np.float64)
    n = len(values)
    x = np.linspace(-0.5, 0.5, n)
    slope = float(x @ values / (x @ x)) if n > 1 else 0.0
    left = values - values.mean() - slope * x
    tau = correlation_time(left, step)
    independent = n * step / max(2.0 * tau, step)
    if not independent > 2.0:
        return slope, float("inf")
    return slope, float(np.sqrt(12.0 * left.var() / (independent - 2.0)))

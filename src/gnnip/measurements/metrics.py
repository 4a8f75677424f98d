"""Error measures of predicted energies, and log-log fits; all in plain NumPy.

Every function takes arrays of one unit and returns that unit (or its square, or none), so units are
the caller's: convert once, at the border. What each measure hides is said here and in
docs/metrics.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gnnip.errors import DataError

Array = np.ndarray


def _pair(true: ArrayLike, predicted: ArrayLike) -> tuple[Array, Array]:
    y, p = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    if y.shape != p.shape or y.ndim != 1:
        raise DataError(f"Metrics need two flat arrays of one length, got {y.shape} and {p.shape}.")
    if y.size == 0:
        raise DataError("Metrics need at least one value, got an empty test set.")
    bad = int((~np.isfinite(y)).sum() + (~np.isfinite(p)).sum())
    if bad:
        raise DataError(f"Metrics need finite values, {bad} of {2 * y.size} are NaN or infinite.")
    return y, p


def mae(true: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error, mean|p - y|, in the unit of the values.

    Fails by size: for total energies it grows with N, so a test set of larger clusters looks worse.
    """
    y, p = _pair(true, predicted)
    return float(np.abs(p - y).mean())


def mse(true: ArrayLike, predicted: ArrayLike) -> float:
    """Mean squared error, mean (p - y)^2, in the squared unit.

    Fails by outliers: a handful of the largest clusters decides it.
    """
    y, p = _pair(true, predicted)
    return float(np.square(p - y).mean())


def rmse(true: ArrayLike, predicted: ArrayLike) -> float:
    """Square root of `mse`, in the unit of the values; fails as `mse` does."""
    return float(np.sqrt(mse(true, predicted)))


def mape(true: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute percentage error, 100 mean|p - y|/|y|, in %.

    Fails near zero: weakly bound frames (small |E_0|) dominate it, and it depends on the zero of
    energy, so percentages of two terms with different zeros are not a fair comparison.
    """
    y, p = _pair(true, predicted)
    if np.any(y == 0.0):
        raise DataError("MAPE is undefined: a true value is exactly zero.")
    return float(100.0 * np.mean(np.abs(p - y) / np.abs(y)))


def r2(true: ArrayLike, predicted: ArrayLike) -> float:
    """Coefficient of determination, 1 - sum (y-p)^2 / sum (y-mean)^2; NaN if y is constant.

    Fails by the spread of sizes: V is nearly linear in N, so knowing N alone gives R2 > 0.99.
    """
    y, p = _pair(true, predicted)
    spread = np.square(y - y.mean()).sum()
    return float(1.0 - np.square(y - p).sum() / spread) if spread > 0 else float("nan")


def r2_within(true: ArrayLike, predicted: ArrayLike, *ensemble: ArrayLike) -> float:
    """R2 inside ensembles: 1 - sum (y-p)^2 / sum (y - mean of y in its ensemble)^2, no unit.

    `ensemble` are label arrays, e.g. N and T; frames with equal labels form one ensemble. 0 is what
    somebody reaches who knows each ensemble's mean and nothing of the geometry. Ensembles with a
    single frame have no spread and are left out; NaN when none is left. Fails when ensembles are
    small: the mean is then known too well from the same frames, and the value is pessimistic by
    about one part in the frames per ensemble.
    """
    y, p = _pair(true, predicted)
    if not ensemble:
        raise DataError("R2 within ensembles needs at least one label array, such as N or T.")
    labels = np.stack([np.asarray(e, dtype=float) for e in ensemble], axis=1)
    _, group, count = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    means = np.bincount(group, weights=y) / count
    keep = count[group] > 1
    spread = np.square(y - means[group])[keep].sum()
    return float(1.0 - np.square(y - p)[keep].sum() / spread) if spread > 0 else float("nan")


@dataclass(frozen=True)
class PowerLaw:
    """log t = log a + b log n: exponent b, its standard error, 95 % interval, prefactor a."""

    exponent: float
    standard_error: float
    low: float
    high: float
    prefactor: float


def power_law(n: ArrayLike, t: ArrayLike) -> PowerLaw:
    """Fit t = a n^b by least squares of log t on log n (b: no unit, a: unit of t at n = 1).

    The 95 % interval is Student's with len(n) - 2 degrees of freedom. It measures scatter about a
    straight line, not curvature: overhead at small n bends the line and lowers b.
    """
    from scipy import stats

    x, y = np.asarray(n, dtype=float), np.asarray(t, dtype=float)
    if x.size < 3 or np.unique(x).size < 3 or np.any(x <= 0) or np.any(y <= 0):
        raise DataError("A power law needs positive values at three or more different sizes.")
    fit = stats.linregress(np.log(x), np.log(y))
    width = float(stats.t.ppf(0.975, x.size - 2)) * float(fit.stderr)
    slope = float(fit.slope)
    return PowerLaw(
        slope, float(fit.stderr), slope - width, slope + width, float(np.exp(fit.intercept))
    )

"""How long the blocks of a bootstrap are: long enough to keep what returns owe to those before."""

import math
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from research.statistics.samples import total, varied_returns

_QUIET_LAGS: Final = 5
"""So many correlations in a row must be small; the paper's is larger from 10^25 returns on."""


def optimal_block_length(returns: ArrayLike) -> float:
    """Return the mean block length that suits the stationary bootstrap of a series' mean.

    Shapes: returns (T,), T >= 3.
    Units:  periods; at least 1, at most the smaller of 3 sqrt(T) and T / 3, rounded up.
    Raises: DegenerateSample if there are fewer, one is not finite, or they do not vary.
    Source: Politis and White, "Automatic Block-Length Selection for the Dependent Bootstrap",
            Econometric Reviews 23(1), 2004; Patton, Politis and White, "Correction", 28(4), 2009.
    """
    sample = varied_returns(returns)
    count = len(sample)
    around = sample - total(sample) / count
    around /= float(np.abs(around).max())

    @cache
    def covariance(lag: int) -> float:
        return total(around[lag:] * around[: count - lag]) / count

    lags = _memory(covariance, count)
    slope, variance = 0.0, covariance(0)
    for lag in range(1, lags + 1):
        weight = min(1.0, 2.0 * (1.0 - lag / lags))
        slope += 2.0 * weight * lag * covariance(lag)
        variance += 2.0 * weight * covariance(lag)
    longest = float(math.ceil(min(3.0 * math.sqrt(count), count / 3.0)))
    if variance == 0.0:
        return longest
    # 2 g² over d = 2 variance²: the twos cancel.
    return min(max(1.0, math.cbrt((slope / variance) ** 2 * count)), longest)


def _memory(covariance: Callable[[int], float], count: int) -> int:
    """Return the lag up to which covariances are counted: twice the last one that matters."""
    most = min(math.ceil(math.sqrt(count)) + _QUIET_LAGS, count - 1)
    small = 2.0 * math.sqrt(math.log10(count) / count) * covariance(0)
    quiet = 0
    for lag in range(1, most + 1):
        quiet = quiet + 1 if abs(covariance(lag)) < small else 0
        if quiet == _QUIET_LAGS:
            return min(2 * max(lag - _QUIET_LAGS, 1), most)
    return most

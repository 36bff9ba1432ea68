"""Confidence intervals of figures of a return series, from resampled series.

The stationary bootstrap puts a series together anew from blocks of random start and length, so
that what a return owes to the one before stays in it. Owns the resampling and the two figures. A
seed is always given; the same seed gives the same interval.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.statistics.block_length import optimal_block_length
from research.statistics.errors import DegenerateSample, InvalidArgument
from research.statistics.samples import (
    ROUNDING,
    Floats,
    finite,
    moments,
    positive,
    refuse_unsound,
    varied_returns,
    whole,
)

RESAMPLES_MIN: Final = 100
_SLAB: Final = 2**20
"""So many resampled returns are held at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure of a sample, and between what bounds resampling finds it."""

    estimate: float
    low: float
    high: float
    confidence: float
    block_length: float
    resamples: int


def sharpe_interval(
    returns: ArrayLike,
    periods_per_year: float,
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 2000,
    block_length: float | None = None,
) -> Interval:
    """Return the percentile interval of the Sharpe ratio a year.

    Shapes: returns (T,), T >= 3.
    Units:  as `sharpe_ratio`; block_length the mean one in periods, by default the optimal one.
    Raises: DegenerateSample if the returns, or those of a resample, do not vary.
    Source: Politis and Romano, "The Stationary Bootstrap", J. American Statistical Association
            89(428), 1994.
    """
    year = np.sqrt(positive("periods_per_year", periods_per_year))
    sample = varied_returns(returns)

    def ratios(resampled: Floats) -> Floats:
        is_flat = resampled.max(0) - resampled.min(0) <= ROUNDING
        if is_flat.any():
            raise DegenerateSample(
                "returns", f"too few of {len(sample)} differ: a resample of them does not vary"
            )
        means = np.add.reduce(resampled, axis=0) / len(resampled)
        squares = np.add.reduce(np.square(resampled - means), axis=0)
        found: Floats = means / np.sqrt(squares / (len(resampled) - 1)) * year
        return found

    estimate = float(moments(sample).sharpe * year)
    return _interval(sample, ratios, estimate, seed, confidence, resamples, block_length)


def drawdown_interval(
    returns: ArrayLike,
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 2000,
    block_length: float | None = None,
) -> Interval:
    """Return the percentile interval of the deepest fall from a peak.

    Shapes: returns (T,), T >= 3.
    Units:  a fraction of the peak, at least 0; block_length as in `sharpe_interval`.
    Raises: DegenerateSample if the returns do not vary, or one loses more than everything.
    Source: Politis and Romano, "The Stationary Bootstrap", J. American Statistical Association
            89(428), 1994.
    """
    sample = varied_returns(returns)
    if float(sample.min()) < -1.0:
        row = int(np.argmin(sample))
        raise DegenerateSample("returns", f"row {row} is {sample[row]:g}: it loses more than all")
    estimate = float(_deepest_falls(sample[:, None])[0])
    return _interval(sample, _deepest_falls, estimate, seed, confidence, resamples, block_length)


def _deepest_falls(resampled: Floats) -> Floats:
    with np.errstate(over="ignore"):
        equity = np.multiply.accumulate(1.0 + resampled, axis=0)
    refuse_unsound(equity[-1], "equity")
    peaks = np.maximum(np.maximum.accumulate(equity, axis=0), 1.0)
    found: Floats = (1.0 - equity / peaks).max(0)
    return np.maximum(found, 0.0)


def _interval(
    sample: Floats,
    figure: Callable[[Floats], Floats],
    estimate: float,
    seed: int,
    confidence: float,
    resamples: int,
    block_length: float | None,
) -> Interval:
    level = finite("confidence", confidence)
    if not 0.0 < level < 1.0:
        raise InvalidArgument("confidence", repr(confidence), "above 0 and below 1")
    count = whole("resamples", resamples, RESAMPLES_MIN)
    length = optimal_block_length(sample) if block_length is None else block_length
    if not 1.0 <= finite("block_length", length) <= len(sample):
        raise InvalidArgument("block_length", repr(block_length), f"from 1 to {len(sample)}")
    places = _resampled_places(len(sample), count, float(length), whole("seed", seed, 0))
    figures = np.concatenate([figure(sample[each]) for each in places])
    low, high = np.quantile(figures, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return Interval(
        estimate=estimate,
        low=float(low),
        high=float(high),
        confidence=level,
        block_length=float(length),
        resamples=count,
    )


def _resampled_places(
    rows: int, resamples: int, block_length: float, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Give the rows of resampled series, a series a column, so many columns at a time.

    Each row follows the one before it, the first the last, but with probability 1 / block_length
    a new block begins at any row.
    """
    chance = np.random.default_rng(seed)
    at = np.arange(rows)[:, None]
    width = max(1, _SLAB // rows)
    for done in range(0, resamples, width):
        shape = (rows, min(width, resamples - done))
        is_start = chance.random(shape) < 1.0 / block_length
        first = (chance.random(shape) * rows).astype(np.int64)
        # The row at which the current block began; the first row begins one in any case.
        began = np.maximum.accumulate(np.where(is_start, at, 0), axis=0)
        yield (np.take_along_axis(first, began, axis=0) + at - began) % rows

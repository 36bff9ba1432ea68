"""The Sharpe ratio, how sure it is, and how long a record must be to make it so.

Owns the figures of one return series looked at once; `deflation` allows for many trials.
"""

import math
from typing import Final

from numpy.typing import ArrayLike

from research.statistics import normal
from research.statistics.errors import DegenerateSample, InvalidArgument
from research.statistics.samples import COUNT_MIN, finite, moments, positive, whole

_SLACK: Final = 1e-9
"""How far kurtosis may be below 1 + skew², its least, by the rounding of whoever measured it."""


def sharpe_ratio(returns: ArrayLike, periods_per_year: float) -> float:
    """Return the mean return over its deviation (n - 1), a year.

    Shapes: returns (T,), T >= 3.
    Units:  simple returns per period, as fractions, in excess of what they are held against.
    Raises: DegenerateSample if there are fewer, one is not finite, or they do not vary.
    Source: Sharpe, "The Sharpe Ratio", J. Portfolio Management 21(1), 1994.
    """
    return moments(returns).sharpe * math.sqrt(positive("periods_per_year", periods_per_year))


def probabilistic_sharpe_ratio(
    sharpe: float, n: int, skew: float, kurtosis: float, benchmark: float = 0.0
) -> float:
    """Return the probability that the true Sharpe ratio is above a benchmark.

    Units:  sharpe, benchmark per period; n returns; kurtosis raw (a normal has 3).
    Raises: DegenerateSample if n is below 3, or the ratio's own variance is 0; InvalidArgument if a
            number is not finite, or no sample has such a skew and kurtosis.
    Source: Bailey and López de Prado, "The Sharpe Ratio Efficient Frontier", J. Risk 15(2), 2012.
    """
    count = _observations(n)
    variance = sharpe_variance(sharpe, skew, kurtosis)
    distance = finite("sharpe", sharpe) - finite("benchmark", benchmark)
    return normal.cumulative(distance * math.sqrt((count - 1) / variance))


def minimum_track_record_length(
    sharpe: float, benchmark: float, skew: float, kurtosis: float, confidence: float = 0.95
) -> float:
    """Return how many returns make sure, to a confidence, of a Sharpe ratio above a benchmark.

    Units:  sharpe, benchmark per period; kurtosis raw; observations, not rounded.
    Raises: InvalidArgument if the ratio is not above the benchmark: no record is long enough.
    Source: Bailey and López de Prado, "The Sharpe Ratio Efficient Frontier", J. Risk 15(2), 2012.
    """
    level = finite("confidence", confidence)
    if not 0.5 <= level < 1.0:
        raise InvalidArgument("confidence", repr(confidence), "at least 0.5 and below 1")
    variance = sharpe_variance(sharpe, skew, kurtosis)
    distance = finite("sharpe", sharpe) - finite("benchmark", benchmark)
    if distance <= 0.0:
        raise InvalidArgument("sharpe", repr(sharpe), f"above the benchmark, {benchmark!r}")
    ratio = normal.quantile(level) / distance
    # Two ratios closer than floats can say take for ever.
    return 1.0 + variance * ratio * ratio


def sharpe_variance(sharpe: float, skew: float, kurtosis: float) -> float:
    """Return the variance of an estimated Sharpe ratio, times n - 1.

    With moments that a sample can have it is never negative: kurtosis is at least 1 + skew².

    Units:  sharpe per period; kurtosis raw (a normal has 3).
    Raises: DegenerateSample if it is 0; InvalidArgument if no sample has such moments.
    Source: Mertens, "Comments on Variance of the IID Estimator in Lo (2002)", 2002.
    """
    ratio, third, fourth = (
        finite("sharpe", sharpe),
        finite("skew", skew),
        finite("kurtosis", kurtosis),
    )
    least = 1.0 + third * third
    if fourth < least * (1.0 - _SLACK):
        raise InvalidArgument(
            "kurtosis",
            repr(kurtosis),
            f"at least 1 + skew² = {least:g} (raw: a normal has 3, not 0)",
        )
    variance = 1.0 - third * ratio + 0.25 * (fourth - 1.0) * ratio * ratio
    if not 0.0 < variance < math.inf:
        raise DegenerateSample(
            "the variance of the Sharpe ratio",
            f"it is {variance:g} at a ratio of {ratio:g}, skew {third:g}, kurtosis {fourth:g}",
        )
    return variance


def _observations(n: int) -> int:
    count = whole("n", n, 0)
    if count < COUNT_MIN:
        raise DegenerateSample("n", f"{count} returns, below {COUNT_MIN}")
    return count

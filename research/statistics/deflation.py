"""What the best of many trials is worth: the Sharpe ratio that luck alone would show.

Owns the figures that depend on a number of trials. Who counts the trials is above this floor.
"""

import math
from typing import Final

from research.statistics import normal
from research.statistics.errors import DegenerateSample, InvalidArgument
from research.statistics.samples import finite, positive
from research.statistics.sharpe import probabilistic_sharpe_ratio

EULER_MASCHERONI: Final = 0.5772156649015329


def expected_maximum_sharpe(trials: float, sharpe_variance: float) -> float:
    """Return the Sharpe ratio to expect of the best of some trials that are all worth nothing.

    Units:  sharpe_variance of the trials' ratios, per period; trials may be an effective number.
    Raises: DegenerateSample for one trial, which nobody selected, or where the ratios do not vary;
            InvalidArgument if trials is otherwise below 2.
    Source: Bailey and López de Prado, "The Deflated Sharpe Ratio", J. Portfolio Management 40(5),
            2014, equation 1.
    """
    variance = finite("sharpe_variance", sharpe_variance)
    if variance < 0.0:
        raise InvalidArgument("sharpe_variance", repr(sharpe_variance), "above 0")
    if variance == 0.0:
        raise DegenerateSample("sharpe_variance", "it is 0: the trials' Sharpe ratios do not vary")
    return math.sqrt(variance) * _expected_maximum(trials)


def deflated_sharpe_ratio(
    sharpe: float, n: int, skew: float, kurtosis: float, trials: float, sharpe_variance: float
) -> float:
    """Return the probability that the best trial's true Sharpe ratio is above what luck shows.

    It is the probabilistic ratio with the expected maximum as its benchmark.

    Units:  sharpe per period, of the best trial; n returns; kurtosis raw; sharpe_variance of all
            trials' ratios, per period.
    Raises: as `probabilistic_sharpe_ratio` and `expected_maximum_sharpe`.
    Source: Bailey and López de Prado, "The Deflated Sharpe Ratio", J. Portfolio Management 40(5),
            2014, equation 2.
    """
    luck = expected_maximum_sharpe(trials, sharpe_variance)
    return probabilistic_sharpe_ratio(sharpe, n, skew, kurtosis, benchmark=luck)


def minimum_backtest_length(trials: float, sharpe: float = 1.0) -> float:
    """Return how many years make luck alone show no more than a Sharpe ratio, in so many trials.

    Units:  sharpe a year; years, not rounded.
    Raises: as `expected_maximum_sharpe`; InvalidArgument if the ratio is not above 0.
    Source: Bailey, Borwein, López de Prado and Zhu, "Pseudo-Mathematics and Financial
            Charlatanism", Notices of the AMS 61(5), 2014, theorem 1.
    """
    ratio = _expected_maximum(trials) / positive("sharpe", sharpe)
    return ratio * ratio


def independent_trials(trials: float, mean_correlation: float) -> float:
    """Return how many independent trials some correlated ones amount to, by their mean correlation.

    A rule of thumb beside `effective_trials`, which looks at who is like whom.

    Raises: InvalidArgument if trials is below 1, or the correlation is not from 0 to 1.
    Source: Bailey and López de Prado, "The Deflated Sharpe Ratio", J. Portfolio Management 40(5),
            2014, appendix A.3.
    """
    count, correlation = finite("trials", trials), finite("mean_correlation", mean_correlation)
    if count < 1.0:
        raise InvalidArgument("trials", repr(trials), "at least 1")
    if not 0.0 <= correlation <= 1.0:
        raise InvalidArgument("mean_correlation", repr(mean_correlation), "from 0 to 1")
    return correlation + (1.0 - correlation) * count


def _expected_maximum(trials: float) -> float:
    """Return the expected maximum of so many standard normal draws, by its asymptote."""
    count = finite("trials", trials)
    if count == 1.0:
        raise DegenerateSample("trials", "one trial was not selected; its PSR says how sure it is")
    if count < 2.0:
        raise InvalidArgument("trials", repr(trials), "at least 2")
    # -quantile(p), not quantile(1 - p): of 1e17 trials, 1 - p would be 1.
    common = -normal.quantile(1.0 / count)
    rare = -normal.quantile(1.0 / (count * math.e))
    return (1.0 - EULER_MASCHERONI) * common + EULER_MASCHERONI * rare

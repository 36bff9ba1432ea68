"""What luck shows: the papers' examples, and the maximum of real draws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research import statistics

# Bailey and López de Prado, "The Deflated Sharpe Ratio", J. Portfolio Management 40(5), 2014: five
# years of days, 2.5 a year; the trials' ratios have a variance of 1/2 a year.
SHARPE, DAYS, VARIANCE = 2.5 / math.sqrt(250), 1250, 0.5 / 250


def test_the_expected_maximum_of_the_paper():
    assert statistics.expected_maximum_sharpe(100, VARIANCE) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(
    ("trials", "skew", "kurtosis", "probability"),
    [(100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)],
)
def test_the_deflated_ratios_of_the_paper(trials, skew, kurtosis, probability):
    found = statistics.deflated_sharpe_ratio(SHARPE, DAYS, skew, kurtosis, trials, VARIANCE)

    assert found == pytest.approx(probability, abs=5e-5)


def test_the_backtest_lengths_of_the_paper():
    """Five years bear 45 trials, and seven trials spoil two years.

    Bailey, Borwein, López de Prado and Zhu, "Pseudo-Mathematics", Notices of the AMS 61(5), 2014.
    """
    length = statistics.minimum_backtest_length

    assert length(45) < 5.0 < length(46)
    assert length(7) < 2.0 < length(8)
    assert statistics.expected_maximum_sharpe(10, 1.0) == pytest.approx(1.57, abs=0.005)


@given(st.floats(2.0, 1e12), st.floats(0.1, 5.0))
def test_a_backtest_of_the_minimum_length_shows_by_luck_what_was_asked(trials, sharpe):
    years = statistics.minimum_backtest_length(trials, sharpe)

    # A ratio that is 0 in truth has a variance of 1 / years.
    assert statistics.expected_maximum_sharpe(trials, 1.0 / years) == pytest.approx(sharpe)
    assert years < 2.0 * math.log(trials) / sharpe**2 or trials < 6  # the paper's bound


@pytest.mark.parametrize("trials", [5, 20, 100, 1000])
def test_the_expected_maximum_is_that_of_draws(trials):
    draws = np.random.default_rng(trials).standard_normal((4000, trials)).max(1)
    error = draws.std() / math.sqrt(len(draws))

    found = statistics.expected_maximum_sharpe(trials, 1.0)

    # The asymptote itself is off by a few hundredths for few trials.
    assert found == pytest.approx(draws.mean(), abs=4 * error + 0.04)


@given(st.floats(2.0, 1e15), st.floats(1e-8, 10.0))
def test_more_trials_and_more_variance_are_more_luck(trials, variance):
    luck = statistics.expected_maximum_sharpe

    assert luck(trials * 1.5, variance) > luck(trials, variance) > 0.0
    assert luck(trials, variance * 4.0) == pytest.approx(2.0 * luck(trials, variance))


@given(st.floats(-0.5, 0.5), st.integers(3, 10_000), st.floats(2.0, 1e6), st.floats(1e-6, 0.1))
def test_deflation_never_raises_a_probability(sharpe, n, trials, variance):
    deflated = statistics.deflated_sharpe_ratio(sharpe, n, -0.5, 6.0, trials, variance)

    assert deflated <= statistics.probabilistic_sharpe_ratio(sharpe, n, -0.5, 6.0)


def test_correlated_trials_count_for_fewer():
    assert statistics.independent_trials(100, 0.0) == 100.0
    assert statistics.independent_trials(100, 1.0) == 1.0
    assert statistics.independent_trials(100, 0.5) == 50.5

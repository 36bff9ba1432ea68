"""PSR and minimum track record length: the paper's examples, and what must hold of both."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research import statistics
from research.statistics import normal

PSR = statistics.probabilistic_sharpe_ratio
LENGTH = statistics.minimum_track_record_length

SHARPES = st.floats(-2.0, 2.0)


@st.composite
def shapes(draw):
    """Draw a skew, and a kurtosis that a sample with it can have."""
    skew = draw(st.floats(-4.0, 4.0))
    return skew, 1.0 + skew * skew + draw(st.floats(0.01, 30.0))


# Bailey and López de Prado, "The Sharpe Ratio Efficient Frontier", J. Risk 15(2), 2012: two years
# of months with a Sharpe ratio of 1.59 a year, 0.458 a month.
@pytest.mark.parametrize(
    ("skew", "kurtosis", "probability"), [(0.0, 3.0, 0.982), (-2.448, 10.164, 0.913)]
)
def test_the_fund_of_the_paper(skew, kurtosis, probability):
    assert PSR(0.458, 24, skew, kurtosis) == pytest.approx(probability, abs=5e-4)


# The same paper: years that make sure, at 95 %, that a ratio of 2 a year is above 1.
@pytest.mark.parametrize(
    ("periods", "skew", "kurtosis", "years"),
    [
        (250, 0.0, 3.0, 2.73),
        (52, 0.0, 3.0, 2.83),
        (12, 0.0, 3.0, 3.24),
        (12, -0.72, 5.78, 4.99),
    ],
)
def test_the_track_records_of_the_paper(periods, skew, kurtosis, years):
    year = math.sqrt(periods)

    assert LENGTH(2 / year, 1 / year, skew, kurtosis) / periods == pytest.approx(years, abs=0.005)


@given(st.floats(0.01, 1.5), st.floats(-1.0, 0.99), shapes(), st.floats(0.55, 0.999))
def test_a_record_of_the_minimum_length_is_as_sure_as_was_asked(sharpe, part, shape, confidence):
    benchmark = sharpe * part
    length = LENGTH(sharpe, benchmark, *shape, confidence)
    count = math.ceil(length)
    if count < 4:
        return

    assert PSR(sharpe, count, *shape, benchmark) >= confidence - 1e-9
    assert PSR(sharpe, count - 1, *shape, benchmark) < confidence + 1e-9


@given(SHARPES, st.integers(3, 10**6), shapes(), SHARPES)
def test_a_probability_falls_as_its_benchmark_rises(sharpe, n, shape, benchmark):
    found = PSR(sharpe, n, *shape, benchmark)

    assert 0.0 <= found <= 1.0
    assert PSR(sharpe, n, *shape, benchmark + 0.1) <= found
    assert PSR(sharpe, n, *shape, sharpe) == 0.5


@given(SHARPES, st.integers(3, 10**6), SHARPES)
def test_of_normal_returns_it_is_lo_s_standard_error(sharpe, n, benchmark):
    error = math.sqrt((1 + sharpe * sharpe / 2) / (n - 1))  # Lo, 2002

    assert PSR(sharpe, n, 0.0, 3.0, benchmark) == pytest.approx(
        normal.cumulative((sharpe - benchmark) / error), rel=1e-6, abs=1e-300
    )


def test_it_is_right_as_often_as_it_says():
    """Of normal series with a true ratio of 0.1, a share p of the probabilities is below p."""
    series = np.random.default_rng(11).normal(0.1, 1.0, (2000, 250))
    found = []
    for returns in series:
        m = statistics.moments(returns)
        found.append(PSR(m.sharpe, m.count, m.skew, m.kurtosis, 0.1))

    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert np.mean(np.array(found) <= share) == pytest.approx(share, abs=0.03)

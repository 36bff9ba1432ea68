"""Moments, by their definitions and by what they are invariant under."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from research import statistics
from research.statistics import errors

RETURNS = st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=40)


def exact(returns):
    """Return the moments in fractions, each rounded once at the end."""
    values = [Fraction(value) for value in returns]
    count = len(values)
    mean = sum(values) / count
    second, third, fourth = (sum((v - mean) ** k for v in values) / count for k in (2, 3, 4))
    deviation = math.sqrt(second * count / (count - 1))
    return {
        "mean": float(mean),
        "deviation": deviation,
        "sharpe": float(mean) / deviation,
        "skew": float(third) / float(second) ** 1.5,
        "kurtosis": float(fourth / second**2),
    }


@given(RETURNS)
def test_moments_are_those_of_exact_arithmetic(returns):
    assume(max(returns) - min(returns) > 1e-6)

    found = statistics.moments(returns)

    assert found.count == len(returns)
    for name, value in exact(returns).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-7, abs=1e-9), name


def test_a_sample_worked_by_hand():
    # Mean 2; distances -1, -1, -1, 3: squares 12, cubes 24, fourth powers 84.
    found = statistics.moments([1.0, 1.0, 1.0, 5.0])

    assert found.deviation == 2.0
    assert found.sharpe == 1.0
    assert found.skew == pytest.approx(6 / 3**1.5)
    assert found.kurtosis == pytest.approx(21 / 9)
    assert statistics.sharpe_ratio([1.0, 1.0, 1.0, 5.0], 252) == pytest.approx(math.sqrt(252))


@given(RETURNS, st.sampled_from([1e-150, 1e-3, 7.0]))
def test_the_unit_of_the_returns_does_not_matter(returns, unit):
    assume(max(returns) - min(returns) > 1e-6)
    scaled = [value * unit for value in returns]
    if unit < 1e-14:  # as returns these do not vary
        with pytest.raises(errors.DegenerateSample):
            statistics.moments(scaled)
        return

    one, other = statistics.moments(returns), statistics.moments(scaled)

    assert other.sharpe == pytest.approx(one.sharpe, rel=1e-9, abs=1e-9)
    assert other.skew == pytest.approx(one.skew, rel=1e-6, abs=1e-6)
    assert other.kurtosis == pytest.approx(one.kurtosis, rel=1e-6)


@given(RETURNS)
def test_no_sample_has_a_kurtosis_below_one_plus_the_square_of_its_skew(returns):
    assume(max(returns) - min(returns) > 1e-6)
    found = statistics.moments(returns)

    # So the PSR's own bound never refuses what was measured.
    assert found.kurtosis >= (1 + found.skew**2) * (1 - 1e-9)


def test_a_fourth_power_beyond_floats_is_none_of_the_caller_s_concern():
    sample = np.array([1.0, -2.0, 4.0, 3.0])

    one, other = statistics.moments(sample), statistics.moments(sample * 1e100)

    assert other.kurtosis == one.kurtosis
    assert other.deviation == pytest.approx(one.deviation * 1e100)


def test_returns_follow_from_equity():
    returns = statistics.returns_from_equity([100.0, 110.0, 99.0])

    np.testing.assert_allclose(returns, [0.1, -0.1], rtol=1e-15)


def test_the_layout_of_an_array_does_not_matter():
    table = np.random.default_rng(3).normal(0.001, 0.01, (400, 8))
    one = statistics.probability_of_backtest_overfitting(table, blocks=8)

    for same in (np.asfortranarray(table), np.repeat(table, 2, axis=1)[:, ::2], table.tolist()):
        other = statistics.probability_of_backtest_overfitting(same, blocks=8)
        np.testing.assert_array_equal(other.out_of_sample, one.out_of_sample)

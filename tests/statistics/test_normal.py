"""The normal distribution: known values, symmetry, and there and back to the last digits."""

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.statistics import normal

# Quantiles to twenty digits: Wichura, "Algorithm AS 241", Applied Statistics 37(3), 1988, checks
# itself at 0.25, 0.001 and 1e-20.
WICHURA = {0.25: -0.6744897501960817, 0.001: -3.090232306167814, 1e-20: -9.262340089798408}


@pytest.mark.parametrize("probability", WICHURA)
def test_quantiles_are_those_that_the_algorithm_of_wichura_is_checked_by(probability):
    assert normal.quantile(probability) == pytest.approx(WICHURA[probability], rel=4e-16)


def test_the_lower_tail_keeps_its_digits():
    # Abramowitz and Stegun, table 26.2: -log10 Q(x).
    assert -math.log10(normal.cumulative(-10.0)) == pytest.approx(23.11805, abs=5e-6)
    assert -math.log10(normal.cumulative(-30.0)) == pytest.approx(197.30921, abs=5e-6)


@given(st.floats(1e-300, 0.5))
def test_a_quantile_leads_back_to_its_probability(probability):
    x = normal.quantile(probability)

    # A float's spacing at x moves the probability by x² parts of it.
    assert normal.cumulative(x) == pytest.approx(probability, rel=4e-16 * (2 + x * x))


@given(st.floats(1e-12, 1.0 - 1e-12))
def test_quantiles_are_the_standard_library_s(probability):
    assert normal.quantile(probability) == pytest.approx(
        NormalDist().inv_cdf(probability), rel=1e-13, abs=1e-15
    )


@given(st.integers(1, 2**52))
def test_quantiles_are_symmetric_where_a_probability_is(parts):
    probability = parts / 2**53

    assert normal.quantile(1.0 - probability) == -normal.quantile(probability)


def test_the_density_is_the_slope_of_the_cumulative():
    for x in (-3.0, -0.5, 0.0, 1.25):
        rise = normal.cumulative(x + 1e-5) - normal.cumulative(x - 1e-5)
        assert rise / 2e-5 == pytest.approx(normal.density(x), rel=1e-8)

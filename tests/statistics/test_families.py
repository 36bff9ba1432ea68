"""Benjamini-Hochberg and Holm: the papers' example, their definitions, and what orders them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research import statistics

# Benjamini and Hochberg, 1995, section 4: fifteen hypotheses about two treatments of the heart.
FIFTEEN = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
    0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000,
]  # fmt: skip
FAMILIES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


def test_the_fifteen_hypotheses_of_the_paper():
    assert statistics.benjamini_hochberg(FIFTEEN).rejected_count == 4
    assert statistics.holm(FIFTEEN).rejected_count == 3  # as many as Hochberg's, says the paper
    assert statistics.benjamini_hochberg(FIFTEEN).is_rejected[:4].all()


def test_adjusted_values_by_hand():
    found = [0.01, 0.04, 0.03, 0.005]

    np.testing.assert_allclose(
        statistics.benjamini_hochberg(found).p_values, [0.02, 0.04, 0.04, 0.02]
    )
    np.testing.assert_allclose(statistics.holm(found).p_values, [0.03, 0.06, 0.06, 0.02])


@given(FAMILIES, st.floats(0.001, 0.5))
def test_rejections_are_those_of_the_step_up_and_step_down_definitions(p_values, level):
    count, ascending = len(p_values), sorted(p_values)
    margins = [abs(p - k * level / count) for p in ascending for k in range(1, count + 1)]
    margins += [abs(p * k - level) for p in ascending for k in range(1, count + 1)]
    if min(margins) < 1e-12:  # a tie that rounding decides
        return
    up = max((k for k, p in enumerate(ascending, 1) if p <= k * level / count), default=0)
    down = next(
        (k for k, p in enumerate(ascending) if p > level / (count - k)), count
    )  # fmt: skip

    assert statistics.benjamini_hochberg(p_values, level).rejected_count == up
    assert statistics.holm(p_values, level).rejected_count == down


@given(FAMILIES)
def test_adjustment_keeps_the_order_and_never_lowers(p_values):
    raw = np.array(p_values)
    false_share, any_false = (
        made(p_values).p_values for made in (statistics.benjamini_hochberg, statistics.holm)
    )
    order = np.argsort(raw, kind="stable")

    for adjusted in (false_share, any_false):
        assert (adjusted >= raw * (1 - 1e-15)).all()
        assert (adjusted <= 1.0).all()
        assert (np.diff(adjusted[order]) >= 0).all()
    assert (false_share <= any_false * (1 + 1e-12)).all()


def test_of_noise_holm_calls_something_real_one_time_in_twenty():
    chance = np.random.default_rng(4)
    calls = [statistics.holm(chance.random(50)).rejected_count > 0 for _ in range(2000)]

    assert np.mean(calls) == pytest.approx(0.05, abs=0.015)

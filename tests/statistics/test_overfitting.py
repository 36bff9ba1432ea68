"""PBO beside a plain loop over the splits, on the cases of the paper, and on sweeps that rest."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research import statistics
from research.statistics import errors

PBO = statistics.probability_of_backtest_overfitting


def by_the_book(returns, blocks):
    """Follow the paper step by step: put the halves together, rank, look the winner up."""
    rows = len(returns)
    parts = [
        returns[rows * b // blocks : rows * (b + 1) // blocks] for b in range(blocks)
    ]  # fmt: skip
    found = []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[b] for b in chosen])
        outside = np.concatenate([parts[b] for b in range(blocks) if b not in chosen])
        one, other = (half.mean(0) / half.std(0, ddof=1) for half in (inside, outside))
        best = int(np.argmax(one))
        rank = np.sum(other < other[best]) + (np.sum(other == other[best]) + 1) / 2
        relative = rank / (len(other) + 1)
        found.append((best, math.log(relative / (1 - relative)), one[best], other[best]))
    return [np.array(column) for column in zip(*found, strict=True)]


@given(st.integers(0, 10**6), st.sampled_from([2, 4, 6, 8]), st.integers(2, 9), st.integers(0, 40))
def test_it_is_the_paper_s_loop(seed, blocks, trials, more):
    chance = np.random.default_rng(seed)
    returns = chance.normal(0.0005, 0.01, (4 * blocks + more, trials))
    chosen, logits, inside, outside = by_the_book(returns, blocks)

    found = PBO(returns, blocks)

    np.testing.assert_array_equal(found.chosen, chosen)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.in_sample, inside, rtol=1e-9)
    np.testing.assert_allclose(found.out_of_sample, outside, rtol=1e-9, atol=1e-12)
    assert found.pbo == np.mean(logits <= 0)
    assert found.probability_of_loss == np.mean(outside < 0)


def test_the_line_through_the_splits_is_that_of_least_squares():
    found = PBO(np.random.default_rng(5).normal(0, 0.01, (600, 12)), 10)

    slope, intercept = np.polyfit(found.in_sample, found.out_of_sample, 1)
    correlation = np.corrcoef(found.in_sample, found.out_of_sample)[0, 1]

    assert found.slope == pytest.approx(slope)
    assert found.intercept == pytest.approx(intercept)
    assert found.r_squared == pytest.approx(correlation**2)


def test_sixteen_blocks_are_12_870_splits_and_each_has_its_opposite():
    found = PBO(np.random.default_rng(6).normal(0, 0.01, (2500, 100)))

    assert len(found.logits) == 12_870 == math.comb(16, 8)
    assert len(np.unique(found.in_sample)) > 12_000


def test_trials_without_any_skill_are_overfit_whatever_is_chosen():
    """The paper's first case: noise whose mean over all the time is taken away.

    What a trial gained in one half it lost in the other, so the best is the worst: PBO 1.
    """
    noise = np.random.default_rng(765).normal(0, 0.01, (2400, 100))
    noise -= noise.mean(0)

    found = PBO(noise, 8)

    assert found.pbo == 1.0
    assert found.slope == pytest.approx(-1.0, abs=0.1)
    assert found.probability_of_loss == 1.0


def test_of_noise_it_is_about_a_half_and_with_a_true_edge_none():
    chance = np.random.default_rng(8)
    noise = [PBO(chance.normal(0, 0.01, (400, 20)), 8).pbo for _ in range(60)]
    skilled = chance.normal(0, 0.01, (1000, 50))
    skilled[:, 17] += 0.003  # nearly 5 a year

    found = PBO(skilled, 10)

    assert np.mean(noise) == pytest.approx(0.5, abs=0.1)
    assert found.pbo == 0.0
    assert (found.chosen == 17).all()
    assert found.probability_of_loss == 0.0


def test_equal_trials_are_equal_to_the_bit_and_share_their_rank():
    one = np.random.default_rng(9).normal(0, 0.01, (300, 1))

    found = PBO(np.repeat(one, 7, axis=1), 6)

    assert (found.chosen == 0).all()
    assert (found.logits == 0.0).all()


def test_a_trial_that_holds_nothing_for_half_of_the_time_has_a_ratio_of_0_there():
    chance = np.random.default_rng(13)
    returns = chance.normal(0.0, 0.01, (400, 3))
    returns[200:, 1] = 0.0

    found = PBO(returns, 4)
    rest = returns[200:, [0, 2]]

    assert len(found.logits) == 6
    last = rest.mean(0) / rest.std(0, ddof=1)
    assert found.in_sample[5] == pytest.approx(max(last[0], 0.0, last[1]))
    assert np.isfinite(found.logits).all()


def test_returns_that_stand_still_elsewhere_are_refused_by_the_trial():
    returns = np.random.default_rng(10).normal(0.0, 0.01, (400, 3))
    returns[200:, 1] = 0.001

    with pytest.raises(errors.DegenerateSample, match="returns, trial 1: in half of the blocks"):
        PBO(returns, 4)


def test_a_trial_that_hardly_moves_in_a_half_keeps_its_digits():
    returns = np.random.default_rng(12).normal(0.0, 0.01, (400, 3))
    returns[200:, 1] = 0.01 + 1e-9 * np.arange(200)

    found = PBO(returns, 4)

    half = returns[200:, 1]
    assert found.in_sample[5] == pytest.approx(half.mean() / half.std(ddof=1), rel=1e-6)


@given(st.integers(0, 10**6))
def test_the_order_of_the_trials_and_their_units_do_not_matter(seed):
    chance = np.random.default_rng(seed)
    returns = chance.normal(0.0, 0.01, (120, 6))
    order = chance.permutation(6)

    one, other = PBO(returns, 6), PBO(returns[:, order] * [1, 2, 3, 4, 5, 6], 6)

    assert other.pbo == one.pbo
    np.testing.assert_allclose(other.in_sample, one.in_sample, rtol=1e-9)
    np.testing.assert_array_equal(order[other.chosen], one.chosen)

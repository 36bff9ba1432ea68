"""The stationary bootstrap: its blocks, its length, and how often its intervals are right."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research import statistics
from research.statistics import bootstrap


def places(rows, resamples, block_length, seed=1):
    return np.hstack(list(bootstrap._resampled_places(rows, resamples, block_length, seed)))


def autoregressive(seed, rows, owed):
    chance = np.random.default_rng(seed)
    returns, last = np.empty(rows), 0.0
    for row, news in enumerate(chance.normal(0, 0.01, rows)):
        returns[row] = last = owed * last + news
    return returns


def length_by_the_book(returns):
    """Follow Politis and White, section 3.2, with the correction: sums over all lags."""
    around = np.asarray(returns) - np.mean(returns)
    count = len(around)
    gamma = [float(around[k:] @ around[: count - k]) / count for k in range(count)]
    small = 2 * math.sqrt(math.log10(count) / count)
    most = math.ceil(math.sqrt(count)) + 5
    last = next(
        (m for m in range(most - 4)
         if all(abs(gamma[m + k] / gamma[0]) < small for k in range(1, 6))),
        most,
    )  # fmt: skip
    window = min(2 * max(last, 1), most)
    weight = [1.0 if k <= window / 2 else 2 * (1 - k / window) for k in range(window + 1)]
    slope = sum(2 * weight[k] * k * gamma[k] for k in range(1, window + 1))
    variance = gamma[0] + sum(2 * weight[k] * gamma[k] for k in range(1, window + 1))
    length = (2 * slope**2 / (2 * variance**2)) ** (1 / 3) * count ** (1 / 3)
    return min(max(length, 1.0), math.ceil(min(3 * math.sqrt(count), count / 3)))


@pytest.mark.parametrize("owed", [-0.4, 0.0, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("rows", [60, 400, 1500])
def test_the_length_is_that_of_the_paper(rows, owed):
    for seed in range(5):
        returns = autoregressive(seed, rows, owed)
        assert statistics.optimal_block_length(returns) == pytest.approx(
            length_by_the_book(returns), rel=1e-9
        )


def test_returns_that_owe_more_to_the_past_get_longer_blocks():
    lengths = [
        np.median(
            [statistics.optimal_block_length(autoregressive(s, 1000, owed)) for s in range(9)]
        )
        for owed in (0.0, 0.3, 0.6, 0.9)
    ]

    assert lengths == sorted(lengths)
    assert lengths[0] < 3 < 20 < lengths[-1]


def test_blocks_are_as_long_as_asked_and_begin_anywhere():
    found = places(400, 500, 8.0)
    is_next = (found[1:] - found[:-1]) % 400 == 1

    assert found.shape == (400, 500)
    # A new block begins with 1/8, and by chance (1/400) where the old would have gone on.
    assert 1.0 - is_next.mean() == pytest.approx(1 / 8 * (1 - 1 / 400), abs=0.003)
    counts = np.bincount(found.ravel(), minlength=400)
    assert counts.min() > 350
    assert counts.max() < 650


def test_blocks_of_one_are_independent_draws_and_endless_ones_a_rotation():
    alone = places(50, 2000, 1.0)
    whole = places(50, 100, 50.0)

    assert ((alone[1:] - alone[:-1]) % 50 == 1).mean() == pytest.approx(1 / 50, abs=0.003)
    assert ((whole[1:] - whole[:-1]) % 50 == 1).mean() > 0.95
    assert (whole >= 0).all()
    assert (whole < 50).all()


def test_an_interval_holds_the_true_ratio_as_often_as_it_says():
    true, held = 0.1, 0
    for seed in range(200):
        returns = np.random.default_rng(seed).normal(true, 1.0, 250)
        found = statistics.sharpe_interval(returns, 1, seed=seed, confidence=0.9, resamples=200)
        held += found.low <= true <= found.high

    assert held / 200 == pytest.approx(0.9, abs=0.06)


def test_the_interval_of_a_ratio_is_about_its_standard_error():
    returns = np.random.default_rng(1).normal(0.0005, 0.01, 2500)
    found = statistics.sharpe_interval(returns, 252, seed=2)

    assert found.estimate == statistics.sharpe_ratio(returns, 252)
    assert found.low < found.estimate < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(252 / 2500), rel=0.1)


def test_a_drawdown_is_the_deepest_fall_from_a_peak_the_start_included():
    found = statistics.drawdown_interval([-0.1, 0.5, -0.2, -0.25, 0.1, 0.1], seed=1)

    assert found.estimate == pytest.approx(1 - 0.8 * 0.75)
    assert 0.0 <= found.low <= found.high < 1.0
    assert statistics.drawdown_interval([-0.1, 0.2, 0.3], seed=1).estimate == pytest.approx(0.1)
    assert statistics.drawdown_interval([0.1, 0.2, 0.3], seed=1).high == 0.0


def test_losing_streaks_make_the_resampled_falls_deeper():
    returns = autoregressive(3, 1000, 0.6)

    kept = statistics.drawdown_interval(returns, seed=1, block_length=30.0)
    broken = statistics.drawdown_interval(returns, seed=1, block_length=1.0)

    assert kept.high > 1.3 * broken.high


@given(st.integers(0, 2**63))
def test_a_seed_says_everything(seed):
    returns = np.random.default_rng(1).normal(0, 0.01, 60)

    one, other, another = (
        statistics.sharpe_interval(returns, 12, seed=each, resamples=100)
        for each in (seed, seed, seed + 1)
    )

    assert one == other
    assert one != another


def test_the_draws_are_pinned():
    """A seed means these draws for ever; numpy may change a method's, which must be seen."""
    np.testing.assert_array_equal(
        places(7, 2, 3.0, seed=42).T, [[3, 4, 5, 6, 6, 0, 1], [1, 2, 3, 4, 5, 6, 0]]
    )


def test_slabs_do_not_show(monkeypatch):
    whole = places(30, 64, 4.0)
    monkeypatch.setattr(bootstrap, "_SLAB", 30 * 16)

    assert places(30, 64, 4.0).shape == whole.shape

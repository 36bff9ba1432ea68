"""Bars are counted by those of the asset itself: another asset's times change nothing of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.simulation.portfolio import simulate_portfolio

HOUR_NS = 3600 * 10**9
COUNT = 40


def bars_at(hours, prices):
    prices = np.array(prices, np.float64)
    named = dict.fromkeys(("open", "close"), prices)
    return {
        "at_ns": np.array(hours, np.int64) * HOUR_NS,
        "high": prices * 1.01,
        "low": prices * 0.99,
        "volume": np.full(len(prices), 1000.0),
    } | named


def marks(count, *bars):
    signals = np.zeros(count, np.bool_)
    signals[list(bars)] = True
    return signals


def beside(own, signals, other_hours, **models):
    """Trade an asset by itself, and beside one that is never traded; return the events of both."""
    entries, exits = signals
    found = []
    for others in ({}, {"other": bars_at(other_hours, [50.0] * len(other_hours))}):
        result = simulate_portfolio(
            {"own": own} | others, {"own": entries}, {"own": exits}, size=4.0, cash=1e4, **models
        )
        found.append({name: column for name, column in result.events.items() if name != "asset"})
    return found


@pytest.mark.parametrize(
    "models",
    [
        {"risk": {"time_limit": {"bars": 2}}},
        {"risk": {"time_limit": {"hours": 24.5}}},
        {"risk": {"re_entry": {"cooldown_bars": 2}}},
        {"execution": {"failures": {"base_rate": 0.5, "retries": 5, "backoff_bars": 2}}},
        {"execution": {"partial_fills": {"probability": 0.7, "fill_range": [0.2, 0.8]}}},
    ],
    ids=str,
)
def test_each_count_is_of_own_bars(models):
    hours = [bar * 10 for bar in range(COUNT)]
    own = bars_at(hours, [64.0 + bar % 3 for bar in range(COUNT)])
    signals = marks(COUNT, *range(0, COUNT, 3)), marks(COUNT, *range(1, COUNT, 3))
    alone, together = beside(own, signals, range(hours[-1] + 1), seed=5, **models)
    for name in alone.keys() - {"bar"}:
        np.testing.assert_array_equal(alone[name], together[name], err_msg=name)
    assert len(alone["kind"]) > 10


@given(
    hours=st.lists(st.integers(0, 200), min_size=4, max_size=30, unique=True).map(sorted),
    other_hours=st.lists(st.integers(0, 200), min_size=2, max_size=60, unique=True).map(sorted),
    seed=st.integers(0, 100),
    data=st.data(),
)
def test_another_asset_changes_nothing(hours, other_hours, seed, data):
    count = len(hours)
    flags = st.lists(st.booleans(), min_size=count, max_size=count).map(np.array)
    own = bars_at(hours, data.draw(st.lists(st.integers(40, 90), min_size=count, max_size=count)))
    alone, together = beside(
        own,
        (data.draw(flags), data.draw(flags)),
        other_hours,
        seed=seed,
        execution={
            "latency": {"p50": 0, "p90": 4e7, "p99": 9e7, "jitter": 1e6},
            "failures": {"base_rate": 0.3, "retries": 2, "backoff_bars": 1},
            "partial_fills": {"probability": 0.3, "fill_range": [0.3, 0.9]},
        },
        risk={
            "stop_loss": {"initial": -0.2, "trailing": -0.25},
            "take_profit": [{"multiple": 1.2, "fraction": 0.5}],
            "time_limit": {"bars": 5, "hours": 70.0},
            "re_entry": {"cooldown_bars": 1, "cooldown_after_loss_bars": 2},
        },
    )
    keep = [events["reason"] != "no_next_bar" for events in (alone, together)]
    for name in alone.keys() - {"bar"}:
        first, second = (
            events[name][chosen] for events, chosen in zip((alone, together), keep, strict=True)
        )
        np.testing.assert_array_equal(first, second, err_msg=name)


def test_reference_is_the_open_of_the_next_own_bar():
    own = bars_at([0, 10, 20, 30], [64.0, 65.0, 66.0, 67.0])
    late = dict.fromkeys(("p50", "p90", "p99"), 14 * 3_600_000.0)
    for seed in range(50):
        _, events = beside(
            own,
            (marks(4, 0), marks(4)),
            list(range(31)),
            seed=seed,
            execution={"latency": late},
        )
        if events["bar"].tolist() == [0, 20]:
            break
    assert events["reference_price"][1] == 65.0

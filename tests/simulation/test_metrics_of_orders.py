"""The metrics of costs and orders, against figures worked out by hand."""

import math

import numpy as np
import pytest

from research.simulation.engine import simulate
from research.simulation.portfolio import simulate_portfolio
from research.simulation.run_config import RunConfig
from research.simulation.units import YEAR_NS

DAY_NS = 86_400 * 10**9


def close_to(value):
    return pytest.approx(value, rel=1e-12, abs=1e-15)


def test_costs_of_orders_by_hand(make_bars, at):
    # Bought at 100 * 1.01, sold at 110 * 0.99, 10 units each, within a day short of a year.
    bars = make_bars([100.0, 100.0, 110.0, 110.0])
    bars["at_ns"] = np.array([0, 1, 2, 4], np.int64) * (YEAR_NS // 4)
    found = simulate(
        bars,
        at(4, 0),
        at(4, 1),
        size=10.0,
        cash=10_000.0,
        execution={"slippage": {"base": 0.01}},
        costs={"taker_fee_bps": 10.0},
    ).metrics
    traded = 10 * 101.0 + 10 * 108.9
    fees = traded / 1_000
    after = 10_000 - 1_010 + 1_089 - fees
    equity = [10_000, 10_000 - 1_010 - 1.01 + 1_000, after, after]
    assert found["fees"] == close_to(fees)
    assert found["turnover"] == close_to(traded / (sum(equity) / 4))
    assert found["slippage_cost"] == close_to((10 * 1.0 + 10 * 1.1) / 10_000)
    assert found["fee_sensitivity"] == close_to(-traded / 10_000 / 10_000)
    assert found["fill_rate"] == 1.0
    assert found["latency_cost"] == 0.0
    assert "latency_sensitivity" not in found


def test_fee_sensitivity_is_the_slope_of_the_return(make_bars, at):
    bars = make_bars([100.0, 90.0, 120.0, 110.0, 130.0, 125.0])
    runs = [
        simulate(bars, at(6, 0, 3), at(6, 1, 4), size=5.0, costs={"taker_fee_bps": bps}).metrics
        for bps in (10.0, 11.0)
    ]
    slope = runs[1]["total_return"] - runs[0]["total_return"]
    assert runs[0]["fee_sensitivity"] == pytest.approx(slope, rel=1e-9)


def test_lateness_by_hand(make_bars, at):
    # Half of all orders take 12 to 25 hours on daily bars; the others are there a bar later.
    bars = make_bars([100.0, 101.0, 103.0, 106.0, 110.0, 115.0])
    late = {"latency": {"p50": 90_000_000, "p90": 90_000_000, "p99": 90_000_000}}
    prompt = simulate(bars, at(6, 0), at(6, 2), size=10.0, cash=1_000.0 * 10)
    found = [
        simulate(bars, at(6, 0), at(6, 2), size=10.0, cash=1_000.0 * 10, execution=late, seed=seed)
        for seed in range(30)
    ]
    by_bars = {
        tuple(run.events["bar"][run.events["kind"] == "fill"].tolist()): run for run in found
    }
    both_late = by_bars[(2, 4)].metrics
    # Bought at 103 in place of 101, sold at 110 in place of 106: two bars late in all, two fills.
    assert both_late["latency_cost"] == close_to(10 * (2 - 4) / 10_000)
    assert both_late["latency_sensitivity"] == close_to(10 * (4 - 2) / 10_000)
    late_exit = by_bars[(1, 4)].metrics
    assert late_exit["latency_cost"] == close_to(10 * -4 / 10_000)
    assert late_exit["latency_sensitivity"] == close_to(10 * 4 / 10_000 / (1 / 2))
    gained = both_late["total_return"] - prompt.metrics["total_return"]
    assert gained == close_to(-both_late["latency_cost"])


def test_lateness_is_by_the_order_of_the_same_asset():
    # One is told to buy at bar 0 and to sell at bar 3, the other a bar later each time: the orders
    # of one lie between the order and the fill of the other.
    at_ns = np.arange(8, dtype=np.int64) * DAY_NS
    prices = {"a": np.arange(100.0, 108.0), "b": np.arange(50.0, 58.0)}
    bars = {
        asset: {"at_ns": at_ns, "volume": np.ones(8)}
        | dict.fromkeys(("open", "high", "low", "close"), price)
        for asset, price in prices.items()
    }
    entries = {asset: np.arange(8) == bar for asset, bar in (("a", 0), ("b", 1))}
    exits = {asset: np.arange(8) == bar for asset, bar in (("a", 3), ("b", 4))}
    late = {"latency": {"p50": 0, "p90": 200_000_000, "p99": 200_000_000}}
    lateness = set()
    for seed in range(30):
        result = simulate_portfolio(
            bars, entries, exits, size=1.0, cash=1_000.0, execution=late, seed=seed
        )
        events = result.events
        is_fill = events["kind"] == "fill"
        on_time = np.where(events["side"][is_fill] == "buy", 1, 4)
        on_time += events["asset"][is_fill] == "b"
        bars_late = events["bar"][is_fill] - on_time
        if len(bars_late) < 4:
            continue  # the order to sell came while the one to buy was under way
        # Every price rises by 1 a bar: a late purchase costs as much as it is late, a late sale
        # brings as much more.
        cost = np.where(events["side"][is_fill] == "buy", bars_late, -bars_late).sum() / 1_000
        assert result.metrics["latency_cost"] == close_to(cost)
        if bars_late.any():
            expected = -cost / (bars_late.sum() / 4)
            assert result.metrics["latency_sensitivity"] == close_to(expected)
        lateness |= set(bars_late.tolist())
    assert lateness == {0, 1, 2}


def test_lateness_counts_the_bars_of_the_asset_itself(rows):
    # Its bars are every other time. The next of them is at 2, not at 1, where only the other has one.
    def bars_of(times, prices):
        column = np.array(prices, np.float64)
        named = dict.fromkeys(("open", "high", "low", "close", "volume"), column)
        return {"at_ns": np.array(times, np.int64) * DAY_NS} | named

    bars = {
        "a": bars_of(range(8), [10.0] * 8),
        "b": bars_of([0, 2, 4, 6], [20.0, 21.0, 23.0, 23.0]),
    }
    signals = {"b": np.arange(4) == 0}
    prompt = simulate_portfolio(bars, signals, {}, size=1.0)
    assert rows(prompt.events, "bar", "kind", "reference_price")[1] == (2, "fill", 21.0)
    assert (prompt.metrics["trade_count"], prompt.metrics["latency_cost"]) == (1, 0.0)
    assert "latency_sensitivity" not in prompt.metrics
    # 2.1 to 3 days: past the bar at 2, to the one at 4. One bar of its own late, at 2 more.
    late = dict.fromkeys(("p50", "p90", "p99"), 3 * 86_400_000)
    for seed in range(30):
        found = simulate_portfolio(
            bars, signals, {}, size=1.0, cash=1_000.0, execution={"latency": late}, seed=seed
        )
        if found.events["bar"][1] == 4:
            break
    assert rows(found.events, "bar", "kind", "reference_price")[1] == (4, "fill", 21.0)
    assert found.metrics["latency_cost"] == close_to(2.0 / 1_000)
    assert found.metrics["latency_sensitivity"] == close_to(-2.0 / 1_000)


def test_fill_rate_counts_attempts(make_bars, at):
    never = {"failures": {"base_rate": 1.0, "retries": 2}}
    found = simulate(make_bars([100.0] * 9), at(9, 0), at(9), size=1.0, execution=never).metrics
    assert found["fill_rate"] == 0.0
    # Filled, filled, and an order that no bar was left for: it was never tried.
    found = simulate(make_bars([100.0] * 5), at(5, 0, 4), at(5, 2), size=1.0).metrics
    assert found["fill_rate"] == 1.0
    # Of three orders one fills; one costs too much, and one a limit forbids before it is tried.
    opens = [100.0, 100.0, 100.0, 100.0, 900.0, 900.0, 900.0]
    found = simulate(
        make_bars(opens), at(7, 0, 3), at(7, 1), size=1.0, cash=500.0, costs={"fixed_fee": 1.0}
    ).metrics
    assert found["fill_rate"] == 2 / 3
    once = {"re_entry": {"max_entries": 1}}
    found = simulate(make_bars(opens), at(7, 0, 3), at(7, 1), size=1.0, risk=once).metrics
    assert found["fill_rate"] == 1.0


def test_stop_is_never_late(make_bars, at):
    bars = make_bars([100.0, 100.0, 100.0, 80.0, 80.0])
    found = simulate(bars, at(5, 0), at(5), size=1.0, risk={"stop_loss": {"initial": -0.1}}).metrics
    assert found["latency_cost"] == 0.0
    assert "latency_sensitivity" not in found


def test_without_orders_nothing_was_traded(make_bars, at):
    found = simulate(make_bars([100.0, 101.0, 102.0]), at(3), at(3)).metrics
    for name in ("turnover", "fee_sensitivity", "slippage_cost", "latency_cost", "fees"):
        assert found[name] == 0.0
        assert math.copysign(1.0, found[name]) == 1.0, name
    assert "fill_rate" not in found


def test_without_events_what_they_would_say_is_absent(make_bars, at):
    quiet = RunConfig(event_log=False)
    bars = make_bars([100.0, 101.0, 102.0, 99.0])
    loud = simulate(bars, at(4, 0), at(4, 1))
    found = simulate(bars, at(4, 0), at(4, 1), config=quiet)
    missing = {"turnover", "fee_sensitivity", "slippage_cost", "latency_cost", "fill_rate"}
    assert set(loud.metrics) - set(found.metrics) == missing
    assert all(loud.metrics[name] == value for name, value in found.metrics.items())

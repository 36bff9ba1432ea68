"""Latency, slippage, failures and partial fills: each field's effect on one trade, by hand.

Figures are sums of powers of two wherever chance has no part, and compared to the last digit. Where
it has, the draw is looked up under its key, and what follows from it is worked out here.
"""

import math

import numpy as np
import pytest

from research.simulation.chance import (
    FAILURE_STREAM,
    FRACTION_STREAM,
    JITTER_STREAM,
    LATENCY_STREAM,
    PARTIAL_STREAM,
)
from research.simulation.engine import simulate
from research.simulation.sizing import Sizing

DAY_MS = 86_400_000.0
OPENS = [64.0, 65.0, 66.0, 67.0, 68.0, 69.0, 70.0, 71.0]
LONG = len(OPENS)


@pytest.fixture
def entered(make_bars, at):
    """Enter at the close of bar 0 with 16 units, and never leave."""

    def enter(execution, *, seed=0, volume=64.0, size=16.0, exits=(), **more):
        return simulate(
            make_bars(OPENS, volume=volume),
            at(LONG, 0),
            at(LONG, *exits),
            size=size,
            execution=execution,
            seed=seed,
            **more,
        )

    return enter


def first(result, kind):
    """Return the first event of a kind, by names."""
    row = result.events["kind"].tolist().index(kind)
    return {name: column[row].item() for name, column in result.events.items()}


# --- latency ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "latency"),
    [
        (0.0, 0.5, lambda u: 100.0 * u / 0.5),
        (0.5, 0.9, lambda u: 100.0 + 200.0 * (u - 0.5) / 0.4),
        (0.9, 0.99, lambda u: 300.0 + 400.0 * (u - 0.9) / 0.09),
        (0.99, 1.0, lambda u: 700.0 + 400.0 * (u - 0.99) / 0.01),
    ],
    ids=["below p50", "p50 to p90", "p90 to p99", "beyond p99"],
)
def test_latency_lies_on_lines_between_the_percentiles(
    entered, drawn, seed_where, low, high, latency
):
    seed = seed_where(lambda each: low <= drawn(each, LATENCY_STREAM) < high)
    result = entered({"latency": {"p50": 100, "p90": 300, "p99": 700}}, seed=seed)
    # The kernel counts whole nanoseconds.
    by_hand = latency(drawn(seed, LATENCY_STREAM))
    assert first(result, "fill")["latency_ms"] == pytest.approx(by_hand, abs=2e-6)


@pytest.mark.parametrize("percentile", ["p50", "p90", "p99"])
def test_each_percentile_makes_an_order_miss_opens(entered, drawn, seed_where, percentile):
    """Two and a half days where the draw reaches the percentile, nothing below it."""
    values = {"p50": 0.0, "p90": 0.0, "p99": 0.0}
    for name in ("p50", "p90", "p99")[("p50", "p90", "p99").index(percentile) :]:
        values[name] = 2.5 * DAY_MS
    edge = {"p50": 0.5, "p90": 0.9, "p99": 0.99}[percentile]
    late = seed_where(lambda each: drawn(each, LATENCY_STREAM) >= edge)
    fill = first(entered({"latency": values}, seed=late), "fill")
    # Decided at bar 0, on its way for two and a half days at least: bar 3 is the first behind.
    if percentile == "p50":
        assert (fill["bar"], fill["price"], fill["latency_ms"]) == (3, 67.0, 2.5 * DAY_MS)
    else:
        assert fill["bar"] >= 3
        assert fill["price"] == OPENS[fill["bar"]]
    assert fill["reference_price"] == 65.0
    if percentile != "p50":
        before = {"p90": 0.5, "p99": 0.9}[percentile]
        prompt = seed_where(lambda each: drawn(each, LATENCY_STREAM) < before)
        assert first(entered({"latency": values}, seed=prompt), "fill")["bar"] == 1


def test_latency_that_ends_at_an_open_fills_there(entered, drawn, seed_where):
    day = {"latency": {"p50": DAY_MS, "p90": DAY_MS, "p99": DAY_MS}}
    seed = seed_where(lambda each: 0.5 <= drawn(each, LATENCY_STREAM) < 0.99)
    assert first(entered(day, seed=seed), "fill")["bar"] == 1
    longer = {"latency": dict.fromkeys(("p50", "p90", "p99"), DAY_MS + 1)}
    assert first(entered(longer, seed=seed), "fill")["bar"] == 2


def test_jitter_moves_the_latency_to_either_side(entered, drawn, seed_where):
    latency = {"p50": 100.0, "p90": 100.0, "p99": 100.0, "jitter": 50.0}
    for holds in (lambda u: u < 0.25, lambda u: u > 0.75):
        seed = seed_where(
            lambda each, holds=holds: (
                drawn(each, LATENCY_STREAM) >= 0.5 and holds(drawn(each, JITTER_STREAM))
            )
        )
        by_hand = 100.0 + 50.0 * (2.0 * drawn(seed, JITTER_STREAM) - 1.0)
        found = first(entered({"latency": latency}, seed=seed), "fill")["latency_ms"]
        assert found == pytest.approx(by_hand, abs=2e-6)
        assert (found > 100.0) == holds(0.9)


def test_jitter_never_takes_a_latency_below_zero(entered, drawn, seed_where):
    seed = seed_where(lambda each: drawn(each, JITTER_STREAM) < 0.25)
    assert first(entered({"latency": {"jitter": 50.0}}, seed=seed), "fill")["latency_ms"] == 0.0


def test_exit_is_late_as_well(entered, drawn, seed_where):
    day = {"latency": dict.fromkeys(("p50", "p90", "p99"), 1.5 * DAY_MS)}
    seed = seed_where(
        lambda each: all(0.5 <= drawn(each, LATENCY_STREAM, n) < 0.99 for n in (0, 1))
    )
    result = entered(day, seed=seed, exits=(3,))
    # Bar 0 and a day and a half: bar 2. Bar 3 likewise: bar 5.
    assert result.trades["entry_bar"].tolist() == [2]
    assert result.trades["exit_bar"].tolist() == [5]
    assert result.trades["pnl"].tolist() == [16.0 * (69.0 - 66.0)]


def test_order_under_way_at_the_end_has_no_bar(entered):
    long = {"latency": {"p50": 1e10, "p90": 1e10, "p99": 1e10}}
    result = entered(long, seed=1)
    assert result.events["kind"].tolist() == ["order", "rejected"]
    assert result.events["reason"].tolist() == ["signal", "no_next_bar"]
    assert result.events["quantity"].tolist() == [16.0, 16.0]
    assert len(result.trades["trade_id"]) == 0


# --- slippage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slippage", "fraction"),
    [
        ({"base": 1 / 64}, 1 / 64),
        ({"base": 1 / 64, "kind": "fixed"}, 1 / 64),
        # 16 units of a volume of 64 are a quarter of it.
        ({"volume_impact": 1 / 8}, 1 / 32),
        ({"base": 1 / 64, "volume_impact": 1 / 8}, 3 / 64),
        ({"volume_impact": 1 / 8, "kind": "square_root"}, 1 / 16),
        ({"volume_impact": 1 / 256, "impact_of": "units"}, 1 / 16),
        ({"volume_impact": 1 / 64, "impact_of": "units", "kind": "square_root"}, 1 / 16),
        ({"base": 1 / 64, "volume_impact": 1 / 8, "max": 1 / 32}, 1 / 32),
        ({"volume_impact": 1e6}, 0.99),
    ],
)
def test_slippage_by_hand(entered, slippage, fraction):
    result = entered({"slippage": slippage}, exits=(3,))
    assert result.trades["entry_price"].tolist() == [65.0 * (1.0 + fraction)]
    assert result.trades["exit_price"].tolist() == [68.0 * (1.0 - fraction)]
    fills = result.events["kind"] == "fill"
    assert result.events["slippage"][fills].tolist() == [fraction, fraction]
    assert result.events["reference_price"][fills].tolist() == [65.0, 68.0]


def test_impact_is_of_the_volume_of_the_bar_that_fills(entered):
    half, whole = (
        entered({"slippage": {"volume_impact": 1 / 8}}, volume=volume).trades["entry_price"][0]
        for volume in (128.0, 64.0)
    )
    assert (half, whole) == (65.0 * (1 + 1 / 64), 65.0 * (1 + 1 / 32))


def test_budget_pays_for_its_own_impact(entered):
    # A budget of 1040 buys 16 at 65; with the impact of 16 of 64, 1/32, less: 1040 / (65 * 33/32).
    # Of that smaller order the impact is smaller too, so not all of the budget is spent.
    result = entered({"slippage": {"volume_impact": 1 / 8}}, size=Sizing(kind="cash", value=1040.0))
    quantity, price = result.trades["quantity"][0], result.trades["entry_price"][0]
    assert quantity == pytest.approx(1040.0 / (65.0 * 33 / 32), rel=1e-14)
    assert price == pytest.approx(65.0 * (1.0 + quantity / 64.0 / 8.0), rel=1e-14)
    assert quantity * price <= 1040.0


# --- failures -----------------------------------------------------------------------------------


def fails_until(drawn, rate, count, number=0):
    """Return whether just the first so many attempts of an order fail, for a seed."""

    def holds(seed):
        draws = [drawn(seed, FAILURE_STREAM, number, attempt) for attempt in range(count + 1)]
        return all(draw < rate for draw in draws[:count]) and draws[count] >= rate

    return holds


def test_base_rate_of_one_fails_always(entered):
    result = entered({"failures": {"base_rate": 1.0}})
    assert result.events["kind"].tolist() == ["order", "failed"]
    assert result.events["reason"].tolist() == ["signal", "failure"]
    assert result.events["fee"].tolist() == [0.0, 0.0]
    assert result.equity.tolist() == [1e6] * LONG


def test_attempt_fails_where_its_draw_is_below_the_rate(entered, drawn):
    for seed in range(20):
        kinds = entered({"failures": {"base_rate": 0.5}}, seed=seed).events["kind"].tolist()
        assert kinds == ["order", "failed" if drawn(seed, FAILURE_STREAM) < 0.5 else "fill"]


@pytest.mark.parametrize(
    ("volume", "multiplier", "rate"),
    [
        (64.0, 3.0, 0.25 * (1 + 2 / 4)),  # a quarter of the volume
        (16.0, 3.0, 0.25 * 3),  # all of it
        (4.0, 3.0, 0.25 * 3),  # more than all counts as all
        (16.0, 0.0, 0.0),  # the larger, the safer
    ],
)
def test_congestion_by_hand(entered, drawn, volume, multiplier, rate):
    failures = {"base_rate": 0.25, "congestion_multiplier": multiplier}
    found = []
    for seed in range(40):
        kinds = entered({"failures": failures}, seed=seed, volume=volume).events["kind"].tolist()
        found.append(kinds[1] == "failed")
        assert found[-1] == (drawn(seed, FAILURE_STREAM) < rate)
    assert any(found) == (rate > 0.0)


@pytest.mark.parametrize(
    ("backoff", "bars"), [(0, [1, 2, 3, 4]), (1, [1, 2, 4, 8]), (2, [1, 3, 7, 15])]
)
def test_retries_back_off_twice_as_far_each_time(make_bars, at, drawn, seed_where, backoff, bars):
    seed = seed_where(fails_until(drawn, 0.5, 3))
    failures = {"base_rate": 0.5, "retries": 3, "backoff_bars": backoff}
    result = simulate(
        make_bars([64.0] * 20), at(20, 0), at(20), execution={"failures": failures}, seed=seed
    )
    assert result.events["kind"].tolist() == ["order", "failed", "failed", "failed", "fill"]
    assert result.events["bar"].tolist() == [0, *bars]


def test_entry_that_has_failed_for_good_is_gone(entered, drawn, seed_where):
    seed = seed_where(fails_until(drawn, 0.5, 2))
    one, two = (
        entered({"failures": {"base_rate": 0.5, "retries": retries}}, seed=seed)
        for retries in (1, 2)
    )
    assert one.events["kind"].tolist() == ["order", "failed", "failed"]
    assert one.events["trade_id"].tolist() == [-1, -1, -1]
    assert two.events["kind"].tolist() == ["order", "failed", "failed", "fill"]
    # Its attempts belong to the trade that came of them.
    assert two.events["trade_id"].tolist() == [0, 0, 0, 0]


def test_position_stays_where_an_exit_has_failed_for_good(entered, drawn, seed_where):
    seed = seed_where(
        lambda each: drawn(each, FAILURE_STREAM) >= 0.5 and drawn(each, FAILURE_STREAM, 1) < 0.5
    )
    result = entered({"failures": {"base_rate": 0.5}}, seed=seed, exits=(3,))
    assert result.events["kind"].tolist() == ["order", "fill", "order", "failed"]
    assert result.trades["exit_reason"].tolist() == ["open"]
    assert result.equity[-1] == 1e6 + 16.0 * 6.0


# --- partial fills ------------------------------------------------------------------------------


def test_part_of_an_entry_by_hand(entered, drawn, seed_where):
    seed = seed_where(lambda each: drawn(each, PARTIAL_STREAM) < 0.5)
    partly = {"probability": 0.5, "fill_range": (0.25, 0.75)}
    result = entered({"partial_fills": partly}, seed=seed)
    part = 16.0 * (0.25 + 0.5 * drawn(seed, FRACTION_STREAM))
    assert result.events["kind"].tolist() == ["order", "partial", "cancelled"]
    assert result.events["reason"].tolist() == ["signal", "signal", "partial_fill"]
    assert result.events["quantity"].tolist() == [16.0, part, 16.0 - part]
    assert result.trades["quantity"].tolist() == [part]
    assert result.equity[-1] == pytest.approx(1e6 + part * 6.0, rel=1e-15)


def test_probability_says_how_many(entered, drawn):
    for probability in (0.25, 0.75):
        partly = {"probability": probability, "fill_range": (0.5, 0.5)}
        for seed in range(30):
            result = entered({"partial_fills": partly}, seed=seed)
            is_part = drawn(seed, PARTIAL_STREAM) < probability
            assert result.trades["quantity"].tolist() == [8.0 if is_part else 16.0]


def test_what_is_left_of_an_exit_is_tried_at_the_next_open(entered, drawn, seed_where):
    # The entry whole; of the exit a half, of the rest a half, of that rest all.
    def holds(seed):
        draws = [drawn(seed, PARTIAL_STREAM, 1, attempt) for attempt in range(3)]
        return drawn(seed, PARTIAL_STREAM) >= 0.5 and max(draws[:2]) < 0.5 <= draws[2]

    partly = {"partial_fills": {"probability": 0.5, "fill_range": (0.5, 0.5)}}
    result = entered(partly, seed=seed_where(holds), exits=(3,), costs={"fixed_fee": 1.0})
    assert result.events["kind"].tolist()[2:] == ["order", "partial", "partial", "fill"]
    assert result.events["bar"].tolist()[2:] == [3, 4, 5, 6]
    assert result.events["quantity"].tolist()[2:] == [16.0, 8.0, 4.0, 4.0]
    assert result.trades["exit_bar"].tolist() == [6]
    # 8 at 68, 4 at 69, 4 at 70: 1100 in all; bought for 16 at 65, 1040; four fills at 1.0.
    assert result.trades["exit_price"].tolist() == [1100.0 / 16.0]
    assert result.trades["fees"].tolist() == [4.0]
    assert result.trades["pnl"].tolist() == [1100.0 - 1040.0 - 4.0]


def test_volume_share_bounds_entries_and_exits(entered):
    # A quarter of 32 is 8 of the 16 that are asked; the exit sells 8 at once.
    result = entered({"partial_fills": {"volume_share": 0.25}}, volume=32.0, exits=(3,))
    assert result.events["kind"].tolist() == ["order", "partial", "cancelled", "order", "fill"]
    assert result.events["reason"].tolist()[2] == "volume_share"
    assert result.events["quantity"].tolist() == [16.0, 8.0, 8.0, 8.0, 8.0]


def test_volume_share_spreads_an_exit_over_bars(make_bars, at):
    bars = make_bars(OPENS, volume=64.0)
    bars["volume"][4:] = 24.0
    result = simulate(
        bars, at(LONG, 0), at(LONG, 3), size=16.0,
        execution={"partial_fills": {"volume_share": 0.25}},
    )  # fmt: skip
    # A quarter of 24 is 6: 6 at 68, 6 at 69, 4 at 70.
    assert result.events["quantity"].tolist()[2:] == [16.0, 6.0, 6.0, 4.0]
    assert result.trades["exit_price"].tolist() == [(6 * 68.0 + 6 * 69.0 + 4 * 70.0) / 16.0]


# --- each of them changes the outcome -----------------------------------------------------------


@pytest.mark.parametrize(
    "execution",
    [
        {"latency": {"p50": DAY_MS * 3, "p90": DAY_MS * 3, "p99": DAY_MS * 3}},
        {"latency": {"p90": DAY_MS * 9, "p99": DAY_MS * 9}},
        {"latency": {"p99": DAY_MS * 90}},
        {"latency": {"jitter": DAY_MS * 3}},
        {"slippage": {"base": 0.001}},
        {"slippage": {"volume_impact": 0.001}},
        {"slippage": {"volume_impact": 0.001, "impact_of": "units"}},
        {"slippage": {"volume_impact": 0.001, "kind": "square_root"}},
        {"failures": {"base_rate": 0.5}},
        {"failures": {"base_rate": 0.1, "congestion_multiplier": 10.0}},
        {"failures": {"base_rate": 0.5, "retries": 2}},
        {"failures": {"base_rate": 0.5, "retries": 2, "backoff_bars": 4}},
        {"partial_fills": {"probability": 0.5, "fill_range": (0.5, 0.9)}},
        {"partial_fills": {"volume_share": 0.05}},
    ],
    ids=str,
)
def test_switching_it_on_changes_the_outcome(make_bars, at, execution):
    prices = [64.0 * (1.0 + 0.05 * math.sin(bar)) for bar in range(200)]
    bars = make_bars(prices, volume=64.0)
    signals = (at(200, *range(0, 200, 10)), at(200, *range(5, 200, 10)))
    off = simulate(bars, *signals, size=16.0, seed=3)
    on = simulate(bars, *signals, size=16.0, seed=3, execution=execution)
    assert not np.array_equal(off.equity, on.equity)
    again = simulate(bars, *signals, size=16.0, seed=3, execution=execution)
    assert again.equity.tobytes() == on.equity.tobytes()

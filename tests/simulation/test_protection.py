"""Stops, the ladder and the time limit: each field's effect on one trade, by hand.

Prices, fractions and fees are sums of powers of two, so every figure is exact.
"""

import numpy as np
import pytest

from research.simulation.chance import LATENCY_STREAM
from research.simulation.engine import simulate

FLAT = [64.0] * 8


@pytest.fixture
def held(make_bars, at):
    """Hold 16 units, long or short, from the open of bar 1 at 64, under a risk model."""

    def hold(risk, *, opens=FLAT, closes=None, highs=None, lows=None, is_short=False, **more):
        bars = make_bars(opens, closes, highs=highs, lows=lows, volume=64.0)
        count = len(opens)
        exits = at(count, *more.pop("exits", ()))
        if is_short:
            signals = {"short_entries": at(count, 0), "short_exits": exits}
            return simulate(bars, at(count), at(count), **signals, size=16.0, risk=risk, **more)
        return simulate(bars, at(count, 0), exits, size=16.0, risk=risk, **more)

    return hold


def outcome(result):
    """Return how the one trade ended: bar, price, reason."""
    trades = result.trades
    return trades["exit_bar"][0], trades["exit_price"][0], trades["exit_reason"][0]


def changed(values, **at_bars):
    """Return a list with other values at some bars: `b3=48.0`."""
    new = list(values)
    for bar, value in at_bars.items():
        new[int(bar[1:])] = value
    return new


# --- the initial stop ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "ends"),
    [(48.0, (3, 48.0, "stop_loss")), (48.0000001, (-1, np.nan, "open")), (1.0, (3, 48.0,
     "stop_loss"))],
)  # fmt: skip
def test_initial_stop_is_met_where_the_low_reaches_it(held, low, ends):
    result = held({"stop_loss": {"initial": -0.25}}, lows=changed(FLAT, b3=low))
    assert outcome(result) == pytest.approx(ends, nan_ok=True)


def test_initial_stop_of_a_short_lies_above(held):
    result = held({"stop_loss": {"initial": -0.25}}, highs=changed(FLAT, b3=80.0), is_short=True)
    assert outcome(result) == (3, 80.0, "stop_loss")
    assert result.trades["pnl"].tolist() == [-256.0]


def test_gap_through_the_stop_fills_at_the_open(held):
    opens = changed(FLAT, b3=32.0)
    result = held({"stop_loss": {"initial": -0.25}}, opens=opens)
    assert outcome(result) == (3, 32.0, "stop_loss")
    opens = changed(FLAT, b3=128.0)
    result = held({"stop_loss": {"initial": -0.25}}, opens=opens, is_short=True)
    assert outcome(result) == (3, 128.0, "stop_loss")


def test_stop_may_be_met_in_the_bar_of_the_entry(held):
    result = held({"stop_loss": {"initial": -0.25}}, lows=changed(FLAT, b1=32.0))
    assert outcome(result) == (1, 48.0, "stop_loss")


def test_stop_is_measured_from_the_slipped_entry_and_slips_itself(held):
    # In at 64 * 1.25 = 80; three quarters of that, 60; out at 60 * 0.75 = 45.
    result = held(
        {"stop_loss": {"initial": -0.25}},
        lows=changed(FLAT, b3=60.0),
        execution={"slippage": {"base": 0.25}},
    )
    assert outcome(result) == (3, 45.0, "stop_loss")
    assert result.events["reference_price"][-1] == 60.0
    assert result.events["slippage"][-1] == 0.25


def test_stop_has_no_latency_and_does_not_fail(held):
    late = dict.fromkeys(("p50", "p90", "p99"), 86_400_000.0)
    execution = {"latency": late, "partial_fills": {"volume_share": 0.25}}
    risk = {"stop_loss": {"initial": -0.25}}
    result = held(risk, lows=changed(FLAT, b4=32.0), execution=execution)
    assert outcome(result) == (4, 48.0, "stop_loss")
    assert result.events["latency_ms"][-1] == 0.0


def test_stop_voids_an_exit_that_is_under_way(held, drawn, seed_where):
    # The entry takes less than a day, the exit twelve.
    latency = dict.fromkeys(("p50", "p90", "p99"), 1e9)
    seed = seed_where(
        lambda each: drawn(each, LATENCY_STREAM) < 0.04 and drawn(each, LATENCY_STREAM, 1) > 0.5
    )
    result = held(
        {"stop_loss": {"initial": -0.25}},
        lows=changed(FLAT, b4=32.0),
        exits=(2,),
        execution={"latency": latency},
        seed=seed,
    )
    assert result.events["kind"].tolist() == ["order", "fill", "order", "fill", "cancelled"]
    assert result.events["reason"].tolist()[3:] == ["stop_loss", "position_closed"]
    assert result.events["trade_id"].tolist() == [0] * 5
    assert outcome(result) == (4, 48.0, "stop_loss")


# --- the trailing stop --------------------------------------------------------------------------


def test_trailing_stop_follows_the_best_price_of_the_bars_before(held):
    # The high of bar 2 is 128: from bar 3 on the stop lies at 96.
    # Not within bar 2: its low may have come before its high.
    opens = [64.0, 64.0, 64.0, 120.0, 120.0, 120.0]
    result = held(
        {"stop_loss": {"trailing": -0.25}},
        opens=opens,
        highs=[64.0, 64.0, 128.0, 120.0, 120.0, 120.0],
        lows=[64.0, 64.0, 56.0, 120.0, 90.0, 120.0],
    )
    assert outcome(result) == (4, 96.0, "trailing_stop")


def test_trailing_stop_holds_from_the_entry_on(held):
    result = held({"stop_loss": {"trailing": -0.25}}, lows=changed(FLAT, b1=40.0))
    assert outcome(result) == (1, 48.0, "trailing_stop")


def test_trailing_stop_of_a_short_follows_the_lowest(held):
    opens = [64.0, 64.0, 64.0, 36.0, 36.0, 36.0]
    result = held(
        {"stop_loss": {"trailing": -0.25}},
        opens=opens,
        lows=[64.0, 64.0, 32.0, 36.0, 36.0, 36.0],
        highs=[64.0, 64.0, 64.0, 36.0, 48.0, 36.0],
        is_short=True,
    )
    assert outcome(result) == (4, 40.0, "trailing_stop")


@pytest.mark.parametrize(
    ("best", "ends"),
    [(96.0, (4, 72.0, "trailing_stop")), (95.875, (-1, np.nan, "open"))],
)
def test_activation_is_a_distance_from_the_entry(held, best, ends):
    # Half above the entry, 96, wakes the stop; a hair less leaves it asleep.
    result = held(
        {"stop_loss": {"trailing": -0.25, "activation": 0.5}},
        opens=[64.0, 64.0, 64.0, 88.0, 88.0, 88.0, 88.0, 88.0],
        highs=[64.0, 64.0, best] + [88.0] * 5,
        lows=[64.0, 64.0, 64.0, 88.0, 70.0, 88.0, 88.0, 88.0],
    )
    assert outcome(result) == pytest.approx(ends, nan_ok=True)


def test_the_nearer_of_two_stops_is_met(held):
    both = {"stop_loss": {"initial": -0.125, "trailing": -0.25}}
    assert outcome(held(both, lows=changed(FLAT, b3=32.0))) == (3, 56.0, "stop_loss")
    result = held(
        both,
        opens=[64.0, 64.0, 64.0, 120.0, 120.0],
        highs=[64.0, 64.0, 128.0, 120.0, 120.0],
        lows=[64.0, 64.0, 64.0, 90.0, 120.0],
    )
    assert outcome(result) == (3, 96.0, "trailing_stop")


# --- the ladder ---------------------------------------------------------------------------------

LADDER = {
    "take_profit": [
        {"multiple": 1.25, "fraction": 0.25},
        {"multiple": 1.5, "fraction": 0.5},
        {"multiple": 2.0, "fraction": 0.25},
    ]
}


def test_legs_sell_their_part_of_what_was_entered(held, rows):
    highs = [64.0, 64.0, 80.0, 95.0, 96.0, 127.0, 128.0, 64.0]
    result = held(LADDER, highs=highs)
    assert rows(result.events, "bar", "kind", "quantity", "price", "reason")[2:] == [
        (2, "partial", 4.0, 80.0, "take_profit"),
        (4, "partial", 8.0, 96.0, "take_profit"),
        (6, "fill", 4.0, 128.0, "take_profit"),
    ]
    # 4 * 80 + 8 * 96 + 4 * 128 = 1600, for 16 at 64: on average at 100.
    assert outcome(result) == (6, 100.0, "take_profit")
    assert result.trades["quantity"].tolist() == [16.0]
    assert result.trades["pnl"].tolist() == [576.0]


def test_one_bar_may_go_through_several_legs(held, rows):
    result = held(LADDER, highs=changed(FLAT, b3=200.0))
    assert rows(result.events, "bar", "quantity", "price")[2:] == [
        (3, 4.0, 80.0),
        (3, 8.0, 96.0),
        (3, 4.0, 128.0),
    ]
    assert outcome(result) == (3, 100.0, "take_profit")


def test_gap_over_legs_fills_at_the_open(held, rows):
    result = held(LADDER, opens=changed(FLAT, b3=112.0))
    assert rows(result.events, "bar", "quantity", "price")[2:] == [(3, 4.0, 112.0), (3, 8.0, 112.0)]


def test_ladder_of_less_than_all_leaves_the_rest_open(held):
    risk = {"take_profit": [{"multiple": 1.5, "fraction": 0.75}]}
    result = held(risk, highs=changed(FLAT, b2=96.0, b4=96.0))
    # 12 sold at 96; 4 are still worth 64 each.
    assert outcome(result) == pytest.approx((-1, np.nan, "open"), nan_ok=True)
    assert result.trades["pnl"].tolist() == [12 * 32.0]
    assert result.equity[-1] == 1e6 + 384.0


def test_legs_of_a_short_lie_below(held, rows):
    # As far below 64 as the multiples are above 1: 48, 32, and 0, which no price reaches.
    result = held(LADDER, lows=changed(FLAT, b2=48.0, b3=30.0), is_short=True)
    assert rows(result.events, "bar", "side", "quantity", "price")[2:] == [
        (2, "buy", 4.0, 48.0),
        (3, "buy", 8.0, 32.0),
    ]


def test_target_does_not_slip(held):
    risk = {"take_profit": [{"multiple": 1.5, "fraction": 1.0}]}
    result = held(risk, highs=changed(FLAT, b3=128.0), execution={"slippage": {"base": 0.25}})
    # In at 80, so the target is 120.
    assert outcome(result) == (3, 120.0, "take_profit")
    assert result.events["slippage"].tolist() == [0.0, 0.25, 0.0]


def test_stop_beats_the_target_within_one_bar(held):
    risk = {"stop_loss": {"initial": -0.25}, "take_profit": [{"multiple": 1.5, "fraction": 1.0}]}
    result = held(risk, highs=changed(FLAT, b3=128.0), lows=changed(FLAT, b3=32.0))
    assert outcome(result) == (3, 48.0, "stop_loss")


@pytest.mark.parametrize(
    ("opened", "fills"),
    [
        (128.0, [(3, 4.0, 128.0), (3, 8.0, 128.0), (3, 4.0, 128.0)]),
        (112.0, [(3, 4.0, 112.0), (3, 8.0, 112.0), (3, 4.0, 48.0)]),
        (79.0, [(3, 16.0, 48.0)]),
    ],
)
def test_open_beyond_a_target_meets_it_before_the_stop(held, rows, opened, fills):
    risk = {**LADDER, "stop_loss": {"initial": -0.25}}
    result = held(risk, opens=changed(FLAT, b3=opened), lows=changed(FLAT, b3=32.0))
    assert rows(result.events, "bar", "quantity", "price")[2:] == fills


def test_open_beyond_a_target_of_a_short_meets_it_before_the_stop(held, rows):
    risk = {**LADDER, "stop_loss": {"initial": -0.25}}
    result = held(risk, opens=changed(FLAT, b3=40.0), highs=changed(FLAT, b3=100.0), is_short=True)
    assert rows(result.events, "bar", "quantity", "price")[2:] == [(3, 4.0, 40.0), (3, 12.0, 80.0)]


def test_a_stop_that_cannot_be_paid_is_no_target(held, rows):
    # 16 at 4 and a fee of 50 leave nothing. At 3 the stop brings 48, less than its fee.
    risk = {"stop_loss": {"initial": -0.25}, "take_profit": [{"multiple": 1.5, "fraction": 1.0}]}
    opens = [4.0] * 8
    result = held(
        risk,
        opens=opens,
        highs=changed(opens, b3=8.0, b5=8.0),
        lows=changed(opens, b3=2.0),
        cash=114.0,
        costs={"fixed_fee": 50.0},
    )
    assert rows(result.events, "bar", "kind", "price", "reason")[2:] == [
        (3, "rejected", 3.0, "insufficient_cash"),
        (5, "fill", 6.0, "take_profit"),
    ]


def test_stop_sells_what_the_ladder_has_left(held, rows):
    result = held(
        {**LADDER, "stop_loss": {"initial": -0.25}},
        highs=changed(FLAT, b2=96.0),
        lows=changed(FLAT, b4=40.0),
    )
    assert rows(result.events, "bar", "kind", "quantity", "price", "reason")[4:] == [
        (4, "fill", 4.0, 48.0, "stop_loss")
    ]
    assert outcome(result) == (4, (4 * 80.0 + 8 * 96.0 + 4 * 48.0) / 16.0, "stop_loss")


def test_signal_sells_what_the_ladder_has_left(held, rows):
    result = held(LADDER, highs=changed(FLAT, b2=80.0), exits=(3,))
    assert rows(result.events, "bar", "kind", "quantity")[3:] == [
        (3, "order", 12.0),
        (4, "fill", 12.0),
    ]


# --- the time limit -----------------------------------------------------------------------------


@pytest.mark.parametrize("bars", [1, 2, 5])
def test_time_limit_counts_the_bar_of_the_entry(held, bars):
    # In at the open of bar 1: the close that ends so many bars is that of bar `bars`.
    assert outcome(held({"time_limit": {"bars": bars}})) == (bars + 1, 64.0, "time_limit")


@pytest.mark.parametrize(("hours", "bar"), [(24.0, 3), (24.1, 4), (48.0, 4)])
def test_time_limit_in_hours_is_between_the_times_of_bars(held, hours, bar):
    assert outcome(held({"time_limit": {"hours": hours}})) == (bar, 64.0, "time_limit")


def test_the_earlier_of_two_time_limits_counts(held):
    assert outcome(held({"time_limit": {"bars": 5, "hours": 24.0}}))[0] == 3
    assert outcome(held({"time_limit": {"bars": 2, "hours": 240.0}}))[0] == 3


# --- each of them changes the outcome -----------------------------------------------------------


@pytest.mark.parametrize(
    ("risk", "without"),
    [
        ({"stop_loss": {"initial": -0.25}}, {}),
        ({"stop_loss": {"trailing": -0.25}}, {}),
        (
            {"stop_loss": {"trailing": -0.25, "activation": 2.0}},
            {"stop_loss": {"trailing": -0.25}},
        ),
        ({"take_profit": [{"multiple": 1.25, "fraction": 0.5}]}, {}),
        (
            {"take_profit": [{"multiple": 1.25, "fraction": 0.75}]},
            {"take_profit": [{"multiple": 1.25, "fraction": 0.5}]},
        ),
        (
            {"take_profit": [*LADDER["take_profit"][:2], {"multiple": 1.75, "fraction": 0.25}]},
            {"take_profit": LADDER["take_profit"][:2]},
        ),
        ({"time_limit": {"bars": 2}}, {}),
        ({"time_limit": {"hours": 24.0}}, {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_short", [False, True], ids=["long", "short"])
def test_switching_it_on_changes_the_outcome(held, risk, without, is_short):
    up = [64.0, 64.0, 100.0, 130.0, 90.0, 40.0, 70.0, 66.0]
    down = [64.0, 64.0, 40.0, 16.0, 30.0, 90.0, 60.0, 62.0]
    opens = down if is_short else up
    off, on = (held(each, opens=opens, is_short=is_short) for each in (without, risk))
    assert not np.array_equal(off.equity, on.equity)

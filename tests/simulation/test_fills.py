"""Orders and fills against figures worked out by hand.

The prices, fractions and fees are sums of powers of two, so every figure is exact and is compared
with ==, to the last digit.
"""

import numpy as np
import pytest

from research.simulation.costs import CostModel
from research.simulation.engine import simulate
from research.simulation.execution import ExecutionModel
from research.simulation.sizing import Sizing

SLIPPED = ExecutionModel(slippage={"base": 1 / 64})
RATE_64TH = CostModel(taker_fee_bps=10_000 / 64)

OPENS = [64.0, 64.0, 128.0, 128.0, 128.0, 64.0]
CLOSES = [64.0, 96.0, 128.0, 112.0, 96.0, 64.0]


def columns(table, *names):
    return [tuple(row) for row in zip(*(table[name].tolist() for name in names), strict=True)]


def test_round_trip_with_slippage_and_fees(make_bars, at):
    result = simulate(
        make_bars(OPENS, CLOSES),
        at(6, 0),
        at(6, 2),
        size=16.0,
        cash=2000.0,
        execution=SLIPPED,
        costs=RATE_64TH,
    )
    # Buys at 64 * 65/64 = 65: 1040, fee 16.25. Sells at 128 * 63/64 = 126: 2016, fee 31.5.
    assert {name: column.tolist() for name, column in result.trades.items()} == {
        "trade_id": [0],
        "entry_bar": [1],
        "exit_bar": [3],
        "side": ["long"],
        "quantity": [16.0],
        "entry_price": [65.0],
        "exit_price": [126.0],
        "fees": [47.75],
        "pnl": [928.25],
        "exit_reason": ["signal"],
    }
    assert result.equity.tolist() == [2000.0, 2479.75, 2991.75, 2928.25, 2928.25, 2928.25]
    assert result.exposure.tolist() == [0.0, 1536 / 2479.75, 2048 / 2991.75, 0.0, 0.0, 0.0]
    assert result.drawdown.tolist() == [0.0, 0.0, 0.0] + [(2991.75 - 2928.25) / 2991.75] * 3


def test_events_tell_the_round_trip_order_by_order(make_bars, at):
    bars = make_bars(OPENS, CLOSES)
    result = simulate(
        bars, at(6, 0), at(6, 2), size=16.0, cash=2000.0, execution=SLIPPED, costs=RATE_64TH
    )
    events = result.events
    assert columns(events, "event_id", "trade_id", "bar", "kind", "side", "reason") == [
        (0, 0, 0, "order", "buy", "signal"),
        (1, 0, 1, "fill", "buy", "signal"),
        (2, 0, 2, "order", "sell", "signal"),
        (3, 0, 3, "fill", "sell", "signal"),
    ]
    assert events["quantity"].tolist() == [16.0] * 4
    assert columns(events, "price", "fee", "slippage")[1::2] == [
        (65.0, 16.25, 1 / 64),
        (126.0, 31.5, 1 / 64),
    ]
    assert np.isnan(events["price"][0::2]).all()
    assert columns(events, "fee", "slippage")[0::2] == [(0.0, 0.0), (0.0, 0.0)]
    assert events["at_ns"].tolist() == bars["at_ns"][[0, 1, 2, 3]].tolist()
    assert events["latency_ms"].tolist() == [0.0] * 4
    # The market at the open, before slippage; an order does not know it.
    assert events["reference_price"][1::2].tolist() == [64.0, 128.0]
    assert np.isnan(events["reference_price"][0::2]).all()


def test_open_position_stays_open_and_is_marked_at_the_last_close(make_bars, at):
    result = simulate(
        make_bars(OPENS, CLOSES),
        at(6, 1),
        at(6),
        size=8.0,
        cash=2000.0,
        execution=SLIPPED,
        costs=RATE_64TH,
    )
    # Buys at 128 * 65/64 = 130: 1040, fee 16.25. The last close is 64: worth 512, no exit's costs.
    trades = result.trades
    assert columns(trades, "entry_bar", "exit_bar", "exit_reason", "fees", "pnl") == [
        (2, -1, "open", 16.25, -544.25)
    ]
    assert np.isnan(trades["exit_price"]).all()
    assert result.equity[-1] == 2000.0 - 544.25
    assert result.metrics["trade_count"] == 1
    assert "hit_rate" not in result.metrics


def test_max_caps_the_slippage(make_bars, at):
    model = ExecutionModel(slippage={"base": 0.5, "max": 1 / 64})
    result = simulate(make_bars(OPENS), at(6, 0), at(6), size=1.0, execution=model)
    assert result.trades["entry_price"].tolist() == [65.0]
    assert result.events["slippage"].tolist() == [0.0, 1 / 64]


@pytest.mark.parametrize(
    ("costs", "fee"),
    [
        (CostModel(fixed_fee=3.0), 3.0),
        (CostModel(minimum_fee=5.0), 5.0),
        (CostModel(fixed_fee=3.0, minimum_fee=5.0), 5.0),
        (CostModel(fixed_fee=3.0, taker_fee_bps=10_000 / 64), 3.0 + 16.0),
        (CostModel(fixed_fee=3.0, taker_fee_bps=10_000 / 64, minimum_fee=18.0), 19.0),
        (CostModel(fixed_fee=3.0, taker_fee_bps=10_000 / 64, minimum_fee=20.0), 20.0),
    ],
)
def test_fee_of_an_order(make_bars, at, costs, fee):
    result = simulate(make_bars(OPENS), at(6, 0), at(6), size=16.0, costs=costs)
    assert result.events["fee"].tolist() == [0.0, fee]
    assert result.metrics["fees"] == fee


def test_each_side_pays_the_fixed_fee(make_bars, at):
    costs = CostModel(fixed_fee=3.0)
    result = simulate(make_bars(OPENS), at(6, 0), at(6, 1), size=1.0, costs=costs)
    assert result.trades["fees"].tolist() == [6.0]
    assert result.trades["pnl"].tolist() == [64.0 - 6.0]


def test_entry_in_a_position_and_exit_while_flat_are_ignored(make_bars, at):
    result = simulate(make_bars(OPENS), at(6, 1, 2, 3), at(6, 0, 4), size=1.0)
    assert columns(result.trades, "entry_bar", "exit_bar") == [(2, 5)]
    assert len(result.events["event_id"]) == 4


def test_both_signals_while_flat_enter(make_bars, at):
    result = simulate(make_bars(OPENS), at(6, 0), at(6, 0), size=1.0)
    assert columns(result.trades, "entry_bar", "exit_bar") == [(1, -1)]


def test_both_signals_in_a_position_exit_and_do_not_reenter(make_bars, at):
    result = simulate(make_bars(OPENS), at(6, 0, 2), at(6, 2), size=1.0)
    assert columns(result.trades, "entry_bar", "exit_bar") == [(1, 3)]


def test_both_signals_on_every_bar_alternate(make_bars, at):
    every = at(6, *range(6))
    result = simulate(make_bars(OPENS), every, every, size=1.0)
    assert columns(result.trades, "entry_bar", "exit_bar") == [(1, 2), (3, 4), (5, -1)]
    assert result.exposure[[2, 4]].tolist() == [0.0, 0.0]


def test_signal_at_the_close_of_the_fill_bar_acts_at_the_next_open(make_bars, at):
    result = simulate(make_bars(OPENS), at(6, 0), at(6, 1), size=1.0)
    assert columns(result.trades, "entry_bar", "exit_bar") == [(1, 2)]


@pytest.mark.parametrize("bar_count", [2, 3])
def test_entry_on_the_last_bar_is_recorded_and_not_filled(make_bars, at, bar_count):
    last = bar_count - 1
    result = simulate(make_bars(OPENS[:bar_count]), at(bar_count, last), at(bar_count))
    assert columns(result.events, "trade_id", "bar", "kind", "side", "quantity", "reason") == [
        (-1, last, "order", "buy", 10.0, "signal"),
        (-1, last, "rejected", "buy", 10.0, "no_next_bar"),
    ]
    assert np.isnan(result.events["price"]).all()
    assert len(result.trades["trade_id"]) == 0
    assert result.equity.tolist() == [1_000_000.0] * bar_count


def test_exit_on_the_last_bar_leaves_the_trade_open(make_bars, at):
    result = simulate(make_bars(OPENS), at(6, 0), at(6, 5), size=1.0)
    assert columns(result.trades, "exit_bar", "exit_reason") == [(-1, "open")]
    assert columns(result.events, "trade_id", "kind", "reason")[2:] == [
        (0, "order", "signal"),
        (0, "rejected", "no_next_bar"),
    ]


def test_entry_that_the_cash_cannot_pay_is_rejected_whole(make_bars, at):
    # 16 at 65 and a fee of 16.25 are 1056.25: a hair less is not enough, and nothing is bought.
    bars = make_bars(OPENS)
    short = simulate(
        bars, at(6, 0), at(6), size=16.0, cash=1056.0, execution=SLIPPED, costs=RATE_64TH
    )
    assert columns(short.events, "trade_id", "bar", "kind", "quantity", "fee", "reason") == [
        (-1, 0, "order", 16.0, 0.0, "signal"),
        (-1, 1, "rejected", 16.0, 0.0, "insufficient_cash"),
    ]
    assert short.events["price"][1] == 65.0
    assert short.equity.tolist() == [1056.0] * 6
    exact = simulate(
        bars, at(6, 0), at(6), size=16.0, cash=1056.25, execution=SLIPPED, costs=RATE_64TH
    )
    assert exact.equity[1] == 16.0 * 64.0


def test_rejected_entry_leaves_no_gap_in_the_trade_ids(make_bars, at):
    bars = make_bars([64.0, 64.0, 64.0, 8.0, 8.0, 8.0])
    result = simulate(bars, at(6, 0, 2), at(6), size=16.0, cash=1000.0)
    assert result.events["trade_id"].tolist() == [-1, -1, 0, 0]
    assert result.trades["trade_id"].tolist() == [0]


def test_exit_whose_fee_cannot_be_paid_is_rejected_and_tried_again(make_bars, at):
    bars = make_bars([64.0, 64.0, 1.0, 64.0, 64.0])
    result = simulate(
        bars,
        at(5, 0),
        at(5, 1, 2),
        size=Sizing(kind="equity_fraction", value=1.0),
        cash=640.0,
        costs=CostModel(fixed_fee=64.0),
    )
    # Nine units for 576 and 64 of fee leave nothing; at 1.0 they would bring 9 less 64.
    assert columns(result.events, "trade_id", "bar", "kind", "quantity", "fee", "reason") == [
        (0, 0, "order", pytest.approx(np.nan, nan_ok=True), 0.0, "signal"),
        (0, 1, "fill", 9.0, 64.0, "signal"),
        (0, 1, "order", 9.0, 0.0, "signal"),
        (0, 2, "rejected", 9.0, 0.0, "insufficient_cash"),
        (0, 2, "order", 9.0, 0.0, "signal"),
        (0, 3, "fill", 9.0, 64.0, "signal"),
    ]
    assert result.equity.tolist() == [640.0, 576.0, 9.0, 512.0, 512.0]


@pytest.mark.parametrize(
    ("sizing", "quantity", "cash_left"),
    [
        (Sizing(value=16.0), 16.0, 2080.0 - 1056.25),
        (Sizing(kind="cash", value=1056.25), 16.0, 2080.0 - 1056.25),
        (Sizing(kind="equity_fraction", value=0.5), 1040.0 / (65.0 + 65 / 64), 1040.0),
        (Sizing(kind="equity_fraction", value=1.0), 2080.0 / (65.0 + 65 / 64), 0.0),
    ],
)
def test_size_of_an_entry(make_bars, at, sizing, quantity, cash_left):
    result = simulate(
        make_bars(OPENS),
        at(6, 0),
        at(6),
        size=sizing,
        cash=2080.0,
        execution=SLIPPED,
        costs=RATE_64TH,
    )
    assert result.trades["quantity"][0] == pytest.approx(quantity, rel=1e-14)
    cash = result.equity[1] - result.trades["quantity"][0] * 64.0
    assert cash == pytest.approx(cash_left, abs=1e-9)


def test_order_of_a_budget_does_not_know_its_quantity(make_bars, at):
    sizing = Sizing(kind="cash", value=1000.0)
    result = simulate(make_bars(OPENS), at(6, 0), at(6, 1), size=sizing)
    assert np.isnan(result.events["quantity"]).tolist() == [True, False, False, False]


def test_budget_takes_the_minimum_fee_off_where_that_binds(make_bars, at):
    sizing = Sizing(kind="cash", value=1000.0)
    costs = CostModel(taker_fee_bps=1.0, minimum_fee=40.0)
    result = simulate(make_bars(OPENS), at(6, 0), at(6), size=sizing, costs=costs)
    assert result.trades["quantity"].tolist() == [15.0]


@pytest.mark.parametrize("kind", ["cash", "equity_fraction"])
def test_budget_that_the_fees_eat_buys_nothing(make_bars, at, kind):
    sizing = Sizing(kind=kind, value=0.5)
    costs = CostModel(fixed_fee=2.0)
    result = simulate(make_bars(OPENS), at(6, 0), at(6), size=sizing, cash=4.0, costs=costs)
    assert columns(result.events, "kind", "reason")[1] == ("rejected", "insufficient_cash")
    assert result.events["quantity"][1] == 0.0


def test_cash_budget_beyond_the_cash_is_rejected(make_bars, at):
    sizing = Sizing(kind="cash", value=1001.0)
    result = simulate(make_bars(OPENS), at(6, 0), at(6), size=sizing, cash=1000.0)
    assert columns(result.events, "kind", "reason")[1] == ("rejected", "insufficient_cash")


def test_no_signals_leave_the_account_alone(make_bars, at):
    result = simulate(make_bars(OPENS), at(6), at(6), cash=500.0)
    assert result.equity.tolist() == [500.0] * 6
    assert result.exposure.tolist() == [0.0] * 6
    assert {len(column) for column in (*result.trades.values(), *result.events.values())} == {0}

"""Sizes, long and short, and positions that turn around at one open: by hand."""

import math

import numpy as np
import pytest

from research.simulation.chance import FAILURE_STREAM, LATENCY_STREAM
from research.simulation.engine import simulate
from research.simulation.portfolio import simulate_portfolio
from research.simulation.sizing import Sizing

FLAT = [64.0] * 6
STOP = {"stop_loss": {"initial": -0.25}}


@pytest.fixture
def entered(make_bars, at):
    """Enter at the open of bar 1, long or short, at 64."""

    def enter(size, *, is_short=False, cash=2048.0, opens=FLAT, **more):
        count = len(opens)
        entries, nothing = at(count, 0), at(count)
        if is_short:
            return simulate(
                make_bars(opens), nothing, nothing, short_entries=entries, size=size, cash=cash,
                **more,
            )  # fmt: skip
        return simulate(make_bars(opens), entries, nothing, size=size, cash=cash, **more)

    return enter


@pytest.mark.parametrize("is_short", [False, True], ids=["long", "short"])
@pytest.mark.parametrize(
    ("kind", "value", "quantity"),
    [
        ("units", 8.0, 8.0),
        ("cash", 1024.0, 16.0),
        ("equity_fraction", 0.25, 8.0),
        ("equity_fraction", 1.0, 32.0),
        # A stop a quarter away loses 16 a unit; 1/16 of 2048 is 128.
        ("risk", 1 / 16, 8.0),
        # All of the equity at risk were 128 units; the cash buys 32.
        ("risk", 1.0, 32.0),
    ],
)
def test_size_by_hand(entered, is_short, kind, value, quantity):
    result = entered(Sizing(kind=kind, value=value), is_short=is_short, risk=STOP)
    assert result.trades["quantity"].tolist() == [quantity]
    assert result.trades["side"].tolist() == ["short" if is_short else "long"]
    assert result.equity.tolist() == [2048.0] * 6
    # Both are counted by their worth.
    assert result.exposure.tolist() == [0.0] + [quantity * 64.0 / 2048.0] * 5


def test_bare_number_is_units(entered):
    assert entered(8).trades["quantity"].tolist() == [8.0]


def test_risk_of_a_size_is_lost_at_the_stop(entered):
    result = entered(Sizing(kind="risk", value=1 / 16), opens=[64.0, 64.0, 48.0, 48.0], risk=STOP)
    assert result.trades["exit_reason"].tolist() == ["stop_loss"]
    assert result.trades["pnl"].tolist() == [-128.0]


def test_equity_fraction_is_of_the_equity_at_the_fill(make_bars, at):
    bars = make_bars([64.0, 64.0, 128.0, 128.0, 128.0, 128.0])
    result = simulate(
        bars, at(6, 0, 3), at(6, 1), size=Sizing(kind="equity_fraction", value=0.5), cash=2048.0
    )
    # 16 bought at 64 and sold at 128 make 3072; a half of it buys 12 at 128.
    assert result.trades["quantity"].tolist() == [16.0, 12.0]


@pytest.mark.parametrize("kind", ["units", "cash", "equity_fraction", "risk"])
@pytest.mark.parametrize("is_short", [False, True], ids=["long", "short"])
def test_another_size_is_another_outcome(entered, kind, is_short):
    opens = [64.0, 64.0, 60.0, 68.0]
    low, high = (
        entered(Sizing(kind=kind, value=value), is_short=is_short, opens=opens, risk=STOP)
        for value in (1 / 16, 1 / 8)
    )
    assert high.trades["pnl"][0] == pytest.approx(2.0 * low.trades["pnl"][0], rel=1e-12)
    assert low.trades["pnl"][0] != 0.0


# --- short --------------------------------------------------------------------------------------


def test_short_round_trip_by_hand(make_bars, at, rows):
    bars = make_bars([64.0, 64.0, 32.0, 32.0, 32.0])
    result = simulate(
        bars, at(5), at(5), short_entries=at(5, 0), short_exits=at(5, 2), size=16.0, cash=2000.0,
        execution={"slippage": {"base": 1 / 64}}, costs={"taker_fee_bps": 10_000 / 64},
    )  # fmt: skip
    # Sold at 64 * 63/64 = 63: 1008, fee 15.75. Bought back at 32 * 65/64 = 32.5: 520, fee 8.125.
    assert rows(
        result.trades, "side", "entry_bar", "exit_bar", "entry_price", "exit_price", "fees", "pnl"
    ) == [("short", 1, 3, 63.0, 32.5, 23.875, 464.125)]
    assert rows(result.events, "kind", "side", "quantity") == [
        ("order", "sell", 16.0),
        ("fill", "sell", 16.0),
        ("order", "buy", 16.0),
        ("fill", "buy", 16.0),
    ]
    # Cash 2992.25 after the sale, less what it would take to buy back.
    assert result.equity.tolist() == [2000.0, 1968.25, 2480.25, 2464.125, 2464.125]


def test_short_needs_its_worth_in_cash(entered):
    assert entered(32.0, is_short=True).trades["quantity"].tolist() == [32.0]
    result = entered(32.0625, is_short=True)
    assert result.events["reason"].tolist() == ["signal", "insufficient_cash"]
    assert result.equity.tolist() == [2048.0] * 6


IMPACT = {"slippage": {"base": 1 / 64, "volume_impact": 1 / 64, "impact_of": "units"}}


@pytest.mark.parametrize(
    "case",
    [
        {"size": 32.0, "risk": {"max_position": 0.25}},
        {"size": 32.0, "risk": {"max_exposure": 0.25}},
        {"size": Sizing(kind="cash", value=512.0)},
        {"size": Sizing(kind="equity_fraction", value=0.25)},
        {"size": 8.0, "risk": {"max_position": 0.25}, "volume": 32.0},
    ],
    ids=str,
)
def test_a_short_made_smaller_sells_dearer_and_keeps_its_limit(make_bars, at, rows, case):
    """The impact of a short lowers its price: sized by that, it would be worth more than allowed."""
    limits = dict(case)
    bars = make_bars(FLAT, volume=limits.pop("volume", 512.0))
    result = simulate(
        bars, at(6), at(6), short_entries=at(6, 0), cash=2048.0,
        execution={**IMPACT, "partial_fills": {"volume_share": 0.125}}, **limits,
    )  # fmt: skip
    # By the open, 512 is worth 8; what is sold is worth less, by the impact of so many.
    ((quantity, price),) = rows(result.trades, "quantity", "entry_price")
    assert quantity == (4.0 if "volume" in case else 8.0)
    assert price == 64.0 * (1.0 - 1 / 64 - quantity / 64)


def test_shorts_that_share_the_cash_keep_within_it(make_bars, at):
    bars = {name: make_bars(FLAT) for name in ("alpha", "beta")}
    result = simulate_portfolio(
        bars, {}, {}, short_entries={name: at(6, 0) for name in bars},
        size=24.0, cash=2048.0, execution=IMPACT, costs={"taker_fee_bps": 100.0},
    )  # fmt: skip
    trades = result.trades
    assert len(trades["trade_id"]) == 2
    notional = float((trades["quantity"] * trades["entry_price"]).sum())
    free = 2048.0 - notional - float(trades["fees"].sum())
    assert free >= 0.0


def test_exit_of_the_other_side_is_ignored(make_bars, at):
    bars = make_bars(FLAT)
    long = simulate(bars, at(6, 0), at(6), short_exits=at(6, 2), size=1.0)
    assert long.trades["exit_reason"].tolist() == ["open"]
    short = simulate(bars, at(6), at(6, 2), short_entries=at(6, 0), size=1.0)
    assert short.trades["exit_reason"].tolist() == ["open"]


def test_short_that_is_lost_is_covered_whatever_it_leaves(make_bars, at):
    # 31 sold at 64; at 192 that is a loss of twice what was there: all is closed, and no more.
    bars = make_bars([64.0, 64.0, 192.0, 192.0, 192.0])
    result = simulate(bars, at(5, 3), at(5), short_entries=at(5, 0), size=31.0, cash=2048.0)
    assert result.trades["exit_reason"].tolist() == ["bankrupt"]
    assert result.equity.tolist() == [2048.0, 2048.0, -1920.0, -1920.0, -1920.0]
    assert result.events["reason"].tolist()[-1] == "halted"


# --- turning around -----------------------------------------------------------------------------


def turned(make_bars, at, opens=(64.0, 64.0, 80.0, 80.0, 40.0, 40.0), **more):
    """Long from bar 1; at the close of bar 2 out of it and short; at that of bar 4 back."""
    count = len(opens)
    return simulate(
        make_bars(opens), at(count, 0, 4), at(count, 2),
        short_entries=at(count, 2), short_exits=at(count, 4), size=16.0, **more,
    )  # fmt: skip


def test_position_turns_around_at_one_open(make_bars, at, rows):
    result = turned(make_bars, at, costs={"fixed_fee": 1.0})
    assert rows(result.trades, "side", "entry_bar", "exit_bar", "pnl") == [
        ("long", 1, 3, 256.0 - 2.0),
        ("short", 3, 5, 640.0 - 2.0),
        ("long", 5, -1, -1.0),
    ]
    assert rows(result.events, "trade_id", "bar", "kind", "side")[2:6] == [
        (0, 2, "order", "sell"),
        (1, 2, "order", "sell"),
        (0, 3, "fill", "sell"),
        (1, 3, "fill", "sell"),
    ]
    assert result.equity[-1] == 1e6 + 254.0 + 638.0 - 1.0


def test_opposite_entry_without_the_exit_does_not_turn(make_bars, at):
    bars = make_bars(FLAT)
    result = simulate(bars, at(6, 0), at(6), short_entries=at(6, 2), size=1.0)
    assert result.trades["side"].tolist() == ["long"]


def test_turn_waits_for_its_own_latency(make_bars, at, drawn, seed_where, rows):
    latency = dict.fromkeys(("p50", "p90", "p99"), 1.5 * 86_400_000.0)

    def holds(seed):
        first, second, third = (drawn(seed, LATENCY_STREAM, number) for number in range(3))
        return max(first, second) < 0.3 and 0.5 <= third < 0.99

    result = turned(make_bars, at, execution={"latency": latency}, seed=seed_where(holds))
    assert rows(result.trades, "side", "entry_bar")[:2] == [("long", 1), ("short", 4)]
    assert result.trades["exit_bar"][0] == 3


def test_turn_whose_exit_never_fills_is_cancelled(make_bars, at, drawn, seed_where, rows):
    seed = seed_where(
        lambda each: drawn(each, FAILURE_STREAM) >= 0.5 and drawn(each, FAILURE_STREAM, 1) < 0.5
    )
    result = turned(make_bars, at, execution={"failures": {"base_rate": 0.5}}, seed=seed)
    assert rows(result.events, "trade_id", "bar", "kind", "quantity", "reason")[2:] == [
        (0, 2, "order", 16.0, "signal"),
        (-1, 2, "order", 16.0, "signal"),
        (0, 3, "failed", 16.0, "failure"),
        (-1, 3, "cancelled", 16.0, "failure"),
    ]


def test_turn_that_a_stop_forestalls_is_cancelled(make_bars, at, rows):
    day = {"latency": dict.fromkeys(("p50", "p90", "p99"), 1e9)}
    bars = make_bars(FLAT, lows=[64.0, 64.0, 64.0, 64.0, 32.0, 64.0])
    results = [
        simulate(
            bars,
            at(6, 0),
            at(6, 2),
            short_entries=at(6, 2),
            size=16.0,
            risk=STOP,
            execution=day,
            seed=seed,
        )
        for seed in range(200)
    ]
    found = [
        rows(each.events, "trade_id", "bar", "kind", "reason")[-3:]
        for each in results
        if each.trades["exit_reason"].tolist() == ["stop_loss"]
        and "cancelled" in each.events["kind"]
    ]
    assert found
    assert all(
        each == [
            (0, 4, "fill", "stop_loss"),
            (0, 4, "cancelled", "position_closed"),
            (-1, 4, "cancelled", "position_closed"),
        ]
        for each in found
    )  # fmt: skip


def test_turn_on_the_last_bar_has_no_bar(make_bars, at, rows):
    result = simulate(make_bars([64.0] * 4), at(4, 0), at(4, 3), short_entries=at(4, 3), size=16.0)
    assert rows(result.events, "trade_id", "kind", "reason")[2:] == [
        (0, "order", "signal"),
        (-1, "order", "signal"),
        (0, "rejected", "no_next_bar"),
        (-1, "rejected", "no_next_bar"),
    ]


def test_order_of_a_budget_knows_no_quantity(entered):
    for kind, value in (("cash", 64.0), ("equity_fraction", 0.5), ("risk", 0.125)):
        result = entered(Sizing(kind=kind, value=value), risk=STOP)
        assert math.isnan(result.events["quantity"][0])
        assert np.isfinite(result.events["quantity"][1])

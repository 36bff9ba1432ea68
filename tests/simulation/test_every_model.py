"""What holds with every model switched on, for one asset and for several that share the cash."""

import math
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.simulation import slots

YEAR_NS = 31_557_600 * 10**9
FILLS = ("fill", "partial")


def listed(table):
    """Return the rows of a table, each by the names of the columns."""
    names = list(table)
    return [
        dict(zip(names, row, strict=True))
        for row in zip(*(table[name].tolist() for name in names), strict=True)
    ]


def borrowed(market, held, closes, bar, last_bar, asset):
    """Return what a short position costs from the asset's bar before to this one, by its close."""
    if held >= 0.0 or bar == 0 or math.isnan(market.opens[asset, bar]):
        return 0.0
    elapsed = int(market.at_ns[bar] - market.at_ns[last_bar])
    rate = market.costs.borrow_bps_per_year / 10_000.0
    return -held * closes * rate * elapsed / YEAR_NS


def walk(market):
    """Rebuild the account from the events alone; yield each bar's cash, positions and borrowing."""
    events, _, played = market.tables()
    by_bar = defaultdict(list)
    for event in listed(events):
        if event["kind"] in FILLS:
            by_bar[event["bar"]].append(event)
    count = len(market.assets)
    cash, held, closes, last_bar, total = (
        market.cash,
        [0.0] * count,
        [0.0] * count,
        [0] * count,
        0.0,
    )
    for bar in range(len(market.at_ns)):
        for asset in range(count):
            cost = borrowed(market, held[asset], closes[asset], bar, last_bar[asset], asset)
            cash, total = cash - cost, total + cost
        for event in by_bar[bar]:
            sign = 1.0 if event["side"] == "buy" else -1.0
            cash -= sign * event["quantity"] * event["price"] + event["fee"]
            held[event["asset"]] += sign * event["quantity"]
            if abs(held[event["asset"]]) < 1e-9 * event["quantity"]:
                held[event["asset"]] = 0.0
        for asset in range(count):
            if not math.isnan(market.closes[asset, bar]):
                closes[asset], last_bar[asset] = market.closes[asset, bar], bar
        worth = [units * close for units, close in zip(held, closes, strict=True)]
        yield bar, cash, worth, total, played


@given(data=st.data())
def test_cash_and_positions_rebuilt_from_the_events_make_the_equity(any_market, data):
    market = data.draw(any_market)
    for bar, cash, worth, _, played in walk(market):
        near = 1e-9 * (market.cash + math.fsum(abs(each) for each in worth))
        equity = cash + math.fsum(worth)
        assert played.equity[bar] == pytest.approx(equity, abs=near)
        assert played.held[bar] == sum(each != 0.0 for each in worth)
        if equity > near:
            gross = math.fsum(abs(each) for each in worth)
            assert played.exposure[bar] == pytest.approx(gross / equity, rel=1e-6)


@given(data=st.data())
def test_profits_and_fees_add_up(any_market, data):
    market = data.draw(any_market)
    events, trades, played = market.tables()
    near = 1e-9 * (market.cash + math.fsum(trades["quantity"] * trades["entry_price"]))
    change = played.equity[-1] - market.cash
    assert math.fsum(trades["pnl"]) == pytest.approx(change, abs=near)
    *_, (_, _, _, total, _) = walk(market)
    paid = math.fsum(events["fee"]) + total
    assert math.fsum(trades["fees"]) == pytest.approx(paid, abs=near)
    is_filled = np.isin(events["kind"], FILLS)
    assert (events["fee"][~is_filled] == 0.0).all()


@given(data=st.data())
def test_whoever_only_buys_never_owes(any_market, data):
    market = data.draw(any_market)
    longs = market.signals & (slots.ENTER_LONG | slots.EXIT_LONG)
    for _, cash, worth, _, _ in walk(replace(market, signals=longs)):
        assert cash >= -1e-9 * market.cash
        assert all(each >= 0.0 for each in worth)


@given(data=st.data())
def test_each_trade_is_its_fills(any_market, data):
    market = data.draw(any_market)
    events, trades, _ = market.tables()
    by_trade = defaultdict(list)
    for event in listed(events):
        if event["kind"] in FILLS:
            by_trade[event["trade_id"]].append(event)
    found = listed(trades)
    assert sorted(by_trade) == [trade["trade_id"] for trade in found] == list(range(len(found)))
    for trade in found:
        entry, *exits = by_trade[trade["trade_id"]]
        assert {event["asset"] for event in (entry, *exits)} == {trade["asset"]}
        assert (entry["bar"], entry["quantity"], entry["price"]) == (
            trade["entry_bar"], trade["quantity"], trade["entry_price"],
        )  # fmt: skip
        assert entry["side"] == ("buy" if trade["side"] == "long" else "sell")
        assert all(event["side"] != entry["side"] for event in exits)
        sold = math.fsum(event["quantity"] for event in exits)
        if trade["exit_bar"] == -1:
            assert sold < trade["quantity"]
            continue
        assert sold == pytest.approx(trade["quantity"], rel=1e-12)
        assert (exits[-1]["bar"], exits[-1]["reason"]) == (trade["exit_bar"], trade["exit_reason"])
        average = math.fsum(each["quantity"] * each["price"] for each in exits) / sold
        assert trade["exit_price"] == pytest.approx(average, rel=1e-12)


@given(data=st.data())
def test_no_fill_outside_its_bar_but_for_slippage(any_market, data):
    market = data.draw(any_market)
    events, _, _ = market.tables()
    most = market.execution.slippage.max
    for event in listed(events):
        if event["kind"] not in FILLS:
            continue
        asset, bar = event["asset"], event["bar"]
        sign = 1.0 if event["side"] == "buy" else -1.0
        price = event["price"] / (1.0 + sign * event["slippage"])
        assert market.lows[asset, bar] <= price * (1.0 + 1e-12)
        assert price * (1.0 - 1e-12) <= market.highs[asset, bar]
        assert 0.0 <= event["slippage"] <= most
        if event["reason"] == "take_profit":
            assert event["slippage"] == 0.0
        if event["reason"] not in ("stop_loss", "trailing_stop", "take_profit"):
            assert price == pytest.approx(market.opens[asset, bar], rel=1e-12)


@given(data=st.data())
def test_quantities_never_exceed_what_was_ordered(any_market, data):
    market = data.draw(any_market)
    events, _, _ = market.tables()
    share = market.execution.partial_fills.volume_share
    rests = ("stop_loss", "trailing_stop", "take_profit")
    whole = {}
    for event in listed(events):
        asset = event["asset"]
        is_entry = event["kind"] in FILLS and event["trade_id"] not in whole
        if is_entry:
            whole[event["trade_id"]] = event["quantity"]
            if market.sizing.kind == "units":
                assert event["quantity"] <= market.sizing.amount
        elif event["kind"] in FILLS and event["reason"] != "take_profit":
            assert event["quantity"] <= whole[event["trade_id"]]
        if event["kind"] in FILLS and event["reason"] not in rests:
            volume = market.volumes[asset, event["bar"]]
            assert event["quantity"] <= share * volume * (1.0 + 1e-12)


@given(data=st.data())
def test_nothing_is_sold_that_is_not_held_and_no_leg_sells_more_than_its_part(any_market, data):
    market = data.draw(any_market)
    events, _, _ = market.tables()
    parts = np.cumsum([leg.fraction for leg in market.risk.take_profit])
    held, whole, by_ladder = {}, {}, defaultdict(float)
    for event in listed(events):
        trade, quantity = event["trade_id"], event["quantity"]
        if event["kind"] not in FILLS:
            continue
        if trade not in held:
            held[trade] = whole[trade] = quantity
            continue
        assert quantity <= held[trade] * (1.0 + 1e-12)
        held[trade] -= quantity
        if event["reason"] == "take_profit":
            by_ladder[trade] += quantity
            assert by_ladder[trade] <= whole[trade] * parts[-1] * (1.0 + 1e-9)


@given(data=st.data())
def test_one_trade_at_a_time_for_each_asset(any_market, data):
    market = data.draw(any_market)
    _, trades, _ = market.tables()
    for asset in range(len(market.assets)):
        mine = [trade for trade in listed(trades) if trade["asset"] == asset]
        for before, after in pairwise(mine):
            # A position may turn around at one open, and then from long to short or back.
            assert 0 <= before["exit_bar"] <= after["entry_bar"]
            if before["exit_bar"] == after["entry_bar"]:
                assert before["side"] != after["side"]


@given(data=st.data())
def test_every_order_has_one_end(any_market, data):
    """An order fills, is rejected, cancelled or has failed for good; only its end ends it."""
    market = data.draw(any_market)
    events, _, _ = market.tables()
    resting = ("stop_loss", "trailing_stop", "take_profit")
    for asset in range(len(market.assets)):
        mine = [event for event in listed(events) if event["asset"] == asset]
        chosen = [event for event in mine if event["reason"] not in resting]
        assert (sum(event["kind"] == "order" for event in chosen)) == ends_of(
            chosen, market.execution.failures.retries
        )


def ends_of(events, retries):
    """Count the ends of orders among the events of one asset."""
    ends, failures, entered = 0, 0, set()
    for event in events:
        if event["kind"] == "order":
            failures = 0
        elif event["kind"] == "failed":
            failures += 1
            ends += failures == retries + 1
        elif event["kind"] == "partial" and event["trade_id"] not in entered:
            entered.add(event["trade_id"])  # an entry: what is left is cancelled
        elif event["kind"] == "fill":
            entered.add(event["trade_id"])
            failures, ends = 0, ends + 1
        elif event["kind"] in ("rejected", "cancelled"):
            ends += 1
    return ends


@settings(max_examples=200)
@given(data=st.data())
def test_no_decision_sees_the_future(any_market, data):
    """Change every bar and signal behind one: what stood up to it stands."""
    market = data.draw(any_market)
    count = len(market.at_ns)
    other = data.draw(
        any_market.filter(
            lambda each: len(each.at_ns) >= count and len(each.assets) >= len(market.assets)
        )
    )
    last = data.draw(st.integers(0, count - 2))
    trimmed = {
        name: getattr(other, name)[: len(market.assets), :count]
        for name in ("opens", "highs", "lows", "closes", "volumes", "signals")
    }
    changed = market.with_future_of(type(other)(**{**vars(other), **trimmed}), last)
    first, second = market.tables(), changed.tables()
    for name in ("equity", "exposure", "held"):
        series = [getattr(played, name)[: last + 1].tobytes() for _, _, played in (first, second)]
        assert series[0] == series[1]
    seen = [past(*tables, last) for tables in (first, second)]
    assert seen[0] == seen[1]


def past(events, trades, played, last):
    """Return all that was known at a close, as values that compare bit by bit."""
    is_seen = events["bar"] <= last
    rows = {name: column[is_seen] for name, column in events.items()}
    # An order has a trade once it fills, which may be at an open still to come.
    entered = trades["entry_bar"]
    rows["trade_id"] = np.array(
        [each if each >= 0 and entered[each] <= last else -1 for each in rows["trade_id"]], int
    )
    is_over = (trades["exit_bar"] >= 0) & (trades["exit_bar"] <= last)
    ended = {name: column[is_over] for name, column in trades.items()}
    return [(name, column.tobytes()) for table in (rows, ended) for name, column in table.items()]


def test_markets_reach_what_they_are_for(any_market):
    """Every kind of event and every reason that a model gives comes up in the markets above."""
    kinds, reasons = set(), set()

    @settings(max_examples=600)
    @given(data=st.data())
    def collect(data):
        events, _, _ = data.draw(any_market).tables()
        kinds.update(events["kind"].tolist())
        reasons.update(events["reason"].tolist())

    collect()
    assert kinds == {"order", "fill", "partial", "failed", "rejected", "cancelled"}
    expected = {
        "signal", "stop_loss", "trailing_stop", "take_profit", "time_limit", "max_drawdown",
        "max_daily_loss", "no_next_bar", "failure", "partial_fill", "volume_share", "halted",
        "throttled", "cooldown", "max_entries", "limit", "position_closed", "consecutive_losses",
        "insufficient_cash",
    }  # fmt: skip
    assert reasons - {"bankrupt"} == expected
    assert slots.LOSSES_IN_A_ROW == 19  # the last of the reasons: none is forgotten above

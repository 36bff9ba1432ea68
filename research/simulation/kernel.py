"""The loop over bars: what happens at an open, within a bar, and at its close.

Owns the order of things. In the subset that a compiler takes; `compiled` makes the fast one of the
same source, bit for bit. At each time, over all assets, in the order of their names:

    1. borrow costs since the bar before; then orders that are due fill at the open: exits first,
       and what they free is there for the entries
    2. stops and targets within the bar
    3. the account at the close; the limits that stop trading
    4. decisions at the close: time limit, signals. Their orders fill at the next open or later

A price that is NaN is a bar that the asset has not.
"""

import math
from typing import Any

from research.simulation.attempts import asked_units, drop_reversal
from research.simulation.decisions import decide, is_spent
from research.simulation.desk import Desk, Series
from research.simulation.entries import fill_entries
from research.simulation.exits import fill_exits
from research.simulation.notes import note_end, write_trade
from research.simulation.positions import charge
from research.simulation.protection import protect, touches
from research.simulation.slots import (
    ACCOUNT_CASH,
    ACCOUNT_DAY_START,
    ACCOUNT_EQUITY,
    ACCOUNT_PEAK,
    ASSET_SLOTS,
    BANKRUPT,
    BORROW_RATE,
    BUY,
    CANCELLED,
    CASH,
    DAILY_LOSS,
    DAY,
    DRAWDOWN,
    GAIN_BAR,
    HALT_REASON,
    HELD,
    HOLD_BARS_MAX,
    HOLD_NS_MAX,
    LAST_BAR,
    LAST_CLOSE,
    LAST_EXIT_OWN_BAR,
    MAX_DAILY_LOSS,
    MAX_DRAWDOWN,
    NO_NEXT_BAR,
    NONE,
    NUMBER_SLOTS,
    OWN_BAR,
    PENDING,
    PENDING_LEFT,
    PENDING_SIDE,
    POSITION_CLOSED,
    RECEIVED,
    REFUSED_BAR,
    REFUSED_REASON,
    REJECTED,
    SELL,
    SIGNAL,
    SPENT,
    STOP_INITIAL,
    STOP_TRAILING,
    TRADE,
)
from research.simulation.units import DAY_NS


def run(desk: Desk, signals: Any) -> None:
    """Trade signals over bars; write events, trades, and the account at each close.

    Shapes: signals (A * T,) of bits.
    """
    bars, p, account, count = desk.bars, desk.p, desk.account, desk.count
    pos, num, legs, series = desk.pos, desk.num, desk.legs, desk.series
    opens, highs, lows, closes = bars.open, bars.high, bars.low, bars.close
    bar_count, asset_count = len(bars.at_ns), len(desk.keys)
    begin(desk)
    is_guarded = p[STOP_INITIAL] < 0.0 or p[STOP_TRAILING] < 0.0 or len(legs) > 0
    is_charged = p[BORROW_RATE] > 0.0
    is_limited = p[HOLD_BARS_MAX] < math.inf or p[HOLD_NS_MAX] < math.inf
    for bar in range(bar_count):
        now = bars.at_ns[bar]
        if p[MAX_DAILY_LOSS] < math.inf:
            begin_day(account, count, now // DAY_NS)
        # Looked at here and not within: most bars have no order, and a call costs more.
        waiting = leaving = 0
        for asset in range(asset_count):
            is_pending = num[asset * NUMBER_SLOTS + PENDING] != 0
            held = pos[asset * ASSET_SLOTS + HELD]
            if held == 0.0:
                waiting += is_pending
            elif is_pending or (is_charged and held < 0.0):
                leaving += 1
        if leaving > 0:
            waiting += leave(desk, bar)
        if waiting > 0:
            fill_entries(desk, bar)
        if is_guarded:
            touched = 0
            for asset in range(asset_count):
                place = asset * bar_count + bar
                opened, high, low = opens[place], highs[place], lows[place]
                touched += touches(p, legs, pos, num, asset, opened, high, low)
            if touched > 0:
                guard(desk, bar)
        mark(closes, account, pos, num, series, asset_count, bar_count, bar)
        limit(p, account, count)
        for asset in range(asset_count):
            signal = signals[asset * bar_count + bar]
            held = pos[asset * ASSET_SLOTS + HELD]
            is_over = count[HALT_REASON] != NONE
            if is_limited and held != 0.0:
                is_over |= is_spent(p, num, asset, bar, now)
            if signal != 0 or (is_over and held != 0.0):
                decide(desk, asset, bar, signal)
        if count[REFUSED_REASON] != NONE:
            return
    end(desk)


def begin(desk: Desk) -> None:
    """Open the account, with nothing held and nothing said."""
    account, count = desk.account, desk.count
    account[ACCOUNT_CASH] = account[ACCOUNT_EQUITY] = desk.p[CASH]
    account[ACCOUNT_PEAK] = account[ACCOUNT_DAY_START] = desk.p[CASH]
    count[HALT_REASON] = count[DAY] = count[GAIN_BAR] = NONE
    count[REFUSED_BAR] = count[REFUSED_REASON] = NONE
    for asset in range(len(desk.keys)):
        desk.num[asset * NUMBER_SLOTS + LAST_EXIT_OWN_BAR] = NONE


def leave(desk: Desk, bar: int) -> int:
    """Charge shorts for what they borrow, then fill exits; return how many entries follow them."""
    if desk.p[BORROW_RATE] > 0.0:
        for asset in range(len(desk.keys)):
            opened = desk.bars.open[asset * len(desk.bars.at_ns) + bar]
            if desk.pos[asset * ASSET_SLOTS + HELD] < 0.0 and opened == opened:
                charge(desk, asset, bar)
    return fill_exits(desk, bar)


def guard(desk: Desk, bar: int) -> None:
    """Hold every position against the bar; an exit under way is void once there is nothing left."""
    pos, num = desk.pos, desk.num
    for asset in range(len(desk.keys)):
        at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
        opened = desk.bars.open[asset * len(desk.bars.at_ns) + bar]
        if pos[at + HELD] == 0.0 or opened != opened:
            continue
        side = SELL if pos[at + HELD] > 0.0 else BUY
        protect(desk, asset, bar)
        if num[n + PENDING] != 0 and pos[at + HELD] == 0.0:
            num[n + PENDING] = 0
            left, trade = pos[at + PENDING_LEFT], num[n + TRADE]
            note_end(desk, asset, bar, trade, CANCELLED, side, POSITION_CLOSED, left)
            drop_reversal(desk, asset, bar, CANCELLED, POSITION_CLOSED)


def mark(
    closes: Any,
    account: Any,
    pos: Any,
    num: Any,
    series: Series,
    asset_count: int,
    bar_count: int,
    bar: int,
) -> None:
    """Value the account at a close."""
    worth = gross = 0.0
    held_count = 0
    for asset in range(asset_count):
        at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
        close = closes[asset * bar_count + bar]
        if close == close:
            pos[at + LAST_CLOSE] = close
            num[n + LAST_BAR] = bar
            num[n + OWN_BAR] += 1
        held = pos[at + HELD]
        if held != 0.0:
            worth += held * pos[at + LAST_CLOSE]
            gross += abs(held) * pos[at + LAST_CLOSE]
            held_count += 1
    equity = account[ACCOUNT_CASH] + worth
    account[ACCOUNT_EQUITY] = equity
    series.equity[bar] = equity
    # A fraction of nothing, or of a debt, is none.
    series.exposure[bar] = gross / equity if equity > 0.0 else math.nan
    series.held[bar] = held_count


def begin_day(account: Any, count: Any, day: int) -> None:
    """Take the last close of the day before (UTC) as the measure of a day's loss."""
    if day != count[DAY]:
        count[DAY] = day
        account[ACCOUNT_DAY_START] = account[ACCOUNT_EQUITY]
        if count[HALT_REASON] == DAILY_LOSS:
            count[HALT_REASON] = NONE


def limit(p: Any, account: Any, count: Any) -> None:
    """Stop trading where the account has lost too much: for good, or for the day."""
    equity = account[ACCOUNT_EQUITY]
    if equity > account[ACCOUNT_PEAK]:
        account[ACCOUNT_PEAK] = equity
    day_least = account[ACCOUNT_DAY_START] * (1.0 - p[MAX_DAILY_LOSS])
    if equity <= 0.0:
        count[HALT_REASON] = BANKRUPT
    elif equity <= account[ACCOUNT_PEAK] * (1.0 - p[MAX_DRAWDOWN]):
        count[HALT_REASON] = DRAWDOWN
    elif count[HALT_REASON] == NONE and equity <= day_least:
        count[HALT_REASON] = DAILY_LOSS


def end(desk: Desk) -> None:
    """Write down what is left: positions stay open and are marked, orders had no bar to fill at."""
    pos, num, last = desk.pos, desk.num, len(desk.bars.at_ns) - 1
    for asset in range(len(desk.keys)):
        at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
        held = pos[at + HELD]
        if num[n + PENDING] != 0:
            is_exit, side = held != 0.0, num[n + PENDING_SIDE]
            left = pos[at + PENDING_LEFT] if is_exit else asked_units(desk.p)
            trade = num[n + TRADE] if is_exit else NONE
            note_end(desk, asset, last, trade, REJECTED, side, NO_NEXT_BAR, left)
            drop_reversal(desk, asset, last, REJECTED, NO_NEXT_BAR)
        if held != 0.0:
            side = BUY if held > 0.0 else SELL
            pnl = pos[at + RECEIVED] + held * pos[at + LAST_CLOSE] - pos[at + SPENT]
            write_trade(desk, asset, NONE, side, SIGNAL, math.nan, pnl)

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
from typing import Any, Final

from research.simulation.decisions import decide, give, is_spent
from research.simulation.entries import fill_entries
from research.simulation.exits import drop_reversal, fill_exit, is_due
from research.simulation.orders import borrow_cost
from research.simulation.positions import note, write_trade
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
    FEES,
    HALT_REASON,
    HELD,
    LAST_BAR,
    LAST_CLOSE,
    LAST_EXIT_BAR,
    LIMIT_BARS,
    LIMIT_NS,
    MAX_DAILY_LOSS,
    MAX_DRAWDOWN,
    NO_NEXT_BAR,
    NONE,
    NUMBER_SLOTS,
    OK,
    PENDING,
    PENDING_FROM,
    PENDING_LATENCY_NS,
    PENDING_LEFT,
    PENDING_REVERSE,
    PENDING_SIDE,
    POSITION_CLOSED,
    RECEIVED,
    REJECTED,
    SELL,
    SIGNAL,
    SIZE_KIND,
    SIZE_VALUE,
    SPENT,
    STATUS,
    STOP_INITIAL,
    STOP_TRAILING,
    TRADE,
    UNITS,
)

DAY_NS: Final = 86_400_000_000_000


def run(
    bars: Any,
    signals: Any,
    keys: Any,
    seed: int,
    p: Any,
    legs: Any,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    recent: Any,
    rows: Any,
    series: Any,
) -> None:
    """Trade signals over bars; write events, trades, and the account at each close.

    Shapes: bars: at_ns (T,), open, high, low, close, volume (A * T,), asset by asset; signals
            (A * T,) of bits; keys (A,); series: equity, exposure, positions held, (T,) each.
    """
    bar_count, asset_count = len(bars[0]), len(keys)
    account[ACCOUNT_CASH] = account[ACCOUNT_EQUITY] = p[CASH]
    account[ACCOUNT_PEAK] = account[ACCOUNT_DAY_START] = p[CASH]
    count[HALT_REASON] = count[DAY] = NONE
    for asset in range(asset_count):
        num[asset * NUMBER_SLOTS + LAST_EXIT_BAR] = NONE
    is_guarded = p[STOP_INITIAL] < 0.0 or p[STOP_TRAILING] < 0.0 or len(legs) > 0
    is_charged = p[BORROW_RATE] > 0.0
    is_limited = p[LIMIT_BARS] < math.inf or p[LIMIT_NS] < math.inf
    for bar in range(bar_count):
        now = bars[0][bar]
        if p[MAX_DAILY_LOSS] < math.inf:
            begin_day(account, count, now // DAY_NS)
        # Looked at here and not within: most bars have no order, and a call costs more.
        waiting = 0
        for asset in range(asset_count):
            place = asset * bar_count + bar
            is_pending = num[asset * NUMBER_SLOTS + PENDING] != 0
            if pos[asset * ASSET_SLOTS + HELD] == 0.0:
                waiting += is_pending
            elif (is_pending or (is_charged and pos[asset * ASSET_SLOTS + HELD] < 0.0)) and (
                bars[1][place] == bars[1][place]
            ):
                open_bar(p, bars, keys, seed, account, count, pos, num, rows, asset, bar, now)
                waiting += num[asset * NUMBER_SLOTS + PENDING] != 0
        if waiting > 0:
            fill_entries(p, bars, keys, seed, account, count, pos, num, recent, rows, bar)
        if is_guarded:
            touched = 0
            for asset in range(asset_count):
                place = asset * bar_count + bar
                opened, high, low = bars[1][place], bars[2][place], bars[3][place]
                touched += touches(p, legs, pos, num, asset, opened, high, low)
            if touched > 0:
                guard(p, legs, bars, account, count, pos, num, rows, asset_count, bar)
        mark(bars, account, pos, num, series, asset_count, bar)
        limit(p, account, count)
        for asset in range(asset_count):
            signal = signals[asset * bar_count + bar]
            held = pos[asset * ASSET_SLOTS + HELD]
            is_over = count[HALT_REASON] != NONE
            if is_limited and held != 0.0:
                is_over |= is_spent(p, num, asset, bar, now)
            if signal != 0 or (is_over and held != 0.0):
                decide(
                    p, keys, seed, account, count, pos, num, recent, rows, asset, bar, now, signal
                )
        if count[STATUS] != OK:
            return
    end(p, account, count, pos, num, rows, asset_count, bar_count)


def open_bar(
    p: Any,
    bars: Any,
    keys: Any,
    seed: int,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    rows: Any,
    asset: int,
    bar: int,
    now: int,
) -> None:
    """Charge a position for what it borrows, and fill its exit if that is due."""
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    if p[BORROW_RATE] > 0.0:
        elapsed = now - bars[0][num[n + LAST_BAR]]
        cost = borrow_cost(p, pos[at + HELD], pos[at + LAST_CLOSE], elapsed)
        account[ACCOUNT_CASH] -= cost
        pos[at + SPENT] += cost
        pos[at + FEES] += cost
    if not is_due(num, asset, bar, now):
        return
    fill_exit(p, bars, keys, seed, account, count, pos, num, rows, asset, bar)
    if pos[at + HELD] == 0.0 and num[n + PENDING_REVERSE] == 1:
        # Decided at the same close as the exit, by the same signal: it fills at this open too.
        side, decided = num[n + PENDING_SIDE], num[n + PENDING_FROM]
        give(p, keys, seed, num, asset, decided, bars[0][decided], side, SIGNAL)
        num[n + PENDING_REVERSE] = 0


def guard(
    p: Any,
    legs: Any,
    bars: Any,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    rows: Any,
    asset_count: int,
    bar: int,
) -> None:
    """Hold every position against the bar; an exit under way is void once there is nothing left."""
    bar_count = len(bars[0])
    for asset in range(asset_count):
        at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
        place = asset * bar_count + bar
        if pos[at + HELD] == 0.0 or bars[1][place] != bars[1][place]:
            continue
        market = (bars[1][place], bars[2][place], bars[3][place], bars[5][place])
        side = SELL if pos[at + HELD] > 0.0 else BUY
        protect(p, legs, account, count, pos, num, rows, asset, bar, market)
        if num[n + PENDING] == 0:
            continue
        if pos[at + HELD] == 0.0:
            num[n + PENDING] = 0
            note(
                rows, count, p,
                (bar, asset, num[n + TRADE], CANCELLED, side, POSITION_CLOSED),
                (
                    pos[at + PENDING_LEFT], math.nan, 0.0, 0.0,
                    num[n + PENDING_LATENCY_NS] / 1e6, math.nan, account[ACCOUNT_CASH],
                ),
            )  # fmt: skip
            drop_reversal(p, account, count, num, rows, asset, bar, CANCELLED, POSITION_CLOSED)


def mark(
    bars: Any, account: Any, pos: Any, num: Any, series: Any, asset_count: int, bar: int
) -> None:
    """Value the account at a close."""
    bar_count = len(bars[0])
    worth = gross = 0.0
    held_count = 0
    for asset in range(asset_count):
        at = asset * ASSET_SLOTS
        close = bars[4][asset * bar_count + bar]
        if close == close:
            pos[at + LAST_CLOSE] = close
            num[asset * NUMBER_SLOTS + LAST_BAR] = bar
        held = pos[at + HELD]
        if held != 0.0:
            worth += held * pos[at + LAST_CLOSE]
            gross += abs(held) * pos[at + LAST_CLOSE]
            held_count += 1
    equity = account[ACCOUNT_CASH] + worth
    account[ACCOUNT_EQUITY] = equity
    series[0][bar] = equity
    series[1][bar] = gross / equity if gross > 0.0 and equity != 0.0 else 0.0
    series[2][bar] = held_count


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


def end(
    p: Any,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    rows: Any,
    asset_count: int,
    bar_count: int,
) -> None:
    """Write down what is left: positions stay open and are marked, orders had no bar to fill at."""
    for asset in range(asset_count):
        at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
        held = pos[at + HELD]
        if num[n + PENDING] != 0:
            asked = p[SIZE_VALUE] if p[SIZE_KIND] == UNITS else math.nan
            asked = pos[at + PENDING_LEFT] if held != 0.0 else asked
            note(
                rows, count, p,
                (
                    bar_count - 1, asset, num[n + TRADE] if held != 0.0 else NONE, REJECTED,
                    num[n + PENDING_SIDE], NO_NEXT_BAR,
                ),
                (
                    asked, math.nan, 0.0, 0.0, num[n + PENDING_LATENCY_NS] / 1e6, math.nan,
                    account[ACCOUNT_CASH],
                ),
            )  # fmt: skip
            last = bar_count - 1
            drop_reversal(p, account, count, num, rows, asset, last, REJECTED, NO_NEXT_BAR)
        if held != 0.0:
            side = BUY if held > 0.0 else SELL
            pnl = pos[at + RECEIVED] + held * pos[at + LAST_CLOSE] - pos[at + SPENT]
            write_trade(count, pos, num, rows, asset, NONE, side, SIGNAL, math.nan, pnl)

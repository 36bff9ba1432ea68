"""Decisions at a close: which signal becomes an order, and which limit forbids it.

Owns what is decided once a bar is known, and nothing of how it fills. In the subset that a compiler
takes. While an order is under way its asset decides nothing.
"""

import math
from typing import Any

from research.simulation.orders import latency_ns
from research.simulation.positions import note
from research.simulation.slots import (
    ACCOUNT_CASH,
    ASSET_SLOTS,
    BUY,
    COOLDOWN_BARS,
    COOLDOWN_LOSS_BARS,
    COOLING_DOWN,
    ENTER_LONG,
    ENTER_SHORT,
    ENTRIES_SPENT,
    ENTRY_BAR,
    ENTRY_COUNT,
    ENTRY_NS,
    EVENT_COUNT,
    EXIT_LONG,
    EXIT_SHORT,
    HALT_REASON,
    HALTED,
    HELD,
    IS_FAIL_FAST,
    LAST_EXIT_BAR,
    LAST_WAS_LOSS,
    LIMIT_BARS,
    LIMIT_NS,
    LOSS_COUNT,
    LOSSES_IN_A_ROW,
    MAX_ENTRIES,
    MAX_LOSSES,
    NONE,
    NUMBER_SLOTS,
    ORDER,
    ORDER_NUMBER,
    ORDER_REFUSED,
    PENDING,
    PENDING_ATTEMPT,
    PENDING_DUE_NS,
    PENDING_FAILURES,
    PENDING_FROM,
    PENDING_LATENCY_NS,
    PENDING_LEFT,
    PENDING_NOT_BEFORE,
    PENDING_NUMBER,
    PENDING_REASON,
    PENDING_REVERSE,
    PENDING_ROW,
    PENDING_SIDE,
    REJECTED,
    SELL,
    SIGNAL,
    SIZE_KIND,
    SIZE_VALUE,
    STATUS,
    THROTTLE_NS,
    THROTTLE_TRADES,
    THROTTLED,
    TIME_LIMIT,
    TRADE,
    UNITS,
)


def decide(
    p: Any,
    keys: Any,
    seed: int,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    recent: Any,
    rows: Any,
    asset: int,
    bar: int,
    now: int,
    signal: int,
) -> None:
    """Decide for one asset at the close of one bar."""
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    if num[n + PENDING] != 0:
        return
    held = pos[at + HELD]
    if held != 0.0:
        reason = exit_reason(p, count, num, asset, bar, now, signal, held)
        if reason != NONE:
            side = SELL if held > 0.0 else BUY
            give(p, keys, seed, num, asset, bar, now, side, reason)
            pos[at + PENDING_LEFT] = abs(held)
            note(
                rows, count, p,
                (bar, asset, num[n + TRADE], ORDER, side, reason),
                (abs(held), math.nan, 0.0, 0.0, 0.0, math.nan, account[ACCOUNT_CASH]),
            )  # fmt: skip
            reverse = ENTER_SHORT if held > 0.0 else ENTER_LONG
            num[n + PENDING_REVERSE] = 0
            if reason == SIGNAL and signal & reverse != 0:
                is_allowed = allow(p, account, count, num, recent, rows, asset, bar, now, side)
                num[n + PENDING_REVERSE] = 1 if is_allowed else 0
    elif signal & (ENTER_LONG | ENTER_SHORT) != 0:
        side = BUY if signal & ENTER_LONG != 0 else SELL
        if allow(p, account, count, num, recent, rows, asset, bar, now, side):
            give(p, keys, seed, num, asset, bar, now, side, SIGNAL)
            num[n + PENDING_REVERSE] = 0


def allow(
    p: Any,
    account: Any,
    count: Any,
    num: Any,
    recent: Any,
    rows: Any,
    asset: int,
    bar: int,
    now: int,
    side: int,
) -> bool:
    """Write down an order to enter, and which limit forbids it; tell whether none does."""
    # What a budget buys is known at the open only; an order says no more than its close knew.
    asked = p[SIZE_VALUE] if p[SIZE_KIND] == UNITS else math.nan
    amounts = (asked, math.nan, 0.0, 0.0, 0.0, math.nan, account[ACCOUNT_CASH])
    num[asset * NUMBER_SLOTS + PENDING_ROW] = count[EVENT_COUNT]
    note(rows, count, p, (bar, asset, NONE, ORDER, side, SIGNAL), amounts)
    refusal = refusal_of(p, count, num, recent, asset, bar, now)
    if refusal == NONE:
        return True
    note(rows, count, p, (bar, asset, NONE, REJECTED, side, refusal), amounts)
    if p[IS_FAIL_FAST] > 0.0:
        count[STATUS] = ORDER_REFUSED
    return False


def exit_reason(
    p: Any, count: Any, num: Any, asset: int, bar: int, now: int, signal: int, held: float
) -> int:
    """Return why a position is to be closed; none if it is not."""
    if count[HALT_REASON] != NONE:
        return int(count[HALT_REASON])
    if is_spent(p, num, asset, bar, now):
        return TIME_LIMIT
    wanted = EXIT_LONG if held > 0.0 else EXIT_SHORT
    return SIGNAL if signal & wanted != 0 else NONE


def is_spent(p: Any, num: Any, asset: int, bar: int, now: int) -> bool:
    """Tell whether a position has been held for as long as it may be."""
    n = asset * NUMBER_SLOTS
    bars_held, held_ns = bar - num[n + ENTRY_BAR] + 1, now - num[n + ENTRY_NS]
    return bool(bars_held >= p[LIMIT_BARS] or held_ns >= p[LIMIT_NS])


def refusal_of(p: Any, count: Any, num: Any, recent: Any, asset: int, bar: int, now: int) -> int:
    """Return which limit forbids an entry; none if none does."""
    n = asset * NUMBER_SLOTS
    if count[HALT_REASON] != NONE:
        return HALTED
    if count[LOSS_COUNT] >= p[MAX_LOSSES]:
        return LOSSES_IN_A_ROW
    if count[ENTRY_COUNT] >= p[MAX_ENTRIES]:
        return ENTRIES_SPENT
    if num[n + LAST_EXIT_BAR] != NONE:
        pause = p[COOLDOWN_LOSS_BARS] if num[n + LAST_WAS_LOSS] == 1 else p[COOLDOWN_BARS]
        if bar - num[n + LAST_EXIT_BAR] < pause:
            return COOLING_DOWN
    if count[ENTRY_COUNT] >= p[THROTTLE_TRADES]:
        # The entry that is so many back: the oldest that the window may still hold.
        oldest = recent[count[ENTRY_COUNT] % len(recent)]
        if now - oldest < p[THROTTLE_NS]:
            return THROTTLED
    return NONE


def give(
    p: Any,
    keys: Any,
    seed: int,
    num: Any,
    asset: int,
    bar: int,
    now: int,
    side: int,
    reason: int,
) -> None:
    """Put an order under way: it fills at the first open that its latency allows."""
    n = asset * NUMBER_SLOTS
    number = num[n + ORDER_NUMBER]
    latency = latency_ns(p, seed, keys[asset], number)
    num[n + ORDER_NUMBER] = number + 1
    num[n + PENDING] = 1
    num[n + PENDING_NUMBER] = number
    num[n + PENDING_SIDE] = side
    num[n + PENDING_REASON] = reason
    num[n + PENDING_FROM] = bar
    num[n + PENDING_LATENCY_NS] = latency
    num[n + PENDING_DUE_NS] = now + latency
    num[n + PENDING_ATTEMPT] = 0
    num[n + PENDING_FAILURES] = 0
    num[n + PENDING_NOT_BEFORE] = bar + 1

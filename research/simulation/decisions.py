"""Decisions at a close: which signal becomes an order, and which limit forbids it.

Owns what is decided once a bar is known, and nothing of how it fills. In the subset that a compiler
takes. While an order is under way its asset decides nothing.
"""

import math
from typing import Any

from research.simulation.attempts import asked_units, give
from research.simulation.desk import Desk
from research.simulation.notes import note, note_order, refuse
from research.simulation.slots import (
    ASSET_SLOTS,
    BUY,
    COOLDOWN_BARS,
    COOLDOWN_LOSS_BARS,
    COOLING_DOWN,
    ENTER_LONG,
    ENTER_SHORT,
    ENTRIES_SPENT,
    ENTRY_COUNT,
    ENTRY_NS,
    ENTRY_OWN_BAR,
    EVENT_COUNT,
    EXIT_LONG,
    EXIT_SHORT,
    HALT_REASON,
    HALTED,
    HELD,
    HOLD_BARS_MAX,
    HOLD_NS_MAX,
    LAST_BAR,
    LAST_EXIT_OWN_BAR,
    LAST_WAS_LOSS,
    LOSS_COUNT,
    LOSSES_IN_A_ROW,
    MAX_ENTRIES,
    MAX_LOSSES,
    NONE,
    NUMBER_SLOTS,
    OWN_BAR,
    PENDING,
    PENDING_LEFT,
    PENDING_REVERSE,
    PENDING_ROW,
    REJECTED,
    SELL,
    SIGNAL,
    THROTTLE_NS,
    THROTTLE_TRADES,
    THROTTLED,
    TIME_LIMIT,
    TRADE,
)


def decide(desk: Desk, asset: int, bar: int, signal: int) -> None:
    """Decide for one asset at the close of one bar."""
    pos, num = desk.pos, desk.num
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    if num[n + PENDING] != 0:
        return
    held, first = pos[at + HELD], num[n + OWN_BAR]
    if held != 0.0:
        reason = exit_reason(desk, asset, bar, signal)
        if reason != NONE:
            side = SELL if held > 0.0 else BUY
            give(desk, asset, bar, first, side, reason)
            pos[at + PENDING_LEFT] = abs(held)
            note_order(desk, asset, bar, num[n + TRADE], side, reason, abs(held))
            reverse = ENTER_SHORT if held > 0.0 else ENTER_LONG
            num[n + PENDING_REVERSE] = 0
            if reason == SIGNAL and signal & reverse != 0:
                num[n + PENDING_REVERSE] = 1 if allow(desk, asset, bar, side) else 0
    elif signal & (ENTER_LONG | ENTER_SHORT) != 0:
        side = BUY if signal & ENTER_LONG != 0 else SELL
        if allow(desk, asset, bar, side):
            give(desk, asset, bar, first, side, SIGNAL)
            num[n + PENDING_REVERSE] = 0


def allow(desk: Desk, asset: int, bar: int, side: int) -> bool:
    """Write down an order to enter, and which limit forbids it; tell whether none does."""
    # What a budget buys is known at the open only; an order says no more than its close knew.
    asked, nan = asked_units(desk.p), math.nan
    desk.num[asset * NUMBER_SLOTS + PENDING_ROW] = desk.count[EVENT_COUNT]
    note_order(desk, asset, bar, NONE, side, SIGNAL, asked)
    refusal = refusal_of(desk, asset, desk.bars.at_ns[bar])
    if refusal == NONE:
        return True
    note(desk, asset, bar, NONE, REJECTED, side, refusal, NONE, asked, nan, 0.0, 0.0, 0.0, nan)
    refuse(desk, bar, refusal)
    return False


def exit_reason(desk: Desk, asset: int, bar: int, signal: int) -> int:
    """Return why a position is to be closed; none if it is not."""
    if desk.count[HALT_REASON] != NONE:
        return int(desk.count[HALT_REASON])
    if is_spent(desk.p, desk.num, asset, bar, desk.bars.at_ns[bar]):
        return TIME_LIMIT
    wanted = EXIT_LONG if desk.pos[asset * ASSET_SLOTS + HELD] > 0.0 else EXIT_SHORT
    return SIGNAL if signal & wanted != 0 else NONE


def is_spent(p: Any, num: Any, asset: int, bar: int, now: int) -> bool:
    """Tell whether a position has been held for as long as it may be, at a close of its asset."""
    n = asset * NUMBER_SLOTS
    bars_held, held_ns = num[n + OWN_BAR] - num[n + ENTRY_OWN_BAR], now - num[n + ENTRY_NS]
    is_over = bars_held >= p[HOLD_BARS_MAX] or held_ns >= p[HOLD_NS_MAX]
    return bool(is_over and num[n + LAST_BAR] == bar)


def refusal_of(desk: Desk, asset: int, now: int) -> int:
    """Return which limit forbids an entry; none if none does."""
    p, count, num, n = desk.p, desk.count, desk.num, asset * NUMBER_SLOTS
    if count[HALT_REASON] != NONE:
        return HALTED
    if count[LOSS_COUNT] >= p[MAX_LOSSES]:
        return LOSSES_IN_A_ROW
    if count[ENTRY_COUNT] >= p[MAX_ENTRIES]:
        return ENTRIES_SPENT
    if num[n + LAST_EXIT_OWN_BAR] != NONE:
        pause = p[COOLDOWN_LOSS_BARS] if num[n + LAST_WAS_LOSS] == 1 else p[COOLDOWN_BARS]
        if num[n + OWN_BAR] - 1 - num[n + LAST_EXIT_OWN_BAR] < pause:
            return COOLING_DOWN
    if count[ENTRY_COUNT] >= p[THROTTLE_TRADES]:
        # The entry that is so many back: the oldest that the window may still hold.
        oldest = desk.recent[count[ENTRY_COUNT] % len(desk.recent)]
        if now - oldest < p[THROTTLE_NS]:
            return THROTTLED
    return NONE

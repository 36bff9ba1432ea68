"""What is written down: events as they come, trades when they are over, and the first refusal.

Owns the rows. In the subset that a compiler takes. Where the rows are full nothing more is written,
but counted: so it is known how many there would have to be.
"""

import math

from research.simulation.desk import Desk
from research.simulation.slots import (
    ASSET_SLOTS,
    ENTERED,
    ENTRY_BAR,
    ENTRY_PRICE,
    EVENT_AMOUNTS,
    EVENT_ASSET,
    EVENT_BAR,
    EVENT_CODES,
    EVENT_COUNT,
    EVENT_FEE,
    EVENT_KIND,
    EVENT_LATE,
    EVENT_LATENCY_MS,
    EVENT_PRICE,
    EVENT_QUANTITY,
    EVENT_REASON,
    EVENT_REFERENCE,
    EVENT_ROOM,
    EVENT_SIDE,
    EVENT_SLIPPAGE,
    EVENT_TRADE,
    FEES,
    HAS_EVENTS,
    IS_FAIL_FAST,
    NONE,
    NUMBER_SLOTS,
    ORDER,
    PENDING_LATENCY_NS,
    PENDING_ROW,
    REFUSED_BAR,
    REFUSED_REASON,
    TRADE,
    TRADE_AMOUNTS,
    TRADE_ASSET,
    TRADE_CODES,
    TRADE_ENTRY,
    TRADE_ENTRY_PRICE,
    TRADE_EXIT,
    TRADE_EXIT_PRICE,
    TRADE_FEES,
    TRADE_PNL,
    TRADE_QUANTITY,
    TRADE_REASON,
    TRADE_ROOM,
    TRADE_SIDE,
)
from research.simulation.units import MS_NS


def note(
    desk: Desk,
    asset: int,
    bar: int,
    trade: int,
    kind: int,
    side: int,
    reason: int,
    late: int,
    quantity: float,
    price: float,
    fee: float,
    slippage: float,
    latency_ms: float,
    reference: float,
) -> None:
    """Write an event down, while there is room; count it in any case."""
    if desk.p[HAS_EVENTS] == 0.0:
        return
    row = desk.count[EVENT_COUNT]
    desk.count[EVENT_COUNT] = row + 1
    if row >= desk.count[EVENT_ROOM]:
        return
    codes, amounts = desk.rows.event_codes, desk.rows.event_amounts
    first = row * EVENT_CODES
    codes[first + EVENT_BAR] = bar
    codes[first + EVENT_ASSET] = asset
    codes[first + EVENT_TRADE] = trade
    codes[first + EVENT_KIND] = kind
    codes[first + EVENT_SIDE] = side
    codes[first + EVENT_REASON] = reason
    codes[first + EVENT_LATE] = late
    first = row * EVENT_AMOUNTS
    amounts[first + EVENT_QUANTITY] = quantity
    amounts[first + EVENT_PRICE] = price
    amounts[first + EVENT_FEE] = fee
    amounts[first + EVENT_SLIPPAGE] = slippage
    amounts[first + EVENT_LATENCY_MS] = latency_ms
    amounts[first + EVENT_REFERENCE] = reference


def note_order(
    desk: Desk, asset: int, bar: int, trade: int, side: int, reason: int, quantity: float
) -> None:
    """Write down an order as it is given: it says no more than its close knew."""
    nan = math.nan
    note(desk, asset, bar, trade, ORDER, side, reason, NONE, quantity, nan, 0.0, 0.0, 0.0, nan)


def note_end(
    desk: Desk, asset: int, bar: int, trade: int, kind: int, side: int, why: int, quantity: float
) -> None:
    """Write down that nothing, or nothing more, comes of an order that was under way."""
    latency_ms, nan = latency_ms_of(desk, asset), math.nan
    note(desk, asset, bar, trade, kind, side, why, NONE, quantity, nan, 0.0, 0.0, latency_ms, nan)


def latency_ms_of(desk: Desk, asset: int) -> float:
    """Return how long an asset's order has been on its way."""
    return float(desk.num[asset * NUMBER_SLOTS + PENDING_LATENCY_NS] / float(MS_NS))


def pair(desk: Desk, asset: int, trade: int) -> None:
    """Give the rows of an order to enter, its failed attempts included, the trade it became."""
    codes, count = desk.rows.event_codes, desk.count
    first = desk.num[asset * NUMBER_SLOTS + PENDING_ROW]
    for row in range(first, min(count[EVENT_COUNT], count[EVENT_ROOM])):
        at = row * EVENT_CODES
        if codes[at + EVENT_ASSET] == asset and codes[at + EVENT_TRADE] == NONE:
            codes[at + EVENT_TRADE] = trade


def write_trade(
    desk: Desk, asset: int, bar: int, side: int, reason: int, exit_price: float, pnl: float
) -> None:
    """Write a trade into the row of its number, while there is room."""
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    trade = desk.num[n + TRADE]
    if trade >= desk.count[TRADE_ROOM]:
        return
    codes, amounts = desk.rows.trade_codes, desk.rows.trade_amounts
    first = trade * TRADE_CODES
    codes[first + TRADE_ENTRY] = desk.num[n + ENTRY_BAR]
    codes[first + TRADE_EXIT] = bar
    codes[first + TRADE_ASSET] = asset
    codes[first + TRADE_SIDE] = side
    codes[first + TRADE_REASON] = reason
    first = trade * TRADE_AMOUNTS
    amounts[first + TRADE_QUANTITY] = desk.pos[at + ENTERED]
    amounts[first + TRADE_ENTRY_PRICE] = desk.pos[at + ENTRY_PRICE]
    amounts[first + TRADE_EXIT_PRICE] = exit_price
    amounts[first + TRADE_FEES] = desk.pos[at + FEES]
    amounts[first + TRADE_PNL] = pnl


def refuse(desk: Desk, bar: int, why: int) -> None:
    """Stop the simulation at an order that nothing came of, if that is asked; keep the first."""
    if desk.p[IS_FAIL_FAST] > 0.0 and desk.count[REFUSED_REASON] == NONE:
        desk.count[REFUSED_BAR] = bar
        desk.count[REFUSED_REASON] = why

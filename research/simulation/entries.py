"""Orders to enter at an open: how large each may be, and what several share.

Owns sizes and their limits. In the subset that a compiler takes. Entries at one open are measured
against the account as the exits have left it, each as if it were alone. Those that could be paid
alone and not together are all made smaller by one factor: so no order among assets decides.
"""

from typing import Any, Final

from research.simulation.attempts import (
    attempt_fails,
    bars_late,
    filled_part,
    is_due,
    reference_of,
)
from research.simulation.desk import Desk
from research.simulation.notes import latency_ms_of, note, note_end, pair, refuse
from research.simulation.orders import fee_of, priority_of, slippage_of, wanted
from research.simulation.positions import open_position
from research.simulation.slots import (
    ACCOUNT_CASH,
    ASSET_SLOTS,
    BUY,
    CANCELLED,
    ENTRY_COUNT,
    ENTRY_PRICE,
    FILL,
    FIXED_FEE,
    HALT_REASON,
    HALTED,
    HELD,
    LAST_CLOSE,
    LIMIT_REACHED,
    MAX_EXPOSURE,
    MAX_POSITION,
    MINIMUM_FEE,
    NO_CASH,
    NONE,
    NUMBER_SLOTS,
    PARTIAL,
    PARTIAL_FILL,
    PARTIAL_VOLUME_SHARE,
    PENDING,
    PENDING_ASKED,
    PENDING_FAILURES,
    PENDING_LEFT,
    PENDING_REASON,
    PENDING_SIDE,
    REJECTED,
    SIGNAL,
    TAKER_RATE,
    TRADE_COUNT,
    VOLUME_SHARE,
)

TOGETHER: Final = 1.0 - 2.0**-40
"""Room for the rounding of what several orders cost together."""


def fill_entries(desk: Desk, bar: int) -> None:
    """Fill the entries that are due at an open."""
    p, pos, num, asset_count = desk.p, desk.pos, desk.num, len(desk.keys)
    due = 0
    for asset in range(asset_count):
        if is_waiting(desk, asset, bar):
            due += 1
    if due == 0:
        return
    equity, gross, available = standing(desk, bar)
    total_cost, total_notional, total_fixed = 0.0, 0.0, 0.0
    for asset in range(asset_count):
        if not is_waiting(desk, asset, bar):
            continue
        quantity, price = asked_for(desk, asset, bar, equity, gross, available)
        pos[asset * ASSET_SLOTS + PENDING_ASKED] = quantity
        if quantity > 0.0:
            attempt = num[asset * NUMBER_SLOTS + PENDING_FAILURES]
            total_cost += quantity * price + fee_of(p, quantity * price, attempt, False)
            total_notional += quantity * price
            total_fixed += max(p[FIXED_FEE], p[MINIMUM_FEE]) + priority_of(p, attempt)
    factor = 1.0
    if due > 1 and total_notional > 0.0:
        factor = shared(p, total_fixed, total_cost, total_notional, available, equity, gross)
    cut = NO_CASH if total_cost > available else LIMIT_REACHED
    for asset in range(asset_count):
        if num[asset * NUMBER_SLOTS + PENDING] == 0 or pos[asset * ASSET_SLOTS + HELD] != 0.0:
            continue
        if pos[asset * ASSET_SLOTS + PENDING_ASKED] > 0.0:
            fill_entry(desk, asset, bar, factor, cut)


def is_waiting(desk: Desk, asset: int, bar: int) -> bool:
    """Tell whether an asset's order to enter is due."""
    return bool(desk.pos[asset * ASSET_SLOTS + HELD] == 0.0 and is_due(desk, asset, bar))


def standing(desk: Desk, bar: int) -> tuple[float, float, float]:
    """Return the equity at an open, what all positions are worth, and the cash that is free.

    What a short sale brought in, and as much again, is not free.
    """
    bar_count, pos = len(desk.bars.at_ns), desk.pos
    equity = gross = 0.0
    available = desk.account[ACCOUNT_CASH]
    for asset in range(len(desk.keys)):
        at = asset * ASSET_SLOTS
        held = pos[at + HELD]
        if held != 0.0:
            price = desk.bars.open[asset * bar_count + bar]
            if price != price:
                price = pos[at + LAST_CLOSE]
            equity += held * price
            gross += abs(held) * price
            if held < 0.0:
                available -= 2.0 * -held * pos[at + ENTRY_PRICE]
    return desk.account[ACCOUNT_CASH] + equity, gross, available


def asked_for(
    desk: Desk, asset: int, bar: int, equity: float, gross: float, available: float
) -> tuple[float, float]:
    """Return the quantity that an entry fills with by itself, and its price at most; 0 if it fails.

    Whatever forbids it is written down, and the order is over; a failed attempt may come again.
    """
    p, num, n = desk.p, desk.num, asset * NUMBER_SLOTS
    place = asset * len(desk.bars.at_ns) + bar
    market, volume = desk.bars.open[place], desk.bars.volume[place]
    side, failures = num[n + PENDING_SIDE], num[n + PENDING_FAILURES]
    price = price_most(p, side, market, 0.0, volume)
    quantity = wanted(p, price, available, equity, failures)
    if quantity > 0.0:
        # A larger purchase has a worse price, and at that price a budget buys less.
        price = price_most(p, side, market, quantity, volume)
        quantity = min(quantity, wanted(p, price, available, equity, failures))
    asked = quantity
    if desk.count[HALT_REASON] != NONE:
        reject(desk, asset, bar, asked, HALTED)
        return 0.0, price
    if attempt_fails(desk, asset, bar, NONE, asked, volume):
        return 0.0, price
    reason, room = NO_CASH, min(p[MAX_POSITION] * equity, p[MAX_EXPOSURE] * equity - gross)
    if quantity * price > room:
        quantity, reason = max(0.0, room / price), LIMIT_REACHED
    if quantity > 0.0:
        part = filled_part(desk, asset, quantity, volume)
        if part < quantity:
            is_all_there_is = part == p[PARTIAL_VOLUME_SHARE] * volume
            quantity, reason = part, VOLUME_SHARE if is_all_there_is else PARTIAL_FILL
        desk.pos[asset * ASSET_SLOTS + PENDING_LEFT], num[n + PENDING_REASON] = asked, reason
        price = price_most(p, side, market, quantity, volume)
        cost = quantity * price + fee_of(p, quantity * price, failures, False)
        # Written so that NaN, from an overflow, is refused as well.
        if not (quantity > 0.0 and available - cost >= 0.0):
            quantity, reason = 0.0, NO_CASH
    if quantity == 0.0:
        reject(desk, asset, bar, asked, reason)
    return quantity, price


def price_most(p: Any, side: int, market: float, quantity: float, volume: float) -> float:
    """Return what so many units, or fewer, are bought or sold short at, at most.

    An impact makes a purchase dearer and a short sale cheaper. A short that is made smaller sells
    at a better, higher price, and would pass a limit that it kept to: so the market's is taken.
    """
    if side == BUY:
        return float(market * (1.0 + slippage_of(p, quantity, volume)))
    return float(market)


def reject(desk: Desk, asset: int, bar: int, asked: float, why: int) -> None:
    """End an order to enter at the open at which it would have filled."""
    num, n, place = desk.num, asset * NUMBER_SLOTS, asset * len(desk.bars.at_ns) + bar
    market, volume, side = desk.bars.open[place], desk.bars.volume[place], num[n + PENDING_SIDE]
    slippage = slippage_of(desk.p, asked, volume)
    price = market * (1.0 + slippage) if side == BUY else market * (1.0 - slippage)
    num[n + PENDING] = 0
    note(
        desk, asset, bar, NONE, REJECTED, side, why, bars_late(desk, asset),
        asked, price, 0.0, slippage, latency_ms_of(desk, asset), reference_of(desk, asset),
    )  # fmt: skip
    refuse(desk, bar, why)


def shared(
    p: Any,
    fixed: float,
    cost: float,
    notional: float,
    available: float,
    equity: float,
    gross: float,
) -> float:
    """Return by what factor entries that cannot all be paid are made smaller."""
    room = p[MAX_EXPOSURE] * equity - gross
    factor = 1.0
    if notional > room:
        factor = room / notional * TOGETHER
    if cost > available:
        # The parts of the fees that do not shrink with the orders are paid in full.
        payable = (available - fixed) / (notional * (1.0 + p[TAKER_RATE])) * TOGETHER
        factor = max(0.0, min(factor, payable))
    return factor


def fill_entry(desk: Desk, asset: int, bar: int, factor: float, cut: int) -> None:
    """Open a position with what an entry asks for, made smaller by a factor; cancel the rest."""
    pos, num = desk.pos, desk.num
    at, n, place = asset * ASSET_SLOTS, asset * NUMBER_SLOTS, asset * len(desk.bars.at_ns) + bar
    asked, whole, side = pos[at + PENDING_ASKED], pos[at + PENDING_LEFT], num[n + PENDING_SIDE]
    pos[at + PENDING_ASKED] = 0.0
    quantity = asked * factor
    if not quantity > 0.0:
        reject(desk, asset, bar, asked, NO_CASH)
        return
    market = desk.bars.open[place]
    slippage = slippage_of(desk.p, quantity, desk.bars.volume[place])
    price = market * (1.0 + slippage) if side == BUY else market * (1.0 - slippage)
    fee = fee_of(desk.p, quantity * price, num[n + PENDING_FAILURES], False)
    trade = desk.count[TRADE_COUNT]
    pair(desk, asset, trade)
    open_position(desk, asset, bar, side, quantity, price, fee)
    desk.recent[(desk.count[ENTRY_COUNT] - 1) % len(desk.recent)] = desk.bars.at_ns[bar]
    num[n + PENDING] = 0
    note(
        desk, asset, bar, trade, FILL if quantity == whole else PARTIAL, side, SIGNAL,
        bars_late(desk, asset), quantity, price, fee, slippage, latency_ms_of(desk, asset),
        reference_of(desk, asset),
    )  # fmt: skip
    if quantity != whole:
        why = cut if factor < 1.0 else num[n + PENDING_REASON]
        note_end(desk, asset, bar, trade, CANCELLED, side, why, whole - quantity)

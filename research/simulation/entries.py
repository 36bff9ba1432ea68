"""Orders to enter at an open: how large each may be, and what several share.

Owns sizes and their limits. In the subset that a compiler takes. Entries at one open are measured
against the account as the exits have left it, each as if it were alone. Those that could be paid
alone and not together are all made smaller by one factor: so no order among assets decides.
"""

import math
from typing import Any, Final

from research.simulation.exits import attempt_fails, filled_part, is_due, reference_of
from research.simulation.orders import fee_of, priority_of, slippage_of, wanted
from research.simulation.positions import note, open_position, pair
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
    IS_FAIL_FAST,
    LAST_CLOSE,
    LIMIT_REACHED,
    MAX_EXPOSURE,
    MAX_POSITION,
    MINIMUM_FEE,
    NO_CASH,
    NONE,
    NUMBER_SLOTS,
    ORDER_REFUSED,
    PARTIAL,
    PARTIAL_FILL,
    PARTIAL_VOLUME_SHARE,
    PENDING,
    PENDING_ASKED,
    PENDING_ATTEMPT,
    PENDING_FAILURES,
    PENDING_LATENCY_NS,
    PENDING_LEFT,
    PENDING_NUMBER,
    PENDING_REASON,
    PENDING_SIDE,
    REJECTED,
    SIGNAL,
    STATUS,
    TAKER_RATE,
    TRADE_COUNT,
    VOLUME_SHARE,
)

TOGETHER: Final = 1.0 - 2.0**-40
"""Room for the rounding of what several orders cost together."""


def fill_entries(
    p: Any,
    bars: Any,
    keys: Any,
    seed: int,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    recent: Any,
    rows: Any,
    bar: int,
) -> None:
    """Fill the entries that are due at an open."""
    now, bar_count, asset_count = bars[0][bar], len(bars[0]), len(keys)
    due = 0
    for asset in range(asset_count):
        if is_waiting(bars, pos, num, asset, asset * bar_count + bar, bar, now):
            due += 1
    if due == 0:
        return
    equity, gross, available = standing(bars, account, pos, asset_count, bar)
    total_cost, total_notional, total_fixed = 0.0, 0.0, 0.0
    for asset in range(asset_count):
        place = asset * bar_count + bar
        if not is_waiting(bars, pos, num, asset, place, bar, now):
            continue
        pos[asset * ASSET_SLOTS + PENDING_ASKED] = 0.0
        quantity, price = asked_for(
            p, bars, keys, seed, account, count, pos, num, rows, asset, bar,
            equity, gross, available,
        )  # fmt: skip
        if quantity > 0.0:
            pos[asset * ASSET_SLOTS + PENDING_ASKED] = quantity
            attempt = num[asset * NUMBER_SLOTS + PENDING_FAILURES]
            total_cost += quantity * price + fee_of(p, quantity * price, attempt, False)
            total_notional += quantity * price
            total_fixed += p[FIXED_FEE] + p[MINIMUM_FEE] + priority_of(p, attempt)
    factor = 1.0
    if due > 1 and total_notional > 0.0:
        factor = shared(p, total_fixed, total_cost, total_notional, available, equity, gross)
    cut = NO_CASH if total_cost > available else LIMIT_REACHED
    for asset in range(asset_count):
        place = asset * bar_count + bar
        if num[asset * NUMBER_SLOTS + PENDING] == 0 or pos[asset * ASSET_SLOTS + HELD] != 0.0:
            continue
        if pos[asset * ASSET_SLOTS + PENDING_ASKED] > 0.0:
            fill_entry(
                p, bars, account, count, pos, num, recent, rows, asset, bar, now, place, factor, cut
            )


def is_waiting(bars: Any, pos: Any, num: Any, asset: int, place: int, bar: int, now: int) -> bool:
    """Tell whether an asset's order to enter is due, and there is a market."""
    if num[asset * NUMBER_SLOTS + PENDING] == 0 or pos[asset * ASSET_SLOTS + HELD] != 0.0:
        return False
    return is_due(num, asset, bar, now) and bars[1][place] == bars[1][place]


def standing(
    bars: Any, account: Any, pos: Any, asset_count: int, bar: int
) -> tuple[float, float, float]:
    """Return the equity at an open, what all positions are worth, and the cash that is free.

    What a short sale brought in, and as much again, is not free.
    """
    bar_count = len(bars[0])
    equity = gross = 0.0
    available = account[ACCOUNT_CASH]
    for asset in range(asset_count):
        at = asset * ASSET_SLOTS
        held = pos[at + HELD]
        if held != 0.0:
            price = bars[1][asset * bar_count + bar]
            if price != price:
                price = pos[at + LAST_CLOSE]
            equity += held * price
            gross += abs(held) * price
            if held < 0.0:
                available -= 2.0 * -held * pos[at + ENTRY_PRICE]
    return account[ACCOUNT_CASH] + equity, gross, available


def asked_for(
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
    equity: float,
    gross: float,
    available: float,
) -> tuple[float, float]:
    """Return the quantity that an entry fills with by itself, and its price; 0 if it does not.

    Whatever forbids it is written down, and the order is over; a failed attempt may come again.
    """
    n, place = asset * NUMBER_SLOTS, asset * len(bars[0]) + bar
    market, volume, reference = bars[1][place], bars[5][place], reference_of(bars, num, asset)
    side, failures = num[n + PENDING_SIDE], num[n + PENDING_FAILURES]
    sign = 1.0 if side == BUY else -1.0
    price = market * (1.0 + sign * slippage_of(p, 0.0, volume))
    quantity = wanted(p, price, available, equity, failures)
    if quantity > 0.0:
        # A larger order has a worse price, and at that price a budget buys less.
        price = market * (1.0 + sign * slippage_of(p, quantity, volume))
        quantity = min(quantity, wanted(p, price, available, equity, failures))
    asked = quantity
    if attempt_fails(
        p, keys, seed, account, count, num, rows, asset, bar, NONE, side, asked, volume, reference
    ):
        return 0.0, price
    reason = NO_CASH
    if count[HALT_REASON] != NONE:
        quantity, reason = 0.0, HALTED
    elif quantity * price > min(p[MAX_POSITION] * equity, p[MAX_EXPOSURE] * equity - gross):
        room = min(p[MAX_POSITION] * equity, p[MAX_EXPOSURE] * equity - gross)
        quantity, reason = max(0.0, room / price), LIMIT_REACHED
    if quantity > 0.0:
        number, attempt = num[n + PENDING_NUMBER], num[n + PENDING_ATTEMPT]
        part = filled_part(p, keys[asset], seed, number, attempt, quantity, volume)
        if part < quantity:
            is_all_there_is = part == p[PARTIAL_VOLUME_SHARE] * volume
            quantity, reason = part, VOLUME_SHARE if is_all_there_is else PARTIAL_FILL
        pos[asset * ASSET_SLOTS + PENDING_LEFT], num[n + PENDING_REASON] = asked, reason
        price = market * (1.0 + sign * slippage_of(p, quantity, volume))
        notional = quantity * price
        cost = notional + fee_of(p, notional, failures, False)
        # Written so that NaN, from an overflow, is refused as well.
        if not (quantity > 0.0 and available - cost >= 0.0):
            quantity, reason = 0.0, NO_CASH
    if quantity == 0.0:
        num[n + PENDING] = 0
        note(
            rows, count, p,
            (bar, asset, NONE, REJECTED, side, reason),
            (
                asked, price, 0.0, slippage_of(p, asked, volume),
                num[n + PENDING_LATENCY_NS] / 1e6, reference, account[ACCOUNT_CASH],
            ),
        )  # fmt: skip
        if p[IS_FAIL_FAST] > 0.0:
            count[STATUS] = ORDER_REFUSED
    return quantity, price


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


def fill_entry(
    p: Any,
    bars: Any,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    recent: Any,
    rows: Any,
    asset: int,
    bar: int,
    now: int,
    place: int,
    factor: float,
    cut: int,
) -> None:
    """Open a position with what an entry asks for, made smaller by a factor; cancel the rest."""
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    side, failures = num[n + PENDING_SIDE], num[n + PENDING_FAILURES]
    market, volume = bars[1][place], bars[5][place]
    asked, whole = pos[at + PENDING_ASKED], pos[at + PENDING_LEFT]
    pos[at + PENDING_ASKED] = 0.0
    quantity = asked * factor
    slippage = slippage_of(p, quantity, volume)
    price = market * (1.0 + slippage) if side == BUY else market * (1.0 - slippage)
    fee = fee_of(p, quantity * price, failures, False)
    kind, reason = FILL if quantity == whole else PARTIAL, SIGNAL
    if quantity > 0.0:
        trade = count[TRADE_COUNT]
        pair(count, num, rows, asset, trade)
        open_position(p, account, count, pos, num, asset, bar, now, side, quantity, price, fee)
        recent[(count[ENTRY_COUNT] - 1) % len(recent)] = now
    else:
        trade, kind, reason, fee, quantity = NONE, REJECTED, NO_CASH, 0.0, asked
    num[n + PENDING] = 0
    note(
        rows, count, p,
        (bar, asset, trade, kind, side, reason),
        (
            quantity, price, fee, slippage, num[n + PENDING_LATENCY_NS] / 1e6,
            reference_of(bars, num, asset), account[ACCOUNT_CASH],
        ),
    )  # fmt: skip
    if kind == PARTIAL:
        note(
            rows, count, p,
            (bar, asset, trade, CANCELLED, side, cut if factor < 1.0 else num[n + PENDING_REASON]),
            (
                whole - quantity, math.nan, 0.0, 0.0, num[n + PENDING_LATENCY_NS] / 1e6, math.nan,
                account[ACCOUNT_CASH],
            ),
        )  # fmt: skip

"""What a fill does to the account: a position opened, a part of it closed, a trade written down.

Owns every rule that moves cash. In the subset that a compiler takes. The arrays, by their slots:

    p        the models' numbers
    account  the account's floats, `count` its integers
    pos      each asset's floats, `num` its integers: those of asset a begin at a * SLOTS
    rows     where events and trades are written: codes and amounts of both
"""

from typing import Any

from research.simulation.orders import fee_of
from research.simulation.slots import (
    ACCOUNT_CASH,
    ASSET_SLOTS,
    BEST,
    BUY,
    ENTERED,
    ENTRY_BAR,
    ENTRY_COUNT,
    ENTRY_NS,
    ENTRY_PRICE,
    EVENT_AMOUNTS,
    EVENT_ASSET,
    EVENT_CODES,
    EVENT_COUNT,
    EVENT_ROOM,
    EVENT_TRADE,
    EXIT_VALUE,
    EXITED,
    FEES,
    HAS_EVENTS,
    HELD,
    IS_FAIL_FAST,
    LAST_EXIT_BAR,
    LAST_WAS_LOSS,
    LOSS_COUNT,
    NEXT_LEG,
    NO_CASH,
    NONE,
    NUMBER_SLOTS,
    ORDER_REFUSED,
    PENDING_ROW,
    RECEIVED,
    REJECTED,
    SELL,
    SPENT,
    STATUS,
    TRADE,
    TRADE_AMOUNTS,
    TRADE_CODES,
    TRADE_COUNT,
    TRADE_ROOM,
)


def note(
    rows: Any,
    count: Any,
    p: Any,
    codes: tuple[int, int, int, int, int, int],
    amounts: tuple[float, float, float, float, float, float, float],
) -> None:
    """Write an event down, while there is room; count it in any case."""
    if p[HAS_EVENTS] == 0.0:
        return
    row = count[EVENT_COUNT]
    count[EVENT_COUNT] = row + 1
    if row < count[EVENT_ROOM]:
        event_codes, event_amounts = rows[0], rows[1]
        for slot in range(EVENT_CODES):
            event_codes[row * EVENT_CODES + slot] = codes[slot]
        for slot in range(EVENT_AMOUNTS):
            event_amounts[row * EVENT_AMOUNTS + slot] = amounts[slot]


def pair(count: Any, num: Any, rows: Any, asset: int, trade: int) -> None:
    """Give the rows of an order to enter, its failed attempts included, the trade it became."""
    codes = rows[0]
    first = num[asset * NUMBER_SLOTS + PENDING_ROW]
    for row in range(first, min(count[EVENT_COUNT], count[EVENT_ROOM])):
        at = row * EVENT_CODES
        if codes[at + EVENT_ASSET] == asset and codes[at + EVENT_TRADE] == NONE:
            codes[at + EVENT_TRADE] = trade


def open_position(
    p: Any,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    asset: int,
    bar: int,
    at_ns: int,
    side: int,
    quantity: float,
    price: float,
    fee: float,
) -> None:
    """Enter: cash goes out for what is bought, and comes in for what is sold short."""
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    notional = quantity * price
    if side == BUY:
        account[ACCOUNT_CASH] = account[ACCOUNT_CASH] - (notional + fee)
        pos[at + SPENT], pos[at + RECEIVED] = notional + fee, 0.0
        pos[at + HELD] = quantity
    else:
        account[ACCOUNT_CASH] = account[ACCOUNT_CASH] + (notional - fee)
        pos[at + SPENT], pos[at + RECEIVED] = 0.0, notional - fee
        pos[at + HELD] = -quantity
    pos[at + ENTERED] = quantity
    pos[at + ENTRY_PRICE] = price
    pos[at + BEST] = price
    pos[at + FEES] = fee
    pos[at + EXIT_VALUE] = 0.0
    pos[at + EXITED] = 0.0
    num[n + TRADE] = count[TRADE_COUNT]
    num[n + ENTRY_BAR] = bar
    num[n + ENTRY_NS] = at_ns
    num[n + NEXT_LEG] = 0
    count[TRADE_COUNT] += 1
    count[ENTRY_COUNT] += 1


def can_close(p: Any, account: Any, side: int, quantity: float, price: float, fee: float) -> bool:
    """Tell whether the cash pays for an exit; a short is covered whatever that leaves."""
    if side == BUY:
        return True
    return bool(account[ACCOUNT_CASH] + (quantity * price - fee) >= 0.0)


def close_part(
    p: Any,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    rows: Any,
    asset: int,
    bar: int,
    reason: int,
    quantity: float,
    price: float,
    fee: float,
) -> None:
    """Exit with a part of what is held, or with all; with the last part the trade is written."""
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    held = pos[at + HELD]
    notional = quantity * price
    if held > 0.0:
        account[ACCOUNT_CASH] = account[ACCOUNT_CASH] + (notional - fee)
        pos[at + RECEIVED] += notional - fee
    else:
        account[ACCOUNT_CASH] = account[ACCOUNT_CASH] - (notional + fee)
        pos[at + SPENT] += notional + fee
    pos[at + FEES] += fee
    if quantity < abs(held):
        pos[at + HELD] = held - quantity if held > 0.0 else held + quantity
        pos[at + EXIT_VALUE] += notional
        pos[at + EXITED] += quantity
        return
    average = price
    if pos[at + EXITED] > 0.0:
        average = (pos[at + EXIT_VALUE] + notional) / (pos[at + EXITED] + quantity)
    pnl = pos[at + RECEIVED] - pos[at + SPENT]
    side = BUY if held > 0.0 else SELL
    write_trade(count, pos, num, rows, asset, bar, side, reason, average, pnl)
    pos[at + HELD] = 0.0
    num[n + LAST_EXIT_BAR] = bar
    is_loss = pnl < 0.0
    num[n + LAST_WAS_LOSS] = 1 if is_loss else 0
    count[LOSS_COUNT] = count[LOSS_COUNT] + 1 if is_loss else 0


def write_trade(
    count: Any,
    pos: Any,
    num: Any,
    rows: Any,
    asset: int,
    bar: int,
    side: int,
    reason: int,
    exit_price: float,
    pnl: float,
) -> None:
    """Write a trade into the row of its number, while there is room."""
    at, trade = asset * ASSET_SLOTS, num[asset * NUMBER_SLOTS + TRADE]
    if trade >= count[TRADE_ROOM]:
        return
    codes, amounts = rows[2], rows[3]
    first = trade * TRADE_CODES
    codes[first] = num[asset * NUMBER_SLOTS + ENTRY_BAR]
    codes[first + 1] = bar
    codes[first + 2] = asset
    codes[first + 3] = side
    codes[first + 4] = reason
    first = trade * TRADE_AMOUNTS
    amounts[first] = pos[at + ENTERED]
    amounts[first + 1] = pos[at + ENTRY_PRICE]
    amounts[first + 2] = exit_price
    amounts[first + 3] = pos[at + FEES]
    amounts[first + 4] = pnl


def close_at(
    p: Any,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    rows: Any,
    asset: int,
    bar: int,
    reason: int,
    kind: int,
    quantity: float,
    price: float,
    slippage: float,
    attempt: int,
    is_maker: bool,
    latency_ms: float,
    reference: float,
) -> bool:
    """Fill an exit and write the event; False if the cash cannot pay for it."""
    held = pos[asset * ASSET_SLOTS + HELD]
    side = SELL if held > 0.0 else BUY
    trade = num[asset * NUMBER_SLOTS + TRADE]
    fee = fee_of(p, quantity * price, attempt, is_maker)
    is_paid = can_close(p, account, side, quantity, price, fee)
    if is_paid:
        close_part(p, account, count, pos, num, rows, asset, bar, reason, quantity, price, fee)
    elif p[IS_FAIL_FAST] > 0.0:
        count[STATUS] = ORDER_REFUSED
    note(
        rows,
        count,
        p,
        (bar, asset, trade, kind if is_paid else REJECTED, side, reason if is_paid else NO_CASH),
        (
            quantity,
            price,
            fee if is_paid else 0.0,
            slippage,
            latency_ms,
            reference,
            account[ACCOUNT_CASH],
        ),
    )
    return is_paid

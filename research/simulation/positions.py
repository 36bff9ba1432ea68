"""What a fill does to the account: a position opened, a part of it closed.

Owns every rule that moves cash. In the subset that a compiler takes.
"""

from typing import Any

from research.simulation.desk import Desk
from research.simulation.notes import note, refuse, write_trade
from research.simulation.orders import borrow_cost
from research.simulation.slots import (
    ACCOUNT_CASH,
    ASSET_SLOTS,
    BEST,
    BUY,
    ENTERED,
    ENTRY_BAR,
    ENTRY_COUNT,
    ENTRY_NS,
    ENTRY_OWN_BAR,
    ENTRY_PRICE,
    EXIT_VALUE,
    EXITED,
    FEES,
    GAIN_BAR,
    HELD,
    LAST_BAR,
    LAST_CLOSE,
    LAST_EXIT_OWN_BAR,
    LAST_WAS_LOSS,
    LOSS_COUNT,
    NEXT_LEG,
    NO_CASH,
    NUMBER_SLOTS,
    OWN_BAR,
    RECEIVED,
    REJECTED,
    SELL,
    SPENT,
    TRADE,
    TRADE_COUNT,
)


def open_position(
    desk: Desk, asset: int, bar: int, side: int, quantity: float, price: float, fee: float
) -> None:
    """Enter: cash goes out for what is bought, and comes in for what is sold short."""
    account, count, pos, num = desk.account, desk.count, desk.pos, desk.num
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
    num[n + ENTRY_OWN_BAR] = num[n + OWN_BAR]
    num[n + ENTRY_NS] = desk.bars.at_ns[bar]
    num[n + NEXT_LEG] = 0
    count[TRADE_COUNT] += 1
    count[ENTRY_COUNT] += 1


def charge(desk: Desk, asset: int, bar: int) -> None:
    """Take from the cash what a short has borrowed since its asset's bar before."""
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    elapsed_ns = desk.bars.at_ns[bar] - desk.bars.at_ns[desk.num[n + LAST_BAR]]
    cost = borrow_cost(desk.p, desk.pos[at + HELD], desk.pos[at + LAST_CLOSE], elapsed_ns)
    desk.account[ACCOUNT_CASH] -= cost
    desk.pos[at + SPENT] += cost
    desk.pos[at + FEES] += cost


def can_close(cash: float, side: int, proceeds: float) -> bool:
    """Tell whether an exit is paid for, by what it brings after its fee or by the cash.

    A sale that brings anything lessens a debt, so it is never refused for one; a short is covered
    whatever that leaves.
    """
    return side == BUY or proceeds >= 0.0 or cash + proceeds >= 0.0


def close_part(
    desk: Desk, asset: int, bar: int, reason: int, quantity: float, price: float, fee: float
) -> None:
    """Exit with a part of what is held, or with all; with the last part the trade is written."""
    account, pos, num = desk.account, desk.pos, desk.num
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
    write_trade(desk, asset, bar, BUY if held > 0.0 else SELL, reason, average, pnl)
    pos[at + HELD] = 0.0
    num[n + LAST_EXIT_OWN_BAR] = num[n + OWN_BAR]
    num[n + LAST_WAS_LOSS] = 1 if pnl < 0.0 else 0
    settle(desk.count, bar, pnl < 0.0)


def settle(count: Any, bar: int, is_loss: bool) -> None:
    """Count the losses in a row bar by bar: of the trades that end at one, none comes first.

    One that is no loss ends the row, and the losses of its bar begin no other.
    """
    if not is_loss:
        count[LOSS_COUNT] = 0
        count[GAIN_BAR] = bar
    elif count[GAIN_BAR] != bar:
        count[LOSS_COUNT] += 1


def close_at(
    desk: Desk,
    asset: int,
    bar: int,
    reason: int,
    kind: int,
    late: int,
    quantity: float,
    price: float,
    fee: float,
    slippage: float,
    latency_ms: float,
    reference: float,
) -> bool:
    """Fill an exit and write the event; False if neither proceeds nor cash pay for it."""
    side = SELL if desk.pos[asset * ASSET_SLOTS + HELD] > 0.0 else BUY
    trade = desk.num[asset * NUMBER_SLOTS + TRADE]
    is_paid = can_close(desk.account[ACCOUNT_CASH], side, quantity * price - fee)
    if is_paid:
        close_part(desk, asset, bar, reason, quantity, price, fee)
    else:
        refuse(desk, bar, NO_CASH)
        kind, reason, fee = REJECTED, NO_CASH, 0.0
    note(
        desk, asset, bar, trade, kind, side, reason, late,
        quantity, price, fee, slippage, latency_ms, reference,
    )  # fmt: skip
    return is_paid

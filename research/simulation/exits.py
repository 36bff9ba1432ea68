"""Orders to exit at an open: which comes first, partial fills, and what is left of them.

Owns what becomes of an exit. In the subset that a compiler takes. What a partial fill leaves is
tried again at the next open, until all is sold: whoever wants to be out stays in the market.
"""

from research.simulation.attempts import (
    attempt_fails,
    bars_late,
    drop_reversal,
    filled_part,
    give,
    is_due,
    reference_of,
)
from research.simulation.desk import Desk
from research.simulation.notes import latency_ms_of, refuse
from research.simulation.orders import fee_of, slippage_of
from research.simulation.positions import close_at
from research.simulation.slots import (
    ASSET_SLOTS,
    CANCELLED,
    COOLDOWN_BARS,
    COOLDOWN_LOSS_BARS,
    COOLING_DOWN,
    FILL,
    HELD,
    LAST_WAS_LOSS,
    NO_CASH,
    NUMBER_SLOTS,
    OWN_BAR,
    PARTIAL,
    PENDING,
    PENDING_ATTEMPT,
    PENDING_FAILURES,
    PENDING_FIRST_OWN_BAR,
    PENDING_FROM,
    PENDING_LEFT,
    PENDING_NEXT_OWN_BAR,
    PENDING_REASON,
    PENDING_REVERSE,
    PENDING_SIDE,
    REJECTED,
    SIGNAL,
    TRADE,
)

SALES, COSTLY_SALES, COVERS = range(3)
"""The turns at an open: what brings cash, what costs some and may be refused, what must be paid."""


def fill_exits(desk: Desk, bar: int) -> int:
    """Fill the exits that are due at an open; return how many entries of turn-arounds wait.

    What brings cash comes first, so that no order among assets decides what it pays for.
    """
    waiting = 0
    for turn in range(3):
        for asset in range(len(desk.keys)):
            held = desk.pos[asset * ASSET_SLOTS + HELD]
            if held == 0.0 or (held < 0.0) != (turn == COVERS) or not is_due(desk, asset, bar):
                continue
            fill_exit(desk, asset, bar, turn)
            if desk.pos[asset * ASSET_SLOTS + HELD] == 0.0:
                waiting += turn_around(desk, asset, bar)
    return waiting


def fill_exit(desk: Desk, asset: int, bar: int, turn: int) -> None:
    """Fill an exit that is due; a sale that costs more than it brings waits for its turn."""
    p, pos, num = desk.p, desk.pos, desk.num
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    place = asset * len(desk.bars.at_ns) + bar
    market, volume, held = desk.bars.open[place], desk.bars.volume[place], pos[at + HELD]
    asked = min(pos[at + PENDING_LEFT], abs(held))
    if attempt_fails(desk, asset, bar, num[n + TRADE], asked, volume):
        return
    quantity = filled_part(desk, asset, asked, volume)
    slippage = slippage_of(p, quantity, volume)
    price = market * (1.0 - slippage) if held > 0.0 else market * (1.0 + slippage)
    fee = fee_of(p, quantity * price, num[n + PENDING_FAILURES], False)
    if turn == SALES and quantity * price < fee:
        return
    kind = FILL if quantity == asked else PARTIAL
    reason, late = num[n + PENDING_REASON], bars_late(desk, asset)
    latency_ms, reference = latency_ms_of(desk, asset), reference_of(desk, asset)
    is_paid = close_at(
        desk, asset, bar, reason, kind, late,
        quantity, price, fee, slippage, latency_ms, reference,
    )  # fmt: skip
    if not is_paid:
        num[n + PENDING] = 0
        drop_reversal(desk, asset, bar, CANCELLED, NO_CASH)
    elif kind == PARTIAL:
        pos[at + PENDING_LEFT] = asked - quantity
        num[n + PENDING_ATTEMPT] += 1
        num[n + PENDING_NEXT_OWN_BAR] = num[n + OWN_BAR] + 1
    else:
        num[n + PENDING] = 0


def turn_around(desk: Desk, asset: int, bar: int) -> int:
    """Give the entry that was decided with an exit, now that it has filled; return how many.

    It fills at this open too. A pause after the exit forbids it: which one, the exit has decided.
    """
    p, num, n = desk.p, desk.num, asset * NUMBER_SLOTS
    if num[n + PENDING_REVERSE] == 0:
        return 0
    pause = p[COOLDOWN_LOSS_BARS] if num[n + LAST_WAS_LOSS] == 1 else p[COOLDOWN_BARS]
    if pause > 0.0:
        drop_reversal(desk, asset, bar, REJECTED, COOLING_DOWN)
        refuse(desk, bar, COOLING_DOWN)
        return 0
    num[n + PENDING_REVERSE] = 0
    decided, first = num[n + PENDING_FROM], num[n + PENDING_FIRST_OWN_BAR]
    give(desk, asset, decided, first, num[n + PENDING_SIDE], SIGNAL)
    return 1

"""Orders to exit at an open: attempts, partial fills, and what is left of them.

Owns what becomes of an exit. In the subset that a compiler takes. What a partial fill leaves is
tried again at the next open, until all is sold: whoever wants to be out stays in the market.
"""

import math
from typing import Any

from research.simulation.chance import FRACTION, uniform
from research.simulation.chance import PARTIAL as PARTIAL_STREAM
from research.simulation.orders import fails, slippage_of
from research.simulation.positions import close_at, note
from research.simulation.slots import (
    ACCOUNT_CASH,
    ASSET_SLOTS,
    BUY,
    CANCELLED,
    FAILED,
    FAILURE,
    FAILURE_BACKOFF_BARS,
    FAILURE_RETRIES,
    FILL,
    HELD,
    IS_FAIL_FAST,
    NO_CASH,
    NONE,
    NUMBER_SLOTS,
    ORDER_REFUSED,
    PARTIAL,
    PARTIAL_LEAST,
    PARTIAL_MOST,
    PARTIAL_PROBABILITY,
    PARTIAL_VOLUME_SHARE,
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
    PENDING_SIDE,
    SELL,
    SIZE_KIND,
    SIZE_VALUE,
    STATUS,
    TRADE,
    UNITS,
)


def is_due(num: Any, asset: int, bar: int, now: int) -> bool:
    """Tell whether an asset's order fills at this open."""
    n = asset * NUMBER_SLOTS
    return bool(
        num[n + PENDING] != 0
        and bar >= num[n + PENDING_NOT_BEFORE]
        and now >= num[n + PENDING_DUE_NS]
    )


def reference_of(bars: Any, num: Any, asset: int) -> float:
    """Return the open at which an order would have filled without latency and failures."""
    decided = num[asset * NUMBER_SLOTS + PENDING_FROM]
    return float(bars[1][asset * len(bars[0]) + decided + 1])


def fill_exit(
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
) -> None:
    """Fill an exit that is due at an open."""
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    place = asset * len(bars[0]) + bar
    market, volume, reference = bars[1][place], bars[5][place], reference_of(bars, num, asset)
    held = pos[at + HELD]
    asked = min(pos[at + PENDING_LEFT], abs(held))
    side = SELL if held > 0.0 else BUY
    if attempt_fails(
        p, keys, seed, account, count, num, rows, asset, bar, num[n + TRADE], side, asked,
        volume, reference,
    ):  # fmt: skip
        return
    number, attempt = num[n + PENDING_NUMBER], num[n + PENDING_ATTEMPT]
    quantity = filled_part(p, keys[asset], seed, number, attempt, asked, volume)
    slippage = slippage_of(p, quantity, volume)
    price = market * (1.0 - slippage) if held > 0.0 else market * (1.0 + slippage)
    kind = FILL if quantity == asked else PARTIAL
    latency_ms = num[n + PENDING_LATENCY_NS] / 1e6
    is_paid = close_at(
        p, account, count, pos, num, rows, asset, bar, num[n + PENDING_REASON], kind,
        quantity, price, slippage, num[n + PENDING_FAILURES], False, latency_ms, reference,
    )  # fmt: skip
    if not is_paid:
        num[n + PENDING] = 0
        drop_reversal(p, account, count, num, rows, asset, bar, CANCELLED, NO_CASH)
    elif kind == PARTIAL:
        pos[at + PENDING_LEFT] = asked - quantity
        num[n + PENDING_ATTEMPT] = attempt + 1
        num[n + PENDING_NOT_BEFORE] = bar + 1
    else:
        num[n + PENDING] = 0


def attempt_fails(
    p: Any,
    keys: Any,
    seed: int,
    account: Any,
    count: Any,
    num: Any,
    rows: Any,
    asset: int,
    bar: int,
    trade: int,
    side: int,
    asked: float,
    volume: float,
    reference: float,
) -> bool:
    """Tell whether an attempt fails; put the next one off, twice as far each time, or give up."""
    n = asset * NUMBER_SLOTS
    attempt, failures = num[n + PENDING_ATTEMPT], num[n + PENDING_FAILURES]
    if not fails(p, seed, keys[asset], num[n + PENDING_NUMBER], attempt, asked, volume):
        return False
    note(
        rows, count, p,
        (bar, asset, trade, FAILED, side, FAILURE),
        (
            asked, reference, 0.0, 0.0, num[n + PENDING_LATENCY_NS] / 1e6, reference,
            account[ACCOUNT_CASH],
        ),
    )  # fmt: skip
    num[n + PENDING_ATTEMPT] = attempt + 1
    num[n + PENDING_FAILURES] = failures + 1
    if failures >= p[FAILURE_RETRIES]:
        num[n + PENDING] = 0
        drop_reversal(p, account, count, num, rows, asset, bar, CANCELLED, FAILURE)
        if p[IS_FAIL_FAST] > 0.0:
            count[STATUS] = ORDER_REFUSED
    else:
        wait = int(p[FAILURE_BACKOFF_BARS]) << min(failures, 40)
        num[n + PENDING_NOT_BEFORE] = bar + max(1, wait)
    return True


def drop_reversal(
    p: Any, account: Any, count: Any, num: Any, rows: Any, asset: int, bar: int, kind: int, why: int
) -> None:
    """Write down that nothing came of the entry that was to follow an exit, if one was."""
    n = asset * NUMBER_SLOTS
    if num[n + PENDING_REVERSE] == 0:
        return
    num[n + PENDING_REVERSE] = 0
    asked = p[SIZE_VALUE] if p[SIZE_KIND] == UNITS else math.nan
    note(
        rows, count, p,
        (bar, asset, NONE, kind, num[n + PENDING_SIDE], why),
        (asked, math.nan, 0.0, 0.0, 0.0, math.nan, account[ACCOUNT_CASH]),
    )  # fmt: skip


def filled_part(
    p: Any, key: int, seed: int, number: int, attempt: int, asked: float, volume: float
) -> float:
    """Return how much of what was asked for a fill brings."""
    quantity = asked
    if p[PARTIAL_PROBABILITY] > 0.0:
        drawn = uniform(seed, PARTIAL_STREAM, key, number, attempt)
        if drawn < p[PARTIAL_PROBABILITY]:
            least, most = p[PARTIAL_LEAST], p[PARTIAL_MOST]
            part = least + (most - least) * uniform(seed, FRACTION, key, number, attempt)
            quantity = asked * part
    if p[PARTIAL_VOLUME_SHARE] < math.inf:
        quantity = min(quantity, p[PARTIAL_VOLUME_SHARE] * volume)
    return float(quantity)

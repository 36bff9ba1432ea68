"""Stops and targets: the orders that rest beside a position and fill within a bar.

Owns when one is met, and at what price. In the subset that a compiler takes. They stand at the
venue already, so they have no latency and do not fail; a stop takes liquidity and slips, a target
gives it and does not. Where a bar meets both, nobody can know which came first: the stop wins.
"""

import math
from typing import Any

from research.simulation.orders import slippage_of
from research.simulation.positions import close_at
from research.simulation.slots import (
    ASSET_SLOTS,
    BEST,
    ENTERED,
    ENTRY_PRICE,
    FILL,
    HELD,
    NEXT_LEG,
    NUMBER_SLOTS,
    PARTIAL,
    STOP,
    STOP_ACTIVATION,
    STOP_INITIAL,
    STOP_TRAILING,
    TARGET,
    TRAILING_STOP,
)


def protect(
    p: Any,
    legs: Any,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    rows: Any,
    asset: int,
    bar: int,
    market: tuple[float, float, float, float],
) -> None:
    """Hold a position against one bar: its open, high, low and volume."""
    opened, high, low, volume = market
    at = asset * ASSET_SLOTS
    held = pos[at + HELD]
    if p[STOP_INITIAL] < 0.0 or p[STOP_TRAILING] < 0.0:
        level, reason = stop_level(p, pos[at + ENTRY_PRICE], pos[at + BEST], held > 0.0)
        is_met = low <= level if held > 0.0 else high >= level
        if is_met:
            # A gap through the stop fills where the market is.
            price = min(opened, level) if held > 0.0 else max(opened, level)
            slippage = slippage_of(p, abs(held), volume)
            slipped = price * (1.0 - slippage) if held > 0.0 else price * (1.0 + slippage)
            if close_at(
                p, account, count, pos, num, rows, asset, bar, reason, FILL,
                abs(held), slipped, slippage, 0, False, 0.0, price,
            ):  # fmt: skip
                return
    if len(legs) > 0:
        take_profit(p, legs, account, count, pos, num, rows, asset, bar, opened, high, low)
    # Behind the stop: within one bar the high may have come after the low.
    pos[at + BEST] = max(pos[at + BEST], high) if held > 0.0 else min(pos[at + BEST], low)


def touches(
    p: Any,
    legs: Any,
    pos: Any,
    num: Any,
    asset: int,
    opened: float,
    high: float,
    low: float,
) -> bool:
    """Tell whether a bar meets a stop or a target of a position, or moves what a stop follows.

    Most bars do none of it, and are spared the call.
    """
    at, leg = asset * ASSET_SLOTS, num[asset * NUMBER_SLOTS + NEXT_LEG] * 2
    held, entry, best = pos[at + HELD], pos[at + ENTRY_PRICE], pos[at + BEST]
    is_long = held > 0.0
    is_touched = False
    if held != 0.0 and opened == opened:
        if p[STOP_INITIAL] < 0.0:
            level = entry * (1.0 + p[STOP_INITIAL]) if is_long else entry * (1.0 - p[STOP_INITIAL])
            is_touched = low <= level if is_long else high >= level
        if p[STOP_TRAILING] < 0.0 and not is_touched:
            level = best * (1.0 + p[STOP_TRAILING]) if is_long else best * (1.0 - p[STOP_TRAILING])
            is_touched = high > best or low <= level if is_long else low < best or high >= level
        if leg < len(legs) and not is_touched:
            target = entry * legs[leg] if is_long else entry * (2.0 - legs[leg])
            is_touched = high >= target if is_long else low <= target
    return is_touched


def stop_level(p: Any, entry: float, best: float, is_long: bool) -> tuple[float, int]:
    """Return the nearer of the stops, and which it is; infinitely far where there is none.

    The trailing stop follows the best price up to the bar before, once that is as far from the
    entry as the activation says.
    """
    sign = 1.0 if is_long else -1.0
    level, reason = -sign * math.inf, STOP
    if p[STOP_INITIAL] < 0.0:
        level = entry * (1.0 + sign * p[STOP_INITIAL])
    if p[STOP_TRAILING] < 0.0:
        gain = sign * (best / entry - 1.0)
        trailing = best * (1.0 + sign * p[STOP_TRAILING])
        if gain >= p[STOP_ACTIVATION] and sign * trailing > sign * level:
            level, reason = trailing, TRAILING_STOP
    return level, reason


def take_profit(
    p: Any,
    legs: Any,
    account: Any,
    count: Any,
    pos: Any,
    num: Any,
    rows: Any,
    asset: int,
    bar: int,
    opened: float,
    high: float,
    low: float,
) -> None:
    """Sell the legs of the ladder that the bar reaches, the nearest first.

    ``legs`` are pairs: the multiple of the entry price, and the fraction of the entered quantity
    that has been sold when the leg is done. For a short the distance below the entry counts.
    """
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    entry, entered = pos[at + ENTRY_PRICE], pos[at + ENTERED]
    while pos[at + HELD] != 0.0 and num[n + NEXT_LEG] * 2 < len(legs):
        leg = num[n + NEXT_LEG] * 2
        is_long = pos[at + HELD] > 0.0
        target = entry * legs[leg] if is_long else entry * (2.0 - legs[leg])
        if not (high >= target if is_long else low <= target):
            return
        price = max(opened, target) if is_long else min(opened, target)
        left = entered * (1.0 - legs[leg + 1])
        held = abs(pos[at + HELD])
        # The last leg of a whole ladder sells what is there, to the last digit.
        quantity = held if legs[leg + 1] >= 1.0 else min(held, held - left)
        if quantity > 0.0:
            kind = FILL if quantity == held else PARTIAL
            if not close_at(
                p, account, count, pos, num, rows, asset, bar, TARGET, kind,
                quantity, price, 0.0, 0, True, 0.0, price,
            ):  # fmt: skip
                return
        num[n + NEXT_LEG] += 1

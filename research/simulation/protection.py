"""Stops and targets: the orders that rest beside a position and fill within a bar.

Owns when one is met, and at what price. In the subset that a compiler takes. They stand at the
venue already, so they have no latency and do not fail; a stop takes liquidity and slips, a target
gives it and does not. A target that the open lies beyond was met by the open. Of what is met within
the bar nobody can know which came first: the stop wins.
"""

import math
from typing import Any

from research.simulation.desk import Desk
from research.simulation.orders import fee_of, slippage_of
from research.simulation.positions import close_at
from research.simulation.slots import (
    ASSET_SLOTS,
    BEST,
    ENTERED,
    ENTRY_PRICE,
    FILL,
    HELD,
    NEXT_LEG,
    NONE,
    NUMBER_SLOTS,
    PARTIAL,
    STOP,
    STOP_ACTIVATION,
    STOP_INITIAL,
    STOP_TRAILING,
    TARGET,
    TRAILING_STOP,
)


def protect(desk: Desk, asset: int, bar: int) -> None:
    """Hold a position against one bar."""
    bars, pos, at = desk.bars, desk.pos, asset * ASSET_SLOTS
    place = asset * len(bars.at_ns) + bar
    opened, high, low = bars.open[place], bars.high[place], bars.low[place]
    held = pos[at + HELD]
    # What the open lies beyond it has met, before anything within the bar.
    is_paid = take_profit(desk, asset, bar, opened, opened, opened)
    if pos[at + HELD] == 0.0:
        return
    is_stopped = stop_out(desk, asset, bar, opened, high, low)
    if pos[at + HELD] == 0.0:
        return
    if is_paid and not is_stopped:
        take_profit(desk, asset, bar, opened, high, low)
    # Behind the stop: within one bar the high may have come after the low.
    pos[at + BEST] = max(pos[at + BEST], high) if held > 0.0 else min(pos[at + BEST], low)


def stop_out(desk: Desk, asset: int, bar: int, opened: float, high: float, low: float) -> bool:
    """Sell all where a stop is met; tell whether one is, be it paid for or not."""
    p, pos, at = desk.p, desk.pos, asset * ASSET_SLOTS
    if not (p[STOP_INITIAL] < 0.0 or p[STOP_TRAILING] < 0.0):
        return False
    held, place = pos[at + HELD], asset * len(desk.bars.at_ns) + bar
    level, reason = stop_level(p, pos[at + ENTRY_PRICE], pos[at + BEST], held > 0.0)
    if not (low <= level if held > 0.0 else high >= level):
        return False
    # A gap through the stop fills where the market is.
    market = min(opened, level) if held > 0.0 else max(opened, level)
    slippage = slippage_of(p, abs(held), desk.bars.volume[place])
    price = market * (1.0 - slippage) if held > 0.0 else market * (1.0 + slippage)
    fee = fee_of(p, abs(held) * price, 0, False)
    close_at(
        desk, asset, bar, reason, FILL, NONE,
        abs(held), price, fee, slippage, 0.0, market,
    )  # fmt: skip
    return True


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


def take_profit(desk: Desk, asset: int, bar: int, opened: float, high: float, low: float) -> bool:
    """Sell the legs of the ladder that prices reach, the nearest first; False if one is not paid.

    ``legs`` are pairs: the multiple of the entry price, and the fraction of the entered quantity
    that has been sold when the leg is done. For a short the distance below the entry counts.
    """
    legs, pos, num = desk.legs, desk.pos, desk.num
    at, n = asset * ASSET_SLOTS, asset * NUMBER_SLOTS
    entry, entered = pos[at + ENTRY_PRICE], pos[at + ENTERED]
    while pos[at + HELD] != 0.0 and num[n + NEXT_LEG] * 2 < len(legs):
        leg = num[n + NEXT_LEG] * 2
        is_long = pos[at + HELD] > 0.0
        target = entry * legs[leg] if is_long else entry * (2.0 - legs[leg])
        if not (high >= target if is_long else low <= target):
            break
        price = max(opened, target) if is_long else min(opened, target)
        left = entered * (1.0 - legs[leg + 1])
        held = abs(pos[at + HELD])
        # The last leg of a whole ladder sells what is there, to the last digit.
        quantity = held if legs[leg + 1] >= 1.0 else min(held, held - left)
        if quantity > 0.0:
            kind = FILL if quantity == held else PARTIAL
            fee = fee_of(desk.p, quantity * price, 0, True)
            if not close_at(
                desk, asset, bar, TARGET, kind, NONE, quantity, price, fee, 0.0, 0.0, price
            ):
                return False
        num[n + NEXT_LEG] += 1
    return True

"""An order under way: given, due, tried, failed or filled in part.

Owns what entries and exits have in common on the way from a decision to a fill. In the subset that
a compiler takes. Bars are counted by those of the order's own asset.
"""

import math
from typing import Any, Final

from research.simulation.chance import FRACTION_STREAM, PARTIAL_STREAM, uniform
from research.simulation.desk import Desk
from research.simulation.notes import latency_ms_of, note, refuse
from research.simulation.orders import fails, latency_ns
from research.simulation.slots import (
    ASSET_SLOTS,
    CANCELLED,
    ENTERED,
    FAILED,
    FAILURE,
    FAILURE_BACKOFF_BARS,
    FAILURE_RETRIES,
    HELD,
    NONE,
    NUMBER_SLOTS,
    ORDER_NUMBER,
    OWN_BAR,
    PARTIAL_LEAST,
    PARTIAL_MOST,
    PARTIAL_PROBABILITY,
    PARTIAL_VOLUME_SHARE,
    PENDING,
    PENDING_ATTEMPT,
    PENDING_DUE_NS,
    PENDING_FAILURES,
    PENDING_FIRST_OWN_BAR,
    PENDING_FROM,
    PENDING_LATENCY_NS,
    PENDING_NEXT_OWN_BAR,
    PENDING_NUMBER,
    PENDING_REASON,
    PENDING_REVERSE,
    PENDING_SIDE,
    SIZE_KIND,
    SIZE_VALUE,
    UNITS,
)

REST: Final = 1e-6
"""The part of what was entered that a partial fill does not cut any more."""


def give(desk: Desk, asset: int, decided: int, first: int, side: int, reason: int) -> None:
    """Put an order under way: it fills at the first open of its asset that its latency allows.

    ``decided`` is the bar of the decision, ``first`` the number of the asset's own bar after it.
    """
    num, n = desk.num, asset * NUMBER_SLOTS
    number = num[n + ORDER_NUMBER]
    latency = latency_ns(desk.p, desk.seed, desk.keys[asset], number)
    num[n + ORDER_NUMBER] = number + 1
    num[n + PENDING] = 1
    num[n + PENDING_NUMBER] = number
    num[n + PENDING_SIDE] = side
    num[n + PENDING_REASON] = reason
    num[n + PENDING_FROM] = decided
    num[n + PENDING_LATENCY_NS] = latency
    num[n + PENDING_DUE_NS] = desk.bars.at_ns[decided] + latency
    num[n + PENDING_ATTEMPT] = 0
    num[n + PENDING_FAILURES] = 0
    num[n + PENDING_FIRST_OWN_BAR] = first
    num[n + PENDING_NEXT_OWN_BAR] = first


def is_due(desk: Desk, asset: int, bar: int) -> bool:
    """Tell whether an asset has an order that fills at this open, and a market."""
    num, n = desk.num, asset * NUMBER_SLOTS
    opened = desk.bars.open[asset * len(desk.bars.at_ns) + bar]
    return bool(
        num[n + PENDING] != 0
        and opened == opened
        and num[n + OWN_BAR] >= num[n + PENDING_NEXT_OWN_BAR]
        and desk.bars.at_ns[bar] >= num[n + PENDING_DUE_NS]
    )


def bars_late(desk: Desk, asset: int) -> int:
    """Return how many bars a fill comes behind the first open after its decision."""
    n = asset * NUMBER_SLOTS
    return int(desk.num[n + OWN_BAR] - desk.num[n + PENDING_FIRST_OWN_BAR])


def reference_of(desk: Desk, asset: int) -> float:
    """Return the open at which an order would have filled without latency and failures."""
    place = asset * len(desk.bars.at_ns) + desk.num[asset * NUMBER_SLOTS + PENDING_FROM] + 1
    # There is one: this is asked at an open of the asset behind the decision.
    while desk.bars.open[place] != desk.bars.open[place]:
        place += 1
    return float(desk.bars.open[place])


def asked_units(p: Any) -> float:
    """Return what an order to enter asks for: NaN where a budget is turned into units later."""
    return float(p[SIZE_VALUE]) if p[SIZE_KIND] == UNITS else math.nan


def attempt_fails(
    desk: Desk, asset: int, bar: int, trade: int, asked: float, volume: float
) -> bool:
    """Tell whether an attempt fails; put the next one off, twice as far each time, or give up."""
    p, num, n = desk.p, desk.num, asset * NUMBER_SLOTS
    attempt, failures = num[n + PENDING_ATTEMPT], num[n + PENDING_FAILURES]
    number = num[n + PENDING_NUMBER]
    if not fails(p, desk.seed, desk.keys[asset], number, attempt, asked, volume):
        return False
    reference = reference_of(desk, asset)
    note(
        desk, asset, bar, trade, FAILED, num[n + PENDING_SIDE], FAILURE, bars_late(desk, asset),
        asked, reference, 0.0, 0.0, latency_ms_of(desk, asset), reference,
    )  # fmt: skip
    num[n + PENDING_ATTEMPT] = attempt + 1
    num[n + PENDING_FAILURES] = failures + 1
    if failures >= p[FAILURE_RETRIES]:
        num[n + PENDING] = 0
        drop_reversal(desk, asset, bar, CANCELLED, FAILURE)
        refuse(desk, bar, FAILURE)
    else:
        wait = int(p[FAILURE_BACKOFF_BARS]) << min(failures, 40)
        num[n + PENDING_NEXT_OWN_BAR] = num[n + OWN_BAR] + max(1, wait)
    return True


def filled_part(desk: Desk, asset: int, asked: float, volume: float) -> float:
    """Return how much of what was asked for a fill brings.

    The draws count the fills before, not the failures: switching those on leaves these as they
    were. Of an exit the last millionth of what was entered is not cut again, or it would never end.
    """
    p, n = desk.p, asset * NUMBER_SLOTS
    quantity = asked
    at = asset * ASSET_SLOTS
    is_rest = desk.pos[at + HELD] != 0.0 and asked < desk.pos[at + ENTERED] * REST
    if p[PARTIAL_PROBABILITY] > 0.0 and not is_rest:
        seed, key, number = desk.seed, desk.keys[asset], desk.num[n + PENDING_NUMBER]
        fill = desk.num[n + PENDING_ATTEMPT] - desk.num[n + PENDING_FAILURES]
        if uniform(seed, PARTIAL_STREAM, key, number, fill) < p[PARTIAL_PROBABILITY]:
            least, most = p[PARTIAL_LEAST], p[PARTIAL_MOST]
            drawn = uniform(seed, FRACTION_STREAM, key, number, fill)
            quantity = asked * (least + (most - least) * drawn)
    if p[PARTIAL_VOLUME_SHARE] < math.inf:
        quantity = min(quantity, p[PARTIAL_VOLUME_SHARE] * volume)
    return float(quantity)


def drop_reversal(desk: Desk, asset: int, bar: int, kind: int, why: int) -> None:
    """Write down that nothing came of the entry that was to follow an exit, if one was."""
    num, n = desk.num, asset * NUMBER_SLOTS
    if num[n + PENDING_REVERSE] == 0:
        return
    num[n + PENDING_REVERSE] = 0
    side, asked, nan = num[n + PENDING_SIDE], asked_units(desk.p), math.nan
    note(desk, asset, bar, NONE, kind, side, why, NONE, asked, nan, 0.0, 0.0, 0.0, nan)

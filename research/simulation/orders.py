"""What an order meets on its way: latency, failure, slippage, fees, and what a budget buys.

Owns the arithmetic of one order. In the subset that a compiler takes; ``p`` are the models' numbers
by their slots.
"""

import math
from typing import Any, Final

from research.simulation.chance import FAILURE_STREAM, JITTER_STREAM, LATENCY_STREAM, uniform
from research.simulation.slots import (
    BORROW_RATE,
    CASH_AMOUNT,
    EQUITY_FRACTION,
    FAILURE_CONGESTION,
    FAILURE_RATE,
    FIXED_FEE,
    LATENCY_JITTER_NS,
    LATENCY_P50_NS,
    LATENCY_P90_NS,
    LATENCY_P99_NS,
    MAKER_RATE,
    MINIMUM_FEE,
    PRIORITY_FEE,
    PRIORITY_FEE_MAX,
    RISK_FRACTION,
    SIZE_KIND,
    SIZE_VALUE,
    SLIPPAGE_BASE,
    SLIPPAGE_IMPACT,
    SLIPPAGE_KIND,
    SLIPPAGE_MAX,
    SLIPPAGE_PER_UNIT,
    SQUARE_ROOT,
    STOP_INITIAL,
    TAKER_RATE,
)
from research.simulation.units import YEAR_NS

SLIPPAGE_MOST: Final = 0.99
"""A price stays above zero, however large the impact."""

NARROWER: Final = 1.0 - 2.0**-52
"""A factor that takes a float at most two units in the last place towards zero."""


def latency_ns(p: Any, seed: int, asset: int, number: int) -> int:
    """Draw how long an order is on its way: straight lines between the three percentiles.

    From 0 at the 0th percentile to p50, p90, p99, and as far again behind p99 as from p90 to p99;
    the jitter moves it by as much to either side, never below 0.
    """
    p50, p90, p99 = p[LATENCY_P50_NS], p[LATENCY_P90_NS], p[LATENCY_P99_NS]
    jitter = p[LATENCY_JITTER_NS]
    if p99 == 0.0 and jitter == 0.0:
        return 0
    u = uniform(seed, LATENCY_STREAM, asset, number, 0)
    if u < 0.5:
        drawn = p50 * (u / 0.5)
    elif u < 0.9:
        drawn = p50 + (p90 - p50) * ((u - 0.5) / 0.4)
    elif u < 0.99:
        drawn = p90 + (p99 - p90) * ((u - 0.9) / 0.09)
    else:
        drawn = p99 + (p99 - p90) * ((u - 0.99) / 0.01)
    if jitter > 0.0:
        drawn += jitter * (2.0 * uniform(seed, JITTER_STREAM, asset, number, 0) - 1.0)
    return int(max(0.0, drawn))


def fails(
    p: Any, seed: int, asset: int, number: int, attempt: int, quantity: float, volume: float
) -> bool:
    """Tell whether an attempt fails: the likelier, the more of the bar's volume it asks for."""
    rate = p[FAILURE_RATE]
    if rate == 0.0:
        return False
    if p[FAILURE_CONGESTION] != 1.0:
        share = min(1.0, quantity / volume)
        rate *= 1.0 + (p[FAILURE_CONGESTION] - 1.0) * share
    return bool(uniform(seed, FAILURE_STREAM, asset, number, attempt) < rate)


def slippage_of(p: Any, quantity: float, volume: float) -> float:
    """Return by what fraction a fill is worse than the market."""
    fraction = p[SLIPPAGE_BASE]
    if p[SLIPPAGE_IMPACT] > 0.0:
        size = quantity if p[SLIPPAGE_PER_UNIT] > 0.0 else quantity / volume
        if p[SLIPPAGE_KIND] == SQUARE_ROOT:
            size = math.sqrt(size)
        fraction += p[SLIPPAGE_IMPACT] * size
    return float(min(fraction, p[SLIPPAGE_MAX], SLIPPAGE_MOST))


def fee_of(p: Any, notional: float, attempt: int, is_maker: bool) -> float:
    """Return what a filled order pays."""
    rate = p[MAKER_RATE] if is_maker else p[TAKER_RATE]
    fee = max(p[MINIMUM_FEE], p[FIXED_FEE] + rate * notional)
    return float(fee + priority_of(p, attempt))


def priority_of(p: Any, attempt: int) -> float:
    """Return what is paid to be first: twice as much with every attempt, up to a maximum."""
    if p[PRIORITY_FEE] == 0.0:
        return 0.0
    return float(min(p[PRIORITY_FEE] * 2.0 ** min(attempt, 60), p[PRIORITY_FEE_MAX]))


def borrow_cost(p: Any, held: float, price: float, elapsed_ns: int) -> float:
    """Return what a short position pays for a time: nothing for a long one."""
    if held >= 0.0 or p[BORROW_RATE] == 0.0:
        return 0.0
    return float(-held * price * p[BORROW_RATE] * (elapsed_ns / float(YEAR_NS)))


def affordable(p: Any, budget: float, price: float, attempt: int) -> float:
    """Return the largest quantity whose cost, fees included, is within a budget, or 0.

    The cost is the larger of `notional * (1 + rate) + fixed_fee` and `notional + minimum_fee`, so
    the quantity is the smaller of those that each allows. Rounding can leave that a few units in
    the last place too dear; it is narrowed until it fits, so that no budget is ever overdrawn.
    """
    priority = priority_of(p, attempt)
    proportional = (budget - priority - p[FIXED_FEE]) / (price * (1.0 + p[TAKER_RATE]))
    quantity = min(proportional, (budget - priority - p[MINIMUM_FEE]) / price)
    if not quantity > 0.0:
        return 0.0
    for _ in range(64):
        notional = quantity * price
        if notional + fee_of(p, notional, attempt, False) <= budget:
            return float(quantity)
        quantity *= NARROWER
    return 0.0


def wanted(p: Any, price: float, cash: float, equity: float, attempt: int) -> float:
    """Return the quantity that the sizing asks for at a price, before any limit."""
    kind, value = p[SIZE_KIND], p[SIZE_VALUE]
    if kind == CASH_AMOUNT:
        return affordable(p, value, price, attempt)
    if kind == EQUITY_FRACTION:
        return affordable(p, min(value * equity, cash), price, attempt)
    if kind == RISK_FRACTION:
        quantity = value * equity / (price * -p[STOP_INITIAL])
        return float(min(quantity, affordable(p, cash, price, attempt)))
    return float(value)

"""Figures of a series of equities: one pass for what needs no mean, one for what does.

Owns the sums. In the subset that a compiler takes. Every sum is taken from left to right, one
addition after another, so that a figure does not depend on how a library groups its additions.
"""

import math
from typing import Any, Final

(
    MEAN,
    LEAST,
    MOST,
    DOWNSIDE,
    GAINS,
    LOSSES,
    SQUARES,
    CUBES,
    FOURTHS,
    IS_POSITIVE,
    HELD_COUNT,
    MEAN_EQUITY,
    MAX_DRAWDOWN,
    MEAN_DRAWDOWN,
    TROUGH_BAR,
    RECOVERY_BAR,
    LONGEST_FROM,
    LONGEST_TO,
) = range(18)
FIGURES: Final = 18


def figures(equity: Any, held: Any, returns: Any, drawdown: Any, out: Any) -> None:
    """Fill in the returns from close to close, the drawdown at each, and every figure by its slot.

    A drawdown is measured from the last peak; it lasts from that peak to the first close at or
    above it, or to the end. Sums of powers are of the returns' distances from their mean.

    Shapes: equity, held, drawdown (T,), T >= 2; returns (T - 1,); out (FIGURES,).
    """
    returns_of(equity, returns, out)
    moments(returns, out)
    drawdowns(equity, drawdown, out)
    worth, count = 0.0, 0.0
    for bar in range(len(equity)):
        worth += equity[bar]
        count += 1.0 if held[bar] > 0 else 0.0
    out[MEAN_EQUITY], out[HELD_COUNT] = worth / len(equity), count


def returns_of(equity: Any, returns: Any, out: Any) -> None:
    """Fill in the returns; sum them, their gains and their losses.

    Without a branch for the sign, which no processor can foresee; what is added instead is 0. A
    return on an equity that is not above 0 has no meaning, and then none of these figures has.
    """
    total = downside = gains = losses = 0.0
    least, most = math.inf, -math.inf
    is_positive = 1.0
    for bar in range(1, len(equity)):
        before = equity[bar - 1]
        if not before > 0.0:
            is_positive = 0.0
            returns[bar - 1] = 0.0
            continue
        change = equity[bar] / before - 1.0
        returns[bar - 1] = change
        total += change
        least = change if change < least else least
        most = change if change > most else most
        loss = -change if change < 0.0 else 0.0
        downside += loss * loss
        losses += loss
        gains += change if change > 0.0 else 0.0
    out[MEAN], out[LEAST], out[MOST] = total / (len(equity) - 1), least, most
    out[DOWNSIDE], out[GAINS], out[LOSSES] = downside, gains, losses
    out[IS_POSITIVE] = is_positive


def moments(returns: Any, out: Any) -> None:
    """Sum the powers of the returns' distances from their mean."""
    mean = out[MEAN]
    squares = cubes = fourths = 0.0
    for number in range(len(returns)):
        distance = returns[number] - mean
        square = distance * distance
        squares += square
        cubes += square * distance
        fourths += square * square
    out[SQUARES], out[CUBES], out[FOURTHS] = squares, cubes, fourths


def drawdowns(equity: Any, series: Any, out: Any) -> None:
    """Fill in the drawdowns; find the deepest, its recovery, and the longest time below a peak."""
    bar_count = len(equity)
    peak, peak_bar = equity[0], 0
    deepest, total = 0.0, 0.0
    trough, recovery = 0, -1
    series[0] = 0.0
    longest_from, longest_to = 0, 0
    for bar in range(1, bar_count):
        value = equity[bar]
        if value >= peak:
            if bar - peak_bar > 1:
                # The closes between were below: a drawdown ends here.
                if trough > peak_bar:
                    recovery = bar
                if bar - peak_bar > longest_to - longest_from:
                    longest_from, longest_to = peak_bar, bar
            peak, peak_bar = value, bar
            series[bar] = 0.0
            continue
        drawdown = (peak - value) / peak
        series[bar] = drawdown
        total += drawdown
        if drawdown > deepest:
            deepest, trough, recovery = drawdown, bar, -1
    if bar_count - 1 - peak_bar > longest_to - longest_from:
        longest_from, longest_to = peak_bar, bar_count - 1
    out[MAX_DRAWDOWN], out[MEAN_DRAWDOWN] = deepest, total / bar_count
    out[TROUGH_BAR], out[RECOVERY_BAR] = trough, recovery
    out[LONGEST_FROM], out[LONGEST_TO] = longest_from, longest_to

"""Where to cut bars, and what is left of them.

Owns the choice of cuts and the making of cut bars. Runs nothing and compares nothing.
"""

from typing import Any, Final

from rosdb import Table

BARS_MIN: Final = 3


def choose_cuts(bar_count: int, cuts: int, decided: set[int]) -> list[int]:
    """Return the bars to cut after: spread evenly, each moved to the nearest bar of a decision.

    A decision is where a cut is sharpest: what it was made of is just known, the next bar not. A
    bar must follow every cut, so there may be fewer than were asked for.
    """
    last = bar_count - 2
    cuts = min(cuts, last)
    gap = (last + 1) // (cuts + 1)
    chosen = []
    for number in range(1, cuts + 1):
        wanted = number * (last + 1) // (cuts + 1)
        near = [b for b in decided if abs(b - wanted) * 2 < gap and 1 <= b <= last]
        chosen.append(min(near, key=lambda b: (abs(b - wanted), b), default=wanted))
    return chosen


def cut_bars(bars: Table, last: int) -> dict[str, Any]:
    """Return the bars up to the last one to be shown, and the next one mirrored at its open.

    Shapes: returns columns (last + 2,).
    """
    shown = {name: bars[name][: last + 2].copy() for name in bars}
    row = last + 1
    opened, high, low, close = (float(bars[n][row]) for n in ("open", "high", "low", "close"))
    square = opened * opened
    closed = square / close
    shown["close"][row] = closed
    # Rounding must not put a price outside its own bar.
    shown["high"][row] = max(opened, closed, square / low)
    shown["low"][row] = min(opened, closed, square / high)
    return shown

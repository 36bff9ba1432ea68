"""Whether bars are sound, asked quickly: a compiled yes spares the close look.

Owns no rule of its own: `research.bars` has them, and names the fault where this says no. In the
subset that a compiler takes.
"""

import math
from typing import Any


def is_sound(at_ns: Any, bars: Any) -> bool:
    """Tell whether every row keeps the rules of bars (`research.bars`), quicker than naming one.

    Shapes: at_ns (T,); bars: open, high, low, close, volume (T,).
    """
    opens, highs, lows, closes, volumes = bars
    inf = math.inf
    is_broken = False
    for row in range(1, len(at_ns)):
        is_broken |= at_ns[row] <= at_ns[row - 1]
    # Without branches, so that a compiler looks at several rows at once. NaN breaks a rule; a low
    # above zero and a finite high bound the other prices.
    for row in range(len(at_ns)):
        high, low, volume = highs[row], lows[row], volumes[row]
        is_price = (low > 0.0) & (high < inf)
        is_between = (low <= opens[row]) & (opens[row] <= high)
        is_between &= (low <= closes[row]) & (closes[row] <= high)
        is_broken |= not (is_price & is_between & (volume >= 0.0) & (volume < inf))
    return not is_broken

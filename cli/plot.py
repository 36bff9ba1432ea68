"""Curves in the terminal, in Braille dots: two columns and four rows of them a character.

Owns the drawing only; what is drawn is the caller's.
"""

from collections.abc import Sequence
from typing import Final

# The bit of each dot, by column and by row from the top.
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK: Final = 0x2800


def curve(values: Sequence[float], width: int, height: int) -> list[str]:
    """Draw a curve, its highest value above and its lowest below.

    Shapes: values (T,), T >= 2; returns height lines of at most width characters.
    """
    finite = [v for v in values if v == v and abs(v) != float("inf")]
    if len(finite) < 2:
        return []
    low, high = min(finite), max(finite)
    labels = [_label(high), _label(low)]
    margin = max(len(label) for label in labels) + 1
    columns = max(8, width - margin) * 2
    rows = height * 4
    grid = [[0] * (columns // 2) for _ in range(height)]
    span = (high - low) or 1.0
    previous: int | None = None
    for x in range(columns):
        value = values[x * (len(values) - 1) // (columns - 1)]
        if value != value:
            previous = None
            continue
        y = round((high - value) / span * (rows - 1))
        # Joined to the dot before, so that a steep move stays a line.
        start = y if previous is None else previous
        for dot in range(min(start, y), max(start, y) + 1):
            grid[dot // 4][x // 2] |= _DOTS[x % 2][dot % 4]
        previous = y
    lines = []
    for number, row in enumerate(grid):
        label = labels[0] if number == 0 else labels[1] if number == height - 1 else ""
        lines.append(label.rjust(margin - 1) + " " + "".join(chr(_BLANK + bits) for bits in row))
    return lines


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

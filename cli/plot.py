"""Curves in the terminal, in Braille dots: two columns and four rows of them a character.

Owns the drawing only; what is drawn is the caller's.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final, Protocol

# The bit of each dot, by column and by row from the top.
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK: Final = 0x2800
_DASH: Final = 4
_LABEL_WIDTH_MAX: Final = 12

STYLES: Final = ("cyan", "yellow")
"""The colours of two curves; where they cross there is none."""


class Values(Protocol):
    """Numbers in a row: a list, or an array."""

    def __len__(self) -> int:
        """Count them."""

    def __getitem__(self, place: int, /) -> Any:
        """Return one."""


Curve = tuple[Values, Values]
"""Times and values, as many of one as of the other; the times ascend."""


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


def curves(
    first: Curve, second: Curve, width: int, height: int, paint: Callable[[str, str], str]
) -> list[str]:
    """Draw two curves over one time: the first solid, the second dashed; `a` and `b` at their ends.

    Shapes: each of T >= 1 points; returns height lines of at most width characters.
    """
    both = (first, second)
    # As many columns as there are with the widest label: the labels follow from what is drawn.
    begin = min(float(times[0]) for times, _ in both)
    end = max(float(times[len(times) - 1]) for times, _ in both)
    sampled = [_sampled(each, begin, end, _columns(width, _LABEL_WIDTH_MAX)) for each in both]
    finite = [value for values in sampled for value in values if value is not None]
    if len(finite) < 2:
        return []
    low, high = min(finite), max(finite)
    labels = [_label(high), _label(low)]
    margin = max(len(label) for label in labels) + 1
    columns, rows = len(sampled[0]), height * 4
    grids = [[[0] * (columns // 2) for _ in range(height)] for _ in both]
    ends: list[set[str]] = [set() for _ in range(height)]
    for values, grid, letter in zip(sampled, grids, "ab", strict=True):
        previous: int | None = None
        for x, value in enumerate(values):
            if value is None:
                previous = None
                continue
            y = round((high - value) / ((high - low) or 1.0) * (rows - 1))
            start = y if previous is None else previous
            low_dot, high_dot = min(start, y), max(start, y)
            is_gap = letter == "b" and x % (2 * _DASH) >= _DASH
            if not is_gap or low_dot < high_dot:
                # A steep move is drawn in a gap too, dotted, or it would be missed.
                for dot in range(low_dot, high_dot + 1, 2 if is_gap else 1):
                    grid[dot // 4][x // 2] |= _DOTS[x % 2][dot % 4]
            previous = y
        if previous is not None:
            ends[previous // 4].add(letter)
    lines = []
    for number in range(height):
        label = labels[0] if number == 0 else labels[1] if number == height - 1 else ""
        dots = _painted(grids[0][number], grids[1][number], paint)
        tail = "".join(paint(letter, STYLES["ab".index(letter)]) for letter in sorted(ends[number]))
        lines.append(f"{label.rjust(margin - 1)} {dots} {tail}".rstrip())
    return lines


def _columns(width: int, margin: int) -> int:
    return max(8, width - margin - len(" ab")) * 2


def _sampled(curve: Curve, begin: float, end: float, count: int) -> list[float | None]:
    """Return the last value at or before each of so many instants.

    None before the first and after the last, and where it is not finite.
    """
    times, values = curve
    found: list[float | None] = []
    for x in range(count):
        at = begin + (end - begin) * x / (count - 1)
        place = bisect_right(times, at) - 1
        value = float("nan") if place < 0 or at > times[len(times) - 1] else float(values[place])
        found.append(value if value - value == 0 else None)
    return found


def _painted(first: Sequence[int], second: Sequence[int], paint: Callable[[str, str], str]) -> str:
    """Put two rows of dots into one, coloured where they are of one curve only."""
    cells = [
        (chr(_BLANK + (a | b)), STYLES[0] if a and not b else STYLES[1] if b and not a else "")
        for a, b in zip(first, second, strict=True)
    ]
    return "".join(
        paint("".join(text for text, _ in group), style)
        for style, group in groupby(cells, key=lambda cell: cell[1])
    )


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

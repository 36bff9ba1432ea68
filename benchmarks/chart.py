"""A chart of lines as SVG, in as few marks as it needs.

Owns how a chart looks: it is readable on a light and on a dark page, and each line is named where
it ends. Knows nothing of what was measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 52, 170, 18, 46
GREY: Final = "#808080"
COLOURS: Final = ("#c0504d", "#8a8a8a", "#b8860b", "#2f7ed8")
_LABEL_HEIGHT: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A named line; its values are shares, from 0 to 1."""

    name: str
    values: Sequence[float]


def drawn(places: Sequence[float], lines: Sequence[Line], *, title: str, below: str) -> str:
    """Draw lines over common places."""
    least, most = min(places), max(places)

    def x(place: float) -> float:
        return LEFT + (place - least) / (most - least) * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' font-family="sans-serif" font-size="12" fill="{GREY}">',
        f"<title>{escape(title)}</title>",
    ]
    for percent in range(0, 101, 25):
        at = y(percent / 100)
        parts.append(
            f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="{GREY}" stroke-opacity=".3"/>'
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{percent} %</text>'
        )
    parts += [
        f'<text x="{x(place):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{place:g}</text>'
        for place in places
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(below)}</text>')
    for line, colour, label in zip(lines, COLOURS, _label_places(lines, y), strict=False):
        points = " ".join(
            f"{x(place):.1f},{y(value):.1f}"
            for place, value in zip(places, line.values, strict=True)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{WIDTH - RIGHT + 10}" y="{label + 4:.1f}" fill="{colour}">'
            f"{escape(line.name)}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _label_places(lines: Sequence[Line], y: Callable[[float], float]) -> list[float]:
    """Return where the names stand: beside the ends of their lines, none upon another."""
    ends = [y(line.values[-1]) for line in lines]
    places = list(ends)
    last = -_LABEL_HEIGHT
    for which in sorted(range(len(ends)), key=lambda each: ends[each]):
        places[which] = last = max(ends[which], last + _LABEL_HEIGHT)
    return places

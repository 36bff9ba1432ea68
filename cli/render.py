"""How results look: tables, figures, documents.

Owns every byte on standard output. A document is JSON, one and alone; everything else is for
people, aligned, coloured only in a terminal, cut only to a terminal's width.
"""

import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cli.context import present_folder, terminal
from research.experiments.export import instant_text, jsonable
from rosdb import flatten

PAGE_WIDTH: Final = 100
ROOM_MIN: Final = 16
WIDTH_MIN: Final = 4
ID_DIGITS: Final = 10

_STYLES: Final = {
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
    "red": "\x1b[31m",
    "green": "\x1b[32m",
    "yellow": "\x1b[33m",
    "cyan": "\x1b[36m",
}
_RESET: Final = "\x1b[0m"
_COLOR: Final = re.compile(r"\x1b\[[0-9]*m")
_STATUS_STYLES: Final = {
    "completed": "green",
    "failed": "red",
    "damaged": "red",
    "running": "yellow",
    "pending": "yellow",
    "identical": "green",
    "diverged": "red",
    "unreplayable": "red",
}


def emit(document: Any) -> None:
    """Print one JSON document; NaN and the infinities as strings, floats to the bit."""
    json.dump(jsonable(document), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def line(text: str = "") -> None:
    """Print a line."""
    print(text)


def paragraph(text: str, indent: str = "  ") -> None:
    """Print prose, wrapped to the terminal or to a page's width."""
    width = min(terminal().width, PAGE_WIDTH)
    print(textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent))


def parameters(nested: Mapping[str, Any]) -> dict[str, str]:
    """Flatten parameters for showing; one that is null is a parameter all the same."""
    return {path: "null" if v is None else number(v) for path, v in flatten(nested)}


def can_show(text: str) -> bool:
    """Tell whether standard output has the characters of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def heading(text: str) -> None:
    """Print the title of a part."""
    print(f"\n{paint(text, 'bold')}")


def paint(text: str, style: str) -> str:
    """Colour a text, where there is colour."""
    if not terminal().has_color or style not in _STYLES or not text:
        return text
    return f"{_STYLES[style]}{text}{_RESET}"


def status(text: str) -> str:
    """Colour a status or a verdict by what it says."""
    return paint(text, _STATUS_STYLES.get(text.split(" ")[0], ""))


def short(object_id: object) -> str:
    """Return the digits of an id that people copy."""
    return str(object_id)[:ID_DIGITS]


def instant(at_ns: int) -> str:
    """Write an instant as people read it, UTC."""
    return instant_text(at_ns)[:19].replace("T", " ")


def moment(at_ns: int) -> str:
    """Write an instant as shortly as it can be: a day where it is midnight, UTC."""
    text = instant_text(at_ns).removesuffix("Z").replace("T", " ").removesuffix(" 00:00:00")
    return text if at_ns % 1000 == 0 else f"{text} +{at_ns % 1000} ns"


def signed(value: float | None, digits: int = 6) -> str:
    """Write a change with its sign; nothing where there is none, or none that is a number."""
    return "" if not value or value != value else f"{float(value):+.{digits}g}"


def number(value: Any) -> str:
    """Write a value for reading: six significant digits of a float, anything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def one_line(text: str) -> str:
    """Write a text that somebody else has written: in one line, and nothing but letters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def location(path: Path) -> str:
    """Write a path as it is reached from here, where it lies below; a folder with its slash."""
    here = present_folder()
    absolute = path.absolute()
    shown = str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
    return shown + "/" if absolute.is_dir() and not shown.endswith("/") else shown


def size(count: float) -> str:
    """Write a number of bytes."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def count(number: int, noun: str) -> str:
    """Write how many, with the noun's plural where it belongs."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def duration(seconds: float | None) -> str:
    """Write how long something took."""
    return "" if seconds is None else f"{seconds:.2f} s"


def hanging(lead: str, text: str) -> None:
    """Print a text behind its lead, wrapped below itself. The lead may carry colour."""
    room = max(ROOM_MIN, terminal().width - _visible(lead))
    lines = textwrap.wrap(text, room, break_long_words=False) if len(text) > room else [text]
    print((lead + f"\n{' ' * _visible(lead)}".join(lines)).rstrip())


def printable(text: str) -> str:
    """Spell what a terminal would obey: a text that somebody else has written."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def pairs(values: Mapping[str, Any], indent: str = "  ") -> None:
    """Print names and values, aligned and wrapped; what has no value is left out."""
    shown = {name: text for name, value in values.items() if (text := number(value))}
    width = max((len(name) for name in shown), default=0)
    for name, text in shown.items():
        hanging(f"{indent}{paint(name.ljust(width), 'dim')}  ", text)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    indent: str = "",
) -> None:
    """Print an aligned table; what is wider than the terminal is cut, the last columns first.

    ``right`` lists the columns that are aligned on the right; a column without any value is left
    out. A cell may carry colour.
    """
    kept = [i for i in range(len(headers)) if any(row[i] for row in rows)]
    cells = [[headers[i] for i in kept], *[[row[i] for i in kept] for row in rows]]
    widths = [max(_visible(row[i]) for row in cells) for i in range(len(kept))]
    _fit(widths, terminal().width - len(indent))
    for order, row in enumerate(cells):
        parts = []
        for i, width in enumerate(widths):
            text = _cut(row[i], width)
            space = " " * (width - _visible(text))
            text = paint(text, "dim") if order == 0 else text
            parts.append(space + text if kept[i] in right else text + space)
        if parts:
            print((indent + "  ".join(parts)).rstrip())


def fitting(headers: Sequence[str], rows: Sequence[Sequence[str]], *, at_least: int) -> int:
    """Return how many of the columns can be shown whole; never fewer than so many."""
    room = terminal().width + 2
    for i in range(len(headers)):
        room -= 2 + max(_visible(row[i]) for row in (headers, *rows))
        if room < 0 and i >= at_least:
            return i
    return len(headers)


def _fit(widths: list[int], room: int) -> None:
    """Narrow the last columns, and drop those for which nothing is left, until all fit."""
    if sum(widths) + 2 * (len(widths) - 1) <= room:
        return
    for keeps in (ROOM_MIN, 0):
        for i in reversed(range(1, len(widths))):
            excess = sum(widths) + 2 * (len(widths) - 1) - room
            if excess > 0:
                widths[i] = max(min(widths[i], keeps), widths[i] - excess)
    while widths and widths[-1] < WIDTH_MIN:
        widths.pop()


def _visible(text: str) -> int:
    """Count the characters that take room."""
    return len(_COLOR.sub("", text))


def _cut(text: str, width: int) -> str:
    """Cut a text to a width; one that is cut loses its colour."""
    if _visible(text) <= width:
        return text
    return _COLOR.sub("", text)[: max(0, width - 1)] + "…" if width > 0 else ""

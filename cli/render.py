"""How results look: tables, figures, documents.

Owns every byte on standard output. A document is JSON, one and alone; everything else is for
people, aligned, coloured only in a terminal, cut only to a terminal's width.
"""

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cli.context import present_folder, terminal
from research.experiments.export import instant_text, jsonable

PAGE_WIDTH: Final = 100
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


def number(value: Any) -> str:
    """Write a value for reading: six significant digits of a float, anything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


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


def duration(seconds: float | None) -> str:
    """Write how long something took."""
    return "" if seconds is None else f"{seconds:.2f} s"


def pairs(values: Mapping[str, Any], indent: str = "  ") -> None:
    """Print names and values, aligned; what has no value is left out."""
    shown = {name: text for name, value in values.items() if (text := number(value))}
    width = max((len(name) for name in shown), default=0)
    for name, text in shown.items():
        print(f"{indent}{paint(name.ljust(width), 'dim')}  {text}")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print an aligned table; a terminal's edge cuts the last column.

    ``right`` lists the columns that are aligned on the right. A cell may carry colour.
    """
    cells = [list(headers), *[list(row) for row in rows]]
    kept = [i for i in range(len(headers)) if any(row[i] for row in cells[1:])] if rows else []
    widths = {i: max(_visible(row[i]) for row in cells) for i in kept}
    for order, row in enumerate(cells):
        parts, used = [], 0
        for i in kept:
            is_last = i == kept[-1]
            text = row[i]
            if is_last:
                text = _cut(text, terminal().width - used)
            space = " " * (0 if is_last and i not in right else widths[i] - _visible(text))
            if order == 0:
                text = paint(text, "dim")
            parts.append(space + text if i in right else text + space)
            used += widths[i] + 2
        if parts:
            print("  ".join(parts).rstrip())


def _visible(text: str) -> int:
    """Count the characters that take room."""
    if "\x1b" in text:
        for code in (*_STYLES.values(), _RESET):
            text = text.replace(code, "")
    return len(text)


def _cut(text: str, width: int) -> str:
    if _visible(text) <= width or width < 2:
        return text
    return text[: width - 1] + "…"

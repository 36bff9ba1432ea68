"""Bars read from a CSV file, and the header by which such a file is known.

Owns the text of bars: which header names count, how times and numbers are written, and on which
line something is wrong. What bars must be, once they are numbers, is research/bars.py.

    Date,Open,High,Low,Close,Adj Close,Volume
    1999-01-04,100,103.0,99,102.5,102.5,1200
    1999-01-05,102,102.0,98.5,99,99,1500

gives at_ns 915408000000000000 and 915494400000000000 (naive times are UTC), the four prices, and
the volume. Other columns (here Adj Close) are ignored: they stay in the raw file. Without a volume
column every volume is 0.0. Blank lines are skipped; a byte order mark is accepted.
"""

import csv
import math
import re
import reprlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from research.bars import COLUMNS, first_fault
from research.datasets.errors import BadBar, BadLine

PARSER: Final = "bars-csv/v1"
"""The version that a snapshot records: any change to what a file is read as needs a new one."""

_TIMES: Final = frozenset({"at", "time", "timestamp", "datetime", "date"})
_PRICES: Final = ("open", "high", "low", "close")
_HEADER_BYTES_MAX: Final = 64 * 1024
_BATCH_ROWS: Final = 32_768  # Bounds the text that is held beside the finished columns.

_NS_PER_S: Final = 10**9
_NS_MIN: Final = int(np.iinfo(np.int64).min)
_NS_MAX: Final = int(np.iinfo(np.int64).max)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_ISO_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ISO_CLOCK: Final = re.compile(
    r"[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r" ?(?:Z|([+-])([0-9]{2})(?::?([0-9]{2}))?)?"
)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")  # No more fit 64 bits.


class _BadText(Exception):
    """A text that its column does not take, and its position in the sequence of texts."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(position, reason)
        self.position = position
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where a file keeps the columns of bars; one without volumes has no place for them."""

    header: tuple[str, ...]
    places: dict[str, int]


def is_bars_header(header: Sequence[str]) -> bool:
    """Tell whether a header holds, in any case, a time and open, high, low and close."""
    names = {name.strip().lower() for name in header}
    return not _TIMES.isdisjoint(names) and names.issuperset(_PRICES)


def is_bars_file(path: Path) -> bool:
    """Tell whether a file is named .csv and its first line is a header of bars.

    A first line that is no text is no header. What is wrong further down makes the file no other
    file: it is refused when it is read.
    """
    if path.suffix.lower() != ".csv":
        return False
    with path.open("rb") as file:
        first_line = file.readline(_HEADER_BYTES_MAX)
    try:
        header = next(csv.reader([first_line.decode("utf-8-sig")], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return False
    return is_bars_header(header)


def holds_bars_alone(head: bytes) -> bool:
    """Tell from a file's beginning whether its header is one of bars, without any other column."""
    try:
        line = head.split(b"\n", 1)[0].decode("utf-8-sig")
        header = next(csv.reader([line], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return False
    names = [name.strip().lower() for name in header]
    others = set(names) - _TIMES - {*_PRICES, "volume"}
    return is_bars_header(header) and not others and len(set(names)) == len(names)


def read_bars(path: Path) -> dict[str, NDArray[Any]]:
    """Read a CSV file of bars whole, and check it against the rules of research.bars.

    Shapes: the columns of research.bars.COLUMNS, each (T,), T >= 1.
    Units:  as the file has them; at_ns in nanoseconds since 1970-01-01 UTC.
    Raises: BadLine if a line is no row of the table; BadBar if a value is no value of a bar.
    """
    try:
        layout, bars = _parse(path)
    except csv.Error as error:
        raise _bad_line(path, str(error)) from error
    fault = first_fault(bars)
    if fault is not None:
        raise _bad_bar(path, layout, fault.row, fault.column, fault.reason)
    return bars


def _parse(path: Path) -> tuple[_Layout, dict[str, NDArray[Any]]]:
    """Turn the text into columns, a batch of rows at a time; the columns may still break rules."""
    with _open(path) as file:
        reader = csv.reader(_lines(path, file), strict=True)
        layout = _layout(path, next(reader, None))
        parts: dict[str, list[NDArray[Any]]] = {column: [] for column in layout.places}
        is_epoch: bool | None = None
        row_count = 0
        while batch := list(islice(reader, _BATCH_ROWS)):
            rows = _full_rows(path, batch, len(layout.header), row_count)
            if is_epoch is None and rows:
                first_time = rows[0][layout.places["at_ns"]]
                is_epoch = _INTEGER.fullmatch(first_time.strip()) is not None
            for column, place in layout.places.items():
                texts = list(map(itemgetter(place), rows))
                try:
                    parts[column].append(_parse_column(column, texts, is_epoch=bool(is_epoch)))
                except _BadText as bad:
                    row = row_count + bad.position
                    raise _bad_bar(path, layout, row, column, bad.reason) from None
            row_count += len(rows)
        if row_count == 0:
            raise BadLine(str(path), reader.line_num, "no rows below the header")
    bars = {column: np.concatenate(parts[column]) for column in layout.places}
    bars.setdefault("volume", np.zeros(row_count))
    if is_epoch:
        try:
            bars["at_ns"] = _epoch_to_ns(bars["at_ns"])
        except _BadText as bad:
            raise _bad_bar(path, layout, bad.position, "at_ns", bad.reason) from None
    return layout, bars


def _parse_column(column: str, texts: Sequence[str], *, is_epoch: bool) -> NDArray[Any]:
    if column != "at_ns":
        return _convert(texts, float, _number, np.float64)
    if is_epoch:
        return _convert(texts, int, _integer, np.int64)
    return _convert(texts, _iso_ns, _iso_ns, np.int64)


# ---- lines and rows ----


def _open(path: Path) -> TextIO:
    # Bytes that are no UTF-8 become surrogates, so that _lines can say on which line they stand.
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        if "\0" in line:
            raise BadLine(str(path), number, "holds a NUL byte: not a text file")
        if not line.isascii():
            try:
                line.encode()
            except UnicodeEncodeError:
                raise BadLine(str(path), number, "is not UTF-8") from None
        yield line


def _numbered_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows below the header, each with the line on which it starts.

    Slower than _parse, and run only to find the line of a fault: quoted fields may hold line
    breaks, and blank lines are no rows, so that a row's number alone does not give its line.
    """
    with _open(path) as file:
        reader = csv.reader(_lines(path, file), strict=True)
        line = 1
        try:
            for row in reader:
                if line > 1 and row:
                    yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            raise BadLine(str(path), line, _csv_reason(str(error))) from error


def _csv_reason(text: str) -> str:
    if text == "unexpected end of data":
        return "a quote opens here and never closes"
    if text.startswith("field larger than field limit"):
        return f"{text}: a quote that never closes?"
    return text


def _bad_line(path: Path, reason: str) -> BadLine:
    """Give the error of the first line that is no CSV."""
    try:
        for _ in _numbered_rows(path):
            pass
    except BadLine as error:
        return error
    return BadLine(str(path), 1, reason)  # The file has changed since.


def _line_of_row(path: Path, row: int) -> int:
    return next((line for line, _ in islice(_numbered_rows(path), row, None)), 1)


def _bad_bar(path: Path, layout: _Layout, row: int, column: str, reason: str) -> BadBar:
    """Give the error of one value, in the words of the file: its line, its name of the column."""
    title = layout.header[layout.places[column]].strip()
    return BadBar(str(path), _line_of_row(path, row), title, reason)


def _layout(path: Path, header: list[str] | None) -> _Layout:
    if header is None:
        raise BadLine(str(path), 1, "the file is empty")
    names = [name.strip().lower() for name in header]
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        column = "at_ns" if name in _TIMES else name
        if column not in COLUMNS or name == "at_ns":
            continue
        if column in places:
            pair = f"{header[places[column]].strip()!r} and {header[place].strip()!r}"
            what = "a time" if column == "at_ns" else f"the {column}"
            raise BadLine(str(path), 1, f"two columns hold {what}, {pair}: leave one")
        places[column] = place
    for column in COLUMNS[:-1]:
        if column not in places:
            what = "time (at, time, timestamp, datetime or date)" if column == "at_ns" else column
            raise BadLine(str(path), 1, f"no column {what}")
    return _Layout(header=tuple(header), places={c: places[c] for c in COLUMNS if c in places})


def _full_rows(path: Path, batch: list[list[str]], width: int, row_count: int) -> list[list[str]]:
    """Drop the blank lines of a batch, and refuse a row of any other width than the header's."""
    widths = set(map(len, batch))
    if widths <= {0, width}:
        return batch if 0 not in widths else [row for row in batch if row]
    rows = [row for row in batch if row]
    position = next(position for position, row in enumerate(rows) if len(row) != width)
    line = _line_of_row(path, row_count + position)
    raise BadLine(str(path), line, f"fields: {len(rows[position])}, but the header has {width}")


# ---- one text, one value ----


def _convert(
    texts: Sequence[str],
    fast: Callable[[str], float],
    exact: Callable[[str], float],
    dtype: DTypeLike,
) -> NDArray[Any]:
    """Turn each text into a number; `exact` refuses what `fast` alone would let through.

    Python's float and int read 1_000 and digits of every script, and float reads nan: one look at
    the joined texts and at the finished column excludes all that.
    """
    joined = "".join(texts)
    if joined.isascii() and "_" not in joined:
        try:
            values = np.fromiter(map(fast, texts), dtype, count=len(texts))
        except (ValueError, OverflowError):
            pass
        else:
            if np.isfinite(values).all():
                return values
    for position, text in enumerate(texts):
        try:
            exact(text)
        except ValueError as error:
            raise _BadText(position, str(error)) from None
    raise AssertionError("one of the texts is no number, or the fast way would have taken them all")


def _number(text: str) -> float:
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{reprlib.repr(text)} is not a finite number")
    return value


def _integer(text: str) -> int:
    if _INTEGER.fullmatch(text.strip()) is None or not _NS_MIN <= int(text) <= _NS_MAX:
        raise ValueError(f"{reprlib.repr(text)} is not a time in whole units since 1970")
    return int(text)


def _iso_ns(text: str) -> int:
    """Read an ISO 8601 date or time to the nanosecond; without a zone it is UTC.

    In whole numbers throughout: a float of seconds, or a datetime, would round.
    """
    text = text.strip()
    try:
        ns = _day_ns(text[:10]) + _clock_ns(text[10:])
    except ValueError:
        raise ValueError(f"{reprlib.repr(text)} is not an ISO time, as 1999-01-04 is") from None
    if not _NS_MIN <= ns <= _NS_MAX:
        raise ValueError(f"{reprlib.repr(text)} is outside the years 1678 to 2261")
    return ns


# A file of bars has few days against its rows, or few times of day: each is read once.
@lru_cache(maxsize=10_000)
def _day_ns(text: str) -> int:
    if _ISO_DAY.fullmatch(text) is None:
        raise ValueError(text)
    return (date.fromisoformat(text).toordinal() - _EPOCH_DAY) * 86_400 * _NS_PER_S


@lru_cache(maxsize=100_000)
def _clock_ns(text: str) -> int:
    """Read the time of day and its zone, as nanoseconds since the day began in UTC."""
    if not text:
        return 0
    match = _ISO_CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(text)
    hour, minute, second, fraction, sign, zone_hour, zone_minute = match.groups(default="0")
    # time refuses the hour 24, the minute 60 and a leap second.
    clock, zone = time(int(hour), int(minute), int(second)), time(int(zone_hour), int(zone_minute))
    east_s = (zone.hour * 60 + zone.minute) * 60
    seconds = (clock.hour * 60 + clock.minute) * 60 + clock.second
    seconds += east_s if sign == "-" else -east_s
    return seconds * _NS_PER_S + int(fraction.ljust(9, "0"))


def _epoch_to_ns(raw: NDArray[np.int64]) -> NDArray[np.int64]:
    """Scale times since 1970 to nanoseconds, their unit told by the column's largest magnitude.

    Seconds have 9 to 11 digits, milliseconds 12 to 14, microseconds 15 to 17, nanoseconds more, so
    the furthest time of a file must lie before or after 1970 by over three years. Fewer digits, and
    digits that spell a calendar date, are refused: 20240102 read as seconds would be August 1970.
    """
    furthest = max((int(raw.argmin()), int(raw.argmax())), key=lambda row: abs(int(raw[row])))
    magnitude = abs(int(raw[furthest]))
    if magnitude < 10**8 or all(_spells_date(int(raw[row])) for row in (0, -1)):
        raise _BadText(0, f"{raw[0]} may be a date without dashes; write 1999-01-04 or more digits")
    scale = 1
    for limit, unit_ns in ((10**11, _NS_PER_S), (10**14, 10**6), (10**17, 10**3)):
        if magnitude < limit:
            scale = unit_ns
            break
    if magnitude * scale > _NS_MAX:
        raise _BadText(furthest, f"{raw[furthest]} is outside the years 1678 to 2261")
    return raw * np.int64(scale)


def _spells_date(value: int) -> bool:
    """Tell whether digits read as YYYYMMDDhh or YYYYMMDDhhmm; the longer forms are out of range."""
    digits = str(value)
    if len(digits) not in (10, 12) or digits[:2] not in ("19", "20") or digits[8:10] > "23":
        return False
    try:
        date.fromisoformat(f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}")
    except ValueError:
        return False
    return True

"""Bars as text: read back bit for bit, and refused with the line that is at fault."""

import csv
import io
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from research.bars import COLUMNS, ROUNDING
from research.datasets.bars_file import is_bars_file, is_bars_header, read_bars
from research.datasets.errors import BadBar, BadLine

HEADER = "date,open,high,low,close,volume\n"
ROW = "{day},100.0,103.0,99.0,102.5,1200\n"
DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bars")


def read(folder: Path, content: str | bytes, name: str = "bars.csv") -> dict[str, Any]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_bars(path)


def refused_line(folder: Path, content: str | bytes) -> tuple[int, str]:
    with pytest.raises(BadLine) as caught:
        read(folder, content)
    return caught.value.line, caught.value.reason


def refused_value(folder: Path, content: str | bytes) -> tuple[int, str, str]:
    with pytest.raises(BadBar) as caught:
        read(folder, content)
    return caught.value.line, caught.value.column, caught.value.reason


# ---- tables, written and read back ----


@st.composite
def tables(draw: st.DrawFn) -> dict[str, np.ndarray]:
    row_count = draw(st.integers(1, 12))
    instants = st.integers(-(2**62), 2**62)
    at_ns = draw(st.lists(instants, min_size=row_count, max_size=row_count, unique=True))
    price = st.floats(1e-300, 1e300)
    prices = np.sort(np.array([[draw(price) for _ in range(4)] for _ in range(row_count)]))
    volume = [draw(st.floats(0.0, 1e300)) for _ in range(row_count)]
    low, one, other, high = prices.T
    is_up = np.array([draw(st.booleans()) for _ in range(row_count)])
    return {
        "at_ns": np.array(sorted(at_ns), dtype=np.int64),
        "open": np.where(is_up, one, other),
        "high": high,
        "low": low,
        "close": np.where(is_up, other, one),
        "volume": np.array(volume),
    }


def iso(at_ns: int, zone: timezone | None = None) -> str:
    seconds, ns = divmod(at_ns, 10**9)
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    shown = instant.astimezone(zone or UTC).isoformat(sep="T")
    return f"{shown[:19]}.{ns:09d}{shown[19:] if zone else ''}"


@given(
    table=tables(),
    zone_minutes=st.integers(-23 * 60, 23 * 60) | st.none(),
    order=st.permutations([*COLUMNS, "extra"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_a_table_comes_back_bit_for_bit(
    folder: Path,
    table: dict[str, np.ndarray],
    zone_minutes: int | None,
    order: list[str],
    line_end: str,
    quoting: Any,
    mark: bytes,
) -> None:
    zone = None if zone_minutes is None else timezone(timedelta(minutes=zone_minutes))
    titles = {name: name.title() for name in order} | {"at_ns": "TimeStamp"}
    texts = {name: [repr(x) for x in column.tolist()] for name, column in table.items()}
    texts["at_ns"] = [iso(instant, zone) for instant in table["at_ns"].tolist()]
    texts["extra"] = ["a,\nb \N{GREEK SMALL LETTER ALPHA}"] * len(texts["at_ns"])
    content = io.StringIO()
    writer = csv.writer(content, lineterminator=line_end, quoting=quoting)
    writer.writerow([titles[name] for name in order])
    writer.writerows(zip(*[texts[name] for name in order], strict=True))

    bars = read(folder, mark + content.getvalue().encode())

    assert tuple(bars) == COLUMNS
    for name in COLUMNS:
        assert bars[name].dtype == table[name].dtype
        assert bars[name].tobytes() == table[name].tobytes()


def test_without_a_volume_column_every_volume_is_zero(folder: Path) -> None:
    bars = read(folder, "Date,Open,High,Low,Close\n1999-01-04,100,103,99,102.5\n")

    assert bars["volume"].tolist() == [0.0]
    assert bars["volume"].dtype == np.float64


def test_names_are_trimmed_and_other_columns_ignored(folder: Path) -> None:
    content = (
        " DATE , Open, High, Low, Close, Adj Close,,\n1999-01-04, 100, 103, 99, 102.5, nan,,x\n"
    )

    assert read(folder, content)["close"].tolist() == [102.5]


def test_blank_lines_are_skipped(folder: Path) -> None:
    content = HEADER + "\n" + ROW.format(day="1999-01-04") + "\r\n\n" + ROW.format(day="1999-01-05")

    assert read(folder, content + "\n\n")["at_ns"].size == 2


def test_the_last_line_needs_no_end(folder: Path) -> None:
    assert read(folder, HEADER + ROW.format(day="1999-01-04").rstrip())["at_ns"].size == 1


def test_a_close_above_the_high_by_rounding_is_read_as_it_stands(folder: Path) -> None:
    close = 103.0 * (1.0 + ROUNDING / 2)

    bars = read(folder, HEADER + f"1999-01-04,100,103,99,{close!r},0\n")

    assert bars["close"].tolist() == [close]


# ---- headers ----


@pytest.mark.parametrize("time", ["at", "time", "timestamp", "datetime", "date", "Date", " TIME "])
def test_a_time_and_four_prices_are_a_header_of_bars(time: str) -> None:
    assert is_bars_header([time, "Open", "HIGH", "low", "Close"])
    assert is_bars_header(["close", "low", "high", "open", "x", "", time])


@pytest.mark.parametrize(
    "header",
    [
        [],
        ["date"],
        ["", "open", "high", "low", "close"],
        ["day", "open", "high", "low", "close"],
        ["at_ns", "open", "high", "low", "close"],
        ["date", "open", "high", "low"],
        ["date", "open", "high", "low", "adj close"],
    ],
)
def test_anything_else_is_no_header_of_bars(header: list[str]) -> None:
    assert not is_bars_header(header)


@pytest.mark.parametrize(
    ("name", "content", "is_bars"),
    [
        ("a.csv", HEADER, True),
        ("A.CSV", "\N{ZERO WIDTH NO-BREAK SPACE}" + HEADER, True),
        ("a.csv", HEADER.rstrip("\n"), True),
        ("a.csv", "", False),
        ("a.csv", "\n" + HEADER, False),
        ("a.csv", "a,b\n1,2\n", False),
        ("a.csv", HEADER.replace(",", ";"), False),
        ("a.csv", '"' + HEADER, False),
        ("a.csv", HEADER.encode("utf-16"), False),
        ("a.csv", b"\xff\xfe" + HEADER.encode(), False),
        ("a.parquet", HEADER, False),
        ("csv", HEADER, False),
    ],
)
def test_a_file_is_bars_by_its_name_and_header(
    folder: Path, name: str, content: str | bytes, is_bars: bool
) -> None:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)

    assert is_bars_file(path) is is_bars


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("\n", "no column time (at, time, timestamp, datetime or date)"),
        ("open,high,low,close\n", "no column time (at, time, timestamp, datetime or date)"),
        ("date,open,high,low\n", "no column close"),
        (
            "Date,open,high,low,close,Time\n",
            "two columns hold a time, 'Date' and 'Time': leave one",
        ),
        (
            "date,open,high,low,close,Close\n",
            "two columns hold the close, 'close' and 'Close': leave one",
        ),
    ],
)
def test_a_header_that_is_ambiguous_or_short_is_refused(
    folder: Path, header: str, reason: str
) -> None:
    assert refused_line(folder, header + "1,2,3,4,5,6\n") == (1, reason)


# ---- what is refused ----


@pytest.mark.parametrize("column", COLUMNS[1:])
@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "nan", "inf", "-Infinity", "1_0", "1e999", "0x1p0", "1,5", "1.0.0", "$5", "१"],
)
def test_what_is_no_number_is_refused_with_its_line(folder: Path, column: str, text: str) -> None:
    fields = dict(zip(COLUMNS, ["1999-01-05", "100", "103", "99", "102.5", "1200"], strict=True))
    fields[column] = f'"{text}"'
    content = HEADER + ROW.format(day="1999-01-04") + ",".join(fields.values()) + "\n"

    reason = f"{text!r} is not a finite number"
    assert refused_value(folder, content) == (3, column, reason)


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("1999-01-05,0,103,99,102.5,0", "Open", "0.0 is not a finite price above zero"),
        ("1999-01-05,100,-3,99,102.5,0", "High", "-3.0 is not a finite price above zero"),
        ("1999-01-05,100,103,1e-400,102.5,0", "Low", "0.0 is not a finite price above zero"),
        ("1999-01-05,100,98,99,98.5,0", "High", "98.0 is below the low, 99.0"),
        ("1999-01-05,100,103,99,104,0", "Close", "104.0 is above the high, 103.0"),
        ("1999-01-05,100,103,99,102.5,-1", "Volume", "-1.0 is not a finite volume of 0 or more"),
    ],
)
def test_a_broken_rule_is_told_in_the_words_of_the_file(
    folder: Path, row: str, column: str, reason: str
) -> None:
    content = HEADER.title() + ROW.format(day="1999-01-04") + row + "\n"

    assert refused_value(folder, content) == (3, column, reason)


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("", 1, "the file is empty"),
        ("\N{ZERO WIDTH NO-BREAK SPACE}", 1, "the file is empty"),
        (HEADER, 1, "no rows below the header"),
        (HEADER + "\n\n", 3, "no rows below the header"),
        (HEADER + "\n1999-01-04,100\n", 3, "fields: 2, but the header has 6"),
        (HEADER + "  \n", 2, "fields: 1, but the header has 6"),
        (HEADER + "1,2,3,4,5,6,7\n", 2, "fields: 7, but the header has 6"),
        (HEADER + '1999-01-04,100,103,99,102.5,"1\n2\n', 2, "a quote opens here and never closes"),
        ('"' + HEADER, 1, "a quote opens here and never closes"),
        (HEADER + '1999-01-04,"1"00,103,99,102.5,1\n', 2, "',' expected after '\"'"),
        (HEADER.encode() + b"1999-01-04,1\0\n", 2, "holds a NUL byte: not a text file"),
        (HEADER.encode() + b"\n\xff\n", 3, "is not UTF-8"),
        (HEADER.encode() + b"1999-01-04,\xed\xa0\x80\n", 2, "is not UTF-8"),
        (b"d\xe4te" + HEADER.encode(), 1, "is not UTF-8"),
    ],
)
def test_a_line_that_is_no_row_is_named(
    folder: Path, content: str | bytes, line: int, reason: str
) -> None:
    assert refused_line(folder, content) == (line, reason)


def test_a_quote_that_swallows_the_file_is_named_where_it_opens(folder: Path) -> None:
    rows = "".join(ROW.format(day=f"1999-01-{day:02d}") for day in range(1, 32))
    content = HEADER + rows + '2000-01-01,"100,103,99,102.5,1200\n' + rows * 200

    line, reason = refused_line(folder, content)

    assert line == 33
    assert "a quote that never closes" in reason


def test_a_line_counts_the_line_breaks_inside_quotes_and_the_blank_lines(folder: Path) -> None:
    content = (
        "date,note,open,high,low,close\n"
        '1999-01-04,"two\nlines",100,103,99,102.5\n'
        "\n"
        '1999-01-05,"three\nmore\nlines",100,103,99,0\n'
    )

    assert refused_value(folder, content)[:2] == (5, "close")


def test_what_the_system_refuses_stays_an_oserror(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_bars(folder / "absent.csv")
    with pytest.raises(IsADirectoryError):
        read_bars(folder)


BATCHES = 70_000  # Rows enough for three batches of the reader.


@pytest.mark.parametrize("row", [0, 32_767, 32_768, 65_536, BATCHES - 1])
@pytest.mark.parametrize("field", ["x", "-1", "1999-01-04,1"])
def test_a_fault_in_a_later_batch_has_its_own_line(folder: Path, row: int, field: str) -> None:
    rows = [
        f"{1_700_000_000 + i},100,103,99,102.5,{field if i == row else 7}" for i in range(BATCHES)
    ]
    content = HEADER + "\n".join(rows)

    with pytest.raises((BadBar, BadLine), match=f"line {row + 2}[,:]"):
        read(folder, content)


@given(
    table=tables(),
    planted=st.sampled_from(["x", "nan", "", "-1.0", "0", "1e999"]),
    column=st.sampled_from(["open", "high", "low", "close"]),
    data=st.data(),
)
def test_one_planted_fault_is_named_by_row_and_column(
    folder: Path, table: dict[str, np.ndarray], planted: str, column: str, data: st.DataObject
) -> None:
    texts = {name: [repr(x) for x in values.tolist()] for name, values in table.items()}
    texts["at_ns"] = [iso(instant) for instant in table["at_ns"].tolist()]
    row = data.draw(st.integers(0, len(texts["at_ns"]) - 1))
    texts[column][row] = planted
    rows = zip(*[texts[name] for name in COLUMNS], strict=True)

    found = refused_value(folder, HEADER + "".join(",".join(row) + "\n" for row in rows))

    assert found[:2] == (row + 2, column)


@given(content=st.binary(max_size=200), has_header=st.booleans())
@example(content=b'"', has_header=True)
@example(content=b"\r\r\n", has_header=True)
def test_no_content_breaks_the_reader(folder: Path, content: bytes, has_header: bool) -> None:
    with suppress(BadBar, BadLine):
        read(folder, HEADER.encode() * has_header + content)


def test_the_messages_of_the_docs_are_those_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here, docs = Path(), DOCS.read_text(encoding="utf-8")
    first, bad = ROW.format(day="1999-01-04"), "1999-01-05,100.0,103.0,99.0,"
    contents = [
        HEADER + first + bad + "104.5,1200\n",
        HEADER + first + bad + "n/a,1200\n",
        HEADER + first + bad + "102.5\n",
        HEADER + first + first,
        HEADER + ROW.format(day="20240102"),
    ]
    for content in contents:
        with pytest.raises((BadBar, BadLine)) as caught:
            read(here, content)
        assert f"error: {caught.value}" in docs

"""The time column: exact to the nanosecond, and never guessed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.datasets.bars_file import read_bars
from research.datasets.errors import BadBar

DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("times")


def times(folder: Path, *texts: str) -> list[int]:
    path = folder / "bars.csv"
    rows = [f'"{text}",100.0,103.0,99.0,102.5\n' for text in texts]
    path.write_text("date,open,high,low,close\n" + "".join(rows), encoding="utf-8")
    at_ns: list[int] = read_bars(path)["at_ns"].tolist()
    return at_ns


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("1970-01-01", 0),
        ("1999-01-04", 915_408_000 * 10**9),
        ("1969-12-31", -DAY_NS),
        ("2000-02-29", 951_782_400 * 10**9),
        ("1970-01-01T00:00", 0),
        ("1970-01-01 01:02:03", 3723 * 10**9),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 00:00:00 Z", 0),
        ("1970-01-01T00:00:00+00:00", 0),
        ("1970-01-01 00:00:00+00", 0),
        ("1970-01-01T00:00:00-05:00", 5 * 3600 * 10**9),
        ("1970-01-01T05:30:00+0530", 0),
        ("1970-01-01T00:00:00.5", 5 * 10**8),
        ("1970-01-01T00:00:00,000001", 1000),
        ("1970-01-01T00:00:00.123456789Z", 123_456_789),
        ("2024-01-31T09:30:00.000000001", 1_706_693_400 * 10**9 + 1),
        ("1969-12-31T23:59:59.999999999", -1),
        ("1677-09-21T00:12:43.145224192", -(2**63)),
        ("2262-04-11T23:47:16.854775807", 2**63 - 1),
        (" 1970-01-01 ", 0),
        ("1700000000", 1_700_000_000 * 10**9),
        ("1700000000123", 1_700_000_000_123 * 10**6),
        ("1700000000123456", 1_700_000_000_123_456 * 10**3),
        ("1700000000123456789", 1_700_000_000_123_456_789),
        ("-1700000000", -1_700_000_000 * 10**9),
        ("+100000000", 10**17),
        ("9223372036", 9_223_372_036 * 10**9),
    ],
)
def test_a_time_is_exact(folder: Path, text: str, at_ns: int) -> None:
    assert times(folder, text) == [at_ns]


def test_one_unit_holds_for_the_whole_column(folder: Path) -> None:
    # The first is below 10^11 and alone would be seconds; its neighbour says milliseconds.
    assert times(folder, "86400000", "1700000000000") == [DAY_NS, 1_700_000_000_000 * 10**6]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "today",
        "NaT",
        "1/4/1999",
        "04.01.1999",
        "1999-1-4",
        "1999-02-29",
        "1999-13-01",
        "0000-01-01",
        "99-01-04",
        "1999-W01-1",
        "1999-01-04T",
        "1999-01-04T09",
        "1999-01-04T24:00",
        "1999-01-04T23:59:60",
        "1999-01-04T09:30:00.1234567891",
        "1999-01-04T09:30:00+24:00",
        "1999-01-04T09:30:00+01:60",
        "1999-01-04T09:30:00 Europe/Berlin",
        "1999-01-04x",
        "\N{ARABIC-INDIC DIGIT ONE}999-01-04",
        "1500-01-01",
        "2262-04-12",
        "1.7e9",
        "1700000000.0",
        "1_700_000_000",
        "0x6553f100",
        "99999999999999999999",
        "9" * 5000,
        "20240102",
        "2024010209",
        "202401020930",
        "20240102093000",
        "45293",
        "9223372037",
        "99999999999",
    ],
)
def test_what_is_no_time_is_refused_with_its_line(folder: Path, text: str) -> None:
    with pytest.raises(BadBar) as caught:
        times(folder, text)

    assert (caught.value.line, caught.value.column) == (2, "date")
    assert len(caught.value.reason) < 120


def test_dates_without_dashes_are_never_taken_for_seconds(folder: Path) -> None:
    days = ["20240102", "20240103"]

    for suffix in ("", "09", "0930"):
        with pytest.raises(BadBar, match="without dashes"):
            times(folder, *[day + suffix for day in days])


def test_a_column_does_not_mix_dates_and_numbers(folder: Path) -> None:
    with pytest.raises(BadBar, match="line 3"):
        times(folder, "1999-01-04", "1700000000")
    with pytest.raises(BadBar, match="line 3"):
        times(folder, "1700000000", "2024-01-04")


@pytest.mark.parametrize("unit_ns", [1, 10**3, 10**6, 10**9])
@given(places=st.sets(st.integers(0, 2 * 10**9), min_size=1, max_size=12))
def test_times_since_1970_come_back_exactly(folder: Path, unit_ns: int, places: set[int]) -> None:
    # From 2001 on, where the magnitude tells the unit whatever the times are.
    start = 10**18 // unit_ns
    instants = [start + place for place in sorted(places)]

    found = times(folder, *map(str, instants))

    assert found == [instant * unit_ns for instant in instants]


def test_duplicate_and_unsorted_times_are_told_apart(folder: Path) -> None:
    with pytest.raises(BadBar, match=r"line 4, column date: .* duplicate"):
        times(folder, "1999-01-04", "1999-01-05", "1999-01-05T00:00Z", "1999-01-03")
    with pytest.raises(BadBar, match=r"line 3, column date: .* unsorted"):
        times(folder, "1999-01-04", "1999-01-03")

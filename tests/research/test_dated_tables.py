"""When a cell was known, and the first that two tables do not have alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.experiments.dated_tables import (
    ABSENT,
    NEVER,
    count_known,
    decision_bars,
    first_mismatch,
    read_dates,
)
from rosdb import Store

AT_NS = np.arange(100, dtype=np.int64) * 1_000
TRADE = {
    "trade_id": np.array([0, 1]),
    "entry_bar": np.array([10, 40]),
    "exit_bar": np.array([30, -1]),
    "side": np.array(["long", "short"]),
    "quantity": np.array([1.0, 2.0]),
    "entry_price": np.array([100.0, 101.0]),
    "pnl": np.array([5.0, -1.0]),
    "exit_reason": np.array(["signal", "open"]),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store.init(tmp_path_factory.mktemp("dated") / "store")
    yield made
    made.close()


@pytest.fixture(scope="module")
def dated(store):
    """Give a function that reads columns as a dated table."""

    def made(has_engine=False, **columns):
        table = store.get_table(store.put_table(columns))
        return read_dates("t", table, AT_NS, has_engine=has_engine)

    return made


def changed(columns, **cells):
    """Return columns with one cell of each named column changed: the row and the value."""
    copied = {name: values.copy() for name, values in columns.items()}
    for name, (row, value) in cells.items():
        copied[name][row] = value
    return copied


@pytest.mark.parametrize(
    ("columns", "begun"),
    [
        ({"bar": np.array([3, -1, 5])}, [3, NEVER, 5]),
        ({"entry_bar": np.array([3.0, np.nan, 5.0])}, [3, NEVER, 5]),
        ({"at_ns": np.array([3_000, 3_001, 99_001])}, [3, 4, 100]),
        ({"exit_at_ns": np.array([0, -1, 99_000])}, [0, NEVER, 99]),
        (
            {"when": np.array([3_000, np.datetime64("NaT"), 5_000], "datetime64[ns]")},
            [3, NEVER, 5],
        ),
        ({"bar": np.ma.MaskedArray([3, 4, 5], [False, True, False])}, [3, NEVER, 5]),
        ({"entry_bar": np.array([3, 9, -1]), "exit_bar": np.array([7, -1, -1])}, [3, 9, NEVER]),
        # A bar beside an instant of its own counts from somewhere else.
        ({"bar": np.array([0, 1]), "at_ns": np.array([50_000, 51_000])}, [50, 51]),
    ],
)
def test_dates_are_read(dated, columns, begun):
    assert dated(**columns).begun.tolist() == begun


@pytest.mark.parametrize(
    "columns",
    [
        {"price": np.array([1.0])},
        {"bars": np.array([1])},
        {"crossbar": np.array([1])},
        {"bar": np.array(["first"])},
        {"bar": np.array([1.5])},
        {"bar": np.array([np.inf])},
        {"bar": np.array([100])},
        {"bar": np.array([True])},
    ],
)
def test_what_is_no_date_is_none(dated, columns):
    assert dated(**columns) is None


def test_a_row_is_settled_at_its_latest_date(dated):
    table = dated(**TRADE)

    assert table.settled.tolist() == [30, NEVER]
    for column, known in {
        "entry_bar": [10, 40],
        "exit_bar": [30, NEVER],
        "entry_price": [10, 40],
        "side": [10, 40],
        "quantity": [10, 40],
        "exit_reason": [30, NEVER],
        "pnl": [30, NEVER],
    }.items():
        assert table.known(column).tolist() == known, column


def test_the_engines_trades_were_decided_a_bar_before(dated):
    stopped = changed(TRADE, exit_reason=(0, "stop"))

    assert dated(has_engine=True, **TRADE).known("exit_bar").tolist() == [29, NEVER]
    assert dated(has_engine=True, **stopped).known("exit_bar").tolist() == [30, NEVER]
    assert dated(has_engine=True, **TRADE).begun.tolist() == [9, 39]
    assert dated(has_engine=True, **TRADE).known("entry_price").tolist() == [10, 40]


@pytest.mark.parametrize(
    ("column", "row", "value", "from_bar"),
    [
        ("entry_bar", 0, 11, 10),
        ("exit_bar", 0, 29, 29),
        ("exit_bar", 1, 60, 60),
        ("side", 1, "long", 40),
        ("quantity", 0, 1.5, 10),
        ("entry_price", 1, 101.5, 40),
        ("pnl", 0, 6.0, 30),
        ("pnl", 0, np.nan, 30),
        ("exit_reason", 0, "stop", 30),
    ],
)
def test_a_cell_counts_from_when_it_is_known(dated, column, row, value, from_bar):
    ours = dated(**TRADE)
    theirs = dated(**changed(TRADE, **{column: (row, value)}))

    assert first_mismatch(ours, theirs, from_bar - 1) is None
    found = first_mismatch(ours, theirs, from_bar)
    assert found is not None
    assert (found.artifact, found.column, found.row, found.bar) == ("t", column, row, from_bar)


def test_what_is_not_known_yet_may_differ(dated):
    theirs = changed(TRADE, pnl=(1, 99.0), exit_reason=(1, "stop"), trade_id=(0, 7))

    assert first_mismatch(dated(**TRADE), dated(**theirs), 99) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([3, 7], [3], ("bar", 1, 7, 7, ABSENT)),
        ([3], [3, 7], ("bar", 1, 7, ABSENT, 7)),
        ([3, 9], [3, 7], ("bar", 1, 7, ABSENT, 7)),
        ([3, 7], [3, 9], ("bar", 1, 7, 7, ABSENT)),
        ([9, 3], [3, 9], None),
        ([3, 80], [3, 90], None),
    ],
)
def test_rows_that_only_one_has(dated, ours, theirs, expected):
    found = first_mismatch(dated(bar=np.array(ours)), dated(bar=np.array(theirs)), 50)

    if expected is None:
        assert found is None
    else:
        assert (found.column, found.row, found.bar, found.ours, found.theirs) == expected


def test_a_table_or_a_column_that_is_missing(dated):
    ours = dated(bar=np.array([3, 7]), price=np.array([1.0, 2.0]))

    assert first_mismatch(ours, None, 2) is None
    assert first_mismatch(ours, None, 3).theirs == ABSENT
    found = first_mismatch(ours, dated(bar=np.array([3, 7])), 50)
    assert (found.column, found.row, found.theirs) == ("price", 0, ABSENT)


@pytest.mark.parametrize(
    ("ours", "theirs", "are_same"),
    [
        (np.array([0.0]), np.array([-0.0]), False),
        (np.array([np.nan]), np.array([np.nan]), True),
        (np.array([1.0]), np.array([1]), True),
        (np.array([1.0]), np.array([np.nextafter(1.0, 2.0)]), False),
        (np.array([1.0]), np.array(["1.0"]), False),
        (np.array(["a"]), np.array(["a" * 40], object), False),
        (np.ma.MaskedArray([1.0], [True]), np.ma.MaskedArray([2.0], [True]), True),
        (np.ma.MaskedArray([1.0], [True]), np.array([0.0]), False),
        (np.array([True]), np.array([False]), False),
        (np.array([1.5], np.float32), np.array([1.5], np.float32), True),
    ],
)
def test_values_are_the_same_to_the_bit(dated, ours, theirs, are_same):
    bar = np.array([5])

    found = first_mismatch(dated(bar=bar, value=ours), dated(bar=bar, value=theirs), 5)

    assert (found is None) == are_same


@given(
    bars=st.lists(st.integers(0, 99), min_size=1, max_size=30),
    until=st.integers(0, 99),
    row=st.integers(0, 29),
)
def test_a_change_is_found_exactly_when_it_was_known(dated, bars, until, row):
    row %= len(bars)
    columns = {"bar": np.array(bars), "value": np.arange(len(bars), dtype=np.float64)}
    ours, theirs = dated(**columns), dated(**changed(columns, value=(row, -1.0)))

    found = first_mismatch(ours, theirs, until)

    assert (found is not None) == (bars[row] <= until)
    if found is not None:
        assert (found.row, found.bar, found.theirs) == (row, bars[row], -1.0)
    assert first_mismatch(ours, ours, until) is None
    assert count_known(ours, until) == sum(bar <= until for bar in bars)


def test_decisions_are_the_dates_of_few_rows_and_the_changes_of_many(dated):
    signal = np.zeros(100)
    signal[20:40] = [1.0] * 5 + [-1.0] * 15
    series = dated(at_ns=AT_NS, equity=np.arange(100.0), signal=signal)

    assert decision_bars(dated(**TRADE), 100) == {10, 30, 40}
    assert decision_bars(dated(has_engine=True, **TRADE), 100) == {9, 29, 39}
    assert decision_bars(series, 100) == {20, 25}

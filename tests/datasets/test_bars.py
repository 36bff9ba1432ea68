"""What a table of bars is: every rule, and the row and column that breaks it first."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.bars import COLUMNS, ROUNDING, Fault, first_fault

ROW_COUNT = 5
PRICES = ("open", "high", "low", "close")


def sound_bars() -> dict[str, np.ndarray]:
    return {
        "at_ns": np.arange(ROW_COUNT, dtype=np.int64) * 86_400 * 10**9,
        "open": np.full(ROW_COUNT, 100.0),
        "high": np.full(ROW_COUNT, 103.0),
        "low": np.full(ROW_COUNT, 99.0),
        "close": np.full(ROW_COUNT, 102.5),
        "volume": np.full(ROW_COUNT, 1200.0),
    }


def fault_after(column: str, row: int, value: float) -> Fault | None:
    bars = sound_bars()
    bars[column][row] = value
    return first_fault(bars)


def test_sound_bars_have_no_fault() -> None:
    assert first_fault(sound_bars()) is None
    assert first_fault({name: column[:1] for name, column in sound_bars().items()}) is None
    assert first_fault(sound_bars() | {"adjusted": np.array([np.nan])}) is None


def test_a_flat_bar_without_volume_is_sound() -> None:
    bars = sound_bars()
    for name in PRICES:
        bars[name][2] = 7.0
    bars["volume"][2] = 0.0

    assert first_fault(bars) is None


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(column: str) -> None:
    bars = sound_bars()
    del bars[column]

    assert first_fault(bars) == Fault(row=-1, column=column, reason="missing")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("dtype", ["float32", "uint64", ">f8", ">i8", "datetime64[ns]", "bool"])
def test_another_dtype_is_refused(column: str, dtype: str) -> None:
    bars = sound_bars()
    bars[column] = bars[column].astype("int64").astype(dtype)

    fault = first_fault(bars)

    assert fault is not None
    assert (fault.row, fault.column) == (-1, column)
    assert fault.reason.startswith(f"dtype is {dtype}, not ")


@pytest.mark.parametrize("column", COLUMNS)
def test_another_shape_is_refused(column: str) -> None:
    for shaped in (np.atleast_2d, np.ndarray.item):
        bars = sound_bars()
        bars[column] = np.asarray(shaped(bars[column][:1]), dtype=bars[column].dtype)

        fault = first_fault(bars)

        assert fault is not None
        assert (fault.row, fault.column) == (-1, column)
        assert "dimensions" in fault.reason


@pytest.mark.parametrize("column", COLUMNS[1:])
def test_columns_of_unequal_length_are_refused(column: str) -> None:
    bars = sound_bars()
    bars[column] = bars[column][:-1]

    reason = "has 4 rows, but at_ns has 5"
    assert first_fault(bars) == Fault(row=-1, column=column, reason=reason)


def test_no_rows_are_refused() -> None:
    empty = {name: column[:0] for name, column in sound_bars().items()}

    assert first_fault(empty) == Fault(row=-1, column="at_ns", reason="no rows")


def test_times_must_ascend_strictly() -> None:
    bars = sound_bars()
    duplicate = fault_after("at_ns", 3, bars["at_ns"][2])
    unsorted = fault_after("at_ns", 3, bars["at_ns"][2] - 1)

    assert duplicate is not None
    assert (duplicate.row, duplicate.column) == (3, "at_ns")
    assert "duplicate" in duplicate.reason
    assert unsorted is not None
    assert (unsorted.row, unsorted.column) == (3, "at_ns")
    assert "unsorted" in unsorted.reason


def test_the_whole_range_of_times_is_compared_without_overflow() -> None:
    limits = np.iinfo(np.int64)
    bars = {name: column[:2] for name, column in sound_bars().items()}

    assert first_fault(bars | {"at_ns": np.array([limits.min, limits.max])}) is None
    assert first_fault(bars | {"at_ns": np.array([limits.max, limits.min])}) is not None


@pytest.mark.parametrize("column", PRICES)
@pytest.mark.parametrize("value", [0.0, -0.0, -1.0, np.nan, np.inf, -np.inf])
def test_a_price_is_finite_and_above_zero(column: str, value: float) -> None:
    reason = f"{value!r} is not a finite price above zero"
    assert fault_after(column, 2, value) == Fault(row=2, column=column, reason=reason)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, -np.inf])
def test_a_volume_is_finite_and_not_negative(value: float) -> None:
    reason = f"{value!r} is not a finite volume of 0 or more"
    assert fault_after("volume", 0, value) == Fault(row=0, column="volume", reason=reason)


@pytest.mark.parametrize(
    ("column", "value", "fault_column", "reason"),
    [
        ("high", 98.0, "high", "98.0 is below the low, 99.0"),
        ("low", 104.0, "high", "103.0 is below the low, 104.0"),
        ("open", 103.5, "open", "103.5 is above the high, 103.0"),
        ("open", 98.5, "open", "98.5 is below the low, 99.0"),
        ("close", 103.5, "close", "103.5 is above the high, 103.0"),
        ("close", 98.5, "close", "98.5 is below the low, 99.0"),
    ],
)
def test_prices_keep_their_order(column: str, value: float, fault_column: str, reason: str) -> None:
    assert fault_after(column, 4, value) == Fault(row=4, column=fault_column, reason=reason)


@given(
    price=st.floats(0.01, 1e6),
    payout=st.floats(0.001, 0.999),
)
def test_an_adjusted_close_may_pass_the_adjusted_high_by_rounding(
    price: float, payout: float
) -> None:
    # As vendors adjust: the adjusted close is given, the others are multiplied by the ratio to it.
    adjusted_close = price * payout
    ratio = adjusted_close / price
    bars = {name: column[:1] for name, column in sound_bars().items()}
    for name in ("open", "high", "low"):
        bars[name] = np.array([price * ratio])
    bars["close"] = np.array([adjusted_close])

    assert first_fault(bars) is None


def test_rounding_ends_far_below_a_tick() -> None:
    assert fault_after("close", 1, 103.0 * (1.0 + ROUNDING / 2)) is None
    assert fault_after("open", 1, 99.0 * (1.0 - ROUNDING / 2)) is None
    assert fault_after("close", 1, 103.0 * (1.0 + 3 * ROUNDING)) is not None
    assert fault_after("open", 1, 99.0 * (1.0 - 3 * ROUNDING)) is not None


def test_the_largest_floats_raise_no_warning() -> None:
    bars = sound_bars()
    largest = np.finfo(np.float64).max
    for name in PRICES:
        bars[name][0] = largest

    assert first_fault(bars) is None


def test_the_value_named_is_the_cause() -> None:
    # A negative high puts the open, which comes before it, above the high.
    fault = fault_after("high", 1, -5.0)

    assert fault is not None
    assert fault.column == "high"
    assert "not a finite price" in fault.reason


def naive_fault(bars: dict[str, np.ndarray]) -> tuple[int, str] | None:
    """The rules once more, a row and a value at a time."""
    for row in range(bars["at_ns"].size):
        if row and bars["at_ns"][row] <= bars["at_ns"][row - 1]:
            return row, "at_ns"
        for name in PRICES:
            if not 0.0 < bars[name][row] < np.inf:
                return row, name
        if not 0.0 <= bars["volume"][row] < np.inf:
            return row, "volume"
        low, high = bars["low"][row], bars["high"][row]
        if high < low:
            return row, "high"
        for name in ("open", "close"):
            if not low * (1 - ROUNDING) <= bars[name][row] <= high * (1 + ROUNDING):
                return row, name
    return None


ODD_VALUES = [-1.0, 0.0, np.nan, np.inf, 98.0, 99.0, 100.0, 103.0, 104.0]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(COLUMNS), st.integers(0, ROW_COUNT - 1), st.sampled_from(ODD_VALUES)
        ),
        max_size=6,
    )
)
def test_the_first_fault_is_the_one_that_a_row_by_row_reading_finds(
    changes: list[tuple[str, int, float]],
) -> None:
    bars = sound_bars()
    for column, row, value in changes:
        if column == "at_ns":
            bars["at_ns"][row] = bars["at_ns"][row - 1]
        else:
            bars[column][row] = value
    before = {name: column.tobytes() for name, column in bars.items()}

    fault = first_fault(bars)

    assert (None if fault is None else (fault.row, fault.column)) == naive_fault(bars)
    assert {name: column.tobytes() for name, column in bars.items()} == before


def test_a_fault_is_a_frozen_value() -> None:
    fault = Fault(row=1, column="open", reason="missing")

    with pytest.raises(dataclasses.FrozenInstanceError):
        fault.row = 2  # type: ignore[misc]

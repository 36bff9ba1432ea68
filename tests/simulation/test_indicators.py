"""Moving averages and crossings."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.simulation.indicators import crossovers, simple_moving_average

NAN = math.nan
PRICES = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60)


def test_average_by_hand():
    found = simple_moving_average([1.0, 2.0, 6.0, 4.0, 2.0], 3)
    np.testing.assert_array_equal(found, [NAN, NAN, 3.0, 4.0, 4.0])


def test_window_of_one_is_the_series():
    assert simple_moving_average(np.array([3.0, 1.0]), 1).tolist() == [3.0, 1.0]


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_series_shorter_than_the_window_has_no_average(values):
    found = simple_moving_average(values, 3)
    assert len(found) == len(values)
    assert np.isnan(found).all()


def test_gap_spoils_the_windows_that_hold_it_and_no_other():
    found = simple_moving_average([1.0, NAN, 3.0, 5.0, 7.0], 2)
    np.testing.assert_array_equal(found, [NAN, NAN, NAN, 4.0, 6.0])


@pytest.mark.parametrize("window", [0, -1])
def test_window_below_one(window):
    with pytest.raises(ValueError, match=f"window is {window}"):
        simple_moving_average([1.0], window)


def test_window_that_is_no_whole_number():
    with pytest.raises(TypeError):
        simple_moving_average([1.0], 1.5)  # type: ignore[arg-type]


def test_values_of_two_dimensions():
    with pytest.raises(ValueError, match="2 dimensions"):
        simple_moving_average([[1.0]], 1)


@given(values=PRICES, window=st.integers(1, 60))
def test_each_window_is_added_up_by_itself_from_its_oldest_value(values, window):
    found = simple_moving_average(values, window).tolist()
    for bar in range(window - 1, len(values)):
        total = 0.0
        for value in values[bar + 1 - window : bar + 1]:
            total += value
        assert found[bar] == total / window


@given(values=PRICES, window=st.integers(1, 20), start=st.integers(0, 30))
def test_average_does_not_depend_on_where_the_series_begins(values, window, start):
    whole = simple_moving_average(values, window)[start:]
    part = simple_moving_average(values[start:], window)
    full = slice(window - 1, None)
    assert whole[full].tobytes() == part[full].tobytes()


def test_average_does_not_drift():
    """A running sum that has once held 1e16 never finds the small values again."""
    values = [1e16] * 3 + [0.1] * 5
    assert simple_moving_average(values, 3)[-1] == (0.1 + 0.1 + 0.1) / 3


def test_crossings_by_hand():
    fast = np.array([NAN, 1.0, 3.0, 3.0, 1.0, 2.0, 3.0, 2.0, 1.0])
    slow = np.array([NAN, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    entries, exits = crossovers(fast, slow)
    assert np.flatnonzero(entries).tolist() == [2, 6]  # from below, and from a touch
    assert np.flatnonzero(exits).tolist() == [4, 8]


def test_touch_alone_is_no_crossing():
    entries, exits = crossovers(np.array([1.0, 2.0, 1.0]), np.array([2.0, 2.0, 2.0]))
    assert not entries.any()
    assert np.flatnonzero(exits).tolist() == [2]  # from the touch downwards


def test_first_bar_where_both_are_defined_is_no_crossing():
    entries, exits = crossovers(np.array([NAN, 3.0, 4.0]), np.array([NAN, 2.0, 2.0]))
    assert not entries.any()
    assert not exits.any()


@pytest.mark.parametrize("shape", [(2,), (3, 1), ()])
def test_series_of_different_shape(shape):
    with pytest.raises(ValueError, match="shapes"):
        crossovers(np.zeros(3), np.zeros(shape))


@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_crossings_as_the_definition_has_them(pairs):
    fast = np.array([pair[0] for pair in pairs], dtype=np.float64)
    slow = np.array([pair[1] for pair in pairs], dtype=np.float64)
    entries, exits = crossovers(fast, slow)
    before = [(0, 0), *pairs][: len(pairs)]
    for bar, ((f, s), (f_before, s_before)) in enumerate(zip(pairs, before, strict=True)):
        assert entries[bar] == (bar > 0 and f_before <= s_before and f > s)
        assert exits[bar] == (bar > 0 and f_before >= s_before and f < s)

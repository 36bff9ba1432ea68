"""Indicators: by hand, against a second formula, and blind to the future."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.simulation.indicators import (
    TILE,
    bollinger_bands,
    crossovers,
    donchian_channel,
    exponential_moving_average,
    relative_strength_index,
    simple_moving_average,
)

NAN = math.nan
PRICES = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60)

# Each indicator over one series, as a tuple of series.
INDICATORS = {
    "sma": lambda x, w: (simple_moving_average(x, w),),
    "ema": lambda x, w: (exponential_moving_average(x, w),),
    "rsi": lambda x, w: (relative_strength_index(x, w),),
    "donchian": lambda x, w: donchian_channel(x, x, w),
    "bollinger": lambda x, w: bollinger_bands(x, w),
}


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


@pytest.mark.parametrize("name", INDICATORS)
@pytest.mark.parametrize("window", [0, -1])
def test_window_below_one(name, window):
    with pytest.raises(ValueError, match=f"window is {window}"):
        INDICATORS[name]([1.0], window)


@pytest.mark.parametrize("name", INDICATORS)
def test_window_that_is_no_whole_number(name):
    with pytest.raises(TypeError):
        INDICATORS[name]([1.0], 1.5)


@pytest.mark.parametrize("name", INDICATORS)
def test_values_of_two_dimensions(name):
    with pytest.raises(ValueError, match="2 dimensions"):
        INDICATORS[name]([[1.0]], 1)


@pytest.mark.parametrize("name", INDICATORS)
@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_series_shorter_than_the_window_has_no_indicator(name, values):
    for found in INDICATORS[name](values, 3):
        assert len(found) == len(values)
        assert np.isnan(found).all()


@pytest.mark.parametrize("name", INDICATORS)
@given(
    values=PRICES,
    window=st.integers(1, 12),
    cut=st.integers(0, 60),
    future=st.lists(st.floats(0.01, 1e6), max_size=60),
)
def test_the_future_changes_nothing_before_it(name, values, window, cut, future):
    past = values[:cut]
    for before, after in zip(
        INDICATORS[name](values, window), INDICATORS[name](past + future, window), strict=True
    ):
        assert before[: len(past)].tobytes() == after[: len(past)].tobytes()


@pytest.mark.parametrize("length", [TILE - 1, TILE, TILE + 1, 2 * TILE + 7])
@pytest.mark.parametrize("window", [1, 3, 100])
def test_tiles_change_no_bit(length, window):
    values = np.random.default_rng(5).uniform(50.0, 150.0, length)
    totals, squares = np.zeros(length - window + 1), np.zeros(length - window + 1)
    for first in range(window):
        totals += values[first : first + len(totals)]
    for first in range(window):
        away = values[first : first + len(totals)] - totals / window
        squares += away * away
    band = 2.0 * np.sqrt(squares / window)
    full = slice(window - 1, None)

    assert simple_moving_average(values, window)[full].tobytes() == (totals / window).tobytes()
    middle, upper, lower = bollinger_bands(values, window)
    assert middle[full].tobytes() == (totals / window).tobytes()
    assert upper[full].tobytes() == (totals / window + band).tobytes()
    assert lower[full].tobytes() == (totals / window - band).tobytes()


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


def test_exponential_average_by_hand():
    # It begins as (2 + 4) / 2 and moves by 2 / 3 of the distance to each value.
    found = exponential_moving_average([2.0, 4.0, 9.0, 1.0], 2)
    np.testing.assert_allclose(found, [NAN, 3.0, 7.0, 3.0], rtol=1e-15)


@given(values=PRICES, window=st.integers(1, 20))
def test_exponential_average_as_a_weighted_sum(values, window):
    found = exponential_moving_average(values, window)
    kept = 1.0 - 2.0 / (window + 1.0)
    for bar in range(window - 1, len(values)):
        age = bar - window + 1
        start = math.fsum(values[:window]) / window
        later = [(1.0 - kept) * kept**back * values[bar - back] for back in range(age)]
        assert found[bar] == pytest.approx(kept**age * start + math.fsum(later), rel=1e-9)


def test_relative_strength_by_hand():
    # Changes 2, -1, 3, -4. Averages of two: gains 1, then (1 + 3) / 2, then (2 + 0) / 2;
    # losses 0.5, then 0.25, then (0.25 + 4) / 2.
    found = relative_strength_index([10.0, 12.0, 11.0, 14.0, 10.0], 2)
    expected = [NAN, NAN, 100 / 1.5, 200 / 2.25, 100 / 3.125]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_relative_strength_of_wilders_own_table():
    """The closes of the often printed worked example, with its figures to two places."""
    closes = [
        44.34, 44.09, 44.15, 43.61, 44.33, 44.83, 45.10, 45.42, 45.84, 46.08, 45.89, 46.03, 45.61,
        46.28, 46.28, 46.00, 46.03, 46.41, 46.22, 45.64,
    ]  # fmt: skip
    found = relative_strength_index(closes, 14)
    assert np.isnan(found[:14]).all()
    assert found[14:].round(1).tolist() == [70.5, 66.2, 66.5, 69.3, 66.3, 57.9]


@given(values=PRICES, window=st.integers(1, 20))
def test_relative_strength_by_the_usual_formula(values, window):
    found = relative_strength_index(values, window)
    changes = [after - before for before, after in itertools.pairwise(values)]
    gain = loss = 0.0
    for bar, change in enumerate(changes, start=1):
        up, down = max(change, 0.0), max(-change, 0.0)
        if bar <= window:
            gain, loss = gain + up / window, loss + down / window
        else:
            gain = (gain * (window - 1) + up) / window
            loss = (loss * (window - 1) + down) / window
        if bar < window or (gain < 1e-6 and loss < 1e-6):
            continue
        expected = 100.0 if loss == 0.0 else 100.0 - 100.0 / (1.0 + gain / loss)
        assert found[bar] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_relative_strength_at_its_ends():
    assert relative_strength_index([1.0, 2.0, 3.0], 2)[-1] == 100.0
    assert relative_strength_index([3.0, 2.0, 1.0], 2)[-1] == 0.0
    assert math.isnan(relative_strength_index([2.0, 2.0, 2.0], 2)[-1])


def test_gap_is_passed_over_by_what_smooths():
    whole, gaps = [3.0, 5.0, 4.0, 7.0], [NAN, 3.0, NAN, 5.0, 4.0, NAN, 7.0]
    for smooth in (exponential_moving_average, relative_strength_index):
        found = smooth(gaps, 2)
        assert np.isnan(found[[0, 2, 5]]).all()
        assert found[[1, 3, 4, 6]].tobytes() == smooth(whole, 2).tobytes()


def test_channel_by_hand():
    upper, lower = donchian_channel([5.0, 7.0, 6.0, 4.0], [1.0, 3.0, 2.0, 2.5], 2)
    np.testing.assert_array_equal(upper, [NAN, 7.0, 7.0, 6.0])
    np.testing.assert_array_equal(lower, [NAN, 1.0, 2.0, 2.0])


@given(values=PRICES, window=st.integers(1, 60))
def test_channel_holds_the_extremes_of_each_window(values, window):
    low = [value - 0.001 for value in values]
    upper, lower = donchian_channel(values, low, window)
    for bar in range(window - 1, len(values)):
        assert upper[bar] == max(values[bar + 1 - window : bar + 1])
        assert lower[bar] == min(low[bar + 1 - window : bar + 1])


def test_channel_of_unequal_lengths():
    with pytest.raises(ValueError, match="2 highs, but 1 lows"):
        donchian_channel([1.0, 2.0], [1.0], 1)


def test_bands_by_hand():
    # 1, 3: mean 2, deviation 1. 3, 7: mean 5, deviation 2.
    middle, upper, lower = bollinger_bands([1.0, 3.0, 7.0], 2, 1.5)
    np.testing.assert_array_equal(middle, [NAN, 2.0, 5.0])
    np.testing.assert_array_equal(upper, [NAN, 3.5, 8.0])
    np.testing.assert_array_equal(lower, [NAN, 0.5, 2.0])


@given(values=PRICES, window=st.integers(1, 20))
def test_bands_by_the_standard_librarys_deviation(values, window):
    middle, upper, lower = bollinger_bands(values, window)
    for bar in range(window - 1, len(values)):
        part = values[bar + 1 - window : bar + 1]
        band = 2.0 * statistics.pstdev(part)
        assert upper[bar] - middle[bar] == pytest.approx(band, rel=1e-6, abs=1e-6)
        assert middle[bar] - lower[bar] == pytest.approx(band, rel=1e-6, abs=1e-6)


def test_bands_of_a_flat_stretch_far_from_zero_have_no_width():
    """A sum of squares less the square of the sum would leave rounding here."""
    middle, upper, lower = bollinger_bands([1e8 + 0.5] * 5, 4)
    assert upper[-1] == middle[-1] == lower[-1]


@pytest.mark.parametrize("width", [-1.0, NAN])
def test_width_below_zero(width):
    with pytest.raises(ValueError, match="width is"):
        bollinger_bands([1.0], 1, width)


@pytest.mark.parametrize("name", ["sma", "donchian", "bollinger"])
def test_gap_spoils_no_window_that_does_not_hold_it(name):
    values = [1.0, NAN, 3.0, 5.0, 7.0]
    for found in INDICATORS[name](values, 2):
        assert np.isnan(found).tolist() == [True, True, True, False, False]

"""Indicators of a series, as signals are made of them.

Owns the formulas: pure functions of arrays, in which what stands at bar i depends on bars up to i
alone. What is undefined is NaN. Keeps nothing (`view` does).

A window is added up by itself, its oldest value first. A running sum would need fewer additions,
but it carries the rounding of every value that it has ever held, so a figure would depend on where
the series begins, and would drift. Elementwise additions round the same whatever the width of the
processor's vectors.
"""

import operator
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Series = NDArray[np.float64]

TILE: Final = 16_384
"""So many windows are added up at a time: they and their values stay in the processor's cache."""


def simple_moving_average(values: ArrayLike, window: int) -> Series:
    """Average the last `window` values, the current one included; NaN until there are as many.

    Two averages that are equal in exact arithmetic, on a flat stretch, may still differ in the last
    digit.

    Shapes: values (T,); returns (T,).
    Raises: ValueError if the window is below 1 or the values are not one-dimensional.
    """
    series, width = _checked(values, window)
    averages = np.full(len(series), np.nan)
    totals = averages[width - 1 :]
    for start in range(0, len(totals), TILE):
        tile = totals[start : start + TILE]
        tile[:] = 0.0
        for first in range(start, start + width):
            np.add(tile, series[first : first + len(tile)], out=tile)
        np.divide(tile, width, out=tile)
    return averages


def exponential_moving_average(values: ArrayLike, window: int) -> Series:
    """Average all values so far, each weighing less by a factor of 1 - 2 / (window + 1) per bar.

    It begins as the plain average of the first `window` values, and is NaN before. A value that is
    NaN is passed over, as if its bar were not there.

    Shapes: values (T,); returns (T,).
    Raises: ValueError if the window is below 1 or the values are not one-dimensional.
    """
    series, width = _checked(values, window)
    is_there = ~np.isnan(series)
    averages = np.full(len(series), np.nan)
    averages[is_there] = _smoothed(series[is_there].tolist(), width, 2.0 / (width + 1.0))
    return averages


def relative_strength_index(values: ArrayLike, window: int) -> Series:
    """Return 100 * gain / (gain + loss), of the average rise and the average fall per bar.

    The averages begin as those of the first `window` changes, and smooth with a factor of
    1 / window. NaN before there are as many changes, and where nothing has ever changed. A value
    that is NaN is passed over, as if its bar were not there.

    Shapes: values (T,); returns (T,).
    Units:  0 (falls only) to 100 (rises only).
    Raises: ValueError if the window is below 1 or the values are not one-dimensional.
    Source: Wilder, "New Concepts in Technical Trading Systems", Trend Research 1978.
    """
    series, width = _checked(values, window)
    is_there = ~np.isnan(series)
    changes = np.diff(series[is_there])
    gain = np.array(_smoothed(np.maximum(changes, 0.0).tolist(), width, 1.0 / width))
    loss = np.array(_smoothed(np.maximum(-changes, 0.0).tolist(), width, 1.0 / width))
    index = np.full(int(is_there.sum()), np.nan)
    with np.errstate(invalid="ignore"):  # 0 / 0: nothing has changed
        index[1:] = 100.0 * gain / (gain + loss)
    strengths = np.full(len(series), np.nan)
    strengths[is_there] = index
    return strengths


def donchian_channel(high: ArrayLike, low: ArrayLike, window: int) -> tuple[Series, Series]:
    """Return the highest high and the lowest low of the last `window` bars, the current included.

    NaN until there are as many, and where one of them is NaN.

    Shapes: high, low (T,); returns two of (T,): upper, lower.
    Raises: ValueError if the window is below 1, or the two are not one-dimensional and of one
            length.
    """
    highs, width = _checked(high, window)
    lows, _ = _checked(low, window)
    if len(highs) != len(lows):
        raise ValueError(f"{len(highs)} highs, but {len(lows)} lows")
    return _extreme(highs, width, np.maximum), _extreme(lows, width, np.minimum)


def bollinger_bands(
    values: ArrayLike, window: int, width: float = 2.0
) -> tuple[Series, Series, Series]:
    """Return the simple moving average, and bands so many standard deviations above and below it.

    The deviation is that of the window's values from their own average, divided by their count.

    Shapes: values (T,); returns three of (T,): middle, upper, lower.
    Units:  width in standard deviations, at least 0.
    Raises: ValueError if the window is below 1, the width is negative or no number, or the values
            are not one-dimensional.
    Source: Bollinger, "Bollinger on Bollinger Bands", McGraw-Hill 2001.
    """
    if not width >= 0.0:
        raise ValueError(f"width is {width}; it must be at least 0")
    series, count = _checked(values, window)
    middle = simple_moving_average(series, count)
    deviation = np.full(len(series), np.nan)
    totals, means = deviation[count - 1 :], middle[count - 1 :]
    distance = np.empty(min(TILE, len(totals)))
    for start in range(0, len(totals), TILE):
        tile, mean = totals[start : start + TILE], means[start : start + TILE]
        away = distance[: len(tile)]
        tile[:] = 0.0
        for first in range(start, start + count):
            np.subtract(series[first : first + len(tile)], mean, out=away)
            np.multiply(away, away, out=away)
            np.add(tile, away, out=tile)
        np.divide(tile, count, out=tile)
    band = width * np.sqrt(deviation)
    return middle, middle + band, middle - band


def crossovers(fast: Series, slow: Series) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find where one series crosses another: upwards is an entry, downwards an exit.

    An entry is where `fast` is above `slow` and at the bar before was not; an exit the reverse.
    Both must be defined on both bars, so the first bar where they are is never a crossing.

    Shapes: fast, slow (T,); returns two of (T,).
    Raises: ValueError if the two are not one-dimensional and of one length.
    """
    if np.ndim(fast) != 1 or np.shape(fast) != np.shape(slow):
        raise ValueError(f"shapes {np.shape(fast)} and {np.shape(slow)} are not (T,) and (T,)")
    entries = np.zeros(len(fast), np.bool_)
    exits = np.zeros(len(fast), np.bool_)
    # A comparison with NaN is false, which is what an undefined average must give.
    entries[1:] = (fast[:-1] <= slow[:-1]) & (fast[1:] > slow[1:])
    exits[1:] = (fast[:-1] >= slow[:-1]) & (fast[1:] < slow[1:])
    return entries, exits


def _checked(values: ArrayLike, window: int) -> tuple[Series, int]:
    series = np.asarray(values, dtype=np.float64)
    width = operator.index(window)
    if width < 1:
        raise ValueError(f"window is {width}; it must be at least 1")
    if series.ndim != 1:
        raise ValueError(f"values have {series.ndim} dimensions, not 1")
    return series, width


def _smoothed(values: list[float], width: int, weight: float) -> list[float]:
    """Begin with the average of the first `width` values; move by `weight` towards each after."""
    smoothed = [np.nan] * len(values)
    if len(values) < width:
        return smoothed
    total = 0.0
    for value in values[:width]:
        total += value
    average = smoothed[width - 1] = total / width
    for bar in range(width, len(values)):
        average += weight * (values[bar] - average)
        smoothed[bar] = average
    return smoothed


def _extreme(series: Series, width: int, pick: np.ufunc) -> Series:
    """Pick the greatest or the least of each window, by windows of 1, 2, 4 and so on."""
    extremes = np.full(len(series), np.nan)
    if len(series) < width:
        return extremes
    covered, found = 1, series
    while covered < width:
        step = min(covered, width - covered)
        found = pick(found[: len(found) - step], found[step:])
        covered += step
    extremes[width - 1 :] = found
    return extremes

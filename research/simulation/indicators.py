"""Moving averages and their crossings, as signals are made of them.

Pure functions of arrays. What stands at bar i depends on bars up to i alone.
"""

import operator

import numpy as np
from numpy.typing import ArrayLike, NDArray


def simple_moving_average(values: ArrayLike, window: int) -> NDArray[np.float64]:
    """Average the last `window` values, the current one included; NaN until there are as many.

    Each window is added up by itself, its oldest value first: `window` additions of whole arrays.
    A running sum would be faster by that factor, but it carries the rounding of every value it has
    ever held, so an average would depend on where the series begins, and would drift. Elementwise
    additions round the same whatever the width of the processor's vectors. Two averages that are
    equal in exact arithmetic, on a flat stretch, may still differ in the last digit.

    Shapes: values (T,); returns (T,).
    Raises: ValueError if the window is below 1 or the values are not one-dimensional.
    """
    series = np.asarray(values, dtype=np.float64)
    width = operator.index(window)
    if width < 1:
        raise ValueError(f"window is {width}; it must be at least 1")
    if series.ndim != 1:
        raise ValueError(f"values have {series.ndim} dimensions, not 1")
    averages = np.full(len(series), np.nan)
    count = len(series) - width + 1  # windows that are full
    if count < 1:
        return averages
    totals = np.zeros(count)
    for start in range(width):
        totals += series[start : start + count]
    averages[width - 1 :] = totals / width
    return averages


def crossovers(
    fast: NDArray[np.float64], slow: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
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

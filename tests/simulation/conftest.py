"""Bars for the tests of the engine."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

Bars = dict[str, NDArray]
DAY_NS = 86_400 * 10**9


def bars_from(opens: Sequence[float], closes: Sequence[float] | None = None) -> Bars:
    open_prices = np.array(opens, dtype=np.float64)
    close_prices = open_prices if closes is None else np.array(closes, dtype=np.float64)
    return {
        "at_ns": 915_408_000 * 10**9 + np.arange(len(opens), dtype=np.int64) * DAY_NS,
        "open": open_prices,
        "high": np.maximum(open_prices, close_prices),
        "low": np.minimum(open_prices, close_prices),
        "close": close_prices,
        "volume": np.zeros(len(opens)),
    }


@pytest.fixture(scope="session")
def make_bars() -> Callable[..., Bars]:
    """Daily bars from opens and closes; a close that is not given is the open."""
    return bars_from


@pytest.fixture(scope="session")
def at() -> Callable[..., NDArray[np.bool_]]:
    """Signals over so many bars, true at those named."""

    def signals(bar_count: int, *bars: int) -> NDArray[np.bool_]:
        array = np.zeros(bar_count, np.bool_)
        array[list(bars)] = True
        return array

    return signals

"""What a strategy may look at: indicators of whole series, or bars up to one bar.

Owns the guard against looking ahead, and the keeping of indicators that are asked for again.
Formulas are in `indicators`, decisions in `strategies`.

    view = View(bars, 7)
    view["close"][-1]     the close of bar 7
    view["close"][-5:]    the last five closes
    view["close"][8]      LookAhead: at bar 7 nothing is known of close at bar 8
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from research.simulation import indicators
from research.simulation.errors import InvalidBars, LookAhead
from research.simulation.indicators import Series

Bars = Mapping[str, NDArray[Any]]
PriceColumn = Literal["open", "high", "low", "close"]


class Indicators:
    """Give the indicators of some bars, each computed once for its parameters.

    One of these serves all parameter sets of a sweep, and threads too: at worst two compute the
    same at once. Its series are whole and read-only. What stands at bar i depends on bars up to i;
    a strategy must not look further along them when it decides for bar i.
    """

    def __init__(self, bars: Bars) -> None:
        self._bars = {name: _closed(column) for name, column in bars.items()}
        self._known: dict[tuple[Any, ...], tuple[Series, ...]] = {}

    def __len__(self) -> int:
        """Return the count of bars."""
        return len(self.column("at_ns"))

    @property
    def bars(self) -> Bars:
        """The bars that the indicators are of; read-only."""
        return self._bars

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the bars.

        Shapes: returns (T,).
        Raises: InvalidBars if there is none of that name.
        """
        return _column(self._bars, name)

    def simple_moving_average(self, window: int, of: PriceColumn = "close") -> Series:
        """Return `indicators.simple_moving_average` of a column."""
        make = indicators.simple_moving_average
        return self._once(("sma", window, of), lambda: (make(self.column(of), window),))[0]

    def exponential_moving_average(self, window: int, of: PriceColumn = "close") -> Series:
        """Return `indicators.exponential_moving_average` of a column."""
        make = indicators.exponential_moving_average
        return self._once(("ema", window, of), lambda: (make(self.column(of), window),))[0]

    def relative_strength_index(self, window: int, of: PriceColumn = "close") -> Series:
        """Return `indicators.relative_strength_index` of a column."""
        make = indicators.relative_strength_index
        return self._once(("rsi", window, of), lambda: (make(self.column(of), window),))[0]

    def donchian_channel(self, window: int) -> tuple[Series, Series]:
        """Return `indicators.donchian_channel` of the highs and lows: upper, lower."""
        make = indicators.donchian_channel
        upper, lower = self._once(
            ("donchian", window), lambda: make(self.column("high"), self.column("low"), window)
        )
        return upper, lower

    def bollinger_bands(
        self, window: int, width: float = 2.0, of: PriceColumn = "close"
    ) -> tuple[Series, Series, Series]:
        """Return `indicators.bollinger_bands` of a column: middle, upper, lower."""
        make = indicators.bollinger_bands
        middle, upper, lower = self._once(
            ("bollinger", window, width, of), lambda: make(self.column(of), window, width)
        )
        return middle, upper, lower

    def _once(
        self, key: tuple[Any, ...], make: Callable[[], tuple[Series, ...]]
    ) -> tuple[Series, ...]:
        if key not in self._known:
            self._known.setdefault(key, tuple(_closed(series) for series in make()))
        return self._known[key]


class View(Mapping[str, "Past"]):
    """Show bars up to and including one; each column by its name."""

    __slots__ = ("_bar", "_bars")

    def __init__(self, bars: Bars, bar: int) -> None:
        self._bars = bars
        self._bar = bar

    @property
    def bar(self) -> int:
        """The number of the bar at whose close the view stands; it cannot be moved."""
        return self._bar

    def __getitem__(self, name: str) -> "Past":
        """Return a column as far as it is known.

        Raises: InvalidBars if there is none of that name.
        """
        return Past(name, _column(self._bars, name), self._bar)

    def __iter__(self) -> Iterator[str]:
        """List the names of the columns."""
        return iter(self._bars)

    def __len__(self) -> int:
        """Return the count of columns."""
        return len(self._bars)


class Past:
    """A column up to and including one bar: read it by index or slice, as an array of that length.

    Every part that it gives is a read-only copy, which leads to no later bar.
    """

    __slots__ = ("_bar", "_column", "_name")

    def __init__(self, name: str, column: NDArray[Any], bar: int) -> None:
        self._name = name
        self._column = column
        self._bar = bar

    def __len__(self) -> int:
        """Return the count of bars that are known."""
        return self._bar + 1

    def __getitem__(self, which: int | slice) -> Any:
        """Return the value at a bar, or a copy of a slice; -1 is the current bar.

        Raises: LookAhead if that is, or ends, behind the current bar; IndexError before the first.
        """
        count = self._bar + 1
        if isinstance(which, slice):
            is_backward = which.step is not None and operator.index(which.step) < 0
            # A slice backward begins at the bar that it names, one forward ends before it.
            for end, behind in ((which.start, is_backward), (which.stop, False)):
                asked = -1 if end is None else operator.index(end) - 1 + behind
                if asked >= count:
                    raise LookAhead(self._name, self._bar, asked)
            return _closed(self._column[:count][which].copy())
        index = operator.index(which)
        if index >= count:
            raise LookAhead(self._name, self._bar, index)
        if index < -count:
            raise IndexError(f"{self._name} begins {count} bars back, not {-index}")
        return self._column[index if index >= 0 else count + index]

    def __iter__(self) -> Iterator[Any]:
        """Give the values, the oldest first."""
        return iter(self[:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return a copy as an array."""
        return np.asarray(self[:], dtype=dtype)


def views(bars: Bars) -> Iterator[View]:
    """Give the view at each bar, the oldest first."""
    for bar in range(len(_column(bars, "at_ns"))):
        yield View(bars, bar)


def _column(bars: Bars, name: str) -> NDArray[Any]:
    if name not in bars:
        raise InvalidBars(name, -1, "missing")
    return bars[name]


def _closed(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, or a view of it, that nobody can write to."""
    if array.flags.writeable:
        array = array.view()
        array.setflags(write=False)
    return array

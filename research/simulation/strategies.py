"""Strategies: from what is known at each close to entries and exits.

Owns the protocol and the strategies that ship. A strategy decides by the market alone; what its
position, the account and the risk model make of that is the engine's.

    signals = SmaCrossover(fast=20, slow=100).signals(Indicators(bars))
    simulate(bars, signals.entries, signals.exits)

A strategy is anything with a method `signals`. One that decides bar by bar is a function of a
`View`, wrapped:

    def dip(view):
        close = view["close"]
        if view.bar and close[-1] < 0.97 * close[-2]:
            return Decision.ENTER_LONG
        return Decision.NOTHING

    BarByBar(decide=dip).signals(Indicators(bars))
"""

import enum
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from research.simulation import slots
from research.simulation.errors import InvalidField, InvalidSignals
from research.simulation.indicators import Series, crossovers
from research.simulation.parameters import check_counts, check_numbers, check_word
from research.simulation.view import Indicators, View, views

Direction = Literal["long", "short", "both"]
DIRECTIONS: Final[tuple[str, ...]] = get_args(Direction)

Marks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TradeSignals:
    """Hold what a strategy decides at each close, as `simulate` takes it.

    Shapes: each (T,).
    """

    entries: Marks
    exits: Marks
    short_entries: Marks
    short_exits: Marks


class Strategy(Protocol):
    """Decide over whole series; what is decided at bar i depends on bars up to i alone."""

    def signals(self, indicators: Indicators) -> TradeSignals:
        """Return the signals of every bar."""


class Decision(enum.Flag):
    """What is decided at one close; EXIT_LONG | ENTER_SHORT turns a position around."""

    NOTHING = 0
    ENTER_LONG = slots.ENTER_LONG
    EXIT_LONG = slots.EXIT_LONG
    ENTER_SHORT = slots.ENTER_SHORT
    EXIT_SHORT = slots.EXIT_SHORT


@dataclass(frozen=True, slots=True, kw_only=True)
class BarByBar:
    """Decide one bar after another, by a function that sees bars up to that one.

    Raises: LookAhead, from `signals`, if the function asks for a later bar; InvalidSignals if what
            it returns is no Decision.
    """

    decide: Callable[[View], Decision]

    def signals(self, indicators: Indicators) -> TradeSignals:
        """Return the signals of every bar."""
        bits = np.zeros(len(indicators), np.int64)
        for bar, view in enumerate(views(indicators.bars)):
            decision = self.decide(view)
            if not isinstance(decision, Decision):
                raise InvalidSignals("decide", f"returned {decision!r} at bar {bar}")
            bits[bar] = decision.value
        return TradeSignals(
            entries=bits & slots.ENTER_LONG != 0,
            exits=bits & slots.EXIT_LONG != 0,
            short_entries=bits & slots.ENTER_SHORT != 0,
            short_exits=bits & slots.EXIT_SHORT != 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SmaCrossover:
    """Hold while a fast simple moving average of the close is above a slow one.

    A crossing upward enters long and leaves short; one downward leaves long and enters short.

    Units:  bars; 1 <= fast < slow.
    Raises: InvalidField.
    """

    fast: int = 20
    slow: int = 100
    direction: Direction = "long"

    def __post_init__(self) -> None:
        _check_crossover(self)

    def signals(self, indicators: Indicators) -> TradeSignals:
        """Return the signals of every bar."""
        average = indicators.simple_moving_average
        up, down = crossovers(average(self.fast), average(self.slow))
        return _directed(self.direction, up, down, down, up)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmaCrossover:
    """Hold while a fast exponential moving average of the close is above a slow one.

    Units:  bars; 1 <= fast < slow.
    Raises: InvalidField.
    """

    fast: int = 12
    slow: int = 26
    direction: Direction = "long"

    def __post_init__(self) -> None:
        _check_crossover(self)

    def signals(self, indicators: Indicators) -> TradeSignals:
        """Return the signals of every bar."""
        average = indicators.exponential_moving_average
        up, down = crossovers(average(self.fast), average(self.slow))
        return _directed(self.direction, up, down, down, up)


@dataclass(frozen=True, slots=True, kw_only=True)
class RsiReversion:
    """Buy weakness and sell it once it is over, by the relative strength index of the close.

    Long: enter when the index falls below `lower`, exit when it rises above `middle`. Short: enter
    when it rises above `upper`, exit when it falls below `middle`.

    Units:  window in bars, at least 1; levels 0 to 100, lower < middle < upper.
    Raises: InvalidField.
    """

    window: int = 14
    lower: float = 30.0
    middle: float = 50.0
    upper: float = 70.0
    direction: Direction = "long"

    def __post_init__(self) -> None:
        check_counts(self, window=1)
        level = {"least": 0.0, "most": 100.0}
        check_numbers(self, lower=level, middle=level, upper=level)
        _check_ascending(self, "lower", "middle", "upper")
        check_word(type(self).__name__, "direction", self.direction, DIRECTIONS)

    def signals(self, indicators: Indicators) -> TradeSignals:
        """Return the signals of every bar."""
        index = indicators.relative_strength_index(self.window)
        weak, _ = _falls_and_rises(index, self.lower)
        falls, rises = _falls_and_rises(index, self.middle)
        _, strong = _falls_and_rises(index, self.upper)
        return _directed(self.direction, weak, rises, strong, falls)


@dataclass(frozen=True, slots=True, kw_only=True)
class DonchianBreakout:
    """Follow a close beyond all prices of the bars before it, until a nearer channel is left.

    Long: enter at a close above the highest high of the `entry_window` bars before, exit at one
    below the lowest low of the `exit_window` bars before. Short: the reverse.

    Units:  bars, at least 1.
    Raises: InvalidField.
    Source: Faith, "Way of the Turtle", McGraw-Hill 2007.
    """

    entry_window: int = 55
    exit_window: int = 20
    direction: Direction = "long"

    def __post_init__(self) -> None:
        check_counts(self, entry_window=1, exit_window=1)
        check_word(type(self).__name__, "direction", self.direction, DIRECTIONS)

    def signals(self, indicators: Indicators) -> TradeSignals:
        """Return the signals of every bar."""
        close = indicators.column("close")
        highest, lowest = indicators.donchian_channel(self.entry_window)
        near_highest, near_lowest = indicators.donchian_channel(self.exit_window)
        return _directed(
            self.direction,
            close > _before(highest),
            close < _before(near_lowest),
            close < _before(lowest),
            close > _before(near_highest),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BollingerReversion:
    """Buy a close that falls out of its Bollinger bands, and sell once it is back in the middle.

    Long: enter when the close falls below the lower band, exit when it rises above the middle.
    Short: enter when it rises above the upper band, exit when it falls below the middle.

    Units:  window in bars, at least 2; width in standard deviations, above 0.
    Raises: InvalidField.
    """

    window: int = 20
    width: float = 2.0
    direction: Direction = "long"

    def __post_init__(self) -> None:
        check_counts(self, window=2)
        check_numbers(self, width={"above": 0.0})
        check_word(type(self).__name__, "direction", self.direction, DIRECTIONS)

    def signals(self, indicators: Indicators) -> TradeSignals:
        """Return the signals of every bar."""
        close = indicators.column("close")
        middle, upper, lower = indicators.bollinger_bands(self.window, self.width)
        rises, falls = crossovers(close, middle)
        _, weak = crossovers(close, lower)
        strong, _ = crossovers(close, upper)
        return _directed(self.direction, weak, rises, strong, falls)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyAndHold:
    """Enter at the first close, and never exit."""

    def signals(self, indicators: Indicators) -> TradeSignals:
        """Return the signals of every bar."""
        entries = np.zeros(len(indicators), np.bool_)
        entries[:1] = True
        never = np.zeros(len(indicators), np.bool_)
        return _directed("long", entries, never, never, never)


def _directed(
    direction: str, entries: Marks, exits: Marks, short_entries: Marks, short_exits: Marks
) -> TradeSignals:
    """Leave out the side that a strategy is not to take."""
    never = np.zeros(len(entries), np.bool_)
    is_long, is_short = direction != "short", direction != "long"
    return TradeSignals(
        entries=entries if is_long else never,
        exits=exits if is_long else never,
        short_entries=short_entries if is_short else never,
        short_exits=short_exits if is_short else never,
    )


def _falls_and_rises(series: Series, level: float) -> tuple[Marks, Marks]:
    """Find where a series falls below a level, and where it rises above."""
    rises, falls = crossovers(series, np.full(len(series), level))
    return falls, rises


def _before(series: Series) -> Series:
    """Return at each bar what stood at the bar before; NaN at the first."""
    shifted = np.full(len(series), np.nan)
    shifted[1:] = series[:-1]
    return shifted


def _check_crossover(strategy: Any) -> None:
    check_counts(strategy, fast=1, slow=1)
    _check_ascending(strategy, "fast", "slow")
    check_word(type(strategy).__name__, "direction", strategy.direction, DIRECTIONS)


def _check_ascending(strategy: Any, *names: str) -> None:
    for low, high in itertools.pairwise(names):
        below, above = getattr(strategy, low), getattr(strategy, high)
        if not below < above:
            owner = type(strategy).__name__
            raise InvalidField(owner, high, repr(above), f"above {low}, {below!r}")

"""The risk model: what closes a position, and what forbids to open one.

Owns stops, targets, time limits and the limits of the account, with their bounds.

    RiskModel(stop_loss={"initial": -0.03}, take_profit=[{"multiple": 1.05, "fraction": 0.5}])
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from research.simulation.errors import InvalidField
from research.simulation.parameters import (
    check_counts,
    check_numbers,
    part,
    parts,
    read_json,
    read_parameters,
    take_parts,
    write_json,
    write_parameters,
)

ROUNDING: Final = 1e-9
"""How far fractions that are to make one may miss it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopLoss:
    """Hold the stops of a position, as distances from the entry and from the best price since.

    The trailing stop follows the best price of the bars before, once that is `activation` away from
    the entry. Of two stops the nearer one is met first. A gap through a stop fills at the open.

    Units:  fractions; `initial` and `trailing` above -1 and below 0, `activation` at least 0.
    Raises: InvalidField.
    """

    initial: float | None = None
    trailing: float | None = None
    activation: float | None = None

    def __post_init__(self) -> None:
        below = {"above": -1.0, "below": 0.0}
        check_numbers(self, initial=below, trailing=below, activation={"least": 0.0})
        if self.activation is not None and self.trailing is None:
            found = repr(self.activation)
            raise InvalidField("StopLoss", "activation", found, "None without a trailing stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeProfitLeg:
    """Hold one leg of a ladder: at `multiple` times the entry price, a fraction is sold.

    For a short the target lies as far below the entry as the multiple is above 1.

    Units:  multiple above 1; fraction of the entered quantity, above 0, at most 1.
    Raises: InvalidField.
    """

    multiple: float = 0.0
    fraction: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, multiple={"above": 1.0}, fraction={"above": 0.0, "most": 1.0})


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """Hold how long a position may be held; the order to exit is given at the close that ends it.

    Units:  bars of the asset, the one of the entry counted; hours between the bars' times. None for
            no limit.
    Raises: InvalidField.
    """

    bars: int | None = None
    hours: float | None = None

    def __post_init__(self) -> None:
        check_counts(self, bars=1)
        check_numbers(self, hours={"above": 0.0, "most": 1e9})


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """Hold how many entries may fill within a window of time, over all assets.

    Those decided at one close are not counted against each other: no order among assets decides.

    Units:  a count, 1 to 1e6; minutes. Both are given, or neither.
    Raises: InvalidField.
    """

    max_trades: int | None = None
    window_minutes: float | None = None

    def __post_init__(self) -> None:
        check_numbers(self, max_trades={"least": 1.0, "most": 1e6})
        check_counts(self, max_trades=1)
        check_numbers(self, window_minutes={"above": 0.0, "most": 1e9})
        if (self.max_trades is None) != (self.window_minutes is None):
            lacking = "max_trades" if self.max_trades is None else "window_minutes"
            raise InvalidField("Throttle", lacking, "None", "given with the other")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReEntry:
    """Hold when an asset may be entered again, and how often anything may be.

    Entries decided at one close are not counted against each other, as those of a throttle.

    Units:  bars of the asset between an exit and the next decision to enter; a count over the whole
            simulation.
    Raises: InvalidField.
    """

    cooldown_bars: int = 0
    cooldown_after_loss_bars: int | None = None
    max_entries: int | None = None

    def __post_init__(self) -> None:
        check_counts(self, cooldown_bars=0, cooldown_after_loss_bars=0, max_entries=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskModel:
    """Hold what limits a position and the account; each part has a default that does nothing.

    max_drawdown            fall from the peak of the equity at which all is closed, for good
    max_daily_loss          fall since the last close of the day before (UTC) at which all is
                            closed, until the next day
    max_consecutive_losses  losing trades in a row, over all assets, after which nothing is entered
                            any more, unless one still held closes without a loss
    max_position            worth of one position, when it is entered, as a fraction of the equity
    max_exposure            worth of all positions together, likewise; above 1 makes no debt

    Units:  fractions of the equity; max_consecutive_losses a count.
    Raises: InvalidField, UnknownField.
    """

    stop_loss: StopLoss = part(StopLoss)
    take_profit: tuple[TakeProfitLeg, ...] = parts(TakeProfitLeg)
    time_limit: TimeLimit = part(TimeLimit)
    max_drawdown: float | None = None
    max_daily_loss: float | None = None
    max_consecutive_losses: int | None = None
    max_position: float | None = None
    max_exposure: float | None = None
    throttle: Throttle = part(Throttle)
    re_entry: ReEntry = part(ReEntry)

    def __post_init__(self) -> None:
        take_parts(self)
        fraction, above = {"above": 0.0, "below": 1.0}, {"above": 0.0}
        check_numbers(
            self,
            max_drawdown=fraction,
            max_daily_loss=fraction,
            max_position=above,
            max_exposure=above,
        )
        check_counts(self, max_consecutive_losses=1)
        total = sum(leg.fraction for leg in self.take_profit)
        if total > 1.0 + ROUNDING:
            raise InvalidField("RiskModel", "take_profit", f"{total!r} in all", "at most 1 in all")
        multiples = [leg.multiple for leg in self.take_profit]
        if multiples != sorted(set(multiples)):
            raise InvalidField(
                "RiskModel", "take_profit", repr(multiples), "in ascending multiples"
            )

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "RiskModel":
        """Read from snake_case; what is not given has its default."""
        return read_parameters(cls, parameters)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RiskModel":
        """Read from camelCase; what is not given has its default."""
        return read_json(cls, document)

    def to_parameters(self) -> dict[str, Any]:
        """Write every field in snake_case."""
        return write_parameters(self)

    def to_json(self) -> dict[str, Any]:
        """Write every field in camelCase."""
        return write_json(self)

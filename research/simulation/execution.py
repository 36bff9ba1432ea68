"""The execution model: how an order becomes a fill.

Owns latency, slippage, failures and partial fills, with their bounds. A model is frozen and checked
when it is made; every part has a default that does nothing, and may be given as a mapping.

    ExecutionModel(slippage={"base": 0.0005})     an open of 100.0 buys at 100.05, sells at 99.95
    ExecutionModel(latency={"p50": 250, "p90": 400, "p99": 2_000})
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from research.simulation.errors import InvalidField
from research.simulation.parameters import (
    check_counts,
    check_numbers,
    check_word,
    checked_number,
    part,
    read_json,
    read_parameters,
    take_parts,
    write_json,
    write_parameters,
)

SlippageKind = Literal["fixed", "linear", "square_root"]
ImpactOf = Literal["volume_share", "units"]
SLIPPAGE_KINDS: Final[tuple[str, ...]] = get_args(SlippageKind)
IMPACTS_OF: Final[tuple[str, ...]] = get_args(ImpactOf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Hold how long an order is on its way, as percentiles of a distribution.

    An order decided at the close of a bar fills at the open of the first bar behind it whose time
    is at least the decision's bar's time plus the latency.

    Units:  milliseconds; p50 <= p90 <= p99; `jitter` moves a draw by as much to either side.
    Raises: InvalidField.
    """

    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        most = {"least": 0.0, "most": 1e12}
        check_numbers(self, p50=most, p90=most, p99=most, jitter=most)
        for low, high in (("p50", "p90"), ("p90", "p99")):
            if getattr(self, low) > getattr(self, high):
                found, bound = repr(getattr(self, high)), f">= {low}, {getattr(self, low)!r}"
                raise InvalidField("Latency", high, found, bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slippage:
    """Hold how much worse than the market a fill is: base + volume_impact * x, at most `max`.

    x is the order's share of the bar's volume, or its units (`impact_of`); its square root where
    the kind is "square_root". The kind "fixed" has no impact. No fill is over 99 % worse.

    Units:  fractions of the price (0.0005 is 5 basis points), at least 0 and below 1; the impact
            per share of the volume, or per unit.
    Raises: InvalidField.
    """

    base: float = 0.0
    volume_impact: float = 0.0
    max: float | None = None
    kind: SlippageKind = "linear"
    impact_of: ImpactOf = "volume_share"

    def __post_init__(self) -> None:
        fraction = {"least": 0.0, "below": 1.0}
        check_numbers(self, base=fraction, volume_impact={"least": 0.0}, max=fraction)
        check_word("Slippage", "kind", self.kind, SLIPPAGE_KINDS)
        check_word("Slippage", "impact_of", self.impact_of, IMPACTS_OF)
        if self.kind == "fixed" and self.volume_impact > 0.0:
            found = repr(self.volume_impact)
            raise InvalidField("Slippage", "volume_impact", found, "0 where the kind is fixed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Hold how often an attempt to fill fails, and how often it is tried again.

    The rate of an attempt is base_rate * (1 + (congestion_multiplier - 1) * share), where the share
    is the order's of the bar's volume, at most 1. The k-th retry waits backoff_bars * 2^(k-1) bars
    of the asset, at least one. An entry that has failed for good is gone; of an exit the position
    stays.

    Units:  base_rate a probability; retries a count; backoff_bars in bars, at most 1e9.
    Raises: InvalidField.
    """

    base_rate: float = 0.0
    congestion_multiplier: float = 1.0
    retries: int = 0
    backoff_bars: int = 1

    def __post_init__(self) -> None:
        check_numbers(
            self,
            base_rate={"least": 0.0, "most": 1.0},
            congestion_multiplier={"least": 0.0, "most": 1e6},
            backoff_bars={"least": 0.0, "most": 1e9},
        )
        check_counts(self, retries=0, backoff_bars=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialFills:
    """Hold how often a fill brings a part only, and how large a part of the bar's volume it may be.

    What is left of an entry is cancelled; what is left of an exit is tried at the next open.

    Units:  probability; fill_range as fractions of what was asked, above 0, at most 1, ascending;
            volume_share a fraction of the bar's volume, None for no limit.
    Raises: InvalidField.
    """

    probability: float = 0.0
    fill_range: Sequence[float] = (1.0, 1.0)
    volume_share: float | None = None

    def __post_init__(self) -> None:
        check_numbers(
            self,
            probability={"least": 0.0, "most": 1.0},
            volume_share={"above": 0.0, "most": 1.0},
        )
        given: object = self.fill_range
        if not isinstance(given, list | tuple) or len(given) != 2:
            raise InvalidField("PartialFills", "fill_range", repr(given), "two numbers")
        low, high = (
            checked_number("PartialFills", "fill_range", each, above=0.0, most=1.0)
            for each in given
        )
        if low > high:
            raise InvalidField("PartialFills", "fill_range", repr(given), "the lower one first")
        object.__setattr__(self, "fill_range", (low, high))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionModel:
    """Hold the parts of an execution; each has a default that does nothing.

    Raises: InvalidField, UnknownField.
    """

    latency: Latency = part(Latency)
    slippage: Slippage = part(Slippage)
    failures: Failures = part(Failures)
    partial_fills: PartialFills = part(PartialFills)

    def __post_init__(self) -> None:
        take_parts(self)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "ExecutionModel":
        """Read from snake_case; what is not given has its default."""
        return read_parameters(cls, parameters)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ExecutionModel":
        """Read from camelCase; what is not given has its default."""
        return read_json(cls, document)

    def to_parameters(self) -> dict[str, Any]:
        """Write every field in snake_case."""
        return write_parameters(self)

    def to_json(self) -> dict[str, Any]:
        """Write every field in camelCase."""
        return write_json(self)

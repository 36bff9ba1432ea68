"""What a simulation is asked to assume: how orders fill, what they cost, how large they are.

Owns the models and their bounds. A model is frozen and checked when it is made; every part of it
has a default that does nothing. What this version does not act on it does not accept: another name
is refused.

    ExecutionModel(slippage={"base": 0.0005})     an open of 100.0 buys at 100.05, sells at 99.95
    CostModel(taker_fee_bps=10.0)                 ten units at 100.05 pay 1.0005
    Sizing(kind="equity_fraction", value=1.0)     all of it, fees included
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from research.simulation.errors import InvalidField
from research.simulation.parameters import (
    checked_number,
    read_json,
    read_parameters,
    write_json,
    write_parameters,
)

BPS: Final = 10_000.0
"""Basis points in one."""

SizingKind = Literal["units", "cash", "equity_fraction"]
SIZING_KINDS: Final[tuple[str, ...]] = get_args(SizingKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slippage:
    """Hold how much worse than the open a fill is; `max` caps `base`.

    Units:  fractions of the price (0.0005 is 5 basis points), at least 0 and below 1.
    Raises: InvalidField.
    """

    base: float = 0.0
    max: float | None = None

    def __post_init__(self) -> None:
        base = checked_number("Slippage", "base", self.base, least=0.0, below=1.0)
        object.__setattr__(self, "base", base)
        if self.max is not None:
            cap = checked_number("Slippage", "max", self.max, least=0.0, below=1.0)
            object.__setattr__(self, "max", cap)

    @property
    def fraction(self) -> float:
        """Return the fraction that a fill pays."""
        return self.base if self.max is None else min(self.base, self.max)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "Slippage":
        """Read from snake_case; a field that is not given has its default."""
        return cls(**read_parameters(cls, parameters))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Slippage":
        """Read from camelCase; a field that is not given has its default."""
        return cls(**read_json(cls, document))

    def to_parameters(self) -> dict[str, Any]:
        """Write every field in snake_case."""
        return write_parameters(self)

    def to_json(self) -> dict[str, Any]:
        """Write every field in camelCase."""
        return write_json(self)


NO_SLIPPAGE: Final = Slippage()


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class ExecutionModel:
    """Hold the parts of an execution; each has a default that does nothing."""

    slippage: Slippage

    # Written by hand because a part may be given as a mapping but is always held as its class.
    def __init__(self, *, slippage: Slippage | Mapping[str, Any] = NO_SLIPPAGE) -> None:
        """Take each part as its own class or as a mapping of its fields in snake_case.

        Raises: InvalidField, UnknownField.
        """
        if not isinstance(slippage, Slippage):
            slippage = Slippage.from_parameters(slippage)
        object.__setattr__(self, "slippage", slippage)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "ExecutionModel":
        """Read from snake_case; a part that is not given has its default."""
        return cls(**read_parameters(cls, parameters))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ExecutionModel":
        """Read from camelCase; a part that is not given has its default."""
        parts = read_json(cls, document)
        if "slippage" in parts:
            parts["slippage"] = Slippage.from_json(parts["slippage"])
        return cls(**parts)

    def to_parameters(self) -> dict[str, Any]:
        """Write every part in snake_case."""
        return {"slippage": self.slippage.to_parameters()}

    def to_json(self) -> dict[str, Any]:
        """Write every part in camelCase."""
        return {"slippage": self.slippage.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Hold the fee of a filled order: max(minimum_fee, fixed_fee + fee_rate * notional).

    The notional is quantity times the slipped price. Each side pays: a round trip pays twice.

    Units:  basis points of the notional (`taker_fee_bps`, 0 to 10,000); money per order (the rest).
    Raises: InvalidField.
    """

    taker_fee_bps: float = 0.0
    fixed_fee: float = 0.0
    minimum_fee: float = 0.0

    def __post_init__(self) -> None:
        bps = checked_number("CostModel", "taker_fee_bps", self.taker_fee_bps, least=0.0, most=BPS)
        object.__setattr__(self, "taker_fee_bps", bps)
        for field in ("fixed_fee", "minimum_fee"):
            fee = checked_number("CostModel", field, getattr(self, field), least=0.0)
            object.__setattr__(self, field, fee)

    @property
    def fee_rate(self) -> float:
        """Return the proportional fee as a fraction of the notional."""
        return self.taker_fee_bps / BPS

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "CostModel":
        """Read from snake_case; a field that is not given has its default."""
        return cls(**read_parameters(cls, parameters))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "CostModel":
        """Read from camelCase; a field that is not given has its default."""
        return cls(**read_json(cls, document))

    def to_parameters(self) -> dict[str, Any]:
        """Write every field in snake_case."""
        return write_parameters(self)

    def to_json(self) -> dict[str, Any]:
        """Write every field in camelCase."""
        return write_json(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """Hold the size of every entry, measured at the open that fills it.

    units            `value` units, fees on top
    cash             as many units as `value` buys, fees included
    equity_fraction  as many units as that fraction of the equity buys, fees included; the account
                     is flat when it enters, so its equity is its cash

    Units:  units, money, or a fraction above 0 and at most 1. Quantities need not be whole.
    Raises: InvalidField.
    """

    kind: SizingKind = "units"
    value: float

    def __post_init__(self) -> None:
        if self.kind not in SIZING_KINDS:
            bound = "one of " + ", ".join(SIZING_KINDS)
            raise InvalidField("Sizing", "kind", repr(self.kind), bound)
        most = 1.0 if self.kind == "equity_fraction" else math.inf
        value = checked_number("Sizing", "value", self.value, above=0.0, most=most)
        object.__setattr__(self, "value", value)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "Sizing":
        """Read from snake_case; a kind that is not given is units."""
        return cls(**_with_value(read_parameters(cls, parameters)))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Sizing":
        """Read from camelCase; a kind that is not given is units."""
        return cls(**_with_value(read_json(cls, document)))

    def to_parameters(self) -> dict[str, Any]:
        """Write every field in snake_case."""
        return write_parameters(self)

    def to_json(self) -> dict[str, Any]:
        """Write every field in camelCase."""
        return write_json(self)


def _with_value(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields, or refuse those that leave the value out."""
    if "value" not in fields:
        raise InvalidField("Sizing", "value", "missing", "given")
    return fields

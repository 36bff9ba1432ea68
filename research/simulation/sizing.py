"""Sizing: how large an entry is.

Owns the kinds of size, with their bounds.

    Sizing(kind="equity_fraction", value=1.0)     all of it, fees included
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from research.simulation.errors import InvalidField
from research.simulation.parameters import (
    check_numbers,
    check_word,
    read_json,
    read_parameters,
    write_json,
    write_parameters,
)

SizingKind = Literal["units", "cash", "equity_fraction", "risk"]
SIZING_KINDS: Final[tuple[str, ...]] = get_args(SizingKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """Hold the size of every entry, measured at the open that fills it.

    units            `value` units, fees on top
    cash             as many units as `value` buys, fees included
    equity_fraction  as many units as that fraction of the equity buys, fees included
    risk             as many units as lose that fraction of the equity at the initial stop, before
                     fees; at most what the cash buys. The risk model must have an initial stop

    Units:  units, money, or a fraction above 0 and at most 1. Quantities need not be whole.
    Raises: InvalidField.
    """

    kind: SizingKind = "units"
    value: float | None = None

    def __post_init__(self) -> None:
        check_word("Sizing", "kind", self.kind, SIZING_KINDS)
        if self.value is None:
            raise InvalidField("Sizing", "value", "missing", "given")
        most = 1.0 if self.kind in ("equity_fraction", "risk") else math.inf
        check_numbers(self, value={"above": 0.0, "most": most})

    @property
    def amount(self) -> float:
        """Return the value, which is always there."""
        return self.value or 0.0

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "Sizing":
        """Read from snake_case; what is not given has its default."""
        return read_parameters(cls, parameters)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Sizing":
        """Read from camelCase; what is not given has its default."""
        return read_json(cls, document)

    def to_parameters(self) -> dict[str, Any]:
        """Write every field in snake_case."""
        return write_parameters(self)

    def to_json(self) -> dict[str, Any]:
        """Write every field in camelCase."""
        return write_json(self)

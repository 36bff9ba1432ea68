"""The cost model: what is paid beside the price.

Owns the fees, with their bounds. One system of units: rates in basis points of the notional,
amounts in the money that the bars are quoted in.

    CostModel(taker_fee_bps=10.0)                 ten units at 100.05 pay 1.0005
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from research.simulation.parameters import (
    check_numbers,
    read_json,
    read_parameters,
    write_json,
    write_parameters,
)
from research.simulation.units import BPS


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Hold what a filled order pays: max(minimum_fee, fixed_fee + rate * notional) + priority fee.

    The notional is quantity times the slipped price, and each side pays. Targets of a take-profit
    ladder rest in the book and pay the maker's rate, all else the taker's. The priority fee doubles
    with every failed attempt, up to its maximum. A short pays for what it borrows, by the time.

    Units:  basis points of the notional (0 to 10,000); money per order (fixed, minimum, priority);
            borrow_bps_per_year of the position's worth, a year having 365.25 days.
    Raises: InvalidField.
    """

    taker_fee_bps: float = 0.0
    maker_fee_bps: float = 0.0
    fixed_fee: float = 0.0
    minimum_fee: float = 0.0
    priority_fee: float = 0.0
    priority_fee_max: float | None = None
    borrow_bps_per_year: float = 0.0

    def __post_init__(self) -> None:
        bps, money = {"least": 0.0, "most": BPS}, {"least": 0.0}
        check_numbers(
            self,
            taker_fee_bps=bps,
            maker_fee_bps=bps,
            fixed_fee=money,
            minimum_fee=money,
            priority_fee=money,
            priority_fee_max=money,
            borrow_bps_per_year={"least": 0.0, "most": 100.0 * BPS},
        )

    @property
    def fee_rate(self) -> float:
        """Return the taker's fee as a fraction of the notional."""
        return self.taker_fee_bps / BPS

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "CostModel":
        """Read from snake_case; what is not given has its default."""
        return read_parameters(cls, parameters)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "CostModel":
        """Read from camelCase; what is not given has its default."""
        return read_json(cls, document)

    def to_parameters(self) -> dict[str, Any]:
        """Write every field in snake_case."""
        return write_parameters(self)

    def to_json(self) -> dict[str, Any]:
        """Write every field in camelCase."""
        return write_json(self)

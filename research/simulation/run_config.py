"""How a simulation is run: what of it is chance, and what happens to an order that is refused.

Owns the run's own settings, which are no model of a market.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from research.simulation.errors import InvalidField
from research.simulation.parameters import (
    check_word,
    read_json,
    read_parameters,
    write_json,
    write_parameters,
)

ErrorMode = Literal["collect", "fail_fast"]
ERROR_MODES: Final[tuple[str, ...]] = get_args(ErrorMode)
SEED_MOST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Hold the seed, what a refused order does, and whether events are kept.

    collect    an order that is rejected or fails is an event, and the simulation goes on
    fail_fast  the first one ends it with OrderRefused; an order at the last bar, which has no next
               one to fill at, is no refusal

    Raises: InvalidField.
    """

    seed: int = 0
    error_mode: ErrorMode = "collect"
    event_log: bool = True

    def __post_init__(self) -> None:
        if type(self.seed) is not int or not 0 <= self.seed <= SEED_MOST:
            raise InvalidField(
                "RunConfig", "seed", repr(self.seed), "a whole number, 0 to 2^63 - 1"
            )
        check_word("RunConfig", "error_mode", self.error_mode, ERROR_MODES)
        if type(self.event_log) is not bool:
            raise InvalidField("RunConfig", "event_log", repr(self.event_log), "True or False")

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "RunConfig":
        """Read from snake_case; what is not given has its default."""
        return read_parameters(cls, parameters)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RunConfig":
        """Read from camelCase; what is not given has its default."""
        return read_json(cls, document)

    def to_parameters(self) -> dict[str, Any]:
        """Write every field in snake_case."""
        return write_parameters(self)

    def to_json(self) -> dict[str, Any]:
        """Write every field in camelCase."""
        return write_json(self)

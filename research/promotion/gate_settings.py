"""The settings of the gates: what ``promotion.toml`` in the workspace says.

Owns the file: what ``ros init`` writes, the names and the values that are allowed. A name that
nobody knows is refused with the nearest: a bound must not be lost by a typing error. The gates of
integrity stand in no file; nothing turns them off.

    profile = "strict"           # "default": each gate as below; "strict": every gate refuses
    [gates]
    trades = "refuse"            # "warn" (default), "refuse", or "off": it is not asked
    [bounds]
    trades_min = 100
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from research.errors import BadInput
from research.experiments.options import read_toml

FILE: Final = "promotion.toml"

Action = Literal["warn", "refuse", "off"]
Profile = Literal["default", "strict"]

INTEGRITY: Final = ("closure", "completed", "replay")
"""They always refuse."""

OTHERS: Final = (
    "clean",
    "look_ahead",
    "trades",
    "deflated_sharpe",
    "overfitting",
    "costs",
    "drawdown",
    "holdout",
)
_ACTIONS: Final = ("warn", "refuse", "off")
_PROFILES: Final = ("default", "strict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is enough, gate by gate."""

    trades_min: int = 30
    deflated_sharpe_min: float = 0.95
    overfitting_max: float = 0.2
    cost_multiple: float = 2.0
    drawdown_max: float = 0.3
    holdout_openings_max: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """What a workspace has chosen."""

    profile: Profile = "default"
    actions: Mapping[str, Action] = field(default_factory=dict)
    bounds: Bounds = Bounds()

    def action(self, gate: str) -> Action:
        """Return what a gate does whose answer is not yes."""
        if gate in INTEGRITY or self.profile == "strict":
            return "refuse"
        return self.actions.get(gate, "warn")

    def to_fields(self) -> dict[str, Any]:
        """Return plain fields: they stand in the evidence."""
        return {"profile": self.profile, "bounds": asdict(self.bounds)}


def read_settings(workspace: Path) -> GateSettings:
    """Read a workspace's settings; without a file they are the defaults.

    Raises: BadInput naming the file, and the nearest name.
    """
    return _settings(read_toml(workspace / FILE))


def _settings(said: Mapping[str, Any]) -> GateSettings:
    _check_names("", said, ("profile", "gates", "bounds"))
    profile = said.get("profile", "default")
    if profile not in _PROFILES:
        raise BadInput(f'{FILE}: profile is "default" or "strict", not {profile!r}')
    gates, bounds = _section(said, "gates"), _section(said, "bounds")
    for name in gates:
        if name in INTEGRITY:
            raise BadInput(f"{FILE}: [gates] {name} always refuses; it cannot be set")
    _check_names("[gates] ", gates, OTHERS)
    for name, action in gates.items():
        if action not in _ACTIONS:
            raise BadInput(f'{FILE}: [gates] {name} is "warn", "refuse" or "off", not {action!r}')
        if profile == "strict" and action == "off":
            raise BadInput(f"{FILE}: [gates] {name} is off, and under the strict profile none is")
    _check_names("[bounds] ", bounds, [each.name for each in fields(Bounds)])
    for name, value in bounds.items():
        _check_bound(name, value)
    return GateSettings(profile=profile, actions=dict(gates), bounds=Bounds(**bounds))


def _section(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = said.get(name, {})
    if not isinstance(section, Mapping):
        raise BadInput(f"{FILE}: [{name}] is a section, not {section!r}")
    return section


def _check_names(where: str, said: Iterable[str], known: Iterable[str]) -> None:
    names = list(known)
    for name in said:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            told = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
            raise BadInput(f"{FILE}: {where}{name!r} is unknown; {told}")


def _check_bound(name: str, value: Any) -> None:
    """Refuse a bound that is none.

    Raises: BadInput.
    """
    low, high, is_whole = _RANGES[name]
    types = (int,) if is_whole else (int, float)
    if type(value) not in types or not math.isfinite(value) or not low <= value <= high:
        kind = "a whole number" if is_whole else "a number"
        upto = f"from {low} on" if high == math.inf else f"from {low} to {high}"
        raise BadInput(f"{FILE}: [bounds] {name} is {kind} {upto}, not {value!r}")


# name -> least, most, whether it is a whole number
_RANGES: Final[Mapping[str, tuple[float, float, bool]]] = {
    "trades_min": (0, math.inf, True),
    "deflated_sharpe_min": (0, 1, False),
    "overfitting_max": (0, 1, False),
    "cost_multiple": (1, 100, False),
    "drawdown_max": (0, 1, False),
    "holdout_openings_max": (0, math.inf, True),
}

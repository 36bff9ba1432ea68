"""Calls: entries that somebody gave as data, and the strategy that follows them.

Owns the table of calls and its text form. Reads no files: it is given text or columns. A call has
no exit; a ladder, a stop or a time limit of the risk model closes what it opened.

    at,asset,side
    2001-01-03,SP500,long
    2008-10-08T14:30:00+00:00,SP500,long

`at` is a date or a time of ISO 8601, in UTC where it names no offset; a column `at_ns` in its place
has nanoseconds. `side` may be left out: a call is long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.simulation.errors import InvalidCalls, InvalidField
from research.simulation.strategies import TradeSignals
from research.simulation.view import Indicators

SIDES: Final = ("long", "short")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RANGE_NS: Final = 2**63


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calls:
    """Hold calls, one per row, in any order.

    Shapes: at_ns, is_short (N,); assets N names.
    Units:  at_ns in nanoseconds since 1970-01-01 UTC.
    """

    at_ns: NDArray[np.int64]
    assets: tuple[str, ...]
    is_short: NDArray[np.bool_]

    @classmethod
    def from_csv(cls, text: str) -> "Calls":
        """Read calls from text with a header; quotes are not read.

        Raises: InvalidCalls.
        """
        lines = text.removeprefix("\ufeff").splitlines()
        header = [name.strip() for name in lines[0].split(",")] if lines else []
        _check_header(header)
        columns: dict[str, list[Any]] = {name: [] for name in header}
        numbers = []
        for number, line in enumerate(lines[1:], start=2):
            if not line.strip():
                continue
            fields = [field.strip() for field in line.split(",")]
            if len(fields) != len(header):
                raise InvalidCalls(number, f"{len(fields)} fields, not {len(header)}")
            numbers.append(number)
            for name, field in zip(header, fields, strict=True):
                columns[name].append(field)
        when = columns["at_ns" if "at_ns" in columns else "at"]
        read = _nanoseconds if "at_ns" in columns else _instant
        at_ns = [read(number, field) for number, field in zip(numbers, when, strict=True)]
        return _checked(numbers, at_ns, columns["asset"], columns.get("side"))

    @classmethod
    def from_table(cls, columns: Mapping[str, Any]) -> "Calls":
        """Take calls from columns: at_ns, asset, and side if there is one.

        Raises: InvalidCalls.
        """
        for name in ("at_ns", "asset"):
            if name not in columns:
                raise InvalidCalls(1, f"there is no column {name}")
        at_ns = np.asarray(columns["at_ns"])
        if at_ns.dtype != np.int64 or at_ns.ndim != 1:
            raise InvalidCalls(1, f"at_ns is {at_ns.dtype} of {at_ns.ndim} dimensions, not int64")
        assets = np.asarray(columns["asset"]).tolist()
        sides = np.asarray(columns["side"]).tolist() if "side" in columns else None
        for name, listed in (("asset", assets), ("side", assets if sides is None else sides)):
            if len(listed) != len(at_ns):
                raise InvalidCalls(1, f"{name} has {len(listed)} rows, at_ns has {len(at_ns)}")
        return _checked(range(2, len(at_ns) + 2), at_ns.tolist(), assets, sides)

    def of(self, asset: str) -> "Calls":
        """Return the calls of one asset."""
        rows = np.array([name == asset for name in self.assets], np.bool_)
        count = int(rows.sum())
        return Calls(at_ns=self.at_ns[rows], assets=(asset,) * count, is_short=self.is_short[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEntries:
    """Enter at the calls of one asset; exits are the risk model's.

    A call is decided on at the close of the first bar whose time is at or after its own, and fills
    at an open behind that. Calls before the first bar and after the last one are left out.

    Raises: InvalidField if no call names the asset.
    """

    calls: Calls
    asset: str

    def __post_init__(self) -> None:
        if self.asset not in self.calls.assets:
            named = ", ".join(sorted(set(self.calls.assets))) or "there is no call"
            bound = f"one that a call names: {named}"
            raise InvalidField("CallEntries", "asset", repr(self.asset), bound)

    def signals(self, indicators: Indicators) -> TradeSignals:
        """Return the signals of every bar."""
        at_ns = indicators.column("at_ns")
        calls = self.calls.of(self.asset)
        marks = [np.zeros(len(at_ns), np.bool_) for _ in range(4)]
        entries, exits, short_entries, short_exits = marks
        if len(at_ns):
            bars = np.searchsorted(at_ns, calls.at_ns, side="left")
            is_within = (calls.at_ns >= at_ns[0]) & (bars < len(at_ns))
            entries[bars[is_within & ~calls.is_short]] = True
            short_entries[bars[is_within & calls.is_short]] = True
        return TradeSignals(
            entries=entries, exits=exits, short_entries=short_entries, short_exits=short_exits
        )


def _check_header(header: list[str]) -> None:
    known = {"at", "at_ns", "asset", "side"}
    for name in header:
        if name not in known or header.count(name) > 1:
            raise InvalidCalls(1, f"column {name!r}; it may have each of at or at_ns, asset, side")
    if "asset" not in header or ("at" in header) == ("at_ns" in header):
        raise InvalidCalls(1, "it needs the columns at (or at_ns) and asset")


def _checked(
    numbers: Sequence[int], at_ns: list[int], assets: list[Any], sides: list[Any] | None
) -> Calls:
    for number, asset in zip(numbers, assets, strict=True):
        if not isinstance(asset, str) or not asset:
            raise InvalidCalls(number, f"asset is {asset!r}")
    for number, side in zip(numbers, sides or [], strict=sides is not None):
        if side not in SIDES:
            raise InvalidCalls(number, f"side is {side!r}, not long or short")
    is_short = np.array([side == "short" for side in sides or [""] * len(at_ns)], np.bool_)
    return Calls(at_ns=np.array(at_ns, np.int64), assets=tuple(assets), is_short=is_short)


def _nanoseconds(number: int, text: str) -> int:
    try:
        found = int(text)
    except ValueError:
        raise InvalidCalls(number, f"at_ns is {text!r}, not a whole number") from None
    if not -_RANGE_NS <= found < _RANGE_NS:
        raise InvalidCalls(number, f"at_ns is {text}, which no 64 bits hold")
    return found


def _instant(number: int, text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidCalls(number, f"at is {text!r}, not a time of ISO 8601") from None
    since = (found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH
    nanoseconds = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    return _nanoseconds(number, str(nanoseconds))

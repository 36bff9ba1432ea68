"""What a table of bars is, and the first place where one is not.

Owns the names, the dtypes and the rules of bars. Reads no files (research/datasets/bars_file.py
does) and changes no values. The simulation relies on these rules, so this module is stored with the
code of every run that simulates: it is kept small, and a change here changes fingerprints.

    at_ns                open    high    low    close    volume
    915408000000000000   100.0   103.0   99.0   102.5    1200.0      1999-01-04
    915494400000000000   102.0   102.0   98.5    99.0    1500.0      1999-01-05
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

COLUMNS: Final = ("at_ns", "open", "high", "low", "close", "volume")

ROUNDING: Final = 1e-12
"""How far an open or a close may lie outside [low, high], as a fraction of the low or the high.

Adjusted prices are a price times a ratio that is itself rounded, so a close that *was* the high can
end one unit in the last place (2e-16 of the price) above it. Vendors ship such bars, and that is no
fault of the data. The smallest real fault, a tick, is over a million times larger than this limit.
"""

_DTYPES: Final = {name: np.dtype(np.int64 if name == "at_ns" else np.float64) for name in COLUMNS}
_PRICES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One broken rule: row -1 where it concerns the table or a whole column."""

    row: int
    column: str
    reason: str


def first_fault(bars: Mapping[str, NDArray[Any]]) -> Fault | None:
    """Find the first row that breaks a rule of bars, or None where every row keeps them all.

    In one row, values that are wrong by themselves come first, in the order of COLUMNS; then the
    high against the low, and the open and the close against both. So the value named is the cause:
    a negative high is reported as such, and not as an open above it. Names beside COLUMNS are
    ignored.

    Shapes: every column (T,), T >= 1.
    Units:  at_ns in nanoseconds since 1970-01-01 UTC, strictly ascending; prices finite and above
            zero, with low <= high, and open and close between them but for ROUNDING; volume finite,
            zero or more.
    """
    fault = _fault_of_shape(bars)
    if fault is not None:
        return fault
    first: Fault | None = None
    for column, broken, words, other in _rules(bars):
        row = int(broken.argmax())
        # Strictly lower: of the rules that one row breaks, the earliest is the cause.
        if broken[row] and (first is None or row < first.row):
            reason = f"{bars[column][row].item()!r} {words}"
            if other:
                reason += f" {other}, {bars[other][row].item()!r}"
            first = Fault(row=row, column=column, reason=reason)
    return first


def _fault_of_shape(bars: Mapping[str, NDArray[Any]]) -> Fault | None:
    for name, dtype in _DTYPES.items():
        if name not in bars:
            return Fault(row=-1, column=name, reason="missing")
        column = bars[name]
        if column.dtype != dtype:
            return Fault(row=-1, column=name, reason=f"dtype is {column.dtype}, not {dtype}")
        if column.ndim != 1:
            return Fault(row=-1, column=name, reason=f"has {column.ndim} dimensions, not 1")
    row_count = bars["at_ns"].size
    for name in COLUMNS:
        if bars[name].size != row_count:
            reason = f"has {bars[name].size} rows, but at_ns has {row_count}"
            return Fault(row=-1, column=name, reason=reason)
    if row_count == 0:
        return Fault(row=-1, column="at_ns", reason="no rows")
    return None


def _rules(
    bars: Mapping[str, NDArray[Any]],
) -> Iterator[tuple[str, NDArray[np.bool_], str, str]]:
    """Yield each rule: its column, the rows that break it, what to say, the column it is against.

    The rules of one value negate what must hold, so that NaN breaks them; those of two values say
    what must not be, so that NaN breaks no second rule.
    """
    at_ns, high, low, volume = bars["at_ns"], bars["high"], bars["low"], bars["volume"]
    # The first row has none before it; comparing, unlike subtracting, cannot overflow.
    first = np.zeros(1, dtype=np.bool_)
    repeats = np.concatenate((first, at_ns[1:] == at_ns[:-1]))
    yield "at_ns", repeats, "is a duplicate of the time in the row before", ""
    descends = np.concatenate((first, at_ns[1:] < at_ns[:-1]))
    yield "at_ns", descends, "is unsorted: earlier than the row before", ""
    for name in _PRICES:
        price = bars[name]
        yield name, ~((price > 0.0) & (price < np.inf)), "is not a finite price above zero", ""
    yield (
        "volume",
        ~((volume >= 0.0) & (volume < np.inf)),
        "is not a finite volume of 0 or more",
        "",
    )

    yield "high", high < low, "is below the", "low"
    with np.errstate(over="ignore"):  # A bound past the largest float is infinite, and holds.
        ceiling, floor = high * (1.0 + ROUNDING), low * (1.0 - ROUNDING)
    for name in ("open", "close"):
        yield name, bars[name] > ceiling, "is above the", "high"
        yield name, bars[name] < floor, "is below the", "low"

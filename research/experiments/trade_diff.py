"""What differs between the trades of two runs: which, and which comes first, and why.

Owns the pairing. Two trades are one where asset, side and entry are the same; where several are, by
their order. Entries and exits are instants where both runs say when their bars were, so that a
dataset with more history pairs as well; else they are bars. What a trade differs in is told in the
order in which it is decided: size, entry price, exit, exit price, reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from research.row_match import Matching, NoKey, match_rows
from research.table_diff import (
    EXACT,
    SAMPLES,
    ChangedRow,
    LoneRow,
    Tolerance,
    diff_matched,
    lone_rows,
)
from research.tabular import Tabular, plain

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Instants = NDArray[numpy.int64]

TRADES: Final = "trades"
INSTANTS: Final = ("entry_at_ns", "exit_at_ns")

_ENTRIES: Final = ("entry_at_ns", "entry_bar")
_TURN: Final = "turn"
_IDENTIFIERS: Final = ("trade_id",)

WHY: Final = {
    "quantity": "size",
    "entry_price": "entry price",
    "exit_at_ns": "exit",
    "exit_bar": "exit",
    "exit_price": "exit price",
    "exit_reason": "reason",
    "fees": "fees",
    "pnl": "pnl",
}
"""What a column says of a trade, in the order in which it is decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTrade:
    """The earliest trade that differs; None where a run has none at that place."""

    why: tuple[str, ...]
    a: Mapping[str, Any] | None
    b: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeDiff:
    """How the trades of two runs pair; of those that differ the first few."""

    paired_by: tuple[str, ...]
    count_a: int
    count_b: int
    same_count: int
    changed_count: int
    only_a_count: int
    only_b_count: int
    changed: tuple[ChangedRow, ...]
    only_a: tuple[LoneRow, ...]
    only_b: tuple[LoneRow, ...]
    first: FirstTrade | None

    @property
    def entry(self) -> str:
        """The column that says when a trade was entered."""
        return next(name for name in self.paired_by if name in _ENTRIES)


def are_trades(table: Tabular) -> bool:
    """Tell whether a table is one of trades: it says when each was entered."""
    return any(name in table.dtypes for name in _ENTRIES)


def diff_trades(
    a: Tabular,
    b: Tabular,
    *,
    at_ns: tuple[Instants, Instants] | None = None,
    tolerance: Tolerance = EXACT,
    samples: int = SAMPLES,
) -> TradeDiff:
    """Pair the trades of two runs and compare them; ``at_ns`` says when the bars of each were.

    Shapes: at_ns (T_a,) and (T_b,).
    Raises: NoKey if an entry is missing or NaN: then nothing can be paired.
    """
    if at_ns is not None and not (_fits(a, at_ns[0]) and _fits(b, at_ns[1])):
        at_ns = None
    ours = _Trades(a, None if at_ns is None else at_ns[0])
    theirs = _Trades(b, None if at_ns is None else at_ns[1])
    entry = next(
        (name for name in _ENTRIES if name in ours.dtypes and name in theirs.dtypes), _ENTRIES[-1]
    )
    names = [n for n in ("asset", "side") if n in ours.dtypes and n in theirs.dtypes]
    key = (*names, entry)
    try:
        matching = match_rows(ours, theirs, key)
    except NoKey:
        ours.count_turns(key)
        theirs.count_turns(key)
        matching = match_rows(ours, theirs, (*key, _TURN))
    found = diff_matched(ours, theirs, matching, tolerance=tolerance, samples=samples)
    return TradeDiff(
        paired_by=key,
        count_a=a.rows,
        count_b=b.rows,
        same_count=len(matching.a) - found.changed_count,
        changed_count=found.changed_count,
        only_a_count=found.only_a_count,
        only_b_count=found.only_b_count,
        changed=found.changed,
        only_a=found.only_a,
        only_b=found.only_b,
        first=_first(ours, theirs, matching, found.changed[:1], entry),
    )


class _Trades:
    """A table of trades to be paired: without numbers of rows, its bars as instants."""

    def __init__(self, table: Tabular, at_ns: Instants | None) -> None:
        self.rows = table.rows
        self._columns: dict[str, Any] = {}
        for name in table.dtypes:
            if name in _IDENTIFIERS:
                continue
            stem = name.removesuffix("_bar")
            if at_ns is not None and stem in ("entry", "exit") and name.endswith("_bar"):
                self._columns[f"{stem}_at_ns"] = _instants(table[name], at_ns)
            else:
                self._columns[name] = table[name]
        self.dtypes = {n: table.dtypes.get(n, "int64") for n in self._columns}
        self.units = {n: table.units.get(n, "") for n in self._columns}

    def count_turns(self, key: Sequence[str]) -> None:
        """Count up the trades that are entered alike, so that they pair by their order."""
        import numpy as np

        seen: dict[tuple[Any, ...], int] = {}
        turns = []
        for values in zip(*(self._columns[name].tolist() for name in key), strict=True):
            turns.append(seen.get(values, 0))
            seen[values] = turns[-1] + 1
        self._columns[_TURN] = np.array(turns, np.int64)
        self.dtypes[_TURN], self.units[_TURN] = "int64", ""

    def parts(self, name: str) -> object:
        """Return the column itself: few trades need no shortcut."""
        return id(self._columns[name])

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]


def _fits(table: Tabular, at_ns: Instants) -> bool:
    """Tell whether all bars of a table of trades are among those whose times are known."""
    import numpy as np

    bars = [table[name] for name in ("entry_bar", "exit_bar") if name in table.dtypes]
    return bool(bars) and all(
        np.ma.getdata(each).dtype.kind in "iu"
        and (len(each) == 0 or int(np.ma.getdata(each).max()) < len(at_ns))
        for each in bars
    )


def _instants(bars: Any, at_ns: Instants) -> Any:
    """Return when bars were; missing where a trade is still open."""
    import numpy as np

    numbers = np.ma.getdata(bars)
    is_open = (numbers < 0) | np.ma.getmaskarray(bars)
    found = np.zeros(len(numbers), np.int64)
    found[~is_open] = at_ns[numbers[~is_open]]
    return np.ma.MaskedArray(found, is_open) if is_open.any() else found


def _first(
    ours: _Trades,
    theirs: _Trades,
    matching: Matching,
    changed: Sequence[ChangedRow],
    entry: str,
) -> FirstTrade | None:
    """Find the earliest trade that differs: one that is in one run only, or one that is not equal.

    Where both runs have one of their own before the next that they share, the entry was another.
    """
    import numpy as np

    lone_a, lone_b = (
        _earliest(ours, matching.only_a, entry),
        _earliest(theirs, matching.only_b, entry),
    )
    entered_a, entered_b = _entered(ours, lone_a, entry), _entered(theirs, lone_b, entry)
    if changed:
        entered = _entered(ours, changed[0].row_a, entry)
        if entered is not None and all(e is None or entered < e for e in (entered_a, entered_b)):
            a, b = _row(ours, changed[0].row_a), _row(theirs, changed[0].row_b)
            why = [text for name, text in WHY.items() if name in changed[0].cells]
            others = [name for name in changed[0].cells if name not in WHY]
            return FirstTrade(why=(*why, *others), a=a, b=b)
    if lone_a is None and lone_b is None:
        return None
    first = min(e for e in (entered_a, entered_b) if e is not None)
    shared = np.ma.getdata(ours[entry])[matching.a]
    later = shared[shared > first]
    until = int(later.min()) if len(later) else None
    sides = []
    for trades, row, entered in ((ours, lone_a, entered_a), (theirs, lone_b, entered_b)):
        is_before = entered is not None and (until is None or entered < until)
        sides.append(_row(trades, row) if row is not None and is_before else None)
    return FirstTrade(why=("entry",), a=sides[0], b=sides[1])


def _earliest(trades: _Trades, rows: Any, entry: str) -> int | None:
    import numpy as np

    if not len(rows):
        return None
    return int(rows[np.ma.getdata(trades[entry])[rows].argmin()])


def _entered(trades: _Trades, row: int | None, entry: str) -> int | None:
    return None if row is None else plain(trades[entry], row)


def _row(trades: _Trades, row: int) -> dict[str, Any]:
    (found,) = lone_rows(trades, [row], ())
    return {name: value for name, value in found.values.items() if name != _TURN}

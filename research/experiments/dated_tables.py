"""When each cell of a table was known: its dates, and what two tables say up to a bar.

Owns the reading of dates and the comparison. A table is dated by its columns `at_ns`, `*_at_ns`,
`bar`, `*_bar`, and any of instants. A row begins at the earliest of its dates and is settled at the
latest; a date that is missing, NaN or negative is still to come. Of a row that has begun and is not
settled, this is known: the dates that have passed, the cells that are named after one of them
(`entry_price` after `entry_bar`), and what a row is about from its beginning on (`side`, `asset`,
`quantity`). An identifier (`id`, `*_id`) ties rows together and is compared nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rosdb import Table

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Bars = NDArray[numpy.int64]
    Bools = NDArray[numpy.bool_]

NEVER: Final = 2**62
"""The bar of what has not happened."""

ABSENT: Final = "absent"

_INSTANT: Final = "at_ns"
_BAR: Final = "bar"
_FROM_THE_BEGINNING: Final = frozenset({"side", "direction", "asset", "symbol", "quantity"})
_TRADE: Final = frozenset({"entry_bar", "exit_bar", "entry_price", "exit_reason", "side"})
_SIGNAL: Final = "signal"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Date:
    """A column of dates, as bars: where each thing happens, and at whose close it was decided.

    Shapes: bars, decided (rows,).
    """

    column: str
    stem: str
    bars: Bars
    decided: Bars


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatedTable:
    """A table, and the bars at which its rows begin and are settled.

    Shapes: begun, entered, settled (rows,).
    """

    name: str
    table: Table
    dates: tuple[Date, ...]
    begun: Bars
    entered: Bars
    settled: Bars

    def known(self, column: str) -> Bars:
        """Return the bar from which on each cell of a column was known.

        Shapes: returns (rows,).
        """
        named_after: Date | None = None
        for date in self.dates:
            if date.column == column:
                return date.decided
            is_closer = named_after is None or len(date.stem) > len(named_after.stem)
            if date.stem and column.startswith(f"{date.stem}_") and is_closer:
                named_after = date
        if named_after is not None:
            return named_after.bars
        return self.entered if column in _FROM_THE_BEGINNING else self.settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A cell that was known at a bar, and is another in the second table.

    ``row`` counts from 0 in the first table; in the second where only that one has the row.
    """

    artifact: str
    column: str
    row: int
    bar: int
    ours: Any
    theirs: Any


def read_dates(name: str, table: Table, at_ns: Bars, *, has_engine: bool) -> DatedTable | None:
    """Return a table with its dates; None if it has none.

    The trades of our own engine fill at an open, and so were decided at the close before: each
    entry, and each exit by a signal.

    Shapes: at_ns (T,), the bars' times.
    """
    import numpy as np

    found: list[Date] = []
    for column, stem in _date_columns(table):
        bars = _bars_of(table, column, at_ns)
        if bars is not None:
            found.append(Date(column=column, stem=stem, bars=bars, decided=bars))
    if not found:
        return None
    if has_engine and set(table) >= _TRADE:
        found = [_at_the_open(table, date) for date in found]
    return DatedTable(
        name=name,
        table=table,
        dates=tuple(found),
        begun=np.min([date.decided for date in found], axis=0),
        entered=np.min([date.bars for date in found], axis=0),
        settled=np.max([date.bars for date in found], axis=0),
    )


def decision_bars(dated: DatedTable, bar_count: int) -> set[int]:
    """Return the bars at which a table says that something was decided.

    Of a table that has a row for most bars, those at which a value changes that seldom does, and
    is not what it mostly is: a signal comes up, a position is taken.
    """
    import numpy as np

    if 2 * dated.table.rows <= bar_count or len(dated.dates) > 1:
        bars = np.unique(np.concatenate([date.decided for date in dated.dates]))
        return {int(bar) for bar in bars if 0 <= bar < bar_count}
    found: set[int] = set()
    dates = {date.column for date in dated.dates}
    for column in dated.table:
        if column in dates or _is_identifier(column):
            continue
        values = dated.table[column]
        changed = _differ(values[1:], values[:-1])
        if 2 * int(changed.sum()) < len(changed):
            each, counts = np.unique(np.ma.getdata(values), return_counts=True)
            is_rare = np.asarray(np.ma.getdata(values)[1:] != each[counts.argmax()])
            found.update(dated.begun[1:][changed & is_rare].tolist())
    return found


def count_known(dated: DatedTable, until: int) -> int:
    """Return how many rows have begun by the close of a bar."""
    return int((dated.begun <= until).sum())


def first_mismatch(ours: DatedTable, theirs: DatedTable | None, until: int) -> Mismatch | None:
    """Return the earliest cell that was known at the close of a bar and is not the same in both.

    Rows are matched in the order in which they begin.
    """
    import numpy as np

    mine = _begun(ours, until)
    if theirs is None or {d.column for d in theirs.dates} != {d.column for d in ours.dates}:
        theirs, other = None, mine[:0]
        their_begun = np.zeros(0, np.int64)
    else:
        other = _begun(theirs, until)
        their_begun = theirs.begun[other]
    my_begun = ours.begun[mine]
    count = min(len(mine), len(other))
    apart = np.flatnonzero(my_begun[:count] != their_begun[:count])
    matched = int(apart[0]) if len(apart) else count
    found: list[Mismatch] = []
    if theirs is not None and matched:
        for column in ours.table:
            if not _is_identifier(column):
                cell = _cell(ours, theirs, column, mine[:matched], other[:matched], until)
                found += [] if cell is None else [cell]
    if matched < max(len(mine), len(other)):
        is_mine = matched >= len(other) or (
            matched < len(mine) and my_begun[matched] < their_begun[matched]
        )
        if is_mine:
            found.append(_lone(ours, int(mine[matched]), is_ours=True))
        elif theirs is not None:
            found.append(_lone(theirs, int(other[matched]), is_ours=False))
    return min(found, key=lambda each: each.bar, default=None)


def _date_columns(table: Table) -> Iterator[tuple[str, str]]:
    """Give the columns that are dates by name or type; a bar beside an instant of its is none."""
    instants = {
        column: column.removesuffix(_INSTANT).removesuffix("_")
        for column in table
        if _has_suffix(column, _INSTANT) or table.dtypes[column] == "datetime64[ns]"
    }
    yield from instants.items()
    for column in table:
        stem = column.removesuffix(_BAR).removesuffix("_")
        if _has_suffix(column, _BAR) and stem not in instants.values():
            yield column, stem


def _has_suffix(column: str, suffix: str) -> bool:
    return column == suffix or column.endswith(f"_{suffix}")


def _is_identifier(column: str) -> bool:
    return _has_suffix(column, "id")


def _bars_of(table: Table, column: str, at_ns: Bars) -> Bars | None:
    """Return a column of dates as bars; None if it holds something else."""
    import numpy as np

    array = table[column]
    missing, data = np.ma.getmaskarray(array).copy(), np.ma.getdata(array)
    if data.dtype.kind == "f":
        missing |= np.isnan(data)
        data = np.where(missing, 0.0, data)
        if not (np.isfinite(data).all() and (data == np.floor(data)).all()):
            return None
    elif data.dtype.kind == "M":
        missing |= np.isnat(data)
    elif data.dtype.kind not in "iu":
        return None
    numbers: Bars = data.astype(np.int64)
    if table.dtypes[column] == "datetime64[ns]" or _has_suffix(column, _INSTANT):
        missing |= numbers == -1
        # An instant between two bars is known with the later one.
        bars = np.searchsorted(at_ns, numbers, side="left")
    else:
        missing |= numbers < 0
        bars = numbers
        if (bars[~missing] >= len(at_ns)).any():
            return None  # it counts something else
    return np.where(missing, NEVER, bars).astype(np.int64)


def _at_the_open(table: Table, date: Date) -> Date:
    """Return a date of the engine's trades with the bar at whose close it was decided."""
    import numpy as np

    if date.column == "entry_bar":
        is_at_open = date.bars < NEVER
    elif date.column == "exit_bar":
        is_at_open = (date.bars < NEVER) & np.asarray(table["exit_reason"] == _SIGNAL)
    else:
        return date
    decided = np.maximum(date.bars - is_at_open, 0)
    return Date(column=date.column, stem=date.stem, bars=date.bars, decided=decided)


def _begun(dated: DatedTable, until: int) -> Bars:
    """Return the rows that have begun, in the order in which they begin."""
    import numpy as np

    order = np.argsort(dated.begun, kind="stable")
    kept: Bars = order[dated.begun[order] <= until]
    return kept


def _cell(
    ours: DatedTable, theirs: DatedTable, column: str, mine: Bars, other: Bars, until: int
) -> Mismatch | None:
    """Return the earliest cell of a column that differs in matched rows."""
    import numpy as np

    my_known = ours.known(column)[mine]
    if column not in theirs.table:
        known, differs = my_known, my_known <= until
    else:
        their_known = theirs.known(column)[other]
        known = np.minimum(my_known, their_known)
        both = np.maximum(my_known, their_known) <= until
        differs = both & _differ(ours.table[column][mine], theirs.table[column][other])
        if any(date.column == column for date in ours.dates):
            # Decided by then in one of them, and in the other not.
            differs |= (known <= until) & ~both
    places = np.flatnonzero(differs)
    if not len(places):
        return None
    place = places[np.argmin(known[places])]
    has_both = column in theirs.table
    return Mismatch(
        artifact=ours.name,
        column=column,
        row=int(mine[place]),
        bar=int(known[place]),
        ours=_plain(ours.table[column], mine[place]),
        theirs=_plain(theirs.table[column], other[place]) if has_both else ABSENT,
    )


def _lone(dated: DatedTable, row: int, *, is_ours: bool) -> Mismatch:
    """Return what to say of a row that only one of two tables has."""
    date = min(dated.dates, key=lambda each: int(each.decided[row]))
    value = _plain(dated.table[date.column], row)
    return Mismatch(
        artifact=dated.name,
        column=date.column,
        row=row,
        bar=int(dated.begun[row]),
        ours=value if is_ours else ABSENT,
        theirs=ABSENT if is_ours else value,
    )


def _differ(ours: Any, theirs: Any) -> Bools:
    """Tell cell by cell whether two columns differ: to the bit, NaN equal to itself.

    Shapes: ours, theirs, returns (rows,).
    """
    import numpy as np

    masks = np.ma.getmaskarray(ours), np.ma.getmaskarray(theirs)
    a, b = np.ma.getdata(ours), np.ma.getdata(theirs)
    kinds = {a.dtype.kind, b.dtype.kind}
    same: Any
    if kinds == {"f"} and a.dtype == b.dtype:
        bits = f"u{a.dtype.itemsize}"
        same = np.ascontiguousarray(a).view(bits) == np.ascontiguousarray(b).view(bits)
    elif kinds <= set("biuf"):
        same = (a == b) | ((a != a) & (b != b))
    elif kinds <= set("UO") or kinds == {"M"}:
        same = (a == b) | (a != a)
    else:
        same = np.zeros(len(a), np.bool_)
    return np.where(masks[0] | masks[1], masks[0] != masks[1], ~np.asarray(same, np.bool_))


def _plain(column: Any, row: Any) -> Any:
    """Return a cell as a plain value; None if it is missing."""
    return column[row : row + 1].tolist()[0]

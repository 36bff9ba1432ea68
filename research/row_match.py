"""Which row of one table is which row of another.

Owns the finding of a key and the matching by it. A key is a column, or several together, whose
values stand once only in each table. Where none is named, one is looked for among the columns that
are named as a time, a bar or an identifier; where none is found, rows are matched by their number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Rows = NDArray[numpy.int64]
    Bools = NDArray[numpy.bool_]

_TIMES: Final = frozenset({"at_ns", "at", "time", "timestamp", "datetime", "date"})
_NAMES: Final = frozenset({"id", "bar", "key", "index"})
_ENDS: Final = ("_at_ns", "_id", "_bar", "_date", "_time")
_ASSETS: Final = ("asset", "symbol", "ticker", "instrument")
_CODES_MAX: Final = 2**62
INSTANT: Final = "datetime64[ns]"
TEXT: Final = "utf8"


class Tabular(Protocol):
    """A table: columns by name, each with a type and a unit.

    Shapes: each column (rows,); masked where values are missing.
    """

    @property
    def rows(self) -> int:
        """How many rows it has."""

    @property
    def dtypes(self) -> Mapping[str, str]:
        """The type of each column, in the table's order."""

    @property
    def units(self) -> Mapping[str, str]:
        """The unit of each column; empty where it has none."""

    def parts(self, name: str) -> object:
        """Return what decides a column's values: two columns of equal parts are the same."""

    def __getitem__(self, name: str) -> Any:
        """Return a column as an array."""


class HeldTable:
    """A table whose columns are read once, when they are first asked for."""

    def __init__(self, table: Tabular) -> None:
        self.rows = table.rows
        self.dtypes = table.dtypes
        self.units = table.units
        self._table = table
        self._held: dict[str, Any] = {}

    def parts(self, name: str) -> object:
        """Return what decides a column's values."""
        return self._table.parts(name)

    def __getitem__(self, name: str) -> Any:
        """Return a column as an array."""
        if name not in self._held:
            self._held[name] = self._table[name]
        return self._held[name]


class NoKey(Exception):
    """A column that was named as the key is none; ``side`` is the table, ``a`` or ``b``."""

    def __init__(self, key: tuple[str, ...], side: str, reason: str) -> None:
        super().__init__(key, side, reason)
        self.key = key
        self.side = side
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matching:
    """Rows that belong together, in the order of A, and those that are in one table only.

    ``key`` is empty where rows are matched by their number.

    Shapes: a, b (matched,); only_a, only_b (rest,), ascending.
    """

    key: tuple[str, ...]
    a: Rows
    b: Rows
    only_a: Rows
    only_b: Rows

    def moved_count(self) -> int:
        """Count the fewest rows that have to be moved to bring the matched ones into one order."""
        import numpy as np

        if len(self.b) < 2 or bool((np.diff(self.b) > 0).all()):
            return 0
        return len(self.b) - _longest_ascent(self.b.tolist())


def match_rows(a: Tabular, b: Tabular, key: Sequence[str] = ()) -> Matching:
    """Match the rows of two tables by a key, one that is found, or their number.

    Raises: NoKey if the key that was named is none.
    """
    if key:
        return _by_key(a, b, tuple(key))
    for candidate in _candidates(a, b):
        try:
            found = _by_key(a, b, candidate, is_ordered=len(candidate) == 1)
        except NoKey:
            continue
        return found
    return _by_number(a, b)


def same_parts(a: Tabular, b: Tabular, name: str) -> bool:
    """Tell whether a column is the same in both tables, without reading it."""
    if name not in a.dtypes or name not in b.dtypes or a.rows != b.rows:
        return False
    return a.dtypes[name] == b.dtypes[name] and a.parts(name) == b.parts(name)


def _candidates(a: Tabular, b: Tabular) -> Iterator[tuple[str, ...]]:
    """Give what may be a key by its name: times, then the rest, what only numbers the rows last."""
    common = [n for n in a.dtypes if b.dtypes.get(n) == a.dtypes[n] and _is_countable(a.dtypes[n])]
    times = [n for n in common if n.lower() in _TIMES or a.dtypes[n] == INSTANT]
    others = [n for n in common if n not in times and _is_named_as_key(n.lower())]
    last = [n for n in others if _numbers_rows(a, n) or _numbers_rows(b, n)]
    for name in chain(times, (n for n in others if n not in last)):
        yield (name,)
    assets = [n for n in _ASSETS if n in a.dtypes and n in b.dtypes]
    for asset in assets:
        for name in times:
            yield (asset, name)
    for name in last:
        yield (name,)


def _is_countable(dtype: str) -> bool:
    return "int" in dtype or dtype in (INSTANT, TEXT)


def _is_named_as_key(name: str) -> bool:
    return name in _NAMES or name.endswith(_ENDS)


def _numbers_rows(table: Tabular, name: str) -> bool:
    import numpy as np

    values = table[name]
    return table.dtypes[name] != TEXT and bool((values == np.arange(table.rows)).all())


def _by_key(a: Tabular, b: Tabular, key: tuple[str, ...], *, is_ordered: bool = False) -> Matching:
    """Match by a key; ``is_ordered`` asks that it ascends in one of the tables at least.

    Raises: NoKey.
    """
    import numpy as np

    ours, theirs = _codes(a, b, key)
    ascends = [bool((codes[1:] > codes[:-1]).all()) for codes in (ours, theirs)]
    if is_ordered and not any(ascends):
        raise NoKey(key, "a", "it does not ascend")
    for side, table, codes, ascending in (("a", a, ours, ascends[0]), ("b", b, theirs, ascends[1])):
        if not ascending:
            ordered = np.sort(codes)
            if bool((ordered[1:] == ordered[:-1]).any()):
                raise NoKey(key, side, _told_twice(table, key, codes))
    order = None if ascends[0] else np.argsort(ours, kind="stable")
    ordered = ours if order is None else ours[order]
    places = np.searchsorted(ordered, theirs)
    hit = places < len(ordered)
    hit[hit] = ordered[places[hit]] == theirs[hit]
    mine, other = places[hit], np.flatnonzero(hit)
    if order is not None:
        mine = order[mine]
    turn = np.argsort(mine, kind="stable")
    return _matching(key, a, b, mine[turn], other[turn])


def _by_number(a: Tabular, b: Tabular) -> Matching:
    """Match by row number: from the front, and what is left over from the back.

    So rows that were put in at one place, or taken out, are found there, and not at the end.
    """
    import numpy as np

    count = min(a.rows, b.rows)
    front = np.arange(count, dtype=np.int64)
    if a.rows == b.rows or set(a.dtypes) != set(b.dtypes) or dict(a.dtypes) != dict(b.dtypes):
        return _matching((), a, b, front, front)
    head = _first_true(_rows_differ(a, b, front, front), count)
    rest = np.arange(head, count, dtype=np.int64)
    back_a, back_b = rest + (a.rows - count), rest + (b.rows - count)
    tail = len(rest) - 1 - _last_true(_rows_differ(a, b, back_a, back_b))
    split = count - tail
    mine = np.concatenate([front[:split], back_a[len(rest) - tail :]])
    other = np.concatenate([front[:split], back_b[len(rest) - tail :]])
    return _matching((), a, b, mine, other)


def _matching(key: tuple[str, ...], a: Tabular, b: Tabular, mine: Rows, other: Rows) -> Matching:
    import numpy as np

    lone = []
    for rows, matched in ((a.rows, mine), (b.rows, other)):
        is_lone = np.ones(rows, np.bool_)
        is_lone[matched] = False
        lone.append(np.flatnonzero(is_lone).astype(np.int64))
    return Matching(
        key=key,
        a=mine.astype(np.int64),
        b=other.astype(np.int64),
        only_a=lone[0],
        only_b=lone[1],
    )


def _codes(a: Tabular, b: Tabular, key: tuple[str, ...]) -> tuple[Any, Any]:
    """Turn the values of a key into numbers that order as they do, the same for both tables.

    Shapes: returns (rows,) of each.
    Raises: NoKey.
    """
    import numpy as np

    sides = []
    for side, table in (("a", a), ("b", b)):
        for name in key:
            if name not in table.dtypes:
                raise NoKey(key, side, f"there is no column {name!r}")
        sides.append([_whole(table, name, key, side) for name in key])
    if len(key) == 1 and all(each[0].dtype.kind in "iu" for each in sides):
        ours, theirs = sides[0][0], sides[1][0]
        if ours.dtype == theirs.dtype:
            return ours, theirs
    code, bound = np.zeros(a.rows + b.rows, np.int64), 1
    for mine, other in zip(*sides, strict=True):
        if not (len(mine) and len(other)):
            # A column without rows may have any type: a run without trades says nothing of theirs.
            mine, other = (other[:0], other) if len(other) else (mine, mine[:0])
        if (mine.dtype.kind in "UO") != (other.dtype.kind in "UO"):
            raise NoKey(key, "b", "its type is not the one it has in a")
        count, places = _places(mine, other)
        if bound * count > _CODES_MAX:
            # Counted anew, so that no product of counts grows past 64 bits.
            values, code = np.unique(code, return_inverse=True)
            bound = len(values)
        code, bound = code * count + places, bound * count
    return code[: a.rows], code[a.rows :]


def _places(mine: Any, other: Any) -> tuple[int, Any]:
    """Count the values of two columns, and give the place of each in their order."""
    import numpy as np

    if mine.dtype.kind in "UO":
        # Few texts stand in many rows: sorting the few is quicker than sorting the rows.
        texts = [*mine.tolist(), *other.tolist()]
        order = {text: place for place, text in enumerate(sorted(set(texts)))}
        return len(order), np.fromiter(map(order.__getitem__, texts), np.int64, len(texts))
    values, places = np.unique(np.concatenate([mine, other]), return_inverse=True)
    return len(values), places


def _whole(table: Tabular, name: str, key: tuple[str, ...], side: str) -> Any:
    import numpy as np

    values = table[name]
    if np.ma.getmaskarray(values).any():
        raise NoKey(key, side, f"column {name!r} has missing values")
    data = np.ma.getdata(values)
    if data.dtype.kind in "fM" and bool((data != data).any()):
        raise NoKey(key, side, f"column {name!r} has values that equal nothing (NaN)")
    return data.view(np.int64) if data.dtype.kind == "M" else data


def _told_twice(table: Tabular, key: tuple[str, ...], codes: Any) -> str:
    import numpy as np

    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    row = int(first[counts > 1].min())
    values = ", ".join(repr(plain(table[name], row)) for name in key)
    return f"{values} stands in more than one row"


def plain(column: Any, row: int) -> Any:
    """Return a cell as a plain value; None if it is missing, nanoseconds of an instant."""
    import numpy as np

    cell = column[row : row + 1]
    if np.ma.getdata(cell).dtype.kind == "M":
        return None if np.ma.getmaskarray(cell)[0] else int(np.ma.getdata(cell).view(np.int64)[0])
    return cell.tolist()[0]


def _rows_differ(a: Tabular, b: Tabular, mine: Rows, other: Rows) -> Bools:
    import numpy as np

    found = np.zeros(len(mine), np.bool_)
    for name in a.dtypes:
        found |= cells_differ(a[name][mine], b[name][other])
    return found


def cells_differ(ours: Any, theirs: Any) -> Bools:
    """Tell cell by cell whether two columns differ: to the bit in one type, by value across types.

    NaN equals itself, 0.0 is not -0.0, and a missing value equals a missing one only. Text and a
    number are never the same.

    Shapes: ours, theirs, returns (rows,).
    """
    import numpy as np

    masks = np.ma.getmaskarray(ours), np.ma.getmaskarray(theirs)
    a, b = np.ma.getdata(ours), np.ma.getdata(theirs)
    kinds = {a.dtype.kind, b.dtype.kind}
    same: Any
    if a.dtype == b.dtype and a.dtype.kind in "fM":
        bits = np.dtype(f"u{a.dtype.itemsize}")
        same = np.ascontiguousarray(a).view(bits) == np.ascontiguousarray(b).view(bits)
    elif kinds <= set("biuf"):
        same = _same_numbers(a, b)
    elif kinds <= set("UO"):
        same = a == b
    else:
        same = np.zeros(len(a), np.bool_)
    differ: Bools = np.where(masks[0] | masks[1], masks[0] != masks[1], ~np.asarray(same, np.bool_))
    return differ


def _same_numbers(a: Any, b: Any) -> Any:
    """Compare numbers of two types by what they are; no integer is rounded to a float for it."""
    import numpy as np

    if a.dtype.kind == b.dtype.kind == "f":
        return (a == b) | ((a != a) & (b != b))
    if a.dtype.kind == "f":
        a, b = b, a
    if b.dtype.kind == "f":
        high = 2.0**64 if a.dtype.kind == "u" else 2.0**63
        low = 0.0 if a.dtype.kind == "u" else -(2.0**63)
        is_whole = (b >= low) & (b < high) & (b == np.floor(b))
        wide = np.uint64 if a.dtype.kind == "u" else np.int64
        back = np.where(is_whole, b, 0.0).astype(wide)
        return is_whole & (back == a.astype(wide))
    return a == b


def _first_true(marks: Bools, default: int) -> int:
    return int(marks.argmax()) if marks.any() else default


def _last_true(marks: Bools) -> int:
    """Return the last place that is marked; -1 if none is."""
    return len(marks) - 1 - int(marks[::-1].argmax()) if marks.any() else -1


def _longest_ascent(values: Sequence[int]) -> int:
    """Return the length of the longest ascending subsequence."""
    tails: list[int] = []
    for value in values:
        place = bisect_left(tails, value)
        tails[place : place + 1] = [value]
    return len(tails)

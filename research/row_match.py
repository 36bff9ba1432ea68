"""Which row of one table is which row of another.

Owns the finding of a key and the matching by it. A key is a column, or several together, whose
values stand once only in each table. Where none is named, one is looked for among the columns that
are named as a time, a bar or an identifier; where none is found, rows are matched by their number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from research.tabular import INSTANT, TEXT, Tabular, cells_differ, plain

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

    sides = _sides(a, b, key)
    ordering = next((pair for pair in sides if len(key) > 1 and _ascend(*pair)), None)
    if ordering is not None:
        # It tells the rows apart by itself: what the others are for is that they are the same.
        mine, other = _places_of(*ordering)
        for ours, theirs in sides:
            is_same = ~cells_differ(ours[mine], theirs[other])
            mine, other = mine[is_same], other[is_same]
        return _matching(key, a, b, mine, other)
    ours, theirs = _codes(sides)
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
    mine, other = _places_of(ordered, theirs)
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


def _ascend(ours: Any, theirs: Any) -> bool:
    """Tell whether two columns of whole numbers, of one type, both strictly ascend."""
    is_whole = ours.dtype == theirs.dtype and ours.dtype.kind in "iu"
    return is_whole and all(bool((each[1:] > each[:-1]).all()) for each in (ours, theirs))


def _places_of(ordered: Any, values: Any) -> tuple[Rows, Rows]:
    """Find values among ascending ones: where there, and which of them, for each that is there."""
    import numpy as np

    if len(ordered) == len(values) and bool((ordered == values).all()):
        same = np.arange(len(values), dtype=np.int64)
        return same, same
    places = np.searchsorted(ordered, values)
    hit = places < len(ordered)
    hit[hit] = ordered[places[hit]] == values[hit]
    return places[hit], np.flatnonzero(hit)


def _sides(a: Tabular, b: Tabular, key: tuple[str, ...]) -> list[tuple[Any, Any]]:
    """Return the columns of a key in both tables, each pair of one kind.

    Raises: NoKey.
    """
    for side, table in (("a", a), ("b", b)):
        for name in key:
            if name not in table.dtypes:
                raise NoKey(key, side, f"there is no column {name!r}")
    pairs = []
    for name in key:
        mine, other = _whole(a, name, key, "a"), _whole(b, name, key, "b")
        if not (len(mine) and len(other)):
            # A column without rows may have any type: a run without trades says nothing of theirs.
            mine, other = (other[:0], other) if len(other) else (mine, mine[:0])
        if (mine.dtype.kind in "UO") != (other.dtype.kind in "UO"):
            raise NoKey(key, "b", "its type is not the one it has in a")
        pairs.append((mine, other))
    return pairs


def _codes(sides: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Turn the values of a key into numbers that tell them apart, the same for both tables.

    Shapes: returns (rows,) of each.
    """
    import numpy as np

    ours, theirs = sides[0]
    if len(sides) == 1 and ours.dtype == theirs.dtype and ours.dtype.kind in "iu":
        return ours, theirs
    code, bound = np.zeros(len(ours) + len(theirs), np.int64), 1
    for mine, other in sides:
        count, places = _places(mine, other)
        if bound * count > _CODES_MAX:
            # Counted anew, so that no product of counts grows past 64 bits.
            values, code = np.unique(code, return_inverse=True)
            bound = len(values)
        code, bound = code * count + places, bound * count
    return code[: len(ours)], code[len(ours) :]


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


def _rows_differ(a: Tabular, b: Tabular, mine: Rows, other: Rows) -> Bools:
    import numpy as np

    found = np.zeros(len(mine), np.bool_)
    for name in a.dtypes:
        found |= cells_differ(a[name][mine], b[name][other])
    return found


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

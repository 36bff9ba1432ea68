"""What differs between two tables: columns, rows, cells.

Owns the comparison, with numpy and over whole columns. Rows are matched in ``row_match.py``; a
column that both tables share is recognised by its id and not read. Cells are compared to the bit,
or within a tolerance that was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from research.row_match import Matching, match_rows, same_parts
from research.tabular import INSTANT, TEXT, HeldTable, Tabular, cells_differ, plain

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Rows = NDArray[numpy.int64]
    Bools = NDArray[numpy.bool_]

SAMPLES: Final = 10
"""How many rows of each kind are kept to be shown, the first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far two numbers may lie apart and count as one: as ``math.isclose`` has it."""

    absolute: float = 0.0
    relative: float = 0.0

    @property
    def is_exact(self) -> bool:
        """Whether cells are compared to the bit."""
        return self.absolute == 0 and self.relative == 0


EXACT: Final = Tolerance()


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """A column that is there once only, or has another type or unit: what it is, or None."""

    name: str
    state: str
    """``added``, ``removed``, ``type`` or ``unit``."""

    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of two matched rows; ``key`` is the row's, empty where rows go by their number."""

    row_a: int
    row_b: int
    key: tuple[Any, ...]
    a: Any
    b: Any

    @property
    def difference(self) -> float | int | None:
        """B minus A, of numbers."""
        return difference(self.a, self.b)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDiff:
    """How many cells of a column differ, the first, and the one that differs most."""

    name: str
    changed_count: int
    first: Cell
    largest: Cell | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneRow:
    """A row that is in one table only."""

    row: int
    key: tuple[Any, ...]
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedRow:
    """A row that is in both tables, and its cells that differ: what each was, and is."""

    row_a: int
    row_b: int
    key: tuple[Any, ...]
    cells: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDiff:
    """Everything that differs between two tables; of the rows, counts and the first few."""

    key: tuple[str, ...]
    rows_a: int
    rows_b: int
    only_a_count: int
    only_b_count: int
    changed_count: int
    moved_count: int
    column_changes: tuple[ColumnChange, ...]
    columns: tuple[ColumnDiff, ...]
    only_a: tuple[LoneRow, ...]
    only_b: tuple[LoneRow, ...]
    changed: tuple[ChangedRow, ...]
    instants: frozenset[str]
    """The columns that hold instants, as nanoseconds since 1970 UTC."""

    has_other_order: bool
    """The same columns stand in another order."""

    @property
    def is_identical(self) -> bool:
        """Whether the tables have the same rows and columns."""
        return not (self.has_other_rows or self.column_changes or self.has_other_order)

    @property
    def has_other_rows(self) -> bool:
        """Whether any row differs, is in one table only, or stands elsewhere."""
        return bool(
            self.only_a_count or self.only_b_count or self.changed_count or self.moved_count
        )

    @property
    def is_restated(self) -> bool:
        """Whether nothing differs but the values of some rows."""
        return bool(self.changed_count) and not (
            self.only_a_count
            or self.only_b_count
            or self.moved_count
            or self.column_changes
            or self.has_other_order
        )


def diff_tables(
    a: Tabular,
    b: Tabular,
    *,
    key: Sequence[str] = (),
    tolerance: Tolerance = EXACT,
    samples: int = SAMPLES,
) -> TableDiff:
    """Compare two tables.

    Raises: NoKey if the columns that were named as the key are none.
    """
    ours, theirs = HeldTable(a), HeldTable(b)
    matching = match_rows(ours, theirs, key)
    return diff_matched(ours, theirs, matching, tolerance=tolerance, samples=samples)


def diff_matched(
    a: Tabular, b: Tabular, matching: Matching, *, tolerance: Tolerance, samples: int
) -> TableDiff:
    """Compare two tables whose rows are matched."""
    import numpy as np

    is_changed = np.zeros(len(matching.a), np.bool_)
    places: dict[str, Rows] = {}
    found: list[ColumnDiff] = []
    is_in_place = a.rows == b.rows == len(matching.a) and bool((matching.a == matching.b).all())
    for name in _compared(a, b, matching.key):
        if is_in_place and same_parts(a, b, name):
            continue
        ours, theirs = a[name], b[name]
        if not is_in_place:
            ours, theirs = ours[matching.a], theirs[matching.b]
        differ = cells_differ(ours, theirs)
        if not tolerance.is_exact:
            differ &= ~_close(ours, theirs, tolerance)
        if differ.any():
            is_changed |= differ
            places[name] = np.flatnonzero(differ)
            found.append(_column_diff(name, a, b, matching, ours, theirs, places[name]))
    rows = np.flatnonzero(is_changed)
    names = [name for name in b.dtypes if name in a.dtypes]
    return TableDiff(
        key=matching.key,
        rows_a=a.rows,
        rows_b=b.rows,
        only_a_count=len(matching.only_a),
        only_b_count=len(matching.only_b),
        changed_count=len(rows),
        moved_count=matching.moved_count(),
        column_changes=tuple(_column_changes(a, b)),
        columns=tuple(found),
        only_a=lone_rows(a, matching.only_a[:samples], matching.key),
        only_b=lone_rows(b, matching.only_b[:samples], matching.key),
        changed=_changed_rows(a, b, matching, rows[:samples], places),
        instants=frozenset(_instants(a) | _instants(b)),
        has_other_order=names != [name for name in a.dtypes if name in b.dtypes],
    )


def difference(a: Any, b: Any) -> float | int | None:
    """Return B minus A; None if they are not both numbers."""
    numbers = (int, float)
    if isinstance(a, bool) or isinstance(b, bool):
        return None
    return b - a if isinstance(a, numbers) and isinstance(b, numbers) else None


def _instants(table: Tabular) -> set[str]:
    return {
        name
        for name, dtype in table.dtypes.items()
        if dtype == INSTANT or (dtype == "int64" and f"_{name}".endswith("_at_ns"))
    }


def _compared(a: Tabular, b: Tabular, key: tuple[str, ...]) -> list[str]:
    """Name the columns whose cells can be compared: a number is no text."""
    names = []
    for name in a.dtypes:
        if name in b.dtypes and name not in key:
            kinds = {_kind(a.dtypes[name]), _kind(b.dtypes[name])}
            if len(kinds) == 1:
                names.append(name)
    return names


def _kind(dtype: str) -> str:
    return dtype if dtype in (TEXT, INSTANT) else "number"


def _column_changes(a: Tabular, b: Tabular) -> list[ColumnChange]:
    found = []
    for name in dict.fromkeys([*a.dtypes, *b.dtypes]):
        ours, theirs = a.dtypes.get(name), b.dtypes.get(name)
        if ours != theirs:
            state = "added" if ours is None else "removed" if theirs is None else "type"
            found.append(ColumnChange(name=name, state=state, a=ours, b=theirs))
        elif a.units[name] != b.units[name]:
            units = (a.units[name], b.units[name])
            found.append(ColumnChange(name=name, state="unit", a=units[0], b=units[1]))
    return found


def _close(ours: Any, theirs: Any, tolerance: Tolerance) -> Bools:
    """Tell which numbers lie within the tolerance of each other."""
    import numpy as np

    a, b = np.ma.getdata(ours), np.ma.getdata(theirs)
    missing = np.ma.getmaskarray(ours) | np.ma.getmaskarray(theirs)
    if not {a.dtype.kind, b.dtype.kind} <= set("iuf"):
        return np.zeros(len(a), np.bool_)
    # A difference of integers of 64 bits may not fit them; that of floats is close enough.
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        reach = np.maximum(
            tolerance.relative * np.maximum(np.abs(a), np.abs(b)), tolerance.absolute
        )
        near = np.abs(a - b) <= reach
    close: Bools = near & np.isfinite(a) & np.isfinite(b) & ~missing
    close |= (a == b) & ~missing
    return close


def _column_diff(
    name: str, a: Tabular, b: Tabular, matching: Matching, ours: Any, theirs: Any, places: Rows
) -> ColumnDiff:
    import numpy as np

    def cell(place: int) -> Cell:
        row_a, row_b = int(matching.a[place]), int(matching.b[place])
        return Cell(
            row_a=row_a,
            row_b=row_b,
            key=_key_of(a, matching.key, row_a),
            a=plain(ours, place),
            b=plain(theirs, place),
        )

    largest = None
    data = [np.ma.getdata(each)[places] for each in (ours, theirs)]
    if all(each.dtype.kind in "iuf" for each in data):
        missing = np.ma.getmaskarray(ours)[places] | np.ma.getmaskarray(theirs)[places]
        with np.errstate(invalid="ignore", over="ignore"):
            gaps = np.abs(data[1].astype(np.float64) - data[0].astype(np.float64))
        gaps[missing | np.isnan(gaps)] = -1.0
        if gaps.max() >= 0:
            largest = cell(int(places[gaps.argmax()]))
    return ColumnDiff(
        name=name, changed_count=len(places), first=cell(int(places[0])), largest=largest
    )


def _key_of(table: Tabular, key: tuple[str, ...], row: int) -> tuple[Any, ...]:
    return tuple(plain(table[name], row) for name in key)


def lone_rows(
    table: Tabular, rows: Rows | Sequence[int], key: tuple[str, ...]
) -> tuple[LoneRow, ...]:
    """Return rows of a table as plain values."""
    if not len(rows):
        return ()
    columns = {name: table[name] for name in table.dtypes}
    return tuple(
        LoneRow(
            row=int(row),
            key=tuple(plain(columns[name], int(row)) for name in key),
            values={name: plain(column, int(row)) for name, column in columns.items()},
        )
        for row in rows
    )


def _changed_rows(
    a: Tabular, b: Tabular, matching: Matching, rows: Rows, places: Mapping[str, Rows]
) -> tuple[ChangedRow, ...]:
    """Return the first rows that changed, each with its cells."""
    import numpy as np

    shown: dict[int, dict[str, tuple[Any, Any]]] = {int(row): {} for row in rows}
    for name, each in places.items():
        ours, theirs = a[name], b[name]
        for place in np.intersect1d(rows, each, assume_unique=True).tolist():
            cells = (int(matching.a[place]), int(matching.b[place]))
            shown[place][name] = (plain(ours, cells[0]), plain(theirs, cells[1]))
    return tuple(
        ChangedRow(
            row_a=int(matching.a[place]),
            row_b=int(matching.b[place]),
            key=_key_of(a, matching.key, int(matching.a[place])),
            cells=cells,
        )
        for place, cells in shown.items()
    )

"""Where two outcomes first differ, and by how much.

Owns the comparison of outcomes, metric by metric and table by table, down to the row and to the
last bit of a float. A replay shows the first difference and counts the rows; a diff shows what
stands in which artifact.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from research.experiments.runs import RunManifest, artifacts
from rosdb import UTF8, WIDTHS, Column, Entry, Store, Table, text_values

METRICS: Final = "metrics"

Kind = Literal["table", "file", "metrics", "folders", "status"]

_FORMATS: Final = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
    "datetime64[ns]": "q",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much of one artifact differs; no rows are counted where a file is no table.

    Of the metrics, a row is a metric.
    """

    artifact: str
    kind: Kind
    differing_count: int | None
    row_count: int | None

    def to_fields(self) -> dict[str, Any]:
        """Return plain fields for a record or a document."""
        return {
            "artifact": self.artifact,
            "kind": self.kind,
            "rows_differing": self.differing_count,
            "rows": self.row_count,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first place where two outcomes differ; ``row`` counts from 0.

    ``ulps`` is how many floats lie between the two values, and one; None if they are no floats.
    """

    artifact: str
    kind: Kind = "file"
    column: str | None = None
    row: int | None = None
    expected: Any = None
    actual: Any = None
    ulps: int | None = None
    extents: tuple[Extent, ...] = ()
    causes: tuple[str, ...] = ()

    def to_fields(self) -> dict[str, Any]:
        """Return plain fields for a record or a document."""
        return {
            "artifact": self.artifact,
            "kind": self.kind,
            "column": self.column,
            "row": self.row,
            "expected": self.expected,
            "actual": self.actual,
            "ulps": self.ulps,
            "artifacts": [extent.to_fields() for extent in self.extents],
            "causes": list(self.causes),
        }


def first_divergence(store: Store, expected: RunManifest, actual: RunManifest) -> Divergence | None:
    """Return the first difference of two outcomes; None if they are one.

    Artifacts go before metrics, for a metric follows from what the artifacts show.
    """
    if expected.outcome_id == actual.outcome_id:
        return None
    found = _first(store, expected, actual)
    return None if found is None else replace(found, extents=extents(store, expected, actual))


def _first(store: Store, expected: RunManifest, actual: RunManifest) -> Divergence | None:
    ours, theirs = artifacts(store, expected), artifacts(store, actual)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            return Divergence(
                artifact=name,
                kind=_kind(ours.get(name) or theirs.get(name)),
                expected="present" if name in ours else "absent",
                actual="present" if name in theirs else "absent",
            )
        found = compare_entries(store, name, ours[name], theirs[name])
        if found is not None:
            return found
    return _metric_divergence(expected.metrics, actual.metrics)


def compare_entries(store: Store, name: str, ours: Entry, theirs: Entry) -> Divergence | None:
    """Return the first difference of one artifact."""
    if ours == theirs:
        return None
    if ours.link == theirs.link:
        return Divergence(artifact=name, expected=_mode(ours), actual=_mode(theirs))
    if ours.kind == theirs.kind == "table":
        return _table_divergence(name, store.get_table(ours.link), store.get_table(theirs.link))
    return Divergence(artifact=name, expected=str(ours.link), actual=str(theirs.link))


def _mode(entry: Entry) -> str:
    return f"{entry.kind}, mode {entry.mode:o}"


def _table_divergence(name: str, ours: Table, theirs: Table) -> Divergence:
    if list(ours) != list(theirs) or ours.dtypes != theirs.dtypes or ours.units != theirs.units:
        return Divergence(artifact=name, kind="table", expected=_shape(ours), actual=_shape(theirs))
    # The earliest row decides, and among its columns the first: later ones follow from it.
    places = []
    for order, column in enumerate(ours):
        row = _first_row(ours, theirs, column)
        if row is not None:
            places.append((row, order, column))
    if not places:
        return Divergence(artifact=name, kind="table", expected=ours.rows, actual=theirs.rows)
    row, _, column = min(places)
    expected, actual = _value(ours, column, row), _value(theirs, column, row)
    return Divergence(
        artifact=name,
        kind="table",
        column=column,
        row=row,
        expected=expected,
        actual=actual,
        ulps=ulps(expected, actual, ours.dtypes[column]),
    )


def extents(store: Store, expected: RunManifest, actual: RunManifest) -> tuple[Extent, ...]:
    """Count in each artifact that differs, and in the metrics, what differs."""
    ours, theirs = artifacts(store, expected), artifacts(store, actual)
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if mine == other:
            continue
        kind = _kind(mine or other)
        differing, rows = None, None
        if kind == "table":
            tables = [_table(store, entry) for entry in (mine, other)]
            differing, rows = _count_rows(*tables)
        found.append(Extent(artifact=name, kind=kind, differing_count=differing, row_count=rows))
    names = expected.metrics.keys() | actual.metrics.keys()
    count = sum(not _same_metric(expected.metrics, actual.metrics, name) for name in names)
    if count:
        found.append(
            Extent(artifact=METRICS, kind="metrics", differing_count=count, row_count=len(names))
        )
    return tuple(found)


def _kind(entry: Entry | None) -> Kind:
    return "table" if entry is not None and entry.kind == "table" else "file"


def _table(store: Store, entry: Entry | None) -> Table | None:
    return store.get_table(entry.link) if entry is not None and entry.kind == "table" else None


def _count_rows(ours: Table | None, theirs: Table | None) -> tuple[int, int]:
    """Return how many rows differ in any column, or are there once only; and of how many."""
    rows = max(0 if table is None else table.rows for table in (ours, theirs))
    if ours is None or theirs is None or ours.dtypes != theirs.dtypes:
        return rows, rows
    common = min(ours.rows, theirs.rows)
    differing = bytearray(common)
    for name in ours:
        if ours.rows == theirs.rows and ours.parts(name) == theirs.parts(name):
            continue
        mine, other = ours.column(name), theirs.column(name)
        masks = (_mask(mine, ours.rows), _mask(other, theirs.rows))
        _mark_bytes(differing, masks[0], masks[1], 1)
        if mine.dtype == UTF8:
            texts = zip(text_values(mine, ours.rows), text_values(other, theirs.rows), strict=False)
            for row, (a, b) in enumerate(texts):
                differing[row] |= a != b
        else:
            _mark_bytes(differing, mine.data, other.data, WIDTHS[mine.dtype])
    return sum(differing) + rows - common, rows


def _mark_bytes(differing: bytearray, ours: bytes, theirs: bytes, width: int) -> None:
    """Mark the rows, of so many bytes each, that are not the same."""
    import numpy as np

    size = len(differing) * width
    if not size:
        return
    a, b = (np.frombuffer(each[:size], np.uint8).reshape(-1, width) for each in (ours, theirs))
    marks = np.frombuffer(differing, np.uint8)
    marks |= (a != b).any(axis=1)


def column_values(table: Table, name: str) -> list[Any]:
    """Return a column as plain Python values; None where one is missing.

    Shapes: returns rows values.
    """
    column = table.column(name)
    values: list[Any]
    if column.dtype == UTF8:
        values = list(text_values(column, table.rows))
    else:
        values = list(struct.unpack(f"<{table.rows}{_FORMATS[column.dtype]}", column.data))
    if column.mask is not None:
        values = [None if missing else v for v, missing in zip(values, column.mask, strict=True)]
    return values


def _first_row(ours: Table, theirs: Table, name: str) -> int | None:
    if ours.rows == theirs.rows and ours.parts(name) == theirs.parts(name):
        return None
    mine, other = ours.column(name), theirs.column(name)
    count = min(ours.rows, theirs.rows)
    if mine.dtype == UTF8:
        pairs = zip(text_values(mine, ours.rows), text_values(other, theirs.rows), strict=False)
        values = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    else:
        width = WIDTHS[mine.dtype]
        values = _first_byte(mine.data[: count * width], other.data[: count * width])
        values = None if values is None else values // width
    masks = _first_byte(_mask(mine, ours.rows)[:count], _mask(other, theirs.rows)[:count])
    found = [row for row in (values, masks) if row is not None]
    if not found:
        return None if ours.rows == theirs.rows else count
    return min(found)


def _first_byte(ours: bytes, theirs: bytes) -> int | None:
    """Find the first different byte by halving, which compares at memory speed."""
    if ours == theirs:
        return None
    low, high = 0, len(ours)
    while high - low > 1:
        middle = (low + high) // 2
        if ours[low:middle] == theirs[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _mask(column: Column, rows: int) -> bytes:
    return bytes(rows) if column.mask is None else column.mask


def _value(table: Table, name: str, row: int) -> Any:
    return column_values(table, name)[row] if row < table.rows else "no such row"


def _shape(table: Table) -> str:
    columns = ", ".join(f"{n} {table.dtypes[n]}" for n in table)
    return f"{table.rows} rows of {columns}"


def _metric_divergence(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> Divergence | None:
    for name in sorted(expected.keys() | actual.keys()):
        ours, theirs = expected.get(name), actual.get(name)
        if not _same_metric(expected, actual, name):
            return Divergence(
                artifact=METRICS,
                kind="metrics",
                column=name,
                expected=ours,
                actual=theirs,
                ulps=ulps(ours, theirs),
            )
    return None


def _same_metric(expected: Mapping[str, Any], actual: Mapping[str, Any], name: str) -> bool:
    is_in_both = name in expected and name in actual
    return is_in_both and same_value(expected[name], actual[name])


def ulps(ours: Any, theirs: Any, dtype: str = "float64") -> int | None:
    """Return how many steps from one float to the next lead from one value to the other.

    None if they are not both floats, or one is NaN. Between the two zeros there is no step.

    Units: units in the last place of ``dtype``.
    """
    if not (isinstance(ours, float) and isinstance(theirs, float)):
        return None
    if math.isnan(ours) or math.isnan(theirs):
        return None
    codes = ("<f", "<i") if dtype == "float32" else ("<d", "<q")
    bits = [struct.unpack(codes[1], struct.pack(codes[0], each))[0] for each in (ours, theirs)]
    # The bits of floats ascend with them above zero, and descend below it.
    low = -(2 ** (31 if dtype == "float32" else 63))
    a, b = (each if each >= 0 else low - each for each in bits)
    return int(abs(a - b))


def same_value(ours: Any, theirs: Any) -> bool:
    """Compare to the bit: types too, NaN equal to itself, 0.0 unlike -0.0."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, float):
        if math.isnan(ours) or math.isnan(theirs):
            return math.isnan(ours) and math.isnan(theirs)
        return ours == theirs and math.copysign(1, ours) == math.copysign(1, theirs)
    return bool(ours == theirs)

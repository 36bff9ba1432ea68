"""Where two outcomes first differ.

Owns the comparison of outcomes, metric by metric and table by table, down to the row. A replay
shows the first difference; a diff shows what stands in which artifact.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from research.experiments.runs import RunManifest, artifacts
from rosdb import UTF8, WIDTHS, Column, Entry, Store, Table, text_values

METRICS: Final = "metrics"

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
class Divergence:
    """The first place where two outcomes differ; ``row`` counts from 0."""

    artifact: str
    column: str | None = None
    row: int | None = None
    expected: Any = None
    actual: Any = None
    causes: list[str] = field(default_factory=list)

    def to_fields(self) -> dict[str, Any]:
        """Return plain fields for a record or a document."""
        return {
            "artifact": self.artifact,
            "column": self.column,
            "row": self.row,
            "expected": self.expected,
            "actual": self.actual,
            "causes": list(self.causes),
        }


def first_divergence(store: Store, expected: RunManifest, actual: RunManifest) -> Divergence | None:
    """Return the first difference of two outcomes; None if they are one.

    Artifacts go before metrics, for a metric follows from what the artifacts show.
    """
    if expected.outcome_id == actual.outcome_id:
        return None
    ours, theirs = artifacts(store, expected), artifacts(store, actual)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            return Divergence(
                artifact=name,
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
        return Divergence(artifact=name, expected=_shape(ours), actual=_shape(theirs))
    # The earliest row decides, and among its columns the first: later ones follow from it.
    places = []
    for order, column in enumerate(ours):
        row = _first_row(ours, theirs, column)
        if row is not None:
            places.append((row, order, column))
    if not places:
        return Divergence(artifact=name, expected=ours.rows, actual=theirs.rows)
    row, _, column = min(places)
    return Divergence(
        artifact=name,
        column=column,
        row=row,
        expected=_value(ours, column, row),
        actual=_value(theirs, column, row),
    )


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
        if not same_value(ours, theirs) or (name in expected) != (name in actual):
            return Divergence(artifact=METRICS, column=name, expected=ours, actual=theirs)
    return None


def same_value(ours: Any, theirs: Any) -> bool:
    """Compare to the bit: types too, NaN equal to itself, 0.0 unlike -0.0."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, float):
        if math.isnan(ours) or math.isnan(theirs):
            return math.isnan(ours) and math.isnan(theirs)
        return ours == theirs and math.copysign(1, ours) == math.copysign(1, theirs)
    return bool(ours == theirs)

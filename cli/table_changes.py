"""What differs between two tables, for people and as a document.

Owns how ``ros diff`` and ``ros data diff`` show rows. A row is named by its key, an instant as a
date; a number is written with six significant digits, or with all where six are the same for both.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cli import render
from research.errors import BadInput
from research.table_diff import Cell, ColumnChange, LoneRow, TableDiff, Tolerance, difference

INDENT: Final = "    "
_KEYS_SHOWN: Final = 5


def print_table_diff(found: TableDiff, *, with_rows: bool = False) -> None:
    """Print how the rows differ, and by column; ``with_rows`` also the changed rows, one by one."""
    render.line(f"{INDENT}{summary(found)}")
    for change in found.column_changes:
        render.line(f"{INDENT}column {told_column(change)}")
    if found.has_other_order:
        render.line(f"{INDENT}its columns stand in another order")
    for side, rows, count in (
        ("a", found.only_a, found.only_a_count), ("b", found.only_b, found.only_b_count)
    ):  # fmt: skip
        if rows:
            render.line(f"{INDENT}only in {side}: {_keys(found, rows, count)}")
    if found.columns:
        _print_columns(found)
    if with_rows and found.changed:
        render.line()
        _print_changed(found)


def summary(found: TableDiff) -> str:
    """Say in one line how many rows differ, and by what they are matched."""
    parts = [
        f"{count} {word}"
        for count, word in (
            (found.changed_count, "changed"),
            (found.only_a_count, "only in a"),
            (found.only_b_count, "only in b"),
            (found.moved_count, "moved"),
        )
        if count
    ]
    rows = (
        f"{found.rows_a}" if found.rows_a == found.rows_b else f"{found.rows_a} and {found.rows_b}"
    )
    by = " and ".join(found.key) if found.key else "row number"
    return f"of {rows} rows, by {by}: {', '.join(parts) or 'none differs'}"


def told_column(change: ColumnChange) -> str:
    """Say how a column is not the same."""
    if change.state in ("added", "removed"):
        side = "b" if change.state == "added" else "a"
        return f"{change.name}: only in {side}, {change.b or change.a}"
    return f"{change.name}: {change.state} {change.a or 'none'} in a, {change.b or 'none'} in b"


def value(instants: frozenset[str], name: str, each: Any) -> str:
    """Write one value of a column."""
    if each is None:
        return "missing"
    if name in instants and isinstance(each, int):
        return render.moment(each)
    return render.number(each)


def two_values(instants: frozenset[str], name: str, a: Any, b: Any) -> tuple[str, str]:
    """Write two values that differ so that it is seen."""
    ours, theirs = value(instants, name, a), value(instants, name, b)
    if ours == theirs:
        ours, theirs = repr(a), repr(b)
    return ours, theirs


def key_text(found: TableDiff, key: Sequence[Any], row: int) -> str:
    """Name a row by its key, or by its number."""
    if not found.key:
        return f"row {row}"
    return " ".join(
        value(found.instants, name, each) for name, each in zip(found.key, key, strict=True)
    )


def _keys(found: TableDiff, rows: Sequence[LoneRow], count: int) -> str:
    names = [key_text(found, row.key, row.row) for row in rows[:_KEYS_SHOWN]]
    more = count - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _print_columns(found: TableDiff) -> None:
    rows = []
    for each in found.columns:
        first = each.first
        ours, theirs = two_values(found.instants, each.name, first.a, first.b)
        largest = ""
        if each.largest is not None and each.largest.difference:
            at = key_text(found, each.largest.key, each.largest.row_a)
            largest = f"{render.signed(each.largest.difference)} at {at}"
        at = key_text(found, first.key, first.row_a)
        rows.append([each.name, str(each.changed_count), at, ours, theirs, largest])
    headers = ["COLUMN", "ROWS", "FIRST AT", "A", "B", "LARGEST"]
    render.table(headers, rows, right=(1,), indent=INDENT)


def _print_changed(found: TableDiff) -> None:
    rows = []
    for row in found.changed:
        key = key_text(found, row.key, row.row_a)
        for name, (a, b) in row.cells.items():
            ours, theirs = two_values(found.instants, name, a, b)
            change = render.signed(difference(a, b))
            rows.append([key, name, ours, theirs, change])
            key = ""
    render.table(["ROW", "COLUMN", "A", "B", "CHANGE"], rows, right=(2, 3, 4), indent=INDENT)
    more = found.changed_count - len(found.changed)
    if more:
        render.line(f"{INDENT}and {render.count(more, 'row')} more")


def document(found: TableDiff | None) -> dict[str, Any] | None:
    """Return a table's difference as plain values."""
    if found is None:
        return None
    return {
        "key": list(found.key),
        "rows": {"a": found.rows_a, "b": found.rows_b},
        "only_in_a": found.only_a_count,
        "only_in_b": found.only_b_count,
        "changed": found.changed_count,
        "moved": found.moved_count,
        "columns": {
            each.name: {
                "changed": each.changed_count,
                "first": _cell(found, each.first),
                "largest": None if each.largest is None else _cell(found, each.largest),
            }
            for each in found.columns
        },
        "column_changes": [
            {"column": each.name, "state": each.state, "a": each.a, "b": each.b}
            for each in found.column_changes
        ],
        "column_order": not found.has_other_order,
        "sample": {
            "only_in_a": [_lone(row) for row in found.only_a],
            "only_in_b": [_lone(row) for row in found.only_b],
            "changed": [
                {
                    "row": {"a": row.row_a, "b": row.row_b},
                    "key": _named(found, row.key),
                    "cells": {n: {"a": a, "b": b} for n, (a, b) in row.cells.items()},
                }
                for row in found.changed
            ],
        },
    }


def _cell(found: TableDiff, cell: Cell) -> dict[str, Any]:
    return {
        "row": {"a": cell.row_a, "b": cell.row_b},
        "key": _named(found, cell.key),
        "a": cell.a,
        "b": cell.b,
        "change": cell.difference,
    }


def _named(found: TableDiff, key: Sequence[Any]) -> Mapping[str, Any] | None:
    return dict(zip(found.key, key, strict=True)) if found.key else None


def _lone(row: LoneRow) -> dict[str, Any]:
    return {"row": row.row, "values": dict(row.values)}


def read_tolerance(atol: float, rtol: float) -> Tolerance:
    """Read how close two numbers have to be.

    Raises: BadInput.
    """
    for name, each in (("--atol", atol), ("--rtol", rtol)):
        if not (math.isfinite(each) and each >= 0):
            raise BadInput(f"{name} {each}: it takes a number, zero or more")
    return Tolerance(absolute=atol, relative=rtol)

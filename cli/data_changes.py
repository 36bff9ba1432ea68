"""What differs between two snapshots of data, as people read it and as a document."""

import json
from typing import Any

from cli import render, table_changes
from research.datasets.diff import FileDiff, SnapshotDiff
from research.experiments.export import jsonable
from rosdb import Entry


def print_snapshots(found: SnapshotDiff) -> None:
    """Print what differs: what is told of the data, the files, and of each table its rows."""
    for side, each in (("a", found.a), ("b", found.b)):
        render.line(f"{side}  {render.paint(render.short(each.link), 'yellow')}  {each.label}")
    if found.is_same_data:
        render.line(render.paint("the same files", "green"))
    if found.details:
        render.heading("Told otherwise")
        for name, (a, b) in found.details.items():
            render.line(f"  {name}")
            render.pairs({"a": _told(a), "b": _told(b)}, table_changes.INDENT)
    if found.files:
        render.heading("Files")
    for file in found.files:
        render.line(f"  {render.paint(file.path, 'bold')}  {file.state}, {_sizes(file)}")
        if file.rows is not None:
            if not file.rows.is_identical or file.are_bars:
                table_changes.print_table_diff(file.rows, with_rows=True)
            else:
                render.line(f"{table_changes.INDENT}the same rows, in other bytes")
    if found.bars is not None and not any(file.are_bars for file in found.files):
        render.heading("Bars")
        table_changes.print_table_diff(found.bars, with_rows=True)


def _told(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(jsonable(value))
    return "none" if text in ("", "null") else text


def _sizes(file: FileDiff) -> str:
    sizes = [render.size(each.size) for each in (file.a, file.b) if each is not None]
    return " to ".join(dict.fromkeys(sizes))


def document(found: SnapshotDiff) -> dict[str, Any]:
    """Return everything that differs as plain values."""
    return {
        "identical": found.is_same_data,
        "a": {"dataset": found.a.label, "snapshot": str(found.a.link)},
        "b": {"dataset": found.b.label, "snapshot": str(found.b.link)},
        "details": {
            name: {"a": jsonable(a), "b": jsonable(b)} for name, (a, b) in found.details.items()
        },
        "files": {
            file.path: {
                "state": file.state,
                "a": _entry(file.a),
                "b": _entry(file.b),
                "are_bars": file.are_bars,
                "rows": table_changes.document(file.rows),
            }
            for file in found.files
        },
        "bars": table_changes.document(found.bars),
    }


def _entry(entry: Entry | None) -> dict[str, Any] | None:
    return None if entry is None else {"id": str(entry.link), "bytes": entry.size}

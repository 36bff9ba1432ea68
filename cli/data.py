"""``ros data``: add, list, show, compare, verify and check out dataset snapshots."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import data_changes, exits, render, table_changes
from cli.comparison import Atol, ExitCode, Key, Rows, Rtol
from cli.context import open_context
from research.datasets import snapshot as snapshots
from research.datasets.diff import diff_snapshots
from research.datasets.holdout import holdouts, is_holdout, mark_holdout
from research.datasets.snapshot import Snapshot
from research.errors import BadInput
from research.experiments.export import jsonable
from research.table_diff import SAMPLES

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]
Label = Annotated[str, typer.Argument(metavar="NAME[@V]", help="a dataset, its newest version")]


@app.callback()
def data() -> None:
    """Add, list and verify dataset snapshots: data as it was when it was added, for good."""


@app.command()
def add(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="a file or a folder")],
    name: Annotated[str, typer.Option(help="what to call the dataset")],
    version: Annotated[
        str | None, typer.Option(help="its version [the folder's name, else 1]")
    ] = None,
    source: Annotated[str | None, typer.Option(help="where it came from")] = None,
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="a JSON schema; the files are then stored as they are"),
    ] = None,
    holdout: Annotated[
        bool, typer.Option("--holdout", help="for the last question: runs that open it are counted")
    ] = False,
    no_stat_cache: Annotated[
        bool, typer.Option("--no-stat-cache", help="read every file, unchanged or not")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Snapshot a file or a folder.

    A folder with a manifest.json is checked against it first. A CSV of bars is checked row by row.
    """
    context = open_context()
    added = snapshots.add_snapshot(
        context,
        path,
        name=name,
        version=version,
        origin=source,
        schema=_schema(schema),
        reads_all=no_stat_cache,
    )
    if holdout:
        mark_holdout(context, added.snapshot)
    is_marked = is_holdout(context.store, added.snapshot)
    if as_json:
        new_bytes = added.new_bytes
        render.emit({**_document(added.snapshot, is_marked), "new_bytes": new_bytes})
        return
    fields = added.snapshot.fields
    what = "added" if added.is_new else "there already, nothing stored:"
    render.line(
        f"{what} {render.paint(added.snapshot.label, 'bold')}"
        f"  {render.count(fields['file_count'], 'file')}, {render.size(fields['size_bytes'])}"
    )
    if added.is_new:
        render.line(f"  {render.size(added.new_bytes)} new in the store")
    if is_marked:
        render.line("  a holdout: runs that open it are counted")


@app.command()
def mark(
    label: Label,
    holdout: Annotated[
        bool, typer.Option("--holdout", help="kept for the last question; it stays so")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Mark a snapshot as a holdout: each run that opens it, before or after, is counted."""
    if not holdout:
        raise BadInput("say what it is to be marked as: --holdout")
    context = open_context()
    found = snapshots.find_snapshot(context, label)
    is_new = mark_holdout(context, found)
    if as_json:
        render.emit({**_document(found, True), "marked": is_new})
    else:
        render.line(f"{found.label} is {'now' if is_new else 'already'} a holdout")


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List every version of every dataset."""
    store = open_context().store
    found, marked = list(snapshots.list_snapshots(store)), set(holdouts(store))
    if as_json:
        render.emit([_document(each, (each.name, each.version) in marked) for each in found])
        return
    render.table(
        ["DATASET", "FILES", "SIZE", "BARS", "HOLDOUT", "SNAPSHOT"],
        [
            [
                each.label,
                str(each.fields["file_count"]),
                render.size(each.fields["size_bytes"]),
                "yes" if each.bars is not None else "",
                "yes" if (each.name, each.version) in marked else "",
                render.paint(render.short(each.link), "yellow"),
            ]
            for each in found
        ],
        right=(1, 2),
    )


@app.command()
def show(label: Label, as_json: AsJson = False) -> None:
    """Show what a snapshot holds."""
    context = open_context()
    found = snapshots.find_snapshot(context, label)
    files = context.store.get_tree(found.files)
    is_marked = is_holdout(context.store, found)
    if as_json:
        listing = {name: {"id": str(e.link), "bytes": e.size} for name, e in files.items()}
        details = {k: found.fields[k] for k in ("source", "created_at", "schema", "checksums")}
        render.emit({**_document(found, is_marked), **details, "listing": listing})
        return
    render.pairs(
        {
            "dataset": found.label,
            "snapshot": str(found.link),
            "source": found.fields["source"],
            "created": found.fields["created_at"],
            "parser": found.fields["parser"],
            "holdout": "yes" if is_marked else None,
        },
        "",
    )
    render.heading("Files")
    render.table(
        ["NAME", "SIZE", "HASH"],
        [[n, render.size(e.size), render.short(e.link)] for n, e in files.items()],
        right=(1,),
    )
    if found.bars is not None:
        table = context.store.get_table(found.bars)
        render.heading(f"Bars, {table.rows} rows")
        render.table(
            ["COLUMN", "TYPE", "UNIT"], [[n, table.dtypes[n], table.units[n]] for n in table]
        )


@app.command()
def verify(label: Label, as_json: AsJson = False) -> None:
    """Re-hash everything that a snapshot holds; exit status 1 if anything is damaged."""
    context = open_context()
    found = snapshots.find_snapshot(context, label)
    count, damaged = snapshots.verify_snapshot(context.store, found)
    if as_json:
        ok = not damaged
        is_marked = is_holdout(context.store, found)
        render.emit({**_document(found, is_marked), "ok": ok, "objects": count, "damaged": damaged})
    elif damaged:
        for reason in damaged.values():
            render.line(f"{render.paint('damaged', 'red')} {reason}")
    else:
        render.line(f"{found.label}: {count} objects are what they were")
    if damaged:
        raise typer.Exit(exits.NO)


@app.command()
def checkout(
    label: Label,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new or empty folder")],
    as_json: AsJson = False,
) -> None:
    """Write a snapshot's files to a folder."""
    context = open_context()
    found = snapshots.find_snapshot(context, label)
    written = snapshots.checkout_snapshot(context.store, found, folder)
    if as_json:
        render.emit({"path": str(folder), "files": [str(p) for p in written]})
    else:
        render.line(f"wrote {render.count(len(written), 'file')} to {folder}")


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="a dataset, NAME[@V]")],
    b: Annotated[str, typer.Argument(metavar="B", help="another, or another version")],
    key: Key = None,
    atol: Atol = 0.0,
    rtol: Rtol = 0.0,
    rows: Rows = SAMPLES,
    exit_code: ExitCode = False,
    as_json: AsJson = False,
) -> None:
    """Show what differs between two snapshots: files, columns and rows.

    Bars are matched by time; other CSV and Parquet files by a key that is named or found.
    """
    tolerance = table_changes.read_tolerance(atol, rtol)
    context = open_context()
    ours, theirs = (snapshots.find_snapshot(context, label) for label in (a, b))
    found = diff_snapshots(
        context.store, ours, theirs, key=key or (), tolerance=tolerance, samples=rows
    )
    if as_json:
        render.emit(data_changes.document(found))
    else:
        data_changes.print_snapshots(found)
    if exit_code and not found.is_same_data:
        raise typer.Exit(exits.NO)


def _schema(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from None


def _document(found: Snapshot, is_marked: bool) -> dict[str, Any]:
    return {
        "dataset": found.name,
        "version": found.version,
        "snapshot": str(found.link),
        "files": found.fields["file_count"],
        "bytes": found.fields["size_bytes"],
        "bars": None if found.bars is None else str(found.bars),
        "source": jsonable(found.fields["source"]),
        "holdout": is_marked,
    }

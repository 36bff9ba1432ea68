"""``ros fsck``: verify every object, link and move."""

from typing import Annotated, Any

import typer

from cli import exits, render
from cli.context import open_context
from cli.progress import progress
from rosdb import Fault, Report

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def fsck(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Re-hash every object, walk every link, verify the journal's chain.

    Exit status 1 if anything is damaged or missing; each fault is named with all that it touches.
    """
    store = open_context().store
    with progress("checking") as advance:
        report = store.check(advance)
    if as_json:
        render.emit(_document(report))
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(exits.NO)


def _print(report: Report) -> None:
    for label, faults in (("damaged", report.damaged), ("missing", report.missing)):
        for fault in faults:
            render.line(f"{render.paint(label, 'red')} {fault.object_id}  {fault.reason}")
            for ref in fault.touches:
                render.line(f"  touches {ref}")
    journal = report.journal
    if not journal.ok:
        render.line(f"{render.paint('journal', 'red')} {journal.error}")
    if journal.torn_bytes:
        render.line(
            f"journal: {journal.torn_bytes} bytes of a torn entry; the next writer cuts them"
        )
    if report.index_differs:
        render.line("index.db did not say what the objects say; it was rebuilt")
    verdict = render.paint("sound", "green") if report.ok else render.paint("not sound", "red")
    render.line(
        f"{verdict}: {report.objects} objects, {render.size(report.bytes)};"
        f" {journal.entries} journal entries, head {journal.head[: render.ID_DIGITS]}"
    )


def _document(report: Report) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "objects": report.objects,
        "bytes": report.bytes,
        "damaged": [_fault(each) for each in report.damaged],
        "missing": [_fault(each) for each in report.missing],
        "dangling": [str(each) for each in report.dangling],
        "index_rebuilt": report.index_differs,
        "journal": {
            "ok": report.journal.ok,
            "entries": report.journal.entries,
            "head": report.journal.head,
            "torn_bytes": report.journal.torn_bytes,
            "error": report.journal.error,
        },
    }


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "id": str(fault.object_id),
        "reason": fault.reason,
        "touches": list(fault.touches),
        "runs": [ref.removeprefix("runs/") for ref in fault.touches if ref.startswith("runs/")],
    }

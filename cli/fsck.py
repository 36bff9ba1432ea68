"""``ros fsck``: verify every object, link and move."""

from typing import Annotated, Any

import typer

from cli import exits, render
from cli.context import open_context
from cli.progress import progress
from rosdb import Fault, Repaired, Report

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def fsck(
    quick: Annotated[
        bool, typer.Option("--quick", help="structure and checksums, not the content itself")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="restore what can be, before the check")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Re-hash every object, walk every link, verify the journal's chain.

    Exit status 1 if anything is damaged or missing; each fault is named with all that it touches.
    A repair rebuilds indexes, cuts a torn journal, takes sound copies in place of bad ones; it
    deletes nothing: damaged files are moved to .ros/damaged/.
    """
    store = open_context().store
    repaired = None
    if repair:
        with progress("repairing") as advance:
            repaired = store.repair(advance)
    with progress("checking") as advance:
        report = store.check(advance, is_quick=quick)
    if as_json:
        render.emit(_document(report, repaired))
    else:
        if repaired is not None:
            _print_repaired(repaired)
        _print(report)
    if not report.ok:
        raise typer.Exit(exits.NO)


def _print_repaired(repaired: Repaired) -> None:
    if repaired.indexes_rebuilt:
        render.line(f"rebuilt {render.count(repaired.indexes_rebuilt, 'index')} of packs")
    if repaired.journal_bytes_cut:
        render.line(f"cut {repaired.journal_bytes_cut} bytes of a torn entry off the journal")
    if repaired.journal_was_longer:
        render.line("the journal was longer before: what its lost entries named is in no ref")
    for path in repaired.files_set_aside:
        render.line(f"set aside {path}")
    if not repaired.is_anything:
        render.line("nothing to repair")


def _print(report: Report) -> None:
    for each in report.files:
        render.line(f"{render.paint('damaged', 'red')} {each.name}  {each.reason}")
    for label, faults in (("damaged", report.damaged), ("missing", report.missing)):
        for fault in faults:
            what = "" if fault.kind == "unknown" else f"{fault.kind} "
            render.line(f"{render.paint(label, 'red')} {what}{fault.object_id}  {fault.reason}")
            if fault.has_sound_copy:
                render.line("  another copy is sound; take it with: ros fsck --repair")
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


def _document(report: Report, repaired: Repaired | None) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "objects": report.objects,
        "bytes": report.bytes,
        "damaged": [_fault(each) for each in report.damaged],
        "missing": [_fault(each) for each in report.missing],
        "dangling": [str(each) for each in report.dangling],
        "files": [{"name": each.name, "reason": each.reason} for each in report.files],
        "index_rebuilt": report.index_differs,
        "repaired": None
        if repaired is None
        else {
            "indexes_rebuilt": repaired.indexes_rebuilt,
            "journal_bytes_cut": repaired.journal_bytes_cut,
            "journal_was_longer": repaired.journal_was_longer,
            "packs_rewritten": list(repaired.packs_rewritten),
            "files_set_aside": list(repaired.files_set_aside),
        },
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
        "kind": fault.kind,
        "has_sound_copy": fault.has_sound_copy,
        "reason": fault.reason,
        "touches": list(fault.touches),
        "runs": [ref.removeprefix("runs/") for ref in fault.touches if ref.startswith("runs/")],
    }

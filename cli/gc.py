"""``ros gc``: pack, and remove what no ref reaches."""

from typing import Annotated

import typer

from cli import render
from cli.context import open_context
from research.errors import BadInput
from rosdb import Collected, parse_instant

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="make the same plan, and only show it")
    ] = False,
    prune_older_than: Annotated[
        str,
        typer.Option("--prune-older-than", metavar="T", help="an age (2w, 36h), a date, or now"),
    ] = "2w",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Pack, and remove what no ref reaches; safe beside running writers.

    What was put within the last two weeks stays, whether a ref reaches it or not. If anything that
    a ref reaches cannot be read, nothing is removed.
    """
    context = open_context()
    now = context.now_ns()
    instant = now if prune_older_than == "now" else parse_instant(prune_older_than, now)
    if instant is None:
        raise BadInput(
            f"--prune-older-than {prune_older_than}: neither an age (2w), nor a date, nor now"
        )
    plan = context.store.plan_collection(grace_seconds=max(0, now - instant) / 1e9)
    found = plan.outcome if dry_run else plan.execute()
    if as_json:
        render.emit(
            {
                "objects_before": found.objects_before,
                "objects_after": found.objects_after,
                "bytes_before": found.bytes_before,
                "bytes_after": found.bytes_after,
                "removed": found.removed,
                "dry_run": dry_run,
            }
        )
    else:
        _print(found, dry_run)


def _print(found: Collected, dry_run: bool) -> None:
    verb = "would remove" if dry_run else "removed"
    render.line(f"{verb} {render.count(found.removed, 'object')}")
    render.line(
        f"{render.size(found.bytes_before)} before, {render.size(found.bytes_after)} after;"
        f" {render.count(found.objects_after, 'object')} stored"
    )

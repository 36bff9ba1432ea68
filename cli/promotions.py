"""``ros promotions``: the history of each strategy."""

from typing import Annotated, Any

import typer

from cli import render
from cli.context import open_context, say
from research.experiments.export import instant_text
from research.promotion import promotions as history
from research.promotion.promotions import Entry

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def promotions(
    strategy: Annotated[
        str | None, typer.Argument(metavar="STRATEGY", help="of this one [all]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """List what was promoted, the newest of each strategy first; what is superseded stays."""
    found = list(history.promotions(open_context().store, strategy))
    if as_json:
        render.emit([_document(entry) for entry in found])
        return
    if not found:
        say("nothing was promoted yet; try: ros promote RUN --strategy NAME")
        return
    render.table(
        ["STRATEGY", "PROMOTED (UTC)", "RUN", "STATE", "PROMOTION", "CONFIG", "WHO", "WARNED"],
        [_row(entry) for entry in found],
    )


def _row(entry: Entry) -> list[str]:
    at_ns = entry.created_at_ns
    return [
        entry.strategy,
        "" if at_ns is None else render.instant(at_ns)[:16],
        render.paint(render.short(entry.run_id), "yellow"),
        render.paint("current", "green") if entry.is_current else "superseded",
        render.short(entry.promotion),
        render.short(entry.config),
        entry.who or "",
        ", ".join(entry.warnings),
    ]


def _document(entry: Entry) -> dict[str, Any]:
    at_ns = entry.created_at_ns
    return {
        "strategy": entry.strategy,
        "promotion": str(entry.promotion),
        "state": "current" if entry.is_current else "superseded",
        "created": None if at_ns is None else instant_text(at_ns),
        "who": entry.who,
        "run": str(entry.run_id),
        "config": str(entry.config),
        "supersedes": None if entry.supersedes is None else str(entry.supersedes),
        "profile": entry.profile,
        "warnings": list(entry.warnings),
    }

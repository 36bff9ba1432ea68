"""``ros journal``: list every move of every name."""

from typing import Annotated

import typer

from cli import render
from cli.context import open_context
from research.experiments.export import instant_text

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def journal(
    ref: Annotated[str | None, typer.Argument(metavar="REF", help="the moves of one ref")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """List every move, oldest first, each with the hash of its entry in the chain."""
    moves = list(open_context().store.journal(ref))
    if as_json:
        render.emit(
            [
                {
                    "at": instant_text(move.at_ns),
                    "ref": move.ref,
                    "old": None if move.old is None else str(move.old),
                    "new": None if move.new is None else str(move.new),
                    "who": move.who,
                    "why": move.why,
                    "hash": move.hash,
                }
                for move in moves
            ]
        )
        return
    render.table(
        ["HASH", "AT (UTC)", "OLD", "NEW", "WHY", "REF"],
        [
            [
                render.paint(render.short(move.hash), "yellow"),
                render.instant(move.at_ns),
                "-" if move.old is None else render.short(move.old),
                "-" if move.new is None else render.short(move.new),
                move.why,
                move.ref,
            ]
            for move in moves
        ],
    )

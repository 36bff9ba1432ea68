"""``ros note``: say something of a run."""

from typing import Annotated

import typer

from cli import render
from cli.context import open_context, say
from research.errors import BadInput
from research.experiments import marks
from research.experiments import note as notes

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def note(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a run")],
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="replaces what was said before")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="take the note away")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Say something of a run; without TEXT, show what was said.

    A note replaces the one before, which stays in the journal.
    """
    if delete and text is not None:
        raise BadInput("a note is replaced, or taken away: TEXT or --delete")
    context = open_context()
    run_id = context.store.resolve(run)
    changed = False
    if delete:
        changed = notes.unnote(context, run_id)
    elif text is not None:
        changed = notes.note(context, run_id, text)
    kept = marks.read_note(context.store, run_id)
    if as_json:
        render.emit({"run": str(run_id), "note": kept, "changed": changed})
    elif kept is None:
        say(f"run {render.short(run_id)} has no note")
    else:
        render.line(f"{render.paint(render.short(run_id), 'yellow')}  {render.one_line(kept)}")

"""``ros tag``: give a run a label, or take it away."""

from typing import Annotated

import typer

from cli import render
from cli.context import open_context, say
from research.experiments import marks
from research.experiments import tag as tags

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def tag(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a run")],
    label: Annotated[str, typer.Argument(metavar="LABEL", help="letters, digits, '.', '_', '-'")],
    delete: Annotated[bool, typer.Option("--delete", help="take the label away")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Give a run a label. It may have several, and several runs may have one."""
    context = open_context()
    run_id = context.store.resolve(run)
    if delete:
        tags.untag(context, run_id, label)
        changed = True
    else:
        changed = tags.tag(context, run_id, label)
    kept = marks.read_marks(context.store, run_id).tags
    if as_json:
        render.emit({"run": str(run_id), "tags": list(kept), "changed": changed})
        return
    if not changed:
        say(f"run {render.short(run_id)} has that tag already")
    shown = ", ".join(kept) or "no tags"
    render.line(f"{render.paint(render.short(run_id), 'yellow')}  {shown}")

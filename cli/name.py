"""``ros name``: give a run another name."""

from typing import Annotated

import typer

from cli import render
from cli.context import open_context, say
from research.experiments import name as names

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def name(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a run")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="a name that no run has")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Give a run a name, in the place of the one that it has."""
    context = open_context()
    run_id = context.store.resolve(run)
    before = names.name(context, run_id, new)
    if as_json:
        document = {"run": str(run_id), "name": new, "before": before, "changed": before != new}
        render.emit(document)
        return
    if before == new:
        say(f"run {render.short(run_id)} has that name already")
    was = f"  (was {before})" if before not in (None, new) else ""
    render.line(f"{render.paint(render.short(run_id), 'yellow')}  {new}{was}")

"""``ros refs``: list what each name points to."""

from typing import Annotated

import typer

from cli import render
from cli.context import open_context

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def refs(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="runs/, datasets/, …")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """List the refs that start with a prefix."""
    found = list(open_context().store.refs(prefix))
    if as_json:
        render.emit([{"name": name, "target": str(target)} for name, target in found])
        return
    render.table(
        ["TARGET", "REF"],
        [[render.paint(render.short(target), "yellow"), name] for name, target in found],
    )

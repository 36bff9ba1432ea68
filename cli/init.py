"""``ros init``: make a workspace with its store."""

from pathlib import Path
from typing import Annotated

import typer

from cli import render
from research import workspace

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def init(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="[the present one]")] = None,
    bare: Annotated[bool, typer.Option("--bare", help="the store alone, no folders")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Make a store (.ros/) and the folders of a workspace, with an example experiment.

    promotion.toml says what a promotion asks.

    On an existing workspace it changes nothing.
    """
    made = workspace.init(Path() if folder is None else folder, bare=bare)
    if as_json:
        render.emit({"store": str(made.store), "created": made.is_new})
    elif made.is_new:
        for path in made.written:
            render.line(f"made {render.location(path)}")
        if not bare:
            render.line("try: ros run sma_crossover")
    else:
        render.line("it is a workspace already; nothing changed")

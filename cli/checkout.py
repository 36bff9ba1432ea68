"""``ros checkout``: write a run's spec, metrics and artifacts to files."""

from pathlib import Path
from typing import Annotated

import typer

from cli import render
from cli.context import open_context
from research.experiments import export, runs

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def checkout(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a run")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="[research/results/EXPERIMENT/RUN]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Write spec.json, metrics.json and artifacts/ to a new or empty folder; tables as CSV."""
    context = open_context()
    manifest = runs.read_run(context.store, context.store.resolve(run))
    target = export.target_folder(context, manifest) if folder is None else folder
    written = export.checkout(context, manifest, target)
    if as_json:
        files = [path.relative_to(target).as_posix() for path in written]
        render.emit({"path": str(target), "files": files})
    else:
        render.line(f"wrote {render.count(len(written), 'file')} to {render.location(target)}")

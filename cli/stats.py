"""``ros stats``: count objects, runs and bytes."""

from typing import Annotated

import typer

from cli import render
from cli.context import open_context

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def stats(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Count objects, runs and bytes, and what sharing saves."""
    found = open_context().store.stats()
    if as_json:
        render.emit(
            {
                "objects": found.objects,
                "runs": found.runs,
                "datasets": found.datasets,
                "logical_bytes": found.logical_bytes,
                "content_bytes": found.content_bytes,
                "stored_bytes": found.stored_bytes,
                "dedup_ratio": found.dedup_ratio,
                "compression_ratio": found.compression_ratio,
            }
        )
        return
    render.pairs(
        {
            "objects": found.objects,
            "runs": found.runs,
            "datasets": found.datasets,
            "logical": render.size(found.logical_bytes),
            "content": render.size(found.content_bytes),
            "stored": render.size(found.stored_bytes),
            "dedup ratio": _ratio(found.dedup_ratio),
            "compression ratio": _ratio(found.compression_ratio),
        },
        "",
    )


def _ratio(ratio: float | None) -> str | None:
    return None if ratio is None else f"{ratio:.2f}"

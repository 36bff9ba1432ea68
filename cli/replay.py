"""``ros replay``: run a run again and compare to the bit."""

from typing import Annotated, Any

import typer

from cli import exits, render
from cli.context import open_context
from research.experiments import replay as replayer
from research.experiments.replay import Replay

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def replay(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="a run: hash, prefix, name, @, @~N, EXPERIMENT@")
    ],
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place", help="with the workspace's code of today instead of the stored code"
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Execute a run again from what the store holds alone, and compare every output byte for byte.

    Exit status 1 if the outcome is not the same.
    """
    context = open_context()
    found = replayer.replay(context, context.store.resolve(run), in_place=in_place)
    if as_json:
        render.emit(_document(found))
    else:
        _print(found)
    if found.verdict != "identical":
        raise typer.Exit(exits.NO)


def _print(found: Replay) -> None:
    original = found.original
    render.line(
        f"{render.paint(render.short(original.run_id), 'yellow')}  {original.experiment}  "
        f"{render.status(found.verdict)}"
    )
    if found.replayed is not None:
        render.pairs(
            {
                "replayed as": render.short(found.replayed.run_id),
                "outcome": render.short(original.outcome_id),
                "took": render.duration(found.replayed.seconds),
            }
        )
    if found.reason:
        render.pairs({"reason": found.reason})
    if found.divergence is not None:
        first = found.divergence
        render.heading("First difference")
        render.pairs(
            {
                "artifact": first.artifact,
                "column": first.column,
                "row": first.row,
                "expected": repr(first.expected),
                "actual": repr(first.actual),
            }
        )
        render.heading("Likely causes")
        for cause in first.causes:
            render.line(f"  {cause}")


def _document(found: Replay) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "original": str(found.original.run_id),
        "replayed": None if found.replayed is None else str(found.replayed.run_id),
        "divergence": None if found.divergence is None else found.divergence.to_fields(),
        "reason": found.reason or None,
        "outcome": None if found.original.outcome_id is None else str(found.original.outcome_id),
    }

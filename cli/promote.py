"""``ros promote``: write a disabled config for a run."""

from pathlib import Path
from typing import Annotated

import typer

from cli import render
from cli.context import open_context
from research.promotion import promote as promoter

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def promote(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a completed run")],
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help="lower-case letters, digits, '_' and '-'")
    ],
    config_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="[configs/strategies]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check and show; write nothing")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Write configs/strategies/NAME.yaml: always disabled, EVAL_ONLY, in need of human approval.

    First every object of the run is verified and the run is replayed; exit status 1 if either
    says no.
    """
    context = open_context()
    made = promoter.promote(
        context, context.store.resolve(run), strategy, config_dir=config_dir, dry_run=dry_run
    )
    if as_json:
        render.emit(
            {
                "strategy": made.strategy,
                "path": str(made.path),
                "config": made.config,
                "evidence": made.evidence,
                "promotion": None if made.record is None else str(made.record),
            }
        )
        return
    verb = "would write" if dry_run else "wrote"
    render.line(f"{verb} {render.location(made.path)}")
    render.pairs(
        {
            "closure": f"{made.evidence['closure']['verified_objects']} objects verified",
            "replay": made.evidence["replay"]["verdict"],
            "enabled": made.config["enabled"],
            "mode": made.config["mode"],
            "requires_human_approval": made.config["requires_human_approval"],
        }
    )
    if dry_run:
        render.line()
        render.line(made.text.decode())

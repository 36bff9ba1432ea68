"""``ros diff``: show what differs between two runs, and why a figure moved."""

from typing import Annotated

import typer

from cli import diff_document, diff_page, exits, render, table_changes
from cli.comparison import Atol, ExitCode, Key, Rows, Rtol
from cli.context import open_context
from research.context import Context
from research.errors import BadInput
from research.experiments import diff as differ
from research.experiments.diff import Difference
from research.table_diff import SAMPLES

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="a run")],
    b: Annotated[str, typer.Argument(metavar="B", help="another run")],
    because: Annotated[
        bool,
        typer.Option("--because", help="run what lies between, and say what each change is due to"),
    ] = False,
    trades: Annotated[bool, typer.Option("--trades", help="the trades only, one by one")] = False,
    code: Annotated[bool, typer.Option("--code", help="the code, line by line")] = False,
    key: Key = None,
    atol: Atol = 0.0,
    rtol: Rtol = 0.0,
    rows: Rows = SAMPLES,
    exit_code: ExitCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Show what differs between two runs: in the question, and in the answer.

    With --because, A is run with the inputs of B swapped in, one by one and together, and each
    metric's change is shared out among them.
    """
    if because and trades:
        raise BadInput("--because and --trades are two questions: ask one of them")
    tolerance = table_changes.read_tolerance(atol, rtol)
    context = open_context()
    ids = (context.store.resolve(a), context.store.resolve(b))
    found = differ.diff(context, *ids, key=key or (), tolerance=tolerance, samples=rows)
    if because:
        _explain(context, found, with_code=code, as_json=as_json)
    elif as_json:
        render.emit(diff_document.document(found))
    elif trades:
        diff_page.print_trades(found)
    else:
        diff_page.print_diff(found, with_code=code, with_outputs=True)
    if exit_code and not found.identical:
        raise typer.Exit(exits.NO)


def _explain(context: Context, found: Difference, *, with_code: bool, as_json: bool) -> None:
    """Run what lies between two runs, and say what each change is due to."""
    from cli import because_page
    from cli.progress import counting
    from research.experiments.because import explain_change

    with counting("runs") as tell:
        reason = explain_change(context, found.a.run_id, found.b.run_id, tell)
    if as_json:
        render.emit({**diff_document.document(found), "because": because_page.document(reason)})
        return
    diff_page.print_diff(found, with_code=with_code, with_outputs=False)
    because_page.print_because(reason)

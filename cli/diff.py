"""``ros diff``: show what differs between two runs."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli import exits, render
from cli.context import open_context
from research.experiments import diff as differ
from research.experiments.diff import ArtifactChange, Change, Difference

TRADES = "trades"

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="a run")],
    b: Annotated[str, typer.Argument(metavar="B", help="another run")],
    trades: Annotated[bool, typer.Option("--trades", help="the trades only")] = False,
    code: Annotated[bool, typer.Option("--code", help="the code, line by line")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="exit status 1 if anything differs")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Show what differs between two runs: in the question, and in the answer."""
    context = open_context()
    found = differ.diff(context, context.store.resolve(a), context.store.resolve(b))
    if as_json:
        render.emit(_document(found))
    elif trades:
        _print_artifacts([each for each in found.artifacts if each.name == TRADES])
    else:
        _print(found, with_code=code)
    if exit_code and not found.identical:
        raise typer.Exit(exits.NO)


def _print(found: Difference, *, with_code: bool) -> None:
    for label, manifest in (("a", found.a), ("b", found.b)):
        render.line(
            f"{label}  {render.paint(render.short(manifest.run_id), 'yellow')}"
            f"  {manifest.experiment}  {render.status(manifest.status)}"
        )
    if found.identical:
        render.line(render.paint("identical: one question, one answer", "green"))
        return
    _print_inputs(found, with_code=with_code)
    if found.a.outcome_id == found.b.outcome_id:
        render.line("\nsame outcome")
        return
    _print_metrics(found.metrics)
    _print_artifacts(found.artifacts)


def _print_inputs(found: Difference, *, with_code: bool) -> None:
    render.heading("Inputs")
    if found.same_inputs:
        render.line("  the same: one fingerprint, two outcomes; it is not deterministic")
        return
    changes: dict[str, Change] = dict(found.parameters)
    for name, change in (
        ("experiment", found.experiment), ("dataset", found.dataset), ("seed", found.seed)
    ):  # fmt: skip
        if change is not None:
            changes[name] = change
    render.table(
        ["", "A", "B"], [[n, render.number(c.a), render.number(c.b)] for n, c in changes.items()]
    )
    for file in found.dataset_files:
        render.line(f"dataset file {file.path}: {file.state}")
    for text in found.environment:
        render.line(f"environment: {text}")
    for file in found.code:
        render.line(f"code {file.path}: {file.state}")
        if with_code:
            for text in file.diff.splitlines():
                style = {"+": "green", "-": "red", "@": "cyan"}.get(text[:1], "")
                render.line(render.paint(text, style))


def _print_metrics(metrics: Mapping[str, Change]) -> None:
    render.heading("Metrics")
    render.table(
        ["", "A", "B", "CHANGE", ""],
        [
            [
                name,
                render.number(change.a),
                render.number(change.b),
                "" if not change.difference else f"{change.difference:+.6g}",
                "" if not change.relative else f"{change.relative:+.1%}",
            ]
            for name, change in metrics.items()
        ],
        right=(1, 2, 3, 4),
    )


def _print_artifacts(artifacts: "list[ArtifactChange] | tuple[ArtifactChange, ...]") -> None:
    render.heading("Artifacts")
    if not artifacts:
        render.line("  none")
    for each in artifacts:
        render.line(f"  {render.paint(each.name, 'bold')}  {each.state}")
        if each.first is not None and each.first.row is not None:
            render.line(
                f"    first at row {each.first.row}, column {each.first.column}:"
                f" {each.first.expected!r} in a, {each.first.actual!r} in b"
            )


def _document(found: Difference) -> dict[str, Any]:
    return {
        "identical": found.identical,
        "a": str(found.a.run_id),
        "b": str(found.b.run_id),
        "same_outcome": found.a.outcome_id == found.b.outcome_id,
        "inputs": {
            "identical": found.same_inputs,
            "experiment": _pair(found.experiment),
            "parameters": {k: _pair(c) for k, c in found.parameters.items()},
            "seed": _pair(found.seed),
            "dataset": _pair(found.dataset),
            "dataset_files": [{"path": f.path, "state": f.state} for f in found.dataset_files],
            "environment": list(found.environment),
            "code": [{"path": f.path, "state": f.state, "diff": f.diff} for f in found.code],
        },
        "metrics": {
            name: {"a": c.a, "b": c.b, "change": c.difference, "relative": c.relative}
            for name, c in found.metrics.items()
        },
        "artifacts": {
            each.name: {
                "state": each.state,
                "a": None if each.a is None else str(each.a.link),
                "b": None if each.b is None else str(each.b.link),
                "first": None if each.first is None else _first(each),
            }
            for each in found.artifacts
        },
    }


def _first(each: ArtifactChange) -> dict[str, Any]:
    assert each.first is not None
    return {
        "column": each.first.column,
        "row": each.first.row,
        "a": each.first.expected,
        "b": each.first.actual,
    }


def _pair(change: Change | None) -> dict[str, Any] | None:
    return None if change is None else {"a": change.a, "b": change.b}

"""``ros show``: show a run, or print one of its outputs."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import plot, render, swept
from cli.context import open_context, terminal
from research.context import Context
from research.errors import BadInput, Untold
from research.experiments import export, marks, runs
from research.experiments.divergence import column_values
from research.experiments.ledger import SHARPE, told_ratio
from research.experiments.runs import RunManifest
from research.experiments.sweep_record import RecordedSweep, find_sweep, read_sweep
from rosdb import Entry, errors

if TYPE_CHECKING:
    from research.experiments.luck import Deflated

WIDTH_MAX = 100
HEIGHT = 8
_LOG_LINES = 12

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def show(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN[:PATH]", help="a run; with :PATH, one of its outputs; or a sweep's id"
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Show a run's inputs, provenance, metrics and outputs, with its equity curve.

    RUN:PATH prints one output: a file as it is, a table as CSV. Of a sweep, its points are shown.
    """
    revision, colon, path = run.partition(":")
    if colon and as_json:
        raise BadInput(f"{run} is printed as it is: leave out --json, or leave out :{path}")
    context = open_context()
    try:
        run_id = context.store.resolve(revision)
    except errors.RefMissing:
        sweep_id = None if colon else find_sweep(context.store, revision)
        if sweep_id is None:
            raise
        _show_sweep(read_sweep(context.store, sweep_id), as_json=as_json)
        return
    manifest = runs.read_run(context.store, run_id)
    if colon:
        _print_artifact(context, runs.artifact(context.store, manifest, path))
    elif as_json:
        render.emit(_document(context, manifest))
    else:
        _print(context, manifest)


def _show_sweep(found: RecordedSweep, *, as_json: bool) -> None:
    if as_json:
        render.emit(swept.sweep_document(found))
    else:
        swept.print_sweep(found)


def _print_artifact(context: Context, entry: Entry) -> None:
    for chunk in export.artifact_bytes(context, entry):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _print(context: Context, manifest: RunManifest) -> None:
    run, recipe = manifest.run.fields, manifest.recipe.fields
    said = marks.read_marks(context.store, manifest.run_id)
    state = "failed (interrupted)" if manifest.is_interrupted else manifest.status
    title = f"{manifest.experiment}  {render.status(state)}"
    render.line(f"{render.paint('run ' + str(manifest.run_id), 'yellow')}")
    render.line(render.paint(title, "bold"))
    git = run["git"] or {}
    dirty = " (dirty)" if git.get("dirty") else ""
    render.pairs(
        {
            "name": manifest.name,
            "tags": ", ".join(said.tags),
            "promoted as": ", ".join(said.promoted),
            "note": None if said.note is None else render.one_line(said.note),
            "created": render.instant(manifest.created_at_ns) + " UTC",
            "took": render.duration(manifest.seconds),
            "by": f"{run['user']}@{run['host']}" + (f" for {run['agent']}" if run["agent"] else ""),
            "git": f"{git['commit'][:12]}{dirty}" if git.get("commit") else None,
            "sandbox": None if manifest.sandbox is None else manifest.sandbox["level"],
            "replay of": None if manifest.replay_of is None else render.short(manifest.replay_of),
            "fingerprint": str(manifest.recipe_id),
            "outcome": None if manifest.outcome_id is None else str(manifest.outcome_id),
        }
    )
    if manifest.error is not None:
        _print_error(context, manifest)
    if manifest.nondeterminism:
        render.heading("Asked for what no fingerprint holds")
        rows = [[each["what"], each["where"]] for each in manifest.nondeterminism]
        render.table(["WHAT", "WHERE"], rows)
    render.heading("Inputs")
    environment = recipe["environment"]
    distributions = ", ".join(
        f"{n} {d['version']}" for n, d in environment["distributions"].items()
    )
    render.pairs(
        {
            "dataset": manifest.dataset,
            **render.parameters(manifest.parameters),
            "seed": manifest.seed,
            "code": render.short(manifest.recipe.links["code"]),
            "python": f"{environment['python']} {environment['system']} {environment['machine']}",
            "packages": distributions,
        }
    )
    if manifest.outcome is not None:
        render.heading("Metrics")
        render.pairs(_beside(manifest, _deflated(context, manifest)))
        _print_outputs(context, manifest)


def _deflated(context: Context, manifest: RunManifest) -> "Deflated | None":
    """Return what the family's trials leave of the run's Sharpe ratio, if it can be told."""
    if told_ratio(manifest.metrics) is None:
        return None
    if runs.artifacts(context.store, manifest).get("equity") is None:
        return None
    # It imports numpy, which a run without returns has no use for.
    from research.experiments import luck

    try:
        return luck.deflated_sharpe_of(context, manifest)
    except Untold:
        return None


def _beside(manifest: RunManifest, deflated: "Deflated | None") -> dict[str, Any]:
    """Return the metrics for reading, the deflated ratio beside the raw one."""
    shown = dict(manifest.metrics)
    if deflated is not None:
        told = f"psr {deflated.probabilistic:.4f}, dsr {deflated.deflated:.4f}"
        of = "the only trial" if deflated.trial_count == 1 else f"{deflated.trial_count} trials"
        shown[SHARPE] = f"{render.number(shown[SHARPE])}  ({told}: {of})"
    return shown


def _print_error(context: Context, manifest: RunManifest) -> None:
    assert manifest.error is not None
    render.heading("Error")
    render.pairs({k: v for k, v in manifest.error.items() if v})
    if manifest.log is not None:
        lines = context.store.get_blob(manifest.log).decode("utf-8", "replace").splitlines()
        render.heading("Log" if len(lines) <= _LOG_LINES else f"Log, last {_LOG_LINES} lines")
        for text in lines[-_LOG_LINES:]:
            render.line(f"  {text}")


def _print_outputs(context: Context, manifest: RunManifest) -> None:
    found = runs.artifacts(context.store, manifest)
    render.heading("Outputs")
    render.table(
        ["NAME", "KIND", "SIZE", "HASH"],
        [[n, e.kind, render.size(e.size), render.short(e.link)] for n, e in found.items()],
        right=(2,),
    )
    curve = found.get("equity")
    if curve is not None and curve.kind == "table":
        table = context.store.get_table(curve.link)
        if table.dtypes.get("equity") == "float64":
            width = min(terminal().width, WIDTH_MAX)
            lines = plot.curve(column_values(table, "equity"), width, HEIGHT)
            if lines and render.can_show(lines[0]):
                render.heading("Equity")
                for text in lines:
                    render.line(text)


def _document(context: Context, manifest: RunManifest) -> dict[str, Any]:
    found = runs.artifacts(context.store, manifest)
    deflated = _deflated(context, manifest)
    log = None
    if manifest.log is not None:
        log = context.store.get_blob(manifest.log).decode("utf-8", "replace")
    said = marks.read_marks(context.store, manifest.run_id)
    return {
        **export.spec_document(manifest),
        "name": manifest.name,
        "tags": list(said.tags),
        "note": said.note,
        "sweeps": list(said.sweeps),
        "promoted": list(said.promoted),
        "experiment": manifest.experiment,
        "params": manifest.parameters,
        "metrics": manifest.metrics,
        "deflated": None if deflated is None else deflated.to_fields(),
        "outputs": {
            name: {"kind": e.kind, "id": str(e.link), "bytes": e.size} for name, e in found.items()
        },
        "log": log,
        "log_bytes_cut": manifest.log_bytes_cut,
    }

"""``ros log``: browse history."""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from cli import render
from cli.context import open_context, say, terminal
from cli.graph import Node, draw
from research.errors import BadInput
from research.experiments import log as history
from research.experiments import log_columns, log_export
from research.experiments.export import instant_text
from research.experiments.log import LoggedRun
from research.experiments.log_columns import COLUMNS, WRITTEN, Column
from research.experiments.runs import RunManifest

COUNT_DEFAULT: Final = 20
_NOTE_WIDTH: Final = 32

Format = Literal["table", "json", "csv", "parquet"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def log(
    where: Annotated[
        str, typer.Option(metavar="EXPR", help="'metrics.sharpe > 1.5 and params.fast < 20'")
    ] = "",
    sort: Annotated[
        str | None, typer.Option(metavar="[-]KEY", help="by a metric, a parameter or a column")
    ] = None,
    count: Annotated[
        int | None, typer.Option("-n", metavar="N", help=f"at most N runs [{COUNT_DEFAULT}]")
    ] = None,
    experiment: Annotated[str | None, typer.Option(metavar="ID", help="of one experiment")] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME[@V]", help="that saw a dataset, or one version")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="a time (2026-01-31) or an age (7d, 12h)")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="every run, replays too, however many")
    ] = False,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="run,created,metrics.sharpe,params.fast,…")
    ] = None,
    shape: Annotated[
        Format | None, typer.Option("--format", help="for people, or for programs")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", metavar="FILE", help="write to a file (with --format)")
    ] = None,
    graph: Annotated[
        bool, typer.Option("--graph", help="draw what comes from what: replays, sweeps")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """List runs, newest first."""
    shape = _checked_shape(shape, as_json, output, graph=graph, sort=sort)
    if count is not None and count < 0:
        raise BadInput(f"-n {count}: not a number of runs")
    limit = count if count is not None else (None if everything else COUNT_DEFAULT)
    context = open_context()
    chosen = None if columns is None else log_columns.choose(context.store, columns)
    entries = history.log(
        context,
        where=where,
        sort=sort,
        limit=None if limit is None else limit + 1,
        experiment=experiment,
        since=since,
        dataset=dataset,
        with_replays=everything or graph,
    )
    shown = list(islice(entries, limit))
    if shape == "json":
        render.emit([_document(entry, chosen) for entry in shown])
    elif shape in ("csv", "parquet"):
        _write(shape, chosen or [COLUMNS[name] for name in WRITTEN], shown, output)
    elif not shown:
        is_filtered = bool(where or experiment or since or dataset)
        say("no run matches" if is_filtered else "no runs yet; try: ros run sma_crossover")
    elif chosen is not None:
        _print(shown, [(c.name.upper(), c) for c in chosen], graph=graph)
    else:
        _print(shown, _usual_columns(shown, with_dataset=dataset is not None), graph=graph)
    if count is None and next(entries, None) is not None:
        say(f"{limit} shown; ros log -n N shows more, --all everything")


def _checked_shape(
    shape: Format | None, as_json: bool, output: Path | None, *, graph: bool, sort: str | None
) -> Format:
    """Return the format that was asked for, if all that was asked for goes together.

    Raises: BadInput.
    """
    if as_json and shape not in (None, "json"):
        raise BadInput(f"--json or --format {shape}: one document, one format")
    shape = "json" if as_json else shape or "table"
    if output is not None and shape not in ("csv", "parquet"):
        raise BadInput(f"-o {output}: give --format csv or --format parquet")
    if graph and shape != "table":
        raise BadInput(f"--graph is drawn for people; leave out --format {shape}")
    if graph and sort is not None:
        raise BadInput("--graph is drawn by age; leave out --sort")
    if shape == "parquet" and output is None and terminal().is_terminal:
        raise BadInput("parquet is nothing for a terminal: give -o FILE, or a pipe")
    return shape


def _write(
    shape: Format, columns: Sequence[Column], shown: Sequence[LoggedRun], output: Path | None
) -> None:
    write = log_export.csv_bytes if shape == "csv" else log_export.parquet_bytes
    data = write(columns, shown)
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    output.write_bytes(data)
    say(f"{output}: {render.count(len(shown), 'run')}")


def _usual_columns(shown: Sequence[LoggedRun], *, with_dataset: bool) -> list[tuple[str, Column]]:
    """Return what is shown if nobody says which columns; those without any value are left out."""
    varied = _varied(shown)

    def told(run: LoggedRun) -> dict[str, str]:
        if run.manifest is None:
            return {}
        told = _told(run.manifest).items()
        return {k: v for k, v in told if (run.row.experiment, k) in varied}

    return [
        ("RUN", COLUMNS["run"]),
        ("CREATED (UTC)", Column(name="age", kind="instant", read=COLUMNS["created"].read)),
        ("EXPERIMENT", COLUMNS["experiment"]),
        ("NAME", COLUMNS["name"]),
        ("STATUS", Column(name="state", kind="text", read=_state)),
        *([("DATASET", COLUMNS["dataset"])] if with_dataset else []),
        ("WITH", Column(name="with", kind="facts", read=told)),
        ("METRICS", COLUMNS["metrics"]),
        ("TAGS", COLUMNS["tags"]),
        ("PROMOTED", COLUMNS["promoted"]),
        ("NOTE", Column(name="words", kind="text", read=_words)),
    ]


def _print(
    shown: Sequence[LoggedRun], columns: Sequence[tuple[str, Column]], *, graph: bool
) -> None:
    headers = [title for title, _ in columns]
    right = tuple(n for n, (_, column) in enumerate(columns) if _is_number(column, shown))
    rows = [[_cell(column, run) for _, column in columns] for run in shown]
    if graph:
        rows = list(_drawn(shown, columns, rows))
        headers, right = ["", *headers], tuple(n + 1 for n in right)
    render.table(headers, rows, right=right)


def _is_number(column: Column, shown: Sequence[LoggedRun]) -> bool:
    return column.kind == "number" and all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        for value in map(column.read, shown)
    )


def _cell(column: Column, run: LoggedRun) -> str:
    value = column.read(run)
    if value is None:
        return ""
    if column.kind == "id":
        text = render.short(value)
        return render.paint(text, "yellow") if column.name == "run" else text
    if column.kind == "instant":
        text = render.instant(value)
        return text[:16] if column.name == "age" else text
    if column.kind == "list":
        sweeps = column.name == "sweeps"
        return ", ".join(render.short(each) if sweeps else each for each in value)
    if column.kind == "facts":
        return " ".join(f"{k}={render.one_line(_brief(v))}" for k, v in value.items())
    if column.name in ("status", "state"):
        return render.status(value)
    return render.one_line(_brief(value) if column.kind == "number" else str(value))


def _drawn(
    shown: Sequence[LoggedRun], columns: Sequence[tuple[str, Column]], rows: list[list[str]]
) -> Iterator[list[str]]:
    """Put the drawing of the lineage in front of the rows, and a row for each sweep among them."""
    nodes: list[Node] = []
    cells: dict[str, list[str]] = {}
    members: dict[str, list[str]] = {}
    for run in shown:
        # Of several sweeps the one that its line goes through is any; the columns have all.
        for sweep in run.marks.sweeps[:1]:
            members.setdefault(sweep, []).append(str(run.row.run_id))
    for run, row in zip(shown, rows, strict=True):
        run_id = str(run.row.run_id)
        sweep = next(iter(run.marks.sweeps), "")
        line = members[sweep] if sweep else [run_id]
        if sweep and line[0] == run_id:
            nodes.append(Node(id=sweep, parent=run_id, sign="o"))
            count = render.count(len(line), "run")
            told = {"run": render.short(sweep), "state": f"sweep of {count}"}
            cells[sweep] = [told.get(column.name, "") for _, column in columns]
        parent = run.manifest and run.manifest.replay_of
        older = line[line.index(run_id) + 1 :]
        nodes.append(Node(id=run_id, parent=str(parent) if parent else next(iter(older), None)))
        cells[run_id] = row
    for lines, node in draw(nodes):
        yield [lines, *(cells[node.id] if node else [""] * len(columns))]


def _state(run: LoggedRun) -> str:
    """Name what is not as expected: a column of nothing but `completed` is left out."""
    if run.manifest is None or run.status != "completed":
        is_interrupted = run.manifest is not None and run.manifest.is_interrupted
        return "failed (interrupted)" if is_interrupted else run.status
    return "replay" if run.manifest.replay_of is not None else ""


def _words(run: LoggedRun) -> str:
    """Return the beginning of the note; `ros note RUN` has all of it."""
    text = render.one_line(run.marks.note or "")
    return text if len(text) <= _NOTE_WIDTH else text[: _NOTE_WIDTH - 1] + "…"


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else render.number(value)


def _told(manifest: RunManifest) -> dict[str, Any]:
    """Return what may tell a run from another of its experiment."""
    code = render.short(manifest.recipe.links["code"])
    return {
        **render.parameters(manifest.parameters),
        "seed": manifest.seed,
        "dataset": manifest.dataset,
        "code": code,
    }


def _varied(shown: Sequence[LoggedRun]) -> set[tuple[str, str]]:
    """Find what tells the runs of an experiment apart: the rest says nothing."""
    seen: dict[tuple[str, str], set[str]] = {}
    for run in shown:
        if run.manifest is not None:
            for key, value in _told(run.manifest).items():
                seen.setdefault((run.row.experiment, key), set()).add(repr(value))
    return {key for key, values in seen.items() if len(values) > 1}


def _document(run: LoggedRun, chosen: Sequence[Column] | None) -> dict[str, Any]:
    if chosen is not None:
        return {column.name: _plain(column, run) for column in chosen}
    manifest = run.manifest
    error = None if manifest is None or manifest.error is None else dict(manifest.error)
    names = "run name experiment status created fingerprint metrics dataset seed seconds replay_of"
    return {
        **{name: _plain(COLUMNS[name], run) for name in names.split()},
        "metrics": {} if manifest is None else manifest.metrics,
        "params": {} if manifest is None else manifest.parameters,
        "error": error,
        "tags": list(run.marks.tags),
        "note": run.marks.note,
        "sweeps": list(run.marks.sweeps),
        "promoted": list(run.marks.promoted),
    }


def _plain(column: Column, run: LoggedRun) -> Any:
    value = column.read(run)
    return instant_text(value) if column.kind == "instant" and value is not None else value

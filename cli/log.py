"""``ros log``: browse history."""

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any

import typer

from cli import render
from cli.context import open_context, say
from research.errors import BadInput
from research.experiments import log as history
from research.experiments.export import instant_text
from research.experiments.runs import RunManifest
from rosdb import RunRow

COUNT_DEFAULT = 20

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
    since: Annotated[
        str | None, typer.Option(metavar="T", help="a time (2026-01-31) or an age (7d, 12h)")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="every run, replays too, however many")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """List runs, newest first."""
    if count is not None and count < 0:
        raise BadInput(f"-n {count}: not a number of runs")
    limit = count if count is not None else (None if everything else COUNT_DEFAULT)
    entries = history.log(
        open_context(),
        where=where,
        sort=sort,
        limit=None if limit is None else limit + 1,
        experiment=experiment,
        since=since,
        with_replays=everything,
    )
    shown = list(islice(entries, limit))
    if as_json:
        render.emit([_document(entry) for entry in shown])
    else:
        _print(shown, filtered=bool(where or experiment or since))
    if count is None and next(entries, None) is not None:
        say(f"{limit} shown; ros log -n N shows more, --all everything")


def _print(entries: Sequence[RunManifest | RunRow], *, filtered: bool) -> None:
    if not entries:
        say("no run matches" if filtered else "no runs yet; try: ros run sma_crossover")
        return
    varied = _varied(entries)
    render.table(
        ["RUN", "CREATED (UTC)", "EXPERIMENT", "NAME", "STATUS", "WITH", "METRICS"],
        [_row(entry, varied) for entry in entries],
    )


def _row(entry: RunManifest | RunRow, varied: set[tuple[str, str]]) -> list[str]:
    if isinstance(entry, RunRow):
        run = render.paint(render.short(entry.run_id), "yellow")
        return [run, "", entry.experiment, entry.name or "", render.status("damaged"), "", ""]
    parameters = {k: v for k, v in _told(entry).items() if (entry.experiment, k) in varied}
    return [
        render.paint(render.short(entry.run_id), "yellow"),
        render.instant(entry.created_at_ns)[:16],
        entry.experiment,
        entry.name or "",
        _status(entry),
        _joined(parameters),
        _joined(entry.metrics),
    ]


def _status(entry: RunManifest) -> str:
    """Name what is not as expected: a column of nothing but `completed` is left out."""
    if entry.status == "completed":
        return "replay" if entry.replay_of is not None else ""
    return render.status("failed (interrupted)" if entry.is_interrupted else entry.status)


def _joined(values: dict[str, Any]) -> str:
    return " ".join(f"{k}={_brief(v)}" for k, v in values.items())


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else render.number(value)


def _told(entry: RunManifest) -> dict[str, Any]:
    """Return what may tell a run from another of its experiment."""
    code = render.short(entry.recipe.links["code"])
    return {
        **render.parameters(entry.parameters),
        "seed": entry.seed,
        "dataset": entry.dataset,
        "code": code,
    }


def _varied(entries: Sequence[RunManifest | RunRow]) -> set[tuple[str, str]]:
    """Find what tells the runs of an experiment apart: the rest says nothing."""
    seen: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        if isinstance(entry, RunManifest):
            for key, value in _told(entry).items():
                seen.setdefault((entry.experiment, key), set()).add(repr(value))
    return {key for key, values in seen.items() if len(values) > 1}


def _document(entry: RunManifest | RunRow) -> dict[str, Any]:
    if isinstance(entry, RunRow):
        return {
            "run": str(entry.run_id),
            "name": entry.name,
            "experiment": entry.experiment,
            "status": "damaged",
            "created": None,
            "fingerprint": str(entry.recipe),
            "metrics": {},
            "params": {},
            "dataset": None,
        }
    return {
        "run": str(entry.run_id),
        "name": entry.name,
        "experiment": entry.experiment,
        "status": entry.status,
        "created": instant_text(entry.created_at_ns),
        "fingerprint": str(entry.recipe_id),
        "metrics": entry.metrics,
        "params": entry.parameters,
        "dataset": entry.dataset,
        "seed": entry.seed,
        "seconds": entry.seconds,
        "error": None if entry.error is None else dict(entry.error),
        "replay_of": None if entry.replay_of is None else str(entry.replay_of),
    }

"""``ros replay``: run runs again and compare to the bit."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import exits, render
from cli.context import open_context, say
from cli.progress import working
from research.errors import BadInput
from research.experiments import replay as replayer
from research.experiments.divergence import Divergence, Extent
from research.experiments.rebuilt_environment import TOOLS, Rebuilding, choose_tool
from research.experiments.replay import Replay, Unreadable

_ASKED = re.compile(r"; ([^;]+, line \d+) asked for ")

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def replay(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="a run: hash, prefix, name, @, @~N, EXPERIMENT@"),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="every completed run, the newest first")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="T", help="with --all: since a time (2026-01-31) or an age (7d, 12h)"),
    ] = None,
    where: Annotated[
        str, typer.Option(metavar="EXPR", help="with --all: those that ros log --where shows")
    ] = "",
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place", help="with the workspace's code of today instead of the stored code"
        ),
    ] = False,
    no_causes: Annotated[
        bool, typer.Option("--no-causes", help="do not search for the causes of a divergence")
    ] = False,
    rebuilds: Annotated[
        bool,
        typer.Option("--rebuild-env", help="in an environment built from the recorded versions"),
    ] = False,
    tool: Annotated[
        str | None, typer.Option("--env-tool", metavar="TOOL", help="build it with uv or with pip")
    ] = None,
    find_links: Annotated[
        list[Path] | None,
        typer.Option("--find-links", metavar="DIR", help="look for wheels in this folder too"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Execute a run again from what the store holds alone, and compare every output byte for byte.

    Exit status 1 unless the outcome is the same; with --all, unless that of every run is.
    """
    if everything == (run is not None):
        raise BadInput("name a run, or --all" if run is None else "name a run or --all, not both")
    if not everything and (since is not None or where):
        raise BadInput("--since and --where go with --all")
    options: dict[str, Any] = {
        "in_place": in_place,
        "seeks_causes": not no_causes,
        "rebuilding": _rebuilding(rebuilds, in_place, tool, find_links or []),
    }
    context = open_context()
    if run is None:
        found = replayer.replay_all(context, since=since, where=where, **options)
        _audit(found, as_json=as_json)
        return
    with working("replaying"):
        replayed = replayer.replay(context, context.store.resolve(run), **options)
    if as_json:
        render.emit(_document(replayed))
    else:
        _print(replayed)
    if replayed.verdict != "identical":
        raise typer.Exit(exits.NO)


def _rebuilding(
    is_asked: bool, in_place: bool, tool: str | None, find_links: Sequence[Path]
) -> Rebuilding | None:
    """Read how an environment is to be rebuilt; None if it is not."""
    if not is_asked:
        if tool is not None or find_links:
            raise BadInput("--env-tool and --find-links go with --rebuild-env")
        return None
    if in_place:
        raise BadInput("--rebuild-env is of the recorded environment, --in-place of today's code")
    known = next((each for each in TOOLS if each == tool), None)
    if tool is not None and known is None:
        raise BadInput(f"--env-tool {tool}: it takes {' or '.join(TOOLS)}")
    for folder in find_links:
        if not folder.is_dir():
            raise BadInput(f"--find-links {folder}: there is no such folder")
    return Rebuilding(tool=choose_tool(known), find_links=tuple(find_links))


def _audit(found: Iterator[Replay | Unreadable], *, as_json: bool) -> None:
    """Replay many; interrupted, show what was found until then."""
    done: list[Replay | Unreadable] = []
    try:
        with working("replaying"):
            for each in found:
                done.append(each)
                if not as_json and _verdict(each) != "identical":
                    say(f"{render.short(_run_id(each))}  {_verdict(each)}")
    except KeyboardInterrupt:
        _show_audit(done, as_json=as_json)
        raise
    _show_audit(done, as_json=as_json)
    if any(_verdict(each) != "identical" for each in done):
        raise typer.Exit(exits.NO)


def _show_audit(done: Sequence[Replay | Unreadable], *, as_json: bool) -> None:
    if as_json:
        render.emit([_entry(each) for each in done])
    else:
        _print_audit(done)


def _print_audit(done: Sequence[Replay | Unreadable]) -> None:
    if done:
        render.table(
            ["RUN", "EXPERIMENT", "NAME", "VERDICT", "TOOK", "FIRST DIFFERENCE", "CAUSE"],
            [_row(each) for each in done],
            right=(4,),
        )
    counts = dict.fromkeys(("identical", "diverged", "unreplayable"), 0)
    for each in done:
        counts[_verdict(each)] += 1
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    render.line(f"{render.count(len(done), 'run')} replayed" + (f": {told}" if told else ""))


def _row(each: Replay | Unreadable) -> list[str]:
    run = render.paint(render.short(_run_id(each)), "yellow")
    verdict = render.status(_verdict(each))
    if isinstance(each, Unreadable):
        return [run, each.row.experiment, each.row.name or "", verdict, "", "", each.reason]
    first, original = each.divergence, each.original
    took = render.duration(None if each.replayed is None else each.replayed.seconds)
    place = "" if first is None else _place(first)
    cause = each.reason if first is None else _brief(first.causes[0])
    return [run, original.experiment, original.name or "", verdict, took, place, cause]


def _brief(cause: str) -> str:
    """Name a cause and the line that it comes from: ``clock, fees.py, line 12``."""
    word, colon, _ = cause.partition(": ")
    asked = _ASKED.search(cause)
    return f"{word}, {asked[1]}" if colon and asked else word


def _place(first: Divergence) -> str:
    """Write where it is, in one cell."""
    column = f", {first.column}" if first.column is not None else ""
    return first.artifact + column + (f", row {first.row}" if first.row is not None else "")


def _verdict(each: Replay | Unreadable) -> str:
    return "unreplayable" if isinstance(each, Unreadable) else each.verdict


def _run_id(each: Replay | Unreadable) -> object:
    return each.row.run_id if isinstance(each, Unreadable) else each.original.run_id


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
                "environment": _environment(found),
            }
        )
    if found.reason:
        render.pairs({"reason": found.reason})
    if found.drift:
        render.heading("Not as recorded")
        for line in found.drift:
            render.paragraph(line)
    if found.divergence is not None:
        _print_divergence(found.divergence)


def _environment(found: Replay) -> str:
    if found.is_rebuilt:
        return "rebuilt from the recorded versions"
    return "today's, which is not the recorded one" if found.drift else ""


def _print_divergence(first: Divergence) -> None:
    render.heading("First difference")
    render.pairs(
        {
            "table" if first.kind == "table" else "artifact": first.artifact,
            "column": first.column,
            "row": first.row,
            "expected": repr(first.expected),
            "actual": repr(first.actual),
            "distance": None if first.ulps is None else f"{first.ulps} ulp",
        }
    )
    if first.extents:
        render.heading("How much differs")
        render.pairs({each.artifact: _extent(each) for each in first.extents})
    render.heading("Likely causes")
    for number, cause in enumerate(first.causes, 1):
        render.paragraph(f"{number}. {cause}")


def _extent(each: Extent) -> str:
    if each.differing_count is None:
        return "the file"
    noun = "metric" if each.kind == "metrics" else "row"
    return f"{each.differing_count} of {render.count(each.row_count or 0, noun)}"


def _entry(each: Replay | Unreadable) -> dict[str, Any]:
    if isinstance(each, Replay):
        return _document(each)
    return {
        "verdict": "unreplayable",
        "original": str(each.row.run_id),
        "experiment": each.row.experiment,
        "name": each.row.name,
        "replayed": None,
        "divergence": None,
        "reason": each.reason,
        "outcome": None,
        "drift": [],
        "rebuilt": False,
    }


def _document(found: Replay) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "original": str(found.original.run_id),
        "experiment": found.original.experiment,
        "name": found.original.name,
        "replayed": None if found.replayed is None else str(found.replayed.run_id),
        "divergence": None if found.divergence is None else found.divergence.to_fields(),
        "reason": found.reason or None,
        "outcome": None if found.original.outcome_id is None else str(found.original.outcome_id),
        "drift": list(found.drift),
        "rebuilt": found.is_rebuilt,
    }

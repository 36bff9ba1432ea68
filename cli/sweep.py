"""``ros sweep``: run an experiment at every point of a grid."""

from typing import Annotated, Any

import typer

from cli import exits, render, swept
from cli.context import open_context, say
from cli.limits import Memory, Timeout
from cli.progress import counting
from research.context import Context
from research.experiments.executors import Means
from research.experiments.limits import parse_limits
from research.experiments.parameters import parse_assignment
from research.experiments.recipe import Request
from research.experiments.sweep import SweepRequest, Swept
from research.experiments.sweep import sweep as sweep_points
from research.experiments.sweep_points import parse_axis

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_ROWS_SHOWN = 20
_MESSAGE_MAX = 160


@app.command()
def sweep(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="its id")],
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", "-g", metavar="K=V1,V2,…", help="an axis; K may be a dotted path"),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="K=V", help="a parameter that all points share"),
    ] = None,
    random: Annotated[
        int | None, typer.Option(metavar="N", help="N points of the grid, drawn by the seed")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME[@V]", help="the dataset instead of the default one")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="the base seed; each point's follows from it and the point")
    ] = None,
    common_seed: Annotated[
        bool, typer.Option("--common-seed", help="the base seed for every point")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", metavar="N", help="runs at a time [the cores]")
    ] = None,
    executor: Annotated[
        str, typer.Option(metavar="NAME", help="local, or ray: on other machines too")
    ] = "local",
    timeout: Timeout = None,
    memory: Memory = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="begin nothing more once a run has failed")
    ] = False,
    early_stop: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="such as 'metrics.sharpe < 0 after 20'"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Run an experiment at every point of a grid, each point a run of its own.

    What was answered before is not executed again, so the same command resumes a sweep that was
    interrupted. Exit status 4 if a run failed: the others are recorded all the same.
    """
    context = open_context()
    asked = SweepRequest(
        request=Request(
            experiment_id=experiment,
            overrides=[parse_assignment(text) for text in param or []],
            dataset=dataset,
            seed=seed,
        ),
        axes=[parse_axis(text) for text in grid or []],
        random_count=random,
        has_common_seed=common_seed,
        means=Means(
            executor=executor,
            jobs=context.core_count if jobs is None else jobs,
            limits=parse_limits(timeout, memory),
        ),
        is_fail_fast=fail_fast,
        early_stop=early_stop,
    )
    found = _swept(context, asked)
    _say_notes(found)
    _show(found, as_json=as_json)
    if found.failed:
        raise typer.Exit(exits.RUN_FAILED)


def _swept(context: Context, asked: SweepRequest) -> Swept:
    done, total = 0, 0
    with counting("runs") as show:

        def advance(done_now: int, failed: int, total_now: int) -> None:
            nonlocal done, total
            done, total = done_now, total_now
            show(done, failed, total)

        try:
            return sweep_points(context, asked, advance)
        except KeyboardInterrupt:
            if total:
                say(f"note: {done} of {total} runs are recorded; the same command runs the others")
            raise


def _say_notes(found: Swept) -> None:
    for path in found.inert:
        say(f"warning: axis {path} is inert: every value of it gives the same outcome")
    if found.refusal is not None:
        say(f"note: {render.count(found.skipped, 'point')} skipped: {found.refusal}")
    if found.stopped is not None:
        say(f"note: stopped early: {found.stopped}")
    failed = next((point for point in found.points if point.is_failed), None)
    if failed is not None and failed.manifest is not None and failed.manifest.error is not None:
        error, run = failed.manifest.error, render.short(failed.manifest.run_id)
        message = " ".join(error["message"].split())[:_MESSAGE_MAX]
        say(f"note: {run} failed with {error['kind']}: {message} (ros show {run})")


def _show(found: Swept, *, as_json: bool) -> None:
    if as_json:
        render.emit(_document(found))
        return
    sweep = render.short(found.record)
    parts = [f"{found.executed} executed", f"{found.cached} from the store"]
    parts += [f"{count} {word}" for word, count in swept.left_out(found.points).items()]
    render.line(
        f"{render.paint(sweep, 'yellow')}  {render.count(len(found.points), 'point')}:"
        f" {', '.join(parts)}, {found.failed} failed in {render.duration(found.seconds)}"
    )
    with_run = [point for point in found.points if point.run is not None]
    swept.print_points(found.points, with_run[:_ROWS_SHOWN])
    if len(with_run) > _ROWS_SHOWN:
        render.line(f"… {len(with_run) - _ROWS_SHOWN} more: ros show {sweep}")


def _document(found: Swept) -> dict[str, Any]:
    return {
        "sweep": str(found.record),
        "total": len(found.points),
        "executed": found.executed,
        "cached": found.cached,
        "failed": found.failed,
        "skipped": found.skipped,
        "inert": list(found.inert),
        "stopped": found.stopped,
        "runs": [
            {**swept.point_document(point), "cached": point.is_cached} for point in found.points
        ],
        "seconds": found.seconds,
    }

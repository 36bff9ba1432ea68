"""``ros run``: run an experiment, or answer from the store."""

from typing import Annotated, Any

import typer

from cli import exits, render
from cli.context import open_context, say
from cli.experiments import print_experiments
from cli.limits import Memory, Timeout
from cli.look_ahead import print_look_ahead
from cli.progress import working
from research.context import Context
from research.errors import BadInput, RunFailed
from research.experiments import explain as explainer
from research.experiments import look_ahead, runs
from research.experiments import run as runner
from research.experiments.explain import Difference, Explanation
from research.experiments.limits import Limits, parse_limits
from research.experiments.look_ahead import LookAheadReport
from research.experiments.parameters import parse_assignment
from research.experiments.recipe import Request
from research.experiments.run import Performed
from rosdb import Store

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def run(
    experiment: Annotated[
        str | None, typer.Argument(metavar="EXPERIMENT", help="its id: see ros experiments")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="K=V", help="a parameter; K may be a dotted path"),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME[@V]", help="the dataset instead of the default one")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="the seed instead of the default one")] = None,
    name: Annotated[str | None, typer.Option(help="call the run so")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="execute even if the store has the answer")
    ] = False,
    checks_look_ahead: Annotated[
        bool,
        typer.Option(
            "--check-look-ahead", help="cut the data and run again: did anything know the future?"
        ),
    ] = False,
    cuts: Annotated[
        int | None, typer.Option("--cuts", metavar="N", help="so many cuts instead of 5")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="run nothing: say hit or miss, and why")
    ] = False,
    timeout: Timeout = None,
    memory: Memory = None,
    as_list: Annotated[bool, typer.Option("--list", help="list the experiments")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Run an experiment and record the run.

    The same question (code, parameters, data, seed, environment) asked again is answered from the
    store, and nothing is executed. With --check-look-ahead the exit status is 1 unless the verdict
    is clean.
    """
    if as_list:
        print_experiments(as_json)
        return
    if experiment is None:
        raise BadInput("name an experiment; ros experiments lists them")
    if explain and (force or checks_look_ahead or name or timeout or memory):
        raise BadInput("--explain runs nothing: it takes parameters, a dataset and a seed")
    _check_cuts(cuts, checks_look_ahead=checks_look_ahead)
    limits = parse_limits(timeout, memory)
    context = open_context()
    overrides = [parse_assignment(text) for text in param or []]
    request = Request(experiment_id=experiment, overrides=overrides, dataset=dataset, seed=seed)
    if explain:
        _explain(explainer.explain(context, request), as_json=as_json)
        return
    with working(f"running {experiment}"):
        performed = _perform(context, request, name, force=force, limits=limits, as_json=as_json)
    found = None
    if checks_look_ahead:
        with working("looking ahead"):
            found = look_ahead.examine(context, performed.manifest, cuts or look_ahead.CUTS)
    if as_json:
        render.emit(_document(context.store, performed, found))
    else:
        _print(performed)
        if found is not None:
            print_look_ahead(found)
    if found is not None and found.verdict != "clean":
        raise typer.Exit(exits.NO)


def _check_cuts(cuts: int | None, *, checks_look_ahead: bool) -> None:
    if cuts is not None and not checks_look_ahead:
        raise BadInput("--cuts goes with --check-look-ahead")
    look_ahead.check_cuts(look_ahead.CUTS if cuts is None else cuts)


def _perform(
    context: Context,
    request: Request,
    name: str | None,
    *,
    force: bool,
    limits: Limits,
    as_json: bool,
) -> Performed:
    """Run it, or have it answered; of a run that failed the document is printed too."""
    try:
        performed = runner.run(context, request, name=name, force=force, limits=limits)
    except RunFailed as failure:
        if as_json:
            failed = runs.read_run(context.store, context.store.resolve(failure.run_id), name)
            render.emit(_document(context.store, Performed(manifest=failed, is_cached=False)))
        raise
    _say_notes(performed)
    return performed


def _explain(found: Explanation, *, as_json: bool) -> None:
    """Print whether the store has the answer; if not, what differs from the nearest run."""
    nearest = found.nearest
    if as_json:
        render.emit(
            {
                "hit": found.is_hit,
                "fingerprint": str(found.fingerprint),
                "nearest": None if nearest is None else str(nearest.run_id),
                "differences": [each.to_fields() for each in found.differences],
            }
        )
        return
    word = render.paint("hit", "green") if found.is_hit else render.paint("miss", "yellow")
    if nearest is None:
        render.line(f"{word}  no earlier run of this experiment")
        return
    run = render.paint(render.short(nearest.run_id), "yellow")
    name = f"  {nearest.name}" if nearest.name else ""
    render.line(f"{word}  {'answered by' if found.is_hit else 'nearest is'} {run}{name}")
    if [each.part for each in found.differences] == ["status"]:
        render.line(f"  it asked the same, and {found.differences[0].then}: ros show {run}")
    elif found.differences:
        rows = [[f"  {each.part}", each.name, *_sides(each)] for each in found.differences]
        render.table(["  PART", "NAME", "THEN", "NOW"], rows)


def _sides(each: Difference) -> list[str]:
    """Write a value then and now; of code and of files, what became of them."""
    is_file = each.part == "dataset" and each.name not in ("dataset", "input")
    if each.part == "code" or is_file:
        state = "removed" if each.now is None else "added" if each.then is None else "changed"
        return ["", state]
    return [
        render.number(value) if value is not None else "none" for value in (each.then, each.now)
    ]


def _say_notes(performed: Performed) -> None:
    """Tell of what is no error: an answer that has changed, a metric that is not there."""
    if performed.contradicts is not None:
        earlier = render.short(performed.contradicts.run_id)
        say(f"warning: run {earlier} answered the same question otherwise: ros diff {earlier} @")
    declared = performed.manifest.run.fields["metric_names"]
    absent = [name for name in declared if name not in performed.manifest.metrics]
    if absent and not performed.is_cached:
        say(f"note: declared, but undefined here or not returned: {', '.join(absent)}")


def _print(performed: Performed) -> None:
    manifest = performed.manifest
    how = "answered from the store"
    if not performed.is_cached:
        how = f"completed in {render.duration(manifest.seconds)}"
    run = render.paint(render.short(manifest.run_id), "yellow")
    name = f"  {manifest.name}" if manifest.name else ""
    render.line(f"{run}  {manifest.experiment}{name}  {how}")
    render.pairs(manifest.metrics)


def _document(
    store: Store, performed: Performed, found: LookAheadReport | None = None
) -> dict[str, Any]:
    manifest = performed.manifest
    verdict = {} if found is None else {"look_ahead": found.to_fields()}
    return {
        "run": str(manifest.run_id),
        "name": manifest.name,
        "experiment": manifest.experiment,
        "status": manifest.status,
        "cached": performed.is_cached,
        "fingerprint": str(manifest.recipe_id),
        "outcome": None if manifest.outcome_id is None else str(manifest.outcome_id),
        "outputs": {name: str(e.link) for name, e in runs.artifacts(store, manifest).items()},
        "metrics": manifest.metrics,
        "params": manifest.parameters,
        "dataset": manifest.dataset,
        "seed": manifest.seed,
        "seconds": manifest.seconds,
        "error": None if manifest.error is None else dict(manifest.error),
        **verdict,
    }

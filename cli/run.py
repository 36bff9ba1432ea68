"""``ros run``: run an experiment, or answer from the store."""

from typing import Annotated, Any

import typer

from cli import render
from cli.context import open_context, say
from cli.experiments import print_experiments
from research.errors import BadInput, RunFailed
from research.experiments import run as runner
from research.experiments import runs
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
    as_list: Annotated[bool, typer.Option("--list", help="list the experiments")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Run an experiment and record the run.

    The same question (code, parameters, data, seed, environment) asked again is answered from the
    store, and nothing is executed.
    """
    if as_list:
        print_experiments(as_json)
        return
    if experiment is None:
        raise BadInput("name an experiment; ros experiments lists them")
    context = open_context()
    request = Request(
        experiment_id=experiment,
        overrides=[parse_assignment(text) for text in param or []],
        dataset=dataset,
        seed=seed,
    )
    try:
        performed = runner.run(context, request, name=name, force=force)
    except RunFailed as failure:
        if as_json:
            failed = runs.read_run(context.store, context.store.resolve(failure.run_id), name)
            render.emit(_document(context.store, Performed(manifest=failed, is_cached=False)))
        raise
    if performed.contradicts is not None:
        earlier = render.short(performed.contradicts.run_id)
        say(f"warning: run {earlier} answered the same question otherwise: ros diff {earlier} @")
    declared = performed.manifest.run.fields["metric_names"]
    absent = [name for name in declared if name not in performed.manifest.metrics]
    if absent and not performed.is_cached:
        say(f"note: declared, but undefined here or not returned: {', '.join(absent)}")
    if as_json:
        render.emit(_document(context.store, performed))
    else:
        _print(performed)


def _print(performed: Performed) -> None:
    manifest = performed.manifest
    how = "answered from the store"
    if not performed.is_cached:
        how = f"completed in {render.duration(manifest.seconds)}"
    run = render.paint(render.short(manifest.run_id), "yellow")
    name = f"  {manifest.name}" if manifest.name else ""
    render.line(f"{run}  {manifest.experiment}{name}  {how}")
    render.pairs(manifest.metrics)


def _document(store: Store, performed: Performed) -> dict[str, Any]:
    manifest = performed.manifest
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
    }

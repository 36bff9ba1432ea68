"""``ros experiments``: list the experiments and their parameters."""

from typing import Annotated

import typer

from cli import render
from cli.context import open_context
from research.errors import BrokenExperiment
from research.experiments import recipe, registry
from research.experiments.export import jsonable
from research.experiments.parameters import copied
from research.experiments.spec import ExperimentSpec

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def experiments(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """List the registered experiments with their default parameters."""
    print_experiments(as_json)


def print_experiments(as_json: bool) -> None:
    """List the experiments; ``ros run --list`` does the same."""
    context = open_context()
    entries = list(
        registry.listing(context.experiments_folder, lambda r: recipe.ask_child(context, r))
    )
    if as_json:
        render.emit([_document(r, spec) for r, spec in entries])
        return
    for registration, spec in entries:
        render.line(
            f"{render.paint(registration.experiment_id, 'bold')}"
            f"  {render.paint('(' + registration.origin + ')', 'dim')}"
        )
        if isinstance(spec, BrokenExperiment):
            render.line(f"  {render.paint(str(spec), 'red')}")
            continue
        if spec.description:
            render.paragraph(spec.description)
        if spec.input_dataset:
            render.line(f"  {render.paint('dataset', 'dim')}  {spec.input_dataset}")
        render.pairs({**render.parameters(copied(spec.parameters)), "seed": spec.seed}, "  ")
        render.line()


def _document(
    registration: registry.Registration, spec: ExperimentSpec | BrokenExperiment
) -> dict[str, object]:
    base = {"id": registration.experiment_id, "origin": registration.origin}
    if isinstance(spec, BrokenExperiment):
        empty: dict[str, object] = {
            "description": "",
            "parameters": {},
            "dataset": None,
            "metrics": [],
        }
        return {**base, **empty, "error": str(spec)}
    return {
        **base,
        "name": spec.name,
        "description": spec.description,
        "parameters": jsonable(copied(spec.parameters)),
        "dataset": spec.input_dataset,
        "metrics": list(spec.metrics),
        "seed": spec.seed,
        "constraints": list(spec.constraints),
        "error": None,
    }

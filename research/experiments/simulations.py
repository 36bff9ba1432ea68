"""Simulations from Python: one, several, a sweep over one, and a replay.

Owns the four functions of the public interface. Each performs runs as the command line does, so a
simulation is a run like any other: answered from the store where it can be, recorded before the
function returns, in the log, replayed.
"""

import json
from collections.abc import Collection, Sequence

from research.context import Context
from research.errors import BadInput
from research.experiments import executors, parameters, recipe, registry
from research.experiments import replay as replayer
from research.experiments import run as runner
from research.experiments import sweep as sweeper
from research.experiments.executors import Means
from research.experiments.recipe import Request
from research.experiments.replay import Replay
from research.experiments.request_axes import to_sweep_request
from research.experiments.requests import (
    ParameterSweepRequest,
    SimulationRequest,
    check_concurrency,
)
from research.experiments.run_artifact import RunArtifact, artifact_of
from research.experiments.runs import RunManifest
from research.experiments.spec import ExperimentSpec
from research.experiments.sweep import Advance, Swept
from rosdb import Link, ObjectId


def run_single_simulation(
    request: SimulationRequest, context: Context, *, name: str | None = None, force: bool = False
) -> RunArtifact:
    """Answer a request from the store, or simulate it and record the run.

    ``name`` is what the run is called; ``force`` executes even if the store has the answer.

    Raises: BadInput and NotThere in their kinds; RunFailed, when the run is kept as failed.
    """
    _check_type(request, SimulationRequest)
    spec = _spec(request.strategy.id, context)
    return _perform(context, _asked(request, spec), name, force)


def run_batch_simulation(
    requests: Sequence[SimulationRequest], context: Context, *, max_concurrency: int = 1
) -> list[RunArtifact]:
    """Answer several requests, so many at a time; the artifacts are in the order of the requests.

    Equal requests are performed once. A request that cannot be is refused before anything runs. If
    a simulation fails, the others are performed all the same, and then the first failure is raised;
    asked again, what completed is answered from the store.

    Raises: BadInput and NotThere in their kinds; RunFailed.
    """
    check_concurrency(max_concurrency)
    specs: dict[str, ExperimentSpec] = {}
    distinct: dict[str, Request] = {}
    keys = []
    for request in requests:
        _check_type(request, SimulationRequest)
        key = json.dumps(request.to_json(), sort_keys=True, default=repr)
        if key not in distinct:
            name = request.strategy.id
            specs[name] = specs.get(name) or _spec(name, context)
            distinct[key] = _asked(request, specs[name])
        keys.append(key)
    done = dict(
        zip(distinct, _perform_all(context, distinct.values(), max_concurrency), strict=True)
    )
    return [done[key] for key in keys]


def run_parameter_sweep(
    request: ParameterSweepRequest,
    context: Context,
    advance: Advance = lambda done, failed, total: None,
) -> Swept:
    """Answer a request at every combination of some of its fields; a point that fails is kept.

    The points are in sorted order, their overrides named as the experiment names its parameters.
    Asked again, it resumes. ``advance`` is told how many are done, failed, and there.

    Raises: BadInput and NotThere in their kinds, before anything runs.
    """
    _check_type(request, ParameterSweepRequest)
    spec = _spec(request.base_request.strategy.id, context)
    return sweeper.sweep(context, to_sweep_request(request, spec.parameters), advance)


def replay_simulation(run: ObjectId | str, context: Context) -> Replay:
    """Execute a run again from what the store holds, compare to the bit, record the verdict.

    ``run`` is a run's id, or a revision of one: a prefix, a name, ``@``.

    Raises: RefMissing, IdAmbiguous; ObjectMissing, ObjectCorrupt if the run cannot be read.
    """
    run_id = run if isinstance(run, ObjectId) else context.store.resolve(run)
    return replayer.replay(context, run_id)


def _perform(
    context: Context, request: Request, name: str | None = None, force: bool = False
) -> RunArtifact:
    performed = runner.run(context, request, name=name, force=force)
    return artifact_of(context.store, performed.manifest)


def _perform_all(context: Context, requests: Collection[Request], count: int) -> list[RunArtifact]:
    """Perform requests, so many at a time: those of one experiment and one dataset together.

    Raises: the first failure, in the order of the requests, once all have ended.
    """
    store, together = context.store, _together(requests)
    ends: dict[int, RunManifest] = {}
    codes: dict[int, recipe.Code] = {}
    with store.writing():  # until every recipe is reached by a run
        for (name, dataset), numbers in together.items():
            asked: dict[Link, list[int]] = {}
            with store.transaction(f"batch of {name}") as tx:
                base = recipe.build_base(context, tx, name, dataset)
                for number, request in numbers.items():
                    question = recipe.ask(tx, base, request.overrides, request.seed)
                    asked.setdefault(question.recipe, []).append(number)
                    codes[number] = base.code
            found = {each: runner.find_answer(context, each) for each in asked}
            todo = [each for each, manifest in found.items() if manifest is None]
            for made in executors.perform(context, base, todo, Means(jobs=count)):
                found |= {manifest.recipe_id: manifest for manifest in made}
            ends |= {n: m for each, ns in asked.items() for n in ns if (m := found[each])}
    for number, manifest in sorted(ends.items()):
        if manifest.error is not None:
            raise runner.failure_of(manifest, codes[number])
    return [artifact_of(store, manifest) for _, manifest in sorted(ends.items())]


def _together(requests: Collection[Request]) -> dict[tuple[str, str | None], dict[int, Request]]:
    """Group requests by experiment and dataset, each with its place among all."""
    found: dict[tuple[str, str | None], dict[int, Request]] = {}
    for number, request in enumerate(requests):
        found.setdefault((request.experiment_id, request.dataset), {})[number] = request
    return found


def _asked(request: SimulationRequest, spec: ExperimentSpec) -> Request:
    """Return the question that a request is, checked against what the experiment declares.

    Raises: BadInput in its kinds.
    """
    asked = request.to_request(spec.parameters)
    values = parameters.apply_overrides(asked.experiment_id, spec.parameters, asked.overrides)
    parameters.check_constraints(asked.experiment_id, spec.constraints, values)
    return asked


def _spec(experiment_id: str, context: Context) -> ExperimentSpec:
    """Return what an experiment declares.

    Raises: ExperimentMissing with the nearest names, BrokenExperiment, ForbiddenImport.
    """
    return recipe.read_spec(context, registry.find(context.experiments_folder, experiment_id))


def _check_type(request: object, wanted: type) -> None:
    """Refuse a request of another kind.

    Raises: BadInput.
    """
    if not isinstance(request, wanted):
        raise BadInput(f"a {wanted.__name__} is needed, not {type(request).__name__}")

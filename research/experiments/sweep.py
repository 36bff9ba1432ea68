"""Sweeps: one experiment at many points, each a run like any other.

Owns the order of things: all questions are put first, those that were answered before are looked
up, the others are performed in batches, and the sweep's record says which run answers which point.
So the same command resumes a sweep that was interrupted, and a longer grid runs what is new.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from research.context import Context
from research.errors import BadInput, ConstraintBroken
from research.experiments import batch, executors, recipe, run
from research.experiments.executor import Executor
from research.experiments.executors import HERE, Means
from research.experiments.recipe import Base, Request
from research.experiments.runs import RunManifest
from research.experiments.sweep_points import Axis, Point, draws, grid, seed_of
from research.experiments.sweep_record import SweptPoint, SweptRun, put_sweep
from research.experiments.sweep_stop import EarlyStop
from rosdb import Link, Transaction, encode_value

Advance = Callable[[int, int, int], None]
"""Takes how many points are done, how many of them failed, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """What somebody asks to be swept: a base request, and the axes over it."""

    request: Request
    axes: Sequence[Axis]
    random_count: int | None = None
    has_common_seed: bool = False
    means: Means = HERE
    is_fail_fast: bool = False
    early_stop: str | None = None
    """Such as ``metrics.sharpe < 0 after 20``: nothing begins once at least so many runs have ended
    and it holds for every one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep came to, its points in sorted order."""

    record: Link
    points: tuple[SweptPoint, ...]
    seconds: float
    inert: tuple[str, ...]
    """Axes along which no outcome changed."""

    stopped: str | None = None
    """Why it ended before its last point."""

    refusal: str | None = None
    """Which constraint the first of the points that were skipped breaks."""

    @property
    def cached(self) -> int:
        """How many points were answered from the store."""
        return sum(point.is_cached for point in self.points)

    @property
    def executed(self) -> int:
        """How many points were run."""
        return sum(point.run is not None and not point.is_cached for point in self.points)

    @property
    def skipped(self) -> int:
        """How many points the experiment's constraints rule out."""
        return sum(point.is_skipped for point in self.points)

    @property
    def failed(self) -> int:
        """How many points have a run that did not complete."""
        return sum(point.is_failed for point in self.points)


def sweep(
    context: Context, asked: SweepRequest, advance: Advance = lambda done, failed, total: None
) -> Swept:
    """Answer every point of a sweep, from the store or by a run, and record the sweep.

    A point that fails is a failed run, and the others go on, unless it says to stop then.
    Raises: BadInput and NotThere in their kinds, before anything runs; KeyboardInterrupt, after
            what was under way was recorded.
    """
    stop = None if asked.early_stop is None else EarlyStop.parse(asked.early_stop)
    started, store = context.monotonic(), context.store
    with contextlib.ExitStack() as kept:
        kept.enter_context(store.writing())  # until every recipe is reached by a run
        questions = _ask_all(context, asked, kept, stop)
        base, recipes, executor = questions.base, questions.recipes, questions.executor
        found = {each: _known_run(context, each) for each in recipes}
        cached = {each for each, known in found.items() if known is not None}
        tally = _Tally(advance, len(recipes), asked.is_fail_fast, stop)
        for known in filter(None, found.values()):
            tally.judge(False, known.metrics)
        tally.take(known for known in found.values() if known is not None)
        todo = [] if tally.reason else [each for each, known in found.items() if known is None]
        if todo and executor is None:
            opened = _opened(context, asked, base, todo[0], len(todo))
            executor = kept.enter_context(opened)
        for made in _performed(context, base, todo, executor, tally):
            ended = {each.recipe_id: SweptRun.of(each) for each in made}
            found.update(ended)
            tally.take(ended.values())
        swept = tuple(
            SweptPoint(
                overrides=dict(point),
                run=None if each is None else found[each],
                is_cached=each in cached,
                is_skipped=each is None,
                store=store,
            )
            for point, each in questions.points
        )
        reason = tally.reason if None in found.values() else None
        record = _record(context, asked, swept, reason)
    return Swept(
        record=record,
        points=swept,
        seconds=context.monotonic() - started,
        inert=inert_axes(swept),
        stopped=reason,
        refusal=questions.refusal,
    )


def _known_run(context: Context, recipe_id: Link) -> SweptRun | None:
    manifest = run.find_answer(context, recipe_id)
    return None if manifest is None else SweptRun.of(manifest)


def _opened(
    context: Context, asked: SweepRequest, base: Base, recipe_id: Link, count: int
) -> contextlib.AbstractContextManager[Executor]:
    is_exact = asked.is_fail_fast or asked.early_stop is not None
    return executors.opened(context, base, recipe_id, count, asked.means, is_exact=is_exact)


def _performed(
    context: Context,
    base: Base,
    recipes: Sequence[Link],
    executor: Executor | None,
    tally: "_Tally",
) -> Iterator[list[RunManifest]]:
    if recipes and executor is not None:
        yield from batch.perform(
            context,
            base,
            recipes,
            executor,
            lambda answer: tally.judge(answer.error is not None, answer.metrics or {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Questions:
    """What a sweep asks: each point once, with its recipe; None where it is skipped."""

    base: Base
    points: Sequence[tuple[Point, Link | None]]
    refusal: str | None
    executor: Executor | None
    """Open already, where the first has no answer yet."""

    @property
    def recipes(self) -> list[Link]:
        """The recipes, in the order of their points."""
        return [each for _, each in self.points if each is not None]


def _ask_all(
    context: Context, asked: SweepRequest, kept: contextlib.ExitStack, stop: EarlyStop | None
) -> _Questions:
    """Put the recipe of every point: what they share is found once, and each is checked.

    If the first has no answer yet, the executor is opened meanwhile, for it takes a while to start.
    Raises: BadInput and NotThere in their kinds.
    """
    request, store, executor = asked.request, context.store, None
    why = f"sweep of {request.experiment_id}"
    with store.transaction(why) as tx:
        base = recipe.build_base(context, tx, request.experiment_id, request.dataset)
        points, seed = _points(asked, base, stop)
        first = _first_asked(tx, base, asked, points, seed)
    _check_values(base, asked, points[0])
    if run.find_answer(context, first) is None:
        opened = _opened(context, asked, base, first, len(points))
        executor = kept.enter_context(opened)
    # Values that are equal once they are of the parameter's type are one point.
    once: dict[Link | int, tuple[Point, Link | None]] = {}
    refusal = None
    with store.transaction(why) as tx:
        for number, point in enumerate(points):
            try:
                found = _ask(tx, base, asked, point, seed)
                once.setdefault(found, (point, found))
            except ConstraintBroken as error:
                refusal = refusal or str(error)
                once[number] = (point, None)
    return _Questions(base=base, points=[*once.values()], refusal=refusal, executor=executor)


def _first_asked(
    tx: Transaction, base: Base, asked: SweepRequest, points: Sequence[Point], seed: int
) -> Link:
    """Put the recipe of the first point that is not skipped.

    Raises: ConstraintBroken if all would be.
    """
    broken: ConstraintBroken | None = None
    for point in points:
        try:
            return _ask(tx, base, asked, point, seed)
        except ConstraintBroken as error:
            broken = broken or error
    assert broken is not None
    raise broken


def _check_values(base: Base, asked: SweepRequest, point: Point) -> None:
    """Check each value of each axis, before anything is started for the sweep.

    Raises: BadInput in its kinds.
    """
    for axis in asked.axes:
        for value in axis.values:
            changed = [(path, value if path == axis.path else own) for path, own in point]
            with contextlib.suppress(ConstraintBroken):
                recipe.ask_fields(base, [*asked.request.overrides, *changed], None)


def _points(asked: SweepRequest, base: Base, stop: EarlyStop | None) -> tuple[list[Point], int]:
    """Return the points of a sweep, and its base seed.

    Raises: BadInput.
    """
    request = asked.request
    seed = base.spec.seed if request.seed is None else request.seed
    points = grid(asked.axes)
    if asked.random_count is not None:
        points = draws(asked.axes, asked.random_count, seed)
    for path in (axis.path for axis in asked.axes):
        if any(path == other for other, _ in request.overrides):
            raise BadInput(f"{path} is given by --param and by --grid")
    if stop is not None and base.spec.metrics and stop.metric not in base.spec.metrics:
        known = ", ".join(base.spec.metrics)
        raise BadInput(f"--early-stop: {base.experiment_id} has no metric {stop.metric!r}: {known}")
    return points, seed


def _ask(tx: Transaction, base: Base, asked: SweepRequest, point: Point, seed: int) -> Link:
    """Put the recipe of one point.

    Raises: BadInput.
    """
    fields = recipe.ask_fields(base, [*asked.request.overrides, *point], seed)
    if not asked.has_common_seed:
        fields["seed"] = seed_of(seed, fields["parameters"])
    return recipe.put_question(tx, base, fields).recipe


class _Tally:
    """Counts what is done, and says when the sweep is over."""

    def __init__(
        self, advance: Advance, total: int, is_fail_fast: bool, stop: EarlyStop | None
    ) -> None:
        self._advance, self._total = advance, total
        self._is_fail_fast, self._stop = is_fail_fast, stop
        self._done = self._failed = 0
        self.reason: str | None = None

    def judge(self, is_failed: bool, metrics: Mapping[str, Any]) -> bool:
        """Take in how a run ended; tell whether the sweep is to begin nothing more."""
        if is_failed and self._is_fail_fast:
            self.reason = self.reason or "a run failed"
        if self._stop is not None and self._stop.takes(metrics):
            self.reason = self.reason or self._stop.text
        return self.reason is not None

    def take(self, recorded: Iterable[SweptRun]) -> None:
        """Count runs that are recorded."""
        for each in recorded:
            self._done += 1
            self._failed += each.status != "completed"
        self._advance(self._done, self._failed, self._total)


def inert_axes(points: Sequence[SweptPoint]) -> tuple[str, ...]:
    """Return the axes along which no outcome changes: those that reach nothing.

    An axis of one value, or one without two points that differ in it alone, is not judged.
    """
    paths = sorted({path for point in points for path in point.overrides})
    return tuple(path for path in paths if _is_inert(path, points))


def _is_inert(path: str, points: Sequence[SweptPoint]) -> bool:
    groups: dict[bytes, list[Link | None]] = {}
    for point in points:
        if point.run is None or point.run.outcome_id is None:
            continue
        others = {key: value for key, value in point.overrides.items() if key != path}
        groups.setdefault(encode_value(others), []).append(point.run.outcome_id)
    compared = [outcomes for outcomes in groups.values() if len(outcomes) > 1]
    return bool(compared) and all(len(set(outcomes)) == 1 for outcomes in compared)


def _record(
    context: Context, asked: SweepRequest, swept: Sequence[SweptPoint], stopped: str | None
) -> Link:
    request = asked.request
    fields = {
        "experiment": request.experiment_id,
        "axes": {axis.path: list(axis.values) for axis in asked.axes},
        "overrides": [[path, value] for path, value in request.overrides],
        "dataset": request.dataset,
        "seed": request.seed,
        "has_common_seed": asked.has_common_seed,
        "random_count": asked.random_count,
        "stopped": stopped,
    }
    with context.store.transaction(f"sweep of {asked.request.experiment_id}") as tx:
        return put_sweep(tx, fields, swept, context.store)

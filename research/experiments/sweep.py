"""Sweeps: one experiment at many points, each a run like any other.

Owns the order of things: all questions are put first, those that were answered before are looked
up, the others are performed in batches, and the sweep's record says which run answers which point.
So the same command resumes a sweep that was interrupted, and a longer grid runs what is new.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from research.context import Context
from research.errors import BadInput
from research.experiments import batch, executors, recipe, run, runs
from research.experiments.executor import Executor
from research.experiments.executors import HERE, Means
from research.experiments.recipe import Base, Request
from research.experiments.runs import RunManifest
from research.experiments.sweep_points import Axis, Point, draws, grid, seed_of
from research.experiments.sweep_stop import EarlyStop
from rosdb import Link, Store, Transaction, encode_value

SCHEMA: Final = "sweep/v1"
SWEEPS: Final = "sweeps/"

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
    """Such as ``metrics.sharpe < 0 after 20``: no batch begins once it holds for all so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptRun:
    """What a sweep keeps of a run: the manifests of a hundred thousand are too much."""

    run_id: Link
    status: str
    metrics: Mapping[str, Any]
    outcome_id: Link | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptPoint:
    """One point, and the run that answers it; None where the sweep ended before it."""

    overrides: Mapping[str, Any]
    run: SweptRun | None
    is_cached: bool
    store: Store = field(repr=False, compare=False)

    @property
    def is_failed(self) -> bool:
        """Its run did not complete."""
        return self.run is not None and self.run.status != "completed"

    @property
    def manifest(self) -> RunManifest | None:
        """All of the run, read from the store.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        return None if self.run is None else runs.read_run(self.store, self.run.run_id)


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

    @property
    def cached(self) -> int:
        """How many points were answered from the store."""
        return sum(point.is_cached for point in self.points)

    @property
    def executed(self) -> int:
        """How many points were run."""
        return sum(point.run is not None and not point.is_cached for point in self.points)

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
        base, points, recipes, executor = _ask_all(context, asked, kept)
        found = {each: _known_run(context, each) for each in dict.fromkeys(recipes)}
        cached = {each for each, known in found.items() if known is not None}
        tally = _Tally(advance, len(points), recipes, asked.is_fail_fast, stop)
        for known in filter(None, found.values()):
            tally.judge(False, known.metrics)
        tally.take((each, known) for each, known in found.items() if known is not None)
        todo = [] if tally.reason else [each for each, known in found.items() if known is None]
        if todo and executor is None:
            opened = _opened(context, asked, base, todo[0], len(todo))
            executor = kept.enter_context(opened)
        for made in _performed(context, base, todo, executor, tally):
            ended = {each.recipe_id: _kept_of(each) for each in made}
            found.update(ended)
            tally.take(ended.items())
        swept = tuple(
            SweptPoint(
                overrides=dict(point), run=found[each], is_cached=each in cached, store=store
            )
            for point, each in zip(points, recipes, strict=True)
        )
        record = _record(context, asked, swept)
    reason = tally.reason if any(point.run is None for point in swept) else None
    return Swept(
        record=record,
        points=swept,
        seconds=context.monotonic() - started,
        inert=inert_axes(swept),
        stopped=reason,
    )


def _known_run(context: Context, recipe_id: Link) -> SweptRun | None:
    manifest = run.find_answer(context, recipe_id)
    return None if manifest is None else _kept_of(manifest)


def _kept_of(manifest: RunManifest) -> SweptRun:
    return SweptRun(
        run_id=manifest.run_id,
        status=manifest.status,
        metrics=manifest.metrics,
        outcome_id=manifest.outcome_id,
    )


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


def _ask_all(
    context: Context, asked: SweepRequest, kept: contextlib.ExitStack
) -> tuple[Base, list[Point], list[Link], Executor | None]:
    """Put the recipe of every point: what they share is found once, and each is checked.

    If the first has no answer yet, the executor is opened meanwhile, for it takes a while to start.
    Raises: BadInput and NotThere in their kinds.
    """
    request, store, executor = asked.request, context.store, None
    why = f"sweep of {request.experiment_id}"
    with store.transaction(why) as tx:
        base = recipe.build_base(context, tx, request.experiment_id, request.dataset)
        points, seed = _points(asked, base)
        first = _ask(tx, base, asked, points[0], seed)
    if run.find_answer(context, first) is None:
        opened = _opened(context, asked, base, first, len(points))
        executor = kept.enter_context(opened)
    with store.transaction(why) as tx:
        asked_first: dict[Link, Point] = {}
        for point in points:
            # Values that are equal once they are of the parameter's type are one point.
            asked_first.setdefault(_ask(tx, base, asked, point, seed), point)
    return base, list(asked_first.values()), list(asked_first), executor


def _points(asked: SweepRequest, base: Base) -> tuple[list[Point], int]:
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
    if asked.early_stop is not None and base.spec.metrics:
        metric = EarlyStop.parse(asked.early_stop).metric
        if metric not in base.spec.metrics:
            known = ", ".join(base.spec.metrics)
            raise BadInput(f"--early-stop: {base.experiment_id} has no metric {metric!r}: {known}")
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
        self,
        advance: Advance,
        total: int,
        recipes: Sequence[Link],
        is_fail_fast: bool,
        stop: EarlyStop | None,
    ) -> None:
        self._advance, self._total = advance, total
        self._points_of = dict.fromkeys(recipes, 0)
        for each in recipes:
            self._points_of[each] += 1
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

    def take(self, ended: Iterable[tuple[Link, SweptRun]]) -> None:
        """Count runs that are recorded, by their recipes."""
        for recipe_id, swept in ended:
            count = self._points_of[recipe_id]
            self._done += count
            if swept.status != "completed":
                self._failed += count
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


def _record(context: Context, asked: SweepRequest, swept: Sequence[SweptPoint]) -> Link:
    """Put the record that maps each point to its run, under a ref of its own."""
    fields = {
        "experiment": asked.request.experiment_id,
        "axes": {axis.path: list(axis.values) for axis in asked.axes},
        "points": [dict(point.overrides) for point in swept],
        "seed": asked.request.seed,
        "has_common_seed": asked.has_common_seed,
    }
    links = {
        f"{number:07}": point.run.run_id
        for number, point in enumerate(swept)
        if point.run is not None
    }
    with context.store.transaction(f"sweep of {asked.request.experiment_id}") as tx:
        record = tx.put_record(SCHEMA, fields, links)
        ref = f"{SWEEPS}{record}"
        tx.move_ref(ref, record, expected=context.store.ref(ref))
    return record

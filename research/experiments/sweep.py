"""Sweeps: one experiment at many points, each a run like any other.

Owns the order of things: all questions are put first, those that were answered before are looked
up, the others are performed in batches, and the sweep's record says which run answers which point.
So the same command resumes a sweep that was interrupted, and a longer grid runs what is new.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from research.context import Context
from research.errors import BadInput
from research.experiments import batch, recipe, runs
from research.experiments.recipe import Base, Request
from research.experiments.runs import RunManifest
from research.experiments.sweep_points import Axis, Point, draws, grid, seed_of
from research.experiments.sweep_stop import EarlyStop
from rosdb import Link, encode_value

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
    jobs: int = 1
    is_fail_fast: bool = False
    early_stop: str | None = None
    """Such as ``metrics.sharpe < 0 after 20``: no batch begins once it holds for all so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptPoint:
    """One point, and the run that answers it; None where the sweep ended before it."""

    overrides: Mapping[str, Any]
    manifest: RunManifest | None
    is_cached: bool

    @property
    def is_failed(self) -> bool:
        """Its run did not complete."""
        return self.manifest is not None and self.manifest.status != "completed"


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
        return sum(point.manifest is not None and not point.is_cached for point in self.points)

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
    if asked.jobs < 1:
        raise BadInput(f"--jobs {asked.jobs}: at least 1")
    stop = None if asked.early_stop is None else EarlyStop.parse(asked.early_stop)
    started, store = context.monotonic(), context.store
    with contextlib.ExitStack() as kept:
        kept.enter_context(store.writing())  # until every recipe is reached by a run
        base, points, recipes = _ask_all(context, asked)
        found = {each: runs.find_completed(store, each) for each in dict.fromkeys(recipes)}
        cached = {each for each, manifest in found.items() if manifest is not None}
        todo = [each for each in dict.fromkeys(recipes) if found[each] is None]
        tally = _Tally(advance, len(points), recipes, asked.is_fail_fast, stop)
        tally.take(each for each in found.values() if each is not None)
        for ids in batch.perform(
            context,
            todo,
            snapshot=base.snapshot,
            metrics=base.spec.metrics,
            jobs=asked.jobs,
            is_over=lambda: tally.reason is not None,
        ):
            made = [runs.read_run(store, run_id, None) for run_id in ids]
            found.update((each.recipe_id, each) for each in made)
            tally.take(made)
        swept = tuple(
            SweptPoint(overrides=dict(point), manifest=found[each], is_cached=each in cached)
            for point, each in zip(points, recipes, strict=True)
        )
        record = _record(context, asked, swept)
    reason = tally.reason if any(point.manifest is None for point in swept) else None
    return Swept(
        record=record,
        points=swept,
        seconds=context.monotonic() - started,
        inert=inert_axes(swept),
        stopped=reason,
    )


def _ask_all(context: Context, asked: SweepRequest) -> tuple[Base, list[Point], list[Link]]:
    """Put the recipe of every point: what they share is found once, and each is checked.

    Raises: BadInput and NotThere in their kinds.
    """
    request, store = asked.request, context.store
    with store.transaction(f"sweep of {request.experiment_id}") as tx:
        base = recipe.build_base(context, tx, request.experiment_id, request.dataset)
        seed = base.spec.seed if request.seed is None else request.seed
        points = grid(asked.axes)
        if asked.random_count is not None:
            points = draws(asked.axes, asked.random_count, seed)
        for path in (axis.path for axis in asked.axes):
            if any(path == other for other, _ in request.overrides):
                raise BadInput(f"{path} is given by --param and by --grid")
        recipes: list[Link] = []
        for point in points:
            overrides = [*request.overrides, *point]
            own = seed
            if not asked.has_common_seed:
                own = seed_of(seed, recipe.ask_fields(base, overrides, seed)["parameters"])
            recipes.append(recipe.ask(tx, base, overrides, own).recipe)
    return base, points, recipes


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

    def take(self, manifests: Iterator[RunManifest] | Sequence[RunManifest]) -> None:
        """Take in runs that have ended."""
        for manifest in manifests:
            count = self._points_of[manifest.recipe_id]
            self._done += count
            if manifest.status != "completed":
                self._failed += count
                if self._is_fail_fast:
                    self.reason = f"run {str(manifest.run_id)[:10]} failed"
            if self._stop is not None and self._stop.takes(manifest.metrics):
                self.reason = self._stop.text
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
        if point.manifest is None or point.manifest.outcome_id is None:
            continue
        others = {key: value for key, value in point.overrides.items() if key != path}
        groups.setdefault(encode_value(others), []).append(point.manifest.outcome_id)
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
        f"{number:07}": point.manifest.run_id
        for number, point in enumerate(swept)
        if point.manifest is not None
    }
    with context.store.transaction(f"sweep of {asked.request.experiment_id}") as tx:
        record = tx.put_record(SCHEMA, fields, links)
        ref = f"{SWEEPS}{record}"
        tx.move_ref(ref, record, expected=context.store.ref(ref))
    return record

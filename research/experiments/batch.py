"""Many recipes side by side: each run in a child of its own, their records in common transactions.

Owns the life of a batch: all its runs become pending in one transaction, running in a second, and
what came of them is recorded in a third; so a sweep syncs three times a batch and not three times
a run. A run's lease is held until its end is recorded; of a batch that dies, every run that has no
end is shown as interrupted, and the same command runs it.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from research.context import Context
from research.datasets.snapshot import Snapshot
from research.experiments import run
from research.experiments.capsule import Answer, Capsule
from research.experiments.conditions import conditions_of
from rosdb import Link, Record

BATCH_RUNS_MAX: Final = 32
"""How many runs are recorded together: their outputs lie in folders until then."""


@dataclass(slots=True, kw_only=True)
class _Under:
    """A run under way."""

    run_id: Link
    recipe: Record
    state: Link
    box: Capsule
    started: float
    seconds: float = 0.0
    answer: Answer | None = None


def perform(
    context: Context,
    recipes: Sequence[Link],
    *,
    snapshot: Snapshot | None,
    metrics: Sequence[str],
    jobs: int,
    is_over: Callable[[], bool] = lambda: False,
) -> Iterator[list[Link]]:
    """Execute stored recipes; yield the runs of each batch once they are recorded.

    ``is_over`` is asked between batches: a sweep may end before its last point. The caller keeps
    the recipes in the store until then.
    Raises: KeyboardInterrupt, after what was under way was recorded as failed.
    """
    size = max(jobs, min(BATCH_RUNS_MAX, 4 * jobs))
    for start in range(0, len(recipes), size):
        if is_over():
            return
        yield _perform_batch(context, recipes[start : start + size], snapshot, metrics, jobs)


def _perform_batch(
    context: Context,
    recipes: Sequence[Link],
    snapshot: Snapshot | None,
    metrics: Sequence[str],
    jobs: int,
) -> list[Link]:
    store = context.store
    with contextlib.ExitStack() as stack:
        with store.transaction(f"{len(recipes)} runs pending") as tx:
            ids = [
                run.put_run(context, tx, each, snapshot, list(metrics), None) for each in recipes
            ]
            # Held before anyone can see the runs, so that nobody takes them for dead ones.
            for run_id in ids:
                stack.enter_context(store.lease(run_id))
        with store.transaction(f"{len(ids)} runs running") as tx:
            states = [
                run.put_status(context, tx, run_id, run_id, "running", run.Ending())
                for run_id in ids
            ]
        under = [
            _Under(
                run_id=run_id,
                recipe=store.get_record(recipe),
                state=state,
                box=_box(stack.enter_context(store.scratch(run_id))),
                started=0.0,
            )
            for run_id, recipe, state in zip(ids, recipes, states, strict=True)
        ]
        try:
            _run_all(context, under, jobs)
        finally:
            _record(context, under)
    return ids


def _box(folder: Path) -> Capsule:
    return Capsule(folder.resolve())


def _run_all(context: Context, under: Sequence[_Under], jobs: int) -> None:
    """Run the children, so many at a time; the store is used by this thread alone."""
    waiting, conditions = list(reversed(under)), conditions_of(context)
    at_work: dict[Future[Answer], _Under] = {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while waiting or at_work:
                while waiting and len(at_work) < jobs:
                    each = waiting.pop()
                    each.started = context.monotonic()
                    run.fill(context.store, each.box, each.recipe)
                    asked = pool.submit(each.box.run, each.recipe, conditions)
                    at_work[asked] = each
                for done in wait(at_work, return_when=FIRST_COMPLETED).done:
                    each = at_work.pop(done)
                    each.seconds = context.monotonic() - each.started
                    each.answer = done.result()
        except BaseException:
            # The children end with us: whoever waits for one learns of it.
            for each in at_work.values():
                each.box.stop()
            raise


def _record(context: Context, under: Sequence[_Under]) -> None:
    """Record what came of each run, all together; of one that did not end, that it was stopped."""
    with context.store.transaction() as tx:
        for each in under:
            if each.answer is None:
                ending = run.Ending(error=run.INTERRUPTION)
                run.put_status(context, tx, each.run_id, each.state, "failed", ending)
            else:
                run.put_answer(
                    context, tx, each.run_id, each.state, each.box, each.answer, each.seconds
                )
        tx.why = f"{len(under)} runs ended"

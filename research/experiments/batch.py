"""Many recipes: their runs go to an executor, and their records into common transactions.

Owns the life of many runs at once. Groups of them become pending, then running, each group in one
transaction, and never more than are soon begun; what has ended is recorded together, twice a
second. So a sweep of quick runs syncs some times a second and not three times a run. A lease is
held until the run's end is recorded; of runs whose process dies, every one without an end is shown
as interrupted, and the same command runs it. What was recorded and not begun is withdrawn: its ref
goes.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from research.context import Context
from research.experiments import ledger, run, runs
from research.experiments.answer import Answer
from research.experiments.executor import Ended, Executor, Job
from research.experiments.recipe import Base
from research.experiments.runs import RunManifest
from rosdb import RUNS, Link, SharedLease, Transaction

GROUP_RUNS_MAX: Final = 256
"""How many runs are recorded together."""

_GROUP_SECONDS: Final = 0.5


@dataclass(slots=True, kw_only=True)
class _Under:
    """A run that is recorded and has no end yet."""

    run_id: Link
    recipe: Link
    state: Link


def perform(
    context: Context,
    base: Base,
    recipes: Sequence[Link],
    executor: Executor,
    ends_with: Callable[[Answer], bool] = lambda answer: False,
) -> Iterator[list[RunManifest]]:
    """Execute stored recipes; yield the runs that ended together once they are recorded.

    ``ends_with`` is asked of each as it ends: once it says so, what has begun ends, and nothing
    more begins. The caller keeps the recipes in the store until then.
    Raises: KeyboardInterrupt, after what was under way was recorded as failed.
    """
    with context.store.shared_lease() as lease:
        made = _Batch(context, base, executor, lease, recipes)
        yield from _perform(made, executor, ends_with)


def _perform(
    made: "_Batch", executor: Executor, ends_with: Callable[[Answer], bool]
) -> Iterator[list[RunManifest]]:
    try:
        while made.is_busy:
            made.open_group()
            for ended in executor.wait(made.patience()):
                made.take(ended)
                if ends_with(ended.answer):
                    made.withdraw()
            if made.is_due:
                yield made.close_group()
    except BaseException:
        executor.stop()
        made.interrupt()
        raise


class _Batch:
    """What of a batch waits, is under way, or has ended and is not recorded yet."""

    def __init__(
        self,
        context: Context,
        base: Base,
        executor: Executor,
        lease: SharedLease,
        recipes: Sequence[Link],
    ) -> None:
        self._context, self._store, self._executor = context, context.store, executor
        self._lease = lease
        self._snapshot, self._metrics = base.snapshot, list(base.spec.metrics)
        self._experiment, self._git = base.experiment_id, context.git()
        self._waiting = deque(recipes)
        self._under: dict[int, _Under] = {}
        self._count = 0
        self._ended: list[_Under] = []
        self._lines: list[ledger.Line] = []
        self._recording = contextlib.ExitStack()
        self._tx: Transaction | None = None
        self._since = context.monotonic()
        self._ahead = executor.capacity

    @property
    def is_busy(self) -> bool:
        """There is something to begin, to wait for, or to record."""
        return bool(self._waiting or self._under or self._ended)

    @property
    def is_due(self) -> bool:
        """What has ended is to be recorded now."""
        if not self._ended:
            return False
        is_full = len(self._ended) >= GROUP_RUNS_MAX or not (self._waiting or self._under)
        return is_full or self.patience() == 0.0

    def patience(self) -> float | None:
        """Return how long what has ended may still wait to be recorded."""
        if not self._ended:
            return None
        return max(0.0, self._since + _GROUP_SECONDS - self._context.monotonic())

    def open_group(self) -> None:
        """Record the next runs as pending, then as running, and hand them out."""
        wanted = self._ahead - len(self._under)
        if not self._waiting or 2 * wanted < self._ahead:
            return
        recipes = [self._waiting.popleft() for _ in range(min(wanted, len(self._waiting)))]
        with self._store.transaction(f"{len(recipes)} runs pending") as tx:
            ids = []
            for recipe in recipes:
                run_id = run.put_run(
                    self._context, tx, recipe, self._snapshot, self._metrics, None, git=self._git
                )
                # Held before anyone can see the run, so that nobody takes it for a dead one.
                self._lease.hold(run_id)
                ids.append(run_id)
        with self._store.transaction(f"{len(ids)} runs running") as tx:
            states = [
                run.put_status(self._context, tx, run_id, run_id, "running", run.Ending())
                for run_id in ids
            ]
        jobs = []
        for run_id, recipe, state in zip(ids, recipes, states, strict=True):
            self._count += 1
            self._under[self._count] = _Under(run_id=run_id, recipe=recipe, state=state)
            jobs.append(Job(number=self._count, recipe=self._store.get_record(recipe)))
        self._executor.submit(jobs)

    def take(self, ended: Ended) -> None:
        """Put what came of a run; it is recorded with the others."""
        under = self._under.pop(ended.number)
        tx = self._open_recording()
        answer = ended.answer
        landed = run.put_answer(self._context, tx, under.run_id, under.state, answer, ended.seconds)
        ended.release()
        under.state = landed.state
        self._ended.append(under)
        self._lines.append(
            ledger.line_of(
                under.run_id, under.recipe, landed.status, landed.outcome, answer.metrics
            )
        )

    def close_group(self) -> list[RunManifest]:
        """Record what has ended, and return it."""
        now = self._context.monotonic()
        # So much ahead as will end before the next time: quick runs never wait for their records.
        rate = len(self._ended) / max(now - self._since, 1e-3)
        ahead = min(GROUP_RUNS_MAX, int(rate * _GROUP_SECONDS))
        self._ahead = max(self._executor.capacity, ahead)
        self._since = now
        ended = self._commit()
        return [runs.read_ended(self._store, each.run_id, each.state) for each in ended]

    def _commit(self) -> list[_Under]:
        lines, self._lines = self._lines, []
        if self._tx is not None:
            self._tx.why = f"{len(self._ended)} runs ended"
            # One record for them all: a line costs next to nothing, a ref does not.
            ledger.enter(self._tx, self._experiment, ledger.dataset_of(self._snapshot), lines)
        # Let go of first: whatever interrupts the commit finds none that is half over.
        recording, self._recording, self._tx = self._recording, contextlib.ExitStack(), None
        ended, self._ended = self._ended, []
        recording.close()
        for each in ended:
            self._lease.end(each.run_id)
        return ended

    def withdraw(self) -> None:
        """Begin nothing more, and take back what was recorded and has not begun."""
        self._waiting.clear()
        taken = [self._under.pop(number) for number in self._executor.withdraw()]
        if not taken:
            return
        with self._store.transaction(f"{len(taken)} runs not begun") as tx:
            for each in taken:
                tx.move_ref(f"{RUNS}{each.run_id}", None, expected=each.state)
        for each in taken:
            self._lease.end(each.run_id)

    def interrupt(self) -> None:
        """Record what has ended, and of what has not, that it was stopped."""
        self._waiting.clear()
        left = list(self._under.values())
        tx = self._open_recording()
        for each in left:
            ending = run.Ending(error=run.INTERRUPTION)
            each.state = run.put_status(
                self._context, tx, each.run_id, each.state, "failed", ending
            )
        self._under.clear()
        self._ended += left
        self._lines += [ledger.line_of(each.run_id, each.recipe, "failed") for each in left]
        self._commit()

    def _open_recording(self) -> Transaction:
        if self._tx is None:
            self._tx = self._recording.enter_context(
                # Outputs are new: nothing is known of them from before.
                self._store.transaction("runs ended", reads_all=True)
            )
        return self._tx

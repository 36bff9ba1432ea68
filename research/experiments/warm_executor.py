"""Runs in copies of warm children: what they have in common is loaded once a worker.

Owns which worker has which run, and what becomes of a worker that is lost: its run has failed, or
is handed out anew if it was not the run's fault, and another worker takes the place.
"""

import selectors
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from research.experiments.conditions import Conditions
from research.experiments.executor import Ended, Job
from research.experiments.limits import NO_LIMITS
from research.experiments.worker import Worker, WorkerLost
from rosdb import Record, Store, remove_folder

_SHARED_AT_HAND: Final = 4
"""Runs that a worker has before it where they share its process: it never waits for us."""

_SHARED_AHEAD: Final = 32
"""Runs to have ready for each such worker, so that they are recorded many at a time."""

_TICK_SECONDS: Final = 0.01


class WarmExecutor:
    """Keeps so many workers, all for one code and one input."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        conditions: Conditions,
        jobs: int,
        monotonic: Callable[[], float],
        *,
        recipe: Record,
        is_pure: bool,
        is_exact: bool,
        kernels: Sequence[Path],
    ) -> None:
        """Any recipe of the code and the input will do. Pure runs may share a process.

        If it is to be exact, no worker has a run before it while it does another.
        """
        self._is_shared = is_pure and conditions.limits == NO_LIMITS
        self._at_hand = _SHARED_AT_HAND if self._is_shared and not is_exact else 1
        self.capacity = jobs * (_SHARED_AHEAD if self._is_shared else 1)
        self._store, self._folder, self._conditions = store, folder, conditions
        self._monotonic, self._recipe, self._kernels = monotonic, recipe, kernels
        self._waiting: deque[Job] = deque()
        self._preloads = True
        self._watched = selectors.DefaultSelector()
        self._folders: list[Path] = []
        self._workers = [self._start() for _ in range(jobs)]

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs; they begin in their order."""
        self._waiting.extend(jobs)
        self._hand_out()

    def wait(self, seconds: float | None) -> list[Ended]:
        """Return what has ended, once anything has; nothing after so many seconds."""
        until = None if seconds is None else self._monotonic() + seconds
        while True:
            # Not once something has ended: whoever asks may want nothing more to begin.
            self._hand_out()
            ended: list[Ended] = []
            for key, _ in self._watched.select(self._patience(until)):
                ended += self._take(key.data)
            ended += self._enforce_limits()
            if ended or (until is not None and self._monotonic() >= until):
                return ended

    def withdraw(self) -> list[int]:
        """Give back the jobs that have not begun."""
        left = [job.number for job in self._waiting]
        self._waiting.clear()
        return left

    def stop(self) -> None:
        """End what is under way; no more comes of it."""
        self._waiting.clear()
        for worker in self._workers:
            worker.begun.clear()
            worker.kill()
        self._workers.clear()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what is left, and remove what it took."""
        self.stop()
        self._watched.close()
        for folder in self._folders:
            remove_folder(folder)

    def _start(self) -> Worker:
        folder = self._folder / f"worker-{len(self._folders)}"
        if self._folders:
            Worker.fill_like(self._folders[0], folder)
        else:
            Worker.fill(self._store, folder, self._recipe, self._kernels)
        self._folders.append(folder)
        worker = Worker(
            folder,
            self._recipe,
            self._conditions,
            is_shared=self._is_shared,
            has_kernels=bool(self._kernels),
            preloads=self._preloads,
        )
        self._watched.register(worker, selectors.EVENT_READ, worker)
        return worker

    def _hand_out(self) -> None:
        # Round by round, so that the first ones do not take it all.
        for count in range(1, self._at_hand + 1):
            for worker in self._workers:
                if self._waiting and len(worker.begun) < count:
                    worker.begin(self._waiting.popleft(), self._monotonic())

    def _take(self, worker: Worker) -> list[Ended]:
        try:
            return worker.take(self._monotonic())
        except WorkerLost as lost:
            if worker.is_importing:
                # Not the run's fault, which may not even have begun: from now on without.
                self._preloads = False
                self._waiting.extendleft(each.job for each in worker.begun.values())
                worker.begun.clear()
            ended = worker.lose(lost.status, None, self._monotonic())
            self._replace(worker)
            return ended

    def _enforce_limits(self) -> list[Ended]:
        ended: list[Ended] = []
        if self._conditions.limits == NO_LIMITS:
            return ended
        for worker in list(self._workers):
            reached = worker.reached(self._monotonic())
            if reached is not None:
                status = worker.kill()
                ended += worker.lose(status, reached, self._monotonic())
                self._replace(worker)
        return ended

    def _replace(self, worker: Worker) -> None:
        self._watched.unregister(worker)
        worker.kill()
        self._workers[self._workers.index(worker)] = self._start()

    def _patience(self, until: float | None) -> float | None:
        """Return how long to wait at once: nobody who is waited for, and no limit, is missed."""
        now, wanted = self._monotonic(), self._conditions.limits
        ends = [] if until is None else [until]
        if wanted.seconds is not None:
            ends += [worker.deadline for worker in self._workers if worker.begun]
        if wanted.memory_bytes is not None:
            ends.append(now + _TICK_SECONDS)
        return max(0.0, min(ends) - now) if ends else None

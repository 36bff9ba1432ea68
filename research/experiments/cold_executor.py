"""Runs in children of their own, each started anew.

Owns the threads that wait for the children. What a machine without the walls that a warm child
needs runs, and what must not be warm.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

from research.experiments.answer import Answer
from research.experiments.capsule import Capsule
from research.experiments.conditions import Conditions
from research.experiments.executor import Ended, Job
from rosdb import Store, remove_folder


class ColdExecutor:
    """Starts a child for each run, so many at a time; the store is used by the caller's thread."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        conditions: Conditions,
        jobs: int,
        monotonic: Callable[[], float],
    ) -> None:
        self.capacity = jobs
        self._store, self._folder, self._conditions = store, folder, conditions
        self._monotonic = monotonic
        self._pool = ThreadPoolExecutor(jobs)
        self._waiting: deque[Job] = deque()
        self._at_work: dict[int, Capsule] = {}
        self._done: SimpleQueue[tuple[int, float, Answer | BaseException]] = SimpleQueue()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs; they begin in their order."""
        self._waiting.extend(jobs)
        self._hand_out()

    def wait(self, seconds: float | None) -> list[Ended]:
        """Return what has ended, once anything has; nothing after so many seconds."""
        # Not once something has ended: whoever asks may want nothing more to begin.
        self._hand_out()
        try:
            number, took, answer = self._done.get(timeout=seconds)
        except Empty:
            return []
        box = self._at_work.pop(number)
        if isinstance(answer, BaseException):
            raise answer
        release = partial(remove_folder, box.folder)
        return [Ended(number=number, answer=answer, seconds=took, release=release)]

    def withdraw(self) -> list[int]:
        """Give back the jobs that have not begun."""
        left = [job.number for job in self._waiting]
        self._waiting.clear()
        return left

    def stop(self) -> None:
        """End what is under way; no more comes of it."""
        self._waiting.clear()
        for box in self._at_work.values():
            box.stop()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what is left."""
        self.stop()
        self._pool.shutdown()

    def _hand_out(self) -> None:
        while self._waiting and len(self._at_work) < self.capacity:
            job = self._waiting.popleft()
            folder = self._folder / str(job.number)
            folder.mkdir()
            box = self._at_work[job.number] = Capsule(folder)
            box.fill(self._store, job.recipe)
            self._pool.submit(self._run, job, box, self._monotonic())

    def _run(self, job: Job, box: Capsule, started: float) -> None:
        try:
            answer: Answer | BaseException = box.run(job.recipe, self._conditions)
        except BaseException as fault:
            answer = fault
        self._done.put((job.number, self._monotonic() - started, answer))

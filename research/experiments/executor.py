"""Executors: where the children of many runs work, and who waits for them.

Owns the interface, and nothing of how it is done: ``cold_executor`` starts a child for each run,
``warm_executor`` keeps children that copy themselves, ``ray_executor`` sends runs to other
machines. None of them records anything: whoever asked does (``batch``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from research.experiments.answer import Answer
from rosdb import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run to be done: a number of the caller's, and the question."""

    number: int
    recipe: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that has ended; ``release`` is called once its artifacts are put.

    Units:  seconds of wall time.
    """

    number: int
    answer: Answer
    seconds: float
    release: Callable[[], None]


class Executor(Protocol):
    """Does jobs, so many at a time. Used by one thread, as a context manager."""

    @property
    def capacity(self) -> int:
        """How many jobs it can have at hand without letting one wait for long."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs; they begin in their order."""

    def wait(self, seconds: float | None) -> list[Ended]:
        """Return what has ended, once anything has; nothing after so many seconds."""

    def withdraw(self) -> list[int]:
        """Give back the jobs that have not begun."""

    def stop(self) -> None:
        """End what is under way; no more comes of it."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End what is left, and remove what it took."""

"""Many recipes of one code and one input, by the executor that is asked for.

Owns the choice among executors, and nothing of how they work.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from research.context import Context
from research.errors import BadInput
from research.experiments import batch
from research.experiments.conditions import conditions_of
from research.experiments.executor import Executor
from research.experiments.limits import NO_LIMITS, Limits
from research.experiments.local import open_local
from research.experiments.ray_executor import open_ray
from research.experiments.recipe import Base
from research.experiments.runs import RunManifest
from rosdb import Link

NAMES: Final = ("local", "ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """By what runs are done: which executor, how many at a time, and what each may take."""

    executor: str = "local"
    jobs: int = 1
    limits: Limits = NO_LIMITS

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises: BadInput.
        """
        if self.executor not in NAMES:
            raise BadInput(f"--executor {self.executor!r}: one of {', '.join(NAMES)}")
        if self.jobs < 1:
            raise BadInput(f"--jobs {self.jobs}: at least 1")


HERE: Final = Means()
"""One after another, in children of this machine."""


@contextlib.contextmanager
def opened(
    context: Context, base: Base, recipe: Link, count: int, means: Means, *, is_exact: bool = False
) -> Iterator[Executor]:
    """Open the executor for so many runs of one base, of which ``recipe`` is one.

    If it is to be exact, nothing is on its way to a worker that is still at another run.
    Raises: BadInput.
    """
    conditions = conditions_of(context, means.limits)
    one = context.store.get_record(recipe)
    opens = open_ray if means.executor == "ray" else open_local
    jobs = min(means.jobs, count)
    with opens(
        context, one, conditions, is_pure=base.is_pure, count=count, jobs=jobs, is_exact=is_exact
    ) as executor:
        yield executor


def perform(
    context: Context, base: Base, recipes: Sequence[Link], means: Means
) -> Iterator[list[RunManifest]]:
    """Execute stored recipes; yield the runs that ended together once they are recorded.

    The caller keeps the recipes in the store until then.
    Raises: BadInput; KeyboardInterrupt, after what was under way was recorded as failed.
    """
    if recipes:
        with opened(context, base, recipes[0], len(recipes), means) as executor:
            yield from batch.perform(context, base, recipes, executor)

"""The executor of this machine: warm workers where it has the walls that they need.

Owns the choice. A warm worker's copies are told apart by Landlock and the filter of calls; without
them, a run that got around the hook could reach what the next one starts from. There each run has a
child of its own, and so where only the hook was asked for.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from research.context import Context
from research.experiments import kernels, sandbox
from research.experiments.cold_executor import ColdExecutor
from research.experiments.conditions import Conditions
from research.experiments.executor import Executor
from research.experiments.memory_folder import memory_folder
from research.experiments.warm_executor import WarmExecutor
from rosdb import Kind, Record, id_of

_NEEDED: Final = frozenset({"landlock:files", "seccomp"})
_WARM_FROM: Final = 3
"""Fewer runs than this are quicker without."""

_CODE_BYTES: Final = 16 * 1024 * 1024
_BYTES_A_BAR: Final = 8 * 256
"""Of input and of all outputs that lie there at once: eight runs, each with 32 columns."""


@contextlib.contextmanager
def open_local(
    context: Context,
    recipe: Record,
    conditions: Conditions,
    *,
    is_pure: bool,
    count: int,
    jobs: int,
    is_exact: bool = False,
) -> Iterator[Executor]:
    """Open the executor for so many runs of one code and one input, of which ``recipe`` is one."""
    jobs = max(1, min(jobs, count))
    with contextlib.ExitStack() as stack:
        executor: Executor
        if count < _WARM_FROM or not _can_be_warm(conditions):
            folder = stack.enter_context(_folder(context))
            executor = ColdExecutor(context.store, folder, conditions, jobs, context.monotonic)
        else:
            rows = _rows(context, recipe)
            in_memory = None
            if is_pure and "files" not in recipe.links:
                # Theirs alone are known to be small: series over the bars.
                size = _CODE_BYTES + jobs * rows * _BYTES_A_BAR
                in_memory = stack.enter_context(memory_folder(size, context.now_ns()))
            executor = WarmExecutor(
                context.store,
                in_memory or stack.enter_context(_folder(context)),
                conditions,
                jobs,
                context.monotonic,
                recipe=recipe,
                is_pure=is_pure,
                is_exact=is_exact,
                kernels=kernels.kernels_for(context, recipe, count),
            )
        with executor:
            yield executor


def _rows(context: Context, recipe: Record) -> int:
    bars = recipe.links.get("bars")
    return 0 if bars is None else context.store.get_table(bars).rows


def _can_be_warm(conditions: Conditions) -> bool:
    if conditions.sandbox == "hook" or conditions.interpreter is not None:
        return False
    return set(sandbox.look().parts) >= _NEEDED


@contextlib.contextmanager
def _folder(context: Context) -> Iterator[Path]:
    """Give a private folder in the store, swept by others if we die: it lies under a lease."""
    name = f"{context.process_id} {context.now_ns()}"
    owner = id_of(Kind.BLOB, name.encode())
    with context.store.lease(owner), context.store.scratch(owner) as folder:
        yield folder.resolve()

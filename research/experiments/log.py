"""History: which runs there are, filtered and sorted.

Owns the question that ``ros log`` asks. The index finds the runs; every figure shown is read from
the objects, so that an edited index cannot change one.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from research.context import Context
from research.errors import BadInput, DatasetMissing
from research.experiments.marks import NONE, Marks, read_marks
from research.experiments.runs import RunManifest, read_run, settle_interrupted
from rosdb import DATASETS, RunRow, Store, errors, parse_instant


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRun:
    """A run as the log has it."""

    row: RunRow
    manifest: RunManifest | None
    """None if its records are damaged."""

    marks: Marks = NONE

    @property
    def status(self) -> str:
        """How it stands."""
        return "damaged" if self.manifest is None else self.manifest.status


def log(
    context: Context,
    *,
    where: str = "",
    sort: str | None = None,
    limit: int | None = None,
    experiment: str | None = None,
    since: str | None = None,
    dataset: str | None = None,
    with_replays: bool = False,
) -> Iterator[LoggedRun]:
    """List runs with what was said of them, newest first.

    ``dataset`` is ``NAME``, of which any version will do, or ``NAME@VERSION``.
    Raises: BadExpression, DatasetMissing, BadInput if ``since`` is no time.
    """
    store = context.store
    settle_interrupted(store)
    conditions: dict[str, Any] = {} if experiment is None else {"experiment": experiment}
    if not with_replays:
        conditions["kind"] = "run"
    if dataset is not None:
        conditions |= _dataset_conditions(store, dataset)
    since_ns = None
    if since is not None:
        since_ns = parse_instant(since, context.now_ns())
        if since_ns is None:
            raise BadInput(f"--since {since}: neither a time (2026-01-31T12:00) nor an age (7d)")
    rows = store.runs(where, sort=sort, limit=limit, since_ns=since_ns, conditions=conditions)
    for row in rows:
        marks = read_marks(store, row.run_id) if row.is_marked else NONE
        try:
            manifest = read_run(store, row.run_id, row.name)
        except (errors.ObjectMissing, errors.ObjectCorrupt):
            manifest = None
        yield LoggedRun(row=row, manifest=manifest, marks=marks)


def _dataset_conditions(store: Store, dataset: str) -> dict[str, str]:
    """Return what the runs must have; a dataset that nobody knows is a slip of the pen.

    Raises: DatasetMissing with the nearest names.
    """
    name, at, version = dataset.partition("@")
    conditions = {"dataset": name, "version": version} if at else {"dataset": name}
    has_runs = next(store.runs(conditions=conditions, limit=1), None) is not None
    known = [ref.removeprefix(DATASETS).replace("/", "@", 1) for ref, _ in store.refs(DATASETS)]
    if not at:
        known = list(dict.fromkeys(each.partition("@")[0] for each in known))
    # A run that came from another store may have brought a name of its own.
    if not has_runs and dataset not in known:
        raise DatasetMissing(dataset, difflib.get_close_matches(dataset, known))
    return conditions

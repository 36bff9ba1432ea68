"""History: which runs there are, filtered and sorted.

Owns the question that ``ros log`` asks. The index finds the runs; every figure shown is read from
the objects, so that an edited index cannot change one.
"""

from collections.abc import Iterator

from research.context import Context
from research.errors import BadInput
from research.experiments.runs import RunManifest, read_rows, settle_interrupted
from rosdb import RunRow, parse_instant


def log(
    context: Context,
    *,
    where: str = "",
    sort: str | None = None,
    limit: int | None = None,
    experiment: str | None = None,
    since: str | None = None,
    with_replays: bool = False,
) -> Iterator[RunManifest | RunRow]:
    """List runs, newest first; a run whose records are damaged comes as its bare row.

    Raises: BadExpression, BadInput if ``since`` is no time.
    """
    settle_interrupted(context.store)
    conditions = {} if experiment is None else {"experiment": experiment}
    if not with_replays:
        conditions["kind"] = "run"
    since_ns = None
    if since is not None:
        since_ns = parse_instant(since, context.now_ns())
        if since_ns is None:
            raise BadInput(f"--since {since}: neither a time (2026-01-31T12:00) nor an age (7d)")
    rows = context.store.runs(
        where, sort=sort, limit=limit, since_ns=since_ns, conditions=conditions
    )
    return read_rows(context.store, rows)

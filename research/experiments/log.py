"""History: which runs there are, filtered and sorted.

Owns the question that ``ros log`` asks. The index finds the runs; every figure shown is read from
the objects, so that an edited index cannot change one.
"""

from collections.abc import Iterator

from research.context import Context
from research.errors import BadInput
from research.experiments.runs import RunManifest, read_rows, settle_interrupted
from rosdb import RunRow, parse_instant

_NS_PER_SECOND = 1_000_000_000


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
    parts = [f"({where})"] if where.strip() else []
    now_ns = context.now_ns()
    if not with_replays:
        parts.append("kind != replay")
    if since is not None:
        instant = parse_instant(since, now_ns)
        if instant is None:
            raise BadInput(f"--since {since}: neither a time (2026-01-31T12:00) nor an age (7d)")
        age = max(0, -(-(now_ns - instant) // _NS_PER_SECOND))
        parts.append(f"created >= {age}s")
    rows = context.store.runs(
        " and ".join(parts), sort=sort, limit=limit, now_ns=now_ns, conditions=conditions
    )
    return read_rows(context.store, rows)

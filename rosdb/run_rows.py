"""Rows of runs: which of the index answer a question, and in which order.

Owns the two ways to a list of runs. One looks at all that a filter lets through and sorts them; the
other walks the order that the index of facts has already, and stops at the page.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from rosdb.facts import PARAMETERS
from rosdb.objects import Kind, Link
from rosdb.query import FactOrder, Sql

Ask = Callable[[str, Sequence[Any]], list[Any]]
"""Runs SQL with values bound to it, and returns the rows."""

_RUN: Final = (
    "r.run, r.experiment, r.name, r.status, r.kind, r.recipe, r.outcome,"
    " EXISTS (SELECT 1 FROM marks WHERE run = r.run)"
)

_FEW: Final = 1000
"""So many runs are looked at one by one, whatever else is asked of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """What the index knows of a run: enough to find its records, not to quote from them."""

    run_id: Link
    experiment: str
    name: str | None
    status: str
    kind: str
    recipe: Link
    outcome: Link | None
    is_marked: bool = False
    """Something was said of it after it ended: a tag, a note, a sweep, a promotion."""


def listed(ask: Ask, where: Sql, sort: Sql | None, limit: int | None) -> Iterator[RunRow]:
    """List runs, newest first or as sorted."""
    order = "r.seq DESC" if sort is None else f"{sort.text}, r.seq DESC"
    sql = f"SELECT {_RUN} FROM runs r WHERE {where.text} ORDER BY {order} LIMIT ?"
    values = (*where.values, *(sort.values if sort else ()), -1 if limit is None else limit)
    return map(_run_row, ask(sql, values))


def few(ask: Ask, narrower: Sequence[Sql]) -> Sql | None:
    """Return what keeps a question to few runs, if one of its parts does."""
    for part in narrower:
        counted = f"SELECT count(*) FROM ({part.text} LIMIT {_FEW + 1})"
        if ask(counted, part.values)[0][0] <= _FEW:
            return Sql(f"r.seq IN ({part.text})", part.values)
    return None


def first_page(
    ask: Ask, where: Sql, order: FactOrder, sort: Sql, limit: int
) -> Iterator[RunRow] | None:
    """List the first runs by a metric or a parameter; None where no walk finds them.

    The walk ends with the page. Only if it comes to the end of the numbers are those runs looked at
    that have none: they come last.
    """
    found = dict(ask("SELECT space, id FROM keys WHERE name = ?", (order.key,)))
    key = found.get(order.space)
    probe = "SELECT EXISTS (SELECT 1 FROM facts WHERE key = ?{})"
    if order.is_bare and PARAMETERS in found and ask(probe.format(""), (found[PARAMETERS],))[0][0]:
        return None
    # Text goes below numbers: it comes first where the order ascends.
    if not order.descending and ask(probe.format(" AND num IS NULL"), (key,))[0][0]:
        return None
    way = "DESC" if order.descending else "ASC"
    sql = (
        f"SELECT {_RUN} FROM facts f CROSS JOIN runs r ON r.seq = f.run"
        f" WHERE f.key = ? AND f.num IS NOT NULL AND ({where.text})"
        f" ORDER BY f.num {way}, f.run DESC LIMIT ?"
    )
    rows = ask(sql, (key, *where.values, limit))
    if len(rows) < limit:
        has_none = "(SELECT num FROM facts WHERE run = r.seq AND key = ?) IS NULL"
        rest = Sql(f"({where.text}) AND {has_none}", (*where.values, key))
        return chain(map(_run_row, rows), listed(ask, rest, sort, limit - len(rows)))
    return map(_run_row, rows)


def _run_row(row: Sequence[Any]) -> RunRow:
    run, experiment, name, status, kind, recipe, outcome, is_marked = row
    return RunRow(
        run_id=Link(run, Kind.RECORD),
        experiment=experiment,
        name=name,
        status=status,
        kind=kind,
        recipe=Link(recipe, Kind.RECORD),
        outcome=None if outcome is None else Link(outcome, Kind.RECORD),
        is_marked=bool(is_marked),
    )

"""Runs as the index takes them in: read from their four records, without a row being touched.

Owns what of the records is a column and what is a fact.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rosdb.errors import StoreError
from rosdb.facts import flatten
from rosdb.objects import Link, Record

# What a record may raise that calls itself a run, a status or an outcome and is not one.
UNREADABLE: Final = (
    StoreError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)

# With fewer there is nothing to win; in portions, so that the rows of one are put while others
# are read.
_MANY: Final = 2000
_PORTION: Final = 250

Load = Callable[[Link], Record]


class Facts(NamedTuple):
    """Metrics or parameters: the names apart, for thousands of runs have the same.

    Tuples, these three: they travel between processes five times as fast.
    """

    names: tuple[str, ...]
    values: list[Any]


class Asked(NamedTuple):
    """What a run was from its beginning: its columns, in the order of the table, and parameters."""

    columns: tuple[Any, ...]
    parameters: Facts


class State(NamedTuple):
    """Where the ref of a run leads."""

    asked: Asked | None
    """None where it was not asked for, or cannot be read."""

    ending: tuple[Any, ...] | None
    """Status, seconds and outcome; None as long as the ref leads to the run itself."""

    metrics: Facts | None
    is_damaged: bool = False


def read_state(load: Load, link: Link, *, has_row: bool) -> State | None:
    """Read where a run stands, and what it was if the index has no row of it; None: no state.

    Raises: one of UNREADABLE.
    """
    record = load(link)
    if record.schema == "run/v1":
        return State(_read_asked(load, record), None, None)
    if record.schema != "status/v1":
        return None
    outcome = record.links.get("outcome")
    ending = (
        record.fields["status"],
        record.fields["seconds"],
        None if outcome is None else outcome.digest,
    )
    asked = None
    if not has_row:
        # Its question may be unreadable; how it ended is not.
        with contextlib.suppress(*UNREADABLE):
            asked = _read_asked(load, load(record.links["run"]))
    try:
        metrics = None if outcome is None else _facts(load(outcome).fields["metrics"])
    except UNREADABLE:
        return State(asked, ending, None, is_damaged=True)
    return State(asked, ending, metrics)


def read_many(
    load: Load, runs: Sequence[tuple[bytes, Link]]
) -> Iterator[list[tuple[bytes, State | None]]]:
    """Read the states of many runs on all cores, in their order; of few runs, none.

    A run that cannot be read is left out: whoever asks for it by itself will see why.
    """
    if len(runs) < _MANY:
        return
    from rosdb.spread import spread

    def work(start: int) -> tuple[int, list[tuple[bytes, State | None]]]:
        found = []
        shapes: dict[tuple[str, ...], tuple[str, ...]] = {}
        for run, link in runs[start : start + _PORTION]:
            with contextlib.suppress(*UNREADABLE):
                state = read_state(load, link, has_row=False)
                found.append((run, state and _alike(state, shapes)))
        return start, found

    early: dict[int, list[tuple[bytes, State | None]]] = {}
    wanted = 0
    for start, found in spread(work, range(0, len(runs), _PORTION)):
        early[start] = found
        while wanted in early:
            yield early.pop(wanted)
            wanted += _PORTION


def _alike(state: State, shapes: dict[tuple[str, ...], tuple[str, ...]]) -> State:
    """Let equal names be one object, which travels once."""

    def shared(facts: Facts) -> Facts:
        return Facts(shapes.setdefault(facts.names, facts.names), facts.values)

    asked, metrics = state.asked, state.metrics
    if asked is not None:
        asked = Asked(asked.columns, shared(asked.parameters))
    return State(asked, state.ending, metrics and shared(metrics), state.is_damaged)


def _read_asked(load: Load, record: Record) -> Asked:
    recipe = load(record.links["recipe"])
    dataset = record.fields["dataset"] or {}
    replay_of = record.links.get("replay_of")
    parameters = dict(flatten(recipe.fields["parameters"]))
    parameters.setdefault("seed", recipe.fields["seed"])
    columns = (
        recipe.fields["experiment"],
        record.fields["kind"],
        record.fields["created_at_ns"],
        record.links["recipe"].digest,
        dataset.get("name"),
        dataset.get("version"),
        None if replay_of is None else replay_of.digest,
    )
    return Asked(columns, _facts(parameters))


def _facts(found: Mapping[str, Any]) -> Facts:
    return Facts(tuple(found), list(found.values()))

"""Columns: what a list of runs can show of each.

Owns the names of ``ros log --columns`` and how each is read. A new one is a line of ``COLUMNS``;
metrics and parameters have no line, for each store has its own: ``metrics.K``, ``params.K``, or K
alone, which is a metric, else a parameter.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from research.errors import UnknownColumn
from research.experiments.log import LoggedRun
from research.experiments.runs import RunManifest
from rosdb import Store, flatten

Kind = Literal["id", "instant", "text", "number", "list", "facts"]
"""How a value is shown to people: an id by its first digits, an instant to the second, a list with
commas, facts as ``K=V``; a document has them whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its name, its kind, and how it is read from a run."""

    name: str
    kind: Kind
    read: Callable[[LoggedRun], Any]


def _of_row(name: str, kind: Kind, read: Callable[[LoggedRun], Any]) -> Column:
    return Column(name=name, kind=kind, read=read)


def _of_manifest(name: str, kind: Kind, read: Callable[[RunManifest], Any]) -> Column:
    """Make a column that a run whose records are damaged does not have."""

    def read_sound(run: LoggedRun) -> Any:
        return None if run.manifest is None else read(run.manifest)

    return Column(name=name, kind=kind, read=read_sound)


def _named(columns: Sequence[Column]) -> Mapping[str, Column]:
    return {column.name: column for column in columns}


COLUMNS: Final[Mapping[str, Column]] = _named(
    (
        _of_row("run", "id", lambda run: str(run.row.run_id)),
        _of_row("name", "text", lambda run: run.row.name),
        _of_row("experiment", "text", lambda run: run.row.experiment),
        _of_row("status", "text", lambda run: run.status),
        _of_row("kind", "text", lambda run: run.row.kind),
        _of_manifest("created", "instant", lambda run: run.created_at_ns),
        _of_manifest("seconds", "number", lambda run: run.seconds),
        _of_manifest("seed", "number", lambda run: run.seed),
        _of_manifest("dataset", "text", lambda run: run.dataset),
        _of_manifest(
            "version", "text", lambda run: (run.run.fields["dataset"] or {}).get("version")
        ),
        _of_row("tags", "list", lambda run: list(run.marks.tags)),
        _of_row("note", "text", lambda run: run.marks.note),
        _of_row("sweeps", "list", lambda run: list(run.marks.sweeps)),
        _of_row("promoted", "list", lambda run: list(run.marks.promoted)),
        _of_row("fingerprint", "id", lambda run: str(run.row.recipe)),
        _of_manifest("outcome", "id", lambda run: _text_of(run.outcome_id)),
        _of_manifest("replay_of", "id", lambda run: _text_of(run.replay_of)),
        _of_manifest("code", "id", lambda run: _text_of(run.recipe.links.get("code"))),
        _of_manifest("git", "id", lambda run: (run.run.fields["git"] or {}).get("commit")),
        _of_manifest("user", "text", lambda run: run.run.fields["user"]),
        _of_manifest("host", "text", lambda run: run.run.fields["host"]),
        _of_manifest("agent", "text", lambda run: run.run.fields["agent"]),
        _of_manifest("error", "text", lambda run: run.error and run.error["message"]),
        _of_manifest("params", "facts", lambda run: dict(flatten(run.parameters))),
        _of_manifest("metrics", "facts", lambda run: run.metrics),
    )
)
DEFLATED: Final = "dsr"
"""The deflated Sharpe ratio: it asks the ledger, so it is a column of a store."""

WRITTEN: Final = (
    *("run", "name", "experiment", "status", "created", "seconds", "dataset", "seed"),
    *("fingerprint", "tags", "note", "params", "metrics"),
)
"""What a file of runs has if nobody says which columns."""


def choose(store: Store, text: str) -> list[Column]:
    """Return the columns that a list names: ``run,created,metrics.sharpe``; each once.

    Raises: UnknownColumn with the nearest names.
    """
    known = store.fact_names()
    names = dict.fromkeys(name.strip() for name in text.split(","))
    return [_deflated(store) if name == DEFLATED else _chosen(name, known) for name in names]


def spread_facts(columns: Sequence[Column], runs: Sequence[LoggedRun]) -> list[Column]:
    """Put a column for each metric and parameter that the runs have in the place of all of them."""
    spread: list[Column] = []
    for column in columns:
        if column.kind != "facts":
            spread.append(column)
            continue
        found = dict.fromkeys(name for run in runs for name in column.read(run) or {})
        spread += [_fact(f"{column.name}.{name}", [column.name], name) for name in found]
    return list(_named(spread).values())


def _chosen(name: str, known: Sequence[str]) -> Column:
    if name in COLUMNS:
        return COLUMNS[name]
    for source in ("metrics", "params"):
        if f"{source}.{name}" in known:
            return _fact(name, ["metrics", "params"], name)
        if name.startswith(f"{source}.") and (name in known or not known):
            return _fact(name, [source], name.removeprefix(f"{source}."))
    bare = [each.partition(".")[2] for each in known]
    near = difflib.get_close_matches(name, [*COLUMNS, DEFLATED, *known, *bare], n=3)
    raise UnknownColumn(name, list(dict.fromkeys(near)))


def _fact(name: str, sources: Sequence[str], key: str) -> Column:
    def read(run: LoggedRun) -> Any:
        for source in sources:
            value = (COLUMNS[source].read(run) or {}).get(key)
            if value is not None:
                return value
        return None

    return Column(name=name, kind="number", read=read)


def _deflated(store: Store) -> Column:
    # It imports numpy, which no other column has a use for.
    from research.experiments.luck import deflated_column

    return _of_manifest(DEFLATED, "number", deflated_column(store))


def _text_of(object_id: object) -> str | None:
    return None if object_id is None else str(object_id)

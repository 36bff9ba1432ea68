"""Rows of trials: what was tried of an experiment on a dataset, runs that are gone included.

Owns how the records ``trials/v1`` become rows, and the question after the rows of one family. A
trial is a run that has ended. It stands in two places: among the runs as long as its run is there,
and in the ledger, whose records are written as runs end and are never removed. The answer joins the
two, so that runs from before there was a ledger, and runs that came from another store, are there.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import compress
from typing import Any, Final

from rosdb.objects import Record

SCHEMA: Final = "trials/v1"
TABLE: Final = """
CREATE TABLE trials (
    experiment TEXT, dataset TEXT, run BLOB, recipe BLOB, outcome BLOB, version TEXT,
    sharpe REAL, PRIMARY KEY (experiment, dataset, run)) WITHOUT ROWID;
"""
RUNS_INDEX: Final = """
CREATE INDEX runs_unentered ON runs (experiment, seq) WHERE entered IS NULL AND kind = 'run';
"""

Ask = Callable[[str, Sequence[Any]], list[Any]]

_INSERT: Final = "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?)"
_ENTERED: Final = "UPDATE runs SET entered = 1 WHERE run = ?"
_LEDGER: Final = (
    "SELECT run, recipe, outcome, version, sharpe, 0 FROM trials"
    " WHERE experiment = ? AND dataset = ?"
)
_RUNS: Final = (
    "SELECT r.run, r.recipe, r.outcome, IFNULL(r.version, ''), f.num,"
    " r.status IN ('pending', 'running')"
    " FROM runs r LEFT JOIN facts f ON f.run = r.seq"
    " AND f.key = (SELECT id FROM keys WHERE space = 'm' AND name = 'sharpe')"
    " WHERE r.experiment = ? AND IFNULL(r.dataset, '') = ? AND r.entered IS NULL"
    " AND r.kind = 'run'"
)
_DATASETS: Final = (
    "SELECT DISTINCT dataset FROM trials WHERE experiment = ? UNION SELECT IFNULL(dataset, '')"
    " FROM runs WHERE experiment = ? AND entered IS NULL AND kind = 'run' ORDER BY 1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialColumns:
    """Runs by column, for there may be a million: which question each asked, what it came to.

    ``sharpe`` is the metric of that name, None if there is none. ``has_no_end`` says that a run is
    under way, or was when its process died; its outcome is None.

    Shapes: each (runs,). Ids are bare digests.
    """

    run: Sequence[bytes] = ()
    recipe: Sequence[bytes] = ()
    outcome: Sequence[bytes | None] = ()
    version: Sequence[str] = ()
    sharpe: Sequence[float | None] = ()
    has_no_end: Sequence[int] = ()

    def only(self, is_wanted: Sequence[bool]) -> "TrialColumns":
        """Return some of the runs.

        Shapes: is_wanted (runs,).
        """
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        return TrialColumns(**{n: tuple(compress(c, is_wanted)) for n, c in columns.items()})


def insert(db: sqlite3.Connection, record: Record | None) -> None:
    """Add the rows of a record of the ledger.

    Raises: LookupError, TypeError, ValueError or what SQLite does, if it is not one.
    """
    if record is None:
        return
    told = record.fields
    experiment, dataset = told["experiment"], told["dataset"] or {"name": "", "version": ""}
    rows = [
        (
            experiment,
            dataset["name"],
            _digest(line["run"]),
            _digest(line["recipe"]),
            None if line["outcome"] is None else _digest(line["outcome"]),
            dataset["version"],
            line["sharpe"],
        )
        for line in told["lines"]
    ]
    db.executemany(_INSERT, rows)
    db.executemany(_ENTERED, [(row[2],) for row in rows])


def by_dataset(ask: Ask, experiment: str, dataset: str | None) -> dict[str, TrialColumns]:
    """Return the trials of an experiment by dataset, of one or of all; one of no name is none.

    A run that is in the ledger and came back from another store may stand there twice.
    """
    names = [dataset]
    if dataset is None:
        names = [row[0] for row in ask(_DATASETS, (experiment, experiment))]
    found = {}
    for name in names:
        family = (experiment, name)
        rows = [*ask(_LEDGER, family), *ask(_RUNS, family)]
        if rows:
            run, recipe, outcome, version, sharpe, has_no_end = zip(*rows, strict=True)
            found[str(name)] = TrialColumns(
                run=run,
                recipe=recipe,
                outcome=outcome,
                version=version,
                sharpe=sharpe,
                has_no_end=has_no_end,
            )
    return found


def _digest(digits: str) -> bytes:
    """Read an id's hex digits. Raises: ValueError."""
    digest = bytes.fromhex(digits)
    if len(digest) != 32:
        raise ValueError(f"{digits!r} is no id")
    return digest

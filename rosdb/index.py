"""The index: refs, runs, metrics and parameters in SQLite, for questions.

Owns ``index.db``, a cache (Law 4): whatever stands in it was read from the journal and the
objects, and it can be deleted at any time. It holds how far it has read the journal, so that a
reader reads the tail only. It knows by name the three records that a question is about (run,
recipe, outcome) and the status between them, and nothing of markets.
"""

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rosdb import disk, refs
from rosdb.errors import StoreError, StoreLocked
from rosdb.journal import NO_ENTRY, START, Journal, Move, Position
from rosdb.objects import Kind, Link, ObjectId, Record
from rosdb.query import Sql, fact_rows, flatten

SCHEMA_VERSION: Final = 1
BUSY_SECONDS: Final = 60.0
_MEMORY: Final = "file::memory:"

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE refs (name TEXT PRIMARY KEY, digest BLOB, kind INTEGER, moved INTEGER) WITHOUT ROWID;
CREATE INDEX refs_digest ON refs (digest);
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY, run BLOB UNIQUE, experiment TEXT, name TEXT, status TEXT,
    kind TEXT, created_at_ns INTEGER, recipe BLOB, outcome BLOB, dataset TEXT, version TEXT,
    replay_of BLOB, seconds REAL, noted TEXT);
CREATE INDEX runs_recipe ON runs (recipe, status);
CREATE INDEX runs_experiment ON runs (experiment, seq);
CREATE INDEX runs_status ON runs (status, seq);
CREATE INDEX runs_name ON runs (name);
CREATE TABLE facts (
    run INTEGER, space TEXT, key TEXT, num REAL, txt TEXT,
    PRIMARY KEY (run, space, key)) WITHOUT ROWID;
CREATE INDEX facts_num ON facts (space, key, num);
"""

_INSERT_FACT: Final = "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)"
_RUN: Final = "r.run, r.experiment, r.name, r.status, r.kind, r.recipe, r.outcome"
_HEX: Final = re.compile(r"[0-9a-f]{64}")

# What a record may raise that calls itself a run, a status or an outcome and is not one.
_UNREADABLE: Final = (StoreError, LookupError, TypeError, ValueError, AttributeError)
_UNBINDABLE: Final = (OverflowError, sqlite3.InterfaceError, sqlite3.ProgrammingError)


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


class Index:
    """The index of one store, caught up with the journal before each question."""

    def __init__(self, path: Path | None, journal: Journal, load: Callable[[Link], Record]) -> None:
        """Open the index at a path; without one it is held in memory."""
        self._path = path
        self._journal = journal
        self._load = load
        self._inode = 0
        self._db = self._open()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def catch_up(self) -> Position:
        """Read what the journal has that the index has not; return where the journal ends.

        Raises: JournalDamaged.
        """
        try:
            return self._catch_up()
        except sqlite3.DatabaseError as error:
            self._recover(error)
        try:
            return self._catch_up()
        except sqlite3.DatabaseError:
            # The disk is full, or refuses: the question can be answered all the same.
            self._db.close()
            self._db = _created(_MEMORY)
            return self._catch_up()

    def ref(self, name: str) -> Link | None:
        """Return what a ref leads to."""
        rows = self._rows("SELECT digest, kind FROM refs WHERE name = ?", (name,))
        return Link(rows[0][0], Kind(rows[0][1])) if rows else None

    def refs(self, prefix: str) -> Iterator[tuple[str, Link]]:
        """List the refs that start with a prefix, by name."""
        rows = self._rows(
            "SELECT name, digest, kind FROM refs WHERE name >= ? AND name < ? ORDER BY name",
            (prefix, prefix + "\U0010ffff"),
        )
        for name, digest, kind in rows:
            yield name, Link(digest, Kind(kind))

    def newest_ref(self, prefix: str) -> tuple[str, Link] | None:
        """Return the ref under a prefix that was moved last."""
        rows = self._rows(
            "SELECT name, digest, kind FROM refs WHERE name >= ? AND name < ?"
            " ORDER BY moved DESC LIMIT 1",
            (prefix, prefix + "\U0010ffff"),
        )
        return (rows[0][0], Link(rows[0][1], Kind(rows[0][2]))) if rows else None

    def runs(self, where: Sql, sort: Sql | None, limit: int | None) -> Iterator[RunRow]:
        """List runs, newest first or as sorted."""
        order = "r.seq DESC" if sort is None else f"{sort.text}, r.seq DESC"
        values: Sequence[Any] = where.values + (() if sort is None else sort.values)
        sql = f"SELECT {_RUN} FROM runs r WHERE {where.text} ORDER BY {order} LIMIT ?"
        for row in self._rows(sql, (*values, -1 if limit is None else limit)):
            yield _run_row(row)

    def newest(self, experiment: str | None, back: int) -> ObjectId | None:
        """Return the run ``back`` before the newest one; replays are not counted, as in the log."""
        rows = self._rows(
            "SELECT run FROM runs WHERE kind <> 'replay' AND experiment = IFNULL(?, experiment)"
            " ORDER BY seq DESC LIMIT 1 OFFSET ?",
            (experiment, back),
        )
        return Link(rows[0][0], Kind.RECORD) if rows else None

    def runs_with_prefix(self, prefix: str, limit: int) -> list[Link]:
        """Return the runs whose id starts with these hex digits, at most ``limit``."""
        low = bytes.fromhex(prefix.ljust(64, "0"))
        high = bytes.fromhex(prefix.ljust(64, "f"))
        rows = self._rows(
            "SELECT run FROM runs WHERE run BETWEEN ? AND ? ORDER BY run LIMIT ?",
            (low, high, limit),
        )
        return [Link(row[0], Kind.RECORD) for row in rows]

    def mark(self, run_id: ObjectId, status: str) -> None:
        """Note what a run turned out to be, in the cache only (its process died)."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute(
                "UPDATE runs SET noted = IFNULL(noted, status), status = ? WHERE run = ?",
                (status, run_id.digest),
            )

    def dump(self) -> tuple[list[Any], ...]:
        """Return everything derived, so that a check can compare two indexes."""
        # A note is not derived: in its place stands the status that it hides.
        runs = (
            "seq, run, experiment, name, IFNULL(noted, status), kind, created_at_ns, recipe,"
            " outcome, dataset, version, replay_of, seconds"
        )
        return tuple(
            self._rows(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3")
            for columns, table in (("*", "refs"), (runs, "runs"), ("*", "facts"))
        )

    def _open(self) -> sqlite3.Connection:
        if self._path is None:
            return _created(_MEMORY)
        db = _current(self._path)
        self._inode = _inode(self._path)
        return self._made_anew() if db is None else db

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            self._recover(error)
            self.catch_up()
            return self._db.execute(sql, values).fetchall()

    def _recover(self, error: sqlite3.DatabaseError) -> None:
        """Put an empty index in the place of a damaged or unwritable one; wait no second time."""
        if "locked" in str(error):
            raise StoreLocked(str(self._path), BUSY_SECONDS) from error
        self._db.close()
        self._db = self._made_anew()

    def _made_anew(self) -> sqlite3.Connection:
        """Make an empty index; in memory where the disk refuses one."""
        if self._path is None:
            return _created(_MEMORY)
        try:
            with disk.exclusive_lock(self._path.with_name("index.lock")):
                if _inode(self._path) != self._inode:
                    db = _current(self._path)
                    if db is not None:
                        self._inode = _inode(self._path)
                        return db  # another process was here first
                # It appears as a whole: nobody opens one that is being made.
                new = self._path.with_name("index.new")
                _unlink(new)
                _created(new.as_uri()).close()
                _unlink(self._path)
                new.replace(self._path)
                self._inode = _inode(self._path)
                return _connect(self._path.as_uri())
        except (OSError, StoreError, sqlite3.OperationalError):
            return _created(_MEMORY)

    def _catch_up(self) -> Position:
        position = self._position()
        if self._journal.bytes_behind(position) == 0:
            return position
        self._db.execute("BEGIN IMMEDIATE")
        try:
            position = self._position()
            for entry in self._journal.entries(position):
                # An entry has more bytes than moves, so offsets and counts make one order.
                for moved, move in enumerate(entry.moves, start=position.offset):
                    self._apply(move, moved)
                position = entry.end
            self._db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [("offset", position.offset), ("head", position.head)],
            )
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        return position

    def _position(self) -> Position:
        rows = dict(self._db.execute("SELECT key, value FROM meta").fetchall())
        offset, head = rows.get("offset", START), rows.get("head", NO_ENTRY)
        if type(offset) is not int or offset < START or type(head) is not bytes:
            raise sqlite3.DatabaseError("no position stands where one belongs")
        return Position(offset=offset, head=head)

    def _apply(self, move: Move, moved: int) -> None:
        if move.new is None:
            self._db.execute("DELETE FROM refs WHERE name = ?", (move.ref,))
        else:
            self._db.execute(
                "INSERT OR REPLACE INTO refs VALUES (?, ?, ?, ?)",
                (move.ref, move.new.digest, int(move.new.kind), moved),
            )
        if move.ref.startswith(refs.NAMES):
            for target in (move.old, move.new):
                if target is not None:
                    self._name_run(target.digest)
        elif move.ref.startswith(refs.RUNS) and _HEX.fullmatch(move.ref, len(refs.RUNS)):
            run = bytes.fromhex(move.ref.removeprefix(refs.RUNS))
            if move.new is None:
                self._delete_run(run)
            else:
                self._apply_run(run, move.new)

    def _name_run(self, run: bytes) -> None:
        """Set a run's name: the last one given to it that still leads to it."""
        self._db.execute(
            "UPDATE runs SET name = (SELECT substr(name, ?) FROM refs WHERE digest = runs.run"
            " AND name BETWEEN ? AND ? ORDER BY moved DESC LIMIT 1) WHERE run = ?",
            (len(refs.NAMES) + 1, refs.NAMES, refs.NAMES + "\U0010ffff", run),
        )

    def _delete_run(self, run: bytes) -> None:
        self._db.execute(
            "DELETE FROM facts WHERE run = (SELECT seq FROM runs WHERE run = ?)", (run,)
        )
        self._db.execute("DELETE FROM runs WHERE run = ?", (run,))

    def _apply_run(self, run: bytes, link: Link) -> None:
        try:
            record = self._load(link)
            if record.schema == "run/v1":
                self._insert_run(run, record)
            elif record.schema == "status/v1":
                self._update_run(run, record)
        except (*_UNREADABLE, *_UNBINDABLE):
            # One damaged object must not hide the rest of history; the check names it.
            self._db.execute(
                "INSERT OR IGNORE INTO runs (run, recipe) VALUES (?, ?)", (run, bytes(32))
            )
            self._db.execute(
                "UPDATE runs SET status = 'damaged', experiment = IFNULL(experiment, '?'),"
                " kind = IFNULL(kind, 'run') WHERE run = ?",
                (run,),
            )

    def _insert_run(self, run: bytes, record: Record) -> int | None:
        recipe = self._load(record.links["recipe"])
        dataset = record.fields["dataset"] or {}
        replay_of = record.links.get("replay_of")
        self._delete_run(run)  # it may have been here before, and moved away
        cursor = self._db.execute(
            "INSERT INTO runs (run, experiment, status, kind, created_at_ns, recipe, dataset,"
            " version, replay_of) VALUES (?, ?, 'pending', ?, ?, ?, ?, ?, ?)",
            (
                run,
                recipe.fields["experiment"],
                record.fields["kind"],
                record.fields["created_at_ns"],
                record.links["recipe"].digest,
                dataset.get("name"),
                dataset.get("version"),
                None if replay_of is None else replay_of.digest,
            ),
        )
        self._name_run(run)
        parameters = dict(flatten(recipe.fields["parameters"]))
        parameters.setdefault("seed", recipe.fields["seed"])
        self._db.executemany(_INSERT_FACT, fact_rows(cursor.lastrowid, "p", parameters))
        return cursor.lastrowid

    def _update_run(self, run: bytes, record: Record) -> None:
        row = self._db.execute("SELECT seq FROM runs WHERE run = ?", (run,)).fetchone()
        seq = row[0] if row else self._insert_run(run, self._load(record.links["run"]))
        outcome = record.links.get("outcome")
        self._db.execute(
            "UPDATE runs SET status = ?, noted = NULL, seconds = ?, outcome = ? WHERE run = ?",
            (
                record.fields["status"],
                record.fields["seconds"],
                None if outcome is None else outcome.digest,
                run,
            ),
        )
        self._db.execute("DELETE FROM facts WHERE run = ? AND space = 'm'", (seq,))
        if outcome is not None:
            metrics = self._load(outcome).fields["metrics"]
            self._db.executemany(_INSERT_FACT, fact_rows(seq, "m", metrics))


def _connect(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
    )
    try:
        # A cache may lose its last commits, never its consistency: WAL with NORMAL is just that.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def _current(path: Path) -> sqlite3.Connection | None:
    """Open an index of this version; None if there is none, or it is garbage."""
    try:
        # Not to be made here: an empty file would take up the log of an index that was deleted.
        db = _connect(f"{path.as_uri()}?mode=rw")
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            raise StoreLocked(str(path), BUSY_SECONDS) from error
        return None
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
            db.execute("SELECT count(*) FROM meta").fetchone()
            return db
    except sqlite3.DatabaseError:
        pass
    db.close()
    return None


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _unlink(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _created(uri: str) -> sqlite3.Connection:
    db = _connect(uri)
    db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    return db


def _run_row(row: Sequence[Any]) -> RunRow:
    run, experiment, name, status, kind, recipe, outcome = row
    return RunRow(
        run_id=Link(run, Kind.RECORD),
        experiment=experiment,
        name=name,
        status=status,
        kind=kind,
        recipe=Link(recipe, Kind.RECORD),
        outcome=None if outcome is None else Link(outcome, Kind.RECORD),
    )

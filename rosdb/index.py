"""The index: refs, runs, metrics and parameters in SQLite, for questions.

Owns ``index.db``, a cache (Law 4): whatever stands in it was read from the journal and the
objects, and it can be deleted at any time. It holds how far it has read the journal, so that a
reader reads the tail only. What a move makes of its tables, ``index_rows`` knows.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from rosdb import disk, index_file, run_rows, trial_rows
from rosdb.errors import JournalDamaged, StoreError, StoreLocked
from rosdb.facts import PREFIXES
from rosdb.index_rows import Applied, Rows, is_run_ref
from rosdb.journal import NO_ENTRY, START, Journal, Position
from rosdb.objects import Kind, Link, ObjectId, Record
from rosdb.query import Question, compile_sort, fact_order, joined_and
from rosdb.run_rows import RunRow
from rosdb.trial_rows import TrialColumns

_WAITING_MAX: Final = 10_000
_MANY_BYTES: Final = 100_000
"""A journal that is longer is of some thousand runs."""


class Index:
    """The index of one store, caught up with the journal before each question."""

    def __init__(self, path: Path | None, journal: Journal, load: Callable[[Link], Record]) -> None:
        """Open the index at a path; without one it is held in memory."""
        self._path = path
        self._journal = journal
        self._load = load
        self._inode = 0
        self._alone = threading.RLock()
        self._db = self._open()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __del__(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()  # a store need not be closed

    def catch_up(self) -> Position:
        """Read what the journal has that the index has not; return where the journal ends.

        Raises: JournalDamaged.
        """
        with self._alone:
            try:
                return self._catch_up()
            except sqlite3.DatabaseError as error:
                self._recover(error)
            try:
                return self._catch_up()
            except sqlite3.DatabaseError:
                # The disk is full, or refuses: the question can be answered all the same.
                self._db.close()
                self._db = index_file.create(index_file.MEMORY)
                return self._catch_up()

    def ref(self, name: str) -> Link | None:
        """Return what a ref leads to."""
        rows = self._refs("name = ?", (name,))
        return rows[0][1] if rows else None

    def refs(self, prefix: str) -> Iterator[tuple[str, Link]]:
        """List the refs that start with a prefix, by name."""
        yield from self._refs("name >= ? AND name < ? ORDER BY name", _between(prefix))

    def newest_ref(self, prefix: str) -> tuple[str, Link] | None:
        """Return the ref under a prefix that was moved last."""
        where = "name >= ? AND name < ? ORDER BY moved DESC LIMIT 1"
        rows = self._refs(where, _between(prefix))
        return rows[0] if rows else None

    def _refs(self, where: str, values: Sequence[Any]) -> list[tuple[str, Link]]:
        """Read refs, each from its entry in the journal; a lie costs the index its life."""
        sql = f"SELECT name, digest, kind, entry FROM refs WHERE {where}"
        for is_fresh in (False, True):
            rows = self._rows(sql, values)
            told = self._journal.targets([(entry, name) for name, _, _, entry in rows])
            if is_fresh or [link and (link.digest, link.kind) for link in told] == [
                (digest, kind) for _, digest, kind, _ in rows
            ]:
                break
            self.rebuild()
        return [(row[0], link) for row, link in zip(rows, told, strict=True) if link is not None]

    def runs(self, asked: Question, sort: str | None, limit: int | None) -> Iterator[RunRow]:
        """List runs, newest first or as sorted.

        Raises: BadExpression.
        """
        where, few = asked.where, run_rows.few(self._rows, asked.narrower)
        order = None if sort is None else compile_sort(sort)
        by_fact = None if sort is None else fact_order(sort)
        if few is not None:
            return run_rows.listed(self._rows, joined_and([few, where]), order, limit)
        page = None
        if by_fact is not None and order is not None and limit is not None:
            page = run_rows.first_page(self._rows, where, by_fact, order, limit)
        return run_rows.listed(self._rows, where, order, limit) if page is None else page

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

    def marks(self, run_id: ObjectId) -> list[tuple[str, str]]:
        """List what was said of a run after it ended: ``(tag, LABEL)``, ``(sweep, ID)``."""
        asked = "SELECT space, value FROM marks WHERE run = ? ORDER BY space, value"
        return self._rows(asked, (run_id.digest,))

    def fact_names(self) -> list[str]:
        """List what any run has had, as filters name it."""
        rows = self._rows("SELECT space, name FROM keys ORDER BY space, name")
        prefixes = {space: prefix for prefix, space in PREFIXES.items()}
        return [prefixes[space] + name for space, name in rows if space in prefixes]

    def trials(self, experiment: str, dataset: str | None) -> dict[str, TrialColumns]:
        """Return the trials of an experiment by dataset, those of the ledger and of the runs."""
        return trial_rows.by_dataset(self._rows, experiment, dataset)

    def mark(self, run_id: ObjectId, status: str) -> None:
        """Note what a run turned out to be, in the cache only (its process died)."""
        with self._alone, contextlib.suppress(sqlite3.OperationalError):
            self._db.execute(
                "UPDATE runs SET noted = IFNULL(noted, status), status = ?"
                " WHERE run = ? AND status IN ('pending', 'running')",
                (status, run_id.digest),
            )

    def dump(self) -> tuple[list[Any], ...]:
        """Return everything derived, so that a check can compare two indexes."""
        # A note is not derived: in its place stands the status that it hides.
        runs = (
            "seq, run, experiment, name, IFNULL(noted, status), kind, created_at_ns, recipe,"
            " outcome, dataset, version, replay_of, seconds"
        )
        # The number of a key is of the order in which keys were met.
        facts = "run, space, name, num, txt", "facts LEFT JOIN keys ON id = key"
        return tuple(
            self._rows(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3")
            for columns, table in (
                ("*", "refs"),
                (runs, "runs"),
                facts,
                ("*", "marks"),
                ("*", "trials"),
            )
        )

    def _open(self) -> sqlite3.Connection:
        if self._path is None:
            return index_file.create(index_file.MEMORY)
        db = index_file.current(self._path)
        self._inode = index_file.inode(self._path)
        return self._made_anew() if db is None else db

    def rebuild(self) -> None:
        """Read everything anew, whatever stands there."""
        with self._alone:
            self._db.close()
            self._db = self._made_anew()
            self.catch_up()

    def renew(self) -> bool:
        """Read everything anew; tell whether the journal was longer when it was last read.

        Raises: JournalDamaged.
        """
        try:
            self.catch_up()
            was_longer = False
        except JournalDamaged:
            was_longer = True
        self.rebuild()
        return was_longer

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._alone:
            return self._rows_alone(sql, values)

    def _rows_alone(self, sql: str, values: Sequence[Any]) -> list[Any]:
        try:
            return self._db.execute(sql, values).fetchall()
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
            raise  # what was asked is wrong, not what is stored
        except sqlite3.DatabaseError as error:
            self._recover(error)
            self.catch_up()
            return self._db.execute(sql, values).fetchall()

    def _recover(self, error: sqlite3.DatabaseError) -> None:
        """Put an empty index in the place of a damaged or unwritable one; wait no second time."""
        if "locked" in str(error):
            raise StoreLocked(str(self._path), index_file.BUSY_SECONDS) from error
        self._db.close()
        self._db = self._made_anew()

    def _made_anew(self) -> sqlite3.Connection:
        """Make an empty index; in memory where the disk refuses one."""
        if self._path is None:
            return index_file.create(index_file.MEMORY)
        try:
            with disk.exclusive_lock(self._path.with_name("index.lock")):
                if index_file.inode(self._path) != self._inode:
                    db = index_file.current(self._path)
                    if db is not None:
                        self._inode = index_file.inode(self._path)
                        return db  # another process was here first
                # It appears as a whole: nobody opens one that is being made.
                new = self._path.with_name("index.new")
                index_file.unlink(new)
                index_file.create(new.as_uri()).close()
                index_file.unlink(self._path)
                new.replace(self._path)
                self._inode = index_file.inode(self._path)
                return index_file.connect(self._path.as_uri())
        except (OSError, StoreError, sqlite3.DatabaseError):  # a full disk spoils what is made
            return index_file.create(index_file.MEMORY)

    def _catch_up(self) -> Position:
        position = self._position()
        try:
            if self._journal.bytes_behind(position) == 0:
                return position
        except JournalDamaged:
            if not self._journal.may_lose_its_end:
                raise
            # A power cut took the journal's last second, and left the cache that had read it.
            raise sqlite3.DatabaseError("it has read more than there is") from None
        self._db.execute("BEGIN IMMEDIATE")
        try:
            position = self._position()
            # Many rows are put faster than they are put in order one by one.
            is_bulk = position == Position() and self._journal.bytes_behind(position) > _MANY_BYTES
            if is_bulk:
                self._db.execute("DROP INDEX facts_num")
            rows = Rows(self._db, self._load)
            waiting: dict[str, Applied] = {}
            for entry in self._journal.entries(position):
                # An entry has more bytes than moves, so offsets and counts make one order.
                for moved, move in enumerate(entry.moves, start=position.offset):
                    before = waiting.get(move.ref)
                    # Of a run its last state tells all; it keeps its place, which is its age.
                    is_next = before is not None and None not in (before[0].new, move.new)
                    if len(waiting) >= _WAITING_MAX or (
                        before is not None and not (is_next and is_run_ref(move.ref))
                    ):
                        rows.apply(waiting.values())
                        waiting.clear()
                    waiting[move.ref] = (move, moved, position.offset)
                position = entry.end
            rows.apply(waiting.values())
            if is_bulk:
                self._db.execute(index_file.FACTS_IN_ORDER)
            # Another process may have written these entries a moment ago, unsynced as yet.
            self._journal.sync(position)
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


def _between(prefix: str) -> tuple[str, str]:
    return prefix, prefix + "\U0010ffff"

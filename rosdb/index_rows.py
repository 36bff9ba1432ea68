"""The rows of the index: what a move of a ref makes of them.

Owns the way from the journal's moves and the records they lead to, to the tables of the index. It
knows by name the records that a question is about (run, status, recipe, outcome; note, sweep,
promotion, the ledger of trials). Rows wait for each other and are put many at a time.
"""

import contextlib
import re
import sqlite3
from collections.abc import Iterable
from itertools import chain
from typing import Final

from rosdb import refs, trial_rows
from rosdb.errors import StoreError
from rosdb.facts import METRICS, PARAMETERS, number_and_text
from rosdb.fields import NOTE, PROMOTED, SWEEP, TAG
from rosdb.journal import Move
from rosdb.objects import Link, Record
from rosdb.run_records import UNREADABLE, Asked, Facts, Load, State, read_many, read_state

_FACTS_TOGETHER: Final = 400
_FACTS_WAITING_MAX: Final = 20_000
_RUN_REF: Final = re.compile(rf"{refs.RUNS}([0-9a-f]{{64}})")
_TAG_REF: Final = re.compile(rf"{refs.TAGS}([0-9a-f]{{64}})/([^/]+)")
_NOTE_REF: Final = re.compile(rf"{refs.NOTES}([0-9a-f]{{64}})")
_NAMES_END: Final = refs.NAMES + "\U0010ffff"

Applied = tuple[Move, int, int]
"""A move, its place in the order of all moves, and where its entry starts."""


_run_of = _RUN_REF.fullmatch


def is_run_ref(name: str) -> bool:
    """Tell whether a ref is that of a run."""
    return _run_of(name) is not None


class Rows:
    """The tables, for one transaction of the index."""

    def __init__(self, db: sqlite3.Connection, load: Load) -> None:
        self._db = db
        self._load = load
        self._keys: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        self._facts: list[tuple[int, int, float | None, str | None]] = []
        self._unnamed: set[bytes] = set()

    def apply(self, moves: Iterable[Applied]) -> None:
        """Take in moves, each of another ref: of what stands at the end their order is no part."""
        moves = list(moves)
        self._db.executemany(
            "INSERT OR REPLACE INTO refs VALUES (?, ?, ?, ?, ?)",
            [
                (move.ref, move.new.digest, int(move.new.kind), moved, entry)
                for move, moved, entry in moves
                if move.new is not None
            ],
        )
        self._db.executemany(
            "DELETE FROM refs WHERE name = ?", [(m.ref,) for m, _, _ in moves if m.new is None]
        )
        runs = {bytes.fromhex(m[1]): move.new for move, _, _ in moves if (m := _run_of(move.ref))}
        self._apply_runs(runs)
        for move, _, _ in moves:
            if move.ref.startswith(refs.NAMES):
                self._unnamed.update(t.digest for t in (move.old, move.new) if t is not None)
            elif not move.ref.startswith((refs.RUNS, refs.DATASETS)):
                self._apply_mark(move)
        self._put_facts()
        self._name_runs()

    def _name_runs(self) -> None:
        """Set the names of runs: of each the last one given to it that still leads to it."""
        names = (refs.NAMES, _NAMES_END)
        asked = "SELECT EXISTS (SELECT 1 FROM refs WHERE name BETWEEN ? AND ?)"
        if self._unnamed and self._db.execute(asked, names).fetchone()[0]:
            self._db.executemany(
                "UPDATE runs SET name = (SELECT substr(name, ?) FROM refs WHERE digest = runs.run"
                " AND name BETWEEN ? AND ? ORDER BY moved DESC LIMIT 1) WHERE run = ?",
                [(len(refs.NAMES) + 1, *names, run) for run in self._unnamed],
            )
        elif self._unnamed:
            self._db.executemany(
                "UPDATE runs SET name = NULL WHERE run = ? AND name IS NOT NULL",
                [(run,) for run in self._unnamed],
            )
        self._unnamed.clear()

    def _apply_runs(self, runs: dict[bytes, Link | None]) -> None:
        """Take in where runs stand, in the order in which they were first moved: their age."""
        waiting = iter(runs.items())
        there = [(run, link) for run, link in runs.items() if link is not None]
        for portion in read_many(self._load, there):
            for run, state in portion:
                # Before it those that could not be read, or are gone.
                for other, link in waiting:
                    if other == run:
                        self._apply_state(run, self._seq(run), state)
                        break
                    self._apply_run(other, link)
        for run, link in waiting:
            self._apply_run(run, link)

    def _apply_run(self, run: bytes, link: Link | None) -> None:
        if link is None:
            self._remove_run(run)
            return
        try:
            seq = self._seq(run)
            state = read_state(self._load, link, has_row=seq is not None)
        except UNREADABLE:
            self._note_damage(run)
        else:
            self._apply_state(run, seq, state)

    def _apply_state(self, run: bytes, seq: int | None, state: State | None) -> None:
        try:
            if state is not None:
                self._set_state(run, seq, state)
        except UNREADABLE:
            self._note_damage(run)

    def _set_state(self, run: bytes, seq: int | None, state: State) -> None:
        if state.ending is None and state.asked is not None:
            # It may have been here before, and have been moved away.
            self._remove_run(run)
            self._insert_run(run, state.asked, ("pending", None, None))
            return
        assert state.ending is not None
        is_new = seq is None
        if seq is None:
            try:
                assert state.asked is not None
                seq = self._insert_run(run, state.asked, state.ending)
            except (AssertionError, *UNREADABLE):
                self._note_damage(run)
                seq, is_new = self._seq(run), False
        assert seq is not None
        if not is_new:
            self._put_facts()
            self._db.execute(
                "UPDATE runs SET noted = NULL, status = ?, seconds = ?, outcome = ? WHERE run = ?",
                (*state.ending, run),
            )
            self._db.execute(
                "DELETE FROM facts WHERE run = ? AND key IN (SELECT id FROM keys WHERE space = ?)",
                (seq, METRICS),
            )
        if state.metrics is not None:
            self._add_facts(seq, METRICS, state.metrics)
        if state.is_damaged:
            self._note_damage(run)

    def _remove_run(self, run: bytes) -> None:
        self._put_facts()
        self._db.execute("DELETE FROM runs WHERE run = ?", (run,))

    def _note_damage(self, run: bytes) -> None:
        """Keep a run's row: one damaged object must not hide history; the check names it."""
        self._db.execute(
            "INSERT INTO runs (run, experiment, kind, status, recipe)"
            " VALUES (?, '?', 'run', 'damaged', zeroblob(32)) ON CONFLICT (run) DO UPDATE SET"
            " status = 'damaged', experiment = IFNULL(experiment, '?'),"
            " kind = IFNULL(kind, 'run')",
            (run,),
        )

    def _insert_run(self, run: bytes, asked: Asked, ending: tuple[object, ...]) -> int:
        cursor = self._db.execute(
            "INSERT INTO runs (run, experiment, kind, created_at_ns, recipe, dataset, version,"
            " replay_of, status, seconds, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (run, *asked.columns, *ending),
        )
        assert cursor.lastrowid is not None
        self._add_facts(cursor.lastrowid, PARAMETERS, asked.parameters)
        self._unnamed.add(run)
        return cursor.lastrowid

    def _seq(self, run: bytes) -> int | None:
        row = self._db.execute("SELECT seq FROM runs WHERE run = ?", (run,)).fetchone()
        return None if row is None else int(row[0])

    def _add_facts(self, run: int, space: str, facts: Facts) -> None:
        keys = self._keys.get((space, facts.names))
        if keys is None:
            keys = [self._key(space, name) for name in facts.names]
            self._keys[space, facts.names] = keys
        # Most facts are numbers, and there are fifty of a run.
        rows = [
            (run, key, value, None) if type(value) is float else (run, key, *number_and_text(value))
            for key, value in zip(keys, facts.values, strict=True)
        ]
        self._facts += rows
        if len(self._facts) > _FACTS_WAITING_MAX:
            self._put_facts()

    def _key(self, space: str, name: str) -> int:
        asked = "SELECT id FROM keys WHERE space = ? AND name = ?"
        row = self._db.execute(asked, (space, name)).fetchone()
        if row is None:
            new = "INSERT INTO keys (space, name) VALUES (?, ?) RETURNING id"
            row = self._db.execute(new, (space, name)).fetchone()
        return int(row[0])

    def _put_facts(self) -> None:
        """Put the facts that wait, many by one statement: a call costs more than a row."""
        put = "INSERT INTO facts VALUES (?, ?, ?, ?)"
        facts, size = self._facts, _FACTS_TOGETHER
        whole = len(facts) - len(facts) % size
        many = put + ", (?, ?, ?, ?)" * (size - 1)
        for start in range(0, whole, size):
            self._db.execute(many, list(chain.from_iterable(facts[start : start + size])))
        self._db.executemany(put, facts[whole:])
        facts.clear()

    def _apply_mark(self, move: Move) -> None:
        if match := _TAG_REF.fullmatch(move.ref):
            run, label = bytes.fromhex(match[1]), match[2]
            self._forget(TAG, label, run)
            if move.new is not None:
                self._mark(TAG, label, [run])
        elif match := _NOTE_REF.fullmatch(move.ref):
            run = bytes.fromhex(match[1])
            self._db.execute("DELETE FROM marks WHERE run = ? AND space = ?", (run, NOTE))
            if (record := self._read(move.new, "note/v1")) is not None:
                self._mark(NOTE, record.fields.get("text"), [run])
        elif move.ref.startswith(refs.SWEEPS):
            sweep = move.ref.removeprefix(refs.SWEEPS)
            self._forget(SWEEP, sweep)
            if (record := self._read(move.new, "sweep/v1")) is not None:
                self._mark(SWEEP, sweep, {link.digest for link in record.links.values()})
        elif move.ref.startswith(refs.PROMOTIONS):
            strategy = move.ref.removeprefix(refs.PROMOTIONS)
            self._forget(PROMOTED, strategy)
            record = self._read(move.new, "promotion/v1")
            if record is not None and "run" in record.links:
                self._mark(PROMOTED, strategy, [record.links["run"].digest])
        elif move.ref.startswith(refs.TRIALS):
            record = self._read(move.new, trial_rows.SCHEMA)
            with contextlib.suppress(*UNREADABLE):
                trial_rows.insert(self._db, record)

    def _read(self, link: Link | None, schema: str) -> Record | None:
        """Return a record of that schema; None where there is none that can be read."""
        try:
            record = None if link is None else self._load(link)
        except StoreError:
            return None  # the check names it
        return record if record is not None and record.schema == schema else None

    def _mark(self, space: str, value: object, runs: Iterable[bytes]) -> None:
        if type(value) is str:
            self._db.executemany(
                "INSERT OR REPLACE INTO marks VALUES (?, ?, ?)",
                [(run, space, value) for run in runs],
            )

    def _forget(self, space: str, value: str, run: bytes | None = None) -> None:
        self._db.execute(
            "DELETE FROM marks WHERE space = ? AND value = ? AND run = IFNULL(?, run)",
            (space, value, run),
        )

"""The file of the index: its tables, and how it is opened, made and removed.

Owns the schema of ``index.db`` and what SQLite has to be told. Knows nothing of what the rows mean.
"""

import sqlite3
from pathlib import Path
from typing import Final

from rosdb import trial_rows
from rosdb.errors import StoreLocked

SCHEMA_VERSION: Final = 5
BUSY_SECONDS: Final = 60.0
CACHE_KB: Final = 65_536  # at the most: what is read stays, what is put goes out in one piece
MEMORY: Final = "file::memory:"

_SCHEMA: Final = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE refs (
    name TEXT PRIMARY KEY, digest BLOB, kind INTEGER, moved INTEGER, entry INTEGER) WITHOUT ROWID;
CREATE INDEX refs_digest ON refs (digest);
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY, run BLOB UNIQUE, experiment TEXT, name TEXT, status TEXT,
    kind TEXT, created_at_ns INTEGER, recipe BLOB, outcome BLOB, dataset TEXT, version TEXT,
    replay_of BLOB, seconds REAL, noted TEXT, entered INTEGER);
CREATE INDEX runs_recipe ON runs (recipe, status);
CREATE INDEX runs_experiment ON runs (experiment, seq);
CREATE INDEX runs_status ON runs (status, seq);
CREATE INDEX runs_name ON runs (name);
CREATE TABLE keys (id INTEGER PRIMARY KEY, space TEXT, name TEXT, UNIQUE (space, name));
CREATE TABLE facts (
    run INTEGER, key INTEGER, num REAL, txt TEXT, PRIMARY KEY (run, key)) WITHOUT ROWID;
CREATE TABLE marks (
    run BLOB, space TEXT, value TEXT, PRIMARY KEY (run, space, value)) WITHOUT ROWID;
CREATE INDEX marks_value ON marks (space, value);
CREATE TRIGGER gone AFTER DELETE ON runs BEGIN DELETE FROM facts WHERE run = old.seq; END;
{trial_rows.TABLE}{trial_rows.RUNS_INDEX}"""

FACTS_IN_ORDER: Final = "CREATE INDEX facts_num ON facts (key, num)"
"""The order that a page is walked in. Without it rows are put three times as fast: whoever makes an
index of many runs puts the rows first."""


def connect(uri: str) -> sqlite3.Connection:
    """Open a database; it waits for other writers, for a while."""
    db = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
    )
    try:
        # A cache may lose its last commits, never its consistency: WAL with NORMAL is just that.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def current(path: Path) -> sqlite3.Connection | None:
    """Open an index of this version; None if there is none, or it is garbage.

    Raises: StoreLocked.
    """
    try:
        # Not to be made here: an empty file would take up the log of an index that was deleted.
        db = connect(f"{path.as_uri()}?mode=rw")
    except sqlite3.DatabaseError:
        return None
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
            return db
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            db.close()
            raise StoreLocked(str(path), BUSY_SECONDS) from error
    db.close()
    return None


def inode(path: Path) -> int:
    """Return what tells a file from one that has taken its place; 0 if there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def unlink(path: Path) -> None:
    """Remove an index with its log."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def create(uri: str) -> sqlite3.Connection:
    """Make an empty index."""
    db = connect(uri)
    try:
        db.execute("PRAGMA synchronous = OFF")  # if a power cut spoils it, it is made once more
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(
            f"BEGIN; {_SCHEMA} {FACTS_IN_ORDER}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    except BaseException:
        db.close()
        raise
    return db

"""The stat cache: which files outside need not be read again.

Owns ``stat.db`` (``docs/format.md`` section 5), a cache (Law 4). As git's index does, it takes a
file for unchanged whose size, times, inode and device are what they were when it was read; and so
a folder of such files for the tree that it made. It knows nothing of how a folder is walked.

*Clocks have a grain.* A file may be read and then change within one tick of its file system's
clock: new content, same times. So only a file is remembered whose times lay further back than any
grain **before** it was read: whatever changes it later has later times. What nobody can see is a
write through a mapping that does not touch the times; such a file is the writer's to sync first.

*It is never in the way.* Trouble with the file, of any kind, means that nothing is remembered; a
spoilt one is replaced by the next commit. Each value carries a checksum, so damage that SQLite
cannot see is no answer either. A row says that an object was stored; whoever relies on it asks the
store whether it still is.

The row of the folder ``/data`` with one file ``a`` of six bytes, written as a literal::

    folder  b"/data"
    tree    checksum + [hash of the listing, the tree's digest, the tree's size]
    files   checksum + {b"a": [6, mtime_ns, ctime_ns, inode, device, the blob's digest]}
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgpack
from blake3 import blake3

from rosdb import disk
from rosdb.objects import Kind, Link

SCHEMA_VERSION: Final = 1
BUSY_SECONDS: Final = 0.25

# A kernel stamps files by its timer's tick, 10 ms at the longest; a file system without digits
# below the second counts in steps of one or two seconds.
GRAIN_FINE_NS: Final = 100_000_000
GRAIN_COARSE_NS: Final = 2_500_000_000
_SECOND_NS: Final = 1_000_000_000

_CHECK_SIZE: Final = 16
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS folders (folder BLOB PRIMARY KEY, tree BLOB, files BLOB)"
)
# A tree that is not known anew stays: it says what it always said of the listing that it names.
_UPSERT: Final = (
    "INSERT INTO folders VALUES (?, ?, ?) ON CONFLICT (folder)"
    " DO UPDATE SET tree = IFNULL(excluded.tree, tree), files = excluded.files"
)
# What is wrong with the file itself. Everything else (locked, read-only, a full disk) passes.
_SPOILT: Final = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
    }
)

# A damaged schema stands in SQLite's message, and need not be text.
_TROUBLE: Final = (sqlite3.Error, UnicodeDecodeError, MemoryError)

Files = dict[bytes, tuple[int, int, int, int, int, bytes]]
"""What was seen of a folder's files: name to size, two times, inode, device, digest."""


def identity(status: os.stat_result) -> tuple[int, int, int, int, int]:
    """Return what tells a file from every other, and from itself after a change."""
    return (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )


def is_settled(status: os.stat_result, now_ns: int) -> bool:
    """Tell whether a change from now on would show in the file's times.

    Units: nanoseconds since 1970 UTC, by the clock that stamps the files.
    """
    first, last = sorted((status.st_mtime_ns, status.st_ctime_ns))
    is_fine = first % _SECOND_NS and last % _SECOND_NS
    return first >= 0 and last < now_ns - (GRAIN_FINE_NS if is_fine else GRAIN_COARSE_NS)


def listing_hash(
    found: Sequence[tuple[bytes, os.stat_result]], below: Mapping[bytes, Link]
) -> bytes:
    """Return the hash of all that decides a folder's tree: its files, and its subfolders' trees."""
    listing: list[bytes | int] = []
    for name, status in found:
        if name in below:
            listing += (name, below[name].digest)
        else:
            listing += (name, status.st_mode, *identity(status))
    try:
        packed: bytes = msgpack.packb(listing)
    except OverflowError:  # a time beyond 64 bits: a file system may keep one
        packed = repr(listing).encode()
    return blake3(packed).digest()


class StatCache:
    """What one transaction knows of the files outside; nothing of it lasts without ``commit``.

    Folders are absolute paths and names single ones, both as the system's bytes: no name is odd.
    """

    def __init__(self, path: Path, *, now_ns: Callable[[], int] = disk.now_ns) -> None:
        """Stand for the cache at a path; it is opened at the first question."""
        self._path = path
        self._own = os.fsencode(path.parent.absolute()) + b"/"
        self.now_ns = now_ns
        self._db: sqlite3.Connection | None = None
        self._is_off = False
        self._is_spoilt = False
        self._files: dict[bytes, Files] = {}
        self._trees: dict[bytes, bytes] = {}
        self._changed: set[bytes] = set()

    def covers(self, folder: bytes) -> bool:
        """Tell whether a folder is worth remembering: one inside the store lives for one run."""
        return not (folder + b"/").startswith(self._own)

    def tree(self, folder: bytes, listing: bytes) -> tuple[Link, int] | None:
        """Return the tree, with its size, that a folder with this listing made."""
        value = self._ask("tree", folder)
        if value is not None:
            seen, digest, size = value
            if seen == listing:
                return Link(digest, Kind.RECORD), size
        return None

    def file(self, folder: bytes, name: bytes, status: os.stat_result) -> Link | None:
        """Return the blob that was read from a file, if it is still that file."""
        row = self._files_of(folder).get(name)
        if row is not None and row[:5] == identity(status):
            return Link(row[5], Kind.BLOB)
        return None

    def remember_file(self, folder: bytes, name: bytes, status: os.stat_result, link: Link) -> None:
        """Remember what was read from a settled file that did not change meanwhile."""
        row = (*identity(status), link.digest)
        files = self._files_of(folder)
        if files.get(name) != row:
            files[name] = row
            self._changed.add(folder)

    def keep_files(self, folder: bytes, names: set[bytes]) -> None:
        """Forget the files of a folder but these."""
        files = self._files_of(folder)
        for gone in files.keys() - names:
            del files[gone]
            self._changed.add(folder)

    def remember_tree(self, folder: bytes, listing: bytes, link: Link, size: int) -> None:
        """Remember the tree that a folder with this listing made, all its files being settled."""
        self._trees[folder] = _seal("tree", folder, (listing, link.digest, size))
        self._changed.add(folder)

    def commit(self) -> None:
        """Make last what was remembered, once the objects have landed."""
        if self._changed and not self._is_off:
            if self._is_spoilt:
                self._remove()
            self._write()
            if self._is_spoilt and self._remove():
                self._write()
        self._trees.clear()
        self._changed.clear()

    def clear(self) -> bool:
        """Forget everything, durably; False if the file is there and cannot be removed.

        Removed and not emptied: that waits for nobody, and who has it open writes to nowhere.
        """
        self.close()
        try:
            if not self._remove():
                return self._path.is_dir()  # in which nobody has remembered anything
            disk.sync_folder(self._path.parent)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the file and of what was not committed; it is opened again when asked."""
        self._let_go()
        self._is_off = self._is_spoilt = False
        self._files.clear()
        self._trees.clear()
        self._changed.clear()

    def _files_of(self, folder: bytes) -> Files:
        files = self._files.get(folder)
        if files is None:
            files = self._files[folder] = self._ask("files", folder) or {}
        return files

    def _ask(self, column: str, folder: bytes) -> Any:
        """Return what a folder's row holds; None if there is none, or no telling."""
        if self._is_off or self._is_spoilt:
            return None
        try:
            if self._db is None:
                self._open()
            if self._db is None:
                return None
            sql = f"SELECT {column} FROM folders WHERE folder = ?"
            row = self._db.execute(sql, (folder,)).fetchone()
        except _TROUBLE as error:
            self._give_up(error)
            return None
        return None if row is None else _unseal(column, folder, row[0])

    def _open(self) -> None:
        """Open what is there, if anything is: a question makes no file."""
        try:
            if not self._path.stat().st_size:
                return
        except OSError:
            return
        db = self._connect()
        if db.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            self._is_spoilt = True
            self._let_go()

    def _connect(self) -> sqlite3.Connection:
        self._db = sqlite3.connect(
            self._path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
        )
        return self._db

    def _write(self) -> None:
        rows = []
        for folder in self._changed:
            files = _seal("files", folder, self._files_of(folder))
            rows.append((folder, self._trees.get(folder), files))
        try:
            db = self._db or self._connect()
            # Without a log beside it: removing the file leaves nothing that could be played into
            # the next one. A process that dies here spoils the cache, and that is seen.
            db.execute("PRAGMA journal_mode = MEMORY")
            db.execute("PRAGMA synchronous = OFF")
            db.execute("BEGIN IMMEDIATE")
            db.execute(_TABLE)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.executemany(_UPSERT, rows)
            db.execute("COMMIT")
            self._is_spoilt = False
        except _TROUBLE as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        self._is_spoilt = code & 0xFF in _SPOILT
        self._is_off = not self._is_spoilt
        self._let_go()

    def _let_go(self) -> None:
        if self._db is not None:
            with contextlib.suppress(*_TROUBLE):
                self._db.close()
            self._db = None

    def _remove(self) -> bool:
        self._let_go()
        try:
            disk.remove(self._path)
        except OSError:
            return False
        return True


def _seal(column: str, folder: bytes, value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return _check(column, folder, packed) + packed


def _unseal(column: str, folder: bytes, sealed: Any) -> Any:
    if type(sealed) is bytes:
        check, packed = sealed[:_CHECK_SIZE], sealed[_CHECK_SIZE:]
        if check == _check(column, folder, packed):
            return msgpack.unpackb(packed, use_list=False, strict_map_key=False)
    return None


def _check(column: str, folder: bytes, packed: bytes) -> bytes:
    return blake3(b"\0".join((column.encode(), folder, packed))).digest(_CHECK_SIZE)

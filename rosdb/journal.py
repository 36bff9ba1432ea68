"""The journal: an append-only file of ref moves, each entry holding the hash of the one before.

Owns the bytes of the file (``docs/format.md`` section 4), the chain (Law 6) and the torn tail.
Knows nothing of what the refs mean. One entry::

    length, 4 bytes | the same inverted, 4 bytes | payload | hash of the payload, 32 bytes

Writers hold the store's lock; readers hold nothing, for what is whole never changes.
"""

import contextlib
import errno
import os
import struct
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from rosdb import canonical, disk
from rosdb.errors import BadName, JournalDamaged, NotCanonical, StoreError
from rosdb.journal_frame import OVERHEAD, Torn, frame, read_frame
from rosdb.objects import DIGEST_SIZE, Link, link_value, value_link
from rosdb.settings import Durability

MAGIC: Final = b"ros journal v1\n\x00"
NO_ENTRY: Final = bytes(DIGEST_SIZE)
START: Final = len(MAGIC)

_ENTRIES_KEPT: Final = 64
_BATCH_SECONDS: Final = 1.0
_MARK: Final = struct.Struct("<QQ")
_MARK_INVERT: Final = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One ref, moved once."""

    at_ns: int
    ref: str
    old: Link | None
    new: Link | None
    who: str
    why: str
    hash: str

    @property
    def at(self) -> datetime:
        """When, to the microsecond, UTC."""
        seconds, nanoseconds = divmod(self.at_ns, 1_000_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a reader has come: the offset behind an entry, and that entry's hash."""

    offset: int = START
    head: bytes = NO_ENTRY


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """All moves of one transaction."""

    moves: tuple[Move, ...]
    end: Position

    def apply(self, refs: dict[str, Link]) -> None:
        """Move the refs as the entry says."""
        for move in self.moves:
            if move.new is None:
                refs.pop(move.ref, None)
            else:
                refs[move.ref] = move.new


class Journal:
    """The journal of one store."""

    def __init__(self, path: Path, durability: Callable[[], Durability] = lambda: "full") -> None:
        self.path = path
        self._durability = durability
        self._targets: dict[int, dict[str, Link]] = {}
        self._synced = START
        self._last_sync: weakref.finalize[Any, Journal] | None = None
        self._failures: list[OSError] = []

    @property
    def may_lose_its_end(self) -> bool:
        """A power cut may take entries that somebody has read: the store is set so."""
        return self._durability() != "full"

    def entries(self, start: Position | None = None) -> Iterator[Entry]:
        """Read the whole entries from a position on, oldest first; stop before a torn tail.

        Raises: JournalDamaged if anything but a torn tail does not chain.
        """
        position = start or Position()
        for is_last_try in (False, True):
            try:
                for entry in self._entries(position):
                    yield entry
                    position = entry.end
                return
            except Torn:
                return
            except JournalDamaged:
                if position.offset >= self._mark():
                    return  # of what was left for later a power cut takes what it likes
                # A writer may have cut a torn tail and written over it while we read: damage stays.
                if is_last_try:
                    raise

    def append(
        self,
        end: Position,
        moves: Sequence[tuple[str, Link | None, Link | None]],
        *,
        at_ns: int,
        who: str,
        why: str,
    ) -> Position:
        """Append one entry behind ``end`` and make it durable. The caller holds the lock.

        Whatever stands behind ``end`` is a torn tail that ``entries`` has stopped at; it is cut.
        Raises: BadName, StoreUnwritable, JournalDamaged if the file no longer reaches ``end``.
        """
        self._raise_failure()
        for text in (who, why):
            # With a sector of them a sound entry would look like one that a power cut has torn.
            if "\0" in text:
                raise BadName("journal text", text[:40], "it has a NUL")
        payload = canonical.encode(
            {
                "at_ns": at_ns,
                "moves": [[ref, _value_or_nil(old), _value_or_nil(new)] for ref, old, new in moves],
                "prev": end.head,
                "who": who,
                "why": why,
            }
        )
        framed, digest = frame(payload)
        with disk.refusals(self.path), disk.open_existing(self.path) as handle:
            torn = os.fstat(handle.fileno()).st_size - end.offset
            if torn < 0:
                raise JournalDamaged(end.offset + torn, "it was cut while it was in use")
            if torn > 0:
                import logging

                log = logging.getLogger(__name__)
                log.warning("%s: cut %d bytes that a crash has left", self.path, torn)
                handle.truncate(end.offset)
                disk.sync(handle.fileno())
            handle.seek(end.offset)
            try:
                if self.may_lose_its_end:
                    disk.write(handle, framed)
                else:
                    disk.write_synced(handle, framed)
            except OSError:
                # A full disk: take back what was written, so that nobody reads half an entry.
                with contextlib.suppress(OSError):
                    handle.truncate(end.offset)
                raise
        position = Position(offset=end.offset + len(framed), head=digest)
        if not self.may_lose_its_end:
            self._synced = position.offset
            disk.remove(_mark_path(self.path))
        elif self._durability() == "batch":
            self._sync_soon(end)
        return position

    def cut(self, end: Position) -> int:
        """Cut what stands behind the last whole entry; return how many bytes.

        The caller holds the lock, and has read up to ``end`` where ``entries`` stopped.
        Raises: StoreUnwritable, JournalDamaged.
        """
        torn = self.bytes_behind(end)
        if torn:
            with disk.refusals(self.path), disk.open_existing(self.path) as handle:
                handle.truncate(end.offset)
                disk.sync(handle.fileno())
        return torn

    def close(self) -> None:
        """Make durable what a batch has left for later.

        Raises: StoreUnwritable, if that failed now or before.
        """
        if self._last_sync is not None:
            self._last_sync()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failures:
            disk.refuse(self._failures[0], self.path)

    def _mark(self) -> int:
        """Return up to where batches have synced the entries; beyond the end where none have."""
        try:
            mark = _mark_path(self.path).read_bytes()
        except OSError:
            return sys.maxsize
        offset, inverted = _MARK.unpack(mark) if len(mark) == _MARK.size else (0, 0)
        return offset if offset ^ inverted == _MARK_INVERT else sys.maxsize

    def _sync_soon(self, end: Position) -> None:
        """Sync within a second, or when the process ends, whichever comes first."""
        if self._last_sync is None or not self._last_sync.alive:
            if self._mark() == sys.maxsize:
                _write_mark(self.path, end.offset)
            self._last_sync = weakref.finalize(self, _sync_file, self.path, self._failures)
            timer = threading.Timer(_BATCH_SECONDS, self._last_sync)
            timer.daemon = True
            timer.start()

    def sync(self, end: Position) -> None:
        """Make durable what was read, so that nobody remembers an entry that a power cut takes.

        What this object has appended or synced itself is durable already.
        """
        if end.offset > self._synced and not self.may_lose_its_end:
            with disk.refusals(self.path), self._open() as handle:
                try:
                    disk.sync(handle.fileno())
                except OSError as error:
                    # On a medium that is only read, all is as durable as it will ever be.
                    if error.errno not in (errno.EINVAL, errno.EROFS):
                        raise
            self._synced = end.offset

    def targets(self, moves: Sequence[tuple[int, str]]) -> list[Link | None]:
        """Return where the entry that starts at each offset moved a ref; None if it did not.

        An entry is checked by its own hash, so what is answered was once true of the ref.
        """
        # A batch moves hundreds of refs in one entry: it is read once for all of them.
        with contextlib.ExitStack() as opened:
            handle: BinaryIO | None = None
            found: list[Link | None] = []
            for offset, ref in moves:
                targets = self._targets.get(offset)
                if not targets:
                    handle = handle or opened.enter_context(self._open())
                    targets = _targets_at(handle, offset)
                    if len(self._targets) >= _ENTRIES_KEPT:
                        self._targets.clear()
                    self._targets[offset] = targets
                found.append(targets.get(ref))
            return found

    def bytes_behind(self, position: Position) -> int:
        """Return how many bytes stand behind a position: newer entries, or a torn tail.

        Raises: JournalDamaged if the entry that ends there is not the one that was read.
        """
        with self._open(buffering=0) as handle:
            if position.offset > START:
                handle.seek(position.offset - DIGEST_SIZE)
                if handle.read(DIGEST_SIZE) != position.head:
                    raise JournalDamaged(position.offset, "it was another when it was read before")
            return os.fstat(handle.fileno()).st_size - position.offset

    def _open(self, buffering: int = -1) -> BinaryIO:
        try:
            return self.path.open("rb", buffering)
        except FileNotFoundError:
            raise JournalDamaged(0, "the file is missing") from None
        except OSError as error:
            disk.refuse_to_guess(error, self.path)
            raise JournalDamaged(0, error.strerror or "it cannot be read") from error

    def _entries(self, start: Position) -> Iterator[Entry]:
        with self._open() as handle:
            if handle.read(START) != MAGIC:
                raise JournalDamaged(0, "it does not start as a journal does")
            size = os.fstat(handle.fileno()).st_size
            if size < start.offset:
                raise JournalDamaged(size, f"it was {start.offset} bytes long and was cut")
            handle.seek(start.offset)
            position = start
            while position.offset < size:
                payload, digest = read_frame(handle.read, position.offset, size)
                end = position.offset + len(payload) + OVERHEAD
                entry = _entry(payload, position, Position(offset=end, head=digest))
                yield entry
                position = entry.end


def _sync_file(path: Path, failures: list[OSError]) -> None:
    """Sync what a batch has left; after a failure nobody knows what is durable, and it is kept."""
    try:
        with path.open("rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            disk.sync(handle.fileno())
        if not failures:
            _write_mark(path, size)
    except OSError as error:
        failures.append(error)


def _write_mark(path: Path, offset: int) -> None:
    """Note how much of the journal is durable; in place, for a sector is written as a whole.

    Synced when it is made, and then no more: an older mark lies further ahead, and excuses more.
    """
    with contextlib.suppress(OSError):
        mark = _mark_path(path)
        is_new = not mark.exists()
        with disk.open_existing(mark) if not is_new else mark.open("xb", buffering=0) as handle:
            disk.write(handle, _MARK.pack(offset, offset ^ _MARK_INVERT))
            if is_new:
                disk.sync(handle.fileno())
                disk.sync_folder(mark.parent)


def _mark_path(path: Path) -> Path:
    return path.with_name("journal.synced")


def create(path: Path, temporary_folder: Path) -> None:
    """Write an empty journal."""
    disk.replace_file(path, MAGIC, temporary_folder)


def _targets_at(handle: BinaryIO, offset: int) -> dict[str, Link]:
    size = os.fstat(handle.fileno()).st_size
    try:
        handle.seek(offset)
        payload, _ = read_frame(handle.read, offset, size)
        moves = canonical.decode(payload)["moves"]
        return {ref: value_link(new) for ref, _, new in moves if new is not None}
    except (Torn, StoreError, LookupError, TypeError, ValueError, OSError):
        return {}


def _value_or_nil(link: Link | None) -> canonical.Value:
    return None if link is None else link_value(link)


def _entry(payload: bytes, start: Position, end: Position) -> Entry:
    """Read an entry that hashes, and check that it follows the one before."""
    try:
        value = canonical.decode(payload)
        at_ns, who, why, moved = (value[key] for key in ("at_ns", "who", "why", "moves"))
        if [type(part) for part in (at_ns, who, why)] != [int, str, str]:
            raise NotCanonical("a time or a text is none")
        moves = tuple(
            Move(
                at_ns=at_ns,
                ref=_text(ref),
                old=None if old is None else value_link(old),
                new=None if new is None else value_link(new),
                who=who,
                why=why,
                hash=end.head.hex(),
            )
            for ref, old, new in moved
        )
        previous = value["prev"]
    except (NotCanonical, KeyError, TypeError, ValueError) as error:
        raise JournalDamaged(start.offset, f"an entry cannot be read ({error})") from None
    if previous != start.head:
        raise JournalDamaged(start.offset, "an entry does not follow the one before")
    return Entry(moves=moves, end=end)


def _text(value: canonical.Value) -> str:
    if type(value) is not str:
        raise NotCanonical(f"{type(value).__name__} where text belongs")
    return value

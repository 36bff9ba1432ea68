"""The journal: an append-only file of ref moves, each entry holding the hash of the one before.

Owns the bytes of the file (``docs/format.md`` section 4), the chain (Law 6) and the torn tail.
Knows nothing of what the refs mean. One entry::

    length, 4 bytes | the same inverted, 4 bytes | payload | hash of the payload, 32 bytes

Writers hold the store's lock; readers hold nothing, for what is whole never changes.
"""

import contextlib
import errno
import itertools
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from blake3 import blake3

from rosdb import canonical, disk
from rosdb.errors import BadName, JournalDamaged, NotCanonical, StoreError
from rosdb.objects import DIGEST_SIZE, Link, link_value, value_link

MAGIC: Final = b"ros journal v1\n\x00"
ENTRY_CONTEXT: Final = "research-os 2026-11-22 journal entry"
NO_ENTRY: Final = bytes(DIGEST_SIZE)
START: Final = len(MAGIC)

_FRAME: Final = struct.Struct("<II")
_SECTOR: Final = 512
_PAYLOAD_BYTES_MAX: Final = canonical.SIZE_BYTES_MAX
_ENTRIES_KEPT: Final = 64


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


Reader = Callable[[int], bytes]


class _Torn(Exception):
    """The file ends in what a crash may leave."""


class Journal:
    """The journal of one store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._targets: dict[int, dict[str, Link]] = {}
        self._synced = START

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
            except _Torn:
                return
            except JournalDamaged:
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
        digest = _hash(payload)
        size = len(payload)
        frame = _FRAME.pack(size, size ^ 0xFFFFFFFF) + payload + digest
        # Without a buffer: what a refused write leaves in one is written when the file is closed.
        with disk.refusals(self.path), self.path.open("r+b", buffering=0) as handle:
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
                disk.write_synced(handle, frame)
            except OSError:
                # A full disk: take back what was written, so that nobody reads half an entry.
                with contextlib.suppress(OSError):
                    handle.truncate(end.offset)
                raise
        self._synced = end.offset + len(frame)
        return Position(offset=self._synced, head=digest)

    def sync(self, end: Position) -> None:
        """Make durable what was read, so that nobody remembers an entry that a power cut takes.

        What this object has appended or synced itself is durable already.
        """
        if end.offset > self._synced:
            with disk.refusals(self.path), self._open() as handle:
                try:
                    disk.sync(handle.fileno())
                except OSError as error:
                    # On a medium that is only read, all is as durable as it will ever be.
                    if error.errno not in (errno.EINVAL, errno.EROFS):
                        raise
            self._synced = end.offset

    def target_at(self, offset: int, ref: str) -> Link | None:
        """Return where the entry that starts at an offset moved a ref; None if it did not.

        An entry is checked by its own hash, so what is answered was once true of the ref.
        """
        # A batch moves hundreds of refs in one entry: it is read once for all of them.
        targets = self._targets.get(offset) or self._targets_at(offset)
        if len(self._targets) >= _ENTRIES_KEPT:
            self._targets.clear()
        self._targets[offset] = targets
        return targets.get(ref)

    def _targets_at(self, offset: int) -> dict[str, Link]:
        with self._open() as handle:
            size = os.fstat(handle.fileno()).st_size
            try:
                handle.seek(offset)
                payload, _ = _read_frame(handle.read, offset, size)
                moves = canonical.decode(payload)["moves"]
                return {ref: value_link(new) for ref, _, new in moves if new is not None}
            except (_Torn, StoreError, LookupError, TypeError, ValueError, OSError):
                return {}

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
                payload, digest = _read_frame(handle.read, position.offset, size)
                end = position.offset + _FRAME.size + len(payload) + DIGEST_SIZE
                entry = _entry(payload, position, Position(offset=end, head=digest))
                yield entry
                position = entry.end


def create(path: Path, temporary_folder: Path) -> None:
    """Write an empty journal."""
    disk.replace_file(path, MAGIC, temporary_folder)


def _hash(payload: bytes) -> bytes:
    return blake3(payload, derive_key_context=ENTRY_CONTEXT).digest()


def _value_or_nil(link: Link | None) -> canonical.Value:
    return None if link is None else link_value(link)


def _read_frame(read: Reader, offset: int, size: int) -> tuple[bytes, bytes]:
    """Read one frame; tell a torn tail (``_Torn``) from damage (``JournalDamaged``)."""
    left = size - offset
    head = read(_FRAME.size)
    if len(head) < _FRAME.size:
        raise _Torn
    length, inverted = _FRAME.unpack(head)
    if length ^ inverted != 0xFFFFFFFF or length > _PAYLOAD_BYTES_MAX:
        # Only a lost sector that the head lies in excuses it, and only if it is the last entry's.
        tail = head + read(_PAYLOAD_BYTES_MAX)
        if _has_zero_sector(tail, offset, before=_FRAME.size) and not _holds_entry(tail):
            raise _Torn
        raise JournalDamaged(offset, "the length of an entry is damaged")
    if left < _FRAME.size + length + DIGEST_SIZE:
        raise _Torn
    payload, digest = read(length), read(DIGEST_SIZE)
    if _hash(payload) != digest:
        whole = head + payload + digest
        if left == len(whole) and _has_zero_sector(whole, offset, before=left):
            raise _Torn
        raise JournalDamaged(offset, "an entry does not hash to what it says")
    return payload, digest


def _has_zero_sector(data: bytes, offset: int, before: int) -> bool:
    """Tell whether a 512-byte sector of the file, or the part that ``data`` covers, is all zero.

    Of the sectors that start ahead of ``before`` in the data. A power cut loses whole sectors of an
    append that was never synced; a flipped bit does not look so. Shorter parts than a head are no
    evidence: longer ones are never zero in a sound entry, for a head and a hash are not.
    """
    first = _SECTOR - offset % _SECTOR
    cuts = [0, *range(first, len(data), _SECTOR), len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(cuts) if a < before]
    return any(len(part) >= _FRAME.size and not any(part) for part in parts)


def _holds_entry(data: bytes) -> bool:
    """Tell whether a sound entry starts anywhere in the data."""
    for at in range(len(data) - _FRAME.size - DIGEST_SIZE):
        length, inverted = _FRAME.unpack_from(data, at)
        if length ^ inverted == 0xFFFFFFFF:
            start, end = at + _FRAME.size, at + _FRAME.size + length
            if _hash(data[start:end]) == data[end : end + DIGEST_SIZE]:
                return True
    return False


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

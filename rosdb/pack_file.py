r"""Packs: many objects in one immutable file, named by its content.

Owns the bytes of a pack (``docs/format.md`` section 5). Entries describe themselves, so that a pack
without an index is read by a forward scan. Knows nothing of which packs there are. The entry of the
blob ``hello\n``, 72 bytes of header and six of content::

    72 6f 73 45 | 01 00 00 00 | 06 00 00 00 00 00 00 00 | 06 00 00 00 00 00 00 00
    "rosE"        blob, raw     content's size            stored size
    8e4c…9a99 (32 bytes) | b4f6… (16 bytes) | 68 65 6c 6c 6f 0a
    id                     check              hello\n
"""

import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

from rosdb import codec, disk
from rosdb.objects import RECORD_CONTEXT, Kind

MAGIC: Final = b"rospack\x01"
ENTRY_MAGIC: Final = b"rosE"
HEADER: Final = struct.Struct("<4sBBHQQ32s16s")
LIST_CONTEXT: Final = "research-os 2026-11-22 chunk list"
PACK_BYTES_MAX: Final = 512 * 1024 * 1024
"""A writer begins another pack behind this size."""

CONTENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""What one entry may claim to hold: the largest record; a longer blob is cut into chunks."""

DIGEST_SLICE: Final = slice(24, 56)
"""Where the id stands in a header."""

_KIND_AT: Final = 4
_CHECK_BYTES: Final = 16
_UNCHECKED: Final = HEADER.size - _CHECK_BYTES
_BUFFER_BYTES: Final = 1024 * 1024
_WRITEBACK_BYTES: Final = 16 * 1024 * 1024
_FIRST_READ_BYTES: Final = 20 * 1024


class Entry(IntEnum):
    """What an entry holds; the numbers stand on disk, the first two are those of ``Kind``."""

    BLOB = Kind.BLOB
    RECORD = Kind.RECORD
    CHUNKS = 3
    """A blob, as the list of its chunks, under the blob's own id."""
    INNER = 4
    """A part of such a list, under the hash of its bytes."""


_ENTRIES: Final = (Entry.BLOB, *Entry)
"""By number; the first stands for none, and is never asked for."""


class Damaged(Exception):
    """The bytes at an offset are no sound entry; the text says why."""


class Header(NamedTuple):
    """What an entry says of itself. A tuple: one is made for each chunk of every file."""

    entry: Entry
    codec: int
    content_bytes: int
    stored_bytes: int
    digest: bytes

    @property
    def end(self) -> int:
        """How many bytes the whole entry takes."""
        return HEADER.size + self.stored_bytes


def digest_of(entry: Entry, content: codec.Stored) -> bytes | None:
    """Return the id that content of that kind must have; None where only all its chunks can say."""
    if entry is Entry.BLOB:
        return blake3(content).digest()
    if entry is Entry.RECORD:
        return blake3(content, derive_key_context=RECORD_CONTEXT).digest()
    if entry is Entry.INNER:
        return blake3(content, derive_key_context=LIST_CONTEXT).digest()
    return None


def encode_header(
    entry: Entry, code: int, content_bytes: int, stored: codec.Stored, digest: bytes
) -> bytes:
    """Return the header of an entry, with the check over it and its stored bytes."""
    head = HEADER.pack(ENTRY_MAGIC, entry, code, 0, content_bytes, len(stored), digest, b"")
    head = head[:_UNCHECKED]
    return head + _check(head, stored)


def decode_header(data: bytes | memoryview, start: int = 0) -> Header:
    """Read a header; its sizes are claims until they are held against the file.

    Raises: Damaged.
    """
    if len(data) - start < HEADER.size:
        raise Damaged("its header is cut off")
    magic, entry, code, zero, content_bytes, stored_bytes, digest, _ = HEADER.unpack_from(
        data, start
    )
    if magic != ENTRY_MAGIC or zero != 0 or not 1 <= entry <= 4:
        raise Damaged("its header is not one")
    if max(content_bytes, stored_bytes) > CONTENT_BYTES_MAX:
        raise Damaged(f"claims {content_bytes} bytes in {stored_bytes}")
    if code == codec.RAW and content_bytes != stored_bytes:
        raise Damaged(f"{stored_bytes} bytes of {content_bytes}")
    return Header(_ENTRIES[entry], code, content_bytes, stored_bytes, digest)


def is_checked(head: codec.Stored, stored: codec.Stored) -> bool:
    """Tell whether header and stored bytes pass the check that the header holds."""
    return _check(head[:_UNCHECKED], stored) == head[_UNCHECKED : HEADER.size]


def _check(head: codec.Stored, stored: codec.Stored) -> bytes:
    # Hashed in one piece, copied for it: a second piece at an odd offset costs twice as much.
    return blake3(b"".join((head, stored))).digest(_CHECK_BYTES)


def decode_content(header: Header, stored: codec.Stored) -> codec.Stored:
    """Return the content of an entry, hashed to its id (a chunk list: not; its check says).

    Raises: Damaged.
    """
    content = decode_unverified(header, stored)
    digest = digest_of(header.entry, content)
    if digest is not None and digest != header.digest:
        raise Damaged("its content does not hash to its id")
    return content


def decode_unverified(header: Header, stored: codec.Stored) -> codec.Stored:
    """Return the content of an entry as it decodes: for who has verified it, or verifies the whole.

    Raises: Damaged.
    """
    try:
        return codec.decode(header.codec, stored, header.content_bytes)
    except codec.NotDecodable as error:
        raise Damaged(str(error)) from None


class PackWriter:
    """Writes one pack to a temporary file; nothing is found in it before it is published."""

    def __init__(self, temporary_folder: Path) -> None:
        with disk.refusals(temporary_folder):
            self._handle, self._path = disk.open_temporary(temporary_folder, _BUFFER_BYTES)
            self._handle.write(MAGIC)
        self._names = blake3()
        self._written = 0
        self._is_published = False
        self.rows: list[tuple[bytes, int, int]] = []
        """Each entry's id, offset and kind."""

        self.size = len(MAGIC)

    def append(self, head: bytes, stored: codec.Stored) -> None:
        """Append an entry, given its encoded header.

        Raises: StoreUnwritable.
        """
        self.rows.append((head[DIGEST_SLICE], self.size, head[_KIND_AT]))
        self._names.update(head)
        try:
            self._handle.write(head)
            self._handle.write(stored)
            self.size += len(head) + len(stored)
            if self.size - self._written > _WRITEBACK_BYTES:
                # The disk works while we hash and compress what comes next.
                self._handle.flush()
                disk.start_writing(self._handle.fileno(), self._written, self.size - self._written)
                self._written = self.size
        except OSError as error:
            disk.refuse(error, self._path)

    def publish(self, folder: Path, *, is_synced: bool) -> Path:
        """Give the pack its name; the caller syncs the folder.

        Raises: StoreUnwritable.
        """
        target = folder / f"pack-{self._names.hexdigest()}.pack"
        with disk.refusals(folder):
            self._handle.flush()
            if is_synced:
                disk.sync(self._handle.fileno())
            self._handle.close()
            disk.publish(self._path, target)
        self._is_published = True
        return target

    def abandon(self) -> None:
        """Drop the file, if it was not published."""
        if not self._is_published:
            disk.close_unwritten(self._handle)
            disk.remove(self._path)


class PackFile:
    """A published pack, open for reading."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises: OSError.
        """
        self.path = path
        # Without waiting: somebody may have put a pipe there.
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.size = os.fstat(self._handle).st_size

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            os.close(self._handle)

    def read(self, size: int, offset: int) -> bytes:
        """Return bytes of the file; none behind its end.

        Raises: OSError.
        """
        # An index may claim any offset, and the system takes only those that a file can have.
        return os.pread(self._handle, size, offset) if offset < self.size else b""

    def mtime_ns(self) -> int:
        """Return when an object of the pack was last put."""
        return os.fstat(self._handle).st_mtime_ns

    def header(self, offset: int) -> Header:
        """Return the header at an offset.

        Raises: Damaged; OSError.
        """
        return decode_header(self.read(HEADER.size, offset))

    def entry(self, offset: int) -> tuple[Header, bytes, memoryview]:
        """Return a header, decoded and raw, and the stored bytes; nothing but sizes is checked.

        Raises: Damaged; OSError.
        """
        data = self.read(_FIRST_READ_BYTES, offset)
        header = decode_header(data)
        if header.end > len(data):
            # The size is a claim: it is held against the file's before it is allocated.
            if offset + header.end > self.size:
                raise Damaged("it ends behind the pack")
            data = os.pread(self._handle, header.end, offset)
            if len(data) < header.end:
                raise Damaged("it ends behind the pack")
        return header, data[: HEADER.size], memoryview(data)[HEADER.size : header.end]

    def scan(self) -> Iterator[tuple[int, Header | None]]:
        """Read the pack from its start: each sound entry, and None where there is a damaged one.

        Raises: OSError.
        """
        offset = len(MAGIC)
        if os.pread(self._handle, offset, 0) != MAGIC:
            yield 0, None
        while offset < self.size:
            try:
                header, head, stored = self.entry(offset)
                if not is_checked(head, stored):
                    raise Damaged("its stored bytes do not add up")
            except Damaged:
                yield offset, None
                offset = self._next_entry(offset + 1)
            else:
                yield offset, header
                offset += header.end

    def scan_headers(self) -> Iterator[tuple[int, Header | None]]:
        """Read the headers from the start, by their sizes; None where one is damaged, and end.

        Raises: OSError.
        """
        offset = len(MAGIC)
        if os.pread(self._handle, offset, 0) != MAGIC:
            yield 0, None
            return
        while offset < self.size:
            try:
                header = self.header(offset)
                if offset + header.end > self.size:
                    raise Damaged("it ends behind the pack")
            except Damaged:
                yield offset, None
                return
            yield offset, header
            offset += header.end

    def _next_entry(self, start: int) -> int:
        """Return where the next sound entry stands; the size of the pack if there is none."""
        step = _BUFFER_BYTES
        while start < self.size:
            block = os.pread(self._handle, step + len(ENTRY_MAGIC) - 1, start)
            at = block.find(ENTRY_MAGIC)
            while at >= 0:
                try:
                    _, head, stored = self.entry(start + at)
                    if is_checked(head, stored):
                        return start + at
                except Damaged:
                    pass
                at = block.find(ENTRY_MAGIC, at + 1)
            start += step
        return self.size

"""Blobs as files: a seekable view of a blob's chunks, of which only those are read that it needs.

Owns the way from a position to a chunk. Every chunk and inner list is verified by whoever loads it.
"""

import bisect
import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

from rosdb import codec
from rosdb.chunks import Row, decode_list
from rosdb.errors import ObjectCorrupt, ObjectMissing
from rosdb.objects import Kind, hasher
from rosdb.pack_file import Damaged, Entry

Load = Callable[[bytes, Entry], codec.Stored]
"""Returns a chunk's or an inner list's verified content, given its id and which it is."""

_BUFFER_BYTES: Final = 128 * 1024


def open_bytes(content: bytes) -> BinaryIO:
    """Open content that is in memory."""
    return io.BufferedReader(_Bytes(content))


def open_chunks(content: codec.Stored, load: Load, name: str) -> BinaryIO:
    """Open the blob that a chunk list stands for.

    Raises: Damaged.
    """
    return io.BufferedReader(_Chunked(content, load, name), _BUFFER_BYTES)


def chunk_contents(digest: bytes, content: codec.Stored, load: Load) -> Iterator[codec.Stored]:
    """Return the chunks of a list in order, inner lists followed; then they are the whole.

    Raises: Damaged if a list, a chunk or the whole is not what it should be; what ``load`` raises.
    """
    whole = hasher(Kind.BLOB)
    for leaf, size in leaf_rows(content, load):
        chunk = load(leaf, Entry.BLOB)
        if len(chunk) != size:
            raise Damaged("a chunk has another size than its list says")
        whole.update(chunk)
        yield chunk
    if whole.digest() != digest:
        raise Damaged("its content does not hash to its id")


def leaf_rows(content: codec.Stored, load: Load) -> Iterator[Row]:
    """Return the rows of a list's chunks in order, inner lists followed.

    Raises: Damaged; what ``load`` raises.
    """
    height, rows = decode_list(memoryview(content))
    if height == 0:
        yield from rows
        return
    for digest, size in rows:
        inner = load(digest, Entry.INNER)
        check_inner(inner, height, size)
        yield from leaf_rows(inner, load)


def check_inner(inner: codec.Stored, height: int, size: int) -> list[Row]:
    """Return the rows of an inner list, held against the row and the height of the list above.

    Raises: Damaged.
    """
    found, rows = decode_list(memoryview(inner))
    if found != height - 1 or sum(each for _, each in rows) != size:
        raise Damaged("an inner list is not what the list above says")
    return rows


def part_reason(error: Damaged | ObjectMissing | ObjectCorrupt) -> str:
    """Return what is wrong with a blob, given what is wrong with a part of it."""
    if isinstance(error, ObjectMissing):
        return f"a chunk of it is missing ({error.object_id})"
    if isinstance(error, ObjectCorrupt):
        return f"a chunk of it is damaged ({error.object_id}: {error.reason})"
    return str(error)


class _List:
    """One list of chunks, with where each row begins."""

    def __init__(self, content: codec.Stored, start: int) -> None:
        self.height, self.rows = decode_list(memoryview(content))
        sizes = (size for _, size in self.rows)
        self.starts = list(itertools.accumulate(sizes, initial=start))

    def row_at(self, position: int) -> int:
        return bisect.bisect_right(self.starts, position) - 1

    def covers(self, position: int) -> bool:
        return self.starts[0] <= position < self.starts[-1]


class _Content(io.RawIOBase):
    """Content to read from any position."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = (0, self._position, self._size)[whence] + offset
        if position < 0:
            raise ValueError(f"cannot seek to {position}")
        self._position = position
        return position


class _Bytes(_Content):
    """Content that is in memory."""

    def __init__(self, content: bytes) -> None:
        super().__init__(len(content))
        self._content = memoryview(content)

    def readinto(self, buffer: Any) -> int:
        part = self._content[self._position : self._position + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


class _Chunked(_Content):
    """A blob in chunks. Keeps the lists on the way to the last position, and its chunk."""

    def __init__(self, content: codec.Stored, load: Load, name: str) -> None:
        self._load = load
        self._name = name
        self._path = [_List(content, 0)]
        super().__init__(self._path[0].starts[-1])
        self._chunk: codec.Stored = b""
        self._chunk_start = 0

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target) and self._position < self._size:
            inside = self._position - self._chunk_start
            if not 0 <= inside < len(self._chunk):
                self._find_chunk()
                inside = self._position - self._chunk_start
            part = memoryview(self._chunk)[inside : inside + len(target) - filled]
            target[filled : filled + len(part)] = part
            filled += len(part)
            self._position += len(part)
        return filled

    def _find_chunk(self) -> None:
        try:
            while len(self._path) > 1 and not self._path[-1].covers(self._position):
                self._path.pop()
            while (found := self._path[-1]).height > 0:
                number = found.row_at(self._position)
                digest, size = found.rows[number]
                inner = self._load(digest, Entry.INNER)
                check_inner(inner, found.height, size)
                self._path.append(_List(inner, found.starts[number]))
            number = found.row_at(self._position)
            digest, size = found.rows[number]
            chunk = self._load(digest, Entry.BLOB)
            if len(chunk) != size:
                raise Damaged("a chunk has another size than its list says")
        except (Damaged, ObjectMissing, ObjectCorrupt) as error:
            raise ObjectCorrupt(self._name, part_reason(error)) from None
        self._chunk, self._chunk_start = chunk, found.starts[number]

"""The verification of blobs in chunks: each hashed as a whole.

Owns the saving that makes it quick. Versions of a file that grows share most of their chunks, in a
row from the start; the hash of what two lists have in common is computed once and copied. Each
copy of a chunk is verified by itself when it is first met.
"""

from array import array
from collections.abc import Iterator
from typing import Any, Final

from rosdb import blob_file, pack_file
from rosdb.chunks import Row
from rosdb.codec import Stored
from rosdb.errors import ObjectCorrupt, ObjectMissing
from rosdb.object_store import Objects
from rosdb.objects import Kind, hasher
from rosdb.pack_file import Damaged, Entry
from rosdb.pack_window import Found, Windows
from rosdb.packs import Place

PART_BAD: Final = "a part of it is damaged or missing"
USELESS: Final = "its chunks do not hash to its id"

# A hash takes long pieces at several times the speed of short ones.
_PIECE_BYTES: Final = 1024 * 1024

# Lists share what begins alike, row by row; the shorter the rows, the more. Each keeps a hash.
_ROWS_FROM: Final = 512

Listed = tuple[Place, bytes, int, list[Row]]
"""A list: where it is, of which blob, its height and its rows."""

Verified = dict[str, tuple["array[int]", bytearray]]
"""By pack: offset, end and content size of each chunk that was verified, in a row; and the ids."""


def families(lists: list[Listed]) -> list[list[Listed]]:
    """Put lists together that begin alike, each family in the order that shares the most.

    The largest family first: whoever takes it is the last to be done.
    """
    found: list[list[Listed]] = []
    for listed in sorted(lists, key=lambda each: each[3]):
        if found and found[-1][-1][3][:1] == listed[3][:1]:
            found[-1].append(listed)
        else:
            found.append([listed])
    return sorted(found, key=lambda family: -max(_size(rows) for *_, rows in family))


def _size(rows: list[Row]) -> int:
    return sum(size for _, size in rows)


class ListVerifier:
    """Verifies a family of lists, one after another."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._path: list[tuple[Row, Any]] = []
        self._windows = Windows(objects.packs)
        self._met: set[tuple[str, int]] = set()
        self.verified: Verified = {}

    def verify(self, family: list[Listed]) -> dict[Place, str]:
        """Hash the content of each list; return what is wrong with those that are.

        Raises: StoreUnreadable.
        """
        bad: dict[Place, str] = {}
        for place, digest, height, rows in family:
            try:
                whole = self._hash(height, rows)
            except (Damaged, ObjectCorrupt, ObjectMissing):
                bad[place] = PART_BAD
            else:
                if whole != digest:
                    bad[place] = USELESS
        return bad

    def _hash(self, height: int, rows: list[Row]) -> bytes:
        """Hash what the rows of a list lead to, from where they part from the list before."""
        while height > 1 and len(rows) < _ROWS_FROM:
            rows = [inner for row in rows for inner in self._inner_rows(height, row)]
            height -= 1
        shared = 0
        for (known, _), row in zip(self._path, rows, strict=False):
            if known != row:
                break
            shared += 1
        del self._path[shared:]
        for row in rows[shared:]:
            whole = self._path[-1][1].copy() if self._path else hasher(Kind.BLOB)
            for piece in self._pieces(height, row):
                whole.update(piece)
            self._path.append((row, whole))
        digest: bytes = (self._path[-1][1] if self._path else hasher(Kind.BLOB)).digest()
        return digest

    def _pieces(self, height: int, row: Row) -> Iterator[bytes]:
        """Return what a row covers, its chunks put together."""
        chunks: list[Stored] = []
        length = 0
        for leaf in self._leaves(height, row):
            chunks.append(self._chunk(leaf))
            length += leaf[1]
            if length >= _PIECE_BYTES:
                yield b"".join(chunks)
                chunks, length = [], 0
        yield b"".join(chunks)

    def _leaves(self, height: int, row: Row) -> Iterator[Row]:
        if height == 0:
            yield row
        else:
            for inner in self._inner_rows(height, row):
                yield from self._leaves(height - 1, inner)

    def _inner_rows(self, height: int, row: Row) -> list[Row]:
        inner = self._objects.load_part(row[0], Entry.INNER)
        return blob_file.check_inner(inner, height, row[1])

    def _chunk(self, row: Row) -> Stored:
        """Return a chunk's content; the first time, hold it against its check and its id."""
        digest, size = row
        found = self._windows.find(digest)
        try:
            if found is None:
                raise Damaged("no index leads to it")
            # Of two copies of a chunk one may be damaged: each is verified when it is first met.
            if (found.pack, found.offset) in self._met:
                content = pack_file.decode_unverified(found.header, found.stored)
            else:
                content = self._verified(found)
        except Damaged:
            content = self._objects.load_part(digest, Entry.BLOB)  # another copy may be sound
        if len(content) != size:
            raise Damaged("a chunk has another size than its list says")
        return content

    def _verified(self, found: Found) -> Stored:
        header = found.header
        if header.entry is not Entry.BLOB:
            raise Damaged("a part of another kind")
        if not pack_file.is_checked(found.head, found.stored):
            raise Damaged("its stored bytes do not add up")
        content = pack_file.decode_content(header, found.stored)
        self._met.add((found.pack, found.offset))
        numbers, digests = self.verified.setdefault(found.pack, (array("Q"), bytearray()))
        numbers.extend((found.offset, found.offset + header.end, len(content)))
        digests += header.digest
        return content

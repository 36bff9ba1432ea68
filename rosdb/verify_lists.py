"""The verification of blobs in chunks: each hashed as a whole.

Owns the saving that makes it quick. Versions of a file that grows share most of their chunks, in a
row from the start; the hash of what two lists have in common is computed once and copied. Each
chunk is verified by itself when it is first met.
"""

from array import array
from collections.abc import Iterator
from typing import Any, Final

from rosdb import blob_file, pack_file
from rosdb.chunks import Row, decode_list
from rosdb.codec import Stored
from rosdb.errors import ObjectCorrupt, ObjectMissing
from rosdb.object_store import Objects
from rosdb.objects import Kind, hasher
from rosdb.pack_file import Damaged, Entry
from rosdb.packs import Place, Windows

PART_BAD: Final = "a part of it is damaged or missing"
USELESS: Final = "its chunks do not hash to its id"

Listed = tuple[Place, bytes, list[Row]]
"""A list: where it is, of which blob, and its rows."""

Verified = dict[str, "array[int]"]
"""By pack: offset, end and content size of each chunk that was verified, in a row."""


def families(lists: list[Listed]) -> list[list[Listed]]:
    """Put lists together that begin alike, each family in the order that shares the most."""
    found: list[list[Listed]] = []
    for listed in sorted(lists, key=lambda each: each[2]):
        if found and found[-1][-1][2][:1] == listed[2][:1]:
            found[-1].append(listed)
        else:
            found.append([listed])
    return found


class ListVerifier:
    """Verifies a family of lists, one after another."""

    def __init__(self, objects: Objects, where: dict[bytes, Place]) -> None:
        self._objects = objects
        self._where = where
        self._path: list[tuple[Row, Any]] = []
        self._windows = Windows(objects.packs)
        self._met: set[bytes] = set()
        self.verified: Verified = {}

    def verify(self, family: list[Listed]) -> dict[Place, str]:
        """Hash the content of each list; return what is wrong with those that are.

        Raises: OSError.
        """
        bad: dict[Place, str] = {}
        for place, digest, rows in family:
            try:
                whole = self._hash(rows)
            except (Damaged, ObjectCorrupt, ObjectMissing):
                bad[place] = PART_BAD
            else:
                if whole != digest:
                    bad[place] = USELESS
        return bad

    def _hash(self, rows: list[Row]) -> bytes:
        """Hash what the rows of a list lead to, from where they part from the list before."""
        shared = 0
        for (known, _), row in zip(self._path, rows, strict=False):
            if known != row:
                break
            shared += 1
        del self._path[shared:]
        for row in rows[shared:]:
            whole = self._path[-1][1].copy() if self._path else hasher(Kind.BLOB)
            for leaf, size in self._leaves(row):
                chunk = self._chunk(leaf)
                if len(chunk) != size:
                    raise Damaged("a chunk has another size than its list says")
                whole.update(chunk)
            self._path.append((row, whole))
        digest: bytes = (self._path[-1][1] if self._path else hasher(Kind.BLOB)).digest()
        return digest

    def _leaves(self, row: Row) -> Iterator[Row]:
        digest, size = row
        place = self._where.get(digest)
        if place is not None and self._objects.packs.header(place, digest).entry is Entry.INNER:
            inner = self._objects.load_part(digest, Entry.INNER)
            if sum(each for _, each in decode_list(memoryview(inner))[1]) != size:
                raise Damaged("an inner list is not what the list above says")
            return blob_file.leaf_rows(inner, self._objects.load_part)
        return iter([row])

    def _chunk(self, digest: bytes) -> Stored:
        place = self._where.get(digest)
        if place is not None:
            try:
                return self._read(place, digest)
            except (Damaged, OSError):
                pass  # another copy may be sound
        return self._objects.load_part(digest, Entry.BLOB)

    def _read(self, place: Place, digest: bytes) -> Stored:
        """Return a chunk's content; the first time, hold it against its check and its id."""
        header, head, stored = self._windows.entry(place)
        if header.digest != digest or header.entry is not Entry.BLOB:
            raise Damaged("another entry stands where its index points")
        if digest in self._met:
            return pack_file.decode_unverified(header, stored)
        if not pack_file.is_checked(head, stored):
            raise Damaged("its stored bytes do not add up")
        content = pack_file.decode_content(header, stored)
        self._met.add(digest)
        noted = self.verified.setdefault(place.pack, array("Q"))
        noted.extend((place.offset, place.offset + header.end, len(content)))
        return content

"""Indexes of packs: sorted ids with a fan-out, mapped into memory.

Owns the bytes of an ``.idx`` (``docs/format.md`` section 5), for one pack or for several. An index
is derived and never trusted: it says where to look, and the entry there says what it is.
"""

import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from blake3 import blake3

from rosdb.objects import DIGEST_SIZE

MAGIC: Final = b"rospidx\x01"
_HEAD: Final = struct.Struct("<8sII")
_FANOUT: Final = struct.Struct("<256I")
_PAIR: Final = struct.Struct("<II")
_COUNT: Final = struct.Struct("<I")
_PLACE: Final = struct.Struct("<IQ")
_CHECKSUM_BYTES: Final = 32

Row = tuple[bytes, int, int, int]
"""An id, the number of its pack, the offset of its entry there, the kind of entry."""

_KIND_SHIFT: Final = 56
_OFFSET_MASK: Final = (1 << _KIND_SHIFT) - 1


class PackIndex:
    """An index, over bytes in memory or mapped."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        """Look at the head.

        Raises: ValueError if it is none, or its sizes are not those of the data.
        """
        if len(data) < _HEAD.size:
            raise ValueError("an index is longer")
        magic, pack_count, row_count = _HEAD.unpack_from(data)
        self._fanout = _HEAD.size + DIGEST_SIZE * pack_count
        self._ids = self._fanout + _FANOUT.size
        self._places = self._ids + DIGEST_SIZE * row_count
        end = self._places + _PLACE.size * row_count + _CHECKSUM_BYTES
        if magic != MAGIC or len(data) != end:
            raise ValueError("an index has another head or size")
        self._data = data
        self.count = row_count
        self.pack_names = [
            bytes(data[start : start + DIGEST_SIZE]).hex()
            for start in range(_HEAD.size, self._fanout, DIGEST_SIZE)
        ]

    def find(self, digest: bytes) -> tuple[int, int] | None:
        """Return the number of the pack and the offset where an id is said to be."""
        first = digest[0]
        data, ids = self._data, self._ids
        if first:
            low, high = _PAIR.unpack_from(data, self._fanout + _COUNT.size * (first - 1))
        else:
            low, high = 0, _COUNT.unpack_from(data, self._fanout)[0]
        high = min(high, self.count)
        while low < high:
            middle = (low + high) // 2
            start = ids + DIGEST_SIZE * middle
            found = data[start : start + DIGEST_SIZE]
            if found < digest:
                low = middle + 1
            elif found == digest:
                pack, offset = _PLACE.unpack_from(data, self._places + _PLACE.size * middle)
                return (pack, offset & _OFFSET_MASK) if pack < len(self.pack_names) else None
            else:
                high = middle
        return None

    def rows(self) -> Iterator[Row]:
        """List every row, by id."""
        places = _PLACE.iter_unpack(self._data[self._places : -_CHECKSUM_BYTES])
        for number, (pack, offset) in enumerate(places):
            start = self._ids + DIGEST_SIZE * number
            digest = self._data[start : start + DIGEST_SIZE]
            yield digest, pack, offset & _OFFSET_MASK, offset >> _KIND_SHIFT

    def is_sound(self) -> bool:
        """Tell whether the checksum holds."""
        view = memoryview(self._data)
        try:
            return blake3(view[:-_CHECKSUM_BYTES]).digest() == view[-_CHECKSUM_BYTES:]
        finally:
            view.release()


def open_index(path: Path) -> PackIndex:
    """Map an index.

    Raises: OSError; ValueError if it is none.
    """
    with path.open("rb") as handle:
        return PackIndex(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))


def encode_index(pack_names: Sequence[str], rows: Iterable[Row]) -> bytes:
    """Return the bytes of an index; of rows with one id the first is kept."""
    ids: list[bytes] = []
    places: list[bytes] = []
    counts = [0] * 256
    for digest, pack, offset, kind in sorted(rows):
        if not ids or ids[-1] != digest:
            ids.append(digest)
            places.append(_PLACE.pack(pack, kind << _KIND_SHIFT | offset))
            counts[digest[0]] += 1
    total = 0
    for first, count in enumerate(counts):
        total += count
        counts[first] = total
    body = b"".join(
        (
            _HEAD.pack(MAGIC, len(pack_names), len(ids)),
            *(bytes.fromhex(name) for name in pack_names),
            _FANOUT.pack(*counts),
            *ids,
            *places,
        )
    )
    return body + blake3(body).digest()

"""How an entry of the journal is framed, and what a power cut may leave of one.

Owns the telling of a torn tail from damage (``docs/format.md`` section 4). A cut loses whole
sectors of an append that was never synced: they read as zeros. A frame::

    length, 4 bytes | the same inverted, 4 bytes | payload | hash of the payload, 32 bytes
"""

import itertools
import struct
from collections.abc import Callable
from typing import Final

from blake3 import blake3

from rosdb import canonical
from rosdb.errors import JournalDamaged
from rosdb.objects import DIGEST_SIZE

ENTRY_CONTEXT: Final = "research-os 2026-11-22 journal entry"
OVERHEAD: Final = 8 + DIGEST_SIZE
"""How much longer a frame is than its payload."""

_HEAD: Final = struct.Struct("<II")
_INVERT: Final = 0xFFFFFFFF
_SECTOR: Final = 512
_PAYLOAD_BYTES_MAX: Final = canonical.SIZE_BYTES_MAX

Reader = Callable[[int], bytes]


class Torn(Exception):
    """The file ends in what a crash may leave."""


def entry_hash(payload: bytes) -> bytes:
    """Return the hash that closes an entry, and that the next one holds."""
    return blake3(payload, derive_key_context=ENTRY_CONTEXT).digest()


def frame(payload: bytes) -> tuple[bytes, bytes]:
    """Return a payload in its frame, and its hash."""
    size, digest = len(payload), entry_hash(payload)
    return _HEAD.pack(size, size ^ _INVERT) + payload + digest, digest


def read_frame(read: Reader, offset: int, size: int) -> tuple[bytes, bytes]:
    """Return the payload and hash of the frame at an offset of a file of that size.

    Raises: Torn; JournalDamaged.
    """
    left = size - offset
    head = read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise Torn
    length, inverted = _HEAD.unpack(head)
    if length ^ inverted != _INVERT or length > _PAYLOAD_BYTES_MAX:
        # Only a lost sector that the head lies in excuses it, and only if it is the last entry's.
        tail = head + read(_PAYLOAD_BYTES_MAX)
        if _lost_its_head(tail, offset) and not _holds_entry(tail):
            raise Torn
        raise JournalDamaged(offset, "the length of an entry is damaged")
    if left < length + OVERHEAD:
        raise Torn
    payload, digest = read(length), read(DIGEST_SIZE)
    if entry_hash(payload) != digest:
        whole = head + payload + digest
        if left == len(whole) and (
            _has_zero_sector(whole, offset, before=left) or _hashes_but_for_its_end(whole, offset)
        ):
            raise Torn
        raise JournalDamaged(offset, "an entry does not hash to what it says")
    return payload, digest


def _has_zero_sector(data: bytes, offset: int, before: int) -> bool:
    """Tell whether a 512-byte sector of the file, or the part that ``data`` covers, is all zero.

    Of the sectors that start ahead of ``before`` in the data. Shorter parts than a head are no
    evidence: longer ones are never zero in a sound entry, for a head and a hash are not.
    """
    first = _SECTOR - offset % _SECTOR
    cuts = [0, *range(first, len(data), _SECTOR), len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(cuts) if a < before]
    return any(len(part) >= _HEAD.size and not any(part) for part in parts)


def _lost_its_head(tail: bytes, offset: int) -> bool:
    """Tell whether the last entry's head is damaged because a sector was lost."""
    if _has_zero_sector(tail, offset, before=_HEAD.size):
        return True
    ahead = _SECTOR - offset % _SECTOR
    if ahead >= _HEAD.size or any(tail[:ahead]):
        return False
    # Too few zeros to be evidence by themselves: but the entry hashes, or has lost more.
    return _has_zero_sector(tail, offset, len(tail)) or _hashes_but_for_its_end(tail, offset)


def _hashes_but_for_its_end(whole: bytes, offset: int) -> bool:
    """Tell whether the last entry's payload has its hash, but for a few zeros behind a border."""
    behind = (offset + len(whole)) % _SECTOR
    lost = behind if behind < _HEAD.size and not any(whole[len(whole) - behind :]) else 0
    end = len(whole) - DIGEST_SIZE
    if end < _HEAD.size:
        return False
    kept = DIGEST_SIZE - lost
    return entry_hash(whole[_HEAD.size : end])[:kept] == whole[end : end + kept]


def _holds_entry(data: bytes) -> bool:
    """Tell whether a sound entry starts anywhere in the data."""
    for at in range(len(data) - OVERHEAD):
        length, inverted = _HEAD.unpack_from(data, at)
        if length ^ inverted == _INVERT:
            start, end = at + _HEAD.size, at + _HEAD.size + length
            if entry_hash(data[start:end]) == data[end : end + DIGEST_SIZE]:
                return True
    return False

"""Chunks: a long blob cut by its content, and the lists that put it together again.

Owns where a blob is cut and the bytes of a chunk list (``docs/format.md`` section 5), without I/O
of its own. A change in the middle of a blob moves no other cut, so it costs a chunk or two and one
short list for each height.

A list is its height, one byte, then rows: an id (32 bytes), and how much of the blob it covers (8).
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from rosdb.pack_file import Damaged, Entry, digest_of

WHOLE_BYTES_MAX: Final = 256 * 1024
"""A blob up to this size is one entry; a longer one is cut."""

CHUNK_BYTES_MIN: Final = 4 * 1024
CHUNK_BYTES_MEAN: Final = 16 * 1024
CHUNK_BYTES_MAX: Final = 64 * 1024
_NORMALISATION: Final = 2

SEGMENT_BYTES: Final = 4 * 1024 * 1024
_ROW: Final = struct.Struct("<32sQ")
_LIST_ROWS_MAX: Final = 256
_LIST_END_BELOW: Final = 4  # of 256: a list ends behind one row in 64
_HEIGHT_MAX: Final = 16

LIST_BYTES_MAX: Final = 1024 * 1024
"""What one list may take: a longer one is read as damage, before its rows take memory."""

BLOB_BYTES_MAX: Final = 1 << 44
"""What a list may claim to cover. Rows that lead to one list again and again can claim anything."""

Row = tuple[bytes, int]
"""A chunk's or list's id, and how many bytes of the blob it covers."""


class Segment(NamedTuple):
    """A part of a stream, and the chunks that it falls into; both are views of the buffer."""

    part: memoryview
    chunks: list[memoryview]
    buffer: memoryview


def segments(
    read_into: Callable[[memoryview], int], spare: list[memoryview] | None = None
) -> Iterator[Segment]:
    """Cut a stream: yield parts of it in order, each with the chunks that it falls into.

    Each has a buffer of its own, so that the chunks of several can be worked on at once. Who is
    done with a segment may put its buffer into ``spare``, for memory is dear when it is new.
    """
    cut = _cutter()
    carry = b""
    is_last = False
    while not is_last:
        view = spare.pop() if spare else memoryview(bytearray(SEGMENT_BYTES))
        filled = len(carry)
        view[:filled] = carry
        while filled < SEGMENT_BYTES and not is_last:
            count = read_into(view[filled:])
            filled += count
            is_last = count == 0
        chunks = [chunk.data for chunk in cut(view[:filled])]
        # The last cut is the buffer's end, not the content's.
        carry = b"" if is_last else bytes(chunks.pop())
        yield Segment(view[: filled - len(carry)], chunks, view)


def _cutter() -> Callable[[memoryview], Any]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said below, in our words and once
        from pyfastcdc import FastCDC
    if ".py." in f".{FastCDC.__module__}.":
        import logging

        logging.getLogger(__name__).warning(
            "pyfastcdc was installed without its compiled part: long files are cut at 6 MB/s"
        )
    chunker = FastCDC(
        CHUNK_BYTES_MEAN,
        min_size=CHUNK_BYTES_MIN,
        max_size=CHUNK_BYTES_MAX,
        normalized_chunking=_NORMALISATION,
        seed=0,
    )
    cut: Callable[[memoryview], Any] = chunker.cut_buf
    return cut


def encode_list(height: int, rows: list[Row]) -> bytes:
    """Return the bytes of a list."""
    return bytes([height]) + b"".join(_ROW.pack(*row) for row in rows)


def decode_list(content: bytes | memoryview) -> tuple[int, list[Row]]:
    """Return a list's height and rows.

    Raises: Damaged.
    """
    if len(content) < 1 or (len(content) - 1) % _ROW.size or content[0] > _HEIGHT_MAX:
        raise Damaged("it is no list of chunks")
    if len(content) > LIST_BYTES_MAX:
        raise Damaged(f"its list of chunks takes {len(content)} bytes")
    rows = list(_ROW.iter_unpack(content[1:]))
    claimed = sum(size for _, size in rows)
    if any(size == 0 for _, size in rows):
        raise Damaged("it lists a part of no bytes")  # a list of nothing could go on for ever
    if claimed > BLOB_BYTES_MAX:
        raise Damaged(f"it claims {claimed} bytes")
    if content[0] == 0 and any(size > CHUNK_BYTES_MAX for _, size in rows):
        raise Damaged("it lists a chunk that is too long")
    return content[0], rows


def build_lists(rows: list[Row]) -> Iterator[tuple[Entry, bytes | None, bytes]]:
    """Build the lists over a blob's chunks: inner ones with their ids, the blob's own last."""
    height = 0
    while True:
        groups = _groups(rows)
        if len(groups) <= 1:
            yield Entry.CHUNKS, None, encode_list(height, rows)
            return
        rows = []
        for group in groups:
            content = encode_list(height, group)
            digest = digest_of(Entry.INNER, content)
            assert digest is not None
            yield Entry.INNER, digest, content
            rows.append((digest, sum(size for _, size in group)))
        height += 1


def _groups(rows: list[Row]) -> list[list[Row]]:
    groups: list[list[Row]] = []
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if row[0][0] < _LIST_END_BELOW or len(group) == _LIST_ROWS_MAX:
            groups.append(group)
            group = []
    if group:
        groups.append(group)
    return groups

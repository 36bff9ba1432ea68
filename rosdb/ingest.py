"""Ingest: a long stream into chunks in a pack, on both cores.

Owns the pipeline: this thread reads, cuts, hashes the whole and writes; two workers hash each chunk
and compress those that are new. Memory is a few segments, and a row for each
chunk: some 35 MB a GiB of the stream.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from blake3 import blake3

from rosdb import codec, pack_file
from rosdb.chunks import Row, build_lists, segments
from rosdb.pack_file import Entry

_WORKERS: Final = 2
_SEGMENTS_AHEAD: Final = 6
# Where this many chunks in a row did not compress, only one in so many is tried.
_GIVE_UP_AFTER: Final = 8

Encoded = tuple[bytes, int, bytes | None, codec.Stored]
"""A chunk's id and size; the header and bytes of its entry, or None where it is stored already."""


class Sink(Protocol):
    """Where entries go: the packs of a transaction."""

    def has_entry(self, digest: bytes) -> bool:
        """Tell whether the id is stored, or on its way."""

    def keeps_blob(self, digest: bytes) -> bool:
        """Tell whether a whole blob is stored, or on its way; it is then as if put anew."""

    def append(self, head: bytes, stored: codec.Stored) -> None:
        """Append an entry; what is stored is copied, for its memory is used again."""


def put_stream(read_into: Callable[[memoryview], int], sink: Sink) -> tuple[bytes, int]:
    """Cut and store a blob; return its id's digest and its size."""
    from concurrent.futures import Future, ThreadPoolExecutor

    whole = blake3()
    rows: list[Row] = []
    waiting: deque[tuple[memoryview, Future[list[Encoded]]]] = deque()
    spare: list[memoryview] = []

    def drain() -> None:
        buffer, encoded = waiting.popleft()
        for digest, size, head, stored in encoded.result():
            rows.append((digest, size))
            if head is not None and not sink.has_entry(digest):
                sink.append(head, stored)
        spare.append(buffer)

    with ThreadPoolExecutor(_WORKERS) as pool:
        for segment in segments(read_into, spare):
            waiting.append((segment.buffer, pool.submit(_encode, segment.chunks, sink)))
            whole.update(segment.part)
            if len(waiting) > _SEGMENTS_AHEAD:
                drain()
        while waiting:
            drain()
    digest = whole.digest()
    is_kept = sink.keeps_blob(digest)
    for entry, inner, content in build_lists(rows):
        # The inner ones are looked for each time: a repair may have had to drop one.
        if inner is None and not is_kept:
            append_entry(sink, entry, digest, content)
        elif inner is not None and not sink.has_entry(inner):
            append_entry(sink, entry, inner, content)
    return digest, sum(size for _, size in rows)


def append_entry(sink: Sink, entry: Entry, digest: bytes, content: codec.Stored) -> None:
    """Encode one entry and append it."""
    code, stored = codec.encode(content)
    sink.append(pack_file.encode_header(entry, code, len(content), stored, digest), stored)


def _encode(chunks: list[memoryview], sink: Sink) -> list[Encoded]:
    encoded: list[Encoded] = []
    raw_in_a_row = 0
    for number, chunk in enumerate(chunks):
        digest = blake3(chunk).digest()
        if sink.has_entry(digest):
            encoded.append((digest, len(chunk), None, b""))
            continue
        code: int = codec.RAW
        stored: codec.Stored = chunk
        if raw_in_a_row < _GIVE_UP_AFTER or number % _GIVE_UP_AFTER == 0:
            code, stored = codec.encode(chunk)
            raw_in_a_row = raw_in_a_row + 1 if code == codec.RAW else 0
        head = pack_file.encode_header(Entry.BLOB, code, len(chunk), stored, digest)
        encoded.append((digest, len(chunk), head, stored))
    return encoded

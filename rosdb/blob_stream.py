"""A long blob from start to end: its chunks decoded by two threads, in pieces of a few megabytes.

Owns the pipeline of a whole read. What it verifies is the whole, at the end: a hash takes long
pieces at several times the speed of short ones. Until then what a taker has is unverified.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from rosdb import codec
from rosdb.chunks import CHUNK_BYTES_MEAN, Row
from rosdb.objects import Kind, hasher
from rosdb.pack_file import Damaged, Entry, decode_unverified
from rosdb.pack_window import Windows

_PIECE_BYTES: Final = 2 * 1024 * 1024
_PIECE_ROWS: Final = _PIECE_BYTES // CHUNK_BYTES_MEAN
_WORKERS: Final = 2
_PIECES_AHEAD: Final = 4

Load = Callable[[bytes, Entry], codec.Stored]
"""Returns a chunk's or an inner list's verified content, given its id and which it is."""


def whole_pieces(
    digest: bytes, rows: Iterable[Row], windows: Callable[[], Windows], load: Load
) -> Iterator[bytes]:
    """Yield the content that chunks make, in pieces; verified when the last one has been taken.

    ``load`` finds a chunk that no window shows.
    Raises: Damaged where a chunk or the whole is not what it should be; what ``load`` raises.
    """
    whole = hasher(Kind.BLOB)
    for piece in _joined(rows, windows, load):
        whole.update(piece)
        yield piece
    if whole.digest() != digest:
        raise Damaged("its content does not hash to its id")


def _read_chunk(windows: Windows, load: Load, row: Row) -> codec.Stored:
    """Return a chunk's content, of the size that its list says, unverified.

    Raises: Damaged; what ``load`` raises.
    """
    digest, size = row
    found = windows.find(digest)
    if found is None or found.header.entry is not Entry.BLOB:
        content = load(digest, Entry.BLOB)
    else:
        content = decode_unverified(found.header, found.stored)
    if len(content) != size:
        raise Damaged("a chunk has another size than its list says")
    return content


def _joined(rows: Iterable[Row], windows: Callable[[], Windows], load: Load) -> Iterator[bytes]:
    from concurrent.futures import Future, ThreadPoolExecutor

    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            for run in _runs(rows):
                waiting.append(pool.submit(_join, run, windows(), load))
                if len(waiting) > _PIECES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _runs(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    run: list[Row] = []
    for row in rows:
        run.append(row)
        if len(run) == _PIECE_ROWS:
            yield run
            run = []
    if run:
        yield run


def _join(run: Sequence[Row], windows: Windows, load: Load) -> bytes:
    return b"".join([_read_chunk(windows, load, row) for row in run])

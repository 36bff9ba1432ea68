"""How content is kept: raw, or as one zstd frame.

Owns compression and its limits. Knows nothing of ids, files or packs. A frame states its content's
size, and is refused before anything is allocated where that is not the size its header claims.
"""

import threading
from typing import Final

import zstandard

RAW: Final = 0
ZSTD: Final = 1

FROM_BYTES: Final = 128
_RATIO_MIN: Final = 1.05
_LEVEL: Final = 1

Stored = bytes | bytearray | memoryview


class NotDecodable(Exception):
    """The stored bytes are no content of that codec and size; the text says why."""


class _PerThread(threading.local):
    """A compressor must not be used by two threads at once, and is dear to make."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_own: Final = _PerThread()


def encode(content: Stored) -> tuple[int, Stored]:
    """Return a codec and the bytes to store: compressed where that saves five per cent."""
    if len(content) >= FROM_BYTES:
        frame = _own.compressor.compress(content)
        if len(frame) * _RATIO_MIN < len(content):
            return ZSTD, frame
    return RAW, content


def decode(codec: int, stored: Stored, content_bytes: int) -> Stored:
    """Return the content of stored bytes.

    Raises: NotDecodable.
    """
    if codec == RAW:
        if len(stored) != content_bytes:
            raise NotDecodable(f"{len(stored)} bytes of {content_bytes}")
        return stored
    if codec != ZSTD:
        raise NotDecodable(f"codec {codec} is unknown")
    try:
        # Before the decoder allocates: the frame may ask for the size of the header, and no more.
        if zstandard.frame_content_size(stored) != content_bytes:
            raise NotDecodable("its two sizes differ")
        return _own.decompressor.decompress(
            stored, max_output_size=content_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise NotDecodable("it does not decompress") from error

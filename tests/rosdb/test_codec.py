"""Compression: what comes back is what went in, and no frame takes more memory than it may."""

import threading
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rosdb import codec

CONTENTS = st.binary(max_size=500) | st.builds(
    lambda piece, count: piece * count, st.binary(min_size=1, max_size=9), st.integers(1, 2000)
)


@given(CONTENTS, st.sampled_from([bytes, bytearray, memoryview]))
def test_what_is_encoded_comes_back(content, kind):
    code, stored = codec.encode(kind(content))

    assert bytes(codec.decode(code, stored, len(content))) == content
    assert bytes(codec.decode(code, memoryview(stored), len(content))) == content
    if code == codec.ZSTD:
        assert len(content) >= codec.FROM_BYTES
        assert len(stored) * 1.05 < len(content)
    else:
        assert bytes(stored) == content


@given(CONTENTS, st.integers(0, 10_000))
def test_another_size_than_the_content_s_is_refused(content, size):
    code, stored = codec.encode(content)
    if size != len(content):
        with pytest.raises(codec.NotDecodable):
            codec.decode(code, stored, size)


def compressed(content: bytes, **options: bool) -> bytes:
    return zstandard.ZstdCompressor(level=19, **options).compress(content)


LIES: dict[str, Callable[[], tuple[int, bytes, int]]] = {
    "raw, larger": lambda: (2000, bytes(1000), codec.RAW),
    "raw, smaller": lambda: (10, bytes(1000), codec.RAW),
    "zstd, larger": lambda: (2000, compressed(bytes(1000)), codec.ZSTD),
    "zstd, as large as can be": lambda: (2**64 - 1, compressed(bytes(1000)), codec.ZSTD),
    "a bomb with a small size": lambda: (1000, compressed(bytes(2**28)), codec.ZSTD),
    "a bomb that keeps its size to itself": lambda: (
        1000,
        compressed(bytes(2**28), write_content_size=False),
        codec.ZSTD,
    ),
    "a frame that says less than it holds": lambda: (
        1000,
        # The size that a frame states is at 5 (2 bytes, less 256) where it holds 1256 bytes.
        compressed(bytes(1256)).replace((1000).to_bytes(2, "little"), (744).to_bytes(2, "little")),
        codec.ZSTD,
    ),
    "two frames": lambda: (500, compressed(bytes(500)) * 2, codec.ZSTD),
    "a frame and more": lambda: (1000, compressed(bytes(1000)) + b"x", codec.ZSTD),
    "half a frame": lambda: (1000, compressed(bytes(range(200)) * 5)[:50], codec.ZSTD),
    "no frame": lambda: (0, b"", codec.ZSTD),
    "an unknown codec": lambda: (1000, bytes(1000), 2),
    "a skippable frame": lambda: (0, b"\x50\x2a\x4d\x18\x04\0\0\0abcd", codec.ZSTD),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_before_memory_is_taken_for_it(name):
    size, stored, code = LIES[name]()
    tracemalloc.start()
    try:
        with pytest.raises(codec.NotDecodable) as caught:
            codec.decode(code, stored, size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert str(caught.value)
    assert peak < 1024 * 1024


def test_threads_do_not_disturb_each_other():
    contents = [b"%d " % number * 5000 for number in range(4)]
    seen: list[bool] = []

    def work(content: bytes) -> None:
        for _ in range(50):
            code, stored = codec.encode(content)
            seen.append(codec.decode(code, stored, len(content)) == content)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [True] * 200

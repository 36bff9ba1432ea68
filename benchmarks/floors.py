"""The floors: what the machine itself can do, measured in the same sitting.

Nothing that stores can be faster than these, so they say how much is left to gain.
"""

import os
import time
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from blake3 import blake3

from benchmarks.instruments import BLOCK_BYTES, seconds_each
from benchmarks.page import Table, number

_MEMORY_BYTES: Final = 256 * 1024 * 1024
_SMALL_BYTES: Final = 4096
_SMALL_COUNT: Final = 500


def measure(folder: Path, *, write_bytes: int, seed: int) -> Table:
    """Measure every floor on the file system of a folder."""
    content = np.random.default_rng([seed, 9]).bytes(_MEMORY_BYTES)
    rows = [
        ("memory copied, GB/s", _copied(content)),
        ("BLAKE3, one thread, GB/s", _hashed(content)),
        ("written in order and synced, GB/s", _written(folder / "floor", content, write_bytes)),
        ("4 KiB appended and synced, a second", _appended(folder / "floor", content)),
        ("4 KiB files made, synced and renamed, a second", _renamed(folder, content)),
    ]
    return Table(
        title="Floors",
        header=["what the machine does", "measured"],
        rows=[[name, number(value)] for name, value in rows],
    )


def _copied(content: bytes) -> float:
    target = bytearray(len(content))
    source, view = memoryview(content), memoryview(target)

    def copy(_: int) -> None:
        view[:] = source

    return len(content) / median(seconds_each(5, copy)) / 1e9


def _hashed(content: bytes) -> float:
    return len(content) / median(seconds_each(5, lambda _: blake3(content).digest())) / 1e9


def _written(path: Path, content: bytes, size_bytes: int) -> float:
    view = memoryview(content)
    os.sync()
    started = time.perf_counter()
    with path.open("wb", buffering=0) as handle:
        for start in range(0, size_bytes, BLOCK_BYTES):
            offset = start % len(view)
            handle.write(view[offset : offset + min(BLOCK_BYTES, size_bytes - start)])
        os.fsync(handle.fileno())
    seconds = time.perf_counter() - started
    path.unlink()
    return size_bytes / seconds / 1e9


def _appended(path: Path, content: bytes) -> float:
    with path.open("ab", buffering=0) as handle:

        def append(number: int) -> None:
            handle.write(content[number * _SMALL_BYTES : (number + 1) * _SMALL_BYTES])
            os.fsync(handle.fileno())

        os.sync()
        taken = seconds_each(_SMALL_COUNT, append)
    path.unlink()
    return _SMALL_COUNT / sum(taken)


def _renamed(folder: Path, content: bytes) -> float:
    target = folder / "floors"
    target.mkdir()

    def publish(number: int) -> None:
        temporary = target / "temporary"
        with temporary.open("wb", buffering=0) as handle:
            handle.write(content[number * _SMALL_BYTES : (number + 1) * _SMALL_BYTES])
            os.fsync(handle.fileno())
        temporary.rename(target / str(number))

    os.sync()
    taken = seconds_each(_SMALL_COUNT, publish)
    for path in target.iterdir():
        path.unlink()
    target.rmdir()
    return _SMALL_COUNT / sum(taken)

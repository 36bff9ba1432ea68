"""The workloads: what every tool has to store.

Owns their content, which a seed and a scale decide to the byte:

    a   10,000 files of 4 KiB of random bytes in 100 folders: nothing to compress, much to name
    b   one file of 1 GiB of random bytes: nothing to compress, nothing to share
    c1  512 MiB of market ticks, rows of eight float64; zstd makes a fifth of them
    c2  c1 with one row in a hundred appended: the next day
    c3  c2 with 1,000 bytes inserted in the middle: fixed blocks share nothing behind it
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.instruments import BLOCK_BYTES

_FOLDERS: Final = 100
_FILES_A_FOLDER: Final = 100
_FILE_BYTES: Final = 4096
_LARGE_BYTES: Final = 1024**3
_TICKS_BYTES: Final = 512 * 1024**2
_ROW_BYTES: Final = 8 * 8
_INSERTED_BYTES: Final = 1000
_ROWS_A_BLOCK: Final = BLOCK_BYTES // _ROW_BYTES

# The name that a tool sees; the three tick files take turns under one name.
NAMES: Final = {"a": "a", "b": "b.bin", "c1": "c.bin", "c2": "c.bin", "c3": "c.bin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workloads:
    """The made files, and the folder in which tools find them."""

    made: Path
    source: Path

    def turn(self, step: str, source: Path, *, as_copy: bool) -> Path:
        """Put the content of a step under its name in a source folder; return where."""
        place, content = source / NAMES[step], self.made / step
        if content.is_dir():
            if not place.exists():
                shutil.copytree(content, place, copy_function=shutil.copyfile)
            return place
        place.unlink(missing_ok=True)
        if as_copy:
            shutil.copyfile(content, place)
        else:
            os.link(content, place)
        return place


def make(folder: Path, steps: set[str], *, scale: float, seed: int) -> Workloads:
    """Make the workloads of some steps below a folder."""
    made, source = folder / "made", folder / "source"
    made.mkdir()
    source.mkdir()
    if "a" in steps:
        _make_small_files(made / "a", np.random.default_rng([seed, 1]), scale)
    if "b" in steps:
        size = int(_LARGE_BYTES * scale)
        make_random_file(made / "b", np.random.default_rng([seed, 2]), size)
    if "c1" in steps:
        _make_ticks(made, np.random.default_rng([seed, 3]), scale)
    return Workloads(made=made, source=source)


def make_random_file(path: Path, rng: np.random.Generator, size_bytes: int) -> None:
    """Write random bytes, in bounded memory."""
    with path.open("wb") as handle:
        for start in range(0, size_bytes, BLOCK_BYTES):
            handle.write(rng.bytes(min(BLOCK_BYTES, size_bytes - start)))


def _make_small_files(folder: Path, rng: np.random.Generator, scale: float) -> None:
    count = max(1, round(_FILES_A_FOLDER * scale))
    for outer in range(_FOLDERS):
        inner = folder / f"{outer:02}"
        inner.mkdir(parents=True)
        for number in range(count):
            (inner / f"{number:02}.bin").write_bytes(rng.bytes(_FILE_BYTES))


def _make_ticks(folder: Path, rng: np.random.Generator, scale: float) -> None:
    row_count = int(_TICKS_BYTES * scale) // _ROW_BYTES
    appended = row_count // 100
    with (folder / "c1").open("wb") as c1, (folder / "c2").open("wb") as c2:
        left = row_count
        for rows in ticks(rng, row_count + appended):
            content = rows.tobytes()
            c1.write(content[: max(0, left) * _ROW_BYTES])
            c2.write(content)
            left -= len(rows)
    middle = (row_count + appended) // 2 * _ROW_BYTES
    with (folder / "c2").open("rb") as c2, (folder / "c3").open("wb") as c3:
        c3.write(c2.read(middle))
        c3.write(rng.bytes(_INSERTED_BYTES))
        shutil.copyfileobj(c2, c3, BLOCK_BYTES)


def ticks(rng: np.random.Generator, row_count: int) -> Iterator[npt.NDArray[np.float64]]:
    """Walk a price in cents, tick by tick; give blocks of rows.

    Shapes: blocks of (rows, 8): time, price, bid, ask, trade, bid and ask size, side.
    Units:  time in seconds since 1970, prices in dollars, sizes in shares.
    """
    clock, price = 17_000_000_000_000, 45_000  # in tenths of a millisecond, in cents
    for start in range(0, row_count, _ROWS_A_BLOCK):
        count = min(_ROWS_A_BLOCK, row_count - start)
        gaps = rng.geometric(0.002, count)
        gaps[rng.random(count) < 0.6] = 0  # a large order is filled in one instant
        times = clock + np.cumsum(gaps)
        steps = rng.choice([-2, -1, 0, 1, 2], count, p=[0.05, 0.15, 0.6, 0.15, 0.05])
        prices = price + np.cumsum(steps)
        spreads = rng.choice([1, 2, 3], count, p=[0.8, 0.15, 0.05])
        is_sold = rng.integers(0, 2, count)
        lots, odd = rng.geometric(0.5, count) * 100, rng.geometric(0.02, count)
        yield np.column_stack(
            [
                times / 1e4,
                prices / 100,
                (prices - (1 - is_sold) * spreads) / 100,
                (prices + is_sold * spreads) / 100,
                np.where(rng.random(count) < 0.5, lots, odd).astype(np.float64),
                rng.geometric(0.1, count) * 100.0,
                rng.geometric(0.1, count) * 100.0,
                1.0 - 2.0 * is_sold,
            ]
        )
        clock, price = int(times[-1]), int(prices[-1])

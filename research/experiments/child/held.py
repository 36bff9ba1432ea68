"""The held child: the harness, with what a machine leaves to chance held still.

Each factor stands in one of two states, named in the fourth argument: ``a`` (a clock that starts at
a set instant, chance from a set seed, folders listed by name, threads one after another, addresses
without the kernel's shuffle) or ``b``, where the same is set to something else. A factor that is
not named is left alone. Two children that differ in one state and in what they answer show what
the answer depends on. It holds what Python code asks for, not what a C library asks by itself.

    python held.py HARNESS FOLDER TASK clock=a,entropy=b
"""

import _thread
import builtins
import concurrent.futures.thread
import ctypes
import datetime
import functools
import hashlib
import io
import os
import random
import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

_MARK = "addresses-are-held"
_ADDR_NO_RANDOMIZE = 0x0040000
_ASK = 0xFFFFFFFF
_DEVICES = ("/dev/random", "/dev/urandom")
_PATIENCE_SECONDS = 5.0
_STEP_SECONDS = 0.003
_SETTLING_SECONDS = 0.02
_OBJECTS = 1009

_ballast: list[list[object]] = []
_really_sleep, _really_monotonic = time.sleep, time.monotonic


def main(harness: str, folder: str, task: str, states: str) -> None:
    """Hold what is named, then be the harness."""
    factors = dict(each.split("=") for each in states.split(",") if each)
    if "addresses" in factors and sys.argv[-1] != _MARK:
        _hold_addresses(factors["addresses"])
    if factors.get("addresses") == "a":
        _settle_first_thread()
    if "clock" in factors:
        _hold_clock(factors["clock"] == "b")
    if "entropy" in factors:
        _hold_entropy(factors["entropy"])
    if "listing" in factors:
        _hold_listing(factors["listing"] == "b")
    if "threads" in factors:
        _hold_threads(factors["threads"] == "b")
    sys.argv[:] = [harness, folder, task]
    runpy.run_path(harness, run_name="__main__")


def _hold_addresses(state: str) -> None:
    """Start again without the kernel's shuffle; in the other state, with the memory shifted too.

    Where the kernel does not let us, the addresses are left as they are.
    """
    if state == "b":
        _ballast.extend([object() for _ in range(number)] for number in range(_OBJECTS))
        return
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    before = libc.personality(_ASK)
    if before >= 0 and libc.personality(before | _ADDR_NO_RANDOMIZE) >= 0:
        # Else a thread's first allocation lies where it is by when it comes.
        os.environ["MALLOC_ARENA_MAX"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], _MARK])


def _settle_first_thread() -> None:
    """Let the harness's own thread take its memory before anything else does."""
    begin = _thread.start_new_thread

    def begin_settled(*arguments: Any) -> int:
        _put(_thread, start_new_thread=begin)
        number = begin(*arguments)
        _really_sleep(_SETTLING_SECONDS)
        return number

    _put(_thread, start_new_thread=begin_settled)


class _Clock:
    """A clock that starts at a set instant and goes on by a set step whenever it is read."""

    def __init__(self, start_ns: int, step_ns: int) -> None:
        self.now_ns = start_ns
        self._step_ns = step_ns

    def read_ns(self, *_: Any) -> int:
        self.now_ns += self._step_ns
        return self.now_ns

    def read(self, *_: Any) -> float:
        return self.read_ns() / 1e9

    def sleep(self, seconds: float) -> None:
        _really_sleep(seconds)
        self.now_ns += int(seconds * 1e9)


def _hold_clock(is_other: bool) -> None:
    """Set the clock; in the other state months later, and with another pace."""
    if is_other:
        clock = _Clock(1_024_786_861_123_456_789, 1_700_001)
    else:
        clock = _Clock(1_000_000_000_000_000_000, 1_000_000)
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, name, clock.read)
        setattr(time, f"{name}_ns", clock.read_ns)
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, _of_now(getattr(time, name), clock))
    written, spelled = time.strftime, time.asctime
    _put(
        time,
        strftime=lambda text, at=None: written(text, time.localtime() if at is None else at),
        asctime=lambda at=None: spelled(time.localtime() if at is None else at),
        clock_gettime=clock.read,
        clock_gettime_ns=clock.read_ns,
        sleep=clock.sleep,
    )
    _put(datetime, datetime=_DateTime, date=_Date)


def _put(place: Any, **held: Any) -> None:
    """Put what is held in the place of what is real."""
    for name, value in held.items():
        setattr(place, name, value)


def _of_now(real: Callable[[float], Any], clock: _Clock) -> Callable[..., Any]:
    return lambda seconds=None: real(clock.read() if seconds is None else seconds)


class _LikeReal(type):
    """Takes an instance of the real class for one of its own."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.__mro__[1])


class _DateTime(datetime.datetime, metaclass=_LikeReal):
    """A moment whose now is the held clock's."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _DateTime.__mro__[1].fromtimestamp(time.time(), tz)  # type: ignore[attr-defined]

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.now()


class _Date(datetime.date, metaclass=_LikeReal):
    """A day whose today is the held clock's."""

    @classmethod
    def today(cls) -> Any:
        return _DateTime.now().date()


class _Chance:
    """Bytes from a seed, in place of the kernel's."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._count = 0

    def bytes(self, size: int, *_: Any) -> bytes:
        found = b""
        while len(found) < size:
            self._count += 1
            found += hashlib.sha256(self._seed + self._count.to_bytes(8)).digest()
        return found[:size]


class _Device(io.RawIOBase):
    """The device of chance, opened as a file."""

    def __init__(self, chance: _Chance) -> None:
        self._chance = chance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = self._chance.bytes(len(buffer))
        return len(buffer)


def _hold_entropy(seed: str) -> None:
    """Draw what is asked of the kernel, and what ``random`` starts from, from a seed."""
    chance = _Chance(seed)
    _put(os, urandom=chance.bytes, getrandom=chance.bytes)
    _put(random, _urandom=chance.bytes)
    seeded = random.Random.seed

    def seed_held(self: random.Random, a: Any = None, version: int = 2) -> None:
        seeded(self, int.from_bytes(chance.bytes(32)) if a is None else a, version)

    _put(random.Random, seed=seed_held)
    random.seed(seed)
    opened = io.open

    def open_held(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if isinstance(file, str | os.PathLike) and os.fspath(file) in _DEVICES:
            return (
                _Device(chance)
                if more.get("buffering") == 0
                else io.BufferedReader(_Device(chance))
            )
        return opened(file, mode, *rest, **more)

    _put(io, open=open_held)
    _put(builtins, open=open_held)


class _Listing:
    """What ``os.scandir`` returns, in a set order."""

    def __init__(self, entries: list[Any]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


def _hold_listing(is_reversed: bool) -> None:
    """List folders by name; in the other state, by name from the last one on."""
    listed, scanned = os.listdir, os.scandir

    @functools.wraps(listed)
    def listdir(path: Any = None) -> list[Any]:
        return sorted(listed(path), reverse=is_reversed)

    @functools.wraps(scanned)
    def scandir(path: Any = None) -> Any:
        with scanned(path) as entries:
            return _Listing(sorted(entries, key=lambda entry: entry.name, reverse=is_reversed))

    _put(os, listdir=listdir, scandir=scandir)


def _hold_threads(is_crowded: bool) -> None:
    """Let threads run one after another on one core; in the other state, in another order.

    There each waits before it begins, the earlier the longer, and the interpreter switches often.
    """
    cores = {0, 1, 2} if is_crowded else {0}
    if hasattr(os, "sched_getaffinity"):
        if not is_crowded:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        _put(os, sched_getaffinity=lambda pid, /: set(cores))
    _put(os, cpu_count=lambda: len(cores))
    sys.setswitchinterval(1e-6 if is_crowded else _PATIENCE_SECONDS)
    if is_crowded:
        _stagger_threads()
    else:
        _queue_threads()


def _stagger_threads() -> None:
    starts, begun = threading.Thread.start, [0]

    def start(self: threading.Thread) -> None:
        body, number = self.run, begun[0]
        begun[0] += 1

        def run() -> None:
            _really_sleep(_STEP_SECONDS * (7 - number % 8))
            body()

        _put(self, run=run)
        starts(self)

    _put(threading.Thread, start=start)


def _queue_threads() -> None:
    starts, left = threading.Thread.start, [_PATIENCE_SECONDS]
    pool: Any = concurrent.futures.thread

    def start(self: threading.Thread) -> None:
        starts(self)
        before = _really_monotonic()
        # A pool's one worker takes its tasks in their order by itself, and ends with the pool.
        if left[0] > 0 and getattr(self, "_target", None) is not pool._worker:
            self.join(min(1.0, left[0]))
        left[0] -= _really_monotonic() - before

    _put(threading.Thread, start=start)
    made = pool.ThreadPoolExecutor.__init__

    def init(self: Any, max_workers: int | None = None, *rest: Any, **more: Any) -> None:
        made(self, 1, *rest, **more)

    _put(pool.ThreadPoolExecutor, __init__=init)


if __name__ == "__main__":
    main(*sys.argv[1:5])

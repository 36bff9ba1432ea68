"""Limits of a run: how long it may take, how much memory it may use.

Owns how they are read and watched. They are circumstance and stand in no recipe, so an experiment
must not be able to feel them: a limit of the system (``RLIMIT_AS``) would show as a ``MemoryError``
that code may catch, and two limits would give one recipe two outcomes. So the child is watched from
outside and ended, with all that it has started.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from research.errors import BadInput

Reached = Literal["TimedOut", "OutOfMemory"]

_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_BYTES: Final = {
    "": 1, "b": 1, "k": 1000, "kb": 1000, "m": 1000**2, "mb": 1000**2, "g": 1000**3,
    "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3,
}  # fmt: skip
_QUANTITY: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_SIZES: Final = re.compile(rb"^Vm(?:RSS|HWM):\s*(\d+) kB", re.MULTILINE)
_MOST: Final = 1e12
_MEMORY_BYTES_MIN: Final = 1_000_000
_TICK_SECONDS: Final = 0.01
_PROCESSES: Final = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may take; None is as much as it likes.

    Units:  seconds of wall time; bytes of resident memory, of all its processes together.
    """

    seconds: float | None = None
    memory_bytes: int | None = None


NO_LIMITS: Final = Limits()


def parse_limits(timeout: str | None, memory: str | None) -> Limits:
    """Read limits as people write them: ``90``, ``1.5m``; ``500MB``, ``2GiB``.

    Raises: BadInput if it is none, or if memory cannot be watched on this system.
    """
    seconds = None if timeout is None else _quantity("--timeout", timeout, _SECONDS, "90, 5m or 1h")
    size = None if memory is None else _quantity("--memory", memory, _BYTES, "500MB or 2GiB")
    if size is not None and not (_PROCESSES / "self" / "status").exists():
        raise BadInput("--memory: this system does not show how much memory a process uses")
    if size is not None and size < _MEMORY_BYTES_MIN:
        raise BadInput(f"--memory {memory}: {size:g} bytes, in which nothing runs: 500MB or 2GiB")
    return Limits(seconds=seconds, memory_bytes=None if size is None else int(size))


def watch(child: "subprocess.Popen[bytes]", limits: Limits) -> Reached | None:
    """Wait for a child to end, or to reach a limit; it is the caller who ends it then."""
    waited = 0.0
    while True:
        try:
            child.wait(timeout=_patience(limits, waited))
        except subprocess.TimeoutExpired:
            waited += _patience(limits, waited) or 0.0
            if limits.seconds is not None and waited >= limits.seconds:
                return "TimedOut"
            if limits.memory_bytes is not None and memory_of(child.pid) > limits.memory_bytes:
                return "OutOfMemory"
        else:
            return None


def message_of(reached: Reached, limits: Limits) -> str:
    """Say which limit was reached."""
    if reached == "TimedOut":
        return f"it took longer than {limits.seconds:g} s, the limit that it was given"
    size = (limits.memory_bytes or 0) / 1000**2
    return f"it used more than {size:g} MB of memory, the limit that it was given"


def memory_of(process_id: int) -> int:
    """Return the memory of a process and of all that it started.

    Units:  bytes, resident; of one process the most that it ever used.
    """
    return sum(_peak(each) for each in family(process_id))


def memory_below(process_id: int) -> int:
    """Return the memory of what a process has started, without its own.

    Units:  bytes, resident.
    """
    return sum(_peak(each) for each in family(process_id) if each != process_id)


def _patience(limits: Limits, waited: float) -> float | None:
    """Return how long to wait at once."""
    left = None if limits.seconds is None else max(0.0, limits.seconds - waited)
    if limits.memory_bytes is None:
        return left
    return _TICK_SECONDS if left is None else min(_TICK_SECONDS, left)


def family(process_id: int) -> Iterator[int]:
    """Yield a process, and all that it started."""
    yield process_id
    for tasks in _PROCESSES.glob(f"{process_id}/task/*/children"):
        try:
            children = tasks.read_bytes().split()
        except OSError:
            continue  # it has ended
        for each in children:
            yield from family(int(each))


def _peak(process_id: int) -> int:
    try:
        described = (_PROCESSES / str(process_id) / "status").read_bytes()
    except OSError:
        return 0
    return max((1024 * int(size) for size in _SIZES.findall(described)), default=0)


def _quantity(option: str, text: str, units: dict[str, float] | dict[str, int], such: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2].lower() not in units or not 0 < float(match[1]) < _MOST:
        raise BadInput(f"{option} {text!r}: write it as {such}")
    return float(match[1]) * units[match[2].lower()]

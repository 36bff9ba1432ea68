"""The turnstile: many writers, or one collector alone.

Owns two kernel locks. A transaction shares ``writers.lock``; whoever wants it passes the gate
first, and a collector that waits keeps the gate shut, so that other processes cannot starve it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rosdb import disk


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be one of the writers of the store in a folder: nothing that is stored vanishes meanwhile.

    Raises: StoreLocked, StoreUnwritable.
    """
    with contextlib.ExitStack() as held:
        with disk.shared_lock(folder / "gate.lock"):
            held.enter_context(disk.shared_lock(folder / "writers.lock"))
        yield


@contextlib.contextmanager
def alone(folder: Path, wait_seconds: float) -> Iterator[None]:
    """Hold the store while nobody writes; new writers wait at the gate meanwhile.

    Raises: StoreLocked if a transaction goes on for longer than ``wait_seconds``.
    """
    with (
        disk.exclusive_lock(folder / "gate.lock", wait_seconds),
        disk.exclusive_lock(folder / "writers.lock", wait_seconds),
    ):
        yield

"""Leases: the kernel's word that a run's process lives, and its private folder.

Owns ``leases/`` and the folders ``tmp/run-*``. A lease ends with its process, however that ends;
what a dead process has left is swept by the next that comes.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rosdb import disk
from rosdb.objects import ObjectId

_SHARED: Final = "lease-"
_FILE: Final = "lease"
_NEW_NS: Final = 60 * 10**9


class Leases:
    """The leases of one store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "leases"
        self._temporary = folder / "tmp"

    @contextlib.contextmanager
    def hold(self, run_id: ObjectId) -> Iterator[None]:
        """Hold a run's lease."""
        path = self._folder / str(run_id)
        disk.make_folder(path.parent)
        with disk.exclusive_lock(path):
            try:
                yield
            finally:
                disk.remove(path)

    @contextlib.contextmanager
    def share(self) -> Iterator["SharedLease"]:
        """Hold one lease for many runs, which come and go: one file that has all their names."""
        disk.make_folder(self._folder)
        self._sweep()
        with tempfile.TemporaryDirectory(prefix=_SHARED, dir=self._temporary) as place:
            path = Path(place) / _FILE
            with disk.exclusive_lock(path):
                shared = SharedLease(self._folder, path)
                try:
                    yield shared
                finally:
                    shared.end_all()

    def _sweep(self) -> None:
        """Remove the leases of the dead."""
        for name in self._folder.iterdir():
            if _is_old(name) and not disk.is_locked(name):
                disk.remove(name)
        for place in self._temporary.glob(f"{_SHARED}*"):
            if _is_old(place) and not disk.is_locked(place / _FILE):
                disk.remove_folder(place)

    def is_held(self, run_id: ObjectId) -> bool:
        """Tell whether the process of a run lives."""
        return disk.is_locked(self._folder / str(run_id))

    @contextlib.contextmanager
    def scratch(self, run_id: ObjectId) -> Iterator[Path]:
        """Give a leased run a private folder, gone at the end of the block."""
        for left in self._temporary.glob("run-" + "[0-9a-f]" * 64):
            if not disk.is_locked(self._folder / left.name.removeprefix("run-")):
                disk.remove_folder(left)
        folder = self._temporary / f"run-{run_id}"
        with disk.refusals(folder):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            disk.remove_folder(folder)


class SharedLease:
    """The lease of several runs of one process."""

    def __init__(self, folder: Path, path: Path) -> None:
        self._folder, self._path = folder, path
        self._names: dict[ObjectId, contextlib.ExitStack | None] = {}

    def hold(self, run_id: ObjectId) -> None:
        """Let it be the run's too."""
        named = self._folder / str(run_id)
        try:
            # The lock is the file's, not the name's.
            os.link(self._path, named)
            self._names[run_id] = None
        except OSError:  # a file system without such links
            own = contextlib.ExitStack()
            own.enter_context(disk.exclusive_lock(named))
            self._names[run_id] = own

    def end(self, run_id: ObjectId) -> None:
        """Let go of it for a run."""
        own = self._names.pop(run_id)
        disk.remove(self._folder / str(run_id))
        if own is not None:
            own.close()

    def end_all(self) -> None:
        """Let go of it for every run that is left."""
        for run_id in list(self._names):
            self.end(run_id)


def _is_old(path: Path) -> bool:
    """Tell whether who made it has had the time to lock it."""
    try:
        return disk.now_ns() - path.lstat().st_mtime_ns > _NEW_NS
    except FileNotFoundError:
        return False

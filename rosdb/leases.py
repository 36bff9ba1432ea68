"""Leases: the kernel's word that a run's process lives, and its private folder.

Owns ``leases/`` and the folders ``tmp/run-*``. A lease ends with its process, however that ends;
what a dead process has left is swept by the next that comes.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from rosdb import disk
from rosdb.objects import ObjectId


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

    def is_held(self, run_id: ObjectId) -> bool:
        """Tell whether the process of a run lives."""
        return disk.is_locked(self._folder / str(run_id))

    @contextlib.contextmanager
    def scratch(self, run_id: ObjectId) -> Iterator[Path]:
        """Give a leased run a private folder, gone at the end of the block."""
        for left in self._temporary.glob("run-" + "[0-9a-f]" * 64):
            if not disk.is_locked(self._folder / left.name.removeprefix("run-")):
                shutil.rmtree(left, ignore_errors=True)
        folder = self._temporary / f"run-{run_id}"
        with disk.refusals(folder):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
